"""Azure ML: what would be sent is what is sent, the new version comes beside the old one, and traffic goes back."""

from __future__ import annotations

import json
import sys
from collections.abc import Callable, Iterator
from dataclasses import replace

import pandas as pd
import pytest

import luthier as lt
from luthier.deployments.parity import recorded_rows
from luthier.deployments.plan import DeploymentPlan, DeploymentRequest
from luthier.deployments.targets.azure_ml import AzureMlTarget
from luthier.deployments.targets.resource_manager import ArmRequest
from luthier.errors import EndpointError, GateFailed, MissingPart, QuotaError, UserError
from luthier.packaging.loading import find_model
from luthier.serving.settings import ServerSettings
from tests.conftest import reviews, stars
from tests.deployments.targets.azure_ml_stand_in import ENDPOINT_KEY, ROOT, WORKSPACE, AzureMlStandIn
from tests.tuning.azure_stand_in import ARM_TOKEN, GROUP, SUBSCRIPTION, Refusal

CONFIG = {
    "subscription": SUBSCRIPTION,
    "group": GROUP,
    "workspace": WORKSPACE,
    "image": "stars.azurecr.io/stars:1",
    "key_from": "azureml://connections/openai/credentials/OPENAI_API_KEY",
}
ENDPOINT = "/onlineEndpoints/stars"

Deploy = Callable[..., DeploymentPlan]


@pytest.fixture
def azure() -> Iterator[AzureMlStandIn]:
    with AzureMlStandIn() as running:
        yield running


@pytest.fixture
def target(azure: AzureMlStandIn) -> AzureMlTarget:
    return AzureMlTarget(azure.manager())


@pytest.fixture
def request_of(model: lt.Model) -> Callable[..., DeploymentRequest]:
    def make(**config: str) -> DeploymentRequest:
        return DeploymentRequest(name="stars", model_uri="models:/stars/1", config={**CONFIG, **config})

    return make


@pytest.fixture
def deploy(target: AzureMlTarget, request_of: Callable[..., DeploymentRequest]) -> Deploy:
    def run(**config: str) -> DeploymentPlan:
        plan = target.plan(request_of(**config))
        target.apply(plan)
        return plan

    return run


def test_a_plan_changes_nothing_and_holds_no_token(
    azure: AzureMlStandIn, target: AzureMlTarget, request_of: Callable[..., DeploymentRequest]
) -> None:
    plan = target.plan(request_of())
    assert azure.changes() == []
    assert ARM_TOKEN not in str(plan)
    assert "${{azureml://connections/openai/credentials/OPENAI_API_KEY}}" in str(plan)
    assert plan.usd_per_hour == pytest.approx(0.0846)


def test_what_a_plan_shows_is_what_is_sent_in_that_order(azure: AzureMlStandIn, deploy: Deploy) -> None:
    plan = deploy()
    assert [name.partition(" ")[2] for name in azure.changes() if "environments" not in name] == [
        ENDPOINT,
        f"{ENDPOINT}/deployments/blue",
        f"{ENDPOINT}/listKeys",
        "/invocations",
        ENDPOINT,
    ]
    shown = [ArmRequest.parse(text) for text in plan.documents.values() if " /subscriptions/" in text]
    sent = [one for one in azure.asked if one.method != "GET" and one.path != "/invocations"]
    assert [(one.method, one.target.partition("?")[0], one.body) for one in shown] == [
        (one.method, one.path, one.body) for one in sent
    ]


def test_the_container_is_asked_as_it_answers_everywhere_else(azure: AzureMlStandIn, deploy: Deploy) -> None:
    deploy(instances="2")
    made = azure.resources[f"{ROOT}{ENDPOINT}/deployments/blue"]
    assert made["sku"]["capacity"] == 2
    assert made["properties"]["requestSettings"]["requestTimeout"] == "PT65S"
    assert made["properties"]["environmentVariables"] == {
        "STARS_KEY": "${{azureml://connections/openai/credentials/OPENAI_API_KEY}}"
    }
    image = azure.resources[made["properties"]["environmentId"]]["properties"]
    assert image["inferenceConfig"]["scoringRoute"] == {"path": "/invocations", "port": 8080}
    assert azure.traffic("stars") == {"blue": 100}


