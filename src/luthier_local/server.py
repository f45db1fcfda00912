"""Listening on loopback, and the embedded server inside this process for tests and demos."""

from __future__ import annotations

import asyncio
import contextlib
import secrets
import socket
import threading
from collections.abc import Callable, Sequence
from pathlib import Path

from aiohttp import web

from luthier.errors import EndpointError
from luthier.processes import ending_signals
from luthier_local.app import Application
from luthier_local.faults import Fault, FaultRules
from luthier_local.jobs.job_service import JobSettings
from luthier_local.model_card import ModelCard
from luthier_local.rate_limits import RateLimits
from luthier_local.request_log import RequestLog

__all__ = ["LocalServer", "host", "leave_on_signal", "listen_on"]


def listen_on(port: int) -> socket.socket:
    """A listening socket on the loopback interface; port 0: any free one.

    Raises:
        EndpointError: The port is taken.
    """
    listener = socket.socket(socket.AF_INET, socket.SOCK_STREAM)
    # A port in TIME_WAIT may be taken again; one that is listened on may not.
    listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    try:
        listener.bind(("127.0.0.1", port))
        listener.listen(1024)
    except (OSError, OverflowError) as error:
        listener.close()
        reason = error.strerror if isinstance(error, OSError) else "not from 0 to 65535"
        raise EndpointError(
            f"port {port} of this machine cannot be listened on ({reason}); give another port, or 0 for any free one"
        ) from None
    listener.setblocking(False)
    return listener


def leave_on_signal() -> asyncio.Event:
    """An event of the running loop that Ctrl-C and the other signals that end a command set."""
    leave = asyncio.Event()
    loop = asyncio.get_running_loop()
    for ending in ending_signals():
        # Windows has no such handlers: Ctrl-C arrives as KeyboardInterrupt there, and any other signal just ends it.
        with contextlib.suppress(NotImplementedError):
            loop.add_signal_handler(ending, leave.set)
    return leave


async def host(
    application: Application,
    listener: socket.socket,
    leave: asyncio.Event,
    ready: Callable[[], None] = lambda: None,
    grace_seconds: float = 0.05,
    idle_seconds: float = 75.0,
) -> None:
    """Serves until `leave` is set; what is unanswered after the grace is cut off, and so are idle connections.

    The listener is closed at the end.
    """
    # A handler whose client has gone is cancelled: scripted timeouts would pile up otherwise.
    runner = web.AppRunner(
        application.web,
        access_log=None,
        handler_cancellation=True,
        shutdown_timeout=grace_seconds,
        keepalive_timeout=idle_seconds,
    )
    with listener:
        await runner.setup()
        try:
            site = web.SockSite(runner, listener)
            await site.start()
            ready()
            await leave.wait()
            await site.stop()
            # What was accepted at the last moment becomes a connection first, so that the cleanup closes it too.
            for _ in range(3):
                await asyncio.sleep(0)
        finally:
            await runner.cleanup()
            await application.registry.close()


