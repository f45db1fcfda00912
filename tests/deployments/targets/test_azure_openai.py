"""Azure OpenAI: a tuned model deployed under a name, with the price said first, and deleted until Azure has none."""

from __future__ import annotations

import json
import time
from collections.abc import Iterator

import pandas as pd
import pytest

import luthier as lt
from luthier.accounts.azure_control_plane import ControlPlane
from luthier.deployments.plan import DeploymentRequest
from luthier.deployments.targets.azure_openai import AzureOpenAiTarget
from luthier.deployments.targets.resource_manager import ArmRequest
from luthier.endpoints import Endpoint, Price
from luthier.errors import SpecError, UserError
from luthier.providers.endpoint import Limits, Resource
from luthier.techniques import read_spec
from luthier.tuning.timing import Timing
from luthier.tuning.tune import attach_job
from luthier.tuning.tuners.azure import AzureTuner
from luthier_local import LocalServer, ModelCard
from tests.conftest import KEY, reviews
from tests.tuning.azure_stand_in import ACCOUNT, GROUP, SUBSCRIPTION, AzureStandIn
from tests.tuning.conftest import BASE, make_spec

HOURLY_USD = 1.70
SPEC = "stars-tuned.yaml"


@pytest.fixture
def tuning_server(monkeypatch: pytest.MonkeyPatch) -> Iterator[LocalServer]:
    """The embedded server with a base model that can be tuned; its key is in STARS_KEY."""
    monkeypatch.setenv("STARS_KEY", KEY)
    with LocalServer(models=[ModelCard(BASE, backend="tunable-hashed", completions=False)], api_key=KEY) as running:
        yield running


@pytest.fixture
def azure(tuning_server: LocalServer) -> Iterator[AzureStandIn]:
    with AzureStandIn(tuning_server.azure_url, KEY) as running:
        yield running


@pytest.fixture
def account(azure: AzureStandIn) -> Endpoint:
    return Endpoint(
        provider="azure",
        base_url=azure.url,
        model=BASE,
        api_key_env="STARS_KEY",
        resource=Resource(subscription=SUBSCRIPTION, group=GROUP, account=ACCOUNT),
        limits=Limits(tokens_per_minute=20_000),
        price=Price(
            input_usd_per_million=1,
            output_usd_per_million=2,
            training_usd_per_million=10,
            hosting_usd_per_hour=HOURLY_USD,
        ),
    )


@pytest.fixture
def tuner(azure: AzureStandIn, account: Endpoint) -> AzureTuner:
    """Azure's own clients, which reach the stand-in; waits take no time."""
    plane = ControlPlane(account, client=azure.arm_client(), wait=lambda seconds: None)
    return AzureTuner(account, plane=plane, wait=lambda seconds: None)


@pytest.fixture
def target(tuner: AzureTuner) -> AzureOpenAiTarget:
    return AzureOpenAiTarget(lambda job: attach_job(job, tuner=tuner))


@pytest.fixture
def tuned(
    store: str, account: Endpoint, tuner: AzureTuner, task: lt.Task, tuning_server: LocalServer, train: pd.DataFrame
) -> lt.Job:
    """A job that wrote its result to `SPEC`."""
    tuning = {"epochs": 1, "training_type": "Developer"}
    recipe = make_spec(task, tuning_server, endpoint=account, tuning=tuning)
    timing = Timing(wait=lambda seconds: time.sleep(min(seconds, 0.001)), poll_seconds=0.01)
    return lt.tune(recipe, train, to=SPEC, tuner=tuner, timing=timing)


def request_for(uri: str = SPEC, name: str = "stars", **config: str) -> DeploymentRequest:
    return DeploymentRequest(name=name, model_uri=uri, config=config)


@pytest.mark.slow
def test_a_tuned_spec_is_planned_deployed_asked_and_deleted(
    tuned: lt.Job, azure: AzureStandIn, target: AzureOpenAiTarget
) -> None:
    plan = target.plan(request_for())
    assert azure.deployments == {}
    assert plan.usd_per_hour == HOURLY_USD
    assert KEY not in str(plan)

    said = target.apply(plan)
    shown = ArmRequest.parse(plan.documents["deployment"])
    ((method, path, body),) = [one for one in azure.asked if one[0] == "PUT"]
    assert (method, path, json.loads(body)) == (shown.method, shown.target.partition("?")[0], shown.body)
    assert azure.deployments["stars"]["sku"] == {"name": "DeveloperTier", "capacity": 20}
    assert "model: stars" in said
    assert azure.calls_until_ready == 0
    # What was made stands in the job's run, so `luthier tune undeploy` would find it.
    assert [one.name for one in tuned.need_hosting().known()] == ["stars"]

    again = target.plan(request_for())
    assert again.documents == {}

    target.apply(target.plan(request_for(operation="delete")))
    assert azure.deployments == {}
    with pytest.raises(UserError, match="no deployment stars"):
        target.plan(request_for(operation="delete"))


@pytest.mark.slow
def test_a_packaged_tuned_model_is_deployed_as_its_spec_is(
    tuned: lt.Job, azure: AzureStandIn, target: AzureOpenAiTarget
) -> None:
    packaged = lt.log(read_spec(SPEC), train=reviews(20, seed=3), register="stars")
    target.apply(target.plan(request_for(packaged.uri, "packaged")))
    assert azure.deployments["packaged"]["properties"]["model"]["name"] == tuned.state.tuned_model


@pytest.mark.slow
def test_a_name_that_answers_with_another_model_is_refused_in_the_plan(
    tuned: lt.Job, azure: AzureStandIn, target: AzureOpenAiTarget
) -> None:
    azure.deployments["stars"] = {
        "sku": {"name": "Standard"},
        "properties": {"model": {"name": "another", "format": "OpenAI", "version": "1"}},
        "looks": 0,
        "state": "Succeeded",
    }
    with pytest.raises(SpecError, match="another"):
        target.plan(request_for())


def test_a_model_that_was_not_tuned_is_refused(model: lt.Model, target: AzureOpenAiTarget) -> None:
    with pytest.raises(UserError, match="no fine-tuned model"):
        target.plan(request_for("models:/stars/1"))


@pytest.mark.parametrize(("config", "said"), [({"sku": "big"}, "no setting sku"), ({"operation": "undo"}, "delete")])
def test_a_setting_that_cannot_be_is_refused(target: AzureOpenAiTarget, config: dict[str, str], said: str) -> None:
    with pytest.raises(UserError, match=said):
        target.plan(request_for(**config))
