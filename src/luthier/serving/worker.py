"""One server of a deployment: `python -P -m luthier.serving.worker FOLDER`, started by the controller.

It answers on a private unix socket from the start, and on the shared socket of the deployment once it is told to. It
depends on nothing of the process that started it, so it goes on answering when the controller is killed.
"""

from __future__ import annotations

import faulthandler
import logging
import os
import queue
import signal
import socket
import stat
import sys
from collections.abc import Coroutine, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

from luthier.engine.loop import in_background, wait_for
from luthier.errors import LuthierError, UserError
from luthier.processes import start_time
from luthier.serving.access_log import server_log
from luthier.serving.control import LISTEN_FD_VARIABLE, ControlListener, bound_socket, http_socket_path
from luthier.serving.models import open_model
from luthier.serving.recent_traffic import RecentTraffic
from luthier.serving.served_model import Readiness, ServedModel
from luthier.serving.server import RunningServer
from luthier.serving.server_file import ServerFile, lock_file

__all__ = ["DeployedServer", "main", "run"]

log = logging.getLogger("luthier.serving")

LOOP_SECONDS = 3.0
"""The server's loop has this long to carry out a command; one that takes longer is stuck; the controller is told."""


class DeployedServer:
    """A server as the control channel acts upon it.

    Args:
        server_file: what it was started with.
        shared: the shared listening socket, where one was handed down.
    """

    def __init__(self, server_file: ServerFile, shared: socket.socket | None) -> None:
        self._file, self._shared = server_file, shared
        self._traffic = RecentTraffic()
        self._server: RunningServer | None = None
        self._identity = {"pid": os.getpid(), "start_time": start_time(os.getpid()), "revision": server_file.revision}

    def start(self, model: ServedModel, private: socket.socket) -> None:
        """Begins to answer on the private socket."""
        server = RunningServer(
            model,
            self._file.settings,
            revision=self._file.revision,
            observers=[self._traffic],
        )
        wait_for(server.start())
        wait_for(server.accept(private, needs_key=False))
        self._server = server

    def end(self) -> None:
        """Answers what has come, then stops."""
        if self._server is not None:
            wait_for(self._server.drain())
        if self._shared is not None:
            self._shared.close()

    def accept(self, listening: socket.socket | None) -> None:
        """Takes connections of the shared socket; of `listening` where one is given.

        Raises:
            UserError: it has no socket, or its model has not been read yet.
        """
        if listening is not None:
            self._replace(listening)
        if self._shared is None:
            raise UserError(f"this server has no listening socket: {LISTEN_FD_VARIABLE} was not set, and none was sent")
        _on_loop(self._started.accept(self._shared))

    def share(self) -> None:
        """Ends half of the open connections of the shared socket after their next answer, and goes on accepting."""
        if self._shared is not None:
            _on_loop(self._started.share(self._shared))

    def pause(self) -> None:
        """Takes no more connections of the shared socket."""
        if self._shared is not None:
            _on_loop(self._started.pause(self._shared))

    def drain(self) -> None:
        """Answers what has come, and ends; at once while the model is being read."""
        os.kill(os.getpid(), signal.SIGTERM)

    def status(self) -> dict[str, Any]:
        """How it is, ready for JSON.

        Raises:
            UserError: its model has not been read yet.
        """
        found: dict[str, Any] = _on_loop(self._status(self._started))
        return found

    def shared_socket(self) -> socket.socket | None:
        """The shared socket, if it has one."""
        return self._shared

    @property
    def _started(self) -> RunningServer:
        if self._server is None:
            raise UserError("this server is still reading its model")
        return self._server

    async def _status(self, server: RunningServer) -> dict[str, Any]:
        readiness: Readiness = server.model.readiness()
        return {
            **self._identity,
            "ready": readiness.is_ready,
            "checks": dict(readiness.checks),
            "accepting": self._shared is not None and server.is_accepting(self._shared),
            "in_flight": server.in_flight,
            **self._traffic.to_document(),
        }

    def _replace(self, listening: socket.socket) -> None:
        """Takes a socket that was sent, unless it is the one it has."""
        if self._shared is not None:
            if os.path.sameopenfile(self._shared.fileno(), listening.fileno()):
                listening.close()
                return
            if self._server is not None:
                _on_loop(self._server.pause(self._shared))
            self._shared.close()
        self._shared = listening


