"""The control channel of a server in a deployment: a private unix socket, one JSON line each way.

The controller asks over it: `{"do": "status"}`. A listening socket travels with a line as a descriptor (`SCM_RIGHTS`),
in both directions, so that a controller that was started anew gets the shared socket from a server that still has it.
"""

from __future__ import annotations

import hashlib
import json
import logging
import os
import socket
import stat
import threading
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any, Literal, Protocol, cast, get_args

from luthier.errors import UserError

__all__ = [
    "Command",
    "ControlListener",
    "Controlled",
    "LISTEN_FD_VARIABLE",
    "ServerControl",
    "control_socket_path",
    "http_socket_path",
    "private_socket_path",
]

log = logging.getLogger("luthier.serving")

LISTEN_FD_VARIABLE = "LUTHIER_LISTEN_FD"
"""Environment variable with the number of the inherited descriptor of the shared listening socket."""

Command = Literal["accept", "share", "pause", "drain", "status", "socket"]
"""What a server is asked to do.

`accept`: take connections of the shared socket. `share`: end half of the open ones after their next answer, so that
their clients come to another server of the socket too. `pause`: take no more of them. `drain`: answer what has come,
and end. `status`: say how it is. `socket`: hand out the shared socket.
"""

LONGEST_LINE = 65_536
CLIENT_SECONDS = 2.0
"""A client that has connected has this long to send its line."""


def private_socket_path(folder: Path, name: str) -> Path:
    """Path of a unix socket that belongs to a folder; every process of the user computes the same.

    Systems limit such paths to about 100 bytes, and a folder below a long `LUTHIER_HOME` exceeds that. So the socket
    lies in `/tmp`, in a folder that only the user can enter. `TMPDIR` and `XDG_RUNTIME_DIR` are not used: they differ
    between a terminal and a service of the same user, and the latter's folder goes away at the last logout.

    Raises:
        UserError: the folder in `/tmp` belongs to another user or is open to others.
    """
    digest = hashlib.sha256(os.fsencode(folder.resolve())).hexdigest()[:16]
    return _sockets_folder() / f"{digest}.{name}"


def http_socket_path(folder: Path) -> Path:
    """Where the server of a revision's folder answers HTTP without a key."""
    return private_socket_path(folder, "http")


def control_socket_path(folder: Path) -> Path:
    """Where the server of a revision's folder is controlled."""
    return private_socket_path(folder, "control")


def _sockets_folder() -> Path:
    folder = Path("/tmp") / f"luthier-{os.getuid()}"
    with suppress(FileExistsError):
        folder.mkdir(mode=0o700)
    found = folder.lstat()
    # Any user may make a folder of this name in /tmp, and would then own the sockets in it.
    if not stat.S_ISDIR(found.st_mode) or found.st_uid != os.getuid() or stat.S_IMODE(found.st_mode) & 0o077:
        raise UserError(
            f"{folder} is not a folder that only you can enter, so servers cannot keep their sockets there; "
            f"remove it, or have its owner or root remove it: rm -r {folder}"
        )
    return folder


class ServerControl:
    """Talks to the server of a revision's folder; used by the controller.

    Args:
        folder: of the revision, with `server.json`.
        timeout_seconds: longest wait for an answer.
    """

    def __init__(self, folder: Path, timeout_seconds: float = 5.0) -> None:
        self.folder, self.timeout_seconds = folder, timeout_seconds
        self.http_path = http_socket_path(folder)
        self.path = control_socket_path(folder)

    def ask(self, command: Command, listening: socket.socket | None = None) -> dict[str, Any]:
        """Sends a command and returns the answer: an empty document for all but `status`.

        Args:
            command: what to do.
            listening: a listening socket to hand over, with `accept`, to a server that has none or another one.

        Raises:
            OSError: the server does not run, does not answer in time, or says that it cannot do it.
        """
        answer, received = self._exchange(command, listening)
        for one in received:
            one.close()
        return answer

    def listening_socket(self) -> socket.socket:
        """The shared listening socket, which the server goes on to hold; the caller closes its own.

        Raises:
            OSError: as for `ask`; or the server has no such socket.
        """
        _, received = self._exchange("socket", None)
        if not received:
            raise ConnectionError(f"the server of {self.folder} sent no socket")
        return received[0]

    def _exchange(
        self, command: Command, listening: socket.socket | None
    ) -> tuple[dict[str, Any], list[socket.socket]]:
        with socket.socket(socket.AF_UNIX) as connection:
            connection.settimeout(self.timeout_seconds)
            connection.connect(os.fspath(self.path))
            _send_line(connection, {"do": command}, listening)
            answer, received = _receive_line(connection)
        if "error" in answer:
            raise ConnectionError(str(answer["error"]))
        return answer, received


