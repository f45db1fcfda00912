"""What Ctrl-C, SIGTERM and SIGHUP do to a command: the first signal completes what is in flight, the second ends it."""

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
    # Not `print`: the signal may have interrupted one, whose lock this would wait for.
    # A stream without a file, or a reader that has left, must not end the work with an error.
    with suppress(OSError, ValueError, AttributeError):
        os.write(sys.stderr.fileno(), f"{text}\n".encode())


@contextmanager
def draining(engine: Engine, say: Callable[[str], None] = _say) -> Iterator[None]:
    """Inside the block, the first signal lets what is in flight complete and then raises `Interrupted`.

    A signal that comes when everything is answered changes nothing. Work that asks no model is stopped where it calls
    `engine.raise_if_interrupted()`. A prompt for input belongs outside the block, where Ctrl-C ends it at once.
    Does nothing outside the main thread, where signals do not arrive.

    Args:
        engine: the engine that is stopped.
        say: prints one line for the person who pressed Ctrl-C.

    Raises:
        Interrupted: a signal kept the engine from sending something, even if the work inside caught that.
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
