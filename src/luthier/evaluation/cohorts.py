"""Cohorts: groups of rows, told apart by their columns, on which a model does worse than on the rest."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, Literal, TypeAlias

import numpy as np
import numpy.typing as npt
import scipy

from luthier.errors import DataError
from luthier.evaluation.filters import Filter, Filters, meets
from luthier.evaluation.resampling import Floats, Interval, difference_of, mean_interval, rate_interval
from luthier.evaluation.statistics import ALPHA

if TYPE_CHECKING:
    import pandas as pd

__all__ = ["Cohort", "CohortMeasure", "CohortSearch", "Filter", "find_cohorts", "meets"]

CohortMeasure = Literal["error rate", "mean distance"]
Mask: TypeAlias = npt.NDArray[np.bool_]

SMALLEST = 20
"""Fewest rows of a half in a cohort, unless `SMALLEST_SHARE` is more."""

SMALLEST_SHARE = 0.02

MOST_SHARE = 0.5
"""A cohort is at most half of the rows; what is wrong with most of them is said by the metrics."""

CARRIED = 40
"""Most candidates of one filter, and most of two, that each half sends to the other. The correction knows that
candidates overlap, so that many cost little; benchmarks/cohorts.py found more harm with 40 than with 3."""

SAME = 0.95
"""Candidates whose shared rows are this share of all their rows, or more, are one (the Jaccard index)."""

CREDENCE = 0.75
"""How much the half that found a candidate counts in the share of the 5% it is tested at: 0 gives all the same, 1 what
the likelihood says."""

BEAM = 400
"""Filters, those with the worst rows first, that are tried two at a time."""

DRAWS = 4000
"""Random assignments of losses to the rows of a half that p-values are computed from."""

MOST_CELLS = 4_000_000
"""Cells of random tables that are held at once, 8 bytes each."""

ONE_SIDED = 1.645
"""Standard deviations above the mean that 5% of a normal variable lie beyond."""

MOST_UNCONFIRMED = 3
"""Candidates shown that the other half did not confirm."""


@dataclass(frozen=True, slots=True)
class Cohort:
    """Rows that meet every filter, and how the model does on them.

    It was found on one half of the rows. Every figure is of the other half, which had no part in finding it.

    Attributes:
        filters: one or two conditions, all of which hold.
        rows: how many rows of the other half meet them.
        share: their share of that half, 0 to 1.
        value: error rate or mean distance of these rows, as `CohortSearch.measure` says.
        rest: the same of the other rows of that half.
        difference: `value` minus `rest`, with its 95% interval.
        p: one-sided, for "not worse than the rest", uncorrected.
        corrected: the same, corrected for every candidate that was tested.
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
        cohorts: the confirmed ones, worst first, then up to three that the other half did not confirm. Each is worse
            than the rest also without the rows of those before it.
        measure: what `value` of a cohort is: the share of rows that is wrong, or the mean distance from the truth.
        rows: rows that were searched. Candidates are found on each half and tested on the other.
        tested: candidates that were tested, which is what p-values are corrected for.
        columns: columns that were searched.
        smallest: fewest rows of a half that a cohort may have.
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
        """The cohorts that both halves of the rows agree on."""
        return tuple(one for one in self.cohorts if one.confirmed)


