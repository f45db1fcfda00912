"""Whether numbers that a service reported agree with numbers that were measured, pair by pair.

Every difference is reported minus measured. The intervals are over the pairs: they speak of other models of the same
kind, judged on the same rows. What the rows themselves leave open is `row_counts`.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
import scipy

from luthier.errors import DataError
from luthier.evaluation.measures import METRICS
from luthier.evaluation.resampling import CONFIDENCE, Floats, Interval, normal_quantile
from luthier.evaluation.statistics import sign_flip

__all__ = [
    "FEWEST_PAIRS",
    "Agreement",
    "Choice",
    "PairedValues",
    "RowCounts",
    "agree",
    "may_be_share",
    "reading_order",
    "row_counts",
    "rows_behind",
]

FEWEST_PAIRS = 3
"""With two pairs a standard deviation has one degree of freedom, and its interval says nothing."""

FLIP_STEPS = 5000
"""Differences are put on so many steps, so that the distribution of their flipped sums is exact up to 200 pairs."""

MOST_ROWS = 20_000
"""Up to so many rows a share can be told to be a whole number of them; services keep 7 digits."""

SINGLE = 1.2e-7
"""What a number between 0 and 1 loses when a service keeps it in single precision."""

FIRST = ("weighted_f1", "accuracy")


@dataclass(frozen=True)
class PairedValues:
    """One metric of several models, as reported and as measured.

    Attributes:
        metric: its name; one of `METRICS` where it is known there.
        ids: the models.
        reported: one value per model, from the service.
        measured: one per model, from the deployed model.
    """

    metric: str
    ids: tuple[str, ...]
    reported: tuple[float, ...]
    measured: tuple[float, ...]

    @property
    def better(self) -> Literal["higher", "lower"]:
        """Which way is better."""
        if self.metric in METRICS:
            return METRICS[self.metric].better
        return "lower" if any(part in self.metric for part in ("loss", "error", "perplexity")) else "higher"

    @property
    def differences(self) -> Floats:
        """Reported minus measured, shape (pairs,)."""
        differences: Floats = np.array(self.reported, dtype=float) - np.array(self.measured, dtype=float)
        return differences

    @property
    def levels(self) -> Floats:
        """The mean of the two, shape (pairs,)."""
        levels: Floats = (np.array(self.reported, dtype=float) + np.array(self.measured, dtype=float)) / 2
        return levels


@dataclass(frozen=True)
class Choice:
    """The result of choosing the model with the best reported value; several are `chosen` where they are alike.

    `promised` is the reported value of the chosen one and `delivered` its measured value, the mean over several.
    `lost` says by how much the `best` measured value is better than that, never below 0; `lost_by_chance` says the
    same of a model drawn at random.
    """

    chosen: tuple[str, ...]
    best: str
    promised: float
    delivered: float
    lost: float
    lost_by_chance: float


@dataclass(frozen=True)
class Agreement:
    """How well reported values stand for measured ones, in one metric.

    Attributes:
        pairs: what it was computed from.
        reported_mean, measured_mean: over the pairs.
        difference: mean of reported minus measured.
        p: sign-flip test for "reported is as often above as below"; exact up to 200 pairs.
        t_p: paired t-test for the same, which goes with the interval of `difference`.
        lower_limit, upper_limit: between these lie 95% of the single differences.
        correlation: Pearson's; `None` where one side does not vary.
        concordance: Lin's: 1 only if every pair is on the identity line; `None` where one side does not vary.
        slope: by how much the difference grows per unit of the level; `None` where the level does not vary.
        slope_p: for "it does not"; `None` likewise.
        order: Kendall's tau-b: 1 if both put the models into the same order; `None` where one side does not vary.
        choice: what comes of choosing by the reported value.
    """

    pairs: PairedValues
    reported_mean: float
    measured_mean: float
    difference: Interval
    p: float
    t_p: float
    lower_limit: Interval
    upper_limit: Interval
    correlation: Interval | None
    concordance: Interval | None
    slope: Interval | None
    slope_p: float | None
    order: Interval | None
    choice: Choice

    @property
    def metric(self) -> str:
        """Name of the metric."""
        return self.pairs.metric

    @property
    def flattering(self) -> bool:
        """Whether the reported values are on average the better ones."""
        return self.difference.value > 0 if self.pairs.better == "higher" else self.difference.value < 0


@dataclass(frozen=True)
class RowCounts:
    """The numbers of rows that reported and measured shares were counted on, where the shares reveal them.

    Attributes:
        metric: the metric they were read from.
        reported: rows of the service.
        measured: rows of the measurement.
        chance: how far apart the same model's values on two samples of these sizes lie at most, in 95 of 100 cases.
    """

    metric: str
    reported: int
    measured: int
    chance: float


def agree(pairs: PairedValues) -> Agreement:
    """Compares reported with measured values.

    Raises:
        DataError: there are fewer than three pairs, or the lengths differ.

    Examples:
        >>> found = agree(PairedValues("accuracy", ("a", "b", "c"), (0.5, 0.6, 0.7), (0.45, 0.54, 0.67)))
        >>> round(found.difference.value, 3), round(found.p, 3)
        (0.047, 0.25)

    Sources: difference and limits of agreement: Bland and Altman 1986, Lancet 327, with t quantiles; difference
    against level: Bland and Altman 1999, Statistical Methods in Medical Research 8; sign flips: Fisher 1935;
    concordance: Lin 1989, Biometrics 45, corrected 2000; interval of tau: Fieller, Hartley and Pearson 1957.
    """
    if not len(pairs.ids) == len(pairs.reported) == len(pairs.measured):
        raise DataError(
            f"{pairs.metric}: {len(pairs.reported)} reported and {len(pairs.measured)} measured values of "
            f"{len(pairs.ids)} models; give one of each per model."
        )
    count = len(pairs.ids)
    if count < FEWEST_PAIRS:
        raise DataError(
            f"{pairs.metric} has {count} pair{'' if count == 1 else 's'} of reported and measured values; give at "
            f"least {FEWEST_PAIRS}, one line per model."
        )
    reported, measured = np.array(pairs.reported, dtype=float), np.array(pairs.measured, dtype=float)
    differences = pairs.differences
    mean, spread = float(differences.mean()), float(differences.std(ddof=1))
    if spread < 1e-12:
        # Equal differences reached by different sums differ by rounding only.
        spread = 0.0
    error = spread / count**0.5
    t = float(scipy.stats.t.ppf((1 + CONFIDENCE) / 2, count - 1))
    z = normal_quantile()
    below, above = mean - z * spread, mean + z * spread
    limit_half = t * 3**0.5 * error
    varies = bool(np.ptp(reported) > 1e-12 and np.ptp(measured) > 1e-12)
    slope, slope_p = _slope(pairs.levels, differences)
    return Agreement(
        pairs=pairs,
        reported_mean=float(reported.mean()),
        measured_mean=float(measured.mean()),
        difference=Interval(mean, mean - t * error, mean + t * error),
        p=_flips(differences),
        t_p=float(2 * scipy.stats.t.sf(abs(mean) / error, count - 1)) if error > 0 else float(abs(mean) < 1e-12),
        lower_limit=Interval(below, below - limit_half, below + limit_half),
        upper_limit=Interval(above, above - limit_half, above + limit_half),
        correlation=_correlation(reported, measured) if varies else None,
        concordance=_concordance(reported, measured) if varies else None,
        slope=slope,
        slope_p=slope_p,
        order=_order(reported, measured) if varies else None,
        choice=_choice(pairs),
    )


def reading_order(metric: str) -> tuple[int, str]:
    """Sorts metrics: what a reader of an audit looks for first, the rest as in `METRICS`, then unknown ones."""
    order = [*FIRST, *(name for name in METRICS if name not in FIRST)]
    return (order.index(metric) if metric in order else len(order), metric)


def rows_behind(values: Sequence[float]) -> int | None:
    """The smallest number of rows of which every value is a whole share, if the values show one.

    A service that says .5206766724586487 has counted 277 of 532. Rounded values show nothing.

    Examples:
        >>> rows_behind([277 / 532, 204 / 532, 327 / 532])
        532
        >>> rows_behind([0.52, 0.38, 0.61])
    """
    shares = sorted({value for value in values if 0 < value < 1})
    if len(shares) < FEWEST_PAIRS or all(round(value, 6) == value for value in shares):
        return None
    counts = np.arange(2, MOST_ROWS + 1)
    hits = np.array(shares)[:, None] * counts
    whole = (np.abs(hits - np.rint(hits)) <= SINGLE * counts).all(axis=0)
    return int(counts[whole.argmax()]) if whole.any() else None


def may_be_share(value: float, rows: int) -> bool:
    """Whether a value can be a whole number of so many rows; a rounded value always can.

    Examples:
        >>> may_be_share(0.5206766724586487, 532), may_be_share(0.5206766724586487, 338), may_be_share(0.521, 338)
        (True, False, True)
    """
    hits = value * rows
    return round(value, 6) == value or abs(hits - round(hits)) <= SINGLE * rows


def row_counts(pairs: PairedValues) -> RowCounts | None:
    """The rows behind both sides of a share of rows, such as accuracy; `None` where they cannot be told.

    The chance is that of two independent samples, by the normal approximation to the binomial. All models of a table
    are usually measured on the same two sets of rows, so the mean over many models is uncertain by up to as much:
    more models do not make it smaller.
    """
    if pairs.metric not in ("accuracy", "weighted_recall"):
        return None
    reported, measured = rows_behind(pairs.reported), rows_behind(pairs.measured)
    if reported is None or measured is None:
        return None
    share = float(pairs.levels.mean())
    chance = normal_quantile() * np.sqrt(share * (1 - share) * (1 / reported + 1 / measured))
    return RowCounts(pairs.metric, reported, measured, float(chance))


def _flips(differences: Floats) -> float:
    largest = float(np.abs(differences).max())
    # Whole steps have an exact distribution; 1 in 5,000 of the largest difference is far below what matters here.
    return 1.0 if largest < 1e-12 else sign_flip(np.rint(differences / largest * FLIP_STEPS))


def _fisher(value: float, standard_error: float) -> Interval:
    """The interval of a coefficient between -1 and 1, symmetric on Fisher's scale."""
    if not np.isfinite(standard_error):
        return Interval(value)
    if abs(value) >= 1 - 1e-12:
        return Interval(value, value, value)
    middle, half = np.arctanh(value), normal_quantile() * standard_error
    return Interval(value, float(np.tanh(middle - half)), float(np.tanh(middle + half)))


