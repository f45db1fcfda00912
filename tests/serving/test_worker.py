"""Servers as real processes, controlled as a controller does."""

from __future__ import annotations

import http.client
import json
import os
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

import luthier as lt
from luthier.engine.loop import in_background
from luthier.packaging.flavor import save_model
from luthier.processes import start_time
from luthier.serving import worker
from luthier.serving.control import LISTEN_FD_VARIABLE, ControlListener, ServerControl, bound_socket
from luthier.serving.listening import listening_socket
from luthier.serving.server_file import ServerFile
from luthier.serving.settings import ServerSettings
from tests.conftest import reviews, stars
from tests.patience import PATIENCE_SECONDS
from tests.serving.served import WITHOUT_KEY, EchoModel

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("packaged") / "model"
    save_model(folder, lt.fit(lt.Baseline(stars()), train=reviews(60)))
    return folder


Started = tuple[subprocess.Popen[bytes], ServerControl]
Start = Callable[..., Started]


@pytest.fixture
def start(model: Path, tmp_path: Path) -> Iterator[Start]:
    """Starts a server as the controller does, and waits until it says that it is ready."""
    processes: list[subprocess.Popen[bytes]] = []

    def begin(listening: socket.socket | None, revision: int = 1, *, wait: bool = True, **fields: Any) -> Started:
        folder = tmp_path / str(revision)
        folder.mkdir(exist_ok=True)
        settings = ServerSettings(port=0, without_key=True)
        fields = {"model": str(model), "uri": "models:/stars/2", "revision": revision, "settings": settings} | fields
        ServerFile(**fields).write(folder)
        descriptors = {} if listening is None else {LISTEN_FD_VARIABLE: str(listening.fileno())}
        process = subprocess.Popen(
            [sys.executable, "-P", "-m", "luthier.serving.worker", str(folder)],
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            pass_fds=tuple(map(int, descriptors.values())),
            env=os.environ | descriptors,
        )
        processes.append(process)
        control = ServerControl(folder)
        if wait:
            until(lambda: is_ready(control), process)
        return process, control

    yield begin
    for one in processes:
        one.kill()
        one.communicate(timeout=PATIENCE_SECONDS)


def until(fact: Callable[[], bool], process: subprocess.Popen[bytes] | None = None) -> None:
    end = time.monotonic() + PATIENCE_SECONDS
    while not fact():
        assert process is None or process.poll() is None, f"the server ended with {process.poll()}"
        assert time.monotonic() < end
        time.sleep(0.02)


def is_ready(control: ServerControl) -> bool:
    try:
        return bool(control.ask("status")["ready"])
    except OSError:
        return False


class PrivateConnection(http.client.HTTPConnection):
    """A connection over a unix socket."""

    def __init__(self, path: Path) -> None:
        super().__init__("localhost", timeout=PATIENCE_SECONDS)
        self._path = path

    def connect(self) -> None:
        self.sock = socket.socket(socket.AF_UNIX)
        self.sock.settimeout(PATIENCE_SECONDS)
        self.sock.connect(os.fspath(self._path))


def ask(connection: http.client.HTTPConnection) -> tuple[int, http.client.HTTPMessage]:
    body = json.dumps({"dataframe_records": [{"text": "wonderful"}]})
    try:
        connection.request("POST", "/invocations", body, {"Content-Type": "application/json"})
        answer = connection.getresponse()
        answer.read()
        return answer.status, answer.headers
    finally:
        connection.close()


def ask_shared(listening: socket.socket) -> tuple[int, http.client.HTTPMessage]:
    host, port = listening.getsockname()
    return ask(http.client.HTTPConnection(host, port, timeout=PATIENCE_SECONDS))


