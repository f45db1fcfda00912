"""A running server: sockets that it takes up and lets go of, drains, its key for one run, the foreground."""

from __future__ import annotations

import asyncio
import http.client
import json
import os
import shlex
import signal
import socket
import subprocess
import sys
import threading
import urllib.request
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, contextmanager
from pathlib import Path

import pytest

from luthier.engine.loop import in_background, wait_for
from luthier.errors import UserError
from luthier.serving.http_protocol import LimitedHttpProtocol
from luthier.serving.listening import listening_socket, url_of
from luthier.serving.server import RunningServer, serve_in_background
from luthier.serving.settings import ServerSettings
from tests.conftest import REPOSITORY
from tests.patience import PATIENCE_SECONDS, until
from tests.serving.served import WITHOUT_KEY, EchoModel, ask, ask_raw, read_all, read_answer, running

WHOLE = (
    b"POST /invocations HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\nContent-Length: 17\r\n\r\n"
    b'{"inputs": ["a"]}'
)
CLOSING = WHOLE.replace(b"\r\nContent-Type", b"\r\nConnection: close\r\nContent-Type")


def connected(listening: socket.socket) -> socket.socket:
    return socket.create_connection(listening.getsockname(), timeout=PATIENCE_SECONDS)


def test_a_server_beside_a_notebook_answers_until_it_is_stopped() -> None:
    model = EchoModel()
    with serve_in_background(model, WITHOUT_KEY) as server:
        request = urllib.request.Request(
            f"{server.url}/invocations", b'{"inputs": ["good"]}', {"Content-Type": "application/json"}
        )
        with urllib.request.urlopen(request, timeout=PATIENCE_SECONDS) as answer:
            assert json.load(answer) == {"predictions": [{"length": 4, "score": None}]}
        assert model.is_started
        assert not model.is_closed
    assert model.is_closed
    with pytest.raises(ConnectionRefusedError):
        socket.create_connection(("127.0.0.1", int(server.url.rpartition(":")[2])), timeout=PATIENCE_SECONDS)


def test_a_server_that_is_given_no_keys_makes_one_for_this_run() -> None:
    with serve_in_background(EchoModel(), ServerSettings(port=0)) as server:
        assert server.key is not None
        assert server.key.startswith("lk_")
        for key, status in ((server.key, 200), ("lk_wrong", 401), ("lk_\u00e9", 401)):
            connection = http.client.HTTPConnection(server.url.removeprefix("http://"), timeout=PATIENCE_SECONDS)
            headers = {"X-API-Key": key, "Content-Type": "application/json"}
            connection.request("POST", "/invocations", b'{"inputs": ["a"]}', headers)
            assert connection.getresponse().status == status
            connection.close()


def test_a_server_lets_everybody_in_only_where_its_settings_say_so() -> None:
    with pytest.raises(UserError, match="luthier keys add"):
        RunningServer(EchoModel(), ServerSettings(port=0))


def test_a_port_that_is_taken_is_said() -> None:
    with listening_socket("127.0.0.1", 0) as taken:
        port = taken.getsockname()[1]
        with pytest.raises(UserError, match=str(port)):
            serve_in_background(EchoModel(), ServerSettings(port=port, without_key=True))


def test_a_model_that_does_not_start_frees_the_port() -> None:
    class Broken(EchoModel):
        async def start(self) -> None:
            raise UserError("the upstream is not there")

    with listening_socket("127.0.0.1", 0) as probe:
        port = probe.getsockname()[1]
    with pytest.raises(UserError, match="upstream"):
        serve_in_background(Broken(), ServerSettings(port=port, without_key=True))
    listening_socket("127.0.0.1", port).close()


def test_addresses_are_written_as_clients_type_them() -> None:
    with listening_socket("0.0.0.0", 0) as listening:
        assert url_of(listening) == f"http://127.0.0.1:{listening.getsockname()[1]}"
    if socket.has_ipv6:
        with listening_socket("::1", 0) as listening:
            assert url_of(listening) == f"http://[::1]:{listening.getsockname()[1]}"


def test_a_paused_socket_leaves_what_comes_to_the_next_server() -> None:
    with running(EchoModel(version="1")) as (old, listening), running_on(listening, EchoModel(version="2")) as new:
        wait_for(old.pause(listening))
        assert not old.is_accepting(listening)
        with ThreadPoolExecutor(8) as clients:
            replies = list(clients.map(lambda _: ask(listening, "POST", "/invocations", {"inputs": ["a"]}), range(40)))
        assert {(reply.status, reply.headers["x-luthier-model-version"]) for reply in replies} == {(200, "2")}
        # And back again.
        wait_for(old.accept(listening))
        wait_for(new.pause(listening))
        reply = ask(listening, "POST", "/invocations", {"inputs": ["a"]})
        assert (reply.status, reply.headers["x-luthier-model-version"]) == (200, "1")


