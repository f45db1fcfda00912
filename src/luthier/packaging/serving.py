"""The engine behind packaged models: one per process, with a journal in memory unless one is named."""

from __future__ import annotations

import threading

from luthier.engine.engine import Engine
from luthier.journal.journal import Journal

__all__ = ["keep_small", "serving_engine"]

MOST_KEPT = 20_000
"""Answers a server remembers before it forgets them all: a long life must not fill the memory."""

CHECK_EVERY_ROWS = 1_000

_lock = threading.Lock()
_unchecked = 0
_engine: Engine | None = None


def serving_engine() -> Engine:
    """The process's engine for packaged models.

    LUTHIER_JOURNAL names a journal on disk; without it a model leaves nothing behind where it serves.
    """
    global _engine
    with _lock:
        if _engine is None:
            _engine = Engine(Journal.from_environment("memory"))
        return _engine


def keep_small(engine: Engine, rows: int) -> None:
    """Empties a journal in memory that has grown large; `rows` were just answered."""
    global _unchecked
    if engine.journal.path is not None:
        return
    with _lock:
        _unchecked += rows
        if _unchecked < CHECK_EVERY_ROWS:
            return
        _unchecked = 0
    if engine.journal.size().answers > MOST_KEPT:
        engine.journal.purge()
