"""Gathers answers for a few milliseconds and has the journal commit them together."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterable, Sequence

from luthier.errors import UserError
from luthier.journal.journal import Journal, JournalEntry
from luthier.journal.leases import Owner

__all__ = ["Commits"]

COMMIT_SECONDS = 0.003
COMMIT_ANSWERS = 64

Committed = Callable[[UserError | None], None]
DoneWith = Callable[[Sequence[bytes]], Sequence[tuple[Owner, bytes]]]


class Commits:
    """A commit for each answer would cost more than asking; one for all would lose too much.

    Args:
        journal: where they are kept.
        loop: where it is told that they are.
        done_with: the leases on keys, which end with the commit.
    """

    def __init__(self, journal: Journal, loop: asyncio.AbstractEventLoop, done_with: DoneWith) -> None:
        self._journal, self._loop, self._done_with = journal, loop, done_with
        self._waiting: list[tuple[JournalEntry, bytes, Committed]] = []
        self._ending: list[tuple[Owner, bytes]] = []
        self._leaving: set[bytes] = set()
        self._timer: asyncio.TimerHandle | None = None

    def add(self, entry: JournalEntry, key: bytes, committed: Committed) -> None:
        """Keeps an entry soon.

        Args:
            entry: what to keep.
            key: what was asked; the lease on it ends.
            committed: called on the loop when it is safe, or with the error.
        """
        self._waiting.append((entry, key, committed))
        if len(self._waiting) >= COMMIT_ANSWERS:
            self.flush()
        else:
            self._flush_soon()

    def let_go(self, keys: Sequence[bytes]) -> None:
        """Ends the leases on keys that are not asked any more."""
        ending = self._done_with(keys)
        if ending:
            self._ending += ending
            self._leaving.update(key for _, key in ending)
            self._flush_soon()

    async def left(self, keys: Iterable[bytes]) -> None:
        """Returns when no lease on these keys is about to end: one that is taken now would end with it."""
        if not self._leaving.isdisjoint(keys):
            await self.settled()

    async def settled(self) -> None:
        """Returns when all that was handed in until now is in the journal, or could not be."""
        self.flush()
        reached = asyncio.Event()

        def done(_: UserError | None) -> None:
            if not self._loop.is_closed():
                self._loop.call_soon_threadsafe(reached.set)

        self._journal.submit([], done)
        await reached.wait()

    def _flush_soon(self) -> None:
        if self._timer is None:
            self._timer = self._loop.call_later(COMMIT_SECONDS, self.flush)

    def flush(self) -> None:
        """Hands over what waits now."""
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        batch, self._waiting = self._waiting, []
        ending, self._ending = [*self._ending, *self._done_with([key for _, key, _ in batch])], []
        if not batch and not ending:
            return

        def tell(error: UserError | None) -> None:
            self._leaving.difference_update(key for _, key in ending)
            for _, _, committed in batch:
                committed(error)

        def done(error: UserError | None) -> None:
            if not self._loop.is_closed():
                self._loop.call_soon_threadsafe(tell, error)

        self._journal.submit([entry for entry, _, _ in batch], done, ending)
