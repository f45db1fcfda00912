"""Models that an account is offered: asked by the real client, at the embedded server and at a stand-in for Azure."""

from __future__ import annotations

import json
from collections.abc import Iterator
from datetime import date
from http.server import BaseHTTPRequestHandler, HTTPServer
from threading import Thread

import pytest

from luthier.accounts import offered_models
from luthier.accounts.azure_control_plane import ControlPlane
from luthier.endpoints import Endpoint, compatible
from luthier.errors import EndpointError
from luthier.replies.sdk_errors import ServiceUnavailable
from luthier.tuning.tuners import tuner_for
from luthier_local import Fault, LocalServer, ModelCard
from tests.conftest import KEY
from tests.tuning.azure_stand_in import AzureStandIn, Refusal

JOB = "0123456789abcdef0123456789abcdef"
TUNED = f"gpt-4.1-mini-2025-04-14.ft-{JOB}-stars"

MINI = {
    "id": "gpt-4.1-mini-2025-04-14",
    "object": "model",
    "created_at": 1_744_588_800,
    "status": "succeeded",
    "lifecycle_status": "generally-available",
    "capabilities": {"fine_tune": True, "inference": True, "chat_completion": True, "embeddings": False},
    "deprecation": {"fine_tune": 1_791_936_000, "inference": 1_791_936_000},
}
SKUS = [
    {"name": "GlobalStandard", "deprecationDate": "2027-04-14T00:00:00Z"},
    {"name": "Standard", "deprecationDate": "2026-12-01T00:00:00Z"},
]
MINI_OF_THE_ACCOUNT = {
    "name": "gpt-4.1-mini",
    "version": "2025-04-14",
    "format": "OpenAI",
    "publisher": "OpenAI",
    "isDefaultVersion": True,
    "skus": SKUS,
    "capabilities": {"chatCompletion": "true", "maxContextToken": "1047576"},
    "finetuneCapabilities": {"supervised": "true", "preference": "false"},
    "deprecation": {
        "fineTune": "2026-10-14T00:00:00Z",
        "inference": "2027-04-14T00:00:00Z",
        "deprecationStatus": "Planned",
    },
    "lifecycleStatus": "GenerallyAvailable",
    "systemData": {"createdAt": "2025-04-14T00:00:00Z"},
}


def at(server: LocalServer) -> Endpoint:
    return compatible("any", server.base_url, api_key_env="STARS_KEY")


def test_a_server_of_the_protocol_lists_its_models_with_what_it_says_of_them(server: LocalServer) -> None:
    stars, other = offered_models(at(server)).whole()
    assert (stars.id, other.id, stars.owned_by, stars.context_tokens) == ("stars-model", "other-model", "luthier", 4096)
    assert stars.created is not None and stars.capabilities["digest"].startswith("sha256:")
    assert (stars.retires, stars.can_be_tuned, stars.model.is_tuned) == (None, None, False)


def test_an_announced_day_of_shutdown_is_told(server: LocalServer) -> None:
    server.put_model(ModelCard("old-model", shutdown_date="2027-01-14"))
    assert {one.id: one.retires for one in offered_models(at(server)).whole()} == {
        "stars-model": None,
        "other-model": None,
        "old-model": date(2027, 1, 14),
    }


def test_models_that_the_account_tuned_are_told_apart(server: LocalServer) -> None:
    server.put_model(ModelCard("ft:gpt-4o-mini-2024-07-18:org:stars:abc123"))
    found = {one.id: one.model for one in offered_models(at(server)).whole()}
    tuned = [id_ for id_, model in found.items() if model.is_tuned]
    assert tuned == ["ft:gpt-4o-mini-2024-07-18:org:stars:abc123"]
    assert found[tuned[0]].base.key == "openai/gpt-4o-mini@2024-07-18"


@pytest.mark.parametrize(
    ("fault", "said"),
    [
        (Fault("status", path="/models", status=403, message="no permission"), "refuses access"),
        (Fault("status", path="/models", status=404, message="no such path"), "does not offer this"),
    ],
)
def test_a_refusal_is_the_failure_and_has_the_reason(server: LocalServer, fault: Fault, said: str) -> None:
    server.faults.add(fault)
    found = offered_models(at(server))
    assert said in str(found.failure) and not isinstance(found.failure, ServiceUnavailable) and not found.items


