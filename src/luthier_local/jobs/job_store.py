"""The database of files, jobs and batches, beside their contents.

Every change is one transaction, so a server killed at any moment finds the last finished change when it
starts again. Several servers may open the same folder; who works on the jobs is settled by a lock of its own.
"""

from __future__ import annotations

import contextlib
import errno
import json
import os
import re
import shutil
import sqlite3
import tempfile
import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import IO, Any, ClassVar, Self

from filelock import FileLock, Timeout

from luthier.errors import EndpointError
from luthier.home import make_database

__all__ = [
    "JobStore",
    "StoredObject",
    "now",
    "packed",
    "passes",
    "shown",
    "take_lock",
    "write_whole",
]

_VERSION = 1
_DAY_SECONDS = 86_400

_NO_ROOM = (errno.ENOSPC, getattr(errno, "EDQUOT", errno.ENOSPC), errno.EFBIG, errno.EMFILE, errno.ENFILE, errno.EROFS)
_SQLITE_PASSING = (
    sqlite3.SQLITE_BUSY, sqlite3.SQLITE_LOCKED, sqlite3.SQLITE_FULL, sqlite3.SQLITE_IOERR, sqlite3.SQLITE_READONLY,
    sqlite3.SQLITE_CANTOPEN,
)  # fmt: skip

_TABLES = """
create table files (
    number integer primary key autoincrement, id text not null unique, created_at integer not null,
    expires_at integer, filename text not null, purpose text not null, bytes integer not null
);
create table jobs (
    number integer primary key autoincrement, id text not null unique, status text not null,
    wish text, record text not null
);
create table events (
    number integer primary key autoincrement, job text not null, name text, created_at integer not null,
    level text not null, message text not null, type text not null, data text, unique (job, name)
);
create table steps (job text not null, step integer not null, figures text not null, primary key (job, step));
create table checkpoints (
    number integer primary key autoincrement, id text not null unique, job text not null, step integer not null,
    created_at integer not null, model text not null, figures text not null, unique (job, step)
);
create table models (
    id text primary key, job text not null, created_at integer not null, file text not null, digest text not null
);
create table batches (
    number integer primary key autoincrement, id text not null unique, status text not null,
    wish text, record text not null
);
create table lines (
    batch text not null, number integer not null, custom_id text not null, status integer not null,
    body text not null, primary key (batch, number)
);
"""

_NAMED = {
    "files": "select id from files",
    "models": "select file from models",
    "work": "select id from jobs where status not in ('succeeded', 'failed', 'cancelled') "
    "union select id from batches where status not in ('completed', 'failed', 'expired', 'cancelled')",
}
"""Names in each folder that are still referred to."""

ALIVE = "(expires_at is null or expires_at > ?)"
"""SQL condition on a row of `files`: it has not expired at the time given."""

_OURS = re.compile(r"(file-|ftjob-|batch_|\.upload-|\.new-)")
"""Prefixes of the names made here; other files of the folder are left alone."""