def find_cohorts(features: pd.DataFrame, losses: npt.ArrayLike, *, seed: int = 7) -> CohortSearch:
    """The cohorts on which a model does worst, found on one half of the rows and confirmed on the other.

    A search over hundreds of cohorts always finds some that look bad. So each half of the rows is searched, and its
    worst candidates are tested on the other half, which had no part in finding them. p-values are corrected for all
    candidates of both halves: where nothing but chance is at work, at most 5% of searches confirm a cohort.

    A candidate is one filter or two. Of 1,000 rows, a cohort of 8% that is right 25 points less often is confirmed in
    96 of 100 tables where the rest is right in 90% of rows, in 82 where it is right in 80%, and in 74 where it is right
    in 60%; if it takes two filters in 88, 74 and 50 (benchmarks/cohorts.py). What is not confirmed may still be there.

    Args:
        features: what rows are divided by: columns of numbers, dates, booleans or categories; a row per loss.
        losses: whether each row is wrong, or how far off it is (0 where it is right); shape (rows,). Of ratings the
            distances tell more: a cohort that is far off shows although as many rows are wrong as elsewhere.
        seed: of the split into halves.

    Raises:
        DataError: there is not one loss for each row, or a loss is no number.

    Source: the split, Cox 1975, A Note on Data-Splitting for the Evaluation of Significance Levels; both halves in
    turn, Chernozhukov et al. 2018 (cross-fitting); the 5% shared out by what the other half saw, Wasserman and Roeder
    2006, Weighted Hypothesis Testing; the correction for candidates that overlap, Westfall and Young 1993.
    """
    loss = np.asarray(losses, dtype=float)
    if loss.shape != (len(features),) or not np.isfinite(loss).all():
        raise DataError(
            f"losses have the shape {loss.shape} and there are {len(features)} rows; give one finite number per row."
        )
    measure: CohortMeasure = "error rate" if np.isin(loss, (0, 1)).all() else "mean distance"
    half = len(loss) // 2
    smallest = max(SMALLEST, round(SMALLEST_SHARE * half))
    nothing = CohortSearch((), measure, len(loss), 0, (), smallest)
    if half < 2 * smallest:
        return replace(nothing, notes=(f"{len(loss)} rows are too few to search; it takes {4 * smallest}.",))
    filters = Filters.of(features, 2 * smallest, int(MOST_SHARE * len(loss)))
    notes = []
    if filters.left_out:
        notes.append(
            f"Left out, as no value or threshold gives {2 * smallest} to {int(MOST_SHARE * len(loss))} rows: "
            f"{', '.join(filters.left_out)}."
        )
    nothing = replace(nothing, columns=filters.columns, notes=tuple(notes))
    if not filters.tried:
        return nothing
    if not np.ptp(loss):
        return replace(nothing, notes=(*notes, f"Every row has the same loss, {loss[0]:g}; no cohort is worse."))
    first = _half(loss, seed)
    tested: list[_Tested] = []
    for searched in (first, ~first):
        candidates = _candidates(filters.met[:, searched], loss[searched], smallest)
        tested += _confirm(candidates, filters.met[:, ~searched], loss[~searched], ~searched, seed)
    kept = _without_repeats(tested, filters.met, loss)
    cohorts = [_cohort([filters.tried[k] for k in one.places], one, filters.met, loss, measure, seed) for one in kept]
    cohorts.sort(key=lambda one: (not one.confirmed, -one.difference.value if one.confirmed else one.p))
    return replace(nothing, cohorts=tuple(cohorts), tested=len(tested))


@dataclass(frozen=True)
class _Candidate:
    """A cohort that one half of the rows found.

    Attributes:
        places: its filters, by place.
        score: how unlikely its mean loss is by chance, as a logarithm, less what trying so many explains.
    """

    places: tuple[int, ...]
    score: float


@dataclass(frozen=True)
class _Tested:
    """A candidate with its p-values, and the half of the rows they are of."""

    places: tuple[int, ...]
    half: Mask
    p: float
    corrected: float


def _half(loss: Floats, seed: int) -> Mask:
    """One of two halves that hold equally many rows of each loss, as far as numbers allow."""
    generator = np.random.default_rng(seed)
    shuffled = generator.permutation(len(loss))
    ordered = shuffled[np.argsort(loss[shuffled], kind="stable")]
    pairs = len(loss) // 2
    half = np.zeros(len(loss), dtype=bool)
    half[ordered[2 * np.arange(pairs) + generator.integers(0, 2, pairs)]] = True
    return half