def test_a_wrong_key_is_the_failure_and_is_in_no_message(server: LocalServer, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("STARS_KEY", "sk-wrong-key-of-the-tests")
    failure = offered_models(at(server)).failure
    assert isinstance(failure, EndpointError) and "STARS_KEY" in str(failure)
    assert "sk-wrong-key-of-the-tests" not in str(failure)


def test_a_key_that_is_not_set_is_the_failure(server: LocalServer) -> None:
    failure = offered_models(compatible("any", server.base_url, api_key_env="UNSET_KEY")).failure
    assert "export UNSET_KEY=" in str(failure)


def test_a_busy_service_is_asked_again(server: LocalServer) -> None:
    server.faults.add(Fault("rate_limit", path="/models", times=1, retry_after_seconds=0.01))
    server.faults.add(Fault("status", path="/models", times=1, status=503))
    assert len(offered_models(at(server)).whole()) == 2


def test_a_server_that_is_not_there_may_be_there_later() -> None:
    assert isinstance(offered_models(compatible("any", "http://127.0.0.1:9/v1")).failure, ServiceUnavailable)


@pytest.fixture
def answering() -> Iterator[tuple[list[bytes], str]]:
    bodies: list[bytes] = []

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self.send_response(200)
            self.send_header("content-type", "text/html" if bodies[0].startswith(b"<") else "application/json")
            self.send_header("content-length", str(len(bodies[0])))
            self.end_headers()
            self.wfile.write(bodies[0])

        def log_request(self, code: int | str = "-", size: int | str = "-") -> None: ...

    with HTTPServer(("127.0.0.1", 0), Handler) as running:
        thread = Thread(target=running.serve_forever, args=(0.01,))
        thread.start()
        yield bodies, f"http://127.0.0.1:{running.server_port}/v1"
        running.shutdown()
        thread.join()


@pytest.mark.parametrize("name", ["context_window", "context_length", "max_model_len"])
def test_a_list_without_an_object_around_it_is_read_and_so_is_each_spelling_of_the_context(
    name: str, answering: tuple[list[bytes], str]
) -> None:
    bodies, address = answering
    bodies.append(json.dumps([{"id": "meta-llama/Llama-3.3-70B-Instruct", name: 131072, "type": "chat"}]).encode())
    (found,) = offered_models(compatible("any", address)).whole()
    assert (found.context_tokens, found.capabilities) == (131072, {"type": "chat"})
    assert found.model.key == "meta/llama-3.3-70b-instruct"


@pytest.mark.parametrize("body", [b"<html>sign in</html>", b"null", b'{"data": null}', b'{"models": []}'])
def test_an_answer_that_is_no_list_names_the_address_to_give(body: bytes, answering: tuple[list[bytes], str]) -> None:
    bodies, address = answering
    bodies.append(body)
    assert "base_url" in str(offered_models(compatible("any", address)).failure)


def test_a_web_page_in_place_of_any_answer_is_an_error_with_its_cure(answering: tuple[list[bytes], str]) -> None:
    bodies, address = answering
    bodies.append(b"<html>sign in</html>")
    with pytest.raises(EndpointError, match="base_url"):
        tuner_for(compatible("any", address)).listed()


def test_entries_without_a_name_and_dates_that_are_none_cost_the_others_nothing(
    answering: tuple[list[bytes], str],
) -> None:
    bodies, address = answering
    entries = [{"id": "a", "shutdown_date": "soon", "created": "yesterday"}, "b", {"object": "model"}]
    bodies.append(json.dumps({"data": [*entries, {"id": "c", "shutdown_date": 1e300}]}).encode())
    found = offered_models(compatible("any", address)).whole()
    assert [(one.id, one.retires, one.created) for one in found] == [("a", None, None), ("c", None, None)]


def test_azure_tells_of_its_data_plane_alone_when_the_endpoint_has_no_resource(
    azure: AzureStandIn, endpoint: Endpoint
) -> None:
    azure.data_models = [MINI]
    (found,) = offered_models(endpoint.model_copy(update={"resource": None})).whole()
    assert (found.name, found.version) == ("gpt-4.1-mini", "2025-04-14")
    assert (found.lifecycle, found.created) == ("generally-available", 1_744_588_800)
    assert (found.retires, found.fine_tuning_until) == (date(2026, 10, 14), date(2026, 10, 14))
    assert found.can_be_tuned and found.retirement_is_planned is None and found.format is None
    assert found.capabilities["embeddings"] == "false" and found.capabilities["status"] == "succeeded"


def test_the_control_plane_adds_versions_skus_and_whether_a_day_is_final(
    azure: AzureStandIn, endpoint: Endpoint, plane: ControlPlane
) -> None:
    azure.data_models, azure.account_models = [MINI], [MINI_OF_THE_ACCOUNT]
    (found,) = offered_models(endpoint, plane=plane).whole()
    assert (found.id, found.name, found.version, found.format) == (
        "gpt-4.1-mini-2025-04-14",
        "gpt-4.1-mini",
        "2025-04-14",
        "OpenAI",
    )
    assert (found.created, found.lifecycle, found.context_tokens) == (1_744_588_800, "GenerallyAvailable", 1_047_576)
    assert (found.retires, found.retirement_is_planned) == (date(2027, 4, 14), True)
    assert (found.fine_tuning_until, found.fine_tuning_kinds) == (date(2026, 10, 14), ("supervised",))
    assert found.skus == ("GlobalStandard", "Standard") and found.sku_ends["Standard"] == date(2026, 12, 1)
    assert found.capabilities["chat_completion"] == found.capabilities["chatCompletion"] == "true"


def test_a_tentative_day_is_not_final_and_a_model_without_a_day_of_its_own_ends_with_its_last_sku(
    azure: AzureStandIn, endpoint: Endpoint, plane: ControlPlane
) -> None:
    tentative = MINI_OF_THE_ACCOUNT | {"deprecation": {"deprecationStatus": "Tentative"}}
    endless = tentative | {"name": "gpt-4.1", "skus": [{"name": "GlobalStandard"}, *SKUS[1:]]}
    azure.data_models, azure.account_models = [], [tentative, endless]
    mini, full = offered_models(endpoint, plane=plane).whole()
    assert (mini.retires, mini.retirement_is_planned) == (date(2027, 4, 14), False)
    assert full.retires is None and full.id == "gpt-4.1"


def test_models_of_both_planes_are_joined_by_what_they_are_and_tuned_ones_by_their_name(
    azure: AzureStandIn, endpoint: Endpoint, plane: ControlPlane
) -> None:
    named = [("gpt-oss-20b", "11", "Microsoft"), ("text-embedding-ada-002", "1", "OpenAI")]
    named += [("text-embedding-ada-002", "2", "OpenAI"), ("gpt-35-turbo", "0125", "OpenAI"), (TUNED, "1", "OpenAI")]
    azure.account_models = [{"name": name, "version": version, "format": made} for name, version, made in named]
    ids = ["text-embedding-ada-002", "text-embedding-ada-002-2", "gpt-oss-20b-11", "gpt-35-turbo-0125", TUNED, "other"]
    azure.data_models = [{"id": id_, "object": "model"} for id_ in ids]
    found = {one.id: one for one in offered_models(endpoint, plane=plane).whole()}
    assert [*found] == ids
    assert {id_: one.version for id_, one in found.items()} == {
        "text-embedding-ada-002": "1",
        "text-embedding-ada-002-2": "2",
        "gpt-oss-20b-11": "11",
        "gpt-35-turbo-0125": "0125",
        TUNED: "1",
        "other": None,
    }
    assert [id_ for id_, one in found.items() if one.model.is_tuned] == [TUNED]
    assert found["gpt-oss-20b-11"].model.key == "openai/gpt-oss-20b"


def test_all_pages_of_both_planes_are_read(azure: AzureStandIn, endpoint: Endpoint, plane: ControlPlane) -> None:
    azure.data_models = [{"id": f"stars-{number}", "object": "model"} for number in range(7)]
    azure.account_models = [{"name": f"more-{number}", "version": "1", "format": "x"} for number in range(5)]
    azure.page_size = 2
    assert len(offered_models(endpoint, plane=plane).whole()) == 12


def test_what_one_plane_gives_is_kept_when_the_other_refuses(
    azure: AzureStandIn, endpoint: Endpoint, plane: ControlPlane
) -> None:
    azure.data_models, azure.account_models = [MINI], [MINI_OF_THE_ACCOUNT]
    azure.read_refusals = [Refusal(403, "AuthorizationFailed")]
    found = offered_models(endpoint, plane=plane)
    assert [one.id for one in found.items] == ["gpt-4.1-mini-2025-04-14"]
    assert "Microsoft.CognitiveServices/accounts/models/read" in str(found.failure)
    azure.key = "another"
    found = offered_models(endpoint, plane=plane)
    assert [one.name for one in found.items] == ["gpt-4.1-mini"] and "STARS_KEY" in str(found.failure)
    assert KEY not in str(found.failure)
