"""Scripted faults, as a client meets them."""

from __future__ import annotations

import json
import time
import urllib.request
from concurrent.futures import ThreadPoolExecutor

import openai
import pytest

from luthier.errors import EndpointError
from luthier_local import Fault, LocalServer
from tests.patience import PATIENCE_SECONDS, until


def ask(client: openai.OpenAI, text: str = "hello", timeout: float = PATIENCE_SECONDS) -> str | None:
    answer = client.chat.completions.create(
        model="stars", messages=[{"role": "user", "content": text}], temperature=0, timeout=timeout
    )
    return answer.choices[0].message.content


def statuses(client: openai.OpenAI, count: int) -> list[int]:
    seen = []
    for _ in range(count):
        try:
            ask(client)
            seen.append(200)
        except openai.APIStatusError as error:
            seen.append(error.status_code)
    return seen


def test_a_scripted_rate_limit_carries_retry_after(server: LocalServer, client: openai.OpenAI) -> None:
    server.faults.add(Fault("rate_limit", retry_after_seconds=7, times=1))
    with pytest.raises(openai.RateLimitError) as caught:
        ask(client)
    assert caught.value.response.headers["retry-after"] == "7"
    assert ask(client)


def test_quota_is_told_apart_from_rate(server: LocalServer, client: openai.OpenAI) -> None:
    server.faults.add(Fault("quota"))
    with pytest.raises(openai.RateLimitError) as caught:
        ask(client)
    assert caught.value.code == "insufficient_quota"


def test_any_status_message_and_code(server: LocalServer, client: openai.OpenAI) -> None:
    server.faults.add(Fault("status", status=503, message="overloaded", code="busy"))
    with pytest.raises(openai.InternalServerError, match="overloaded") as caught:
        ask(client)
    assert (caught.value.status_code, caught.value.code) == (503, "busy")


def test_only_the_poisoned_text_is_refused(server: LocalServer, client: openai.OpenAI) -> None:
    server.faults.add(Fault("poison", contains="naïve “poison”", code="content_filter"))
    assert ask(client, "a good text")
    with pytest.raises(openai.BadRequestError) as caught:
        ask(client, "this is naïve “poison” indeed")
    assert caught.value.code == "content_filter"


@pytest.mark.parametrize(
    ("rule", "expected"),
    [
        ({"nth": 2}, [200, 500, 200, 200, 200, 200]),
        ({"nth": (1, 4)}, [500, 200, 200, 500, 200, 200]),
        ({"every": 3}, [200, 200, 500, 200, 200, 500]),
        ({"times": 2}, [500, 500, 200, 200, 200, 200]),
        ({"every": 2, "times": 1}, [200, 500, 200, 200, 200, 200]),
        ({"path": "embeddings"}, [200, 200, 200, 200, 200, 200]),
        ({"contains": "absent"}, [200, 200, 200, 200, 200, 200]),
    ],
)
def test_a_rule_fires_where_it_says(
    server: LocalServer, client: openai.OpenAI, rule: dict[str, object], expected: list[int]
) -> None:
    server.faults.add(Fault.from_json({"action": "status", **rule}))
    assert statuses(client, 6) == expected


def test_a_refusal_and_a_filtered_answer(server: LocalServer, client: openai.OpenAI) -> None:
    server.faults.add(Fault("refusal", nth=1, message="No."))
    server.faults.add(Fault("content_filter", nth=1))
    refused = client.chat.completions.create(model="stars", messages=[{"role": "user", "content": "x"}])
    assert (refused.choices[0].message.refusal, refused.choices[0].message.content) == ("No.", None)
    filtered = client.chat.completions.create(model="stars", messages=[{"role": "user", "content": "x"}])
    assert filtered.choices[0].finish_reason == "content_filter"
    assert not filtered.choices[0].message.content


def test_a_refusal_can_be_streamed(server: LocalServer, client: openai.OpenAI) -> None:
    server.faults.add(Fault("refusal", message="No."))
    chunks = client.chat.completions.create(model="stars", messages=[{"role": "user", "content": "x"}], stream=True)
    assert "".join(chunk.choices[0].delta.refusal or "" for chunk in chunks) == "No."


def test_a_request_that_is_never_answered_times_out(server: LocalServer, client: openai.OpenAI) -> None:
    fault = server.faults.add(Fault("timeout", times=1))
    while not fault.fired:  # A busy machine may not even have read the request by then.
        with pytest.raises(openai.APITimeoutError):
            ask(client, timeout=0.2)
    assert ask(client)


def test_a_reset_connection_is_a_connection_error(server: LocalServer, client: openai.OpenAI) -> None:
    server.faults.add(Fault("reset", times=1))
    with pytest.raises(openai.APIConnectionError):
        ask(client)
    assert ask(client)
    assert server.received.by_status == {0: 1, 200: 1}


def test_a_truncated_body_is_a_connection_error(server: LocalServer, client: openai.OpenAI) -> None:
    server.faults.add(Fault("truncated", times=1))
    with pytest.raises(openai.APIConnectionError):
        ask(client)
    assert ask(client)


def test_a_body_that_is_not_json(server: LocalServer, client: openai.OpenAI) -> None:
    server.faults.add(Fault("malformed_json", times=1))
    with pytest.raises((openai.APIError, json.JSONDecodeError)):
        ask(client)
    assert ask(client)


def test_a_slow_answer_is_right_and_late(server: LocalServer, client: openai.OpenAI) -> None:
    quick = ask(client)
    server.faults.add(Fault("slow", delay_seconds=0.15))
    started = time.monotonic()
    assert ask(client) == quick
    assert time.monotonic() - started >= 0.15


def test_a_held_answer_comes_once_the_rule_is_removed(server: LocalServer, client: openai.OpenAI) -> None:
    quick = ask(client)
    fault = server.faults.add(Fault("held"))
    with ThreadPoolExecutor(1) as thread:
        held = thread.submit(ask, client)
        until(lambda: fault.fired)
        assert not held.done()
        server.faults.clear()
        assert held.result(PATIENCE_SECONDS) == quick


def test_faults_can_be_set_and_cleared_over_http(server: LocalServer, client: openai.OpenAI) -> None:
    def send(method: str, body: object = None) -> object:
        request = urllib.request.Request(
            server.root_url + "/_luthier/faults",
            json.dumps(body).encode() if body is not None else None,
            {"Authorization": f"Bearer {server.api_key}"},
            method=method,
        )
        with urllib.request.urlopen(request) as response:
            return json.load(response)

    assert send("POST", [{"action": "status", "status": 500}]) == {"faults": 1}
    assert statuses(client, 1) == [500]
    assert send("DELETE") == {"faults": 0}
    assert statuses(client, 1) == [200]


def test_a_rule_with_a_wrong_word_is_refused_by_name() -> None:
    with pytest.raises(EndpointError, match="explode"):
        Fault("explode")
    with pytest.raises(EndpointError, match="whenever"):
        Fault.from_json({"action": "slow", "whenever": 1})
