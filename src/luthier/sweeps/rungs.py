"""Asynchronous successive halving: which trials train on when they reach a rung. Pure functions.

A rung is a part of the training at which trials are compared: of those that have reached it, the best 1 in `factor`
train on. A trial is judged when it gets there, by those that were there before it, so that none waits for another
(Li et al., "A System for Massively Parallel Hyperparameter Tuning", MLSys 2020; the rungs are those of Li et al.,
"Hyperband", JMLR 18, 2018). There the others are paused, and go on once they belong to the best. Where jobs cannot be
paused, the others are stopped.

A curve is the values of a trial by step; larger is better.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence

__all__ = ["at_rung", "furthest", "goes_on", "promising", "rung_of", "rung_steps"]

Curve = Mapping[int, float]


def rung_steps(first: int, factor: int, last: int) -> tuple[int, ...]:
    """The steps of the rungs, each `factor` times the one before.

    Examples:
        >>> rung_steps(10, 3, 80)
        (10, 30)
    """
    rungs = []
    while first <= last:
        rungs.append(first)
        first *= factor
    return tuple(rungs)


def rung_of(curve: Curve, rungs: Sequence[int]) -> int | None:
    """The highest rung that a curve has reached; `None` before the first.

    Examples:
        >>> rung_of({10: 0.3, 35: 0.4}, (10, 30, 90))
        30
    """
    last = max(curve, default=0)
    return max((rung for rung in rungs if rung <= last), default=None)


def at_rung(curves: Mapping[int, Curve], rung: int) -> dict[int, float]:
    """By trial, the value at a rung, or at the first step after it that was reported, of those that have reached it."""
    reached: dict[int, float] = {}
    for number, curve in curves.items():
        step = rung if rung in curve else min((step for step in curve if step > rung), default=None)
        if step is not None:
            reached[number] = curve[step]
    return reached


def goes_on(curves: Mapping[int, Curve], number: int, rung: int, factor: int, *, least: int | None = None) -> bool:
    """Whether a trial that has just reached a rung belongs to its best.

    Args:
        curves: of all trials, this one included.
        number: of the trial.
        rung: that it has reached.
        factor: one in so many trains on.
        least: where jobs are stopped for good: all train on while fewer trials than this have reached the rung, and
            the best one always does. `None` where they are paused and may go on later.

    Examples:
        Of five trials at the rung, one in three is one:

        >>> curves = {number: {10: value} for number, value in enumerate([0.1, 0.5, 0.2, 0.4, 0.3])}
        >>> [goes_on(curves, number, 10, 3) for number in curves]
        [False, True, False, False, False]
        >>> goes_on({0: {10: 0.1}}, 0, 10, 3), goes_on({0: {10: 0.1}}, 0, 10, 3, least=5)
        (False, True)
    """
    reached = at_rung(curves, rung)
    if least is not None and len(reached) < least:
        return True
    return number in _best(reached, max(len(reached) // factor, 0 if least is None else 1))


def promising(curves: Mapping[int, Curve], paused: Collection[int], rungs: Sequence[int], factor: int) -> list[int]:
    """The paused trials that belong to the best of their rung by now: highest rung first, then the best value.

    Examples:
        The first of three trials was paused when it was alone; it is the best of the three that are there now:

        >>> promising({0: {10: 0.9}, 1: {10: 0.5}, 2: {10: 0.4}}, {0, 1, 2}, (10, 30), 3)
        [0]
    """
    return [number for rung, number in _by_rung(curves, paused, rungs) if goes_on(curves, number, rung, factor)]


def furthest(curves: Mapping[int, Curve], paused: Collection[int], rungs: Sequence[int]) -> int | None:
    """The paused trial that trains on where no other one will come: the best of the highest rung.

    Examples:
        The second one was the best at rung 10, and is alone at rung 30:

        >>> furthest({0: {10: 0.5}, 1: {10: 0.9, 30: 0.9}, 2: {10: 0.4}}, {0, 1, 2}, (10, 30))
        1
    """
    return next((number for _, number in _by_rung(curves, paused, rungs)), None)


def _by_rung(curves: Mapping[int, Curve], numbers: Collection[int], rungs: Sequence[int]) -> list[tuple[int, int]]:
    """Rung and number of the trials that have reached one: the highest rung first, then the best value."""
    found = []
    for number in numbers:
        rung = rung_of(curves.get(number, {}), rungs)
        if rung is not None:
            found.append((-rung, -at_rung(curves, rung)[number], number))
    return [(-rung, number) for rung, _, number in sorted(found)]


def _best(values: Mapping[int, float], count: int) -> set[int]:
    """The trials of the largest values; of equal values the earlier trial counts as the better one."""
    ranked = sorted(values, key=lambda number: (-values[number], number))
    return set(ranked[:count])