def _correlation(reported: Floats, measured: Floats) -> Interval:
    count = len(reported)
    value = float(np.clip(np.corrcoef(reported, measured)[0, 1], -1, 1))
    return _fisher(value, 1 / np.sqrt(count - 3) if count > 3 else np.inf)


def _concordance(reported: Floats, measured: Floats) -> Interval:
    count = len(reported)
    r = float(np.clip(np.corrcoef(reported, measured)[0, 1], -1, 1))
    gap = float(reported.mean() - measured.mean())
    value = float(2 * r * reported.std() * measured.std() / (reported.var() + measured.var() + gap**2))
    if abs(r) < 1e-9 or abs(value) >= 1 - 1e-12:
        return _fisher(value, np.inf)
    shift = gap**2 / float(reported.std() * measured.std())
    rest = 1 - value**2
    variance = (
        (1 - r**2) * value**2 / (rest * r**2)
        + 2 * value**3 * (1 - value) * shift / (r * rest**2)
        - value**4 * shift**2 / (2 * r**2 * rest**2)
    ) / (count - 2)
    return _fisher(value, float(np.sqrt(variance)) if variance > 0 else np.inf)


def _order(reported: Floats, measured: Floats) -> Interval:
    count = len(reported)
    value = float(scipy.stats.kendalltau(reported, measured).statistic)
    if count <= 4:
        return Interval(value)
    # In perfect order the interval is that of one pair the other way round: a few models prove no certainty.
    inside = float(np.clip(value, 4 / (count * (count - 1)) - 1, 1 - 4 / (count * (count - 1))))
    found = _fisher(inside, float(np.sqrt(0.437 / (count - 4))))
    assert found.low is not None
    assert found.high is not None
    return Interval(value, min(found.low, value), max(found.high, value))


def _slope(levels: Floats, differences: Floats) -> tuple[Interval | None, float | None]:
    if np.ptp(levels) <= 1e-12:
        return None, None
    if np.ptp(differences) <= 1e-12:
        return Interval(0.0, 0.0, 0.0), 1.0
    line = scipy.stats.linregress(levels, differences)
    half = float(scipy.stats.t.ppf((1 + CONFIDENCE) / 2, len(levels) - 2) * line.stderr)
    return Interval(float(line.slope), float(line.slope) - half, float(line.slope) + half), float(line.pvalue)


def _choice(pairs: PairedValues) -> Choice:
    sign = 1.0 if pairs.better == "higher" else -1.0
    reported, measured = sign * np.array(pairs.reported), sign * np.array(pairs.measured)
    chosen = np.flatnonzero(reported >= reported.max() - 1e-12)
    delivered, best = float(measured[chosen].mean()), float(measured.max())
    return Choice(
        chosen=tuple(pairs.ids[i] for i in chosen),
        best=pairs.ids[int(measured.argmax())],
        promised=sign * float(reported.max()),
        delivered=sign * delivered,
        lost=max(0.0, best - delivered),
        lost_by_chance=max(0.0, best - float(measured.mean())),
    )
