"""What this engine may ask itself, and what it waits for because another process is asking it."""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Callable, Sequence
from functools import partial

from luthier.engine.calls import Call, PendingRequest
from luthier.errors import UserError
from luthier.journal.commits import Commits
from luthier.journal.journal import Journal, JournalEntry
from luthier.journal.leases import Owner

__all__ = ["Claims"]

log = logging.getLogger("luthier.engine")

LOOK_SECONDS = 0.25
RENEW_SECONDS = 15.0
QUIET_SECONDS = 5.0

Settle = Callable[[PendingRequest, JournalEntry], bool]
Start = Callable[[PendingRequest], None]
Stop = Callable[[Call, UserError], None]


class Claims:
    """The leases of one engine, on its loop. A journal in memory is not shared, so nothing is leased there.

    Args:
        journal: where the leases are.
        loop: the engine's.
        settle: told what the journal has by now for a flight that waits; False if that is no end of it.
        start: sends a flight that is this engine's to ask now.
        stop: told of a journal that failed.
        commits: ends leases on keys soon.
    """

    def __init__(
        self,
        journal: Journal,
        loop: asyncio.AbstractEventLoop,
        settle: Settle,
        start: Start,
        stop: Stop,
        commits: Commits,
    ) -> None:
        self._journal, self._loop = journal, loop
        self._settle, self._start, self._stop, self._commits = settle, start, stop, commits
        self._owner: Owner | None = None
        self._mine: set[bytes] = set()
        self._elsewhere: dict[bytes, PendingRequest] = {}
        self._taking = asyncio.Lock()
        self._timer: asyncio.TimerHandle | None = None
        self._looking: asyncio.Task[None] | None = None
        self._renewed = self._heard = 0.0
        self._said = False

    async def take(self, keys: Sequence[bytes]) -> tuple[set[bytes], dict[bytes, JournalEntry]]:
        """Claims what can be had of these keys.

        Returns:
            Keys that another process is asking, and what the journal has by now for others.
        """
        if self._journal.path is None or not keys:
            return set(), {}
        taking = self._loop.create_task(self._take(keys))
        try:
            return await asyncio.shield(taking)
        except asyncio.CancelledError:
            # The journal leases them all the same, and no run would end those leases.
            taking.add_done_callback(partial(self._give_back, keys))
            raise

    async def _take(self, keys: Sequence[bytes]) -> tuple[set[bytes], dict[bytes, JournalEntry]]:
        # One at a time: the first one enters the owner.
        async with self._taking:
            await self._commits.left(keys)
            lease = await self._loop.run_in_executor(None, self._journal.lease, keys, self._owner)
            self._owner, self._renewed = lease.owner, self._loop.time()
        self._mine.update(key for key in keys if key not in lease.held)
        self._watch()
        return lease.held, lease.found

    def _give_back(
        self, keys: Sequence[bytes], taking: asyncio.Task[tuple[set[bytes], dict[bytes, JournalEntry]]]
    ) -> None:
        if not taking.cancelled() and taking.exception() is None:
            held, _ = taking.result()
            self._commits.let_go([key for key in keys if key not in held])

    def wait_for(self, flight: PendingRequest) -> None:
        """The flight's question is being asked elsewhere: its answer is taken from there, or it is sent after all."""
        if not self._elsewhere:
            self._heard, self._said = self._loop.time(), False
        self._elsewhere[flight.key] = flight
        flight.waits_since = time.time()
        self._watch()

    def waiting(self, run: Call) -> list[PendingRequest]:
        """Flights of a run that wait for another process."""
        return [flight for flight in self._elsewhere.values() if flight.run is run]

    def waits(self, flight: PendingRequest) -> bool:
        """Whether the flight waits for another process."""
        return self._elsewhere.get(flight.key) is flight

    def forget(self, flight: PendingRequest) -> None:
        """No run waits for the flight any more."""
        if self.waits(flight):
            del self._elsewhere[flight.key]

    def done_with(self, keys: Sequence[bytes]) -> list[tuple[Owner, bytes]]:
        """The leases on these keys, which are about to end."""
        if self._owner is None:
            return []
        ending = [key for key in keys if key in self._mine]
        self._mine.difference_update(ending)
        return [(self._owner, key) for key in ending]

    def close(self) -> None:
        """Waits for nothing any more. The leases end with the journal."""
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        self._mine.clear()
        self._elsewhere.clear()

    def _watch(self) -> None:
        if self._timer is None and (self._mine or self._elsewhere):
            self._timer = self._loop.call_later(LOOK_SECONDS, self._tick)

    def _tick(self) -> None:
        self._timer = None
        is_due = self._elsewhere or self._loop.time() - self._renewed > RENEW_SECONDS
        if is_due and self._looking is None:
            self._looking = self._loop.create_task(self._look())
        else:
            self._watch()

    async def _look(self) -> None:
        try:
            if self._elsewhere:
                await self._look_elsewhere()
            elif self._owner is not None:
                self._renewed = self._loop.time()
                await self._loop.run_in_executor(None, self._journal.renew, self._owner)
        except RuntimeError:  # no new threads while the program ends
            self._mine.clear()
            self._elsewhere.clear()
        except UserError as error:
            for run in {flight.run for flight in self._elsewhere.values()}:
                self._stop(run, error)
        finally:
            self._looking = None
            self._watch()

    async def _look_elsewhere(self) -> None:
        waiting = list(self._elsewhere)
        held, found = await self.take(waiting)
        for key in waiting:
            flight = self._elsewhere.get(key)
            if key in held:
                continue
            if flight is None:
                self._commits.let_go([key])
                continue
            self._heard, self._said = self._loop.time(), False
            del self._elsewhere[key]
            entry = found.get(key)
            if entry is None or not self._settle(flight, entry):
                self._start(flight)
        if self._elsewhere and not self._said and self._loop.time() - self._heard > QUIET_SECONDS:
            self._said = True
            count = f"{len(self._elsewhere):,}"
            log.warning("waiting for %s answers that another process with the same journal is asking for", count)
