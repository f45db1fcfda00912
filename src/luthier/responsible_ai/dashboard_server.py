"""Serves the dashboards on this machine, from the program in its own environment."""

from __future__ import annotations

import http.client
import json
import socket
import sys
from pathlib import Path
from types import TracebackType
from typing import Self

from luthier.engine.ask_options import Progress
from luthier.engine.progress import shown
from luthier.errors import UserError
from luthier.processes import queued_signals
from luthier.responsible_ai.isolated_program import PROGRAM, TICK_SECONDS, messages_of, program_failure, start_isolated

__all__ = ["DashboardServer"]

HOST = "127.0.0.1"
HEALTH_SECONDS = 30.0


class DashboardServer:
    """The dashboards at an address of this machine, until `stop`, the end of a `with` block, or of this process.

    It has been asked for its health, and has answered, once it is made. Nothing outside this machine reaches it.

    Args:
        python: the environment's Python.
        folder: what `dashboard_input.py` wrote.
        port: where it listens; a free port when absent.
        progress: is told what it loads; a bar on standard error when absent.
        program: folder of the package that serves.

    Raises:
        UserError: the port is taken or is none, or the program said what the user can correct.
        RuntimeError: the program failed.
    """

    def __init__(
        self,
        python: Path,
        folder: Path,
        *,
        port: int | None = None,
        progress: Progress | None = None,
        program: Path = PROGRAM,
    ) -> None:
        self.port = _free_port(port)
        self._stopped = False
        self._child = start_isolated(python, "serve", folder, "--port", str(self.port), program=program)
        try:
            self.url = self._served_at(progress)
            self._check_health()
        except BaseException:
            self.stop()
            raise

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.stop()

    def wait(self) -> None:
        """Serves until Ctrl-C, SIGTERM, SIGHUP or `stop`.

        Raises:
            RuntimeError: the program ended by itself.
        """
        with queued_signals() as came:
            for _ in self._child.lines(TICK_SECONDS):
                if not came.empty():
                    self.stop()
        if not self._stopped:
            raise program_failure(self._child)

    def stop(self) -> None:
        """Ends the program; nothing if it has ended."""
        self._stopped = True
        self._child.stop()

    def _served_at(self, progress: Progress | None) -> str:
        with shown(progress, "dashboards") as display:
            for message in messages_of(self._child, display):
                if "serving" in message:
                    return str(message["serving"])
        raise program_failure(self._child)

    def _check_health(self) -> None:
        # Straight to loopback, past any proxy that the environment names.
        connection = http.client.HTTPConnection(HOST, self.port, timeout=HEALTH_SECONDS)
        try:
            connection.request("GET", "/health")
            answer = connection.getresponse()
            said = answer.read()
            if answer.status != 200:
                raise RuntimeError(f"the dashboards' server answered GET /health with {answer.status}: {said[:200]!r}")
            json.loads(said)
        finally:
            connection.close()


def _free_port(wanted: int | None) -> int:
    """The port that is wanted, or any that is free.

    Raises:
        UserError: it is no port, or something else has it.
    """
    if wanted is not None and not 0 < wanted < 65536:
        raise UserError(f"--port {wanted} is no port; give a number from 1 to 65535, or leave it out for a free one.")
    with socket.socket(socket.AF_INET, socket.SOCK_STREAM) as probe:
        if sys.platform != "win32":
            # A server that has just ended does not keep its port; on Windows this would take a port that is in use.
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((HOST, wanted or 0))
        except OSError as error:
            raise UserError(
                f"the dashboards cannot be served on port {wanted}: {error.strerror}. Give another one with --port, "
                "or leave it out for a free one."
            ) from error
        return int(probe.getsockname()[1])
