"""The dashboards' server: healthy once it is up, on this machine alone, gone with the command."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TextIO

import pytest

from luthier.errors import UserError
from luthier.responsible_ai.dashboard_server import DashboardServer
from tests.patience import PATIENCE_SECONDS, until
from tests.responsible_ai.conftest import Program

PYTHON = Path(sys.executable)

SERVES = """
import http.server
from pathlib import Path

class Page(http.server.BaseHTTPRequestHandler):
    def do_GET(self):
        if self.path == "/end":
            os._exit(7)
        status, body = (STATUS, b"{}") if self.path == "/health" else (200, b"the dashboards")
        self.send_response(status)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

verb, folder, option, port = sys.argv[1:]
assert (verb, option) == ("serve", "--port")
if (Path(folder) / "life").exists():
    life = open(Path(folder) / "life", "w")
server = http.server.ThreadingHTTPServer(("127.0.0.1", int(port)), Page)
print(json.dumps({"step": "loading", "done": 1, "of": 2}), flush=True)
print(json.dumps({"serving": f"http://127.0.0.1:{port}/"}), flush=True)
server.serve_forever()
"""

COMMAND = """
import sys
from pathlib import Path
from luthier.responsible_ai.dashboard_server import DashboardServer
program, folder = map(Path, sys.argv[1:])
with DashboardServer(Path(sys.executable), folder, program=program) as server:
    print(server.url, flush=True)
    server.wait()
print("stopped", flush=True)
"""


@pytest.fixture
def serving(program: Program) -> Path:
    """A program that serves as the dashboards' one does."""
    return program(SERVES.replace("STATUS", "200"))


def get(url: str) -> bytes:
    with urllib.request.urlopen(url, timeout=PATIENCE_SECONDS) as answer:
        read: bytes = answer.read()
        return read


def answers(port: int) -> bool:
    with socket.socket() as probe:
        return probe.connect_ex(("127.0.0.1", port)) == 0


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def test_it_answers_as_soon_as_it_is_made_and_not_after_the_block(serving: Path, tmp_path: Path) -> None:
    with DashboardServer(PYTHON, tmp_path, program=serving) as server:
        assert server.url == f"http://127.0.0.1:{server.port}/"
        assert get(server.url) == b"the dashboards"
    assert not answers(server.port)


def test_it_listens_where_it_is_told_to_also_right_after_another_one(serving: Path, tmp_path: Path) -> None:
    port = free_port()
    for _ in range(2):
        with DashboardServer(PYTHON, tmp_path, port=port, program=serving) as server:
            assert server.port == port
            get(server.url)


def test_a_port_that_is_taken_is_named(serving: Path, tmp_path: Path) -> None:
    with socket.socket() as other:
        other.bind(("127.0.0.1", 0))
        other.listen()
        port = other.getsockname()[1]
        with pytest.raises(UserError, match=rf"port {port}.*--port"):
            DashboardServer(PYTHON, tmp_path, port=port, program=serving)


@pytest.mark.parametrize("port", [0, -1, 65536])
def test_what_is_no_port_is_refused(port: int, serving: Path, tmp_path: Path) -> None:
    with pytest.raises(UserError, match="from 1 to 65535"):
        DashboardServer(PYTHON, tmp_path, port=port, program=serving)


def test_a_server_that_is_not_healthy_is_stopped(program: Program, tmp_path: Path) -> None:
    port = free_port()
    with pytest.raises(RuntimeError, match="503"):
        DashboardServer(PYTHON, tmp_path, port=port, program=program(SERVES.replace("STATUS", "503")))
    assert not answers(port)


def test_a_program_that_fails_before_it_serves_keeps_its_traceback(program: Program, tmp_path: Path) -> None:
    with pytest.raises(RuntimeError, match="ZeroDivisionError"):
        DashboardServer(PYTHON, tmp_path, program=program("1 / 0"))


def test_a_program_that_ends_while_it_serves_ends_the_wait(serving: Path, tmp_path: Path) -> None:
    with DashboardServer(PYTHON, tmp_path, program=serving) as server:
        with pytest.raises(OSError):
            get(server.url + "end")
        with pytest.raises(RuntimeError, match="exit code 7"):
            server.wait()


@contextmanager
def served(serving: Path, folder: Path) -> Iterator[tuple[subprocess.Popen[str], str, TextIO]]:
    """A command that serves, its address, and a file that ends when its program does."""
    os.mkfifo(folder / "life")
    command = [sys.executable, "-c", COMMAND, str(serving), str(folder)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process, (folder / "life").open() as life:
        assert process.stdout is not None
        yield process, process.stdout.readline().strip(), life


def handles(pid: int, number: int) -> bool:
    """Whether a process does something of its own at this signal: it prints its address a moment earlier."""
    caught = Path(f"/proc/{pid}/status").read_text().partition("SigCgt:")[2].split()[0]
    return bool(int(caught, 16) >> (number - 1) & 1)


@pytest.mark.slow
@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP])
def test_a_signal_stops_it_cleanly(number: signal.Signals, serving: Path, tmp_path: Path) -> None:
    with served(serving, tmp_path) as (process, url, life):
        get(url)
        until(lambda: handles(process.pid, signal.SIGTERM) and handles(process.pid, signal.SIGHUP))
        process.send_signal(number)
        assert life.read() == ""
        assert process.communicate()[0] == "stopped\n"
        assert process.returncode == 0


@pytest.mark.slow
def test_the_program_ends_with_a_command_that_is_killed(serving: Path, tmp_path: Path) -> None:
    with served(serving, tmp_path) as (process, url, life):
        get(url)
        process.kill()
        assert life.read() == ""
