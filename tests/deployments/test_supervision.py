"""The controller kept running, with a real supervisord and real signals."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

import pytest

from luthier.deployments import controller_start, supervision
from luthier.deployments.controller_start import supervision_folder
from luthier.deployments.records import controller_log
from luthier.deployments.supervision import ensure_running, state, stop
from luthier.errors import UserError
from luthier.processes import start_time
from tests.patience import PATIENCE_SECONDS, until


@pytest.fixture(params=["short"])
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, request: pytest.FixtureRequest) -> Iterator[Path]:
    """A home whose supervisor and controller end with the test, whatever became of it."""
    folder = tmp_path / "fresh" / "h" if request.param == "short" else tmp_path / ("long-" * 30)
    monkeypatch.setenv("LUTHIER_HOME", str(folder))
    yield folder
    try:
        stop()
    finally:
        for pid in pids_of(folder):
            with suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)


def pids_of(home: Path) -> list[int]:
    """Processes that were started with this LUTHIER_HOME in their environment, other than the test's own."""
    listed = subprocess.run(["ps", "-axww", "-o", "pid="], capture_output=True, text=True, check=True).stdout.split()
    return [pid for pid in map(int, listed) if pid != os.getpid() and str(home).encode() in told_of(pid, "environ")]


def told_of(pid: int, what: str) -> bytes:
    """What the system tells of a process; nothing if it has ended meanwhile."""
    try:
        return Path(f"/proc/{pid}/{what}").read_bytes()
    except OSError:
        return b""


def supervisord_pid() -> int:
    return int((supervision_folder() / "supervisord.pid").read_text())


def kill(pid: int) -> None:
    started = start_time(pid)
    os.kill(pid, signal.SIGKILL)
    until(lambda: start_time(pid) != started)


def controllers(home: Path) -> list[int]:
    """Processes that are the controller, or wait to become it."""
    return [pid for pid in pids_of(home) if b"luthier.deployments.controller\0" in told_of(pid, "cmdline")]


@pytest.mark.slow
@pytest.mark.skipif(sys.platform != "linux", reason="looks into /proc")
@pytest.mark.parametrize("home", ["short", "long"], indirect=True)
def test_a_controller_is_started_once_and_nothing_is_left_when_it_is_stopped(home: Path) -> None:
    assert not state().is_running

    first = ensure_running()
    assert first.supervisor == "supervisord"
    assert ensure_running() == first
    until(lambda: controllers(home) == [first.controller_pid])
    config = (supervision_folder() / "supervisord.conf").read_text()
    assert (supervision_folder().stat().st_mode & 0o777, "KEY" in config) == (0o700, False)

    stop()
    assert pids_of(home) == []
    assert state() == supervision.Supervision(None, None, None)
    stop()


@pytest.mark.slow
@pytest.mark.skipif(sys.platform != "linux", reason="looks into /proc")
def test_a_controller_outlives_its_supervisor_and_gets_a_new_one(home: Path) -> None:
    before = ensure_running().controller_pid
    kill(supervisord_pid())
    assert (state().supervisor, state().controller_pid) == (None, before)

    assert ensure_running().controller_pid == before
    # The new supervisor starts a second one that waits; it takes over when the first is gone.
    until(lambda: len(pids_of(home)) == 3)
    assert controllers(home) == [before]
    assert before is not None
    kill(before)
    until(lambda: state().is_running)
    assert state().controller_pid != before
    assert len(controllers(home)) == 1


@pytest.mark.slow
@pytest.mark.skipif(sys.platform != "linux", reason="looks into /proc")
def test_stopping_also_ends_a_controller_that_was_taken_over(home: Path) -> None:
    ensure_running()
    for _ in range(3):
        # Each new supervisor has a process that waits to become the controller; it ends with its supervisor.
        kill(supervisord_pid())
        ensure_running()
    until(lambda: len(pids_of(home)) == 3)

    stop()
    assert pids_of(home) == []


@pytest.mark.slow
@pytest.mark.skipif(sys.platform != "linux", reason="looks into /proc")
def test_a_killed_controller_is_started_again(home: Path) -> None:
    before = ensure_running().controller_pid
    assert before is not None
    kill(before)
    until(lambda: state().is_running and state().controller_pid != before)

    assert state().quick_ends == 1


@pytest.mark.slow
@pytest.mark.skipif(sys.platform != "linux", reason="looks into /proc")
def test_two_that_ask_at_once_share_one_controller(home: Path) -> None:
    asking = "from luthier.deployments.supervision import ensure_running; print(ensure_running().controller_pid)"
    callers = [
        subprocess.Popen([sys.executable, "-c", asking], stdout=subprocess.PIPE, stderr=subprocess.PIPE)
        for _ in range(2)
    ]
    said = [caller.communicate(timeout=PATIENCE_SECONDS) for caller in callers]
    assert {out for out, _ in said} == {f"{state().controller_pid}\n".encode()}, said

    until(lambda: len(controllers(home)) == 1)


IN_A_TERMINAL = """
import os, pty, sys
asking = "from luthier.deployments import supervision as s; s.ensure_running(); print('asked', flush=True); input()"
pid, terminal = pty.fork()
if pid == 0:
    os.execv(sys.executable, [sys.executable, "-c", asking])
said = b""
while b"asked" not in said:
    said += os.read(terminal, 1000)
os.close(terminal)
print(os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]))
"""


@pytest.mark.slow
def test_a_controller_outlives_the_terminal_that_it_was_started_from(home: Path) -> None:
    done = subprocess.run(
        [sys.executable, "-c", IN_A_TERMINAL], capture_output=True, text=True, timeout=PATIENCE_SECONDS, check=True
    )
    assert int(done.stdout) == -signal.SIGHUP, done

    assert state().is_running


@pytest.mark.slow
def test_a_controller_that_does_not_stay_up_is_said_and_is_not_tried_for_ever(home: Path) -> None:
    controller_log().mkdir()

    with pytest.raises(UserError, match="Is a directory"):
        ensure_running()
    assert pids_of(home) == []


def test_pauses_grow_while_controllers_end_soon() -> None:
    started = controller_start.ControllerStart(pid=1, start_time="0", time=100.0, quick_ends=3)

    assert started.quick_ends_at(now=110.0) == 4
    assert started.quick_ends_at(now=200.0) == 0
    assert [controller_start.pause_before_start(ends) for ends in (0, 1, 2, 3, 4, 8, 99)] == [0, 0, 1, 2, 4, 60, 60]


def test_windows_is_refused_with_what_works_there(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "platform", "win32")
    with pytest.raises(UserError, match="luthier serve"):
        ensure_running()


@pytest.mark.slow
def test_what_commands_import_needs_nothing_that_windows_lacks() -> None:
    code = """
import sys
sys.modules |= dict.fromkeys(("fcntl", "grp", "pwd", "resource", "termios", "uvloop"))
import luthier.deployments.supervision, luthier.deployments.targets.local, luthier.serving.worker
"""
    subprocess.run([sys.executable, "-P", "-c", code], check=True, timeout=PATIENCE_SECONDS)
