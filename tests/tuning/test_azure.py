"""Azure: jobs through its data plane, deployments through the Resource Manager, nothing left behind that is billed."""

from __future__ import annotations

import json
from collections.abc import Iterator

import mlflow
import pandas as pd
import pytest

import luthier as lt
from luthier.accounts.azure_control_plane import ControlPlane
from luthier.endpoints import Endpoint, Price
from luthier.errors import EndpointError, QuotaError, SpecError
from luthier.providers.endpoint import Resource
from luthier.techniques import read_spec
from luthier.tuning.checkpoints import checkpoint_specs
from luthier.tuning.timing import Timing
from luthier.tuning.tuners import tuner_for
from luthier.tuning.tuners.azure import AzureTuner
from luthier_local import Fault, LocalServer
from tests.conftest import KEY, reviews
from tests.tuning.azure_stand_in import ACCOUNT, GROUP, SUBSCRIPTION, AzureStandIn, Credential, Refusal
from tests.tuning.conftest import BASE, Time, make_spec

PLACE = Resource(subscription=SUBSCRIPTION, group=GROUP, account=ACCOUNT)
HOURLY_USD = 1.70


@pytest.fixture
def azure(server: LocalServer) -> Iterator[AzureStandIn]:
    with AzureStandIn(server.azure_url, KEY) as running:
        yield running


@pytest.fixture
def endpoint(azure: AzureStandIn) -> Endpoint:
    return Endpoint(
        provider="azure",
        base_url=azure.url,
        model=BASE,
        api_key_env="STARS_KEY",
        resource=PLACE,
        price=Price(
            input_usd_per_million=1,
            output_usd_per_million=2,
            training_usd_per_million=10,
            hosting_usd_per_hour=HOURLY_USD,
        ),
    )


@pytest.fixture
def tuner(azure: AzureStandIn, endpoint: Endpoint, time: Time) -> AzureTuner:
    plane = ControlPlane(endpoint, client=azure.arm_client(), wait=time.wait, clock=time.clock)
    return AzureTuner(endpoint, plane=plane, wait=time.wait, clock=time.clock)


@pytest.fixture
def recipe(task: lt.Task, server: LocalServer, endpoint: Endpoint) -> lt.FineTune:
    tuning = {
        "epochs": 2,
        "batch_size": 8,
        "learning_rate_multiplier": 0.3,
        "training_type": "Developer",
        "suffix": "stars",
    }
    return make_spec(task, server, endpoint=endpoint, tuning=tuning)


@pytest.fixture
def job(store: str, recipe: lt.FineTune, train: pd.DataFrame, tuner: AzureTuner, timing: Timing) -> lt.Job:
    return lt.tune(recipe, train, reviews(20, seed=9), tuner=tuner, timing=timing)


def test_a_job_at_azure_says_how_it_is_trained_and_carries_its_token_in_the_suffix(
    job: lt.Job, azure: AzureStandIn
) -> None:
    order = json.loads(azure.bodies("POST", "/fine_tuning/jobs")[-1])
    assert order["trainingType"] == "developerTier"
    assert order["suffix"] == f"stars-{job.run.token}"
    assert mlflow.get_run(job.run_id).data.params["resolved.training_type"] == "developerTier"


def test_training_lines_begin_with_a_byte_order_mark(job: lt.Job, azure: AzureStandIn) -> None:
    assert all(b'\xef\xbb\xbf{"messages"' in body for body in azure.bodies("POST", "/files"))


@pytest.mark.slow
def test_where_metadata_are_refused_the_suffix_finds_the_job(
    store: str, recipe: lt.FineTune, train: pd.DataFrame, azure: AzureStandIn, tuner: AzureTuner, timing: Timing
) -> None:
    azure.keeps_metadata = False
    first = lt.tune(recipe, train, tuner=tuner, detach=True, timing=timing)
    assert [found.id for found in tuner.find(first.run.token)] == [first.id]
    assert len(tuner.listed()) == 1


def test_a_closed_resource_is_told_before_any_upload(
    store: str, recipe: lt.FineTune, train: pd.DataFrame, server: LocalServer, azure: AzureStandIn, tuner: AzureTuner
) -> None:
    server.faults.add(Fault("closed", path="fine_tuning/jobs", method="POST"))
    with pytest.raises(EndpointError, match=r"2027-04.*embedding"):
        lt.tune(recipe, train, tuner=tuner)
    assert not azure.bodies("POST", "/files")