def test_one_row_is_asked_of_the_new_deployment_before_traffic(azure: AzureMlStandIn, deploy: Deploy) -> None:
    deploy()
    row = next(one for one in azure.asked if one.path == "/invocations")
    assert row.headers["azureml-model-deployment"] == "blue"
    assert list(row.body["dataframe_records"][0]) == ["text"]


def test_the_next_version_comes_beside_the_old_one_and_gets_traffic_when_told(
    azure: AzureMlStandIn, deploy: Deploy
) -> None:
    deploy()
    plan = deploy(image="stars.azurecr.io/stars:2")
    assert azure.traffic("stars") == {"blue": 100}
    assert plan.usd_per_hour == pytest.approx(2 * 0.0846)
    before = len(azure.changes())
    deploy(image="stars.azurecr.io/stars:2", traffic="10")
    assert azure.traffic("stars") == {"blue": 90, "green": 10}
    assert f"PUT {ENDPOINT}/deployments/green" not in azure.changes()[before:]
    deploy(image="stars.azurecr.io/stars:2", traffic="100")
    assert azure.traffic("stars") == {"blue": 0, "green": 100}


def test_a_rollback_gives_all_traffic_to_the_earlier_one_and_deletes_nothing(
    azure: AzureMlStandIn, deploy: Deploy
) -> None:
    deploy()
    deploy(image="stars.azurecr.io/stars:2", traffic="100")
    deploy(operation="rollback")
    assert azure.traffic("stars") == {"blue": 100, "green": 0}
    assert f"{ROOT}{ENDPOINT}/deployments/green" in azure.resources


def test_the_deployment_without_traffic_is_deleted_and_then_the_endpoint(azure: AzureMlStandIn, deploy: Deploy) -> None:
    deploy()
    deploy(image="stars.azurecr.io/stars:2", traffic="100")
    assert deploy(operation="delete-old").usd_per_hour == pytest.approx(0.0846)
    assert f"{ROOT}{ENDPOINT}/deployments/blue" not in azure.resources
    deploy(operation="delete")
    assert not [one for one in azure.resources if ENDPOINT in one]


def test_a_larger_machine_takes_the_place_of_the_idle_one(azure: AzureMlStandIn, deploy: Deploy) -> None:
    deploy()
    deploy(image="stars.azurecr.io/stars:2")
    deploy(image="stars.azurecr.io/stars:2", instance_type="Standard_F4s_v2", traffic="100")
    assert f"DELETE {ENDPOINT}/deployments/green" in azure.changes()
    assert azure.resources[f"{ROOT}{ENDPOINT}/deployments/green"]["properties"]["instanceType"] == "Standard_F4s_v2"


def test_the_same_command_again_sends_nothing(azure: AzureMlStandIn, deploy: Deploy) -> None:
    deploy()
    before = azure.changes()
    deploy()
    assert azure.changes() == before


def test_a_third_version_waits_until_the_two_are_settled(azure: AzureMlStandIn, deploy: Deploy) -> None:
    deploy()
    deploy(image="stars.azurecr.io/stars:2", traffic="10")
    with pytest.raises(UserError, match="blue 90%, green 10%"):
        deploy(image="stars.azurecr.io/stars:3")


@pytest.mark.parametrize(
    ("answer", "said"),
    [
        ((500, {}, {}), "status 500"),
        ((401, {}, {}), "server_key_env"),
        ((200, {}, {"predictions": []}), "its model does not"),
        ((200, {}, b"<html>"), "protocol"),
    ],
)
def test_a_deployment_that_does_not_answer_gets_no_traffic_then_or_later(
    azure: AzureMlStandIn, deploy: Deploy, answer: tuple[int, dict[str, str], object], said: str
) -> None:
    deploy()
    azure.row_answer = answer
    with pytest.raises(GateFailed, match=said):
        deploy(image="stars.azurecr.io/stars:2", traffic="100")
    assert azure.traffic("stars") == {"blue": 100}
    with pytest.raises(GateFailed, match=said):
        deploy(image="stars.azurecr.io/stars:2", traffic="100")
    assert azure.traffic("stars") == {"blue": 100}


