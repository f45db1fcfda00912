"""Looks for what may have been taken although no answer came: services list it only after some time."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TypeVar

from luthier.replies.sdk_errors import ServiceUnavailable

__all__ = ["LISTED_SECONDS", "listed_by"]

Listed = TypeVar("Listed")

LISTED_SECONDS = 30.0
"""How long after an order it may still turn up in the service's list."""

LOOKS_SECONDS = (0.0, 1.0, 2.0, 4.0, 8.0, 15.0)
"""Waits between looks; LISTED_SECONDS in all."""


def listed_by(
    until: float, find: Callable[[], Sequence[Listed]], *, clock: Callable[[], float], wait: Callable[[float], None]
) -> Sequence[Listed]:
    """What a service lists as soon as it lists any; nothing if it has not until then.

    Args:
        until: when to give up, by the clock; it is looked once all the same.
        find: asks the service.
        clock: seconds since 1970.
        wait: waits so many seconds.

    Raises:
        ServiceUnavailable: at the last look the service could not say, so that nothing may be ordered again.
    """
    unavailable: ServiceUnavailable | None = None
    for seconds in LOOKS_SECONDS:
        left = until - clock()
        if seconds and left <= 0:
            break
        wait(min(seconds, max(0.0, left)))
        try:
            found = find()
        except ServiceUnavailable as error:
            unavailable = error
            continue
        unavailable = None
        if found:
            return found
    if unavailable is not None:
        raise unavailable
    return ()
