"""Waiting for what a service does in its own time: validating a file, making a deployment, deleting one."""

from __future__ import annotations

from collections.abc import Callable
from typing import TypeVar

from luthier.errors import EndpointError
from luthier.tuning.tuners.tuner import ServiceUnavailable

__all__ = ["look_until"]

Result = TypeVar("Result")

FIRST_LOOK_SECONDS = 2.0
LONGEST_LOOK_SECONDS = 30.0
LOOK_GROWTH = 1.5


def look_until(
    look: Callable[[], Result | None],
    late: str,
    *,
    wait: Callable[[float], None],
    clock: Callable[[], float],
    patience_seconds: float = 3600.0,
    error: type[EndpointError] = ServiceUnavailable,
) -> Result:
    """Looks until there is a result, less and less often; while the service is unavailable it is asked again.

    Args:
        look: one look; `None` as long as there is no result. What it asks for may be asked twice.
        late: the message if there is none in time.
        wait: waits so many seconds.
        clock: Unix time.
        patience_seconds: how long there may be none.
        error: what is raised then.

    Raises:
        ServiceUnavailable: there is none in time, unless `error` is another.
    """
    begun, pause = clock(), FIRST_LOOK_SECONDS
    while True:
        said = ""
        try:
            if (found := look()) is not None:
                return found
        except ServiceUnavailable as unavailable:
            said = f" ({unavailable})"
        if clock() - begun > patience_seconds:
            raise error(f"{late}{said}.")
        wait(pause)
        pause = min(LONGEST_LOOK_SECONDS, pause * LOOK_GROWTH)
