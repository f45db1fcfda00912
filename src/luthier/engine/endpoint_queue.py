"""All work for one account's share of one model: who goes next, when, and with whom."""

from __future__ import annotations

import asyncio
import heapq
import itertools
from collections import deque
from collections.abc import Callable

from luthier.engine.batching import EmbeddingBatcher, disbanded
from luthier.engine.calls import Call, PendingRequest
from luthier.engine.limiter import Limiter
from luthier.engine.pacing import Ticket
from luthier.replies.fewer import LikeliestLimit

__all__ = ["EndpointQueue"]

Admit = Callable[[PendingRequest], bool]
Launch = Callable[[PendingRequest, Ticket], None]


class EndpointQueue:
    """Runs take turns, so that a long one does not hold up a short one; flights that are due again go first.

    Args:
        limiter: decides when and how many.
        loop: the engine's.
        clock: the limiter's.
        admit: whether a flight may be sent as far as money is concerned; may halt its run.
        launch: sends it.
    """

    def __init__(
        self,
        limiter: Limiter,
        loop: asyncio.AbstractEventLoop,
        clock: Callable[[], float],
        admit: Admit,
        launch: Launch,
    ) -> None:
        self.limiter = limiter
        self.in_flight = 0
        self.bundles = EmbeddingBatcher()
        self.likeliest = LikeliestLimit()
        self.answered = False
        """Whether any request was ever answered here: address, key and model are right."""
        self.known = False
        """Whether the journal had an answer for anything that was asked here."""
        self._loop, self._clock, self._admit, self._launch = loop, clock, admit, launch
        self._turns: deque[Call] = deque()
        self._again: deque[PendingRequest] = deque()
        self._later: list[tuple[float, int, PendingRequest]] = []
        self._order = itertools.count()
        self._timer: asyncio.TimerHandle | None = None
        self._pumping = False

    def add(self, flight: PendingRequest) -> None:
        """Queues a flight that was never sent."""
        if not flight.run.waiting:
            self._turns.append(flight.run)
        flight.run.queue(flight)

    def retry(self, flight: PendingRequest, wait_seconds: float) -> None:
        """Queues a flight that is to be sent again."""
        heapq.heappush(self._later, (self._clock() + wait_seconds, next(self._order), flight))

    def landed(self) -> None:
        """A flight has ended or been put off: its slot is free."""
        self.in_flight -= 1
        self.pump()

    def withdraw(self, run: Call) -> list[PendingRequest]:
        """Takes back everything of a run that is not in the air."""
        taken = list(run.waiting)
        for flight in taken:
            flight.companions = ()
        run.waiting.clear()
        run.room.set()
        if run in self._turns:
            self._turns.remove(run)
        taken += [member for flight in self._again if flight.run is run for member in disbanded(flight)]
        self._again = deque(flight for flight in self._again if flight.run is not run)
        taken += [member for _, _, flight in self._later if flight.run is run for member in disbanded(flight)]
        self._later = [item for item in self._later if item[2].run is not run]
        heapq.heapify(self._later)
        return taken

    def pump(self) -> None:
        """Sends what may be sent now, and sets the timer for what may be sent later."""
        if self._pumping:
            return
        self._pumping = True
        try:
            now = self._clock()
            while self._later and self._later[0][0] <= now:
                self._again.append(heapq.heappop(self._later)[2])
            wake_in: float | None = self._later[0][0] - now if self._later else None
            short_of_money: set[Call] = set()
            while self.limiter.has_room(self.in_flight):
                flight = self._foremost(short_of_money)
                if flight is None:
                    break
                if flight.request.operation == "embedding" and flight.is_queued:
                    flight.companions = self.bundles.companions(flight, self.limiter, self.in_flight)
                wait = self.limiter.wait_seconds(flight.load)
                if wait > 0:
                    wake_in = wait if wake_in is None else min(wake_in, wait)
                    break
                if not self._admit(flight):
                    # Its run is out of money for now, or for good; the others go on.
                    short_of_money.add(flight.run)
                    continue
                self._take(flight)
                self.in_flight += 1
                self._launch(flight, self.limiter.sent(flight.load))
            self._set_timer(wake_in)
        finally:
            self._pumping = False

    def close(self) -> None:
        """Forgets the timer."""
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None

    def _foremost(self, without: set[Call]) -> PendingRequest | None:
        for flight in self._again:
            run = flight.run
            if run not in without and not run.evidence.waits and not (run.waiting and run.evidence.wants_others):
                return flight
        for run in self._turns:
            if run not in without and not run.evidence.waits:
                return run.waiting[0]
        return None

    def _take(self, flight: PendingRequest) -> None:
        if flight in self._again:
            self._again.remove(flight)
            return
        run = flight.run
        self._turns.remove(run)
        for _ in flight.members:
            run.next()
        if run.waiting:
            self._turns.append(run)

    def _set_timer(self, wake_in: float | None) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        if wake_in is not None:
            self._timer = self._loop.call_later(max(0.0005, wake_in), self.pump)