def test_a_token_of_entra_opens_the_data_plane(azure: AzureStandIn, endpoint: Endpoint) -> None:
    credential = Credential(KEY)
    by_token = endpoint.model_copy(update={"auth": "entra", "api_key_env": None})
    assert AzureTuner(by_token, credential=credential).listed() == []
    assert credential.scopes == ["https://ai.azure.com/.default"]


def test_azure_is_found_by_its_provider(endpoint: Endpoint) -> None:
    assert isinstance(tuner_for(endpoint), AzureTuner)


@pytest.mark.slow
def test_a_deployment_is_ready_when_azure_says_so_and_it_answers(
    job: lt.Job, azure: AzureStandIn, tuner: AzureTuner
) -> None:
    model = job.state.tuned_model
    assert model is not None
    place = tuner.deploy(model, "stars", "Developer")
    assert place.model == "stars"
    assert azure.calls_until_ready == 0
    made = azure.deployments["stars"]
    assert made["sku"] == {"name": "DeveloperTier", "capacity": 50}
    assert made["properties"]["model"] == {"format": "OpenAI", "name": model, "version": "1"}


@pytest.mark.slow
def test_a_deleted_deployment_is_confirmed_gone(job: lt.Job, azure: AzureStandIn, tuner: AzureTuner) -> None:
    tuner.deploy(str(job.state.tuned_model), "stars")
    tuner.undeploy("stars")
    assert not tuner.is_deployed("stars")
    assert azure.deployments == {}


def test_a_busy_resource_manager_is_waited_for_as_long_as_it_says(
    azure: AzureStandIn, tuner: AzureTuner, time: Time
) -> None:
    azure.refusals = [
        Refusal(429, "TooManyRequests", headers={"Retry-After": "40"}),
        Refusal(409, "RequestConflict", "another operation is under way"),
        Refusal(503, "ServerBusy"),
    ]
    begun = time.now
    tuner.plane.make("stars", "m", sku="Standard", capacity=1, kind="OpenAI")
    assert "stars" in azure.deployments
    assert time.now - begun >= 40


@pytest.mark.parametrize(
    ("refusal", "error", "said"),
    [
        (Refusal(400, "InsufficientQuota", "no capacity"), QuotaError, "tokens_per_minute"),
        (Refusal(403, "AuthorizationFailed"), EndpointError, "Cognitive Services Contributor"),
        (Refusal(400, "InvalidResourceProperties", "no such format"), EndpointError, "no such format"),
    ],
)
def test_a_refused_deployment_says_what_to_do(
    refusal: Refusal, error: type[EndpointError], said: str, azure: AzureStandIn, tuner: AzureTuner
) -> None:
    azure.refusals = [refusal]
    with pytest.raises(error, match=said):
        tuner.plane.make("stars", "m", sku="Standard", capacity=1, kind="OpenAI")


def test_a_deployment_that_fails_is_an_error(azure: AzureStandIn, tuner: AzureTuner) -> None:
    azure.ends_as = "Failed"
    with pytest.raises(EndpointError, match="deployment stars at stars-account is Failed"):
        tuner.deploy("m", "stars")


def test_a_name_that_answers_with_another_model_is_not_taken_over(azure: AzureStandIn, tuner: AzureTuner) -> None:
    tuner.plane.make("stars", "somebody-elses", sku="Standard", capacity=1, kind="OpenAI")
    with pytest.raises(SpecError, match="answers with somebody-elses"):
        tuner.deploy("m", "stars")


@pytest.mark.slow
def test_undeploying_leaves_a_deployment_alone_whose_name_was_refused(
    job: lt.Job, azure: AzureStandIn, tuner: AzureTuner
) -> None:
    tuner.plane.make("stars", "somebody-elses", sku="Standard", capacity=1, kind="OpenAI")
    with pytest.raises(SpecError, match="answers with somebody-elses"):
        job.deploy("stars")
    assert job.undeploy() == []
    assert list(azure.deployments) == ["stars"]
    assert job.spec.endpoint is not None
    assert job.spec.endpoint.model == job.state.tuned_model


@pytest.mark.slow
def test_a_deployment_that_was_refused_is_not_asked(job: lt.Job, azure: AzureStandIn) -> None:
    azure.refusals = [Refusal(403, "AuthorizationFailed")]
    with pytest.raises(EndpointError):
        job.deploy("stars")
    assert job.spec.endpoint is not None
    assert job.spec.endpoint.model == job.state.tuned_model


