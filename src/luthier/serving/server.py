"""A running server: uvicorn on the engine's loop, with sockets that it takes up and lets go of while it runs."""

from __future__ import annotations

import asyncio
import json
import queue
import socket
import sys
from collections.abc import Sequence
from contextlib import ExitStack, nullcontext, suppress
from dataclasses import replace
from types import TracebackType
from typing import Any, Self

import uvicorn

from luthier.engine.loop import wait_for
from luthier.errors import GateFailed, UserError
from luthier.processes import queued_signals
from luthier.serving.access_log import AccessLog, server_log
from luthier.serving.application import Keys, ScoringApplication
from luthier.serving.http_protocol import LimitedHttpProtocol, Listener
from luthier.serving.keys import KeyFile, KeyRing, new_key
from luthier.serving.listening import BACKLOG, listening_socket, url_of
from luthier.serving.metrics import ServerMetrics
from luthier.serving.openapi import docs_page, openapi_document
from luthier.serving.served_model import ServedModel
from luthier.serving.served_request import Observer
from luthier.serving.settings import ServerSettings
from luthier.terminals import visible_json

__all__ = ["BackgroundServer", "RunningServer", "serve", "serve_in_background"]

KEEP_ALIVE_SECONDS = 75
"""Longer than the 60 s that load balancers keep connections for: the side that closes first must not be this one."""

DRAIN_MARGIN_SECONDS = 5.0
"""What a drain may take beyond the longest request, before what is left is answered with 500."""

MOST_FILES = 10_240 if sys.platform == "darwin" else 65_536
"""Open files, one a connection, that a server asks the system for; macOS refuses to be asked for more than it has."""

SWITCH_SECONDS = 0.001

TICK_SECONDS = 0.5

SHOWN_CHARACTERS = 100
"""Of each cell in the example that is printed."""


