"""The engine behind packaged models, with a journal in memory unless one is named."""

from __future__ import annotations

import threading
from pathlib import Path

from luthier.engine.engine import Engine
from luthier.journal.journal import Journal

__all__ = ["ServingEngine", "serving_engine"]

MOST_KEPT = 20_000
"""Answers a server remembers before it forgets them all: a long life must not fill the memory."""

CHECK_EVERY_ROWS = 1_000


class ServingEngine(Engine):
    """An engine that leaves nothing behind where it serves, and does not grow.

    Args:
        journal: a file that keeps the answers; when absent that of LUTHIER_JOURNAL, else memory.
        limits_share: the part of every endpoint's limits it may use, as where several processes serve.
    """

    def __init__(self, journal: str | Path | None = None, *, limits_share: float = 1.0) -> None:
        kept = Journal.from_environment("memory") if journal is None else Journal(journal)
        super().__init__(kept, limits_share=limits_share)
        self._unchecked_rows = 0
        self._counting = threading.Lock()

    def keep_small(self, rows: int) -> None:
        """Empties a journal in memory that has grown large; `rows` were just answered."""
        if self.journal.path is not None:
            return
        with self._counting:
            self._unchecked_rows += rows
            if self._unchecked_rows < CHECK_EVERY_ROWS:
                return
            self._unchecked_rows = 0
        if self.journal.size().answers > MOST_KEPT:
            self.journal.purge()


_lock = threading.Lock()
_engine: ServingEngine | None = None


def serving_engine() -> ServingEngine:
    """The engine of models that are given none: they share its limits."""
    global _engine
    with _lock:
        if _engine is None:
            _engine = ServingEngine()
        return _engine