class LocalServer:
    """Serves the OpenAI protocol on 127.0.0.1 from a background thread.

    Example:
        >>> from luthier_local import LocalServer, ModelCard
        >>> with LocalServer(models=[ModelCard("stars-model")], api_key="sk-example") as server:
        ...     url = server.base_url

    Args:
        models: Cards served; without any, one deterministic model named `deterministic`
            that chats, completes and embeds.
        api_key: Key that requests must carry; `None`: a random one, in `api_key`.
        requests_per_minute: Limit on the answering routes together; `None`: none.
        tokens_per_minute: The same for tokens.
        burst_requests: Requests admitted at once after a rest.
        burst_tokens: The same for tokens; `None`: ten seconds' worth, at least 2,000.
        latency_seconds: Added to every answer of a generating route.
        record: Keep the bodies of the last 20,000 requests in `received.bodies`.
        port: 0: any free one.
        faults: Rules in force from the start.
        folder: Where files, jobs and tuned models are kept, for a later server to go on with;
            `None`: a temporary folder, deleted at the end.
        training_step_seconds: Pause after every training step, so that a test can interfere.
        batch_queue_tokens: Tokens of all unfinished batches, a quarter of their files' bytes; `None`: no limit.
        idle_seconds: After what time a connection is closed on which no request comes.
    """

    def __init__(
        self,
        models: Sequence[ModelCard] = (),
        *,
        api_key: str | None = None,
        requests_per_minute: float | None = None,
        tokens_per_minute: float | None = None,
        burst_requests: int = 5,
        burst_tokens: int | None = None,
        latency_seconds: float = 0.0,
        record: bool = False,
        port: int = 0,
        faults: Sequence[Fault] = (),
        folder: str | Path | None = None,
        training_step_seconds: float = 0.0,
        batch_queue_tokens: int | None = None,
        idle_seconds: float = 75.0,
    ) -> None:
        self._idle_seconds = idle_seconds
        self.api_key = api_key if api_key is not None else "sk-" + secrets.token_hex(16)
        self._application = Application(
            models or [ModelCard("deterministic", embeddings=True)],
            self.api_key,
            limits=RateLimits(requests_per_minute, tokens_per_minute, burst_requests, burst_tokens),
            faults=faults,
            record=record,
            latency_seconds=latency_seconds,
            jobs=JobSettings(None if folder is None else Path(folder), training_step_seconds, batch_queue_tokens),
        )
        self._wanted_port = port
        self._port: int | None = None
        self._thread: threading.Thread | None = None
        self._loop: asyncio.AbstractEventLoop | None = None
        self._leave: asyncio.Event | None = None

    @property
    def port(self) -> int:
        """Port listened on."""
        if self._port is None:
            raise EndpointError("the server is not running; use `with LocalServer(...) as server:`")
        return self._port

    @property
    def base_url(self) -> str:
        """Base URL for an OpenAI client."""
        return f"http://127.0.0.1:{self.port}/v1"

    @property
    def azure_url(self) -> str:
        """Base URL as Azure's v1 data plane has it."""
        return f"http://127.0.0.1:{self.port}/openai/v1/"

    @property
    def root_url(self) -> str:
        """URL of `/health`, `/tokenize` and `/_luthier/...`."""
        return f"http://127.0.0.1:{self.port}"

    @property
    def received(self) -> RequestLog:
        """What was received since the start."""
        return self._application.received

    @property
    def faults(self) -> FaultRules:
        """The scripted faults in force."""
        return self._application.faults

    def put_model(self, card: ModelCard) -> None:
        """Adds a model, or replaces the one of that name, while the server runs."""
        self._application.registry.put(card)

    def remove_model(self, name: str) -> None:
        """Takes a model away while the server runs."""
        self._application.registry.remove(name)

    def expire_batches(self) -> None:
        """Has the time of every unfinished batch run out, as after 24 hours."""
        self._application.jobs.expire_batches()

    def start(self) -> LocalServer:
        """Listens; returns when the server answers. A server starts once."""
        if self._loop is not None:
            raise EndpointError("this server was started before; make another one")
        listener = listen_on(self._wanted_port)
        self._port = listener.getsockname()[1]
        ready = threading.Event()
        failed: list[BaseException] = []

        async def main() -> None:
            self._loop = asyncio.get_running_loop()
            self._leave = asyncio.Event()
            await host(self._application, listener, self._leave, ready.set, idle_seconds=self._idle_seconds)

        def run() -> None:
            try:
                asyncio.run(main())
            except BaseException as error:  # raised again by the thread that waits
                failed.append(error)
            finally:
                ready.set()

        self._thread = threading.Thread(target=run, name="luthier-local", daemon=True)
        self._thread.start()
        ready.wait()
        if failed:
            self._thread.join()
            raise failed[0]
        return self

    def stop(self) -> None:
        """Closes every connection, answered or not, and waits until the thread has ended."""
        thread, self._thread = self._thread, None
        if thread is None:
            return
        if self._loop is not None and self._leave is not None:
            # The loop may have ended with an error.
            with contextlib.suppress(RuntimeError):
                self._loop.call_soon_threadsafe(self._leave.set)
        thread.join()
        self._port = None

    def __enter__(self) -> LocalServer:
        return self.start()

    def __exit__(self, *_: object) -> None:
        self.stop()