def run(folder: Path) -> None:
    """Answers for the revision in a folder until SIGTERM, then answers what has come.

    Raises:
        LuthierError: the file in the folder, its model or its settings cannot be used, or another server runs for it.
    """
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(0))
    shared = inherited_socket()
    server_file = ServerFile.read(folder)
    with only_one(folder), server_log(server_file.settings.log_file):
        deployed = DeployedServer(server_file, shared)
        control = ControlListener(folder, deployed)
        http_path = http_socket_path(folder)
        try:
            model = open_model(
                server_file.model,
                server_file.settings,
                server_file.endpoint,
                server_file.trust,
                known_as=server_file.uri,
            )
            with bound_socket(http_path) as private:
                # A queue and no Event: a signal's handler may run while its own thread holds the lock of an Event.
                ending: queue.SimpleQueue[int] = queue.SimpleQueue()
                private.listen()
                deployed.start(model, private)
                signal.signal(signal.SIGTERM, lambda number, _: ending.put(number))
                log.info("revision %d of %s: answers at %s", server_file.revision, server_file.uri, http_path)
                ending.get()
                log.info("revision %d: answers what has come, then ends", server_file.revision)
                deployed.end()
        finally:
            control.close()
            http_path.unlink(missing_ok=True)


def inherited_socket() -> socket.socket | None:
    """The listening socket that the environment names; programs that this one starts do not get it.

    Raises:
        UserError: the variable names no open socket.
    """
    given = os.environ.pop(LISTEN_FD_VARIABLE, None)
    if given is None:
        return None
    try:
        descriptor = int(given)
        shared = socket.socket(fileno=descriptor)
    except (OSError, ValueError) as error:
        raise UserError(
            f"{LISTEN_FD_VARIABLE} is {given!r}; it is the number of an open socket's descriptor."
        ) from error
    os.set_inheritable(descriptor, False)
    return shared


@contextmanager
def only_one(folder: Path) -> Iterator[None]:
    """Holds the lock of a revision's folder.

    Raises:
        UserError: another server holds it.
    """
    import fcntl

    with open(lock_file(folder), "a") as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise UserError(f"another server runs for {folder}; it has to end first.") from None
        # For a controller that does not know of this server, because the one that started it was killed at once.
        lock.truncate(0)
        lock.write(f"{os.getpid()} {start_time(os.getpid())}")
        lock.flush()
        yield


def stand_alone(folder: Path) -> None:
    """Lets go of the process and the terminal that started this one.

    A pipe would break with its reader, and a write to it would then end a request; so output goes to a file.
    """
    signal.signal(signal.SIGHUP, signal.SIG_IGN)
    with suppress(PermissionError):  # it leads a session already
        os.setsid()
    with open(os.devnull, "rb") as nothing, open(folder / "output.log", "ab") as output:
        os.dup2(nothing.fileno(), 0)
        for descriptor in (1, 2):
            if not stat.S_ISREG(os.fstat(descriptor).st_mode):
                os.dup2(output.fileno(), descriptor)
    faulthandler.enable()


def _on_loop(work: Coroutine[Any, Any, Any]) -> Any:
    future = in_background(work)
    try:
        return future.result(LOOP_SECONDS)
    except TimeoutError:
        future.cancel()
        raise


def main() -> int:
    """Runs the server of the folder that the command line names; returns the exit code."""
    folder = Path(sys.argv[1]).resolve()
    stand_alone(folder)
    try:
        run(folder)
    except LuthierError as error:
        print(error, file=sys.stderr)
        return error.exit_code
    return 0


if __name__ == "__main__":
    sys.exit(main())