class RunningServer:
    """Answers HTTP on the engine's background loop, on the sockets that it is given.

    Its methods run on that loop. A socket's connections are told apart from those of another socket, so that one can be
    paused and the other go on.

    Args:
        model: what answers.
        settings: what is refused.
        keys: whom it lets in, where the settings name no file of keys.
        revision: of the deployment.
        observers: are told of every request.

    Raises:
        UserError: there are no keys, and the settings do not say that none is needed.
    """

    def __init__(
        self,
        model: ServedModel,
        settings: ServerSettings,
        *,
        keys: Keys | None = None,
        revision: int | None = None,
        observers: Sequence[Observer] = (),
    ) -> None:
        self.model, self.settings = model, settings
        metrics = ServerMetrics(model, settings, revision=revision)
        self.application = ScoringApplication(
            model,
            settings,
            keys=keys_of(settings, keys),
            revision=revision,
            observers=[metrics, AccessLog(model.facts, revision), *observers],
            metrics=metrics.page,
            document=lambda: openapi_document(model.facts, settings, revision=revision),
            docs=lambda: docs_page(model.facts, settings, revision=revision),
        )
        self._config = uvicorn.Config(
            self.application,
            http="httptools",
            ws="none",
            lifespan="off",
            log_config=None,
            log_level="error",
            access_log=False,
            proxy_headers=False,
            server_header=False,
            backlog=BACKLOG,
            timeout_keep_alive=KEEP_ALIVE_SECONDS,
            timeout_graceful_shutdown=int(settings.timeout_seconds + DRAIN_MARGIN_SECONDS),
        )
        self._uvicorn = uvicorn.Server(self._config)
        self._listeners: dict[socket.socket, tuple[Listener, asyncio.AbstractServer]] = {}
        self._serving: asyncio.Task[None] | None = None

    @property
    def in_flight(self) -> int:
        """Requests to `/invocations` that are being answered."""
        return self.application.in_flight

    @property
    def connections(self) -> int:
        """Connections that are open, idle ones too."""
        return len(self._uvicorn.server_state.connections)

    def is_accepting(self, listening: socket.socket) -> bool:
        """Whether it takes new connections on a socket."""
        return listening in self._listeners

    async def start(self) -> None:
        """Starts the model; requests are taken from the first `accept` on."""
        raise_file_limit()
        # Large bodies are read in threads: this is how long the loop waits for them to let go of the interpreter.
        sys.setswitchinterval(SWITCH_SECONDS)
        await self.model.start()
        self._serving = asyncio.create_task(self._uvicorn.serve(sockets=[]))
        while not self._uvicorn.started and not self._serving.done():
            await asyncio.sleep(0)

    async def accept(self, listening: socket.socket, *, needs_key: bool = True) -> None:
        """Takes new connections on one more listening socket; nothing if it does already.

        Args:
            listening: TCP or unix. A copy of its descriptor is used: it stays open and can be accepted on again.
            needs_key: `False` for a socket that no other user can reach, such as a unix socket in a private folder.
        """
        if listening in self._listeners:
            return
        loop = asyncio.get_running_loop()
        listener = Listener(needs_key)

        def connection() -> LimitedHttpProtocol:
            return LimitedHttpProtocol(self._config, self._uvicorn.server_state, listener, loop)

        copy = listening.dup()
        if copy.family == getattr(socket, "AF_UNIX", None):
            # From Python 3.13 on a loop deletes the file of a unix socket that it stops to accept on.
            kept: dict[str, Any] = {"cleanup_socket": False} if sys.version_info >= (3, 13) else {}
            server: asyncio.AbstractServer = await loop.create_unix_server(
                connection, sock=copy, backlog=BACKLOG, **kept
            )
        else:
            server = await loop.create_server(connection, sock=copy, backlog=BACKLOG)
        self._listeners[listening] = listener, server

    async def pause(self, listening: socket.socket) -> None:
        """Takes no new connections on a socket; its open ones end after their next answer, idle ones soon.

        The socket itself stays open: what comes in waits there for another process, or for `accept`.
        """
        if listening not in self._listeners:
            return
        listener, server = self._listeners.pop(listening)
        listener.is_paused = True
        loop = asyncio.get_running_loop()
        if isinstance(loop, asyncio.SelectorEventLoop) and isinstance(server, asyncio.Server):
            # asyncio drops connections that it has accepted but not yet set up when their server closes: their clients
            # would never be answered. So it stops to accept first, and closes when those are set up.
            for one in server.sockets:
                loop.remove_reader(one.fileno())
            await asyncio.sleep(0)
        server.close()
        for connection in self._connections_of(listener):
            connection.retire()

    async def share(self, listening: socket.socket) -> None:
        """Ends every second open connection of a socket as `pause` does; goes on accepting there.

        Clients keep a connection for long. Where it ends they come again, and then to another server of the socket too.
        """
        if listening not in self._listeners:
            return
        listener, _ = self._listeners[listening]
        leaving = replace(listener, is_paused=True)
        for connection in self._connections_of(listener)[::2]:
            connection.listener = leaving
            connection.retire()

    async def drain(self) -> None:
        """Answers what has come, takes no more, and ends; at most the time of the longest request and a margin."""
        for listening in list(self._listeners):
            await self.pause(listening)
        # A client that has just sent its next request on an open connection gets its answer too.
        with suppress(TimeoutError):
            async with asyncio.timeout(LimitedHttpProtocol.idle_seconds + 1):
                while self.connections:
                    await asyncio.sleep(0.02)
        self._uvicorn.should_exit = True
        if self._serving is not None:
            await self._serving
        await self.model.close()

    def _connections_of(self, listener: Listener) -> list[LimitedHttpProtocol]:
        connections = list(self._uvicorn.server_state.connections)
        return [one for one in connections if isinstance(one, LimitedHttpProtocol) and one.listener is listener]


class BackgroundServer:
    """A server in a thread of this process, as in a notebook, until `stop` or the end of a `with` block.

    Attributes:
        url: where it answers.
        key: what it lets in; `None` where it needs no key or has a file of them.
    """

    def __init__(self, model: ServedModel, settings: ServerSettings) -> None:
        self.key = None if settings.without_key or settings.keys_file else new_key()
        self.settings = settings
        self._log = ExitStack()
        self._socket = listening_socket(settings.host, settings.port)
        self.url = url_of(self._socket)
        self._server: RunningServer | None = None
        try:
            if settings.log_file is not None:
                self._log.enter_context(server_log(settings.log_file))
            self._server = wait_for(_started(model, settings, self.key, self._socket))
        except BaseException:
            self._socket.close()
            self._log.close()
            raise

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.stop()

    def stop(self) -> None:
        """Answers what has come and ends; nothing if it has ended."""
        server, self._server = self._server, None
        if server is not None:
            wait_for(server.drain())
            self._socket.close()
            self._log.close()


