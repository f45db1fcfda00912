"""Cohorts: groups of rows, told apart by their columns, on which a model does worse than on the rest."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Literal, TypeAlias

import numpy as np
import numpy.typing as npt

from luthier.errors import DataError
from luthier.evaluation.filters import Filter, Filters, meets
from luthier.evaluation.resampling import Floats, Interval, difference_of, mean_interval, rate_interval
from luthier.evaluation.statistics import ALPHA

if TYPE_CHECKING:
    import pandas as pd

__all__ = ["Cohort", "CohortMeasure", "CohortSearch", "Filter", "find_cohorts", "meets"]

CohortMeasure = Literal["error rate", "mean distance"]
Mask: TypeAlias = npt.NDArray[np.bool_]

SMALLEST = 40
"""Fewest rows in a cohort, unless `SMALLEST_SHARE` is more."""

SMALLEST_SHARE = 0.02

MOST_SHARE = 0.5
"""A cohort is at most half of the rows; what is wrong with most of them is said by the metrics."""

MOST_ROWS = 10_000
"""Rows that are searched. Of more, a random sample is."""

SAME = 0.95
"""Filters whose shared rows are this share of all their rows, or more, are one (the Jaccard index)."""

MOST_PAIRS = 4_000
"""Most candidates of two filters. In a wide table they have fewer thresholds and values than candidates of one."""

SPLITS = 10
"""Random splits into halves. Each half finds in turn and the other tests: twice as many tests."""

PERMUTATIONS = 400
"""How often losses are assigned to rows at random. The smallest p-value is 1 / (1 + `PERMUTATIONS`)."""

CHUNK = 1000
"""Candidates whose figures are computed at once: 1,000 x 10,000 rows take 40 MB."""

ONE_SIDED = 1.645
"""Standard deviations above the mean that 5% of a normal variable lie beyond."""

TIE = 1e-5
"""Statistics that differ by less are equal but for rounding."""

MOST_CONFIRMED = 5
"""Cohorts that are confirmed one after another."""

MOST_UNCONFIRMED = 3
"""Candidates shown that the other halves did not confirm."""


@dataclass(frozen=True, slots=True)
class Cohort:
    """Rows that meet every filter, and how the model does on them.

    Every figure but the p-values is of one half of the rows that had no part in finding the cohort: of all halves that
    tested it, the one with the median difference.

    Attributes:
        filters: one or two conditions, all of which hold.
        rows: how many rows of that half meet them.
        share: their share of that half, 0 to 1.
        value: error rate or mean distance of these rows, as `CohortSearch.measure` says.
        rest: the same of the other rows of that half.
        difference: `value` minus `rest`, with its 95% interval.
        p: one-sided, for "not worse than the rest", uncorrected; of all halves together.
        corrected: the same, corrected for every candidate that was tried.
        confirmed: whether `corrected` is below 0.05.
    """

    filters: tuple[Filter, ...]
    rows: int
    share: float
    value: Interval
    rest: Interval
    difference: Interval
    p: float
    corrected: float
    confirmed: bool

    def __str__(self) -> str:
        return " and ".join(str(one) for one in self.filters)


@dataclass(frozen=True, slots=True)
class CohortSearch:
    """What a search for the worst cohorts came to.

    Attributes:
        cohorts: the confirmed ones, worst first, then up to three that were found and not confirmed. Each is worse than
            the rest also without the rows of those before it.
        measure: what `value` of a cohort is: the share of rows that is wrong, or the mean distance from the truth.
        rows: rows that were searched; rows with the same text count as one.
        tested: candidates that were tried, which is what p-values are corrected for.
        columns: columns that were searched.
        smallest: fewest rows that a cohort may have.
        notes: what a reader should know, such as columns left out.
    """

    cohorts: tuple[Cohort, ...]
    measure: CohortMeasure
    rows: int
    tested: int
    columns: tuple[str, ...]
    smallest: int
    notes: tuple[str, ...] = ()

    @property
    def confirmed(self) -> tuple[Cohort, ...]:
        """The cohorts that were found on halves of the rows and confirmed on the others."""
        return tuple(one for one in self.cohorts if one.confirmed)


def find_cohorts(
    features: pd.DataFrame, losses: npt.ArrayLike, *, texts: Sequence[str | None] | None = None, seed: int = 7
) -> CohortSearch:
    """The cohorts on which a model does worst, found on one half of the rows and confirmed on the other.

    A search over hundreds of cohorts always finds some that look bad. So rows are split into halves at random, several
    times. A half finds a candidate if it does worse there than 95 of 100 random ones would; the other half, which had
    no part in finding it, tests it. A candidate's statistic is the mean of its tests, 0 where it was not found. It is
    confirmed if losses assigned to rows at random give the best of all candidates as much in fewer than 5% of cases:
    the whole search is repeated for each of these, so that where nothing but chance is at work at most 5% of searches
    confirm a cohort.

    Of 1,000 rows, a cohort of 8% that is right 25 points less often is confirmed in 94 of 100 tables where the rest is
    right in 80% of rows and one category tells it apart, in 81 if it takes a threshold and in 54 if it takes two
    filters; where the rest is right in 75%, in 88, 79 and 45; in 90%, in 99, 94 and 71 (benchmarks/cohorts.py). Often
    another cohort that shares rows with it is reported instead. What is not confirmed may still be there.

    Args:
        features: what rows are divided by: columns of numbers, dates, booleans or categories; a row per loss.
        losses: whether each row is wrong, or how far off it is (0 where it is right); shape (rows,). Of ratings the
            distances tell more: a cohort that is far off shows although as many rows are wrong as elsewhere.
        texts: of the rows. Rows with the same text count as one, with their mean loss and the columns of the first:
            in both halves of a split, copies would confirm each other.
        seed: of the splits and the random assignments.

    Raises:
        DataError: there is not one loss, or not one text, for each row, or a loss is no number.

    Source: the split, Cox 1975, A Note on Data-Splitting for the Evaluation of Significance Levels; several splits,
    Meinshausen, Meier and Buehlmann 2009, p-Values for High-Dimensional Regression; the correction by the best of all
    candidates under random assignments, Westfall and Young 1993, Resampling-Based Multiple Testing.
    """
    loss = np.asarray(losses, dtype=float)
    if loss.shape != (len(features),) or not np.isfinite(loss).all():
        raise DataError(
            f"losses have the shape {loss.shape} and there are {len(features)} rows; give one finite number per row."
        )
    measure: CohortMeasure = "error rate" if np.isin(loss, (0, 1)).all() else "mean distance"
    notes = []
    if texts is not None:
        features, loss = _without_copies(features, loss, texts)
        if copies := np.size(losses) - len(loss):
            notes.append(f"{copies:,} rows have the text of another; they count as one row with it.")
    if len(loss) > MOST_ROWS:
        notes.append(f"Searched in a random sample of {MOST_ROWS:,} of {len(loss):,} rows.")
        sample = np.sort(np.random.default_rng(seed).choice(len(loss), MOST_ROWS, replace=False))
        features, loss = features.iloc[sample], loss[sample]
    smallest, most = max(SMALLEST, round(SMALLEST_SHARE * len(loss))), int(MOST_SHARE * len(loss))
    nothing = CohortSearch((), measure, len(loss), 0, (), smallest)
    if most < smallest:
        return replace(nothing, notes=(*notes, f"{len(loss)} rows are too few to search; it takes {2 * smallest}."))
    filters = Filters.of(features, smallest, most)
    if filters.left_out:
        notes.append(
            f"Left out, as no value or threshold gives {smallest} to {most} rows: {', '.join(filters.left_out)}."
        )
    nothing = replace(nothing, columns=filters.columns, notes=tuple(notes))
    if not filters.tried:
        return nothing
    if not np.ptp(loss):
        return replace(nothing, notes=(*notes, f"Every row has the same loss, {loss[0]:g}; no cohort is worse."))
    candidates = _candidates(filters, smallest)
    kept = _one_after_another(candidates, loss, seed)
    cohorts = [_cohort([filters.tried[k] for k in one.candidate.places], one, loss, measure, seed) for one in kept]
    cohorts.sort(key=lambda one: (not one.confirmed, -one.difference.value if one.confirmed else one.p))
    return replace(nothing, cohorts=tuple(cohorts), tested=len(candidates))


@dataclass(frozen=True)
class _Candidate:
    """A cohort that is tried.

    Attributes:
        places: its filters, by place.
        kind: what it is told apart by. A kind with many candidates is worse by chance than one with few, so that the
            5% are shared equally between kinds.
        rows: which rows it has.
    """

    places: tuple[int, ...]
    kind: Literal["category", "threshold", "two filters"]
    rows: Mask


@dataclass(frozen=True)
class _Tested:
    """A candidate that at least one half found, and what the other halves say of it.

    Attributes:
        candidate: what was tested.
        rank: its statistic, less what the worst of its kind comes to by chance.
        p: as in `Cohort`.
        corrected: the same.
        halves: which rows each half that tested it has, shape (halves, rows).
    """

    candidate: _Candidate
    rank: float
    p: float
    corrected: float
    halves: Mask


def _without_copies(features: pd.DataFrame, loss: Floats, texts: Sequence[str | None]) -> tuple[pd.DataFrame, Floats]:
    """A row for each different text: the columns of the first row with it, and the mean loss of all."""
    if len(texts) != len(loss):
        raise DataError(f"there are {len(texts)} texts and {len(loss)} rows; give one text per row.")
    places: dict[str | None, int] = {}
    unit = np.array([places.setdefault(text, len(places)) for text in texts], dtype=int)
    first = np.unique(unit, return_index=True)[1]
    return features.iloc[first], np.bincount(unit, weights=loss) / np.bincount(unit)


def _candidates(filters: Filters, smallest: int) -> list[_Candidate]:
    """What is tried. Losses have no say in it, so that random assignments of them meet the same candidates."""
    members = filters.met.astype(np.float32)
    both = members @ members.T
    sizes = np.diag(both)
    alike = both >= SAME * (sizes[:, None] + sizes[None, :] - both)
    kept: list[int] = []
    for k in range(len(members)):
        if not alike[k, kept].any():
            kept.append(k)
    single = [
        _Candidate((k,), "category" if filters.tried[k].relation == "=" else "threshold", filters.met[k]) for k in kept
    ]
    # Together, two filters must leave out more than a tenth of the rows of each.
    possible = np.triu((both >= smallest) & (both <= 0.9 * np.minimum(sizes[:, None], sizes[None, :])), 1)
    for step in (1, 2, 4, 8, 16):
        places = np.array(_every(step, kept, filters.tried))
        first, second = np.nonzero(possible[np.ix_(places, places)])
        if len(first) <= MOST_PAIRS:
            break
    chosen = np.linspace(0, len(first) - 1, min(len(first), MOST_PAIRS)).astype(int)
    pairs = zip(places[first[chosen]].tolist(), places[second[chosen]].tolist(), strict=True)
    return single + [_Candidate((a, b), "two filters", filters.met[a] & filters.met[b]) for a, b in pairs]


def _every(step: int, places: Iterable[int], tried: Sequence[Filter]) -> list[int]:
    """All values of categories, and of the thresholds of each column one in so many."""
    of: dict[tuple[str, str], list[int]] = {}
    for k in places:
        of.setdefault((tried[k].column, tried[k].relation), []).append(k)
    return sorted(k for (_, relation), own in of.items() for k in own[:: 1 if relation == "=" else step])


def _one_after_another(candidates: Sequence[_Candidate], loss: Floats, seed: int) -> list[_Tested]:
    """The worst candidate, the worst without its rows, and so on while one is confirmed; then the nearest others.

    Long texts may be worse only because the longest are. So the next candidate is tested without the rows before it.
    """
    kept: list[_Tested] = []
    left = np.ones(len(loss), dtype=bool)
    while True:
        new = [one for one in candidates if 2 * (one.rows & left).sum() >= one.rows.sum() and (left & ~one.rows).any()]
        tested = _test(new, loss, left, seed) if np.ptp(loss[left]) else []
        if not tested or tested[0].corrected >= ALPHA or len(kept) == MOST_CONFIRMED:
            return kept + [one for one in tested if one.corrected >= ALPHA][:MOST_UNCONFIRMED]
        kept.append(tested[0])
        left &= ~tested[0].candidate.rows


def _test(candidates: Sequence[_Candidate], loss: Floats, left: Mask, seed: int) -> list[_Tested]:
    """The candidates that a half found with what the other halves say of them, worst first.

    Args:
        candidates: what is tried.
        loss: shape (rows,).
        left: rows that take part.
        seed: of the splits and the random assignments.
    """
    if not candidates:
        return []
    generator = np.random.default_rng(seed)
    halves = np.array([generator.permutation(len(loss)) < len(loss) // 2 for _ in range(SPLITS)])
    centred = (loss[left] - loss[left].mean()).astype(np.float32)
    # Losses as observed in the first column, then as assigned at random.
    assigned = np.stack([centred, *(generator.permutation(centred) for _ in range(PERMUTATIONS))], axis=1)
    statistics, found = [], []
    for start in range(0, len(candidates), CHUNK):
        members = np.array([one.rows[left] for one in candidates[start : start + CHUNK]], dtype=np.float32)
        mean, by = _held_out(members, assigned, halves[:, left])
        statistics.append(mean)
        found.append(by)
    statistic, finders = np.concatenate(statistics), np.concatenate(found)
    p = (statistic >= statistic[:, :1] - TIE).mean(axis=1)
    best = np.full(1 + PERMUTATIONS, -np.inf)
    kinds = np.array([one.kind for one in candidates])
    for kind in dict.fromkeys(kinds.tolist()):
        worst = statistic[kinds == kind].max(axis=0)
        by_chance = np.quantile(worst, 0.9)
        statistic[kinds == kind] -= by_chance
        best = np.maximum(best, worst - by_chance)
    corrected = (len(best) - np.searchsorted(np.sort(best), statistic[:, 0] - TIE)) / len(best)
    testers = np.stack([~halves, halves], axis=1).reshape(-1, len(loss))
    tested = [
        _Tested(one, float(statistic[k, 0]), float(p[k]), float(corrected[k]), testers[finders[k]])
        for k, one in enumerate(candidates)
        if finders[k].any()
    ]
    return sorted(tested, key=lambda one: -one.rank)


def _held_out(members: npt.NDArray[np.float32], assigned: Floats, halves: Mask) -> tuple[Floats, Mask]:
    """How much worse candidates are on the halves that did not find them.

    Args:
        members: which rows each candidate has, 0 or 1, shape (candidates, rows).
        assigned: losses, shape (rows, assignments).
        halves: which rows one half of each split has, shape (splits, rows).

    Returns:
        The mean over all halves of the standardised difference on the other half, 0 where the candidate was not found,
        shape (candidates, assignments); and which halves found it of losses as observed, shape (candidates, halves).
    """
    total: Floats = np.zeros((len(members), assigned.shape[1]), dtype=np.float32)
    found = np.zeros((len(members), 2 * len(halves)), dtype=bool)
    size, sums = members.sum(axis=1), members @ assigned
    for place, half in enumerate(halves):
        own = members[:, half]
        size_of_half, sums_of_half = own.sum(axis=1), own @ assigned[half]
        first = _standardised(size_of_half, sums_of_half, assigned[half])
        second = _standardised(size - size_of_half, sums - sums_of_half, assigned[~half])
        total += np.where(first > ONE_SIDED, second, 0) + np.where(second > ONE_SIDED, first, 0)
        found[:, 2 * place], found[:, 2 * place + 1] = first[:, 0] > ONE_SIDED, second[:, 0] > ONE_SIDED
    return total / (2 * len(halves)), found


def _standardised(sizes: Floats, sums: Floats, losses: Floats) -> Floats:
    """How many standard deviations a cohort's summed loss lies above that of random cohorts of its size.

    Args:
        sizes: rows of each cohort, shape (cohorts,).
        sums: of their losses, shape (cohorts, assignments).
        losses: of all rows, shape (rows, assignments).

    Source: the mean and variance of a sum under sampling without replacement, Cochran 1977, section 2.5.
    """
    count, size = len(losses), sizes[:, None]
    variance = size * (count - size) / (count - 1) * losses.var(axis=0)
    standardised: Floats = (sums - size * losses.mean(axis=0)) / np.sqrt(np.maximum(variance, 1e-6))
    return standardised


def _cohort(filters: Sequence[Filter], one: _Tested, loss: Floats, measure: CohortMeasure, seed: int) -> Cohort:
    """The record of a tested candidate, with the figures of the median half."""
    rows = one.candidate.rows
    ordered = sorted(one.halves, key=lambda half: float(loss[half & rows].mean() - loss[half & ~rows].mean()))
    half = ordered[(len(ordered) - 1) // 2]
    inside, outside = loss[half & rows], loss[half & ~rows]
    if measure == "error rate":
        value, rest = rate_interval(inside.sum(), len(inside)), rate_interval(outside.sum(), len(outside))
    else:
        value, rest = mean_interval(inside, seed), mean_interval(outside, seed)
    return Cohort(
        tuple(filters),
        len(inside),
        len(inside) / int(half.sum()),
        value,
        rest,
        difference_of(value, rest),
        one.p,
        one.corrected,
        one.corrected < ALPHA,
    )