def test_a_server_answers_privately_first_and_publicly_when_told(start: Start) -> None:
    with listening_socket("127.0.0.1", 0) as listening:
        process, control = start(listening)

        status, headers = ask(PrivateConnection(control.http_path))
        assert (status, headers["X-Luthier-Revision"], headers["X-Luthier-Model-Version"]) == (200, "1", "2")
        # A client may have its answer before the server has counted it.
        until(lambda: control.ask("status")["in_flight"] == 0)
        found = control.ask("status")
        assert (found["pid"], found["start_time"]) == (process.pid, start_time(process.pid))
        assert (found["accepting"], found["requests"], found["errors"], found["in_flight"]) == (False, 1, 0, 0)
        assert found["latency_seconds"]["p95"] > 0

        control.ask("accept")
        assert ask_shared(listening)[0] == 200
        assert control.ask("status")["accepting"]

        process.send_signal(signal.SIGTERM)
        assert process.wait(timeout=PATIENCE_SECONDS) == 0
        assert not control.path.exists() and not control.http_path.exists()


def test_a_socket_outlives_its_maker_and_the_server_that_was_killed(start: Start) -> None:
    listening = listening_socket("127.0.0.1", 0)
    host, port = listening.getsockname()
    first, first_control = start(listening)
    listening.close()
    with first_control.listening_socket() as fetched:
        _, second_control = start(None, 2)
        first.kill()
        first.wait(timeout=PATIENCE_SECONDS)
        # Nobody accepts now; what comes in waits for the successor.
        waiting = http.client.HTTPConnection(host, port, timeout=PATIENCE_SECONDS)
        waiting.connect()
        second_control.ask("accept", fetched)

        status, headers = ask(waiting)
        assert (status, headers["X-Luthier-Revision"]) == (200, "2")


def test_a_paused_server_leaves_the_socket_to_its_successor_and_goes_on_when_told(start: Start) -> None:
    with listening_socket("127.0.0.1", 0) as listening:
        _, old = start(listening)
        old.ask("accept")
        old.ask("pause")
        _, new = start(listening, 2)
        new.ask("accept")

        assert {ask_shared(listening)[1]["X-Luthier-Revision"] for _ in range(5)} == {"2"}
        old.ask("accept")
        new.ask("pause")
        assert {ask_shared(listening)[1]["X-Luthier-Revision"] for _ in range(5)} == {"1"}


def test_a_second_server_for_the_same_revision_is_refused(start: Start, tmp_path: Path) -> None:
    _, control = start(None)
    second, _ = start(None, wait=False)

    assert second.wait(timeout=PATIENCE_SECONDS) == 2
    assert "another server runs" in (tmp_path / "1" / "output.log").read_text()
    assert is_ready(control)


def test_a_server_whose_model_is_gone_says_so_and_ends(start: Start, tmp_path: Path) -> None:
    process, _ = start(None, wait=False, model=str(tmp_path / "nowhere"))

    assert process.wait(timeout=PATIENCE_SECONDS) == 2
    said = (tmp_path / "1" / "output.log").read_text()
    assert "nowhere" in said and "Traceback" not in said


def test_a_server_drains_when_told_and_needs_nobody_to_read_what_it_prints(start: Start) -> None:
    process, control = start(None)
    assert process.stdout and process.stderr
    process.stdout.close()
    process.stderr.close()
    os.kill(process.pid, signal.SIGHUP)

    assert ask(PrivateConnection(control.http_path))[0] == 200
    control.ask("drain")
    assert process.wait(timeout=PATIENCE_SECONDS) == 0


def test_a_server_whose_loop_is_stuck_does_not_claim_to_be_well(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    deployed = worker.DeployedServer(ServerFile(model="m", uri="u", revision=1, settings=WITHOUT_KEY), None)
    control, listener, released = ServerControl(tmp_path), ControlListener(tmp_path, deployed), threading.Event()

    async def hold_the_loop() -> None:
        released.wait(PATIENCE_SECONDS)

    try:
        with pytest.raises(ConnectionError, match="still reading its model"):
            control.ask("status")
        with bound_socket(control.http_path) as private:
            private.listen()
            deployed.start(EchoModel(), private)
            assert control.ask("status")["ready"]
            held = in_background(hold_the_loop())
            with monkeypatch.context() as here, pytest.raises(ConnectionError, match="TimeoutError"):
                here.setattr(worker, "LOOP_SECONDS", 0.2)
                control.ask("status")
            released.set()
            held.result(PATIENCE_SECONDS)
            assert control.ask("status")["ready"]
            deployed.end()
    finally:
        released.set()
        listener.close()
        control.http_path.unlink(missing_ok=True)
