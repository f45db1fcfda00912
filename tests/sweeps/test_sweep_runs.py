"""A sweep in MLflow: one run for the whole, a child per trial that says everything of it."""

from __future__ import annotations

import io
import json
import shutil
from dataclasses import replace
from pathlib import Path
from typing import Any

import mlflow
import pandas as pd
import pytest

import luthier as lt
from luthier.sweeps.study_state import StudyState
from luthier.sweeps.sweep_result import Sweep
from luthier.sweeps.sweep_runs import SweepRuns
from luthier.sweeps.trial import StudyFacts, SweepTrial
from luthier.tuning.submission import submit
from luthier.tuning.timing import Timing
from luthier.tuning.tuning_plan import plan_tuning
from luthier_local import LocalServer
from tests.conftest import reviews
from tests.sweeps.studies import StudyMadeByHand, complete, facts, stopped
from tests.tuning.conftest import make_spec

pytestmark = pytest.mark.usefixtures("store")

SETTINGS = {"baseline.strategy": "constant"}


@pytest.fixture
def spec(task: lt.Task) -> lt.Baseline:
    return lt.Baseline(task, name="stars-t000")


@pytest.fixture
def new() -> StudyFacts:
    return replace(facts(), run_id="")


@pytest.fixture
def runs(spec: lt.Baseline, new: StudyFacts) -> SweepRuns:
    begun = SweepRuns.begin(spec, new, {"validation": reviews(20)})
    return begun.joined(replace(new, run_id=begun.parent_id))


def tags(run_id: str) -> dict[str, str]:
    found: dict[str, str] = mlflow.get_run(run_id).data.tags
    return found


def trials_of(runs: SweepRuns) -> pd.DataFrame:
    """The table of trials that MLflow's UI shows."""
    text = mlflow.artifacts.load_text(f"runs:/{runs.parent_id}/trials.json")
    return pd.read_json(io.StringIO(text), orient="split")


def test_the_run_of_a_sweep_says_what_was_searched(runs: SweepRuns) -> None:
    run = mlflow.get_run(runs.parent_id)
    assert run.info.status == "RUNNING"
    assert run.data.params["objective"] == "weighted_f1 (maximize)"
    assert run.data.params["space.tuning.epochs"] == '{"int": [1, 20]}'
    assert [given.dataset.name for given in run.inputs.dataset_inputs] == ["validation"]
    document = mlflow.artifacts.load_text(f"runs:/{runs.parent_id}/sweep.yaml")
    assert "log_uniform" in document


def test_a_trial_is_a_child_with_its_settings_its_figures_and_its_cost(runs: SweepRuns, spec: lt.Baseline) -> None:
    run_id = runs.child(spec, 3, {"head.ridge": 0.5})
    measured = {"weighted_f1": 0.5, "weighted_f1_low": 0.4, "qwk": 0.6}
    trial = SweepTrial(3, {}, "complete", (0.5,), measured, {"eval/loss": 0.9}, run_id=run_id, cost_usd=0.25)
    runs.end(replace(trial, started=100.0, ended=160.0))
    run = mlflow.get_run(run_id)
    assert run.info.status == "FINISHED"
    assert run.data.tags["mlflow.parentRunId"] == runs.parent_id
    assert run.data.params["head.ridge"] == "0.5"
    figures = {**measured, "eval/loss": 0.9, "trial_cost_usd": 0.25, "duration_seconds": 60.0}
    assert figures.items() <= run.data.metrics.items()
    (point,) = mlflow.MlflowClient().get_metric_history(runs.parent_id, "trial_weighted_f1")
    assert (point.step, point.value) == (3, 0.5)


@pytest.mark.parametrize(("status", "in_mlflow"), [("pruned", "KILLED"), ("failed", "FAILED")])
def test_a_trial_that_did_not_get_through_says_why(
    runs: SweepRuns, spec: lt.Baseline, status: Any, in_mlflow: str
) -> None:
    run_id = runs.child(spec, 0, {})
    runs.end(SweepTrial(0, {}, status, run_id=run_id, trained_tokens=500, reason="worse than the median at step 4"))
    run = mlflow.get_run(run_id)
    assert run.info.status == in_mlflow
    assert run.data.tags["luthier.trial_reason"] == "worse than the median at step 4"
    assert run.data.metrics["trained_tokens"] == 500


