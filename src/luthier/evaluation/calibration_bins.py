"""Stated confidence against the share that was right, in bins that hold enough rows to mean something."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from luthier.evaluation.resampling import Interval, rate_interval
from luthier.tasks.types import CalibrationBin

__all__ = ["FEWEST_ROWS", "ConfidenceBin", "confidence_bins"]

FEWEST_ROWS = 50
"""In a bin: the 95% interval of a share of 50 rows is at most .27 wide; of 10 rows it is up to .53."""


@dataclass(frozen=True, slots=True)
class ConfidenceBin:
    """Rows of like confidence.

    Attributes:
        rows: how many.
        confidence: the mean of what was stated.
        right: share of the rows that was right, with Wilson's interval.
    """

    rows: int
    confidence: float
    right: Interval


def confidence_bins(bins: Sequence[CalibrationBin], fewest: int = FEWEST_ROWS) -> tuple[ConfidenceBin, ...]:
    """Neighbouring bins joined until each holds enough rows; a single bin where all rows together are too few.

    Args:
        bins: by ascending confidence, as `Plots.calibration` has them.
        fewest: rows in a bin.

    Examples:
        >>> tenths = [CalibrationBin(20, 0.5, 0.4), CalibrationBin(20, 0.7, 0.8), CalibrationBin(20, 0.9, 0.5)]
        >>> [(one.rows, round(one.confidence, 3), round(one.right.value, 3)) for one in confidence_bins(tenths, 30)]
        [(60, 0.7, 0.567)]
        >>> [one.rows for one in confidence_bins(tenths, 20)]
        [20, 20, 20]
    """
    groups: list[list[CalibrationBin]] = []
    left = sum(one.rows for one in bins)
    for one in bins:
        # The last group takes what would not make another one.
        if not groups or (sum(part.rows for part in groups[-1]) >= fewest and left >= fewest):
            groups.append([])
        groups[-1].append(one)
        left -= one.rows
    return tuple(map(_joined, groups))


def _joined(bins: Sequence[CalibrationBin]) -> ConfidenceBin:
    rows = sum(one.rows for one in bins)
    confidence = sum(one.rows * one.confidence for one in bins) / rows
    return ConfidenceBin(rows, confidence, rate_interval(round(sum(one.rows * one.accuracy for one in bins)), rows))
