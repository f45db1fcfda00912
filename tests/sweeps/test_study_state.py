"""A study at one moment: the best, the front, the money, the table of everything."""

from __future__ import annotations

import json
from dataclasses import replace

from luthier.evaluation.resampling import Interval
from luthier.sweeps.study_state import FinalistFigures, StudyState, WinnerFigures
from luthier.sweeps.trial import SweepObjective
from tests.sweeps.studies import COST, F1, complete, facts, failed, many, real_trials, running, state, stopped

MSE = SweepObjective("mse", "minimize")


def test_the_best_is_the_highest_figure_or_the_lowest_as_the_objective_says() -> None:
    trials = [complete(0, 0.4), complete(1, 0.6), complete(2, 0.5), stopped(3)]
    assert state(trials).best == trials[1]
    lower = StudyState(facts(objectives=[MSE]), tuple(trials))
    assert lower.best == trials[0]


def test_an_imported_trial_is_ranked_and_never_wins() -> None:
    trials = [complete(0, 0.9, source="trials.csv"), complete(1, 0.6)]
    found = state(trials)
    assert [trial.number for trial in found.ranked] == [0, 1]
    assert found.best == trials[1]


def test_the_winner_on_holdout_rows_is_the_best() -> None:
    figures = FinalistFigures(2, Interval(0.5), Interval(0.45))
    won = state([complete(1, 0.6), complete(2, 0.5)], winner=WinnerFigures(2, "weighted_f1", (figures,), 300, 200))
    assert won.best is not None
    assert won.best.number == 2
    assert round(figures.shrinkage, 6) == 0.05
    (finalist,) = won.document()["winner"]["finalists"]
    assert round(finalist["shrinkage"], 6) == 0.05


def test_the_front_holds_what_nothing_beats_in_both_objectives() -> None:
    points = [(0.5, 1.0), (0.6, 2.0), (0.55, 3.0), (0.4, 0.5), (0.6, 2.0)]
    trials = [complete(number, f1, values=(f1, usd)) for number, (f1, usd) in enumerate(points)]
    found = StudyState(facts(objectives=[F1, COST]), tuple(trials))
    assert [trial.number for trial in found.front] == [1, 4, 0, 3]


def test_saved_tokens_and_money_are_those_of_the_stopped_trials_alone() -> None:
    found = state([complete(0, 0.5), stopped(1), stopped(2), failed(3), running(4)])
    assert found.saved_tokens == 2 * 60_000
    assert found.saved_usd is not None
    assert round(found.saved_usd, 6) == 1.2


def test_what_is_saved_is_unknown_where_a_service_does_not_say_and_nothing_where_none_was_stopped() -> None:
    unknown = state([stopped(1), stopped(2, trained_tokens=None, training_usd=None)])
    assert (unknown.saved_tokens, unknown.saved_usd) == (None, None)
    assert (state([complete(0, 0.5)]).saved_tokens, state([]).saved_usd) == (0, 0.0)


def test_the_frame_has_every_setting_and_figure_of_every_trial() -> None:
    frame = state([complete(0, 0.5), stopped(1), failed(2), running(3)]).frame()
    assert list(frame.index) == [0, 1, 2, 3]
    assert frame.loc[0, "tuning.learning_rate_multiplier"] == 0.05
    assert frame.loc[0, "weighted_f1_low"] == 0.46
    assert frame.loc[0, "reported.classification/weighted_f1_score"] == 0.53
    assert frame.loc[0, "duration_seconds"] == 300
    assert str(frame.loc[0, "started"]) == "2026-09-21 14:13:20+00:00"
    assert frame["weighted_f1"].isna().tolist() == [False, True, True, True]
    assert list(frame["status"]) == ["complete", "pruned", "failed", "running"]
    assert {"qwk", "mse", "cost_usd", "trained_tokens", "job", "job_status", "run_id", "reason"} <= set(frame.columns)


def test_a_cost_that_is_an_objective_is_one_column() -> None:
    two = StudyState(facts(objectives=[F1, COST]), (complete(0, 0.5, values=(0.5, 0.82)), stopped(1)))
    assert two.frame()["cost_usd"].tolist() == [0.82, 0.2]


def test_a_study_without_trials_has_an_empty_frame_with_its_columns() -> None:
    frame = state([]).frame()
    assert len(frame) == 0
    assert {"status", "tuning.epochs", "weighted_f1", "cost_usd", "started"} <= set(frame.columns)


def test_the_document_is_json_with_nothing_left_out() -> None:
    found = state(many(30))
    read = json.loads(json.dumps(found.document(), allow_nan=False))
    assert len(read["trials"]) == 30
    assert read["best"] == max(found.complete, key=lambda trial: trial.values[0]).number
    assert read["saved_tokens"] == found.saved_tokens


def test_figures_that_are_no_numbers_are_null_in_the_document() -> None:
    odd = complete(0, 0.5)
    odd = replace(odd, reported={"valid_loss": float("nan")}, curve={1: float("inf")})
    read = json.loads(json.dumps(state([odd]).document(), allow_nan=False))
    assert read["trials"][0]["reported"] == {"valid_loss": None}


def test_a_state_is_read_back_from_its_document() -> None:
    figures = FinalistFigures(0, Interval(0.5, 0.4, 0.6), Interval(0.45))
    winner = WinnerFigures(0, "weighted_f1", (figures,), 300, 200, run_id="holdout-run")
    kept = state([*many(30), complete(40, 0.9, source="trials.csv"), running(41)], winner=winner, storage="here")
    assert StudyState.of_document(json.loads(json.dumps(kept.document()))) == kept


def test_what_is_no_number_is_absent_when_a_state_is_read_back() -> None:
    odd = replace(complete(0, 0.5), reported={"valid_loss": float("nan")}, curve={5: 0.5, 10: float("inf")})
    (read,) = StudyState.of_document(json.loads(json.dumps(state([odd]).document()))).trials
    assert (read.reported, read.curve) == ({}, {5: 0.5})


def test_the_document_of_an_earlier_version_is_read() -> None:
    document = state(many(5)).document()
    for name in ("definition", "tables", "digest", "created"):
        del document[name]
    read = StudyState.of_document(json.loads(json.dumps(document)))
    assert read.trials == tuple(many(5))
    assert read.facts.name == "stars-sweep"


def test_the_best_of_the_real_trials_is_found() -> None:
    trials = real_trials()
    best = state(trials).best
    assert best is not None
    assert round(best.values[0], 3) == 0.604
    assert best.settings["tuning.epochs"] == 10
