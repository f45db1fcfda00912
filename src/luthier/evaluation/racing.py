"""A race: many candidates on the same rows, block by block; a candidate that cannot win any more is asked no more rows.

Pure: `race` yields which candidates to score on which rows, is sent the scores, and returns the outcome. The rows
are a finite population in random order, so each block narrows what the rows to come can still change. That is why a
race agrees with evaluating every candidate on every row, at a fraction of the calls.

With a `tolerance` of 0 or more it looks for one winner, as a choice of examples does. Below 0 it looks for all that
the full evaluation could not tell from the best, as a leaderboard does: a candidate then stays until it is clear that
it will end significantly behind.

Dropping losers by a test comes from Hoeffding races (Maron and Moore 1994) and F-race (Birattari et al. 2002; irace,
López-Ibáñez et al. 2016); here the test is paired and knows how many rows are still to come.
"""

from __future__ import annotations

from collections.abc import Collection, Generator, Sequence
from dataclasses import dataclass
from functools import cache
from itertools import combinations, pairwise
from math import ceil, inf, sqrt
from typing import Literal, TypeAlias

import numpy as np
import scipy

from luthier.errors import DataError
from luthier.evaluation.resampling import CONFIDENCE, Floats, Interval, rate_interval
from luthier.evaluation.statistics import ALPHA, sign_flip

__all__ = [
    "EARLY_LOOKS",
    "FEWEST_ROWS",
    "Block",
    "Outcome",
    "Race",
    "Racer",
    "block_ends",
    "largest_fields",
    "race",
    "rehearse",
    "tie_tolerance",
]

LOOKS = (0.2, 0.3, 0.4, 0.5, 0.6, 0.7, 0.8, 0.9)
"""Shares of the rows after which losers are dropped; earlier a test could drop no candidate of a hundred rows."""

EARLY_LOOKS = (0.05, 0.075, 0.1, 0.14, 0.2, 0.28, 0.38, 0.5, 0.6, 0.7, 0.8, 0.9)
"""The same for larger tables, on which a clear loser shows in a twentieth of the rows."""

FEWEST_ROWS = 20
"""Rows before the first of the early looks."""

TOLERANCE = 1.0
"""How far behind the best the winner may end, in standard errors of the full evaluation's paired difference: the
one-standard-error rule (Breiman et al. 1984, section 3.4.3). What is closer, the full evaluation could not tell
apart either."""

MOST = 0.5
"""Share of all evaluations a race may take at most."""

FEWEST_CUT = 8
"""With fewer candidates none is cut by rank: there is little to save."""


@dataclass(frozen=True, slots=True)
class Block:
    """What is to be scored next: the candidates still in the race, on the rows from `first` to before `end`.

    Scores are wanted in the order of `candidates`; blocks are numbered from 1, rows from 0 in the random order.
    """

    number: int
    candidates: tuple[int, ...]
    first: int
    end: int


@dataclass(frozen=True, slots=True)
class Racer:
    """The result of one candidate.

    Attributes:
        candidate: which one.
        rows: rows it was scored on.
        score: its mean score on them with a 95% interval: Wilson's where scores are 0 and 1, else Student's.
        p: two-sided, for "no difference to the winner", on the rows both were scored on; 1 for the winner.
        dropped_after: the block after which it was out; `None` for those that stayed.
        dropped_by: `test`, the paired test; `cut`, its rank, so that the race takes no more than its share.
    """

    candidate: int
    rows: int
    score: Interval
    p: float
    dropped_after: int | None = None
    dropped_by: Literal["test", "cut"] | None = None


@dataclass(frozen=True, slots=True)
class Outcome:
    """A race that is over.

    Attributes:
        winner: the candidate with the best mean among those that stayed, the first of equal ones.
        survivors: all that stayed, best first.
        racers: every candidate, in the order they were numbered.
        evaluations: scores it took.
        full_evaluations: scores that evaluating every candidate on every row would have taken.
        foreseen: for every two candidates that were not both asked about all rows, the two-sided p-value to be
            expected on all rows, if the difference and the deviation seen so far are the true ones.
    """

    winner: int
    survivors: tuple[int, ...]
    racers: tuple[Racer, ...]
    evaluations: int
    full_evaluations: int
    foreseen: tuple[float, ...] = ()


Race: TypeAlias = Generator[Block, Floats, Outcome]
"""Yields blocks, is sent scores of shape (candidates of the block, its rows), returns the outcome.

Where the scores of earlier rows change with each block, as pseudo-values do, those of all rows so far are sent:
shape (candidates of the block, its end). A score that is not known, as of a row that may be answered later, is NaN; who
has no score is not dropped."""