class Controlled(Protocol):
    """What the control channel acts upon; its methods run on the channel's thread."""

    def accept(self, listening: socket.socket | None) -> None:
        """Takes connections of the shared socket; of `listening` where one is given.

        Raises:
            UserError: it has no socket, or its model has not been read yet.
        """
        ...

    def share(self) -> None:
        """Ends half of the open connections of the shared socket after their next answer, and goes on accepting."""
        ...

    def pause(self) -> None:
        """Takes no more connections of the shared socket."""
        ...

    def drain(self) -> None:
        """Begins to answer what has come and to end; returns at once."""
        ...

    def status(self) -> dict[str, Any]:
        """How it is, ready for JSON."""
        ...

    def shared_socket(self) -> socket.socket | None:
        """The shared socket, if it has one."""
        ...


class ControlListener:
    """Answers the control channel on a thread of its own.

    Args:
        folder: of the revision. Only one process listens for a folder: the caller holds a lock.
        controlled: what is asked of it.
    """

    def __init__(self, folder: Path, controlled: Controlled) -> None:
        self._controlled, self._is_closed = controlled, False
        self.path = control_socket_path(folder)
        self._listening = bound_socket(self.path)
        self._listening.listen(16)
        threading.Thread(target=self._serve, name="luthier-control", daemon=True).start()

    def close(self) -> None:
        """Removes the socket; what is asked from now on is refused by the system."""
        self._is_closed = True
        self.path.unlink(missing_ok=True)
        with suppress(OSError):
            # Wakes the thread; on macOS a socket that is not connected cannot be shut down, and closing it wakes.
            self._listening.shutdown(socket.SHUT_RDWR)
        self._listening.close()

    def _serve(self) -> None:
        while True:
            try:
                connection, _ = self._listening.accept()
            except OSError:
                if self._is_closed:
                    return
                log.exception("the control channel could not accept a connection")
                continue
            with connection:
                try:
                    self._answer(connection)
                except OSError as error:
                    # The controller was killed, or did not wait.
                    log.info("a client of the control channel went away: %s", error)

    def _answer(self, connection: socket.socket) -> None:
        connection.settimeout(CLIENT_SECONDS)
        asked, received = _receive_line(connection)
        shared: socket.socket | None = None
        try:
            answer: Mapping[str, Any] = {}
            match asked.get("do"):
                case "accept":
                    self._controlled.accept(received.pop() if received else None)
                case "share":
                    self._controlled.share()
                case "pause":
                    self._controlled.pause()
                case "drain":
                    self._controlled.drain()
                case "status":
                    answer = self._controlled.status()
                case "socket":
                    shared = self._controlled.shared_socket()
                    if shared is None:
                        answer = {"error": "this server has no shared socket"}
                case other:
                    answer = {"error": f"do is {other!r}; it is one of {', '.join(get_args(Command))}"}
        except UserError as error:
            answer = {"error": str(error)}
        except Exception as error:
            log.exception("the control channel failed at %r", asked.get("do"))
            answer = {"error": f"{type(error).__name__}; the traceback is in the server's log"}
        finally:
            for one in received:
                one.close()
        _send_line(connection, answer, shared)


def bound_socket(path: Path) -> socket.socket:
    """A unix socket of mode 0600, in place of one that a process before left behind."""
    path.unlink(missing_ok=True)
    made = socket.socket(socket.AF_UNIX)
    # No other user can enter the folder, so none connects before the mode is set.
    made.bind(os.fspath(path))
    path.chmod(0o600)
    return made


def _send_line(connection: socket.socket, document: Mapping[str, Any], attached: socket.socket | None) -> None:
    line = json.dumps(document).encode() + b"\n"
    if attached is None:
        connection.sendall(line)
        return
    sent = socket.send_fds(connection, [line], [attached.fileno()])
    if sent < len(line):
        # To send nothing fails too where the other side has read the line, answered and gone.
        connection.sendall(line[sent:])


def _receive_line(connection: socket.socket) -> tuple[dict[str, Any], list[socket.socket]]:
    """One line, and the sockets that came with it.

    Raises:
        ConnectionError: the other side went away before the line ended, or sent something else than a JSON object.
    """
    line, received = b"", list[socket.socket]()
    try:
        while not line.endswith(b"\n"):
            part, descriptors, _, _ = socket.recv_fds(connection, LONGEST_LINE, 1)
            for descriptor in descriptors:
                os.set_inheritable(descriptor, False)
                received.append(socket.socket(fileno=descriptor))
            line += part
            if not part or len(line) > LONGEST_LINE:
                raise ConnectionError("the other side of the control channel sent no whole line")
        document = json.loads(line)
        if not isinstance(document, dict):
            raise ValueError
    except (OSError, ValueError) as error:
        for one in received:
            one.close()
        if isinstance(error, OSError):
            raise
        raise ConnectionError("the other side of the control channel sent no JSON object") from error
    return cast(dict[str, Any], document), received
