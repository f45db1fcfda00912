"""The folders where Luthier keeps files between commands."""

from __future__ import annotations

import os
import threading
from collections.abc import Callable, Sequence
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING

from luthier.errors import UserError

if TYPE_CHECKING:
    import sqlite3

__all__ = ["cache_folder", "database_version", "local_folder", "luthier_home", "make_database", "migrate_database"]

_making = threading.Lock()


def luthier_home() -> Path:
    """Folder of the journal and of the embedded server's state; made on first use, mode 0700.

    `LUTHIER_HOME` names it; by default the user's data folder of the platform.

    Raises:
        UserError: it cannot be made.
    """
    return _folder("LUTHIER_HOME", "user_data_dir", 0o700)


def local_folder() -> Path:
    """Folder of the embedded server's announcement, lock, log and jobs; mode 0700."""
    folder = luthier_home() / "local"
    folder.mkdir(mode=0o700, exist_ok=True)
    return folder


def cache_folder() -> Path:
    """Folder of downloaded weights and sample data, which can be deleted at any time.

    `LUTHIER_CACHE` names it; by default the user's cache folder of the platform.

    Raises:
        UserError: it cannot be made.
    """
    return _folder("LUTHIER_CACHE", "user_cache_dir", 0o777)


def make_database(path: Path) -> None:
    """Makes an empty file with mode 0600 for SQLite, where there is none; SQLite gives its side files the same mode.

    A file that is there is left alone, not even opened: closing any descriptor of it drops the locks of all SQLite
    connections that this process has to it. The next process to close it then takes itself for the last one and
    removes the write-ahead log, and what those connections write from then on is lost
    (https://sqlite.org/howtocorrupt.html, section 2.2).
    """
    with _making:
        if not path.exists():
            with suppress(FileExistsError):
                os.close(os.open(path, os.O_RDWR | os.O_CREAT | os.O_EXCL, 0o600))


def migrate_database(
    connection: sqlite3.Connection,
    steps: Sequence[Callable[[sqlite3.Connection], None]],
    newer: Callable[[int], Exception],
) -> None:
    """Brings an SQLite file up to date; two processes may try at once.

    Args:
        connection: in autocommit mode.
        steps: in order; the file's `user_version` counts those it has seen.
        newer: the error for a file that has seen more steps than there are, by how many it has seen.
    """
    if database_version(connection) == len(steps):
        return
    connection.execute("BEGIN IMMEDIATE")
    try:
        version = database_version(connection)
        if version > len(steps):
            raise newer(version)
        for step in steps[version:]:
            step(connection)
        connection.execute(f"PRAGMA user_version = {len(steps)}")
        connection.execute("COMMIT")
    except BaseException:
        # On a full disk SQLite has rolled back by itself, and a second time would be an error that hides the first.
        if connection.in_transaction:
            connection.execute("ROLLBACK")
        raise


def database_version(connection: sqlite3.Connection) -> int:
    """How many steps of its migrations a file has seen."""
    return int(connection.execute("PRAGMA user_version").fetchone()[0])


def _folder(variable: str, default: str, mode: int) -> Path:
    if given := os.environ.get(variable):
        folder = Path(given).expanduser()
    else:
        import platformdirs

        folder = Path(getattr(platformdirs, default)("luthier", appauthor=False))
    try:
        folder.mkdir(parents=True, exist_ok=True, mode=mode)
    except OSError as error:
        raise UserError(
            f"{variable}: the folder {folder} cannot be made ({error.strerror}). Name a folder that can be written: "
            f"export {variable}=..."
        ) from error
    return folder