def test_a_sweep_that_goes_on_keeps_its_run(runs: SweepRuns, spec: lt.Baseline) -> None:
    runs.leave()
    assert mlflow.get_run(runs.parent_id).info.status == "KILLED"
    again = SweepRuns.begin(spec, runs.facts, {})
    assert again.parent_id == runs.parent_id
    assert mlflow.get_run(runs.parent_id).info.status == "RUNNING"


def test_of_two_machines_that_begin_at_once_one_run_is_left(
    runs: SweepRuns, spec: lt.Baseline, new: StudyFacts
) -> None:
    second = SweepRuns.begin(spec, new, {})
    joined = second.joined(runs.facts)
    assert joined.parent_id == runs.parent_id
    kept = mlflow.search_runs(search_all_experiments=True, output_format="list")
    assert [run.info.run_id for run in kept] == [runs.parent_id]


def test_a_machine_with_another_tracking_store_keeps_a_run_of_its_own(
    runs: SweepRuns, spec: lt.Baseline, empty_store: Path
) -> None:
    shutil.copy(empty_store, "other.db")
    mlflow.set_tracking_uri(f"sqlite:///{Path.cwd()}/other.db")
    own = SweepRuns.begin(spec, runs.facts, {}).joined(runs.facts)
    assert own.parent_id != runs.parent_id
    assert own.kept(runs.parent_id) is None
    assert own.kept(own.parent_id) == own.parent_id
    assert tags(own.child(spec, 1, {}))["mlflow.parentRunId"] == own.parent_id


def test_the_run_of_a_job_is_the_run_of_its_trial(
    runs: SweepRuns, task: lt.Task, server: LocalServer, train: pd.DataFrame, timing: Timing
) -> None:
    recipe = make_spec(task, server)
    job = submit(plan_tuning(recipe, train, ask=False), timing=timing, parent=runs.parent_id)
    assert runs.adopt(job, 0, {"tuning.epochs": 2, "tuning.seed": 7}) == job.run_id
    assert tags(job.run_id)["luthier.trial"] == "0"
    # A setting at its default stands in no spec, and is a parameter all the same.
    assert mlflow.get_run(job.run_id).data.params["tuning.seed"] == "7"
    # Adopted again after a crash, it is the same run; another trial with the same job has a run of its own.
    assert runs.adopt(job, 0, {"tuning.epochs": 2, "tuning.seed": 7}) == job.run_id
    other = runs.adopt(job, 1, {"tuning.epochs": 2, "tuning.seed": 7})
    assert other != job.run_id
    assert tags(other)["luthier.job_run"] == job.run_id


def test_the_run_of_a_sweep_has_its_page_its_trials_as_a_table_and_its_sums(runs: SweepRuns) -> None:
    block = {"name": "a", "count": 3}
    trials = [complete(0, 0.5), complete(1, 0.6, settings={"head": block}), stopped(2)]
    runs.finish(Sweep(StudyMadeByHand(trials)))
    run = mlflow.get_run(runs.parent_id)
    assert run.info.status == "FINISHED"
    assert {"spent_usd": 7.5, "trials_complete": 2, "trials_stopped_early": 1, "saved_tokens": 60_000}.items() <= (
        run.data.metrics.items()
    )
    assert (run.data.metrics["best_weighted_f1"], run.data.metrics["best_qwk"]) == (0.6, 0.7)
    assert "weighted F1 .600" in run.data.tags["mlflow.note.content"]
    assert '"path": "trials.json", "type": "table"' in run.data.tags["mlflow.loggedArtifacts"]
    table = trials_of(runs)
    assert list(table["number"]) == [0, 1, 2]
    assert json.loads(table["head"][1]) == block
    kept = json.loads(mlflow.artifacts.load_text(f"runs:/{runs.parent_id}/sweep.json"))
    assert StudyState.of_document(kept).trials == tuple(trials)


def test_a_sweep_that_went_on_has_one_table_of_all_its_trials(runs: SweepRuns) -> None:
    trials = [complete(0, 0.5), complete(1, 0.6)]
    runs.finish(Sweep(StudyMadeByHand(trials[:1])))
    runs.finish(Sweep(StudyMadeByHand(trials)))
    assert list(trials_of(runs)["number"]) == [0, 1]


def test_a_sum_that_is_not_wholly_known_is_no_metric(runs: SweepRuns) -> None:
    runs.finish(Sweep(StudyMadeByHand([complete(0, 0.5), complete(1, 0.6, cost_usd=None)])))
    assert "spent_usd" not in mlflow.get_run(runs.parent_id).data.metrics
