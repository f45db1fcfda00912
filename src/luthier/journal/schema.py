"""Tables of the journal, and the numbered steps that lead from any older file to them."""

from __future__ import annotations

import sqlite3
from collections.abc import Callable
from pathlib import Path

from luthier.errors import UserError
from luthier.home import database_version, migrate_database

__all__ = ["MIGRATIONS", "check_ours", "explain", "migrate"]


def m001_answers(connection: sqlite3.Connection) -> None:
    """One row per request; `state` is open to further states."""
    connection.execute(
        """
        CREATE TABLE answers (
            key BLOB PRIMARY KEY,
            state TEXT NOT NULL,
            failure TEXT,
            operation TEXT NOT NULL,
            identity TEXT NOT NULL,
            model TEXT NOT NULL,
            reported_model TEXT,
            status INTEGER,
            body BLOB,
            packed INTEGER NOT NULL DEFAULT 0,
            input_tokens INTEGER NOT NULL DEFAULT 0,
            output_tokens INTEGER NOT NULL DEFAULT 0,
            cost_usd REAL,
            latency_seconds REAL,
            created REAL NOT NULL,
            error TEXT
        )
        """
    )


def m002_snapshots(connection: sqlite3.Connection) -> None:
    """What each model said it was, and when, so that a change is noticed."""
    connection.execute(
        """
        CREATE TABLE snapshots (
            identity TEXT NOT NULL,
            model TEXT NOT NULL,
            reported_model TEXT NOT NULL,
            last_seen REAL NOT NULL,
            PRIMARY KEY (identity, model, reported_model)
        ) WITHOUT ROWID
        """
    )


def m003_checksums(connection: sqlite3.Connection) -> None:
    """A checksum of the row; rows of older files have none and are read as they are."""
    connection.execute("ALTER TABLE answers ADD COLUMN checksum INTEGER")


def m004_leases(connection: sqlite3.Connection) -> None:
    """Which keys are being asked at present, and by which process."""
    connection.execute(
        """
        CREATE TABLE lease_owners (
            id INTEGER PRIMARY KEY AUTOINCREMENT,
            place TEXT NOT NULL,
            pid INTEGER NOT NULL,
            started TEXT NOT NULL,
            expires REAL NOT NULL
        )
        """
    )
    connection.execute("CREATE TABLE leases (key BLOB PRIMARY KEY, owner INTEGER NOT NULL) WITHOUT ROWID")


def m005_batches(connection: sqlite3.Connection) -> None:
    """Batches that a service works on, and the keys of the requests in them."""
    connection.execute(
        """
        CREATE TABLE batches (
            number INTEGER PRIMARY KEY AUTOINCREMENT,
            token TEXT NOT NULL UNIQUE,
            state TEXT NOT NULL,
            purpose TEXT NOT NULL,
            endpoint TEXT NOT NULL,
            address TEXT NOT NULL,
            model TEXT NOT NULL,
            operation TEXT NOT NULL,
            identity TEXT NOT NULL,
            lines INTEGER NOT NULL DEFAULT 0,
            bytes INTEGER NOT NULL DEFAULT 0,
            tokens INTEGER NOT NULL DEFAULT 0,
            most_usd REAL,
            created REAL NOT NULL,
            sent REAL,
            file_id TEXT,
            batch_id TEXT,
            status TEXT,
            completed INTEGER NOT NULL DEFAULT 0,
            failed INTEGER NOT NULL DEFAULT 0,
            output_id TEXT,
            error_id TEXT,
            answered INTEGER NOT NULL DEFAULT 0,
            refused INTEGER NOT NULL DEFAULT 0,
            spent_usd REAL,
            said TEXT
        )
        """
    )
    # A key whose batch is NULL is in none, and was in `attempts` of them without an answer.
    connection.execute(
        "CREATE TABLE batch_keys (key BLOB PRIMARY KEY, batch INTEGER, attempts INTEGER NOT NULL) WITHOUT ROWID"
    )
    connection.execute("CREATE INDEX keys_of_batch ON batch_keys (batch)")


MIGRATIONS: tuple[Callable[[sqlite3.Connection], None], ...] = (
    m001_answers,
    m002_snapshots,
    m003_checksums,
    m004_leases,
    m005_batches,
)
"""In order; the file's `user_version` counts those it has seen."""


def check_ours(connection: sqlite3.Connection, place: str) -> None:
    """Refuses a database of another program, before a byte of it is changed.

    Raises:
        UserError: it holds tables, and they are not a journal's.
    """
    # Tables first: another process that makes the journal at this moment commits them together with the version.
    tables = {row[0] for row in connection.execute("SELECT name FROM sqlite_master WHERE type = 'table'")}
    columns = {row[1] for row in connection.execute("PRAGMA table_info(answers)")}
    if tables and not (database_version(connection) and {"key", "state", "identity", "body"} <= columns):
        raise UserError(
            f"{place} is an SQLite file of another program (tables: {', '.join(sorted(tables)[:5])}), not a journal; "
            "nothing in it was changed. Name another file in LUTHIER_JOURNAL."
        )


def migrate(connection: sqlite3.Connection, place: str) -> None:
    """Brings a file up to date; two processes may try at once.

    Raises:
        UserError: the file was written by a newer luthier.
    """

    def newer(version: int) -> UserError:
        return UserError(
            f"the journal {place} has schema {version}; this luthier reads up to {len(MIGRATIONS)}. "
            "Install a newer luthier, or name another file in LUTHIER_JOURNAL."
        )

    migrate_database(connection, MIGRATIONS, newer)


def explain(error: sqlite3.Error, path: Path | None) -> UserError:
    """The error of a database with what a person can do about it."""
    place = str(path) if path is not None else "in memory"
    name = getattr(error, "sqlite_errorname", "") or ""
    if name.startswith("SQLITE_FULL"):
        cure = "its disk is full. Free some space and run again; everything committed is kept."
    elif name.startswith(("SQLITE_READONLY", "SQLITE_CANTOPEN", "SQLITE_PERM", "SQLITE_AUTH")):
        cure = "it cannot be written. Make the folder writable, or name another file in LUTHIER_JOURNAL."
    elif name.startswith(("SQLITE_BUSY", "SQLITE_LOCKED")):
        cure = "another program holds it locked. Let that one end, or name another file in LUTHIER_JOURNAL."
    elif name.startswith(("SQLITE_CORRUPT", "SQLITE_NOTADB")):
        cure = (
            f"the file is damaged or no journal. Move it away (mv '{place}' '{place}.damaged') and run again: "
            f"its answers would be paid once more, unless `sqlite3 '{place}.damaged' .recover` saves them."
        )
    elif name.startswith("SQLITE_IOERR"):
        cure = (
            "its disk is full or does not answer. Free some space and run again. WAL needs a local disk: name a file "
            "on one in LUTHIER_JOURNAL."
        )
    else:
        cure = "run again, or name another file in LUTHIER_JOURNAL."
    return UserError(f"the journal {place} failed ({error}): {cure}")
