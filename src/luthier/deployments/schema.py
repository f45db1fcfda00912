"""Tables of the deployments' database, and the numbered steps that lead from any older file to them."""

from __future__ import annotations

import sqlite3
from collections.abc import Callable

from luthier.errors import UserError
from luthier.home import migrate_database

__all__ = ["MIGRATIONS", "migrate"]


def m001_deployments(connection: sqlite3.Connection) -> None:
    """Deployments, their revisions, the processes that answer, what happened, and who looks after them."""
    for statement in (
        """
        CREATE TABLE deployments (
            name TEXT PRIMARY KEY,
            desired TEXT NOT NULL,
            model_uri TEXT NOT NULL,
            tracking_uri TEXT NOT NULL,
            followed_version TEXT,
            host TEXT NOT NULL,
            port INTEGER NOT NULL,
            target INTEGER,
            rolling_back INTEGER NOT NULL DEFAULT 0,
            created REAL NOT NULL
        ) WITHOUT ROWID
        """,
        """
        CREATE TABLE revisions (
            deployment TEXT NOT NULL REFERENCES deployments (name) ON DELETE CASCADE,
            number INTEGER NOT NULL,
            model_uri TEXT NOT NULL,
            resolved_uri TEXT NOT NULL,
            version TEXT,
            settings TEXT NOT NULL,
            endpoint TEXT NOT NULL,
            trust INTEGER NOT NULL,
            bounds TEXT NOT NULL,
            state TEXT NOT NULL,
            refused INTEGER NOT NULL DEFAULT 0,
            reason TEXT,
            created REAL NOT NULL,
            served REAL,
            ended REAL,
            PRIMARY KEY (deployment, number)
        ) WITHOUT ROWID
        """,
        """
        CREATE TABLE processes (
            deployment TEXT NOT NULL,
            revision INTEGER NOT NULL,
            pid INTEGER NOT NULL,
            start_time TEXT NOT NULL,
            PRIMARY KEY (deployment, revision),
            FOREIGN KEY (deployment, revision) REFERENCES revisions (deployment, number) ON DELETE CASCADE
        ) WITHOUT ROWID
        """,
        """
        CREATE TABLE events (
            id INTEGER PRIMARY KEY,
            time REAL NOT NULL,
            deployment TEXT NOT NULL REFERENCES deployments (name) ON DELETE CASCADE,
            words TEXT NOT NULL
        )
        """,
        """
        CREATE TABLE controller (
            id INTEGER PRIMARY KEY CHECK (id = 1),
            pid INTEGER NOT NULL,
            start_time TEXT NOT NULL,
            build TEXT NOT NULL,
            variables TEXT NOT NULL
        )
        """,
        "CREATE INDEX events_of ON events (deployment, id)",
    ):
        connection.execute(statement)


MIGRATIONS: tuple[Callable[[sqlite3.Connection], None], ...] = (m001_deployments,)
"""In order; the file's `user_version` counts those it has seen."""


def migrate(connection: sqlite3.Connection, place: str) -> None:
    """Brings a file up to date; two processes may try at once.

    Raises:
        UserError: the file was written by a newer luthier.
    """

    def newer(version: int) -> UserError:
        return UserError(
            f"{place} has schema {version}; this luthier reads up to {len(MIGRATIONS)}. "
            "Install the newer luthier that wrote it."
        )

    migrate_database(connection, MIGRATIONS, newer)
