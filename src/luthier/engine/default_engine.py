"""The engine that everything in a process shares unless it is given another."""

from __future__ import annotations

import os
import threading

from luthier.documents import described
from luthier.engine.engine import Engine
from luthier.errors import UserError
from luthier.journal.journal import Journal

__all__ = ["default_engine", "engine_given"]

_default: Engine | None = None
_default_lock = threading.Lock()


def default_engine() -> Engine:
    """The engine of this process, with the journal on disk; made on first use, and again when its path changes."""
    global _default
    with _default_lock:
        journal = Journal.from_environment("disk")
        if _default is None or _default.journal.path != journal.path:
            _default = Engine(journal)
        return _default


def engine_given(engine: Engine | None) -> Engine:
    """The engine that was given, or the process's own.

    Raises:
        UserError: something else was given.
    """
    if engine is not None and not isinstance(engine, Engine):
        raise UserError(f"engine= takes a luthier.Engine; given: {described(engine)}.")
    return engine or default_engine()


def _forget_lock() -> None:
    global _default_lock
    _default_lock = threading.Lock()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_forget_lock)