def tie_tolerance(candidates: int, alpha: float = ALPHA) -> float:
    """The tolerance that keeps all that a full evaluation, corrected for all its pairs, would not tell from the best.

    Examples:
        >>> round(tie_tolerance(12), 2)
        -3.37
    """
    pairs = max(1, candidates * (candidates - 1) // 2)
    return -float(scipy.stats.norm.isf(alpha / 2 / pairs))


def race(
    candidates: int,
    rows: int,
    *,
    alpha: float = ALPHA,
    tolerance: float = TOLERANCE,
    most: float = MOST,
    ends: Sequence[int] | None = None,
    kept: Collection[int] = (),
) -> Race:
    """Races candidates; higher scores are better.

    Guarantee: where no candidate was cut by rank, the winner's mean over ALL rows is less than `tolerance` standard
    errors behind that of the best candidate, except in at most a share `alpha` of the random orders. A candidate is
    dropped when a surviving one `beats` it. Any other candidate can wrongly drop the best one at any look, so the level
    of a single test is `alpha` / (candidates - 1) / looks (Bonferroni). And a candidate that
    eliminated another is itself dropped only if a surviving candidate beats both: tolerances do not add up along a
    chain of leaders.

    With a tolerance of -z and `most` 1 the guarantee is for a set: every candidate that ends less than z standard
    errors behind the best over all rows stays, except in at most a share `alpha` of the random orders. Any pair of
    those can err, in the direction in which one of them ends ahead, so a single test has the level `alpha` / pairs
    still racing / looks (Bonferroni, stepping down as Holm does). Whichever candidate will be the best, it ends no
    lower than the leader of the moment; the standard error is the largest that one of those that can still lead has.

    `most` is kept by cutting the lowest ranks where the tests alone leave too many: the field then shrinks by the
    same factor each block, a gentle successive halving (Karnin, Koren and Somekh 2013). It holds always; what it
    costs in agreement is measured in docs/examples.md. Candidates that are truly equal are what it cuts most.

    Args:
        candidates: how many there are, numbered from 0.
        rows: how many rows there are, in random order.
        alpha: error of the whole race.
        tolerance: see `TOLERANCE`; 0 asks for the very best, less for all that cannot be told from it.
        most: share of all evaluations it may take; 1 cuts none.
        ends: behind which rows the blocks end; `block_ends` when absent.
        kept: candidates that are never dropped, as they cost nothing.

    Raises:
        DataError: there is no candidate or no row.
    """
    if candidates < 1 or rows < 1:
        raise DataError(f"a race needs candidates and rows; given: {candidates} and {rows}.")
    ends = block_ends(rows) if ends is None else tuple(ends)
    field = _Field(candidates, rows, alpha, tolerance, looks=max(1, len(ends) - 1))
    for number, (first, end) in enumerate(pairwise((0, *ends)), start=1):
        scores = yield Block(number, tuple(field.racing), first, end)
        field.add(np.asarray(scores, dtype=float), first, end)
        if end == rows:
            break
        for loser in field.beaten():
            if loser not in kept:
                field.drop(loser, number, "test")
        left = most * candidates * rows - field.evaluations
        for loser in field.ranked[_affordable(candidates, len(field.racing), ends[number - 1 :], left) :]:
            field.drop(loser, number, "cut")
        if len(field.racing) == 1:
            break
    return field.outcome()


def rehearse(
    scores: Floats,
    *,
    alpha: float = ALPHA,
    tolerance: float = TOLERANCE,
    most: float = MOST,
    ends: Sequence[int] | None = None,
) -> Outcome:
    """The outcome of a race whose scores are all known: what racing would have saved.

    Args:
        scores: shape (candidates, rows), the rows in random order.
        alpha: as `race` takes it.
        tolerance: as `race` takes it.
        most: as `race` takes it.
        ends: as `race` takes it.

    Examples:
        >>> scores = np.array([[1.0, 1, 1, 0] * 25, [0.0, 0, 1, 0] * 25, [0.0, 1, 0, 0] * 25])
        >>> outcome = rehearse(scores)
        >>> outcome.winner, outcome.evaluations, [racer.dropped_after for racer in outcome.racers]
        (0, 60, [None, 1, 1])
    """
    racing = race(*scores.shape, alpha=alpha, tolerance=tolerance, most=most, ends=ends)
    block = next(racing)
    while True:
        try:
            block = racing.send(scores[list(block.candidates), block.first : block.end])
        except StopIteration as end:
            outcome: Outcome = end.value
            return outcome


def block_ends(rows: int, looks: Sequence[float] = LOOKS, fewest: int = 2) -> tuple[int, ...]:
    """Behind which rows the blocks end; the last one is all of them.

    Args:
        rows: how many there are.
        looks: shares of the rows after which losers are dropped.
        fewest: rows before the first look.

    Examples:
        >>> block_ends(100)
        (20, 30, 40, 50, 60, 70, 80, 90, 100)
        >>> block_ends(200, EARLY_LOOKS, FEWEST_ROWS)
        (20, 28, 40, 56, 76, 100, 120, 140, 160, 180, 200)
    """
    return tuple(sorted({*(max(fewest, ceil(share * rows - 1e-9)) for share in looks if rows > fewest), rows}))


def largest_fields(candidates: int, rows: int, most: float = MOST) -> tuple[int, ...]:
    """How many candidates each block has at most: what a race without tests would take.

    Examples:
        >>> largest_fields(30, 100)
        (30, 23, 17, 13, 10, 8, 7, 6, 6)
        >>> largest_fields(3, 100)
        (3, 3, 3, 3, 3, 3, 3, 3, 3)
    """
    ends = block_ends(rows)
    sizes = [candidates]
    spent = candidates * ends[0]
    for number in range(1, len(ends)):
        sizes.append(_affordable(candidates, sizes[-1], ends[number - 1 :], most * candidates * rows - spent))
        spent += sizes[-1] * (ends[number] - ends[number - 1])
    return tuple(sizes)


class _Field:
    """The scores seen so far, and the candidates still racing."""

    def __init__(self, candidates: int, rows: int, alpha: float, tolerance: float, looks: int) -> None:
        self.racing = list(range(candidates))
        self.evaluations = 0
        self._scores = np.full((candidates, rows), np.nan)
        self._reach = 0.0
        self._seen = [0] * candidates
        self._dropped: dict[int, tuple[int, Literal["test", "cut"]]] = {}
        self._per_look = alpha / looks
        self._tolerance = tolerance

    def add(self, scores: Floats, first: int, end: int) -> None:
        field = len(self.racing)
        if scores.shape not in ((field, end - first), (field, end)):
            raise DataError(f"the block wants scores of shape {(field, end - first)}, given {scores.shape}.")
        self._scores[self.racing, end - scores.shape[1] : end] = scores
        self.evaluations += field * (end - first)
        for candidate in self.racing:
            self._seen[candidate] = end
        known = self._scores[~np.isnan(self._scores)]
        self._reach = float(np.ptp(known)) if len(known) else 0.0

    @property
    def ranked(self) -> list[int]:
        """The candidates still racing, best first; of equal ones the lowest number first."""
        means = {c: _known_mean(self._scores[c, : self._seen[c]]) for c in self.racing}
        # Sums in another order differ by rounding only.
        return sorted(self.racing, key=lambda c: (-round(float(means[c]), 12), c))

    @property
    def _level(self) -> float:
        """Of a single test, which is one of several at each look."""
        field = len(self.racing)
        tests = field * (field - 1) // 2 if self._tolerance < 0 else len(self._seen) - 1
        return self._per_look / max(1, tests)

    def _apart(self, one: int, other: int) -> tuple[int, float, float]:
        """The rows both were scored on, their mean difference there, and its deviation from row to row.

        The deviation has one row more than was seen, at the full range of the scores: two candidates that answered
        20 rows alike are not known to answer all rows alike.
        """
        shared = min(self._seen[one], self._seen[other])
        apart = self._scores[one, :shared] - self._scores[other, :shared]
        apart = apart[~np.isnan(apart)]
        seen = len(apart)
        if seen < 2:
            return seen, 0.0, self._reach
        mean = float(apart.mean())
        return seen, mean, sqrt((float(((apart - mean) ** 2).sum()) + self._reach**2) / seen)

    def _least_lead(self, one: int, other: int) -> float:
        """How far `one` ends ahead of `other` over all rows, almost surely at least.

        With n of N rows seen, differences d and their deviation s, the mean over all N rows is known up to
        s sqrt((1 - n/N) / n), the standard error of a sample without replacement (Cochran 1977, section 2.6), in
        units of Student's t with n - 1 degrees of freedom.
        """
        seen, mean, deviation = self._apart(one, other)
        if seen < 2:
            return -inf
        unsure = deviation * sqrt((1 - seen / self._scores.shape[1]) / seen)
        return mean - _quantile(self._level, seen - 1) * unsure

    def beats(self, one: int, other: int) -> bool:
        """Whether `other` will, almost surely, not end `tolerance` standard errors or more ahead of `one`."""
        return self._lead_beyond(one, other, self._apart(one, other)[2]) > 0

    def _lead_beyond(self, one: int, other: int, deviation: float) -> float:
        """How much further than the tolerance `one` ends ahead, almost surely at least."""
        return self._least_lead(one, other) + self._tolerance * deviation / sqrt(self._scores.shape[1])

    def _behind_the_best(self, leader: int) -> list[int]:
        """Those that will, almost surely, end so many standard errors behind the best, whichever that will be."""
        losers = []
        leading = [c for c in self.racing if c == leader or self._least_lead(leader, c) <= 0]
        for candidate in self.racing:
            # One that the leader alone does not keep behind needs no look at the others.
            if candidate == leader or not self.beats(leader, candidate):
                continue
            deviation = max(self._apart(c, candidate)[2] for c in leading if c != candidate)
            if self._lead_beyond(leader, candidate, deviation) > 0:
                losers.append(candidate)
        return losers

    def foreseen(self, one: int, other: int) -> float:
        """The p-value of their difference that is to be expected on all rows.

        On n of N rows chance adds N/n - 1 on average to the square of the difference in standard errors of all rows.
        """
        seen, mean, deviation = self._apart(one, other)
        rows = self._scores.shape[1]
        # What is likely is asked here, not what is sure: without the row of full range.
        variance = deviation**2 - self._reach**2 / seen if seen > 1 else 0.0
        if variance <= 1e-12 * self._reach**2:
            return 1.0 if abs(mean) < 1e-12 else 0.0
        squared = rows * mean**2 / variance - (rows / seen - 1)
        return float(2 * scipy.stats.norm.sf(sqrt(max(0.0, squared))))

    def beaten(self) -> list[int]:
        """The candidates the leader beats, except those that alone still justify an earlier drop."""
        ranked = self.ranked
        leader = ranked[0]
        if self._tolerance < 0:
            # No tolerance adds up: who was beaten by one that is beaten itself is even further behind the best.
            return self._behind_the_best(leader)
        out = [c for c, (_, by) in self._dropped.items() if by == "test"]
        staying = set(self.racing)
        losers: list[int] = []
        for candidate in reversed(ranked[1:]):
            if not self.beats(leader, candidate):
                continue
            rest = [leader, *(staying - {leader, candidate})]
            if all(any(self.beats(voucher, gone) for voucher in rest) for gone in out):
                staying.discard(candidate)
                losers.append(candidate)
        return losers

    def drop(self, candidate: int, block: int, by: Literal["test", "cut"]) -> None:
        self.racing.remove(candidate)
        self._dropped[candidate] = (block, by)

    def outcome(self) -> Outcome:
        ranked = self.ranked
        winner = ranked[0]
        racers = []
        for candidate in range(len(self._seen)):
            shared = min(self._seen[candidate], self._seen[winner])
            apart = self._scores[candidate, :shared] - self._scores[winner, :shared]
            apart = apart[~np.isnan(apart)]
            block, by = self._dropped.get(candidate, (None, None))
            score = _mean(self._scores[candidate, : self._seen[candidate]])
            racers.append(Racer(candidate, self._seen[candidate], score, sign_flip(apart), block, by))
        rows = self._scores.shape[1]
        foreseen = tuple(
            self.foreseen(one, other)
            for one, other in combinations(range(len(self._seen)), 2)
            if min(self._seen[one], self._seen[other]) < rows
        )
        return Outcome(winner, tuple(ranked), tuple(racers), self.evaluations, self._scores.size, foreseen)


def _affordable(candidates: int, field: int, ends: Sequence[int], left: float) -> int:
    """How many of a field may stay for the next block if it shrinks by the same factor at each later block.

    `left` is how many evaluations the blocks after the first of `ends` may take.
    """
    steps = [after - before for before, after in pairwise(ends)]

    def price(factor: float) -> float:
        return sum(field * factor**place * step for place, step in enumerate(steps, start=1))

    if candidates < FEWEST_CUT or price(1.0) <= left:
        return field
    low, high = 0.0, 1.0
    for _ in range(50):
        middle = (low + high) / 2
        low, high = (low, middle) if price(middle) > left else (middle, high)
    return max(1, int(field * low + 1e-9))


@cache
def _quantile(level: float, freedom: int) -> float:
    return float(scipy.stats.t.isf(level, freedom))


def _known_mean(scores: Floats) -> float:
    known = scores[~np.isnan(scores)]
    return float(known.mean()) if len(known) else -inf


def _mean(given: Floats) -> Interval:
    scores = given[~np.isnan(given)]
    if not len(scores):
        return Interval(float("nan"))
    if np.isin(scores, (0.0, 1.0)).all():
        return rate_interval(float(scores.sum()), len(scores))
    value = float(scores.mean())
    if not np.ptp(scores):
        # Equal scores give no estimate of how far other rows may spread.
        return Interval(value)
    half = float(scipy.stats.t.ppf((1 + CONFIDENCE) / 2, len(scores) - 1) * scores.std(ddof=1) / sqrt(len(scores)))
    return Interval(value, value - half, value + half)
