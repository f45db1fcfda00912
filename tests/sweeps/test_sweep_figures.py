"""Figures of a sweep: how it went on, what it cost, where trials were stopped."""

from __future__ import annotations

import math
from dataclasses import replace
from typing import TypeVar

import pytest

from luthier.reporting.charts.chart import Chart, Curve, Dots
from luthier.reporting.charts.draw import figure_html
from luthier.sweeps.study_state import StudyState
from luthier.sweeps.sweep_figures import (
    best_over_cost_figure,
    best_over_trials_figure,
    curves_figure,
    front_figure,
    price_figure,
)
from luthier.sweeps.trial import SweepObjective
from tests.sweeps.studies import COST, F1, complete, facts, failed, many, running, state, stopped

MSE = SweepObjective("mse", "minimize")
FIGURES = (best_over_trials_figure, best_over_cost_figure, front_figure, price_figure, curves_figure)

T = TypeVar("T", Dots, Curve)


def mark(figure: Chart | None, kind: type[T], name: str) -> T:
    """A mark of a chart by its kind and name."""
    assert figure is not None
    return next(one for one in figure.marks if isinstance(one, kind) and one.name == name)


def test_the_best_so_far_never_falls_and_ends_at_the_best() -> None:
    found = state(many(60))
    line = mark(best_over_trials_figure(found), Curve, "best so far")
    assert list(line.y) == sorted(line.y)
    assert line.stepped
    assert found.best is not None
    assert line.y[-1] == found.best.values[0]


def test_the_best_so_far_never_rises_where_less_is_better() -> None:
    line = mark(best_over_trials_figure(StudyState(facts(objectives=[MSE]), tuple(many(60)))), Curve, "best so far")
    assert list(line.y) == sorted(line.y, reverse=True)


def test_it_says_which_trial_was_best_and_how_many_came_after_it_in_vain() -> None:
    figure = best_over_trials_figure(state([complete(0, 0.4), complete(1, 0.61), complete(2, 0.5), complete(3, 0.61)]))
    assert figure is not None
    assert ".610" in figure.said
    assert "trial 1, and 2 complete trials after" in figure.said


def test_the_cost_axis_counts_stopped_and_failed_trials_too() -> None:
    found = state(
        [complete(0, 0.4, cost_usd=1.0), stopped(1, cost_usd=0.25), failed(2), complete(3, 0.5, cost_usd=2.0)]
    )
    figure = best_over_cost_figure(found)
    assert mark(figure, Dots, "trials").x == (1.0, 3.25)
    assert figure is not None
    assert "$3.25 of $3.25" in figure.said


def test_there_is_no_cost_axis_where_a_cost_is_unknown() -> None:
    assert best_over_cost_figure(state([complete(0, 0.4), complete(1, 0.5, cost_usd=None)])) is None
    assert best_over_cost_figure(state([complete(0, 0.4, cost_usd=0.0)])) is None


def test_the_front_line_passes_through_what_nothing_beats() -> None:
    costs = [(0.4, 0.1), (0.6, 0.5), (0.5, 0.9), (0.7, 2.0)]
    trials = [complete(number, f1, cost_usd=usd) for number, (f1, usd) in enumerate(costs)]
    figure = front_figure(state(trials))
    assert mark(figure, Curve, "").x == (0.1, 0.5, 2.0)
    assert figure is not None
    assert "trials 0, 1 and 3" in figure.said
    two = [replace(trial, values=(trial.values[0], trial.cost_usd or 0.0)) for trial in trials]
    both = front_figure(StudyState(facts(objectives=[F1, COST]), tuple(two)))
    assert mark(both, Dots, "other trials").x == (0.9,)


def test_prices_of_answers_are_drawn_where_they_tell_trials_apart() -> None:
    def priced(number: int, f1: float, usd: float) -> object:
        trial = complete(number, f1)
        return replace(trial, measured={**trial.measured, "cost_per_1000_rows_usd": usd})

    apart = price_figure(state([priced(0, 0.5, 0.1), priced(1, 0.6, 0.9)]))  # type: ignore[list-item]
    assert mark(apart, Curve, "").x == (0.1, 0.9)
    assert price_figure(state([priced(0, 0.5, 0.1), priced(1, 0.6, 0.101)])) is None  # type: ignore[list-item]


def test_losses_are_drawn_as_losses_with_a_mark_where_a_trial_was_ended() -> None:
    figure = curves_figure(state([complete(0, 0.5), complete(1, 0.6), stopped(2), running(3)]))
    assert figure is not None
    assert "loss" in figure.y.title
    assert min(y for one in figure.marks if isinstance(one, Curve) for y in one.y if not math.isnan(y)) > 0
    ended = mark(figure, Dots, "stopped there")
    assert (ended.x, ended.y) == ((25.0,), (1.48,))
    assert "trial 2" in ended.told[0]
    assert "ended 1 of 4 trials, half of them by 25% of their training, which saved $0.60" in figure.said


def test_losses_that_cannot_be_compared_are_said_to_be() -> None:
    figure = curves_figure(state([complete(0, 0.5), complete(1, 0.6)]))
    assert figure is not None
    assert "compares the losses of trials only where template is the same" in figure.said


def test_values_of_checkpoints_are_drawn_as_the_objective() -> None:
    given = facts()
    watched = replace(given, document={**given.document, "early_stopping": {"watch": "checkpoints"}})
    figure = curves_figure(StudyState(watched, (complete(0, 0.5, curve={20: 0.3, 60: 0.5}),)))
    assert figure is not None
    assert "weighted F1" in figure.y.title
    assert mark(figure, Curve, "the best trial").y == (0.3, 0.5)


@pytest.mark.parametrize("count", [0, 1, 5, 500])
def test_every_figure_works_with_few_and_many_trials(count: int) -> None:
    drawn = [figure for make in FIGURES if (figure := make(state(many(count)))) is not None]
    assert len(drawn) >= (3 if count else 0)
    for figure in drawn:
        assert "NaN" not in figure_html(figure)
        assert figure.said.endswith(".")


def test_a_trial_is_told_alike_in_every_figure() -> None:
    found = state([complete(0, 0.5), complete(1, 0.6, cost_usd=0.4), stopped(2)])
    told = {
        text
        for make in FIGURES
        if (figure := make(found)) is not None
        for one in figure.marks
        if isinstance(one, Dots)
        for text in one.told
    }
    assert len(told) == 3