class JobStore:
    """The database of one folder; may be used from any thread."""

    def __init__(self, folder: Path) -> None:
        """Opens the folder, and makes it where it is missing.

        Raises:
            EndpointError: It cannot be written to, or its database is damaged or of a later version.
        """
        self.folder = folder
        self._lock = threading.RLock()
        try:
            self._open()
        except (OSError, sqlite3.Error) as error:
            raise EndpointError(
                f"the embedded server cannot use its folder {folder}: {error}. Files, jobs and tuned models are kept "
                "there; make it writable, or move it away to begin with an empty one"
            ) from None

    def _open(self) -> None:
        folder = self.folder
        for part in (folder, folder / "files", folder / "models", folder / "work"):
            part.mkdir(parents=True, mode=0o700, exist_ok=True)
        path = folder / "jobs.db"
        make_database(path)
        self._connection = sqlite3.connect(path, timeout=30, isolation_level=None, check_same_thread=False)
        try:
            self._prepare(path)
        except BaseException:
            self._connection.close()
            raise

    def _prepare(self, path: Path) -> None:
        self._connection.row_factory = sqlite3.Row
        self._connection.execute("pragma journal_mode = wal")
        self._connection.execute("pragma synchronous = normal")
        with self.writing() as write:
            found = write.execute("pragma user_version").fetchone()[0]
            if found == 0:
                for statement in _TABLES.split(";"):
                    write.execute(statement)
                write.execute(f"pragma user_version = {_VERSION}")
            elif found > _VERSION:
                raise EndpointError(
                    f"{path} was written by a later Luthier (schema {found}, this one reads {_VERSION}); "
                    "update Luthier, or give another folder"
                )

    @contextlib.contextmanager
    def writing(self) -> Iterator[sqlite3.Connection]:
        """One transaction: committed as a whole, or rolled back."""
        with self._lock:
            self._connection.execute("begin immediate")
            try:
                yield self._connection
                self._connection.execute("commit")
            except BaseException:
                # On a full disk SQLite has rolled it back already.
                if self._connection.in_transaction:
                    self._connection.execute("rollback")
                raise

    def rows(self, query: str, *values: object) -> list[sqlite3.Row]:
        """All rows of a query."""
        with self._lock:
            return self._connection.execute(query, values).fetchall()

    def row(self, query: str, *values: object) -> sqlite3.Row | None:
        """The first row of a query."""
        with self._lock:
            found: sqlite3.Row | None = self._connection.execute(query, values).fetchone()
            return found

    def file(self, identity: str) -> Path:
        """Path of a file's content."""
        return self.folder / "files" / identity

    def work(self, identity: str) -> Path:
        """Folder of an unfinished job's or batch's own files; deleted when it ends."""
        return self.folder / "work" / identity

    def add_file(
        self, purpose: str, filename: str, content: bytes, identity: str, expires_at: int | None = None
    ) -> None:
        """Stores a file that the server writes; a second one of the same id is ignored."""
        write_whole(self.file(identity), content)
        with self.writing() as write:
            write.execute(
                "insert or ignore into files (id, created_at, expires_at, filename, purpose, bytes) "
                "values (?, ?, ?, ?, ?, ?)",
                (identity, now(), expires_at, filename, purpose, len(content)),
            )

    def find_file(self, identity: str) -> sqlite3.Row | None:
        """The row of a file that is there and has not expired."""
        return self.row(f"select * from files where id = ? and {ALIVE}", identity, now())

    def sweep(self) -> None:
        """Deletes expired files, and leftovers of killed servers that nothing refers to and that are a day old."""
        with self.writing() as write:
            expired = write.execute("select id from files where expires_at <= ?", (int(time.time()),)).fetchall()
            write.executemany("delete from files where id = ?", [(row["id"],) for row in expired])
        for row in expired:
            self.file(row["id"]).unlink(missing_ok=True)
        for part, named in _NAMED.items():
            # Listed before the names are read, so that files made between the two are not examined.
            there = list((self.folder / part).iterdir())
            kept = {row[0] for row in self.rows(named)}
            for path in there:
                # An upload that ends now removes its own file.
                with contextlib.suppress(FileNotFoundError):
                    if path.name in kept or not _OURS.match(path.name) or path.is_symlink():
                        continue
                    if time.time() - path.stat().st_mtime > _DAY_SECONDS:
                        shutil.rmtree(path) if path.is_dir() else path.unlink()

    def close(self) -> None:
        """Closes the database."""
        with self._lock:
            self._connection.close()


