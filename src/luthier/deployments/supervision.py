"""Keeps the controller running for this user, whatever terminal ends.

A unit of the user's systemd where one runs and lingers, supervisord elsewhere; docs/deploy-internals.md has why.
"""

from __future__ import annotations

import logging
import os
import signal
import sys
import time
from collections.abc import Callable, Collection
from contextlib import suppress
from dataclasses import dataclass
from typing import Literal

from luthier.deployments.controller_start import controller_output, forget_start, last_start, supervision_folder
from luthier.deployments.records import ControllerProcess
from luthier.deployments.store import DeploymentStore, store_file
from luthier.deployments.supervisord import Supervisord
from luthier.deployments.systemd_unit import SystemdUnit
from luthier.errors import UserError
from luthier.processes import start_time

logger = logging.getLogger(__name__)

__all__ = ["Supervision", "ensure_running", "state", "stop"]

START_SECONDS = 30.0
STOP_SECONDS = 20.0
POLL_SECONDS = 0.05
SAID_LINES = 5

GIVEN_UP_AFTER = 3
"""Controllers that end soon after their start, one after another, before a caller is told."""


@dataclass(frozen=True, slots=True)
class Supervision:
    """How the controller is kept running.

    Attributes:
        supervisor: `systemd`, `supervisord`, or `None` where nothing would start it again.
        controller_pid: the controller's process; `None` if none runs.
        since: when that was started, in seconds since 1970; `None` if it was started by hand.
        quick_ends: how many controllers before it, one after another, ended soon after their start.
    """

    supervisor: Literal["systemd", "supervisord"] | None
    controller_pid: int | None
    since: float | None
    quick_ends: int = 0

    @property
    def is_running(self) -> bool:
        """Whether a controller runs, and is started again when it ends."""
        return self.supervisor is not None and self.controller_pid is not None


def state() -> Supervision:
    """How the controller is kept running now; changes nothing."""
    check_platform()
    supervisor: Literal["systemd", "supervisord"] | None = None
    if Supervisord().is_running():
        supervisor = "supervisord"
    elif SystemdUnit().is_running():
        supervisor = "systemd"
    started = last_start()
    quick_ends = 0 if started is None else started.quick_ends
    controller = _controller()
    if controller is None:
        return Supervision(supervisor, None, None, quick_ends)
    # One that was started by hand has no record of its start.
    is_of_start = started is not None and started.pid == controller.pid
    return Supervision(supervisor, controller.pid, started.time if started and is_of_start else None, quick_ends)


def ensure_running(variables: Collection[str] = ()) -> Supervision:
    """Starts the controller under a supervisor, if it does not run under one already.

    A controller that runs without its supervisor, because that was killed, is kept and gets a new one.

    Args:
        variables: names of environment variables that servers need, such as those with keys. Under supervisord the
            controller has all variables of this process; under systemd only these, until the machine is restarted.

    Raises:
        UserError: this is Windows, the supervisor does not start, or the controller ends as soon as it is started.
    """
    from filelock import FileLock

    if (found := state()).is_running:
        return found
    with FileLock(supervision_folder() / "supervision.lock", timeout=2 * START_SECONDS):
        if state().supervisor is None:
            forget_start()
            _start(variables)
        _wait(lambda: (now := state()).is_running or now.quick_ends >= GIVEN_UP_AFTER, START_SECONDS)
        found = state()
        if not found.is_running:
            # So that the next call starts it at once, and not after the pause that has grown by then.
            _stop()
            raise UserError(
                f"the controller of deployments does not stay up; the last lines of {controller_output()}:\n"
                f"{_last_words()}"
            )
    return found


def stop() -> None:
    """Ends the supervisor and the controller; servers go on answering. Nothing where neither runs.

    Raises:
        UserError: this is Windows, or one of them does not end.
    """
    from filelock import FileLock

    check_platform()
    with FileLock(supervision_folder() / "supervision.lock", timeout=2 * START_SECONDS):
        _stop()


def check_platform() -> None:
    """Refuses on Windows.

    Raises:
        UserError: the system has no unix sockets that carry descriptors.
    """
    if sys.platform == "win32":
        raise UserError(
            "--target local needs Linux or macOS: servers hand the listening socket to each other. On Windows run one "
            "server with: luthier serve MODEL_URI"
        )


def _start(variables: Collection[str]) -> None:
    if SystemdUnit.is_there():
        if SystemdUnit.lingers():
            SystemdUnit().start(variables)
            return
        logger.warning(
            "deployments run under supervisord, which a restart of this machine ends; for systemd to keep them, type: "
            "loginctl enable-linger"
        )
    Supervisord().start()


def _stop() -> None:
    for supervisor in (Supervisord(), SystemdUnit()):
        if supervisor.is_running():
            supervisor.stop()
    # A controller that the supervisor has taken over is no child of it, so the supervisor does not end it.
    if (controller := _controller()) is not None:
        _end(controller)
    forget_start()


def _controller() -> ControllerProcess | None:
    """The controller that has begun to work and still runs."""
    if not store_file().exists():
        return None
    with DeploymentStore() as store:
        found = store.controller()
    return found if found is not None and start_time(found.pid) == found.start_time else None


def _end(controller: ControllerProcess) -> None:
    with suppress(ProcessLookupError):
        os.kill(controller.pid, signal.SIGTERM)
    if not _wait(lambda: start_time(controller.pid) != controller.start_time, STOP_SECONDS):
        raise UserError(
            f"the controller (pid {controller.pid}) does not end on SIGTERM; end it with: kill -9 {controller.pid}"
        )


def _wait(fact: Callable[[], bool], seconds: float) -> bool:
    end = time.monotonic() + seconds
    while not (is_so := fact()) and time.monotonic() < end:
        time.sleep(POLL_SECONDS)
    return is_so


def _last_words() -> str:
    file = controller_output()
    lines = file.read_text(errors="replace").splitlines() if file.exists() else []
    return "\n".join(lines[-SAID_LINES:]) or "(it printed nothing)"
