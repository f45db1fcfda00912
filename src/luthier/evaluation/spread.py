"""The spread of results over many draws of one recipe, and whether recipes differ by more than that spread."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from itertools import combinations, count
from math import comb

import numpy as np
import numpy.typing as npt
import scipy

from luthier.errors import DataError
from luthier.evaluation.measures import METRICS
from luthier.evaluation.resampling import CONFIDENCE, Floats, Interval
from luthier.evaluation.statistics import holm
from luthier.tasks.types import Measure

__all__ = ["SpreadGroup", "SpreadPair", "Spread", "permutation_test", "spread_of"]

MOST_EXACT = 20_000
"""Up to so many ways to deal the results out, all of them are counted; beyond, so many are drawn."""


@dataclass(frozen=True, slots=True)
class SpreadGroup:
    """The results of one recipe, such as one count of examples, over its draws: one value per draw, ascending.

    `mean` has Student's 95% interval, without bounds where there is one draw; `low` to `high` are the quartiles.
    """

    name: str
    values: tuple[float, ...]
    mean: Interval
    low: float
    quarter: float
    median: float
    three_quarters: float
    high: float

    @property
    def draws(self) -> int:
        """How many results there are."""
        return len(self.values)


@dataclass(frozen=True, slots=True)
class SpreadPair:
    """Two groups by their names: mean of the first minus mean of the second.

    `p` is two-sided, from permuting the results over the two groups, 1 where there are too few to tell;
    `p_corrected` is the same after Holm's correction over all pairs.
    """

    first: str
    second: str
    difference: float
    p: float
    p_corrected: float


@dataclass(frozen=True, slots=True)
class Spread:
    """Groups of results in one metric, in the order they were given, and every pair of them compared.

    Attributes:
        metric: name of the metric.
        groups: one per recipe.
        pairs: every two of them, in the order of the groups.
        measure: what the metric is; `None` where it is not known.
    """

    metric: str
    groups: tuple[SpreadGroup, ...]
    pairs: tuple[SpreadPair, ...]
    measure: Measure | None = None

    @property
    def smallest_p(self) -> float:
        """What the smallest corrected p-value would be if no two groups overlapped; 1 without pairs."""
        sizes = combinations([group.draws for group in self.groups], 2)
        return min(1.0, min((_least_p(*two) for two in sizes), default=1.0) * max(1, len(self.pairs)))

    def draws_needed(self, alpha: float) -> int:
        """Draws in each group from which on a difference can be seen at all.

        Examples:
            >>> spread_of({"1": [0.1, 0.2, 0.3], "3": [0.4, 0.5, 0.6]}, "accuracy").draws_needed(0.05)
            4
        """
        return next(draws for draws in count(2) if _least_p(draws, draws) * len(self.pairs) < alpha)


def spread_of(
    groups: Mapping[str, Sequence[float]], metric: str, *, measure: Measure | None = None, seed: int = 7
) -> Spread:
    """How far the results of each group lie apart, and which groups differ by more than their draws do.

    Args:
        groups: name, such as a count of examples, to the results of its draws.
        metric: name of the metric they are results in.
        measure: what that is; taken from the metrics of labels when absent.
        seed: of the permutations, where there are too many to count them all.

    Raises:
        DataError: there is no group, or one has no result.

    Examples:
        >>> found = spread_of({"1": [0.40, 0.52, 0.31, 0.45], "5": [0.58, 0.61, 0.55, 0.57]}, "weighted_f1")
        >>> [(group.name, group.draws, round(group.median, 3)) for group in found.groups]
        [('1', 4, 0.425), ('5', 4, 0.575)]
        >>> round(found.pairs[0].difference, 4), round(found.pairs[0].p, 4)
        (-0.1575, 0.0286)
    """
    empty = [name for name, values in groups.items() if not len(values)]
    if not groups or empty:
        which = ", ".join(map(repr, empty)) or "any group"
        raise DataError(f"there is no result for {which}, so no spread can be shown; leave such a group out.")
    found = tuple(_group(str(name), values) for name, values in groups.items())
    two = list(combinations(found, 2))
    ps = [permutation_test(first.values, second.values, seed=seed) for first, second in two]
    pairs = tuple(
        SpreadPair(first.name, second.name, first.mean.value - second.mean.value, p, corrected)
        for (first, second), p, corrected in zip(two, ps, holm(ps), strict=True)
    )
    return Spread(metric, found, pairs, measure or METRICS.get(metric))


def permutation_test(first: Sequence[float], second: Sequence[float], *, seed: int = 7) -> float:
    """Two-sided p-value for "both groups are draws from the same lot", by the difference of their means.

    All ways to deal the results out are counted where they are few, else 20,000 are drawn and
    p = (as far apart or farther + 1) / (drawn + 1).

    Args:
        first: results of one group.
        second: results of the other.
        seed: of the draws.

    Examples:
        >>> round(permutation_test([1.0, 2.0, 3.0], [4.0, 5.0, 6.0]), 3)
        0.1

    Source: Fisher 1935, The Design of Experiments, section 21; (count + 1) from Phipson and Smyth 2010,
    Permutation P-values Should Never Be Zero.
    """
    lot = np.asarray([*first, *second], dtype=float)
    size = len(first)
    total = comb(len(lot), size)
    observed = abs(_apart(lot[:size].sum(), lot.sum(), size, len(lot)))
    # Means reached by other sums differ by rounding only.
    least = observed - 1e-12
    if total <= MOST_EXACT:
        dealt = lot[_deals(len(lot), size)].sum(axis=1)
        return float((np.abs(_apart(dealt, lot.sum(), size, len(lot))) >= least).mean())
    generator = np.random.default_rng(seed)
    shuffled = generator.permuted(np.broadcast_to(lot, (MOST_EXACT, len(lot))), axis=1)
    apart = np.abs(_apart(shuffled[:, :size].sum(axis=1), lot.sum(), size, len(lot)))
    return float((int((apart >= least).sum()) + 1) / (MOST_EXACT + 1))


@lru_cache(maxsize=4)
def _deals(count: int, size: int) -> npt.NDArray[np.intp]:
    """The places of every way to deal `size` of `count` results; many pairs of groups are dealt alike."""
    return np.asarray(list(combinations(range(count), size)), dtype=np.intp)


def _least_p(first: int, second: int) -> float:
    """P of two groups that do not overlap: their own deal, and its mirror image where they are of one size."""
    return (2 if first == second else 1) / comb(first + second, first)


def _apart(part: Floats, whole: float, size: int, count: int) -> Floats:
    """Difference of the two means, from the sum of one group and the sum of all."""
    return part / size - (whole - part) / (count - size)


def _group(name: str, values: Sequence[float]) -> SpreadGroup:
    ordered = np.sort(np.asarray(values, dtype=float))
    quartiles = np.quantile(ordered, [0, 0.25, 0.5, 0.75, 1]).tolist()
    return SpreadGroup(name, tuple(ordered.tolist()), _mean(ordered), *quartiles)


def _mean(values: Floats) -> Interval:
    """A mean with Student's t interval; no bounds for a single value."""
    mean = float(values.mean())
    if len(values) < 2:
        return Interval(mean)
    error = float(values.std(ddof=1)) / np.sqrt(len(values))
    half = float(scipy.stats.t.ppf((1 + CONFIDENCE) / 2, len(values) - 1) * error)
    return Interval(mean, mean - half, mean + half)