def test_a_model_that_fails_its_row_gets_no_traffic(azure: AzureMlStandIn, deploy: Deploy) -> None:
    azure.row_answer = (200, {}, {"predictions": [{"label": None, "state": "failed", "error": "the key was refused"}]})
    with pytest.raises(GateFailed, match="the key was refused"):
        deploy()
    assert azure.traffic("stars") == {}


@pytest.fixture
def measured(store: str, train: pd.DataFrame) -> lt.Model:
    """A baseline that was measured, so that it recorded answers; it asks no endpoint."""
    board = lt.compare([lt.Baseline(stars(), name="stars-baseline")], reviews(30, seed=4), train=train)
    return board.best.log(register="measured")


def test_answers_that_differ_from_the_recorded_ones_get_no_traffic(
    measured: lt.Model, azure: AzureMlStandIn, target: AzureMlTarget
) -> None:
    without_key = {name: value for name, value in CONFIG.items() if name != "key_from"}
    request = DeploymentRequest(name="stars", model_uri="models:/measured/1", config=without_key)
    plan = target.plan(request)
    rows = json.loads(plan.documents["rows"].partition("\n\n")[2])["dataframe_records"]
    assert len(rows) == 20
    recorded = recorded_rows(find_model("models:/measured/1").folder.path)
    answers = [{**row.prediction, "error": None} for row in recorded]
    azure.row_answer = (200, {}, {"predictions": [{**answers[0], "probability": 0.5}, *answers[1:]]})
    with pytest.raises(GateFailed, match=r"19 of 20 alike.*stars.azurecr.io/stars:1"):
        target.apply(plan)
    assert azure.traffic("stars") == {}
    azure.row_answer = (200, {}, {"predictions": answers})
    target.apply(target.plan(request))
    assert azure.traffic("stars") == {"blue": 100}


def test_an_alias_is_planned_as_the_version_that_it_means_now(
    target: AzureMlTarget, request_of: Callable[..., DeploymentRequest]
) -> None:
    plan = target.plan(replace(request_of(), model_uri="models:/stars@champion"))
    assert plan.request.model_uri == "models:/stars/1"


@pytest.mark.parametrize(
    "busy",
    [Refusal(409, "Conflict"), Refusal(429, "TooManyRequests", headers={"Retry-After": "0"}), Refusal(503, "Busy")],
)
def test_a_busy_resource_manager_is_asked_again(azure: AzureMlStandIn, deploy: Deploy, busy: Refusal) -> None:
    azure.refusals = [busy, busy]
    deploy()
    assert azure.traffic("stars") == {"blue": 100}


@pytest.mark.parametrize(
    ("refusal", "error", "cure"),
    [
        (Refusal(403, "AuthorizationFailed"), EndpointError, "AzureML Data Scientist"),
        (Refusal(400, "OutOfQuota", "Not enough quota available for Standard_F2s_v2"), QuotaError, "fewer instances"),
        (Refusal(400, "BadArgument", "The name is taken"), EndpointError, "The name is taken"),
        (Refusal(401, "InvalidAuthenticationToken"), EndpointError, "az login"),
    ],
)
def test_a_refusal_says_what_to_do(
    azure: AzureMlStandIn, deploy: Deploy, refusal: Refusal, error: type[Exception], cure: str
) -> None:
    azure.refusals = [refusal]
    with pytest.raises(error, match=cure):
        deploy()


def test_a_deployment_that_fails_is_made_anew_by_the_same_command(azure: AzureMlStandIn, deploy: Deploy) -> None:
    azure.ends_as = "Failed"
    with pytest.raises(EndpointError, match="crashed or terminated"):
        deploy()
    azure.ends_as = "Succeeded"
    deploy()
    assert azure.traffic("stars") == {"blue": 100}


