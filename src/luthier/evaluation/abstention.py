"""Abstention: what answering only the rows a model is sure of comes to, and from which confidence on."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import scipy

from luthier.evaluation.resampling import Interval, rate_interval

__all__ = ["FEWEST_ROWS", "Abstention", "CoveragePoint", "abstention"]

FEWEST_ROWS = 40
"""Rows with a confidence that advice needs: one half of them chooses the threshold, the other half tests it."""

SIGNIFICANT = 0.05

STEPS = 40
"""Most points of the curve, evenly spaced in coverage."""

DIGITS = 4
"""Decimals of a threshold. It is rounded down before anything is measured, so a threshold that is typed in again
answers the rows the figures are about."""


@dataclass(frozen=True, slots=True)
class CoveragePoint:
    """What answering only the rows with at least this confidence comes to.

    Attributes:
        threshold: least probability of the predicted label.
        coverage: share of the rows that are answered.
        accuracy: share of those that is right.
        error_rate: share of all rows that is answered wrongly.
    """

    threshold: float
    coverage: Interval
    accuracy: Interval
    error_rate: float


@dataclass(frozen=True, slots=True)
class Abstention:
    """Coverage against accuracy over thresholds of confidence.

    Attributes:
        points: ascending thresholds, measured on all rows; the first answers every row.
        advised: the point to start from, measured on rows that had no part in choosing it; `None` where the answered
            ones among these are not shown to be right more often than the others, or rows are too few.
        everything: what answering every row comes to on the rows that `advised` was measured on; `None` with it.
        gain_p: one-sided, for "confidence does not tell right rows from wrong ones".
        rows: rows with a confidence.
    """

    points: tuple[CoveragePoint, ...]
    advised: CoveragePoint | None
    everything: CoveragePoint | None
    gain_p: float
    rows: int


def abstention(
    confidences: Sequence[float] | npt.NDArray[np.float64],
    correct: Sequence[bool] | npt.NDArray[np.bool_],
    seed: int = 7,
) -> Abstention | None:
    """Coverage against accuracy, and the threshold to start from.

    The advised threshold is the one at which the share of right rows that are answered exceeds the share of wrong
    rows that are answered by the most (Youden's J). It is chosen on one half of the rows and measured on the other,
    because figures of the rows that chose it would be too good. It is advised only if Fisher's exact test on that other
    half says that the answered rows are right more often than the others (p below 0.05).

    Args:
        confidences: probability of the predicted label of each row, NaN where there is none; shape (rows,). Rows
            without one are answered only where every row is.
        correct: whether each row is right, shape (rows,).
        seed: of the halves.

    Returns:
        The curve; `None` where fewer than two different confidences are known, so that no threshold divides the rows.

    Source: Youden 1950, Index for Rating Diagnostic Tests; the test is that of Mann and Whitney 1947.

    Examples:
        >>> found = abstention([0.9, 0.9, 0.6, 0.6], [True, True, True, False])
        >>> [(one.threshold, one.coverage.value, one.accuracy.value) for one in found.points]
        [(0.0, 1.0, 0.75), (0.9, 0.5, 1.0)]
    """
    sure = np.asarray(confidences, dtype=float)
    right = np.asarray(correct, dtype=bool)
    known = ~np.isnan(sure)
    if len(np.unique(sure[known])) < 2:
        return None
    p = _gain_p(sure[known], right[known])
    advised = everything = None
    if p < SIGNIFICANT and known.sum() >= FEWEST_ROWS:
        choosing = _half(right, known, seed)
        threshold = _best_threshold(sure[choosing & known], right[choosing & known])
        advised = _point(threshold, sure[~choosing], right[~choosing])
        everything = _point(0.0, sure[~choosing], right[~choosing])
        if _chance(advised, everything, int((~choosing).sum())) >= SIGNIFICANT:
            advised = everything = None
    points = tuple(_point(threshold, sure, right) for threshold in _thresholds(sure[known]))
    return Abstention(points, advised, everything, p, int(known.sum()))


def _gain_p(sure: npt.NDArray[np.float64], right: npt.NDArray[np.bool_]) -> float:
    """One-sided p-value for "right rows are stated with no more confidence than wrong ones"."""
    if right.all() or not right.any():
        return 1.0
    return float(scipy.stats.mannwhitneyu(sure[right], sure[~right], alternative="greater").pvalue)


def _chance(advised: CoveragePoint, everything: CoveragePoint, rows: int) -> float:
    """One-sided p-value for "the answered rows are right as often as the others", by Fisher's exact test."""
    answered = round(advised.coverage.value * rows)
    right = round(advised.accuracy.value * answered)
    return float(scipy.stats.hypergeom.sf(right - 1, rows, round(everything.accuracy.value * rows), answered))


def _half(right: npt.NDArray[np.bool_], known: npt.NDArray[np.bool_], seed: int) -> npt.NDArray[np.bool_]:
    """Which rows choose the threshold: every second one of the right rows and of the wrong ones, in random order."""
    chosen = np.zeros(len(right), dtype=bool)
    generator = np.random.default_rng(seed)
    for kind in (right & known, ~right & known, ~known):
        chosen[generator.permutation(np.flatnonzero(kind))[::2]] = True
    return chosen


def _best_threshold(sure: npt.NDArray[np.float64], right: npt.NDArray[np.bool_]) -> float:
    """The threshold with the largest difference between the answered shares of right and of wrong rows."""
    thresholds = np.unique(_rounded(sure))
    order = np.sort(sure[right]), np.sort(sure[~right])
    answered = [1 - np.searchsorted(one, thresholds, side="left") / max(len(one), 1) for one in order]
    return float(thresholds[int(np.argmax(answered[0] - answered[1]))])


def _thresholds(sure: npt.NDArray[np.float64]) -> list[float]:
    """The thresholds of the curve: 0, then the confidences at which evenly spaced shares of the rows are left out."""
    levels = np.unique(_rounded(sure))[1:]
    if len(levels) > STEPS:
        levels = np.unique(_rounded(np.quantile(sure, np.arange(1, STEPS) / STEPS, method="higher")))
    return [0.0, *(float(level) for level in levels if level > 0)]


def _rounded(values: npt.NDArray[np.float64]) -> npt.NDArray[np.float64]:
    """Rounded down, so that no row falls below its own confidence."""
    # 0.57 * 10,000 is 5699.999...: what is so near to a whole number is one.
    floors: npt.NDArray[np.float64] = np.floor(values * 10**DIGITS + 1e-6) / 10**DIGITS
    return np.minimum(floors, values)


def _point(threshold: float, sure: npt.NDArray[np.float64], right: npt.NDArray[np.bool_]) -> CoveragePoint:
    answered = sure >= threshold if threshold > 0 else np.ones(len(sure), dtype=bool)
    count, rows = int(answered.sum()), len(sure)
    wrong = int((answered & ~right).sum())
    return CoveragePoint(
        threshold, rate_interval(count, rows), rate_interval(count - wrong, count), wrong / rows if rows else 0.0
    )