class StoredObject:
    """A job or a batch in the store: its status, and its object of the protocol."""

    table: ClassVar[str]
    first_status: ClassVar[str]

    def __init__(self, store: JobStore, identity: str) -> None:
        self.store = store
        self.id = identity

    @classmethod
    def begin(cls, store: JobStore, record: Mapping[str, Any], copies: Mapping[str, str] | None = None) -> Self:
        """Stores a new one in one transaction.

        Args:
            store: Where to.
            record: Its object of the protocol.
            copies: Ids of its files, by the names of copies: a file may be deleted while it waits.
        """
        begun = cls(store, str(record["id"]))
        try:
            for name, identity in (copies or {}).items():
                copy_file(store.file(identity), begun.work / name)
            with store.writing() as write:
                values = begun.id, cls.first_status, packed(record)
                write.execute(f"insert into {cls.table} (id, status, record) values (?, ?, ?)", values)
                begun._announce(write, record)
        except BaseException:
            shutil.rmtree(begun.work, ignore_errors=True)
            raise
        return begun

    def _announce(self, write: sqlite3.Connection, record: Mapping[str, Any]) -> None:
        """What else a new one writes in its transaction."""

    def row(self) -> sqlite3.Row:
        """The row as it is now."""
        found = self.store.row(f"select * from {self.table} where id = ?", self.id)
        assert found is not None, self.id
        return found

    @property
    def record(self) -> dict[str, Any]:
        """The object of the protocol, and what is kept with it under names that begin with `_`."""
        found: dict[str, Any] = json.loads(self.row()["record"])
        return found

    @property
    def work(self) -> Path:
        """Folder with copies of its files, and what it saves."""
        return self.store.work(self.id)

    def change(
        self, write: sqlite3.Connection, status: str | None, since: Sequence[str] | None = None, **changes: Any
    ) -> bool:
        """Changes the status and the fields of the object within a transaction; a wish about it is settled.

        Args:
            write: The transaction.
            status: The new status; `None`: the one it has.
            since: Statuses from which it may change; `None`: any.
            changes: Fields of the object.

        Returns:
            Whether it had one of these statuses.
        """
        row = self.row()
        if since is not None and row["status"] not in since:
            return False
        record = packed({**json.loads(row["record"]), **changes})
        write.execute(
            f"update {self.table} set status = ?, record = ?, wish = null where id = ?",
            (status or row["status"], record, self.id),
        )
        return True

    def move(self, status: str, since: Sequence[str], **changes: Any) -> bool:
        """Changes the status if it is one of `since`; returns whether it was."""
        with self.store.writing() as write:
            return self.change(write, status, since, **changes)


def shown(row: sqlite3.Row) -> dict[str, Any]:
    """The object of a job or batch as its routes show it."""
    record = {key: value for key, value in json.loads(row["record"]).items() if not key.startswith("_")}
    return {**record, "status": row["status"]}


def write_whole(path: Path, content: bytes | Callable[[IO[bytes]], None]) -> None:
    """Writes a file whole or not at all; only its owner may read it.

    Args:
        path: Where.
        content: What, or what writes it.
    """
    descriptor, name = tempfile.mkstemp(prefix=".new-", dir=path.parent)
    try:
        with os.fdopen(descriptor, "wb") as file:
            if isinstance(content, bytes):
                file.write(content)
            else:
                content(file)
        Path(name).replace(path)
    except BaseException as error:
        Path(name).unlink(missing_ok=True)
        if isinstance(error, OSError) and error.errno is None:
            # numpy reports a short write by an OSError without errno.
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC)) from error
        raise


def copy_file(source: Path, target: Path) -> None:
    """Makes a copy that outlives the source, in a folder made for it."""
    target.parent.mkdir(mode=0o700, exist_ok=True)
    try:
        os.link(source, target)
    except OSError:
        # The file system has no links.
        shutil.copyfile(source, target)


def passes(error: Exception) -> bool:
    """Whether the operation may succeed later, with more room or without another writer: no job caused the error."""
    if isinstance(error, sqlite3.Error):
        code = getattr(error, "sqlite_errorcode", None)
        return code is not None and code & 0xFF in _SQLITE_PASSING
    return isinstance(error, OSError) and error.errno in _NO_ROOM


def take_lock(lock: FileLock) -> bool:
    """Takes the lock unless another process holds it; returns whether this one does, until `release` or its end."""
    if not lock.is_locked:
        with contextlib.suppress(Timeout):
            lock.acquire(blocking=False)
    return lock.is_locked


def now() -> int:
    """Seconds since 1970, as OpenAI's objects carry them."""
    return int(time.time())


def packed(value: Any) -> str:
    """Compact JSON for a column or a line; in ASCII, as a lone surrogate cannot be encoded."""
    return json.dumps(value, separators=(",", ":"))
