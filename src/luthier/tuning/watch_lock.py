"""Which jobs are watched on this machine now: a watch holds a lock, which ends with its process however that ends."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from filelock import FileLock

__all__ = ["WatchLock", "is_watched"]


class WatchLock:
    """Held by a watch of a run's job. Several may watch one job: then the first holds it.

    Args:
        run_id: of the job.
    """

    def __init__(self, run_id: str) -> None:
        self._lock = _lock_of(run_id)

    def take(self) -> bool:
        """Whether this watch holds it now."""
        from filelock import Timeout

        if not self._lock.is_locked:
            try:
                self._lock.acquire(blocking=False)
            except Timeout:
                return False
        return True

    def release(self) -> None:
        """The watch is over."""
        self._lock.release(force=True)


def is_watched(run_id: str) -> bool:
    """Whether a process of this machine watches the job of a run now."""
    lock = WatchLock(run_id)
    if not lock.take():
        return True
    lock.release()
    return False


def _lock_of(run_id: str) -> FileLock:
    from filelock import FileLock

    from luthier.home import luthier_home

    folder = luthier_home() / "tuning"
    folder.mkdir(exist_ok=True)
    # A watch may be moved from one thread to another.
    return FileLock(folder / f"watch-{run_id}.lock", mode=0o600, thread_local=False)
