"""Rows drawn again and again: the bootstrap every interval and every paired comparison stands on."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TypeAlias

import numpy as np
import numpy.typing as npt
from scipy import sparse, special, stats

from luthier.evaluation.records import Interval

__all__ = ["CONFIDENCE", "Columns", "percentile_interval", "quantile_interval", "rate_interval", "weights"]

Floats: TypeAlias = npt.NDArray[np.float64]

CONFIDENCE = 0.95
"""Share of the intervals that are meant to hold the true value."""

CELLS_PER_CHUNK = 4_000_000
"""Weights held at once (8 bytes each): 40 resamples of 100,000 rows, all 2,000 resamples of 2,000 rows."""

DENSE_COLUMNS = 64
"""Up to this many columns a dense product is faster than a sparse one; above, it would not fit in memory."""


def weights(rows: int, resamples: int, seed: int) -> Iterator[Floats]:
    """How often each row is drawn in each bootstrap sample, a few samples at a time.

    The draws depend on nothing but the three arguments, so specs measured on the same rows are measured on the
    same samples and their differences are paired (Efron and Tibshirani 1993, An Introduction to the Bootstrap).

    Args:
        rows: how many rows there are, and how many are drawn per sample.
        resamples: how many samples in all.
        seed: equal seeds draw equal samples.

    Yields:
        Arrays of shape (samples in this chunk, rows); each line sums to `rows`. An array is overwritten by the next.
    """
    generator = np.random.default_rng(seed)
    size = max(1, min(resamples, CELLS_PER_CHUNK // max(rows, 1)))
    chunk = np.empty((size, rows))
    for start in range(0, resamples, size):
        count = min(size, resamples - start)
        for line in range(count):
            chunk[line] = np.bincount(generator.integers(0, rows, rows), minlength=rows)
        yield chunk[:count]


class Columns:
    """What is summed over the drawn rows: some named columns, and groups of columns with one entry per row.

    Every metric here is a function of such sums, so a bootstrap sample is one matrix product.

    Args:
        dense: name to values, shape (rows,).
        groups: name to (position of the row's entry or -1 for none, its value, number of columns).
    """

    def __init__(self, dense: dict[str, Floats], groups: dict[str, tuple[npt.NDArray[np.intp], Floats, int]]) -> None:
        self._names = tuple(dense)
        self._dense = np.stack(list(dense.values()))
        self._groups: dict[str, tuple[int, int]] = {}
        positions, values, lines, first = [], [], [], 0
        rows = self._dense.shape[1]
        for name, (position, value, count) in groups.items():
            there = np.flatnonzero(position >= 0)
            lines.append(there)
            positions.append(position[there] + first)
            values.append(value[there])
            self._groups[name] = (first, first + count)
            first += count
        self._sparse = sparse.csr_array(
            (np.concatenate(values), (np.concatenate(positions), np.concatenate(lines))), shape=(first, rows)
        )
        self._spread = self._sparse.toarray() if first <= DENSE_COLUMNS else None

    def sums(self, drawn: Floats | None = None) -> dict[str, Floats]:
        """The sums over the drawn rows, or over all rows once.

        Args:
            drawn: shape (samples, rows), as `weights` yields them.

        Returns:
            Per dense column an array of shape (samples,); per group one of shape (columns, samples).
        """
        if drawn is None:
            drawn = np.ones((1, self._dense.shape[1]))
        dense = self._dense @ drawn.T
        grouped = (self._spread if self._spread is not None else self._sparse) @ drawn.T
        out = dict(zip(self._names, dense, strict=True))
        return out | {name: grouped[first:last] for name, (first, last) in self._groups.items()}


def percentile_interval(value: float, draws: Floats) -> Interval:
    """The percentile bootstrap interval, stretched where needed to hold the value it is about.

    The stretch matters for statistics that resampling biases (calibration error, balanced accuracy with a label
    of two rows): an interval that leaves out its own number would only confuse.

    Args:
        value: the statistic on all rows.
        draws: the statistic on each bootstrap sample, shape (samples,).

    Source: Efron and Tibshirani 1993, chapter 13.
    """
    if len(draws) == 0:
        return Interval(float(value))
    tail = (1 - CONFIDENCE) / 2
    low, high = np.quantile(draws, [tail, 1 - tail])
    return Interval(float(value), float(min(low, value)), float(max(high, value)))


def rate_interval(count: float, rows: int) -> Interval:
    """A share of rows with its Wilson score interval.

    Resampling 300 rows of which none failed gives an interval from 0 to 0; Wilson's says that up to 1 in 80 may.

    Examples:
        >>> rate_interval(0, 300)
        Interval(value=0.0, low=0.0, high=0.012642971224546034)

    Source: Wilson 1927; recommended over Wald and exact intervals by Brown, Cai and DasGupta 2001.
    """
    if rows == 0:
        return Interval(0.0)
    z = float(special.ndtri((1 + CONFIDENCE) / 2))
    share = count / rows
    middle = (share + z * z / (2 * rows)) / (1 + z * z / rows)
    half = z / (1 + z * z / rows) * np.sqrt(share * (1 - share) / rows + z * z / (4 * rows * rows))
    return Interval(
        float(share), float(max(0.0, min(middle - half, share))), float(min(1.0, max(middle + half, share)))
    )


def quantile_interval(values: Floats, probability: float) -> Interval:
    """A quantile with the distribution-free interval between two of the ordered values.

    Args:
        values: shape (rows,), at least one.
        probability: 0.5 for the median.

    Source: Hahn and Meeker 1991, Statistical Intervals, section 5.2: the number of values below the true
    quantile is binomial. Where the rows are too few for 95% the smallest and the largest value are the bounds.
    """
    ordered = np.sort(values)
    rows = len(ordered)
    tail = (1 - CONFIDENCE) / 2
    low, high = stats.binom.ppf([tail, 1 - tail], rows, probability).astype(int)
    value = float(np.quantile(ordered, probability))
    lowest, highest = float(ordered[max(low - 1, 0)]), float(ordered[min(high, rows - 1)])
    return Interval(value, min(lowest, value), max(highest, value))
