"""The server's paths, whom it lets in, what it refuses, and what it says of its requests."""

from __future__ import annotations

import json
import logging
import socket
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from typing import Any

import numpy as np
import pandas as pd
import pytest

from luthier.serving.application import LARGEST_BODIES
from luthier.serving.served_request import ServedRequest
from luthier.serving.settings import ServerSettings
from tests.patience import PATIENCE_SECONDS, until
from tests.serving.served import EchoModel, ask, ask_raw, running

KEY = "lk_a-key-of-this-test"
SECRET = "the soup was cold"


class OneKey:
    def label_of(self, key: str) -> str | None:
        return "mobile app" if key == KEY else None


class Seen:
    """Remembers what an observer is told."""

    def __init__(self) -> None:
        self.began_paths: list[str] = []
        self.requests: list[ServedRequest] = []
        self.came = threading.Condition()

    def began(self, path: str) -> None:
        self.began_paths.append(path)

    def observed(self, request: ServedRequest) -> None:
        with self.came:
            self.requests.append(request)
            self.came.notify_all()

    def next(self) -> ServedRequest:
        with self.came:
            assert self.came.wait_for(lambda: self.requests, timeout=PATIENCE_SECONDS)
            return self.requests.pop(0)


@pytest.fixture(scope="module")
def standing() -> Iterator[tuple[EchoModel, socket.socket]]:
    """A server without keys for tests that leave it as it was."""
    model = EchoModel()
    settings = ServerSettings(port=0, without_key=True, most_bytes=1_000_000, most_rows=20_000)
    with running(model, settings, revision=7) as (_, listening):
        yield model, listening


@pytest.fixture
def here(standing: tuple[EchoModel, socket.socket]) -> Iterator[socket.socket]:
    """Its socket; the server still answers after the test."""
    yield standing[1]
    assert ask(standing[1], "POST", "/invocations", {"inputs": ["after"]}).status == 200


def test_an_answer_says_which_model_and_revision_gave_it(here: socket.socket) -> None:
    reply = ask(here, "POST", "/invocations", {"inputs": ["good"]})
    assert reply.document == {"predictions": [{"length": 4, "score": None}]}
    assert reply.headers["content-type"] == "application/json"
    assert reply.headers["x-luthier-model-version"] == "3"
    assert reply.headers["x-luthier-revision"] == "7"
    assert reply.headers["server"] is None


def test_a_request_keeps_its_plain_id_and_gets_one_otherwise(here: socket.socket) -> None:
    assert ask(here, "GET", "/ping", x_request_id="a-1:b/2").headers["x-request-id"] == "a-1:b/2"
    for strange in ("a b", "<script>", "x" * 129, ""):
        given = ask(here, "GET", "/ping", x_request_id=strange).headers["x-request-id"]
        assert len(given) == 32
        assert given != strange


def test_alive_is_said_as_mlflow_says_it(here: socket.socket) -> None:
    for path in ("/ping", "/health"):
        reply = ask(here, "GET", path)
        assert (reply.status, reply.body) == (200, b"\n")
    assert ask(here, "GET", "/version").body.startswith(b"3.")


def test_ready_says_what_is_not_well() -> None:
    model = EchoModel()
    with running(model) as (_, listening):
        assert ask(listening, "GET", "/ready").document == {"ready": True, "checks": {"upstream": None}}
        model.checks = {"upstream": "It does not answer.", "key": None}
        reply = ask(listening, "GET", "/ready")
        assert (reply.status, reply.headers["retry-after"]) == (503, "5")
        assert reply.document == {"ready": False, "checks": {"upstream": "It does not answer.", "key": None}}


@pytest.mark.parametrize(
    ("path", "status"),
    [
        ("/nothing", 404),
        ("/../../etc/passwd", 404),
        ("/%2e%2e/%2e%2e/etc/passwd", 404),
        ("/..%2f..%2fetc/passwd", 404),
        ("//etc/passwd", 404),
        ("/invocations/../invocations", 404),
        ("/invocations%00", 404),
        ("/" + "a" * 20_000, 404),
        ("/docs/../../secret", 404),
    ],
)
def test_paths_that_are_not_there_get_404_and_are_not_repeated(here: socket.socket, path: str, status: int) -> None:
    said = ask_raw(here, f"GET {path} HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n".encode())
    head, _, body = said.partition(b"\r\n\r\n")
    assert head.startswith(f"HTTP/1.1 {status} ".encode())
    assert json.loads(body) == {"error_code": "ENDPOINT_NOT_FOUND", "message": "The server has no such path."}


