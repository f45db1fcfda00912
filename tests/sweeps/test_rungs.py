"""Asynchronous successive halving, replayed trial by trial."""

from __future__ import annotations

from luthier.sweeps.rungs import at_rung, goes_on, promising, rung_of, rung_steps

RUNGS = (10, 30)


def test_rungs_grow_by_the_factor_and_end_where_stopping_saves_little() -> None:
    assert rung_steps(10, 3, 80) == RUNGS
    assert rung_steps(5, 2, 80) == (5, 10, 20, 40, 80)
    assert rung_steps(90, 3, 80) == ()


def test_a_trial_stands_at_the_highest_rung_it_has_reached() -> None:
    assert [rung_of(curve, RUNGS) for curve in ({}, {5: 1.0}, {10: 1.0}, {29: 1.0}, {35: 1.0})] == [
        *[None, None, 10, 10, 30]
    ]


def test_a_trial_that_reported_nothing_at_a_rung_stands_there_with_its_next_value() -> None:
    assert at_rung({0: {5: 1.0}, 1: {10: 2.0, 15: 3.0}, 2: {25: 4.0, 50: 5.0}}, 10) == {1: 2.0, 2: 4.0}


def test_where_jobs_are_stopped_none_is_before_there_are_enough_and_the_best_never_is() -> None:
    curves: dict[int, dict[int, float]] = {}
    passed = []
    for number, value in enumerate([0.5, 0.4, 0.3, 0.2, 0.6, 0.45, 0.7]):
        curves[number] = {10: value}
        if goes_on(curves, number, 10, 3, least=5):
            passed.append(number)
    # The first four had too few to compare with; trial 4 and trial 6 were the best of all when they came.
    assert passed == [0, 1, 2, 3, 4, 6]


def test_where_jobs_are_paused_a_third_of_those_at_the_rung_go_on_at_last() -> None:
    curves: dict[int, dict[int, float]] = {}
    paused: set[int] = set()
    passed: list[int] = []
    for number, value in enumerate([0.1, 0.9, 0.2, 0.3, 0.8, 0.4, 0.5, 0.6, 0.7]):
        curves[number] = {10: value}
        (passed.append if goes_on(curves, number, 10, 3) else paused.add)(number)
        for resumed in promising(curves, paused, RUNGS, 3):
            paused.discard(resumed)
            passed.append(resumed)
    # 1 was paused among two and resumed when there were three; 4 was second of five, and is among the best two of six.
    assert passed == [1, 4, 8]
    assert paused == {0, 2, 3, 5, 6, 7}


def test_the_highest_rung_is_resumed_first_and_there_the_best() -> None:
    low = {number: {10: number / 10} for number in range(6)}
    high = {number: {10: 0.0, 30: number / 10} for number in range(6, 12)}
    # Of the twelve at the first rung four are promising, of the six at the second rung two.
    assert promising(low | high, {3, 5, 10, 11}, RUNGS, 3) == [11, 10, 5, 3]
