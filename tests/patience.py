"""How long a test waits for what has to come: long enough for a machine that is slow, busy or paused for a while."""

from __future__ import annotations

import time
from collections.abc import Callable

PATIENCE_SECONDS = 300.0


def until(fact: Callable[[], object], missing: Callable[[], object] = lambda: "it does not come") -> None:
    """Waits until something is so.

    Args:
        fact: is true in the end; it may raise where it can no longer become so.
        missing: what to say where it never comes.
    """
    ends = time.monotonic() + PATIENCE_SECONDS
    while not fact():
        assert time.monotonic() < ends, missing()
        time.sleep(0.005)