def test_other_methods_get_405(here: socket.socket) -> None:
    for method in ("GET", "PUT", "DELETE", "OPTIONS"):
        reply = ask(here, method, "/invocations")
        assert (reply.status, reply.headers["allow"]) == (405, "POST")
        assert reply.document["error_code"] == "BAD_REQUEST"


def test_a_body_is_counted_before_it_is_read_and_while_it_is(here: socket.socket) -> None:
    said = ask_raw(
        here,
        b"POST /invocations HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\n"
        b"Connection: close\r\nContent-Length: 52428800\r\n\r\n",
    )
    assert said.startswith(b"HTTP/1.1 413 ")
    # Chunked: its size is known once it has come.
    piece = b"%x\r\n" % 65536 + b"x" * 65536 + b"\r\n"
    begun = (
        b"POST /invocations HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\n"
        b"Transfer-Encoding: chunked\r\n\r\n"
    )
    with socket.create_connection(here.getsockname(), timeout=PATIENCE_SECONDS) as client:
        client.sendall(begun)
        for _ in range(800):
            client.sendall(piece)
        client.sendall(b"0\r\n\r\n")
        head = client.recv(65536)
        assert head.startswith(b"HTTP/1.1 413 ")
        # What it was still sending has been thrown away, and the connection serves on.
        client.sendall(b"GET /ping HTTP/1.1\r\nHost: localhost\r\n\r\n")
        assert client.recv(65536).startswith(b"HTTP/1.1 200 ")


def test_a_large_body_within_the_limit_is_answered(standing: tuple[EchoModel, socket.socket]) -> None:
    texts = ["x" * 20] * 20_000
    reply = ask(standing[1], "POST", "/invocations", {"inputs": texts})
    assert reply.status == 200
    assert reply.document["predictions"] == [{"length": 20, "score": None}] * 20_000


@pytest.mark.parametrize(
    ("body", "headers", "status"),
    [
        (b'{"inputs": ["the soup was cold"', {}, 400),
        (b"[" * 100_000, {}, 400),
        ({"rows": [SECRET]}, {}, 400),
        ({"inputs": [SECRET]}, {"content_type": "text/plain"}, 415),
        ({"inputs": [SECRET]}, {"content_encoding": "gzip"}, 415),
        (b"text,n\nthe soup was cold\n", {"content_type": "text/csv"}, 400),
        (b"the soup was cold", {"content_type": "application/vnd.apache.parquet"}, 400),
        ({"inputs": [SECRET] * 20_001}, {}, 413),
        ({"inputs": [SECRET]}, {"x_request_timeout_seconds": "soon"}, 400),
        ({"inputs": [SECRET]}, {"x_request_timeout_seconds": "-1"}, 400),
        ({"inputs": [SECRET]}, {"x_request_timeout_seconds": "nan"}, 400),
        ({"inputs": [SECRET]}, {"x_request_timeout_seconds": "inf"}, 400),
    ],
)
def test_a_bad_request_gets_its_status_and_nothing_of_itself_back(
    here: socket.socket, body: Any, headers: dict[str, str], status: int
) -> None:
    reply = ask(here, "POST", "/invocations", body, **headers)
    assert reply.status == status
    assert set(reply.document) == {"error_code", "message"}
    assert b"soup" not in reply.body
    assert b"Traceback" not in reply.body


def test_a_body_without_a_type_gets_415(here: socket.socket) -> None:
    # A page of any site may send one without the browser asking first.
    said = ask_raw(
        here,
        b"POST /invocations HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\nContent-Length: 17\r\n\r\n"
        b'{"inputs": ["a"]}',
    )
    assert said.startswith(b"HTTP/1.1 415 ")


def test_a_bug_is_logged_and_not_sent(here: socket.socket, caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.ERROR, "luthier.serving"):
        reply = ask(here, "POST", "/invocations", {"inputs": ["bug"]}, x_request_id="r-17")
    assert reply.status == 500
    assert reply.document["error_code"] == "INTERNAL_ERROR"
    assert "r-17" in reply.document["message"]
    assert b"secret" not in reply.body
    [record] = caplog.records
    assert "r-17" in record.getMessage()
    assert record.exc_info is not None
    assert isinstance(record.exc_info[1], RuntimeError)


