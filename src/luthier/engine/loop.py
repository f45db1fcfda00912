"""The one loop of this process that all engines live on, on a thread of its own."""

from __future__ import annotations

import asyncio
import atexit
import concurrent.futures
import contextlib
import os
import threading
from collections.abc import Coroutine
from concurrent.futures import Future, wait
from typing import Any, TypeVar

from luthier.providers.transport import shared_transport

__all__ = ["background_loop", "in_background", "is_background", "loop_is_running", "wait_for"]

Result = TypeVar("Result")

LOOK_SECONDS = 0.1
CLOSE_SECONDS = 10.0


class _Home:
    """The loop, the process it belongs to, and a lock so that only one is made."""

    def __init__(self) -> None:
        self.pid = os.getpid()
        self.lock = threading.Lock()
        self.loop: asyncio.AbstractEventLoop | None = None
        self.before: object = None


_home = _Home()


def background_loop() -> asyncio.AbstractEventLoop:
    """The loop, started on first use and started anew in a process that was forked."""
    global _home
    if _home.pid != os.getpid():
        # A fork copies the parent's loop without its thread. It is kept, not closed: it shares the parent's files.
        left, _home = _home, _Home()
        _home.before = left
    home = _home
    with home.lock:
        if home.loop is None:
            home.loop = asyncio.new_event_loop()
            threading.Thread(target=home.loop.run_forever, name="luthier-engine", daemon=True).start()
        return home.loop


def in_background(coroutine: Coroutine[Any, Any, Result]) -> Future[Result]:
    """Runs a coroutine on the loop."""
    return asyncio.run_coroutine_threadsafe(coroutine, background_loop())


def wait_for(work: Coroutine[Any, Any, Result]) -> Result:
    """Runs a coroutine on the loop and waits for its result; an interrupt cancels it.

    Waits 0.1 s at a time, so that Python runs signal handlers in between. A library that replaces the system's handler,
    as polars does when it is imported, may otherwise hold Ctrl-C back until the result is there.

    Raises:
        RuntimeError: the caller is on the loop.
    """
    if is_background():
        work.close()
        raise RuntimeError("the engine's own thread cannot wait for itself; use the async method there")
    future = in_background(work)
    try:
        while not wait([future], timeout=LOOK_SECONDS).done:
            pass
        return future.result()
    except KeyboardInterrupt:
        # In a notebook; what is in flight is still committed to the journal.
        future.cancel()
        raise


def loop_is_running() -> bool:
    """Whether this process has the loop already."""
    return _home.pid == os.getpid() and _home.loop is not None


def is_background() -> bool:
    """Whether the caller is already on the loop, where waiting for it would never end."""
    try:
        return asyncio.get_running_loop() is _home.loop
    except RuntimeError:
        return False


@atexit.register
def _close_connections() -> None:
    """Closes the connections that live on the loop. Engines are closed before: they register themselves later."""
    if loop_is_running():
        with contextlib.suppress(concurrent.futures.TimeoutError):
            in_background(shared_transport().close()).result(CLOSE_SECONDS)
