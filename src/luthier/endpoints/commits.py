"""Gathers answers for a few milliseconds and has the journal commit them together."""

from __future__ import annotations

import asyncio
from collections.abc import Callable

from luthier.endpoints.journal import Entry, Journal
from luthier.errors import UserError

__all__ = ["Commits"]

COMMIT_SECONDS = 0.003
COMMIT_ANSWERS = 64

Committed = Callable[[UserError | None], None]


class Commits:
    """A commit for each answer would cost more than asking; one for all would lose too much.

    Args:
        journal: where they are kept.
        loop: where it is told that they are.
    """

    def __init__(self, journal: Journal, loop: asyncio.AbstractEventLoop) -> None:
        self._journal, self._loop = journal, loop
        self._waiting: list[tuple[Entry, Committed]] = []
        self._timer: asyncio.TimerHandle | None = None

    def add(self, entry: Entry, committed: Committed) -> None:
        """Keeps an entry soon; `committed` is called on the loop when it is safe, or with the error."""
        self._waiting.append((entry, committed))
        if len(self._waiting) >= COMMIT_ANSWERS:
            self.flush()
        elif self._timer is None:
            self._timer = self._loop.call_later(COMMIT_SECONDS, self.flush)

    def flush(self) -> None:
        """Hands over what waits now."""
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        batch, self._waiting = self._waiting, []
        if not batch:
            return

        def tell(error: UserError | None) -> None:
            for _, committed in batch:
                committed(error)

        def done(error: UserError | None) -> None:
            if not self._loop.is_closed():
                self._loop.call_soon_threadsafe(tell, error)

        self._journal.submit([entry for entry, _ in batch], done)