def test_a_refusal_of_the_model_says_when_to_come_again(here: socket.socket) -> None:
    reply = ask(here, "POST", "/invocations", {"inputs": ["busy"]})
    assert (reply.status, reply.headers["retry-after"]) == (429, "2")
    assert reply.document == {"error_code": "REQUEST_LIMIT_EXCEEDED", "message": "The queue is full."}


def test_a_key_is_needed_for_predictions_alone() -> None:
    with running(EchoModel(), ServerSettings(port=0), keys=OneKey()) as (_, listening):
        body = {"inputs": ["a"]}
        for reply in (
            ask(listening, "POST", "/invocations", body),
            ask(listening, "POST", "/invocations", body, authorization="Bearer lk_wrong"),
            ask(listening, "POST", "/invocations", body, authorization=f"Basic {KEY}"),
            ask(listening, "POST", "/invocations", body, authorization="Bearer "),
            ask(listening, "POST", "/invocations", body, x_api_key="lk_é"),
        ):
            assert (reply.status, reply.headers["www-authenticate"]) == (401, "Bearer")
            assert reply.document["error_code"] == "UNAUTHENTICATED"
        assert ask(listening, "POST", "/invocations", body, authorization=f"Bearer {KEY}").status == 200
        # A front that lets people in by a header of its own passes it on.
        passed_on = {"authorization": "Bearer key-of-the-front", "x-api-key": KEY}
        assert ask(listening, "POST", "/invocations", body, **passed_on).status == 200
        assert ask(listening, "POST", "/invocations", body, authorization=f"bearer {KEY}").status == 200
        assert ask(listening, "POST", "/invocations", body, x_api_key=KEY).status == 200
        for path in ("/ping", "/health", "/ready", "/version"):
            assert ask(listening, "GET", path).status == 200


def test_without_a_key_the_body_is_not_even_read() -> None:
    model = EchoModel()
    with running(model, ServerSettings(port=0), keys=OneKey()) as (_, listening):
        said = ask_raw(
            listening,
            b"POST /invocations HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\nContent-Length: 1000\r\n\r\n",
        )
        assert said.startswith(b"HTTP/1.1 401 ")
    assert model.asked == []


def test_a_server_without_keys_answers_only_under_this_machines_names(here: socket.socket) -> None:
    # A page whose site gave 127.0.0.1 a name of its own is of the same origin to the browser.
    body = {"inputs": ["a"]}
    assert ask(here, "POST", "/invocations", body, host="rebound.example:8080").status == 400
    assert ask(here, "GET", "/ready", host="rebound.example:8080").status == 400
    for host in ("localhost:8080", "LOCALHOST", "127.0.0.1", "[::1]:8080"):
        assert ask(here, "POST", "/invocations", body, host=host).status == 200


@pytest.mark.parametrize("path", ["/docs", "/openapi.json", "/metrics"])
def test_a_page_is_read_under_this_machines_names_and_in_no_frame(here: socket.socket, path: str) -> None:
    # A server without keys shows the example rows of its model.
    assert ask(here, "GET", path, host="rebound.example").status == 400
    reply = ask(here, "GET", path)
    assert (reply.status, reply.headers["Content-Security-Policy"]) == (200, "frame-ancestors 'none'")


def test_bodies_that_are_in_at_one_time_are_bounded_together() -> None:
    model = EchoModel(seconds=60)
    settings = ServerSettings(port=0, without_key=True, most_bytes=1_000)
    body = json.dumps({"inputs": ["a" * 950]}).encode()
    with running(model, settings) as (server, listening), ExitStack() as waiting:
        for _ in range(LARGEST_BODIES):
            client = waiting.enter_context(socket.create_connection(listening.getsockname(), timeout=PATIENCE_SECONDS))
            client.sendall(b"POST /invocations HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\n")
            client.sendall(b"Content-Length: %d\r\n\r\n" % len(body) + body)
        until(lambda: len(model.asked) == LARGEST_BODIES)
        refused = ask(listening, "POST", "/invocations", body)
        assert (refused.status, refused.headers["Retry-After"]) == (429, "1")
        waiting.close()
        until(lambda: server.application.body_bytes == 0)


