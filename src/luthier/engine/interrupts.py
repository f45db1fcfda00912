"""What Ctrl-C, SIGTERM and SIGHUP do to a command: the first drains, the second ends at once."""

from __future__ import annotations

import os
import signal
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from types import FrameType

from luthier.engine.engine import Engine
from luthier.processes import ending_signals

__all__ = ["draining"]


def _say(text: str) -> None:
    # No print: the signal may have come in the middle of one, whose lock it would wait for.
    # And no fault: a stream without a file, or a reader that has left, must not break into the work.
    with suppress(OSError, ValueError, AttributeError):
        os.write(sys.stderr.fileno(), f"{text}\n".encode())


@contextmanager
def draining(engine: Engine, say: Callable[[str], None] = _say) -> Iterator[None]:
    """While inside, the first signal lets what is in flight land and then raises `Interrupted`.

    A signal that comes when all is asked and answered lets the work end as it would have. Work that asks
    no model is stopped where it calls `engine.raise_if_interrupted()`. A question to the person at the
    terminal belongs outside, where Ctrl-C ends it at once. Does nothing outside the main thread, where
    signals do not arrive.

    Args:
        engine: the one that is stopped.
        say: prints one line for the person who pressed Ctrl-C.

    Raises:
        Interrupted: a signal kept the engine from something, even if the work inside took no notice.
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

    before = {number: signal.signal(number, on_signal) for number in ending_signals()}
    try:
        yield
        if came and engine.was_cut_short:
            engine.raise_if_interrupted()
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
        if came:
            engine.resume()
