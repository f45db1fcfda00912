"""How time passes while Luthier waits for a service, and how often it tries again."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import TypeVar

from luthier.tuning.tuners.tuner import ServiceUnavailable

__all__ = ["REAL_TIME", "TRIES_SECONDS", "Timing", "patiently"]

Result = TypeVar("Result")

TRIES_SECONDS = (0.0, 1.0, 2.0, 4.0, 8.0)
"""Waits before another try of what did not happen because the service was unavailable."""


@dataclass(frozen=True)
class Timing:
    """How time passes.

    Attributes:
        wait: waits so many seconds.
        clock: Unix time.
        poll_seconds: time between looks at a job; starts small and grows when absent.
    """

    wait: Callable[[float], None] = time.sleep
    clock: Callable[[], float] = time.time
    poll_seconds: float | None = None


REAL_TIME = Timing()


def patiently(timing: Timing, act: Callable[[], Result]) -> Result:
    """Does what may be done twice, and tries again while the service is unavailable: four times, over 15 seconds."""
    for wait in TRIES_SECONDS[1:]:
        try:
            return act()
        except ServiceUnavailable:
            timing.wait(wait)
    return act()