def test_a_wrong_group_is_told(target: AzureMlTarget, request_of: Callable[..., DeploymentRequest]) -> None:
    with pytest.raises(EndpointError, match="resource group could not be found"):
        target.plan(request_of(group="elsewhere"))


@pytest.mark.parametrize(
    ("config", "said"),
    [
        ({"image": "stars.azurecr.io/stars:latest"}, "a tag of its own"),
        ({"image": "localhost:5000/stars"}, "a tag of its own"),
        ({"traffic": "140"}, "0 to 100"),
        ({"traffic": "10"}, "no other deployment"),
        ({"instances": "many"}, "no number"),
        ({"size": "big"}, "no setting size"),
        ({"workspace": ""}, "needs workspace"),
        ({"operation": "undo"}, "rollback"),
        ({"operation": "rollback"}, "no earlier deployment"),
        ({"operation": "delete"}, "no endpoint stars"),
    ],
)
def test_a_setting_that_cannot_be_is_refused_before_anything_is_sent(
    azure: AzureMlStandIn,
    target: AzureMlTarget,
    request_of: Callable[..., DeploymentRequest],
    config: dict[str, str],
    said: str,
) -> None:
    with pytest.raises(UserError, match=said):
        target.plan(request_of(**config))
    assert azure.changes() == []


def test_a_key_in_place_of_a_reference_is_refused_and_not_repeated(
    target: AzureMlTarget, request_of: Callable[..., DeploymentRequest]
) -> None:
    with pytest.raises(UserError, match="Never give a key") as refused:
        target.plan(request_of(key_from="sk-planted-4f1c9a72e0"))
    assert "sk-planted" not in str(refused.value)


def test_a_model_with_a_key_needs_to_be_told_where_azure_finds_it(
    target: AzureMlTarget, request_of: Callable[..., DeploymentRequest]
) -> None:
    asked = request_of()
    without = {name: value for name, value in asked.config.items() if name != "key_from"}
    with pytest.raises(UserError, match="STARS_KEY"):
        target.plan(replace(asked, config=without))


def test_a_longer_deadline_than_azure_grants_is_refused(
    target: AzureMlTarget, request_of: Callable[..., DeploymentRequest]
) -> None:
    with pytest.raises(UserError, match="at most 175"):
        target.plan(replace(request_of(), settings=ServerSettings(timeout_seconds=200)))


def test_an_instance_without_a_known_price_makes_the_cost_unknown_unless_it_is_given(
    target: AzureMlTarget, request_of: Callable[..., DeploymentRequest]
) -> None:
    assert target.plan(request_of(instance_type="Standard_E4s_v3")).usd_per_hour is None
    priced = request_of(instance_type="Standard_E4s_v3", usd_per_hour="0.252", instances="3")
    assert target.plan(priced).usd_per_hour == pytest.approx(0.756)


def test_the_endpoints_key_is_in_no_file_and_no_message(azure: AzureMlStandIn, deploy: Deploy) -> None:
    plan = deploy()
    assert ENDPOINT_KEY not in json.dumps(plan.to_document())


def test_the_servers_own_key_is_sent_for_the_one_row_and_shown_by_its_variable(
    azure: AzureMlStandIn, deploy: Deploy, monkeypatch: pytest.MonkeyPatch
) -> None:
    with pytest.raises(UserError, match="export STARS_SERVER_KEY"):
        deploy(server_key_env="STARS_SERVER_KEY")
    monkeypatch.setenv("STARS_SERVER_KEY", "lk_of-the-tests")
    plan = deploy(server_key_env="STARS_SERVER_KEY")
    row = next(one for one in azure.asked if one.path == "/invocations")
    assert row.headers["X-API-Key"] == "lk_of-the-tests"
    assert "lk_of-the-tests" not in str(plan)
    assert "X-API-Key: (the value of STARS_SERVER_KEY)" in str(plan)


def test_without_the_extra_the_command_to_type_is_said(
    request_of: Callable[..., DeploymentRequest], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "azure.identity", None)
    with pytest.raises(MissingPart, match=r"pip install 'luthier\[azure\]'"):
        AzureMlTarget().plan(request_of())
