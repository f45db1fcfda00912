"""One process at a time orders and collects the batches of a home."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager

from luthier.engine.engine import Engine
from luthier.home import luthier_home

__all__ = ["alone"]


@contextmanager
def alone(engine: Engine, waits: Callable[[], None] = lambda: None) -> Iterator[None]:
    """Keeps other processes from ordering and collecting, for as long as the block lasts.

    Args:
        engine: whose signals end the wait.
        waits: called every second while another process is at it.

    Raises:
        Interrupted: a signal came while it waited.
    """
    from filelock import FileLock, Timeout

    folder = luthier_home() / "batches"
    folder.mkdir(exist_ok=True, mode=0o700)
    lock = FileLock(folder / "lock", mode=0o600)
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
