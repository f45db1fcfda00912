"""Trials are measured as a comparison measures, and what that costs is known before and after."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor

import mlflow
import pandas as pd
import pytest

import luthier as lt
from luthier.accounts.azure_control_plane import ControlPlane
from luthier.endpoints import Endpoint, Engine, Journal, Price
from luthier.engine.options import RunOptions
from luthier.errors import Partial
from luthier.providers.endpoint import Resource
from luthier.sweeps.measuring import NotMeasured, TrialMeasurer, read_draws
from luthier.techniques.finetune import Tuned
from luthier.tuning.timing import Timing
from luthier.tuning.tuners.azure import AzureTuner
from luthier_local import Fault, LocalServer
from tests.conftest import KEY, reviews
from tests.tuning.azure_stand_in import ACCOUNT, GROUP, SUBSCRIPTION, AzureStandIn
from tests.tuning.conftest import BASE, make_spec


@pytest.fixture
def prompt(task: lt.Task, endpoint: Endpoint) -> lt.Prompt:
    return lt.Prompt(task, "Stars for: {{ text }}", answer="score", examples=4, endpoint=endpoint, name="few")


@pytest.fixture
def options(engine: Engine) -> RunOptions:
    return RunOptions(engine=engine)


@pytest.fixture
def measurer(task: lt.Task, table: pd.DataFrame, train: pd.DataFrame, options: RunOptions) -> TrialMeasurer:
    return TrialMeasurer(task, table, train, options)


@pytest.fixture
def run_id(store: str) -> str:
    found: str = mlflow.MlflowClient().create_run(mlflow.create_experiment("stars")).info.run_id
    return found


@pytest.mark.usefixtures("tracker")
def test_the_metrics_are_those_of_a_comparison(
    measurer: TrialMeasurer, prompt: lt.Prompt, table: pd.DataFrame, train: pd.DataFrame, engine: Engine
) -> None:
    found = measurer.measure(prompt, None)
    (line,) = lt.compare(prompt, table, train=train, engine=engine).frame.to_dict("records")
    names = [name for name in found.metrics if not name.endswith(("_low", "_high"))]
    assert {"qwk", "weighted_f1", "mse", "cost_per_1000_rows_usd", "latency_p50_seconds"} <= set(names)
    assert {name: line[name] for name in found.metrics} == found.metrics


def test_a_measurement_costs_no_more_than_its_bound(measurer: TrialMeasurer, prompt: lt.Prompt) -> None:
    bound, found = measurer.bound_usd(prompt), measurer.measure(prompt, None)
    assert bound is not None
    assert found.cost_usd is not None
    assert 0 < found.cost_usd <= bound


def test_what_another_trial_has_asked_is_not_paid_again(measurer: TrialMeasurer, prompt: lt.Prompt) -> None:
    measurer.measure(prompt, None)
    assert measurer.measure(prompt.model_copy(update={"name": "again"}), None).cost_usd == 0


def test_answers_that_a_dead_process_paid_for_belong_to_the_cost_of_its_trial(
    measurer: TrialMeasurer, prompt: lt.Prompt, run_id: str
) -> None:
    before = measurer.measure(prompt, run_id)
    assert measurer.measure(prompt, run_id).cost_usd == pytest.approx(before.cost_usd)


def test_the_bound_of_a_model_that_is_still_to_be_tuned_is_that_of_the_tuned_one(
    measurer: TrialMeasurer, spec: lt.FineTune
) -> None:
    tuned = spec.with_tuned(Tuned(model="ft:tunable-base:me::1", job="ftjob-1", base_model=BASE))
    bound = measurer.bound_usd(spec)
    assert bound is not None
    assert bound > 0
    assert bound == measurer.bound_usd(tuned)


def test_a_model_without_a_price_has_no_bound_and_no_cost(
    measurer: TrialMeasurer, prompt: lt.Prompt, endpoint: Endpoint
) -> None:
    unpriced = prompt.with_endpoint(endpoint.model_copy(update={"price": None}))
    assert measurer.bound_usd(unpriced) is None
    assert measurer.measure(unpriced, None).cost_usd is None


def test_a_spec_that_learns_is_refused_without_training_rows(
    task: lt.Task, table: pd.DataFrame, prompt: lt.Prompt, options: RunOptions
) -> None:
    with pytest.raises(NotMeasured, match="needs training rows"):
        TrialMeasurer(task, table, None, options).measure(prompt, None)


def test_settings_that_a_service_refuses_concern_the_trial_only(
    measurer: TrialMeasurer, prompt: lt.Prompt, server: LocalServer
) -> None:
    server.faults.add(Fault("status", status=400, message="temperature is not supported", path="chat/completions"))
    with pytest.raises(NotMeasured, match="does not take the parameter as given"):
        measurer.measure(prompt, None)


def test_a_trial_without_one_answer_has_no_figures(
    measurer: TrialMeasurer, prompt: lt.Prompt, server: LocalServer
) -> None:
    server.faults.add(Fault("poison", path="chat/completions"))
    with pytest.raises(NotMeasured, match="no selection row was answered"):
        measurer.measure(prompt, None)


def test_rows_that_wait_for_a_busy_service_are_no_figures_yet(
    task: lt.Task, table: pd.DataFrame, train: pd.DataFrame, prompt: lt.Prompt, server: LocalServer
) -> None:
    hasty = Engine(Journal.in_memory(), max_attempts=1)
    measurer = TrialMeasurer(task, table, train, RunOptions(engine=hasty))
    server.faults.add(Fault("status", status=503, path="chat/completions", every=2, times=10))
    with pytest.raises(Partial, match="selection rows have no answer yet"):
        measurer.measure(prompt, None)
    assert measurer.measure(prompt, None).metrics["failed_rate"] == 0
    hasty.close()


def test_trials_on_several_threads_are_measured_as_one_by_one(
    measurer: TrialMeasurer, prompt: lt.Prompt, task: lt.Task, table: pd.DataFrame, train: pd.DataFrame
) -> None:
    variants = [prompt.model_copy(update={"name": f"t{seed}", "seed": seed}) for seed in range(6)]
    with ThreadPoolExecutor(6) as threads:
        together = list(threads.map(lambda one: measurer.measure(one, None).metrics["qwk"], variants))
    other = Engine(Journal.in_memory())
    alone = TrialMeasurer(task, table, train, RunOptions(engine=other))
    assert together == [alone.measure(one, None).metrics["qwk"] for one in variants]
    other.close()


def test_the_run_of_a_measured_trial_can_be_packaged(
    measurer: TrialMeasurer, prompt: lt.Prompt, run_id: str, table: pd.DataFrame, engine: Engine
) -> None:
    found = measurer.measure(prompt, run_id)
    logged = mlflow.get_run(run_id).data.metrics
    assert found.metrics.items() <= logged.items()
    model = lt.log(f"runs:/{run_id}", engine=engine)
    assert len(lt.score(model, table.head(3), engine=engine)) == 3


def test_two_trials_are_compared_on_the_same_drawn_rows(
    measurer: TrialMeasurer, task: lt.Task, run_id: str, table: pd.DataFrame
) -> None:
    measurer.measure(lt.Baseline(task, name="one"), run_id)
    again = mlflow.MlflowClient().create_run(mlflow.get_run(run_id).info.experiment_id).info.run_id
    measurer.measure(lt.Baseline(task, name="two"), again)
    one, two = read_draws(run_id), read_draws(again)
    assert list(one) == ["qwk"]
    assert one["qwk"].shape == (2000,)
    assert (one["qwk"] == two["qwk"]).all()


@pytest.mark.slow
def test_a_tuned_model_is_measured_beside_what_its_service_reported(
    measurer: TrialMeasurer, spec: lt.FineTune, train: pd.DataFrame, store: str, timing: Timing
) -> None:
    job = lt.tune(spec, train, reviews(20, seed=9), timing=timing)
    measurer.measure(job.spec, job.run_id, job)
    logged = mlflow.get_run(job.run_id).data.metrics
    assert {"valid_loss", "qwk", "qwk_low", "weighted_f1", "cost_per_1000_rows_usd"} <= set(logged)


@pytest.mark.slow
def test_a_model_that_needs_a_deployment_has_one_only_while_it_is_measured(
    measurer: TrialMeasurer, task: lt.Task, server: LocalServer, train: pd.DataFrame, store: str, timing: Timing
) -> None:
    price = Price(input_usd_per_million=1, output_usd_per_million=2, hosting_usd_per_hour=1.7)
    place = Resource(subscription=SUBSCRIPTION, group=GROUP, account=ACCOUNT)
    with AzureStandIn(server.azure_url, KEY) as azure:
        endpoint = Endpoint(
            provider="azure", base_url=azure.url, model=BASE, api_key_env="STARS_KEY", resource=place, price=price
        )
        plane = ControlPlane(endpoint, client=azure.arm_client(), wait=timing.wait)
        tuner = AzureTuner(endpoint, plane=plane, wait=timing.wait)
        recipe = make_spec(task, server, endpoint=endpoint)
        job = lt.tune(recipe, train, reviews(20, seed=9), tuner=tuner, timing=timing)
        found, hosting = measurer.measure(job.spec, job.run_id, job), job.need_hosting()
        hosted = hosting.cost_usd()
        assert hosting.leftovers() == []
        assert hosted
        assert found.cost_usd == pytest.approx(0.06 * found.metrics["cost_per_1000_rows_usd"] + hosted, rel=0.05)
        bound = measurer.bound_usd(recipe)
        assert bound is not None
        assert bound > 1.7
