"""The server of one revision as the controller handles it: started, adopted, watched, ended."""

from __future__ import annotations

import asyncio
import os
import signal
import socket
import stat
import subprocess
import sys
from contextlib import suppress
from dataclasses import replace
from pathlib import Path
from typing import Any

from luthier.deployments.records import Revision, ServerProcess, deployment_folder, revision_folder
from luthier.deployments.rollout import ServerSeen, Traffic
from luthier.errors import UserError
from luthier.home import luthier_home
from luthier.processes import start_time
from luthier.serving.control import LISTEN_FD_VARIABLE, Command, ServerControl
from luthier.serving.server_file import ServerFile, lock_file

__all__ = ["RevisionServer", "environment_file", "server_process", "written_variables"]

LOG_LINES = 5
"""Lines of a server's last words that are kept as the reason why it ended."""


def environment_file() -> Path:
    """Variables that every server gets beside those of the controller, such as keys: `NAME=VALUE` lines, mode 0600."""
    return luthier_home() / "server.env"


class RevisionServer:
    """A process that answers for a revision, or is about to.

    Args:
        name: of the deployment.
        revision: what it answers with.
        process: of a server that another controller started; `None` for one that is to be started.
    """

    def __init__(self, name: str, revision: Revision, process: ServerProcess | None = None) -> None:
        self.name, self.revision, self.process = name, revision, process
        self.folder = revision_folder(name, revision.number)
        self.control = ServerControl(self.folder)
        self._child: subprocess.Popen[bytes] | None = None

    @property
    def is_alive(self) -> bool:
        """Whether its process runs."""
        if self._child is not None:
            return self._child.poll() is None
        return self.process is not None and self.process.is_alive

    @property
    def has_ended(self) -> bool:
        """Whether a process that this controller started has ended; cheap to ask, unlike that of another process."""
        return self._child is not None and self._child.poll() is not None

    def start(self, listening: socket.socket) -> ServerProcess:
        """Starts the process; it has the listening socket, and accepts nothing until it is told to.

        Raises:
            UserError: the file of variables cannot be used.
        """
        folder = deployment_folder(self.name)
        # One file for all revisions: the old server and the new one spend from the same budget.
        budget_file = self.revision.settings.budget_file or folder / "spending.db"
        settings = replace(self.revision.settings, log_file=folder / "server.log", budget_file=budget_file)
        ServerFile(
            model=str(self.folder / "model"),
            uri=self.revision.model.uri,
            revision=self.revision.number,
            endpoint=dict(self.revision.endpoint),
            trust=self.revision.trust,
            settings=settings,
        ).write(self.folder)
        descriptor = listening.fileno()
        with open(self.output, "wb") as output:
            self._child = subprocess.Popen(
                [sys.executable, "-P", "-m", "luthier.serving.worker", str(self.folder)],
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=output,
                cwd=self.folder,
                env=os.environ | written_variables() | {LISTEN_FD_VARIABLE: str(descriptor)},
                pass_fds=(descriptor,),
                # Ctrl-C in a terminal, and a supervisor that ends the controller's group, leave it alone.
                start_new_session=True,
            )
        self.process = ServerProcess(self._child.pid, start_time(self._child.pid) or "")
        return self.process

    @property
    def output(self) -> Path:
        """What the process writes before its log is open, and when Python itself fails."""
        return self.folder / "output.log"

    async def look(self) -> ServerSeen:
        """What it is doing now."""
        if not self.is_alive:
            return ServerSeen(is_alive=False, why=self.last_words())
        try:
            status = await self._ask("status")
        except OSError:
            # It has not opened its control socket yet, or ends at this moment.
            return ServerSeen(is_alive=self.is_alive, why="its server is starting")
        return _seen(status)

    async def is_accepting(self) -> bool:
        """Whether it takes connections of the shared socket."""
        try:
            return bool((await self._ask("status"))["accepting"])
        except OSError:
            return False

    async def accept(self) -> None:
        """Gives it the shared socket."""
        await self._ask("accept")

    async def share(self) -> None:
        """Sends the clients of half of its connections to connect anew, some of them to the other server."""
        with suppress(OSError):
            await self._ask("share")

    async def pause(self) -> None:
        """Takes the shared socket away; what it has taken is answered."""
        # One that has ended meanwhile has nothing left to pause.
        with suppress(OSError):
            await self._ask("pause")

    async def drain(self) -> None:
        """Ends it once everything it has taken is answered."""
        try:
            await self._ask("drain")
        except OSError:
            # It has not opened its control socket yet. The signal means the same, and ends a server that is starting.
            self._signal(signal.SIGTERM)

    def kill(self) -> None:
        """Ends it at once."""
        self._signal(signal.SIGKILL)
        if self._child is not None:
            self._child.wait()

    def remove_sockets(self) -> None:
        """Removes the files of its private sockets, which a server that was killed leaves behind."""
        for path in (self.control.path, self.control.http_path):
            path.unlink(missing_ok=True)

    async def listening_socket(self) -> socket.socket | None:
        """The shared socket, from the server that has it; `None` if it does not answer."""
        try:
            return await asyncio.to_thread(self.control.listening_socket)
        except OSError:
            return None

    def last_words(self) -> str:
        """The last lines it wrote, and the status it ended with where that is known."""
        code = None if self._child is None else self._child.poll()
        ended = "it ended" if code is None else f"signal {-code}" if code < 0 else f"exit code {code}"
        lines = self.output.read_text(errors="replace").strip().splitlines() if self.output.exists() else []
        return "; ".join([ended, *(line.strip() for line in lines[-LOG_LINES:])])

    async def _ask(self, what: Command) -> dict[str, Any]:
        return await asyncio.to_thread(self.control.ask, what)

    def _signal(self, number: signal.Signals) -> None:
        if self.is_alive and self.process is not None:
            with suppress(ProcessLookupError):
                os.kill(self.process.pid, number)


def server_process(folder: Path) -> ServerProcess | None:
    """The server that runs for the folder of a revision, as it wrote itself down; `None` if none does."""
    try:
        pid, _, started = lock_file(folder).read_text(encoding="utf-8").partition(" ")
        found = ServerProcess(int(pid), started)
    except (FileNotFoundError, ValueError):
        return None
    return found if found.is_alive else None


def _seen(status: dict[str, Any]) -> ServerSeen:
    checks = {name: words for name, words in status["checks"].items() if words is not None}
    return ServerSeen(
        is_alive=True,
        is_ready=bool(status["ready"]),
        # A server that says nothing of its replay has not been found to answer as recorded.
        is_checked=status["checks"].get("parity", "not known") is None,
        why="; ".join(f"{name}: {words}" for name, words in checks.items()),
        differs=checks.get("parity"),
        traffic=Traffic(status["requests"], status["errors"], status["latency_seconds"]["p95"]),
    )


def written_variables() -> dict[str, str]:
    """The variables in the file that a user may write for servers.

    Raises:
        UserError: others can read it, or a line is none.
    """
    file = environment_file()
    if not file.is_file():
        return {}
    if stat.S_IMODE(file.stat().st_mode) & 0o077:
        raise UserError(f"{file} holds keys and can be read by others; type: chmod 600 '{file}'")
    lines = [line.strip() for line in file.read_text(encoding="utf-8").splitlines()]
    pairs = [line.partition("=") for line in lines if line and not line.startswith("#")]
    if wrong := [name for name, equals, _ in pairs if not equals]:
        # Without the line: it may be a key.
        raise UserError(f"{file} has {len(wrong)} lines that are no NAME=VALUE.")
    return {name.strip(): value.strip() for name, _, value in pairs}
