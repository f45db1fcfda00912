"""Whether two specs that answered the same rows differ, and which specs cannot be told apart."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from fractions import Fraction
from functools import cache, reduce
from math import gcd, lcm

import numpy as np
import numpy.typing as npt
import scipy

from luthier.evaluation.resampling import CONFIDENCE, Floats, Interval, percentile_interval

__all__ = [
    "ALPHA",
    "Difference",
    "all_differences",
    "holm",
    "letters",
    "mcnemar",
    "paired_difference",
    "sign_flip",
]

ALPHA = 0.05
"""Two specs count as different when the corrected p-value is below this."""

LARGEST_EXACT_SUM = 1_000_000
"""Up to this many lattice points the sign-flip distribution is computed exactly (well under a second)."""

LARGEST_DIRECT_PRODUCT = 100_000
"""Up to so many products a convolution is faster, and exact to the last digit, without Fourier transforms."""

ALPHABET = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ"


@dataclass(frozen=True, slots=True)
class Difference:
    """A metric of the first spec minus that of the second, on the same rows.

    Attributes:
        interval: the difference with its 95% interval.
        standard_error: its bootstrap standard error.
        p: two-sided, for "there is no difference", uncorrected.
    """

    interval: Interval
    standard_error: float
    p: float


def paired_difference(first: float, second: float, first_draws: Floats, second_draws: Floats) -> Difference:
    """The difference of two metrics from the same bootstrap samples.

    p is twice the smaller share of samples on the other side of zero, (count + 1) / (samples + 1). Where no sample is
    on the other side that share says only "less than one in so many", too coarse for a correction over many pairs;
    there the normal tail at the bootstrap's standard error is taken if it is smaller.

    Args:
        first: the metric of one spec on all rows.
        second: that of the other.
        first_draws: the metric of the first per sample, shape (samples,).
        second_draws: that of the second, on the same samples.

    Source: Efron and Tibshirani 1993, sections 13.3 and 15.4; (count + 1) as in Davison and Hinkley 1997, 4.2.
    """
    return all_differences(np.array([first, second]), np.stack([first_draws, second_draws]))[0]


def all_differences(values: Floats, draws: Floats) -> list[Difference]:
    """`paired_difference` of every two specs, (0, 1), (0, 2), ..., (1, 2), ...; a leaderboard of 500 has 124,750.

    Args:
        values: the metric of each spec on all rows, shape (specs,).
        draws: the metric of each spec per sample, shape (specs, samples).

    Examples:
        >>> drawn = np.array([[0.5, 0.7, 0.6], [0.2, 0.3, 0.1], [0.5, 0.6, 0.6]])
        >>> found = all_differences(np.array([0.6, 0.2, 0.5]), drawn)
        >>> [round(difference.interval.value, 2) for difference in found]
        [0.4, 0.1, -0.3]
    """
    count, samples = draws.shape
    tail = (1 - CONFIDENCE) / 2
    found: list[Difference] = []
    for i in range(count - 1):
        apart = draws[i] - draws[i + 1 :]
        gaps = values[i] - values[i + 1 :]
        if samples < 2:
            found += [
                Difference(percentile_interval(float(gap), row), 0.0, 1.0) for gap, row in zip(gaps, apart, strict=True)
            ]
            continue
        errors = apart.std(axis=1, ddof=1)
        # Two equal metrics reached by different sums differ by rounding only, and that is no side of zero.
        beyond = np.minimum((apart <= 1e-12).sum(axis=1), (apart >= -1e-12).sum(axis=1))
        p = np.minimum(1.0, 2 * (beyond + 1) / (samples + 1))
        by_error = 2 * scipy.special.ndtr(-np.abs(gaps) / np.where(errors > 0, errors, 1.0))
        p = np.where((beyond == 0) & (errors > 0), np.minimum(p, by_error), p)
        # Specs that answer alike in every sample do not differ; a constant gap in every sample cannot be by chance.
        constant = ~(apart != apart[:, :1]).any(axis=1)
        p = np.where(constant, np.where(np.abs(apart[:, 0]) < 1e-12, 1.0, 2 / (samples + 1)), p)
        errors = np.where(constant, 0.0, errors)
        lows, highs = np.quantile(apart, [tail, 1 - tail], axis=1, overwrite_input=True)
        for gap, low, high, error, chance in zip(gaps, lows, highs, errors, p, strict=True):
            interval = Interval(float(gap), float(min(low, gap)), float(max(high, gap)))
            found.append(Difference(interval, float(error), float(chance)))
    return found


def mcnemar(first_correct: npt.NDArray[np.bool_], second_correct: npt.NDArray[np.bool_]) -> float:
    """Exact two-sided p-value for "both are right equally often", from the rows where only one is right.

    Args:
        first_correct: whether one spec is right, shape (rows,).
        second_correct: whether the other is, on the same rows.

    Examples:
        >>> mcnemar(np.array([True] * 6), np.array([False] * 6))
        0.03125

    Source: McNemar 1947 with the binomial distribution instead of chi-square; recommended for comparing classifiers
    on one test set by Dietterich 1998.
    """
    only_first = int((first_correct & ~second_correct).sum())
    only_second = int((second_correct & ~first_correct).sum())
    return _even_chance(min(only_first, only_second), only_first + only_second)


@cache
def _even_chance(fewer: int, tosses: int) -> float:
    """Two-sided exact p-value for a fair coin; kept, because the pairs of a large leaderboard repeat the counts."""
    return min(1.0, 2 * float(scipy.special.bdtr(fewer, tosses, 0.5))) if tosses else 1.0


@cache
def _tosses(count: int) -> Floats:
    """Chances of 0 to `count` heads of a fair coin."""
    chances: Floats = scipy.stats.binom.pmf(np.arange(count + 1), count, 0.5)
    return chances


def sign_flip(differences: Floats) -> float:
    """Two-sided p-value for "the paired differences are as often up as down", exact where that is feasible.

    Chosen over Wilcoxon's signed ranks because distances between ratings are whole steps: most differences tie and
    many are 0, which ranks treat badly, while flipping signs tests the very thing reported, the difference in mean
    distance. With few distinct distances the sum of +-d has an exact distribution, the convolution of one binomial
    per distance; beyond a million points its normal limit is taken.

    Args:
        differences: paired differences, shape (rows,), such as |error| of one spec minus |error| of the other.

    Examples:
        >>> sign_flip(np.array([1.0, 1.0, 2.0, 0.0]))
        0.25

    Source: Fisher 1935, The Design of Experiments, section 21; Good 2005, Permutation Tests, section 3.2.
    """
    moved = differences[np.abs(differences) > 1e-12]
    if not len(moved):
        return 1.0
    sizes, counts = np.unique(np.abs(moved).round(9), return_counts=True)
    units = _whole(tuple(sizes.tolist()))
    observed = abs(float(moved.sum()))
    if units is None or sum(u * int(c) for u, c in zip(units, counts, strict=True)) > LARGEST_EXACT_SUM:
        return float(min(1.0, 2 * scipy.stats.norm.sf(observed / np.sqrt((moved**2).sum()))))
    # Index k of `chances` stands for a sum of 2 k units above the lowest, which is -total.
    chances = np.ones(1)
    for unit, count in zip(units, counts, strict=True):
        flips = np.zeros(unit * int(count) + 1)
        flips[::unit] = _tosses(int(count))
        if len(chances) * len(flips) <= LARGEST_DIRECT_PRODUCT:
            chances = np.convolve(chances, flips)
        else:
            chances = np.clip(scipy.signal.fftconvolve(chances, flips), 0, None)
    total = sum(u * int(c) for u, c in zip(units, counts, strict=True))
    step = float(sizes[0]) / units[0]
    sums = (2 * np.arange(total + 1) - total) * step
    return float(min(1.0, chances[np.abs(sums) >= observed - step / 2].sum()))


@cache
def _whole(sizes: tuple[float, ...]) -> list[int] | None:
    """The sizes as multiples of their common unit, `None` where that unit is absurdly small."""
    fractions = [Fraction(str(size)).limit_denominator(10_000) for size in sizes]
    if any(abs(float(f) - size) > 1e-9 for f, size in zip(fractions, sizes, strict=True)):
        return None
    below = reduce(lcm, (f.denominator for f in fractions))
    whole = [int(f * below) for f in fractions]
    common = reduce(gcd, whole)
    return [w // common for w in whole] if common else None


def holm(p_values: Sequence[float]) -> list[float]:
    """p-values corrected so that the chance of any false finding among them stays below the level.

    Examples:
        >>> holm([0.01, 0.04, 0.03])
        [0.03, 0.06, 0.06]

    Source: Holm 1979, A Simple Sequentially Rejective Multiple Test Procedure. No assumption on how tests depend.
    """
    corrected = [1.0] * len(p_values)
    running = 0.0
    for place, i in enumerate(sorted(range(len(p_values)), key=lambda k: p_values[k])):
        running = max(running, min(1.0, (len(p_values) - place) * p_values[i]))
        corrected[i] = running
    return corrected


def letters(count: int, different: Mapping[tuple[int, int], bool]) -> list[str]:
    """A compact letter display: specs that share a letter cannot be told apart.

    Args:
        count: number of specs, best first.
        different: for pairs (i, j) with i < j, whether they differ; a pair that is absent does not.

    Returns:
        Letters per spec; `a` goes to the best spec's group. Where there are more groups than letters, `c..f` stands
        for all from c to f, and only neighbours in rank share letters.

    Examples:
        >>> letters(3, {(0, 2): True})
        ['a', 'ab', 'b']
        >>> letters(3, {(0, 1): True, (0, 2): True})
        ['a', 'b', 'b']

    Source: Piepho 2004, An Algorithm for a Letter-Based Representation of All-Pairwise Comparisons
    (insert and absorb).
    """
    # A group is the set bits of a number: that keeps the thousands of splits of a large leaderboard quick.
    groups = [(1 << count) - 1]
    for (i, j), differ in different.items():
        if not differ:
            continue
        both = 1 << i | 1 << j
        kept = [group for group in groups if group & both != both]
        parts = dict.fromkeys(part for g in groups if g & both == both for part in (g & ~(1 << i), g & ~(1 << j)))
        # Only what was just split can lie within another group.
        for part in sorted(parts, key=int.bit_count, reverse=True):
            if not any(part & other == part for other in kept):
                kept.append(part)
        groups = kept
        if len(groups) > len(ALPHABET):
            return _runs(count, different)
    held = sorted([spec for spec in range(count) if group >> spec & 1] for group in groups)
    return ["".join(ALPHABET[k] for k, group in enumerate(held) if spec in group) for spec in range(count)]


def _runs(count: int, different: Mapping[tuple[int, int], bool]) -> list[str]:
    """Letters for neighbours in rank only, where there are too many groups for the alphabet.

    Specs that share a letter still cannot be told apart; some that cannot be told apart share none.
    """
    # The first place that differs from a spec or from one between them ends its run.
    ends = [count] * count
    for (i, j), differ in different.items():
        if differ:
            ends[i] = min(ends[i], j)
    for i in reversed(range(count - 1)):
        ends[i] = min(ends[i], ends[i + 1])
    starts = [i for i in range(count) if i == 0 or ends[i] > ends[i - 1]]
    out = []
    for spec in range(count):
        inside = [k for k, start in enumerate(starts) if start <= spec < ends[start]]
        first, last = _letter(inside[0]), _letter(inside[-1])
        out.append(first if len(inside) == 1 else f"{first}..{last}")
    return out


def _letter(index: int) -> str:
    """One of a to z and A to Z, then aa, ab, ..."""
    size = len(ALPHABET)
    return ALPHABET[index] if index < size else _letter(index // size - 1) + ALPHABET[index % size]