def serve_in_background(model: ServedModel, settings: ServerSettings) -> BackgroundServer:
    """Answers HTTP beside what the caller does.

    Raises:
        GateFailed: the model does not give the answers that it recorded.
        UserError: the port is taken.
    """
    return BackgroundServer(model, settings)


def serve(model: ServedModel, settings: ServerSettings) -> None:
    """Answers HTTP until Ctrl-C, SIGTERM or SIGHUP, and then what has come; a second signal ends it at once.

    Says on standard error where it listens, and how to ask it.

    Raises:
        GateFailed: the model does not give the answers that it recorded.
        UserError: the port is taken.
    """
    with (
        server_log(None) if settings.log_file is None else nullcontext(),
        serve_in_background(model, settings) as server,
    ):
        with queued_signals() as came:
            print(welcome(model, server), file=sys.stderr, flush=True)
            while True:
                # In pieces, because on Windows a wait for a lock holds Ctrl-C back.
                with suppress(queue.Empty):
                    came.get(timeout=TICK_SECONDS)
                    break
        print("answering what has come, then ending; the same again ends at once", file=sys.stderr, flush=True)


def keys_of(settings: ServerSettings, given: Keys | None) -> Keys | None:
    """Whom a server lets in; `None` for every client, which its settings have to say.

    Raises:
        UserError: they say neither that nor whom.
    """
    if settings.without_key:
        return None
    if settings.keys_file is not None:
        return KeyFile.of_server(settings.keys_file)
    if given is None:
        raise UserError(
            "a server needs a file of keys: luthier keys add FILE LABEL, then --keys FILE. On this machine alone "
            "--no-key lets every client in."
        )
    return given


async def _started(
    model: ServedModel, settings: ServerSettings, key: str | None, listening: socket.socket
) -> RunningServer:
    server = RunningServer(model, settings, keys=None if key is None else KeyRing({"this run": key}))
    await server.start()
    try:
        differs = model.readiness().checks.get("parity")
        if differs is not None:
            raise GateFailed(
                f"{model.facts.uri} does not give the answers that it recorded when it was packaged ({differs}). Its "
                "files were changed: copy or log the model again."
            )
        await server.accept(listening)
    except BaseException:
        await server.drain()
        raise
    return server


def raise_file_limit() -> None:
    """Lets the process have as many open connections as the system allows; a default of 1,024 is soon used up."""
    if sys.platform == "win32":
        return
    import resource

    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    wanted = MOST_FILES if hard == resource.RLIM_INFINITY else min(MOST_FILES, hard)
    if soft != resource.RLIM_INFINITY and soft < wanted:
        resource.setrlimit(resource.RLIMIT_NOFILE, (wanted, hard))


def welcome(model: ServedModel, server: BackgroundServer) -> str:
    """Where a server listens, and a command that asks it."""
    facts = model.facts
    version = "" if facts.version is None else f", version {facts.version}"
    row = facts.example[0] if facts.example else dict.fromkeys(facts.columns, "")
    short = {name: cell[:SHOWN_CHARACTERS] if isinstance(cell, str) else cell for name, cell in row.items()}
    asked = json.dumps({"dataframe_records": [short]}, ensure_ascii=False, default=str)
    typed = visible_json(asked).replace("'", "'\\''")
    key = ""
    if not server.settings.without_key:
        key = f" \\\n    -H 'Authorization: Bearer {server.key or 'KEY'}'"
    return (
        f"{facts.uri} ({facts.name}{version}) answers at {server.url} until Ctrl-C; its page is {server.url}/docs\n"
        f"  curl {server.url}/invocations -H 'Content-Type: application/json'{key} \\\n    -d '{typed}'"
    )
