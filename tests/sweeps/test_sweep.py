"""A sweep over real jobs of the embedded server, and over specs that train at no service."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from typing import Any

import mlflow
import openai
import pandas as pd
import pytest

import luthier as lt
from luthier.api import SweepSetup
from luthier.errors import BudgetReached, DataError, UserError
from luthier.sweeps.settings import SweepSettings
from luthier.sweeps.sweep_progress import SweepProgress
from luthier.sweeps.sweep_result import Sweep
from luthier.tuning.timing import Timing
from luthier_local import LocalServer, ModelCard
from tests.conftest import KEY, reviews
from tests.tuning.conftest import BASE, make_spec

pytestmark = [pytest.mark.usefixtures("store"), pytest.mark.slow]

QUICK = Timing(poll_seconds=0.05)
SPACE: dict[str, Any] = {
    "tuning.epochs": {"int": [1, 4]},
    "tuning.learning_rate_multiplier": {"log_uniform": [0.01, 2]},
}


def search(
    spec: lt.Spec,
    space: Mapping[str, Any] = SPACE,
    *,
    trials: int = 4,
    budget_usd: float | None = None,
    concurrency: int = 2,
    train: pd.DataFrame | None = None,
    validation: pd.DataFrame | None = None,
    **settings: Any,
) -> Sweep:
    made = SweepSettings.make({"name": "search", "spec": spec, "space": space, **settings})
    given = reviews(60, seed=8) if train is None else train
    held_out = reviews(120, seed=9) if validation is None else validation
    setup = SweepSetup(made, given, held_out)
    plan = setup.plan(trials=trials, budget_usd=budget_usd, concurrency=concurrency)
    return setup.run(plan, progress=SweepProgress(silent=True), timing=QUICK)


def children(sweep: Sweep) -> list[Any]:
    parent = sweep.state.facts.run_id
    experiment = mlflow.get_run(parent).info.experiment_id
    found = mlflow.MlflowClient().search_runs([experiment], f"tags.mlflow.parentRunId = '{parent}'")
    return list(found)


def test_each_trial_is_a_job_with_every_metric_and_a_run_beneath_that_of_the_sweep(
    spec: lt.FineTune, jobs_at: Callable[[], list[str]]
) -> None:
    found = search(spec)
    frame = found.frame
    assert list(frame["status"]) == ["complete"] * 4
    assert sorted(frame["job"]) == sorted(jobs_at())
    for name in ("weighted_f1", "qwk", "mse", "accuracy", "trained_tokens", "cost_usd", "duration_seconds"):
        assert frame[name].notna().all(), name
    assert frame["reported.full_valid_loss"].notna().all()
    runs = {run.info.run_id: run for run in children(found)}
    for trial in found.trials:
        assert trial.run_id is not None
        run = runs[trial.run_id]
        assert run.info.status == "FINISHED"
        assert run.data.metrics["weighted_f1"] == pytest.approx(trial.measured["weighted_f1"])
        assert run.data.params["tuning.epochs"] == str(trial.settings["tuning.epochs"])
    assert mlflow.get_run(found.state.facts.run_id).info.status == "FINISHED"


def test_the_winner_has_a_figure_on_rows_that_no_trial_was_measured_on(spec: lt.FineTune) -> None:
    validation = reviews(120, seed=9)
    found = search(spec, validation=validation)
    winner = found.state.winner
    assert winner is not None
    assert winner.number == found.best.number
    assert winner.selection_rows + winner.holdout_rows == len(validation)
    assert found.best.values[0] == max(trial.values[0] for trial in found.trials)
    assert "shrinkage" in str(found)


def test_a_trial_that_is_told_apart_by_the_objective_is_no_finalist(spec: lt.FineTune) -> None:
    # Not the metric that ranks a leaderboard of this task, which is QWK.
    poor_and_good = {"tuning.learning_rate_multiplier": [0.001, 2.0]}
    found = search(spec, poor_and_good, objective="weighted_f1", sampler="grid", trials=2)
    worse, better = sorted(trial.values[0] for trial in found.trials)
    assert better - worse > 0.2
    assert found.state.winner is not None
    assert [one.number for one in found.state.winner.finalists] == [found.best.number]


def test_the_same_sweep_again_buys_no_job_and_measures_nothing_anew(
    spec: lt.FineTune, jobs_at: Callable[[], list[str]]
) -> None:
    first = search(spec)
    jobs = jobs_at()
    again = search(spec)
    assert jobs_at() == jobs
    assert again.frame["weighted_f1"].equals(first.frame["weighted_f1"])


def test_more_trials_go_on_with_the_study(spec: lt.FineTune, jobs_at: Callable[[], list[str]]) -> None:
    search(spec, trials=2)
    found = search(spec, trials=3)
    assert len(found.trials) == len(jobs_at()) == 3


def test_a_budget_is_never_exceeded_and_what_it_reached_for_is_kept(spec: lt.FineTune) -> None:
    settings = SweepSettings.make({"name": "search", "spec": spec, "space": SPACE})
    plan = SweepSetup(settings, reviews(60, seed=8), reviews(120, seed=9)).plan(trials=40)
    assert plan.price.high_usd is not None and plan.winner_usd is not None
    budget = plan.winner_usd + 3 * plan.price.high_usd
    found = search(spec, trials=40, budget_usd=budget)
    assert found.ended_early is not None and "--budget" in found.ended_early
    assert 3 <= len(found.state.complete) < 40
    assert found.state.winner is not None
    assert found.spent_usd <= budget
    # Every cent is of something: training by the tokens the service counted, and answers.
    assert found.spent_usd >= sum(trial.cost_usd or 0.0 for trial in found.trials) > 0


def test_a_budget_below_one_trial_is_refused_before_anything_is_sent(
    spec: lt.FineTune, jobs_at: Callable[[], list[str]]
) -> None:
    with pytest.raises(BudgetReached, match="cheapest trial"):
        search(spec, budget_usd=0.000001)
    assert jobs_at() == []


def test_tables_that_share_rows_or_are_too_small_are_refused_with_what_to_do(task: lt.Task) -> None:
    baseline, train = lt.Baseline(task, name="words"), reviews(60, seed=8)
    settings = SweepSettings.make({"name": "search", "spec": baseline, "space": {"seed": [1, 2]}})
    with pytest.raises(DataError, match="60 of 60 validation rows are also in the training table"):
        SweepSetup(settings, train, train)
    with pytest.raises(DataError, match="holdout rows are also in the validation table"):
        SweepSetup(settings, train, reviews(120, seed=9), reviews(120, seed=9).head(5))
    with pytest.raises(DataError, match="the validation table has 3 rows, too few.*--holdout TABLE"):
        SweepSetup(settings, train, reviews(120, seed=9).head(3))


def test_a_budget_where_prices_are_unknown_says_where_to_put_them(task: lt.Task, server: LocalServer) -> None:
    spec = make_spec(task, server)
    assert spec.endpoint is not None
    unpriced = spec.with_endpoint(spec.endpoint.model_copy(update={"price": None}))
    with pytest.raises(UserError, match="training_usd_per_million"):
        search(unpriced, budget_usd=5)


def test_a_wrong_key_ends_the_sweep_with_one_message_and_leaves_no_trial_behind(
    spec: lt.FineTune, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("STARS_KEY", "another")
    with pytest.raises(UserError, match="STARS_KEY|key"):
        search(spec)


def test_settings_of_a_spec_that_trains_at_no_service_are_searched_too(task: lt.Task) -> None:
    baseline = lt.Baseline(task, name="words")
    found = search(baseline, {"seed": [1, 2, 3]}, trials=3)
    assert list(found.frame["status"]) == ["complete"] * 3
    run = children(found)
    assert len([one for one in run if one.data.tags["luthier.kind"] == "trial"]) == 3
    model = lt.log(f"runs:/{found.best_run_id}")
    assert list(model.predict(reviews(3, seed=1)[["text"]]).columns)


def test_what_a_failed_trial_has_asked_counts_in_the_budget(spec: lt.FineTune) -> None:
    assert spec.endpoint is not None
    endpoint = spec.endpoint.model_copy(update={"model": "stars-model"})
    prompt = lt.Prompt(spec.task, "Stars for: {{ text }}", endpoint=endpoint, name="asked")
    # Answers of one label each have no probabilities, which this metric needs.
    found = search(prompt, {"decoding.temperature": [0.0, 1.0]}, objective="log_loss", trials=1, budget_usd=5)
    assert [trial.status for trial in found.trials] == ["failed"]
    assert found.spent_usd > 0


def test_a_front_of_quality_and_cost_has_no_single_winner_by_cost(spec: lt.FineTune) -> None:
    found = search(spec, trials=3, objective=["weighted_f1", "cost_usd"])
    assert 1 <= len(found.front) <= 3
    assert found.state.facts.objectives[1].direction == "minimize"
    costs = {trial.number: trial.values[1] for trial in found.trials}
    assert min(costs, key=lambda number: costs[number]) in [trial.number for trial in found.front]


@pytest.fixture
def slow_server(monkeypatch: pytest.MonkeyPatch) -> Iterator[LocalServer]:
    """Trains so slowly that a checkpoint is still kept when it is measured."""
    monkeypatch.setenv("STARS_KEY", KEY)
    base = ModelCard(BASE, backend="tunable-hashed", completions=False)
    with LocalServer(models=[base], api_key=KEY, training_step_seconds=0.05) as running:
        yield running


def test_checkpoints_can_be_measured_to_stop_a_trial_early(task: lt.Task, slow_server: LocalServer) -> None:
    spec = make_spec(task, slow_server)
    space = {"tuning.learning_rate_multiplier": [1.0, 0.0001, 2.0], "tuning.epochs": [8]}
    stopping = {"pruner": "median", "watch": "checkpoints", "startup_trials": 1}
    found = search(spec, space, trials=3, concurrency=1, early_stopping=stopping, sampler="grid")
    curves = [trial.curve for trial in found.trials]
    # The objective itself, measured on the selection rows, at parts of the training.
    assert any(curves)
    assert all(-1 <= value <= 1 for curve in curves for value in curve.values())
    assert all(0 < step <= 100 for curve in curves for step in curve)


def test_jobs_that_halving_paused_go_on_or_are_cancelled_and_none_stays_paused(
    task: lt.Task, slow_server: LocalServer
) -> None:
    spec = make_spec(task, slow_server)
    space = {"tuning.learning_rate_multiplier": [1.0, 0.0001, 0.0002, 2.0], "tuning.epochs": [6]}
    stopping = {"pruner": "halving", "pause": True, "startup_trials": 1}
    found = search(spec, space, trials=4, early_stopping=stopping, sampler="grid")
    with openai.OpenAI(base_url=slow_server.base_url, api_key=KEY) as client:
        statuses = {job.id: str(job.status) for job in client.fine_tuning.jobs.list()}
    pruned = [trial for trial in found.trials if trial.status == "pruned"]
    assert pruned
    for trial in pruned:
        assert trial.job is not None and statuses[trial.job] == "cancelled"
        # Kept before the cancel, so that a process that takes over does not buy the job again.
        assert found._source.notes(trial.number)["stopping"] == trial.reason  # type: ignore[attr-defined]
    assert set(statuses.values()) == {"cancelled", "succeeded"}
    assert len(statuses) == 4
