"""What a sweep gives back."""

from __future__ import annotations

from pathlib import Path

import optuna
import pytest

from luthier.errors import DataError, ModelError
from luthier.evaluation.resampling import Interval
from luthier.sweeps.store import SweepStore
from luthier.sweeps.study_state import FinalistFigures, WinnerFigures
from luthier.sweeps.sweep_result import Sweep
from tests.sweeps.studies import StudyMadeByHand, complete, facts, many, running, stopped


def test_a_sweep_has_a_frame_the_best_the_money_and_the_study_of_optuna() -> None:
    sweep = Sweep(StudyMadeByHand([stopped(1), complete(0, 0.5), complete(2, 0.6)]), storage="sqlite:///sweeps.db")
    assert list(sweep.frame.index) == [0, 1, 2]
    assert sweep.best.number == 2
    assert [trial.number for trial in sweep.front] == [2]
    assert (sweep.spent_usd, sweep.saved_tokens) == (7.5, 60_000)
    assert sweep.saved_usd is not None
    assert round(sweep.saved_usd, 6) == 0.6
    assert sweep.study.study_name == sweep.name == "stars-sweep"
    assert sweep.document()["storage"] == "sqlite:///sweeps.db"


def test_without_a_complete_trial_there_is_no_best_and_it_says_how_to_look() -> None:
    sweep = Sweep(StudyMadeByHand([running(0)]))
    with pytest.raises(ModelError, match="luthier sweep status stars-sweep"):
        _ = sweep.best
    assert "0 of 40 trials are done" in str(sweep)


def test_the_run_that_is_packaged_is_the_winner_s_or_the_best_trial_s() -> None:
    source = StudyMadeByHand([complete(0, 0.5)])
    assert Sweep(source).best_run_id == "run0"
    figures = (FinalistFigures(0, Interval(0.5), Interval(0.45)),)
    won = WinnerFigures(0, "weighted_f1", figures, 300, 200, run_id="holdout-run")
    assert Sweep(source, winner=won).best_run_id == "holdout-run"
    with pytest.raises(ModelError, match="trial 0 of sweep 'stars-sweep' has no MLflow run"):
        _ = Sweep(StudyMadeByHand([complete(0, 0.5, run_id=None)])).best_run_id


def test_a_figure_is_drawn_by_name_and_an_unknown_or_empty_one_is_refused(tmp_path: Path) -> None:
    sweep = Sweep(StudyMadeByHand(many(20)))
    assert "<svg" in sweep.plot()._repr_html_()
    assert "best weighted F1" in repr(sweep.plot())
    for what in ("cost", "distribution", "settings", "curves", "front"):
        shown = sweep.plot(what)
        assert shown.figure.title
        assert "<svg" in shown._repr_html_()
    assert sweep.plot("curves").save(tmp_path / "curves.svg").stat().st_size > 1000
    with pytest.raises(DataError, match="trials, cost, distribution, settings, importance, curves, front"):
        sweep.plot("violin")  # type: ignore[arg-type]
    with pytest.raises(DataError, match="'curves'"):
        Sweep(StudyMadeByHand([])).plot("curves")
    with pytest.raises(DataError, match="'importance'"):
        Sweep(StudyMadeByHand([complete(0, 0.5)])).plot("importance")


def test_a_notebook_shows_a_column_per_setting_and_a_file_the_whole_page(tmp_path: Path) -> None:
    sweep = Sweep(StudyMadeByHand(many(20)))
    assert "<bdi>learning_rate_multiplier</bdi>" in sweep._repr_html_()
    assert "<script" not in sweep._repr_html_()
    page = sweep.write_page(tmp_path / "deep" / "sweep.html").read_text(encoding="utf-8")
    assert "lu-parallel" in page
    assert repr(sweep) == str(sweep)


def test_a_sweep_reads_what_its_storage_keeps() -> None:
    store = SweepStore()
    study = store.join(facts(trials=3), optuna.samplers.RandomSampler(seed=7))
    for number in range(3):
        claim = study.claim(lambda trial: {"tuning.epochs": trial.suggest_int("tuning.epochs", 1, 9)})
        assert claim is not None
        study.reserve(claim, 2.0)
        study.note(claim, job=f"ftjob-{number}", job_status="running", planned_tokens=900, planned_usd=0.9)
        if number == 0:
            study.note(claim, measured={"weighted_f1": 0.5, "qwk": 0.6}, cost_usd=1.0, run_id="run0")
            study.settle(claim, 1.0)
            study.tell(claim, "complete", [0.5])
        elif number == 1:
            study.report(claim, 25, -1.5)
            study.note(claim, trained_tokens=300, training_usd=0.3, cost_usd=0.3, job_status="cancelled")
            study.settle(claim, 0.3)
            study.tell(claim, "pruned", [], "median: poor")
    sweep = Sweep(store.open("stars-sweep"), storage=store.shown)
    assert list(sweep.frame["status"]) == ["complete", "pruned", "running"]
    assert sweep.best.measured["qwk"] == 0.6
    assert (sweep.spent_usd, sweep.state.reserved_usd, sweep.saved_tokens) == (1.3, 2.0, 600)
    assert sweep.saved_usd is not None
    assert round(sweep.saved_usd, 6) == 0.6
    text = " ".join(str(sweep).split())
    assert "2 of 3 trials are done (1 complete, 1 stopped early); 1 running." in text
    assert "stopped at 25% median: poor" in text
    assert len(sweep.study.get_trials()) == 3
