"""How many labelled rows it takes to tell two specs apart, and what a given number of rows can show."""

from __future__ import annotations

from bisect import bisect_left
from dataclasses import dataclass
from math import ceil, sqrt

import numpy as np
import scipy

from luthier.errors import UserError
from luthier.evaluation.statistics import ALPHA, Difference

__all__ = [
    "POWER",
    "SamplePlan",
    "detectable_difference",
    "mcnemar_power",
    "plan_from_difference",
    "rows_needed",
]

POWER = 0.8
"""Chance of finding the difference if it is there, by long custom (Cohen 1988)."""

MOST_DIFFERING = 10_000
"""Up to this many rows on which exactly one spec is right the power is computed exactly."""

TAIL = 1e-9
"""Chance of the numbers of differing rows that are left out of an exact power."""


@dataclass(frozen=True, slots=True)
class SamplePlan:
    """How many rows would tell two specs apart, if the difference seen is the true one.

    Attributes:
        first, second: names of the specs.
        metric: what they are compared by.
        difference: what was seen, first minus second.
        rows_now: rows it was seen on.
        rows_needed: rows for the stated power; `None` when there is no difference to find.
        detectable: the smallest difference in accuracy that `rows_now` rows would show with that power, given how
            often the two disagree; `None` when they never do.
        alpha: level of the two-sided test; on a leaderboard, what its correction for many pairs asks of this pair.
        power: chance of finding the difference.
    """

    first: str
    second: str
    metric: str
    difference: float
    rows_now: int
    rows_needed: int | None
    detectable: float | None
    alpha: float = ALPHA
    power: float = POWER


def mcnemar_power(rows: int, gap: float, *, disagreement: float, alpha: float = ALPHA) -> float:
    """Chance that McNemar's exact test finds a difference in accuracy.

    The number of rows on which exactly one spec is right is binomial, and given that number so is the share of them
    the better spec has right; the power is the chance, over both, of an outcome the test rejects.

    Args:
        rows: labelled rows both specs answer.
        gap: true difference in accuracy, at most `disagreement`.
        disagreement: share of rows on which exactly one spec is right.
        alpha: level of the two-sided test.

    Examples:
        >>> round(mcnemar_power(626, 0.05, disagreement=0.2), 3)
        0.779
    """
    if rows * disagreement > MOST_DIFFERING:
        # The normal limit with a continuity correction; here the two agree to a thousandth.
        beyond = gap * sqrt(rows) - 1 / sqrt(rows) - float(scipy.special.ndtri(1 - alpha / 2)) * sqrt(disagreement)
        return float(scipy.special.ndtr(beyond / sqrt(max(disagreement - gap**2, 1e-12))))
    low, high = (int(bound) for bound in scipy.stats.binom.interval(1 - TAIL, rows, disagreement))
    differing = np.arange(max(low, 1), high + 1)
    # The largest count of the worse spec that the two-sided test rejects, -1 where no count is rejected.
    fewest = scipy.stats.binom.ppf(alpha / 2, differing, 0.5)
    fewest = np.where(2 * scipy.stats.binom.cdf(fewest, differing, 0.5) >= alpha, fewest - 1, fewest)
    better = min((disagreement + gap) / (2 * disagreement), 1.0)
    rejected = scipy.stats.binom.cdf(fewest, differing, 1 - better) + scipy.stats.binom.cdf(fewest, differing, better)
    return float(scipy.stats.binom.pmf(differing, rows, disagreement) @ rejected)


