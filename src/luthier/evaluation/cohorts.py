"""Cohorts: groups of rows, told apart by their columns, on which a model does worse than on the rest."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Literal, TypeAlias

import numpy as np
import numpy.typing as npt
import scipy

from luthier.errors import DataError
from luthier.evaluation.filters import Filter, Filters, meets
from luthier.evaluation.resampling import Floats, Interval, difference_of, mean_interval, rate_interval
from luthier.evaluation.statistics import ALPHA, holm

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

CARRIED = {1: 3, 2: 3}
"""Candidates that each half sends to the other, by number of filters."""

SAME = 0.5
"""Candidates whose shared rows are this share of all their rows, or more, count as one (the Jaccard index)."""

BEAM = 400
"""Filters, those with the worst rows first, that are tried two at a time."""

DRAWS = 20_000
"""Random cohorts that the p-value of a mean distance is computed from."""


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
        corrected: the same after Holm's correction over every candidate that was tested.
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
        cohorts: the confirmed ones, worst first, then candidates that the other half did not confirm.
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

    A search over hundreds of cohorts always finds some that look bad. So each half of the rows is searched, and the
    few worst candidates of each are tested on the half that had no part in finding them, with Holm's correction over
    all of them: where nothing but chance is at work, at most 5% of searches confirm a cohort.

    A candidate is one filter or two. Among equally long candidates the one whose mean loss is least likely by chance
    is taken first, and one that holds nearly the same rows as a better one is dropped.

    Args:
        features: what rows are divided by: columns of numbers, dates, booleans or categories; a row per loss.
        losses: whether each row is wrong, or how far off it is (0 where it is right); shape (rows,). Of ratings the
            distances tell more: a cohort that is far off shows although as many rows are wrong as elsewhere.
        seed: of the split into halves.

    Raises:
        DataError: there is not one loss for each row, or a loss is no number.

    Source: the split, Cox 1975, A Note on Data-Splitting for the Evaluation of Significance Levels; using both halves
    in turn, Chernozhukov et al. 2018 (cross-fitting).
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
    found: list[Cohort] = []
    masks: list[Mask] = []
    for searched in (first, ~first):
        for places in _candidates(filters.met[:, searched], loss[searched], smallest):
            rows: Mask = np.logical_and.reduce(filters.met[list(places)])
            if (rows & ~searched).any():
                named = tuple(filters.tried[place] for place in places)
                found.append(_tested(named, rows[~searched], loss[~searched], measure, seed))
                masks.append(rows)
    corrected = holm([one.p for one in found])
    order = sorted(range(len(found)), key=lambda place: (corrected[place], found[place].p))
    kept: list[int] = []
    for place in order:
        if all(_jaccard(masks[place], masks[other]) < SAME for other in kept):
            kept.append(place)
    cohorts = [replace(found[i], corrected=corrected[i], confirmed=corrected[i] < ALPHA) for i in kept]
    cohorts.sort(key=lambda one: (not one.confirmed, -one.difference.value if one.confirmed else one.p))
    return replace(nothing, cohorts=tuple(cohorts), tested=len(found))


def _half(loss: Floats, seed: int) -> Mask:
    """One of two halves that hold equally many rows of each loss, as far as numbers allow."""
    generator = np.random.default_rng(seed)
    shuffled = generator.permutation(len(loss))
    ordered = shuffled[np.argsort(loss[shuffled], kind="stable")]
    pairs = len(loss) // 2
    half = np.zeros(len(loss), dtype=bool)
    half[ordered[2 * np.arange(pairs) + generator.integers(0, 2, pairs)]] = True
    return half


def _candidates(met: Mask, loss: Floats, smallest: int) -> list[tuple[int, ...]]:
    """Filters, by place, of the candidates that this half of the rows sends to the other.

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
    pair[(both < smallest) | (both > 0.9 * less) | (pair <= worse)] = -np.inf
    pair[np.tril_indices(len(beam))] = -np.inf
    out: list[tuple[int, ...]] = []
    rows: list[Mask] = []
    ranked_pairs = np.argsort(-pair, axis=None, kind="stable")[:2000]
    for level, ranked in (
        (1, [(int(one),) for one in beam]),
        (2, [tuple(map(int, beam[list(np.unravel_index(k, pair.shape))])) for k in ranked_pairs if pair.flat[k] > 0]),
    ):
        taken = 0
        for places in ranked:
            if taken == CARRIED[level]:
                break
            mask: Mask = np.logical_and.reduce(met[list(places)])
            if all(_jaccard(mask, other) < SAME for other in rows):
                out.append(places)
                rows.append(mask)
                taken += 1
    return out


def _standardised(sizes: npt.NDArray[np.float32], sums: npt.NDArray[np.float32], centred: Floats) -> Floats:
    """How many standard deviations a cohort's summed loss lies above that of random cohorts of its size.

    Source: the mean and variance of a sum under sampling without replacement, Cochran 1977, section 2.5.
    """
    count = len(centred)
    n = np.maximum(sizes.astype(float), 1.0)
    variance = (centred**2).mean() * n * (count - n) / (count - 1)
    standardised: Floats = sums / np.sqrt(np.maximum(variance, 1e-12))
    return standardised


def _jaccard(first: Mask, second: Mask) -> float:
    return float((first & second).sum() / max(1, (first | second).sum()))


def _tested(filters: Sequence[Filter], rows: Mask, loss: Floats, measure: CohortMeasure, seed: int) -> Cohort:
    """A candidate on the half it was not found on."""
    inside, outside = loss[rows], loss[~rows]
    if measure == "error rate":
        value, rest = rate_interval(inside.sum(), len(inside)), rate_interval(outside.sum(), len(outside))
        p = float(scipy.stats.hypergeom.sf(inside.sum() - 1, len(loss), loss.sum(), len(inside)))
    else:
        value, rest = mean_interval(inside, seed), mean_interval(outside, seed)
        p = _chance(inside, loss, seed)
    share = len(inside) / len(loss)
    return Cohort(tuple(filters), len(inside), share, value, rest, difference_of(value, rest), p, 1.0, False)


def _chance(inside: Floats, loss: Floats, seed: int) -> float:
    """One-sided p-value for "these rows are a random draw from all": a permutation test on the mean loss.

    Losses are rounded to hundredths of their range, which leaves ratings as they are and the test exact; how many rows
    of each loss a random cohort holds is then one draw from the multivariate hypergeometric distribution.

    Source: Fisher 1935, section 21; (count + 1) as in Phipson and Smyth 2010.
    """
    low, span = loss.min(), np.ptp(loss)
    steps, counts = np.unique(np.round((loss - low) / span * 100), return_counts=True)
    observed = np.round((inside - low) / span * 100).sum()
    generator = np.random.default_rng(seed)
    drawn = generator.multivariate_hypergeometric(counts, len(inside), size=DRAWS, method="marginals") @ steps
    return float((1 + (drawn >= observed - 1e-9).sum()) / (1 + DRAWS))
