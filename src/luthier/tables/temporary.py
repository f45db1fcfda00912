"""Temporary folders of this process; those that killed processes left are removed."""

from __future__ import annotations

import atexit
import os
import shutil
import sys
import tempfile
import time
from contextlib import suppress
from pathlib import Path

from luthier.outputs import lock_scratch

__all__ = ["temporary_folder"]

PREFIX = "luthier-table-"

YOUNG_SECONDS = 60.0
"""A folder younger than this may not be locked yet."""


def temporary_folder() -> Path:
    """A folder for copies of tables, which may be large; it is removed when the process ends."""
    _remove_stale()
    folder = Path(tempfile.mkdtemp(prefix=PREFIX))
    atexit.register(shutil.rmtree, folder, ignore_errors=True)
    if sys.platform != "win32":
        # Held until the process ends.
        lock_scratch(os.open(folder, os.O_RDONLY))
    return folder


def _remove_stale() -> None:
    """Removes folders whose process was killed."""
    if sys.platform == "win32":
        return
    import fcntl

    for stale in Path(tempfile.gettempdir()).glob(f"{PREFIX}*"):
        with suppress(OSError):  # in use, gone meanwhile, or another user's
            descriptor = os.open(stale, os.O_RDONLY | os.O_NOFOLLOW | os.O_DIRECTORY)
            try:
                fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
                if time.time() - stale.stat().st_mtime >= YOUNG_SECONDS:
                    shutil.rmtree(stale)
            finally:
                os.close(descriptor)