@contextmanager
def running_on(listening: socket.socket, model: EchoModel) -> Iterator[RunningServer]:
    """One more server on a socket, on the same loop."""
    server = RunningServer(model, WITHOUT_KEY)
    wait_for(server.start())
    wait_for(server.accept(listening))
    try:
        yield server
    finally:
        wait_for(server.drain())


def test_no_request_is_lost_while_two_servers_take_turns() -> None:
    ends = threading.Event()

    def keep_asking(address: tuple[str, int]) -> list[tuple[int, str | None]]:
        connection, got = http.client.HTTPConnection(*address, timeout=PATIENCE_SECONDS), []
        while not ends.is_set():
            connection.request("POST", "/invocations", b'{"inputs": ["a"]}', {"Content-Type": "application/json"})
            answer = connection.getresponse()
            answer.read()
            got.append((answer.status, answer.headers["x-luthier-model-version"]))
        connection.close()
        return got

    with running(EchoModel(0.01, "1")) as (one, listening), running_on(listening, EchoModel(0.01, "2")) as two:
        with ThreadPoolExecutor(16) as clients:
            try:
                asking = [clients.submit(keep_asking, listening.getsockname()) for _ in range(16)]
                for _ in range(8):
                    for on, off in ((one, two), (two, one)):
                        wait_for(on.accept(listening))
                        wait_for(off.pause(listening))
                        # Clients keep their connection until it ends, so all of them have to come over.
                        until(lambda off=off: off.connections == 0)  # type: ignore[misc]
                        until(lambda on=on: on.in_flight > 4)  # type: ignore[misc]
            finally:
                ends.set()
            got = [answer for client in asking for answer in client.result(PATIENCE_SECONDS)]
    assert set(got) == {(200, "1"), (200, "2")}
    assert len(got) > 100


def test_a_request_waits_while_no_server_accepts() -> None:
    with running(EchoModel()) as (server, listening):
        wait_for(server.pause(listening))
        with connected(listening) as client:
            client.sendall(CLOSING)
            client.settimeout(0.1)
            with pytest.raises(TimeoutError):
                client.recv(1)
            wait_for(server.accept(listening))
            client.settimeout(PATIENCE_SECONDS)
            assert read_all(client).startswith(b"HTTP/1.1 200 ")


def test_connections_of_a_paused_socket_end_after_their_next_answer() -> None:
    with running(EchoModel()) as (server, listening):
        with connected(listening) as client:
            client.sendall(WHOLE)
            assert b"connection: close" not in read_answer(client)
            wait_for(server.pause(listening))
            client.sendall(WHOLE)
            said = read_all(client)
        assert said.startswith(b"HTTP/1.1 200 ")
        assert b"connection: close" in said


def test_half_of_the_connections_end_after_their_next_answer_where_another_server_is_to_have_clients_too() -> None:
    with running(EchoModel()) as (server, listening), ExitStack() as opened:
        clients = [opened.enter_context(connected(listening)) for _ in range(6)]
        for client in clients:
            client.sendall(WHOLE)
            assert b"connection: close" not in read_answer(client)
        wait_for(server.share(listening))
        for client in clients:
            client.sendall(WHOLE)
        said = [read_answer(client) for client in clients]
        assert all(one.startswith(b"HTTP/1.1 200 ") for one in said)
        assert sum(b"connection: close" in one for one in said) == 3
        with connected(listening) as client:
            client.sendall(WHOLE)
            assert b"connection: close" not in read_answer(client)


@pytest.mark.parametrize("turns", range(6))
def test_a_connection_that_comes_at_the_moment_of_a_pause_is_answered(turns: int) -> None:
    with listening_socket("127.0.0.1", 0) as listening, running_on(listening, EchoModel()) as server:

        async def pause_soon() -> socket.socket:
            client = connected(listening)
            for _ in range(turns):
                await asyncio.sleep(0)
            await server.pause(listening)
            return client

        with wait_for(pause_soon()) as client:
            client.sendall(CLOSING)
            # Where it was not accepted yet, it waits for the next accept.
            wait_for(server.accept(listening))
            assert read_all(client).startswith(b"HTTP/1.1 200 ")


def test_a_request_that_is_being_answered_when_its_socket_is_paused_is_finished() -> None:
    model = EchoModel()
    model.held = True
    with running(model) as (server, listening):
        with connected(listening) as client:
            client.sendall(WHOLE)
            until(lambda: server.in_flight == 1)
            wait_for(server.pause(listening))
            model.held = False
            said = read_all(client)
        assert said.startswith(b"HTTP/1.1 200 ")
        assert b"connection: close" in said


