"""The part of a told rate that is used while others use the account too.

A service that reports what is left also shows what others take: more is gone than was sent from here. While that is so,
the part grows by a fixed number of requests a second, the same for all clients, and falls in proportion to itself, the
faster the less is left. Additive increase and multiplicative decrease make shares even (Chiu and Jain, 1989).
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import NamedTuple

from luthier.engine.pacing import Ticket

__all__ = ["FairShare"]

Clock = Callable[[], float]

SMALLEST = 0.02
GROWTH = 0.1
DECREASE = 2.5
"""Gained and, with nothing left, lost in `STEP_SECONDS`, or in two answers' time where that is longer."""
STEP_SECONDS = 5.0
LONGEST_STEP_SECONDS = 5.0

LITTLE = 0.3
"""Little is left below this part of the most that was ever left, and of two seconds' worth."""
LITTLE_SECONDS = 2.0

OTHERS = 0.05
"""Others use the account if they take more than this part of the rate."""
MEASURED_SECONDS = 1.0
MEASURED_AMOUNT = 20.0
FORGETTING = 0.3


class _Told(NamedTuple):
    number: int
    at: float
    taken: float
    left: float


class FairShare:
    """Of requests or of tokens.

    Attributes:
        part: of the told rate that is used now, at most 1.
        little: so much left at the service is little.
    """

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self.part = 1.0
        self.little = 1.0
        self._most_left = 0.0
        self._anchor: _Told | None = None
        self._others = 0.0
        self._changed_at = clock()

    def told(self, per_second: float, ticket: Ticket, taken: float, left: float, most: float | None) -> None:
        """The service said what it had left when it saw a request.

        Args:
            per_second: what the service allows.
            ticket: of the request.
            taken: everything sent from here up to the request.
            left: by the service's account.
            most: that can be left, where the service tells.
        """
        now = self._clock()
        self._most_left = max(self._most_left, left) if most is None else most
        self._measure(per_second, _Told(ticket.number, ticket.at, taken, left))
        self.little = max(1.0, min(LITTLE * self._most_left, LITTLE_SECONDS * per_second))
        lack = max(0.0, 1 - left / self.little) if self._others > OTHERS else 0.0
        step = min(LONGEST_STEP_SECONDS, now - self._changed_at) / max(STEP_SECONDS, 2 * (now - ticket.at))
        self.part = min(1.0, max(SMALLEST, self.part * math.exp(-DECREASE * lack * step) + GROWTH * step))
        self._changed_at = now

    def _measure(self, per_second: float, now: _Told) -> None:
        since = self._anchor
        if since is None:
            self._anchor = now
            return
        elapsed = now.at - since.at
        if now.number <= since.number or elapsed * per_second < MEASURED_AMOUNT or elapsed < MEASURED_SECONDS:
            return
        self._anchor = now
        # A full bucket takes no more, so that what flowed into it is not known.
        if max(since.left, now.left) < self._most_left - 1 or self._most_left < 2:
            gone = since.left + elapsed * per_second - now.left
            others = (gone - (now.taken - since.taken)) / (elapsed * per_second)
            self._others += FORGETTING * (others - self._others)
