"""The engine behind packaged models, with a journal in memory unless one is named."""

from __future__ import annotations

import threading
from pathlib import Path

from luthier.engine.engine import Engine
from luthier.journal.journal import Journal
from luthier.journal.memory_journal import MemoryJournal

__all__ = ["ServingEngine", "serving_engine"]

LONGEST_BACKOFF_SECONDS = 2.0
"""A client waits for the answer: an upstream that is back must not be waited for longer."""


class ServingEngine(Engine):
    """An engine that leaves nothing behind where it serves, and does not grow.

    Args:
        journal: a file that keeps the answers; when absent that of LUTHIER_JOURNAL, else the latest in memory.
        limits_share: the part of every endpoint's limits it may use, as where several processes serve.
    """

    def __init__(self, journal: str | Path | None = None, *, limits_share: float = 1.0) -> None:
        kept = Journal.from_environment("memory") if journal is None else Journal(journal)
        super().__init__(
            MemoryJournal() if kept.path is None else kept,
            limits_share=limits_share,
            longest_backoff_seconds=LONGEST_BACKOFF_SECONDS,
        )


_lock = threading.Lock()
_engine: ServingEngine | None = None


def serving_engine() -> ServingEngine:
    """The engine of models that are given none: they share its limits."""
    global _engine
    with _lock:
        if _engine is None:
            _engine = ServingEngine()
        return _engine