def _candidates(met: Mask, loss: Floats, smallest: int) -> list[_Candidate]:
    """The candidates that this half of the rows sends to the other.

    Args:
        met: which rows of the half meet each filter, shape (filters, rows).
        loss: shape (rows,).
        smallest: fewest rows of a candidate.
    """
    count = len(loss)
    centred = loss - loss.mean()
    members = met.astype(np.float32)
    sizes, sums = members.sum(axis=1), members @ centred.astype(np.float32)
    single = _standardised(sizes, sums, centred)
    single[(sizes < smallest) | (sizes > MOST_SHARE * count)] = -np.inf
    beam = np.argsort(-single, kind="stable")[:BEAM]
    beam = beam[np.isfinite(single[beam])]
    own = members[beam]
    both = own @ own.T
    pair = _standardised(both, (own * centred.astype(np.float32)) @ own.T, centred)
    less = np.minimum(sizes[beam][:, None], sizes[beam][None, :])
    worse = np.maximum(single[beam][:, None], single[beam][None, :])
    possible = (both >= smallest) & (both <= 0.9 * less)
    possible[np.tril_indices(len(beam))] = False
    pair[~possible | (pair <= worse)] = -np.inf
    ranked = np.argsort(-pair, axis=None, kind="stable")[: 50 * CARRIED]
    pairs = [(int(beam[k // len(beam)]), int(beam[k % len(beam)])) for k in ranked if pair.flat[k] > 0]
    # Two filters can be combined in many more ways, so that the worst of them is worse by chance.
    tried_one, tried_two = np.log(max(1, len(beam))), np.log(max(1, possible.sum()))
    found = [_Candidate((int(k),), _surprise(single[k]) - tried_one) for k in beam if single[k] > 0]
    found = _different(found, met)
    scores = [_surprise(pair.flat[k]) - tried_two for k in ranked if pair.flat[k] > 0]
    return found + _different([_Candidate(both, score) for both, score in zip(pairs, scores, strict=True)], met)


def _surprise(standardised: float) -> float:
    """Minus the logarithm of the chance of a normal variable above this."""
    return -float(scipy.special.log_ndtr(-standardised))


def _above(rows: Mask, loss: Floats) -> float:
    """`_standardised` for one cohort."""
    centred = loss - loss.mean()
    return float(_standardised(np.array([rows.sum()]), np.array([centred[rows].sum()]), centred)[0])


def _different(ranked: Sequence[_Candidate], met: Mask) -> list[_Candidate]:
    """The first `CARRIED` candidates, leaving out those of nearly the same rows as one before."""
    kept: list[_Candidate] = []
    rows = np.zeros((CARRIED, met.shape[1]), dtype=np.float32)
    for one in ranked:
        own = _rows(one.places, met).astype(np.float32)
        shared = rows[: len(kept)] @ own
        if not (shared >= SAME * (rows[: len(kept)].sum(axis=1) + own.sum() - shared)).any():
            rows[len(kept)] = own
            kept.append(one)
        if len(kept) == CARRIED:
            break
    return kept


def _rows(places: Sequence[int], met: Mask) -> Mask:
    """Which rows meet all filters at these places."""
    rows: Mask = np.logical_and.reduce(met[list(places)])
    return rows


def _standardised(sizes: npt.NDArray[Any], sums: npt.NDArray[Any], centred: Floats) -> Floats:
    """How many standard deviations a cohort's summed loss lies above that of random cohorts of its size.

    Source: the mean and variance of a sum under sampling without replacement, Cochran 1977, section 2.5.
    """
    count = len(centred)
    n = np.maximum(sizes.astype(float), 1.0)
    variance = (centred**2).mean() * n * (count - n) / (count - 1)
    standardised: Floats = sums / np.sqrt(np.maximum(variance, 1e-12))
    return standardised


def _confirm(candidates: Sequence[_Candidate], met: Mask, loss: Floats, half: Mask, seed: int) -> list[_Tested]:
    """Tests the candidates on the half that did not find them.

    The p-value of one is the share of random assignments of losses to rows that make it at least as bad. It is
    compared with its share of 2.5%, the larger the more the other half believed in it; the corrected p-value is how
    often the best of all candidates does as well by chance, times two for the two halves.

    Args:
        candidates: what the other half found.
        met: which rows of this half meet each filter, shape (filters, rows).
        loss: of this half, shape (rows,).
        half: which of all rows are in this half.
        seed: of the assignments.
    """
    members = np.array([_rows(one.places, met) for one in candidates], dtype=bool).reshape(-1, len(loss))
    used = np.flatnonzero(members.any(axis=1)).tolist()
    if not used or not np.ptp(loss):
        return []
    members = members[used]
    score = np.array([candidates[k].score for k in used])
    weight = np.exp(CREDENCE * (score - score.max()))
    weight /= weight.sum()
    drawn = np.vstack([members @ loss, _random_sums(members, loss, seed)])
    # p-values of the observed sums, in the first line, and of every random assignment.
    chances = np.empty_like(drawn)
    for k, sums in enumerate(drawn.T):
        chances[:, k] = 1 - np.searchsorted(np.sort(sums), sums - 1e-9 * max(1.0, np.abs(sums).max())) / len(sums)
    least = (chances / weight).min(axis=1)
    return [
        _Tested(candidates[place].places, half, float(p), float(min(1.0, 2 * (least <= p / own + 1e-12).mean())))
        for place, p, own in zip(used, chances[0], weight, strict=True)
    ]


def _random_sums(members: Mask, loss: Floats, seed: int) -> Floats:
    """Summed loss of each cohort when losses are assigned to rows at random, shape (`DRAWS`, cohorts).

    Rows that are in the same cohorts are alike, so one draw is a random table of such kinds of rows by losses. Losses
    are rounded to hundredths of their range, which leaves ratings as they are.

    Source: Patefield 1981, An Efficient Method of Generating Random R x C Tables.
    """
    kinds, kind = np.unique(members, axis=1, return_inverse=True)
    step = np.ptp(loss) / 100
    values, counts = np.unique(np.round((loss - loss.min()) / step) * step + loss.min(), return_counts=True)
    sizes = np.bincount(kind.ravel())
    tables = scipy.stats.random_table(sizes, counts, seed=seed)
    chunk = max(1, min(DRAWS, MOST_CELLS // (len(sizes) * len(values))))
    within = kinds.T.astype(float)
    return np.concatenate([tables.rvs(min(chunk, DRAWS - start)) @ values @ within for start in range(0, DRAWS, chunk)])


def _without_repeats(tested: Sequence[_Tested], met: Mask, loss: Floats) -> list[_Tested]:
    """The confirmed candidates and the nearest of the others, without those that say again what is said before them.

    A candidate is kept if its rows are worse than the rest also when the rows of those before it are left out.
    """

    def surprise(one: _Tested) -> float:
        loss_of_half = loss[one.half]
        return _above(_rows(one.places, met)[one.half], loss_of_half)

    kept: list[_Tested] = []
    said = np.zeros(len(loss), dtype=bool)
    for one in sorted(tested, key=lambda one: (one.corrected >= ALPHA, -surprise(one))):
        rows = _rows(one.places, met)
        left = one.half & ~said
        new = rows[left]
        if 2 * new.sum() < rows[one.half].sum() or not 0 < new.sum() < len(new):
            continue
        if _above(new, loss[left]) < ONE_SIDED:
            continue
        if one.corrected >= ALPHA and sum(other.corrected >= ALPHA for other in kept) == MOST_UNCONFIRMED:
            break
        kept.append(one)
        said |= rows
    return kept


def _cohort(
    filters: Sequence[Filter], one: _Tested, met: Mask, loss: Floats, measure: CohortMeasure, seed: int
) -> Cohort:
    """The record of a tested candidate."""
    rows, half = _rows(one.places, met)[one.half], loss[one.half]
    inside, outside = half[rows], half[~rows]
    if measure == "error rate":
        value, rest = rate_interval(inside.sum(), len(inside)), rate_interval(outside.sum(), len(outside))
    else:
        value, rest = mean_interval(inside, seed), mean_interval(outside, seed)
    return Cohort(
        tuple(filters),
        len(inside),
        len(inside) / len(half),
        value,
        rest,
        difference_of(value, rest),
        one.p,
        one.corrected,
        one.corrected < ALPHA,
    )
