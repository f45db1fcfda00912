"""The way to one account's share of one model: its limits, what is in flight, and whether it is left out for a while.

Where several endpoints answer for one model, each has a lane. One that fails gets nothing for a cooldown; then one
request tries it, and it is in use again when that is answered, or left out for half as long again.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from dataclasses import dataclass
from typing import Protocol

from luthier.engine.limiter import Limiter
from luthier.engine.pacing import Ticket
from luthier.providers.endpoint import Endpoint
from luthier.replies.failures import Verdict
from luthier.replies.likeliest import LikeliestLimit

__all__ = ["MOST_TEXTS", "LaneFault", "Lane", "Permit"]

MOST_TEXTS = 256
"""Texts in one HTTP call. Services take 2,048, but a larger call carries no more a second, and one that is lost costs
more."""

STORM = 5
"""So many failures of a service in a row, without an answer in between, and it is left out."""

MISJUDGED = 5
"""Likewise so many refusals in a row of requests that another endpoint answered."""

COOLDOWN_GROWTH = 1.5

LASTING = 5
"""After so many failed trials, about a minute by default, a fault counts as one that does not pass."""


class Pumped(Protocol):
    """A queue that sends by a lane."""

    def pump(self) -> None:
        """Sends what may be sent now."""


@dataclass(frozen=True, slots=True)
class LaneFault:
    """Why a lane is left out.

    Attributes:
        verdict: on the failure that showed it.
        cooldown_seconds: for how long nothing is sent after it.
        trials: requests that have tried it since, and failed.
    """

    verdict: Verdict
    cooldown_seconds: float
    trials: int = 0

    @property
    def is_lasting(self) -> bool:
        """Whether no request can be expected to work until someone does something about it."""
        return self.verdict.cause is not None or self.trials >= LASTING


class Lane:
    """Shared by all queues that send to the account's model.

    Args:
        limiter: of the account's model.
        clock: seconds that only grow; the limiter's.
        cooldown_seconds: for how long it is left out at first.
        longest_cooldown_seconds: for how long at most.
    """

    def __init__(
        self, limiter: Limiter, clock: Callable[[], float], cooldown_seconds: float, longest_cooldown_seconds: float
    ) -> None:
        self.limiter = limiter
        self.in_flight = 0
        self.likeliest = LikeliestLimit()
        self.most_texts = MOST_TEXTS
        """Texts the service takes in one HTTP call, as far as it has said."""
        self.answered = False
        """Whether any request was ever answered here: address, key and model are right."""
        self.fault: LaneFault | None = None
        self._clock, self._first, self._longest = clock, cooldown_seconds, longest_cooldown_seconds
        self._opens_at = float("-inf")
        self._failures = self._misjudged = 0
        self._queues: deque[Pumped] = deque()

    @property
    def permits_left(self) -> int:
        """How many more HTTP calls may be in flight."""
        return self.limiter.permits_left(self.in_flight)

    @property
    def closed_seconds(self) -> float:
        """For how long it gets nothing; 0 when it is in use, or one request may try it."""
        return 0.0 if self.fault is None else max(0.0, self._opens_at - self._clock())

    def serve(self, queue: Pumped) -> None:
        """From now on the queue is told when a permit is given back."""
        self._queues.append(queue)

    def enter(self, tokens: float) -> tuple[Ticket, bool]:
        """An HTTP call is sent with so many tokens reserved; tells also whether it tries a lane that was left out."""
        self.in_flight += 1
        if self.fault is not None:
            # The others wait for what comes of this one.
            self._opens_at = self._clock() + self.fault.cooldown_seconds
        return self.limiter.sent(tokens, self.in_flight), self.fault is not None

    def released(self) -> None:
        """A permit is given back; the queues take turns in using it."""
        self.in_flight -= 1
        for queue in tuple(self._queues):
            queue.pump()
        self._queues.rotate(-1)

    def takes_at_most(self, texts: int) -> None:
        """The service does not take more texts than this in one HTTP call."""
        self.most_texts = max(1, min(self.most_texts, texts))

    def works(self, *, is_trial: bool) -> None:
        """The service answered an HTTP call. What was sent before a fault showed says nothing about it."""
        self._failures = 0
        if is_trial:
            self.fault = None

    def served(self, *, is_trial: bool) -> None:
        """A request has its answer."""
        self.answered = True
        self._misjudged = 0
        self.works(is_trial=is_trial)

    def failed(self, verdict: Verdict, *, is_trial: bool) -> bool:
        """An HTTP call failed for a reason that is not its rows' own; True if the lane is left out from now on."""
        if self.fault is not None:
            if is_trial:
                longer = min(self._longest, COOLDOWN_GROWTH * self.fault.cooldown_seconds)
                self._leave_out(LaneFault(verdict, longer, self.fault.trials + 1))
            return False
        self._failures += 1
        if verdict.cause is None and not verdict.unreachable and self._failures < STORM:
            return False
        self._leave_out(LaneFault(verdict, self._first))
        return True

    def misjudged(self, verdict: Verdict) -> bool:
        """Another endpoint answered what was refused here; True if the lane is left out from now on."""
        self._misjudged += 1
        if self.fault is not None or self._misjudged < MISJUDGED:
            return False
        self._leave_out(LaneFault(verdict, self._first))
        return True

    def try_again(self) -> None:
        """The cooldown is over: someone may have removed the cause."""
        self._opens_at = float("-inf")

    def _leave_out(self, fault: LaneFault) -> None:
        self._failures = self._misjudged = 0
        self.fault = fault
        self._opens_at = self._clock() + fault.cooldown_seconds


@dataclass(eq=False, slots=True)
class Permit:
    """The place of one HTTP call in its lane's concurrency window.

    Attributes:
        endpoint: that is asked.
        name: of the endpoint, where it is one of several.
        is_trial: whether it tries a lane that was left out.
        outstanding: requests of the HTTP call that hold it: not answered, settled or queued again yet.
        number: of the HTTP call among those of its `Call`, from 1.
    """

    lane: Lane
    endpoint: Endpoint
    name: str
    ticket: Ticket
    is_trial: bool
    outstanding: int
    number: int = 0

    def release(self, count: int = 1) -> None:
        """So many requests hold it no more; the last gives the permit back."""
        self.outstanding -= count
        if not self.outstanding:
            self.lane.released()
