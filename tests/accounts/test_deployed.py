"""Deployments of an account: read page by page by the real client, and what could not be read is told."""

from __future__ import annotations

import pytest

from luthier.accounts import deployments, has_deployments
from luthier.accounts.azure_control_plane import ControlPlane
from luthier.endpoints import Endpoint, compatible
from luthier.errors import EndpointError
from luthier.replies.sdk_errors import ServiceUnavailable
from tests.tuning.azure_stand_in import ACCOUNT, AzureStandIn, Refusal
from tests.tuning.conftest import Time

TUNED = "gpt-4.1-mini-2025-04-14.ft-0123456789abcdef0123456789abcdef-stars"


def test_a_deployment_tells_what_answers_how_it_is_billed_and_since_when(
    azure: AzureStandIn, endpoint: Endpoint, plane: ControlPlane
) -> None:
    azure.deploy("stars", TUNED, sku="DeveloperTier", capacity=30, tags={"team": "reviews"})
    (found,) = deployments(endpoint, plane=plane).whole()
    assert (found.name, found.model_id, found.version, found.format) == ("stars", TUNED, "1", "OpenAI")
    assert found.model.is_tuned and found.model.base.family == "gpt-4.1-mini"
    assert (found.state, found.answers, found.sku, found.capacity) == ("Succeeded", True, "DeveloperTier", 30)
    assert found.created == 1_772_366_400.0  # 2026-03-01, noon, UTC
    assert found.tags == {"team": "reviews"} and found.capabilities == {"chatCompletion": "true"}


def test_a_deployment_that_failed_is_listed_and_does_not_answer(
    azure: AzureStandIn, endpoint: Endpoint, plane: ControlPlane
) -> None:
    azure.deploy("stars", "gpt-4.1-mini", "2025-04-14", state="Failed")
    (found,) = deployments(endpoint, plane=plane).whole()
    assert (found.state, found.answers) == ("Failed", False)


def test_all_pages_are_read(azure: AzureStandIn, endpoint: Endpoint, plane: ControlPlane) -> None:
    names = [f"stars-{number}" for number in range(7)]
    for name in names:
        azure.deploy(name, "gpt-4.1-mini", "2025-04-14")
    azure.page_size = 2
    assert [one.name for one in deployments(endpoint, plane=plane).whole()] == names
    assert len(azure.bodies("GET", "/deployments")) == 4


@pytest.mark.parametrize(
    ("refusal", "said"),
    [
        (Refusal(401, "ExpiredAuthenticationToken"), "az login"),
        (Refusal(403, "AuthorizationFailed"), "Microsoft.CognitiveServices/accounts/deployments/read"),
        (Refusal(403, "AuthorizationFailed"), "Cognitive Services OpenAI User"),
        (Refusal(404, "ResourceGroupNotFound"), f"no account {ACCOUNT}"),
    ],
)
def test_a_page_that_is_refused_keeps_those_before_it_and_names_the_cure(
    refusal: Refusal, said: str, azure: AzureStandIn, endpoint: Endpoint, plane: ControlPlane, time: Time
) -> None:
    for number in range(5):
        azure.deploy(f"stars-{number}", "gpt-4.1-mini", "2025-04-14")
    azure.page_size = 2
    azure.read_refusals = [None, refusal]
    begun = time.now
    found = deployments(endpoint, plane=plane)
    assert [one.name for one in found.items] == ["stars-0", "stars-1"]
    assert said in str(found.failure) and not isinstance(found.failure, ServiceUnavailable)
    assert time.now == begun
    with pytest.raises(EndpointError, match=ACCOUNT if "az login" not in said else "az login"):
        found.whole()


@pytest.mark.parametrize("status", [429, 500, 503])
def test_a_page_is_asked_for_again_while_azure_is_busy_and_no_other_one_is(
    status: int, azure: AzureStandIn, endpoint: Endpoint, plane: ControlPlane, time: Time
) -> None:
    for number in range(3):
        azure.deploy(f"stars-{number}", "gpt-4.1-mini", "2025-04-14")
    azure.page_size = 2
    azure.read_refusals = [None, Refusal(status, "Busy", headers={"Retry-After": "7"}), Refusal(status, "Busy")]
    begun = time.now
    assert len(deployments(endpoint, plane=plane).whole()) == 3
    assert time.now == begun + 7 + 3
    assert len(azure.bodies("GET", "/deployments")) == 4


def test_azure_that_stays_busy_is_given_up_within_a_minute_as_something_that_may_pass(
    azure: AzureStandIn, endpoint: Endpoint, plane: ControlPlane, time: Time
) -> None:
    azure.deploy("stars", "gpt-4.1-mini", "2025-04-14")
    azure.read_refusals = [Refusal(503, "Busy")] * 100
    begun = time.now
    found = deployments(endpoint, plane=plane)
    assert isinstance(found.failure, ServiceUnavailable) and not found.items
    assert time.now - begun <= 60


def test_a_longer_pause_than_anyone_waits_for_is_not_begun(
    azure: AzureStandIn, endpoint: Endpoint, plane: ControlPlane, time: Time
) -> None:
    azure.read_refusals = [Refusal(429, "TooManyRequests", headers={"Retry-After": "300"})]
    begun = time.now
    assert isinstance(deployments(endpoint, plane=plane).failure, ServiceUnavailable)
    assert time.now == begun


def test_an_endpoint_that_does_not_say_where_the_account_is_fails_with_what_to_add(endpoint: Endpoint) -> None:
    found = deployments(endpoint.model_copy(update={"resource": None}))
    assert not found.items and "resource: {subscription: ID, group: NAME}" in str(found.failure)


def test_a_provider_without_deployments_has_an_empty_list_and_no_failure() -> None:
    other = compatible("m", "http://127.0.0.1:9/v1")
    assert not has_deployments(other) and deployments(other).whole() == ()
