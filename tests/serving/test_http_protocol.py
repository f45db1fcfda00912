"""What a client may take to send a request. It is about uvicorn's internals: each behaviour has its test."""

from __future__ import annotations

import json
import os
import resource
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

import pytest

from luthier.serving.http_protocol import LimitedHttpProtocol
from luthier.serving.served_model import ScoringAnswer, ScoringRequest
from luthier.serving.server import raise_file_limit
from tests.conftest import REPOSITORY
from tests.patience import PATIENCE_SECONDS, until
from tests.serving.served import EchoModel, ask, ask_raw, read_all, read_answer, running

READ_SECONDS = 0.3

HEAD = b"POST /invocations HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\nContent-Length: 17\r\n\r\n"
BODY = b'{"inputs": ["a"]}'


@pytest.fixture(scope="module")
def standing() -> Iterator[socket.socket]:
    """The socket of a server whose clients have 0.3 s."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(LimitedHttpProtocol, "read_seconds", READ_SECONDS)
        with running(EchoModel()) as (_, listening):
            yield listening


@pytest.fixture
def here(standing: socket.socket) -> Iterator[socket.socket]:
    """The same; the server still answers after the test."""
    yield standing
    # A busy machine may send too slowly for it.
    until(lambda: ask(standing, "POST", "/invocations", {"inputs": ["after"]}).status == 200)


def drip(listening: socket.socket, begun: bytes, drop: bytes) -> tuple[bytes, float]:
    """Sends a beginning and then a drop every 20 ms; gives what came back until the close, and the seconds to there."""
    start = time.monotonic()
    with socket.create_connection(listening.getsockname(), timeout=PATIENCE_SECONDS) as client:
        client.sendall(begun)
        client.settimeout(0.02)
        got = b""
        while time.monotonic() - start < PATIENCE_SECONDS:
            try:
                piece = client.recv(65536)
                got += piece
                if not piece:
                    break
            except TimeoutError:
                try:
                    client.sendall(drop)
                except (BrokenPipeError, ConnectionResetError):
                    break
            except ConnectionResetError:
                break
        return got, time.monotonic() - start


@pytest.mark.parametrize(
    ("begun", "drop"),
    [
        (b"POST /invocations HTTP/1.1\r\nHost: localhost\r\nX-Slow: ", b"a"),
        (b"POST /invocations HTTP/1.1\r\nHost: localhost\r\n", b"X-Slow: a\r\n"),
        (b"PO", b""),
        (HEAD, b""),
        (HEAD.replace(b"17", b"99999"), b" "),
        (HEAD.replace(b"Content-Length: 17", b"Transfer-Encoding: chunked"), b"1\r\n \r\n"),
    ],
    ids=["one header", "many headers", "no headers", "no body", "body", "chunks"],
)
def test_a_request_that_comes_slowly_gets_408_and_the_connection_ends(
    here: socket.socket, begun: bytes, drop: bytes
) -> None:
    said, seconds = drip(here, begun, drop)
    assert said.startswith(b"HTTP/1.1 408 ")
    assert json.loads(said.partition(b"\r\n\r\n")[2])["error_code"] == "BAD_REQUEST"
    assert READ_SECONDS * 0.8 < seconds < PATIENCE_SECONDS


@pytest.mark.parametrize("drop", [b"", b"\r\n"], ids=["silent", "blank lines"])
def test_a_connection_without_a_request_ends_without_a_word(here: socket.socket, drop: bytes) -> None:
    said, seconds = drip(here, b"", drop)
    assert said == b""
    assert seconds < PATIENCE_SECONDS


def test_time_is_counted_anew_for_each_request_of_a_connection(here: socket.socket) -> None:
    with socket.create_connection(here.getsockname(), timeout=PATIENCE_SECONDS) as client:
        client.sendall(HEAD + BODY)
        assert read_answer(client).startswith(b"HTTP/1.1 200 ")
        # Idle for longer than a request may take, which is no fault.
        client.settimeout(READ_SECONDS * 2)
        with pytest.raises(TimeoutError):
            client.recv(1)
        client.settimeout(PATIENCE_SECONDS)
        client.sendall(HEAD + BODY)
        assert read_answer(client).startswith(b"HTTP/1.1 200 ")
        client.sendall(HEAD)
        assert read_all(client).startswith(b"HTTP/1.1 408 ")


def test_an_answer_may_take_longer_than_its_request(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(LimitedHttpProtocol, "read_seconds", READ_SECONDS)
    with running(EchoModel(seconds=READ_SECONDS * 3)) as (_, listening):
        with socket.create_connection(listening.getsockname(), timeout=PATIENCE_SECONDS) as client:
            # The beginning of the next request comes with it, and waits for its turn.
            client.sendall(HEAD + BODY + HEAD[:40])
            assert read_answer(client).startswith(b"HTTP/1.1 200 ")
            client.sendall(HEAD[40:] + BODY)
            assert read_answer(client).startswith(b"HTTP/1.1 200 ")


def test_the_rest_of_a_body_that_was_refused_has_its_time_too(here: socket.socket) -> None:
    said, seconds = drip(here, HEAD.replace(b"17", b"999999999"), b"x")
    assert said.startswith(b"HTTP/1.1 413 ")
    assert b"408" not in said
    assert seconds < PATIENCE_SECONDS


class LongAnswers(EchoModel):
    async def answer(self, request: ScoringRequest, timeout_seconds: float) -> ScoringAnswer:
        self.asked.append(request)
        return ScoringAnswer(["x" * 1_000_000] * 16, 1)


def test_a_client_that_stops_reading_its_answer_is_cut_off(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("luthier.serving.server.KEEP_ALIVE_SECONDS", 0.2)
    model = LongAnswers()
    with running(model) as (server, listening), socket.socket() as client:
        client.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        client.connect(listening.getsockname())
        client.sendall(HEAD + BODY)
        until(lambda: model.asked)
        until(lambda: server.in_flight == 0 and server.connections == 0)


def test_a_client_that_reads_its_answer_slowly_gets_all_of_it(monkeypatch: pytest.MonkeyPatch) -> None:
    seconds, pause, is_whole = 0.2, threading.Event(), False
    while not is_whole:  # On a busy machine the client may stop for longer than is allowed: then more is.
        monkeypatch.setattr("luthier.serving.server.KEEP_ALIVE_SECONDS", seconds)
        with running(LongAnswers()) as (_, listening), socket.socket() as client:
            client.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 200_000)
            client.settimeout(PATIENCE_SECONDS)
            client.connect(listening.getsockname())
            client.sendall(HEAD + BODY)
            begun, got = time.monotonic(), 0
            with suppress(ConnectionResetError):
                while piece := client.recv(1_000_000):
                    got += len(piece)
                    pause.wait(0.005)
        is_whole = got > 16_000_000
        assert is_whole or time.monotonic() - begun > seconds
        seconds *= 4
        assert seconds < PATIENCE_SECONDS


@pytest.mark.parametrize(
    "sent",
    [
        b"GET /ping HTTP/1.1\r\nHost: localhost\r\nX-Large: " + b"a" * 2_000_000 + b"\r\n\r\n",
        b"GET /ping HTTP/1.1\r\nHost: localhost\r\nX-Large: " + b"a" * 40_000 + b"\r\n\r\n",
        b"GET /ping HTTP/1.1\r\nHost: localhost\r\n" + b"X-Many: a\r\n" * 5_000 + b"\r\n",
        b"GET /" + b"a" * 40_000 + b" HTTP/1.1\r\nHost: localhost\r\n\r\n",
        HEAD[:-2] + b"X-Large: " + b"a" * 40_000 + b"\r\n\r\n" + BODY,
    ],
    ids=["2 MB", "40 KB", "many", "path", "before a body"],
)
def test_large_headers_get_431(here: socket.socket, sent: bytes) -> None:
    with socket.create_connection(here.getsockname(), timeout=PATIENCE_SECONDS) as client:
        with suppress(BrokenPipeError, ConnectionResetError):
            client.sendall(sent)
        said = read_all(client)
    assert said.startswith(b"HTTP/1.1 431 ") or (said == b"" and len(sent) > 1_000_000)


def test_headers_within_the_limit_are_read_whatever_the_body_is(here: socket.socket) -> None:
    head = HEAD.replace(b"17", b"100017")[:-2] + b"X-Large: " + b"a" * 30_000 + b"\r\n\r\n"
    said = ask_raw(
        here, head.replace(b"\r\nContent-Type", b"\r\nConnection: close\r\nContent-Type") + b" " * 100_000 + BODY
    )
    assert said.startswith(b"HTTP/1.1 200 ")


@pytest.mark.parametrize(
    "sent",
    [
        b"\x16\x03\x01\x02\x00\x01\x00",
        b"CONNECT example.com:443 HTTP/1.1\r\nHost: example.com\r\n\r\n",
        b"HELLO\r\n\r\n",
        HEAD.replace(b"\r\n\r\n", b"\r\nTransfer-Encoding: chunked\r\n\r\n") + BODY,
        HEAD.replace(b"17", b"-1") + BODY,
        HEAD.replace(b"Content-Length: 17", b"Content-Length: 17\r\nContent-Length: 5") + BODY,
        HEAD.replace(b"17", b"9" * 40) + BODY,
        b"GET /ping HTTP/1.1\r\nHost: localhost\r\nX: a\x00b\r\n\r\n",
        b"GET /\xe9 HTTP/1.1\r\nHost: localhost\r\n\r\n",
    ],
    ids=[
        "TLS",
        "CONNECT",
        "no HTTP",
        "two lengths",
        "negative",
        "contradicting",
        "huge",
        "zero byte",
        "path in Latin-1",
    ],
)
def test_what_is_not_http_gets_400(here: socket.socket, sent: bytes) -> None:
    said = ask_raw(here, sent)
    assert said.startswith(b"HTTP/1.1 400 ")
    assert json.loads(said.partition(b"\r\n\r\n")[2])["error_code"] == "MALFORMED_REQUEST"


def test_a_client_that_offers_another_protocol_is_answered_in_http1(here: socket.socket) -> None:
    # As Java's client does unless it is told not to.
    h2c = b"Connection: Upgrade, HTTP2-Settings\r\nUpgrade: h2c\r\nHTTP2-Settings: AAMAAABkAAQCAAAAAAIAAAAA\r\n"
    websocket = b"Connection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Version: 13\r\n"
    with socket.create_connection(here.getsockname(), timeout=PATIENCE_SECONDS) as client:
        for offer in (h2c, websocket):
            whole = HEAD.replace(b"Content-Type", offer + b"Content-Type") + BODY
            client.sendall(whole)
            assert read_answer(client).startswith(b"HTTP/1.1 200 ")
            client.sendall(whole[:-5])
            client.sendall(whole[-5:] + whole)
            both = read_answer(client)
            while both.count(b"HTTP/1.1 200 ") < 2:
                both += read_answer(client)


PROGRAM = """
import sys
from tests.serving.served import EchoModel, running
with running(EchoModel()) as (_, listening):
    print(listening.getsockname()[1], flush=True)
    sys.stdin.read()
"""


@pytest.mark.slow
def test_a_server_answers_beside_5000_idle_connections(tmp_path: Path) -> None:
    raise_file_limit()
    hard = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
    if resource.getrlimit(resource.RLIMIT_NOFILE)[0] < 5_500:
        pytest.skip("the system allows too few open files")
    server = subprocess.Popen(
        [sys.executable, "-c", PROGRAM],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
        cwd=REPOSITORY,
        env=os.environ | {"PYTHONPATH": str(REPOSITORY)},
        preexec_fn=lambda: resource.setrlimit(resource.RLIMIT_NOFILE, (256, hard)),
    )
    idle = []
    try:
        assert server.stdout is not None
        address = ("127.0.0.1", int(server.stdout.readline()))
        idle = [socket.create_connection(address, timeout=PATIENCE_SECONDS) for _ in range(5_000)]
        with socket.create_connection(address, timeout=PATIENCE_SECONDS) as client:
            client.sendall(HEAD + BODY)
            assert read_answer(client).startswith(b"HTTP/1.1 200 ")
    finally:
        for client in idle:
            client.close()
        server.communicate(timeout=PATIENCE_SECONDS)
    assert server.returncode == 0
