"""What Ctrl-C and SIGTERM do to a command: the first drains, the second ends at once."""

from __future__ import annotations

import os
import signal
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from types import FrameType

from luthier.endpoints.engine import Engine
from luthier.errors import Interrupted

__all__ = ["draining"]

SIGNALS = (signal.SIGINT, signal.SIGTERM)


def _say(text: str) -> None:
    # No print: the signal may have come in the middle of one, whose lock it would wait for.
    os.write(sys.stderr.fileno(), f"{text}\n".encode())


@contextmanager
def draining(engine: Engine, say: Callable[[str], None] = _say) -> Iterator[None]:
    """While inside, the first signal lets what is in flight land and then raises `Interrupted`.

    Does nothing outside the main thread, where signals do not arrive.

    Args:
        engine: the one that is stopped.
        say: prints one line for the person who pressed Ctrl-C.

    Raises:
        Interrupted: on leaving, if a signal came and nothing else was raised.
    """
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    came = 0

    def on_signal(number: int, frame: FrameType | None) -> None:
        nonlocal came
        came += 1
        if came > 1:
            os._exit(130)
        engine.stop(interrupted=True)
        say("stopping: waiting for the answers under way; once more to stop at once")

    before = {number: signal.signal(number, on_signal) for number in SIGNALS}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
        if came:
            engine.resume()
    if came:
        raise Interrupted("stopped by a signal. What was answered is kept: run the same again to go on from there.")
