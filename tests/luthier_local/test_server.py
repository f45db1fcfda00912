"""The server inside a test's own process: starting, counting, changing models, ending."""

from __future__ import annotations

import json
import socket
import time
import urllib.request
from concurrent.futures import ThreadPoolExecutor

import openai
import pytest

from luthier.errors import EndpointError
from luthier_local import LocalServer, ModelCard
from tests.luthier_local.tuning import served
from tests.patience import PATIENCE_SECONDS


def ask(client: openai.OpenAI, text: str = "it is a camera", model: str = "stars") -> str | None:
    answer = client.completions.create(model=model, prompt=f"Review: {text}\nStars:", temperature=0)
    return answer.choices[0].text


def test_what_was_sent_is_counted_and_recorded(server: LocalServer, client: openai.OpenAI) -> None:
    ask(client, "one")
    ask(client, "two")
    client.models.list()
    with pytest.raises(openai.NotFoundError):
        ask(client, model="missing")
    received = server.received
    assert received.total == 4
    assert received.by_path == {"completions": 3, "models": 1}
    assert received.by_status == {200: 3, 404: 1}
    assert [body["prompt"] for body in received.bodies[:2]] == ["Review: one\nStars:", "Review: two\nStars:"]
    assert len(set(received.digests)) == 3


def test_a_repeated_body_has_the_same_digest(server: LocalServer, client: openai.OpenAI) -> None:
    ask(client)
    ask(client)
    assert len(server.received.digests) == 2
    assert len(set(server.received.digests)) == 1


def test_the_key_is_not_recorded(server: LocalServer, client: openai.OpenAI) -> None:
    ask(client)
    assert server.api_key not in repr(server.received.requests)
    assert server.received.requests[0].headers["content-type"] == "application/json"


def test_without_record_no_body_is_kept() -> None:
    with served() as (server, client):
        ask(client, model="deterministic")
        assert server.received.bodies == []
        assert server.received.total == 1


def test_the_counts_are_there_over_http(server: LocalServer, client: openai.OpenAI) -> None:
    ask(client)
    request = urllib.request.Request(
        server.root_url + "/_luthier/requests", headers={"Authorization": f"Bearer {server.api_key}"}
    )
    with urllib.request.urlopen(request) as response:
        told = json.load(response)
    assert told["by_path"] == {"completions": 1}
    assert told["by_status"] == {"200": 1}
    assert told["sha256"] == server.received.digests


def test_the_model_behind_a_name_can_be_changed(server: LocalServer, client: openai.OpenAI) -> None:
    def reported() -> tuple[str, object]:
        answer = client.completions.create(model="deployment", prompt="x", temperature=0)
        return answer.model, client.models.retrieve("deployment").model_dump()["digest"]

    before = reported()
    server.put_model(ModelCard("deployment", reports_model="gpt-5-nano", salt="new"))
    after = reported()
    assert (before[0], after[0]) == ("gpt-4.1-mini-2025-04-14", "gpt-5-nano")
    assert before[1] != after[1]
    server.remove_model("deployment")
    with pytest.raises(openai.NotFoundError):
        reported()


def test_models_can_be_changed_over_http(server: LocalServer, client: openai.OpenAI) -> None:
    doors = server.root_url + "/_luthier/models"
    client.post(doors, body={"id": "fresh", "reports_model": "fresh-1"}, cast_to=object)
    assert client.completions.create(model="fresh", prompt="x").model == "fresh-1"
    client.post(doors, body={"remove": "fresh"}, cast_to=object)
    with pytest.raises(openai.BadRequestError, match="flavour"):
        client.post(doors, body={"id": "fresh", "flavour": 1}, cast_to=object)
    with pytest.raises(openai.NotFoundError):
        client.models.retrieve("fresh")


def test_it_listens_on_loopback_only(server: LocalServer) -> None:
    # Every address of 127/8 is this machine; only 127.0.0.1 is listened on.
    with socket.socket() as other:
        assert other.connect_ex(("127.0.0.2", server.port)) != 0


def test_no_web_page_may_read_it(server: LocalServer) -> None:
    request = urllib.request.Request(server.root_url + "/health", headers={"Origin": "https://example.org"})
    with urllib.request.urlopen(request) as response:
        assert not [name for name in response.headers if name.lower().startswith("access-control")]


def test_two_servers_live_side_by_side() -> None:
    with LocalServer() as one, LocalServer() as other:
        assert one.port != other.port
        assert one.api_key != other.api_key


def test_a_stopped_server_frees_its_port_even_with_requests_open() -> None:
    from luthier_local import Fault

    with LocalServer(faults=[Fault("timeout")]) as server, ThreadPoolExecutor(1) as pool:
        port = server.port
        with openai.OpenAI(base_url=server.base_url, api_key=server.api_key, max_retries=0) as client:
            waiting = pool.submit(ask, client, "x", "deterministic")
            deadline = time.monotonic() + PATIENCE_SECONDS
            while not server.received.total and time.monotonic() < deadline:
                time.sleep(0.005)
            server.stop()
            assert isinstance(waiting.exception(timeout=PATIENCE_SECONDS), openai.APIConnectionError)
    with LocalServer(port=port) as again:
        assert again.port == port


def test_a_taken_port_is_named(server: LocalServer) -> None:
    with pytest.raises(EndpointError, match=str(server.port)):
        LocalServer(port=server.port).start()


def test_a_card_with_a_wrong_backend_is_refused() -> None:
    with pytest.raises(EndpointError, match="deterministic, llama, wordllama"):
        ModelCard("x", backend="magic")
    with pytest.raises(EndpointError, match="names must differ"):
        LocalServer(models=[ModelCard("x"), ModelCard("x")])


def test_many_requests_at_once_are_all_answered(server: LocalServer, client: openai.OpenAI) -> None:
    texts = [f"camera number {i}" for i in range(60)]
    with ThreadPoolExecutor(16) as pool:
        at_once = list(pool.map(lambda text: ask(client, text), texts))
    assert at_once == [ask(client, text) for text in texts]
