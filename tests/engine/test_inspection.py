from __future__ import annotations

import os

import pytest

from luthier.endpoints import Endpoint, Finding, check_endpoint, compatible, embedded
from luthier_local import LocalServer, ModelCard
from tests.conftest import KEY
from tests.scripted_server import serving


def by_what(findings: list[Finding]) -> dict[str, Finding]:
    return {finding.what: finding for finding in findings}


def test_all_is_well(server: LocalServer, endpoint: Endpoint) -> None:
    found = by_what(check_endpoint(endpoint, True, "chat", {"temperature": 0, "max_tokens": 4}))
    assert {what: finding.ok for what, finding in found.items()} == {
        "key": True,
        "reachable": True,
        "model": True,
        "parameters": True,
        "log-probabilities": True,
        "price": True,
        "limits": None,
    }
    assert "STARS_KEY" in found["key"].detail
    assert "20 a token" in found["log-probabilities"].detail
    assert server.received.total == 1, "one cheap call"
    assert check_endpoint(endpoint, True, "completion")[-1].what == "limits"


def test_a_missing_key(endpoint: Endpoint, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("STARS_KEY")
    findings = check_endpoint(endpoint, False)
    assert [(finding.ok, finding.what) for finding in findings] == [(False, "key")]
    assert "export STARS_KEY" in findings[0].cure


@pytest.mark.slow
def test_a_model_the_embedded_server_has_not_is_no_question_of_keys(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("LUTHIER_LOCAL_LINGER_SECONDS", "1")
    (finding,) = check_endpoint(embedded("wordllama"), False, "embedding")
    assert (finding.ok, finding.what) == (False, "model")
    assert "wordllama-256" in finding.detail


def test_a_wrong_key(endpoint: Endpoint, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("STARS_KEY", "sk-wrong-and-secret")
    found = by_what(check_endpoint(endpoint, False))
    assert found["access"].ok is False
    assert "STARS_KEY" in found["access"].cure
    assert "sk-wrong" not in str(found)


def test_nobody_there() -> None:
    found = by_what(check_endpoint(compatible("m", "http://127.0.0.1:9/v1"), False))
    assert found["reachable"].ok is False
    assert "base_url" in found["reachable"].cure


def test_an_unknown_model_lists_the_known(server: LocalServer, endpoint: Endpoint) -> None:
    found = by_what(check_endpoint(endpoint.model_copy(update={"model": "tsars"}), False))
    assert found["model"].ok is False
    assert "It has: stars-model" in found["model"].cure


def test_no_log_probabilities(server: LocalServer, endpoint: Endpoint) -> None:
    server.put_model(ModelCard("stars-model", logprobs=False))
    found = by_what(check_endpoint(endpoint, True))
    assert found["log-probabilities"].ok is False
    assert "method: text" in found["log-probabilities"].cure
    assert found["model"].ok
    server.put_model(ModelCard("stars-model", logprobs=False, ignores_logprobs=True))
    found = by_what(check_endpoint(endpoint, True))
    assert found["log-probabilities"].ok is False


def test_fewer_log_probabilities(server: LocalServer, endpoint: Endpoint) -> None:
    server.put_model(ModelCard("stars-model", top_logprobs_max=5))
    found = by_what(check_endpoint(endpoint, True))
    assert found["log-probabilities"].ok
    assert found["log-probabilities"].detail == "given, 5 a token (20 asked for)"


def test_a_reasoning_model(server: LocalServer, monkeypatch: pytest.MonkeyPatch) -> None:
    server.put_model(ModelCard("thinker", reasoning=True))
    monkeypatch.setenv("OPENAI_API_KEY", os.environ["STARS_KEY"])
    thinker = Endpoint(provider="openai", model="thinker", base_url=server.base_url)
    found = by_what(check_endpoint(thinker, False, "chat", {"temperature": 0, "max_tokens": 4}))
    assert found["parameters"].ok is False
    assert "temperature" in found["parameters"].detail
    assert found["parameters"].cure == "decoding: {temperature: null, max_tokens: 2000}"
    assert found["model"].ok
    found = by_what(check_endpoint(thinker, False, "chat", {"temperature": None, "max_tokens": 2000}))
    assert found["parameters"].ok
    assert all(finding.ok is not False for finding in found.values())


def test_an_answer_cut_before_it_began(server: LocalServer, monkeypatch: pytest.MonkeyPatch) -> None:
    server.put_model(ModelCard("thinker", reasoning=True))
    monkeypatch.setenv("OPENAI_API_KEY", os.environ["STARS_KEY"])
    thinker = Endpoint(provider="openai", model="thinker", base_url=server.base_url)
    found = by_what(check_endpoint(thinker, False, "chat", {"max_tokens": 16}))
    assert found["answer"].ok is False
    assert "max_tokens: 2000" in found["answer"].cure


def test_price_and_limits(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("K", "sk-1")
    with LocalServer(api_key="sk-1", requests_per_minute=300, tokens_per_minute=60_000) as server:
        found = by_what(check_endpoint(compatible("deterministic", server.base_url, api_key_env="K"), False))
    assert found["price"].ok is None
    assert "priced_as" in found["price"].cure
    assert found["limits"].detail == "300 requests and 60000 tokens by the headers"


def test_an_embedding_model(server: LocalServer, endpoint: Endpoint) -> None:
    server.put_model(ModelCard("stars-model", embeddings=True))
    found = by_what(check_endpoint(endpoint, False, "embedding"))
    assert [finding.what for finding in found.values() if finding.ok] == [
        "key",
        "reachable",
        "model",
        "embedding",
        "price",
    ]
    assert found["embedding"].detail == "64 dimensions"
    short = by_what(check_endpoint(endpoint, False, "embedding", {"dimensions": 8}))
    assert short["embedding"].detail == "8 dimensions"
    assert short["parameters"].detail == "accepted (dimensions=8)"
    long = by_what(check_endpoint(endpoint, False, "embedding", {"dimensions": 500}))["embedding"]
    assert (long.ok, long.detail) == (False, "64 dimensions, not the 500 that were asked for")
    assert server.received.by_path == {"embeddings": 3}


def test_a_model_that_does_not_embed(server: LocalServer, endpoint: Endpoint) -> None:
    found = by_what(check_endpoint(endpoint, False, "embedding"))
    assert found["embedding"].ok is False
    assert "/v1/embeddings" in found["embedding"].cure


def test_a_model_that_is_spoken_to_in_the_wrong_style(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("STARS_KEY", KEY)
    cards = [ModelCard("talks", completions=False), ModelCard("goes-on", chat=False)]
    with LocalServer(models=cards, api_key=KEY) as server:
        talks, goes_on = (compatible(card.id, server.base_url, api_key_env="STARS_KEY") for card in cards)
        found = by_what(check_endpoint(talks, False, "completion"))
        assert "style: chat" in found["style"].cure
        found = by_what(check_endpoint(goes_on, False, "chat"))
        assert "style: completion" in found["style"].cure


def test_decisions(server: LocalServer, endpoint: Endpoint) -> None:
    found = by_what(check_endpoint(endpoint, False, "decision"))
    assert found["decision"].ok
    assert "good 0." in found["decision"].detail
    assert "bad 0." in found["decision"].detail
    assert server.received.by_path == {"decisions": 1}


def test_decisions_that_are_not_offered(endpoint: Endpoint) -> None:
    with serving(404, '{"detail": "Not Found"}') as url:
        found = by_what(check_endpoint(endpoint.model_copy(update={"base_url": url}), False, "decision"))
    assert found["decision"].ok is False
    assert "answer: {method: score}" in found["decision"].cure