def rows_needed(
    first_accuracy: float,
    second_accuracy: float,
    *,
    disagreement: float | None = None,
    alpha: float = ALPHA,
    power: float = POWER,
) -> int:
    """Rows for McNemar's exact test to tell two accuracies apart on the same rows.

    Connor's formula, n = (z(alpha/2) sqrt(q) + z(power) sqrt(q - d^2))^2 / d^2 with d the difference in accuracy and q
    the share of rows on which exactly one spec is right, is where the search for the smallest n with the stated power
    starts; by itself it gives the exact test 73 to 80% where 80% is asked for. Specs that err on the same rows need
    far fewer rows; without a measured q their errors are taken as independent, which asks for too many.

    Args:
        first_accuracy: of one spec, 0 to 1.
        second_accuracy: of the other.
        disagreement: q, at least |d|; measured on a first few hundred rows if possible.
        alpha: level of the two-sided test, uncorrected.
        power: chance of finding the difference.

    Raises:
        UserError: an argument is out of range, or there is no difference to find.

    Examples:
        >>> rows_needed(0.60, 0.55)
        1574
        >>> rows_needed(0.60, 0.55, disagreement=0.20)
        658

    Source: Connor 1987, Sample Size for Testing Differences in Proportions for the Paired-Sample Design, Biometrics 43.
    """
    for name, share in (("first_accuracy", first_accuracy), ("second_accuracy", second_accuracy)):
        if not 0 <= share <= 1:
            raise UserError(f"{name} {share} is not a share of rows; give a number from 0 to 1.")
    gap = abs(first_accuracy - second_accuracy)
    if gap == 0:
        raise UserError("both accuracies are the same; no number of rows tells equal specs apart.")
    if disagreement is None:
        disagreement = first_accuracy * (1 - second_accuracy) + second_accuracy * (1 - first_accuracy)
    if not gap - 1e-12 <= disagreement <= 1:
        raise UserError(
            f"disagreement {disagreement} does not fit a difference of {gap:.3g}: it is the share of rows on which "
            f"exactly one spec is right, from {gap:.3g} to 1."
        )
    first, second = _z(alpha, power)
    spread = max(disagreement - gap**2, 0.0)
    about = ceil((first * sqrt(disagreement) + second * sqrt(spread)) ** 2 / gap**2)

    def enough(rows: int) -> bool:
        return mcnemar_power(rows, gap, disagreement=disagreement, alpha=alpha) >= power

    most = about
    while not enough(most):
        most = ceil(most * 1.1) + 1
    return bisect_left(range(most), True, key=enough)


def detectable_difference(
    rows: int, *, disagreement: float, alpha: float = ALPHA, power: float = POWER
) -> float | None:
    """The smallest difference in accuracy that so many rows show with the stated power, by McNemar's exact test.

    Args:
        rows: labelled rows both specs answer.
        disagreement: share of rows on which exactly one spec is right.
        alpha: level of the two-sided test, uncorrected.
        power: chance of finding the difference.

    Returns:
        The difference, 0 to 1; `None` when even the largest possible one (all disagreement to one side) would not show.

    Raises:
        UserError: an argument is out of range.

    Examples:
        >>> round(detectable_difference(338, disagreement=0.3), 3)
        0.086
    """
    if rows < 1 or not 0 <= disagreement <= 1:
        raise UserError(f"rows {rows} must be at least 1 and disagreement {disagreement} from 0 to 1.")
    _z(alpha, power)

    def surplus(gap: float) -> float:
        return mcnemar_power(rows, gap, disagreement=disagreement, alpha=alpha) - power

    if disagreement == 0 or surplus(disagreement) < 0:
        return None
    return float(scipy.optimize.brentq(surplus, 0.0, disagreement))


def plan_from_difference(
    difference: Difference,
    rows: int,
    *,
    metric: str,
    names: tuple[str, str],
    disagreement: float,
    alpha: float = ALPHA,
    power: float = POWER,
) -> SamplePlan:
    """The plan for any metric: its standard error shrinks with the root of the number of rows.

    n = rows ((z(alpha/2) + z(power)) se / d)^2. What was seen is itself uncertain, so the number says "hundreds" or
    "tens of thousands", not more (Hoenig and Heisey 2001 on power computed from the data at hand).

    Args:
        difference: as seen on `rows` rows.
        rows: how many those were.
        metric: its name.
        names: of the two specs.
        disagreement: share of rows on which exactly one of them is right.
        alpha: level of the two-sided test.
        power: chance of finding the difference.
    """
    value, error = difference.interval.value, difference.standard_error
    needed = None
    if abs(value) > 1e-12 and error > 0:
        needed = max(2, ceil(rows * (sum(_z(alpha, power)) * error / value) ** 2))
    return SamplePlan(
        first=names[0],
        second=names[1],
        metric=metric,
        difference=value,
        rows_now=rows,
        rows_needed=needed,
        detectable=detectable_difference(rows, disagreement=disagreement, alpha=alpha, power=power),
        alpha=alpha,
        power=power,
    )


def _z(alpha: float, power: float) -> tuple[float, float]:
    if not (0 < alpha < 1 and 0 < power < 1):
        raise UserError(f"alpha {alpha} and power {power} must lie between 0 and 1; usual are 0.05 and 0.8.")
    return float(scipy.special.ndtri(1 - alpha / 2)), float(scipy.special.ndtri(power))