def test_a_request_may_take_less_time_than_the_server_allows_and_never_more() -> None:
    model = EchoModel()
    with running(model, ServerSettings(port=0, without_key=True, timeout_seconds=5000)) as (_, listening):
        ask(listening, "POST", "/invocations", {"inputs": ["a"]}, x_request_timeout_seconds="2000")
        ask(listening, "POST", "/invocations", {"inputs": ["a"]}, x_request_timeout_seconds="60000")
        ask(listening, "POST", "/invocations", {"inputs": ["a"]})
    short, capped, default = model.given_seconds
    assert 1000 < short <= 2000
    assert 4000 < capped <= 5000
    assert 4000 < default <= 5000


def test_a_request_whose_time_is_over_gets_504_and_its_work_ends() -> None:
    model = EchoModel(seconds=60)
    with running(model) as (_, listening):
        while not model.asked:  # On a busy machine time may be over before the model is asked.
            reply = ask(listening, "POST", "/invocations", {"inputs": ["a"]}, x_request_timeout_seconds="0.05")
            assert reply.status == 504
            assert reply.document["error_code"] == "DEADLINE_EXCEEDED"
    assert model.cancelled == 1


def test_work_for_a_client_that_has_gone_ends() -> None:
    model, seen = EchoModel(seconds=60), Seen()
    with running(model, observers=[seen]) as (server, listening):
        with socket.create_connection(listening.getsockname(), timeout=PATIENCE_SECONDS) as client:
            client.sendall(
                b"POST /invocations HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\n"
                b'Content-Length: 17\r\n\r\n{"inputs": ["a"]}'
            )
            until(lambda: server.in_flight == 1 and model.asked != [])
        assert seen.next().status == 499
        assert model.cancelled == 1
        until(lambda: server.in_flight == 0)


def test_observers_are_told_of_every_request_and_of_no_text() -> None:
    seen = Seen()
    with running(EchoModel(), ServerSettings(port=0), keys=OneKey(), observers=[seen]) as (_, listening):
        ask(listening, "POST", "/invocations", {"inputs": ["one", "two"]}, x_api_key=KEY, x_request_id="r-1")
        told = seen.next()
        assert (told.request_id, told.method, told.path, told.status) == ("r-1", "POST", "/invocations", 200)
        assert (told.key, told.error_code) == ("mobile app", None)
        assert told.answer is not None
        assert told.answer.rows == 2
        assert 0 < told.seconds < PATIENCE_SECONDS
        ask(listening, "POST", "/invocations", {"inputs": ["one"]}, x_api_key="lk_wrong")
        told = seen.next()
        assert (told.status, told.key, told.error_code, told.answer) == (401, None, "UNAUTHENTICATED", None)
        ask(listening, "POST", "/invocations", {"inputs": ["bug"]}, x_api_key=KEY)
        assert seen.next().status == 500
        ask(listening, "GET", "/made/up/path/17")
        told = seen.next()
        assert (told.status, told.path) == (404, "other")
        assert seen.began_paths == ["/invocations"] * 3 + ["other"]


def test_more_requests_than_the_server_takes_get_429_before_their_bodies_are_read() -> None:
    model = EchoModel()
    model.held = True
    settings = ServerSettings(port=0, without_key=True, most_requests=2)
    with running(model, settings) as (server, listening), ThreadPoolExecutor(2) as clients:
        served = [clients.submit(ask, listening, "POST", "/invocations", {"inputs": ["a"]}) for _ in range(2)]
        until(lambda: server.in_flight == 2)
        said = ask_raw(
            listening,
            b"POST /invocations HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\n"
            b"Connection: close\r\nContent-Length: 1000\r\n\r\n",
        )
        assert said.startswith(b"HTTP/1.1 429 ")
        assert b"\r\nretry-after: 1\r\n" in said
        assert ask(listening, "GET", "/ready").status == 200
        model.held = False
        assert [reply.result(PATIENCE_SECONDS).status for reply in served] == [200, 200]


def test_mlflows_own_client_gets_its_answers(here: socket.socket) -> None:
    from mlflow.pyfunc.scoring_server.client import ScoringServerClient

    client = ScoringServerClient(*here.getsockname())
    client.ping()
    assert client.get_version()[0] == "3"
    table = pd.DataFrame({"text": ["good", "bad"]})
    for data in (table, np.array(["good", "bad"])):
        answered = client.invoke(data, params={"temperature": 0.5}).get_predictions()
        assert answered["length"].tolist() == [4, 3]
        assert answered["score"].isna().all()