def test_a_wrong_account_is_not_mistaken_for_a_deployment_that_is_gone(
    azure: AzureStandIn, endpoint: Endpoint, time: Time
) -> None:
    elsewhere = endpoint.model_copy(update={"resource": PLACE.model_copy(update={"account": "another"})})
    plane = ControlPlane(elsewhere, client=azure.arm_client(), wait=time.wait, clock=time.clock)
    with pytest.raises(EndpointError, match="another.*rg-stars.*`resource:`"):
        plane.find("stars")


def test_without_a_resource_the_message_says_what_to_add(endpoint: Endpoint) -> None:
    with pytest.raises(SpecError, match=r"resource: \{subscription: ID, group: NAME\}"):
        AzureTuner(endpoint.model_copy(update={"resource": None})).deploy("m", "stars")


@pytest.mark.slow
def test_checkpoints_are_measured_on_deployments_that_are_gone_afterwards(job: lt.Job, azure: AzureStandIn) -> None:
    specs = checkpoint_specs(job)
    with job.hosted(specs) as asked:
        names = [str(spec.endpoint.model) for spec in asked if spec.endpoint]
        assert sorted(azure.deployments) == sorted(names)
        assert all(name.startswith(f"luthier-{job.run.token}") for name in names)
        board = lt.compare(asked, reviews(6, seed=10))
        assert len(board.leaderboard.entries) == len(specs)
    assert azure.deployments == {}


@pytest.mark.slow
def test_hosting_hours_are_counted_and_priced(job: lt.Job, time: Time) -> None:
    hosting = job.hosting(time.clock)
    assert hosting is not None
    with hosting.hosted([job.spec]):
        time.wait(7200)
    figures = mlflow.get_run(job.run_id).data.metrics
    assert figures["hosting_hours"] == pytest.approx(2, abs=0.05)
    assert figures["hosting_usd"] == pytest.approx(figures["hosting_hours"] * HOURLY_USD)


@pytest.mark.slow
def test_a_deployment_is_written_down_before_it_is_made_and_found_after_a_crash(
    job: lt.Job, azure: AzureStandIn, time: Time
) -> None:
    first = job.hosting(time.clock)
    assert first is not None
    azure.refusals = [Refusal(403, "AuthorizationFailed")]
    with pytest.raises(EndpointError):
        first.make(str(job.state.tuned_model))
    # What was refused is not there, and does not run up hours.
    assert [one.gone for one in first.known()] == [time.now]
    first.make(str(job.state.tuned_model))

    second = job.hosting(time.clock)
    assert second is not None
    assert [one.model for one in second.leftovers()] == [job.state.tuned_model]
    second.remove()
    assert azure.deployments == {}
    assert second.leftovers() == []


@pytest.mark.slow
def test_an_error_while_measuring_leaves_no_deployment(job: lt.Job, azure: AzureStandIn, time: Time) -> None:
    hosting = job.hosting(time.clock)
    assert hosting is not None
    with pytest.raises(RuntimeError), hosting.hosted([job.spec]):
        raise RuntimeError("as a crash would")
    assert azure.deployments == {}


@pytest.mark.slow
def test_a_result_is_deployed_to_stay_and_its_spec_asks_the_deployment(
    store: str, recipe: lt.FineTune, train: pd.DataFrame, azure: AzureStandIn, tuner: AzureTuner, timing: Timing
) -> None:
    job = lt.tune(recipe, train, to="stars.yaml", tuner=tuner, timing=timing)
    spec = job.deploy()
    assert spec.endpoint is not None
    assert list(azure.deployments) == [spec.endpoint.model] == ["tuned-stars-tuned"]
    assert spec.endpoint.priced_as == BASE
    assert job.written is not None
    written = read_spec(job.written)
    assert written.endpoint is not None
    assert written.endpoint.model == "tuned-stars-tuned"
    board = lt.compare([written], reviews(6, seed=10))
    assert board.leaderboard.rows_evaluated == 6
    assert [one.name for one in job.undeploy()] == ["tuned-stars-tuned"]
    assert azure.deployments == {}
    assert job.spec.endpoint is not None
    assert job.spec.endpoint.model == job.state.tuned_model


@pytest.mark.slow
def test_measuring_checkpoints_is_priced_before_anything_is_deployed(job: lt.Job, azure: AzureStandIn) -> None:
    plan = lt.plan(checkpoint_specs(job), reviews(6, seed=10))
    assert plan.cost_usd is not None
    assert plan.cost_usd > 0
    assert azure.deployments == {}
