"""A lock between processes on one machine, held by an open file and freed when its holder dies."""

from __future__ import annotations

import contextlib
import os
import sys
from collections.abc import Iterator
from pathlib import Path

__all__ = ["file_lock", "free_lock", "take_lock"]


@contextlib.contextmanager
def file_lock(path: Path) -> Iterator[None]:
    """Waits for the lock, holds it inside the `with`, and leaves the (empty) file where it is.

    The file is never deleted: a process that opened the old one would hold a lock that no other process sees.
    """
    descriptor = os.open(path, os.O_RDWR | os.O_CREAT | getattr(os, "O_CLOEXEC", 0), 0o600)
    try:
        if sys.platform == "win32":
            import msvcrt
            import time

            while True:
                try:
                    msvcrt.locking(descriptor, msvcrt.LK_LOCK, 1)
                    break
                except OSError:
                    time.sleep(0.05)
        else:
            import fcntl

            fcntl.flock(descriptor, fcntl.LOCK_EX)
        yield
    finally:
        os.close(descriptor)


def take_lock(path: Path) -> int | None:
    """Takes the lock if it is free, to hold until `free_lock` or the end of the process; `None`: it is held."""
    descriptor = os.open(path, os.O_RDWR | os.O_CREAT | getattr(os, "O_CLOEXEC", 0), 0o600)
    try:
        if sys.platform == "win32":
            import msvcrt

            msvcrt.locking(descriptor, msvcrt.LK_NBLCK, 1)
        else:
            import fcntl

            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError:
        os.close(descriptor)
        return None
    return descriptor


def free_lock(descriptor: int) -> None:
    """Gives back what `take_lock` took."""
    os.close(descriptor)