def test_idle_connections_of_a_paused_socket_end_soon(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(LimitedHttpProtocol, "idle_seconds", 0.1)
    with running(EchoModel()) as (server, listening):
        with connected(listening) as silent, connected(listening) as idle:
            idle.sendall(WHOLE)
            read_answer(idle)
            wait_for(server.pause(listening))
            assert read_all(silent) == b""
            assert read_all(idle) == b""
        wait_for(server.accept(listening))
        assert ask_raw(listening, CLOSING).startswith(b"HTTP/1.1 200 ")


def test_pausing_one_socket_leaves_the_other(tmp_path: Path) -> None:
    with running(EchoModel()) as (server, listening), listening_socket("127.0.0.1", 0) as other:
        wait_for(server.accept(other))
        with connected(other) as client:
            client.sendall(WHOLE)
            read_answer(client)
            wait_for(server.pause(listening))
            client.sendall(WHOLE)
            assert b"connection: close" not in read_answer(client)


@pytest.mark.skipif(sys.platform == "win32", reason="no unix sockets")
def test_a_private_unix_socket_needs_no_key_and_outlives_a_pause(tmp_path: Path) -> None:
    class NoKey:
        def label_of(self, key: str) -> str | None:
            return None

    path = f"/tmp/lt-{os.getpid()}.sock"
    with socket.socket(socket.AF_UNIX) as private:
        private.bind(path)
        try:
            private.listen()
            with running(EchoModel(), ServerSettings(port=0), keys=NoKey()) as (server, listening):
                wait_for(server.accept(private, needs_key=False))
                assert ask_unix(path).startswith(b"HTTP/1.1 200 ")
                assert ask_raw(listening, CLOSING).startswith(b"HTTP/1.1 401 ")
                wait_for(server.pause(private))
                wait_for(server.accept(private, needs_key=False))
                assert ask_unix(path).startswith(b"HTTP/1.1 200 ")
            assert Path(path).exists()
        finally:
            Path(path).unlink()


def ask_unix(path: str) -> bytes:
    with socket.socket(socket.AF_UNIX) as client:
        client.settimeout(PATIENCE_SECONDS)
        client.connect(path)
        client.sendall(CLOSING)
        return read_all(client)


def test_a_drain_answers_what_has_come_and_takes_no_more() -> None:
    model = EchoModel()
    model.held = True
    with listening_socket("127.0.0.1", 0) as listening:
        server = RunningServer(model, WITHOUT_KEY)
        wait_for(server.start())
        wait_for(server.accept(listening))
        with ThreadPoolExecutor(16) as clients:
            answers = [clients.submit(ask_raw, listening, WHOLE) for _ in range(16)]
            until(lambda: server.in_flight == 16)
            draining = in_background(server.drain())
            until(lambda: not server.is_accepting(listening))
            model.held = False
            assert {answer.result(PATIENCE_SECONDS)[:13] for answer in answers} == {b"HTTP/1.1 200 "}
        draining.result(PATIENCE_SECONDS)
        assert model.is_closed
        assert model.cancelled == 0
        assert server.connections == 0


PROGRAM = """
import sys
from luthier.serving.server import serve
from luthier.serving.settings import ServerSettings
from tests.serving.served import EchoModel

class Telling(EchoModel):
    async def answer(self, *given):
        print("asked", flush=True)
        return await super().answer(*given)

serve(Telling(seconds=float(sys.argv[1])), ServerSettings(port=0))
print("ended")
"""


@contextmanager
def foreground(seconds: float) -> Iterator[tuple[subprocess.Popen[str], str]]:
    """A process that serves, and what it said when it was ready."""
    process = subprocess.Popen(
        [sys.executable, "-c", PROGRAM, str(seconds)],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env=os.environ | {"PYTHONPATH": str(REPOSITORY)},
    )
    said = ""
    try:
        assert process.stderr is not None
        while "-d '" not in said:
            line = process.stderr.readline()
            assert line, said
            said += line
        yield process, said
    finally:
        process.kill()
        process.communicate()


@pytest.mark.slow
@pytest.mark.parametrize("number", ["SIGTERM", "SIGINT", "SIGHUP"])
def test_in_the_foreground_a_signal_lets_what_has_come_be_answered(number: str) -> None:
    with foreground(0.5) as (process, said):
        # The command it printed works as it stands.
        curl = shlex.split(said[said.index("curl ") :].replace("\\\n", " "))
        client = subprocess.Popen([curl[0], "-s", *curl[1:]], stdout=subprocess.PIPE, text=True)
        assert process.stdout is not None
        assert process.stdout.readline() == "asked\n"
        process.send_signal(getattr(signal, number))
        answer, _ = client.communicate(timeout=PATIENCE_SECONDS)
        out, _ = process.communicate(timeout=PATIENCE_SECONDS)
    assert json.loads(answer) == {"predictions": [{"length": 9, "score": None}]}
    assert (process.returncode, out) == (0, "ended\n")
