"""One process at a time orders and collects the batches of a journal."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager

from luthier.engine.engine import Engine

__all__ = ["alone"]


@contextmanager
def alone(engine: Engine, waits: Callable[[], None] = lambda: None) -> Iterator[None]:
    """Keeps other processes from ordering and collecting, for as long as the block lasts.

    Args:
        engine: whose journal is meant, and whose signals end the wait.
        waits: called every second while another process is at it.

    Raises:
        Interrupted: a signal came while it waited.
    """
    from filelock import FileLock, Timeout

    journal = engine.journal.path
    assert journal is not None  # `BatchTable` refuses a journal in memory
    # One file has one lock, however its path is spelled.
    journal = journal.resolve()
    journal.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
    lock = FileLock(journal.with_name(f"{journal.name}.batches.lock"), mode=0o600)
    while True:
        engine.raise_if_interrupted()
        try:
            lock.acquire(timeout=1.0)
            break
        except Timeout:
            waits()
    try:
        yield
    finally:
        lock.release()
