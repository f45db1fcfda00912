"""The database of sweeps: our own tables beside Optuna's, a lock over all processes, and patience while it is away."""

from __future__ import annotations

import hashlib
import logging
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, TypeVar

from sqlalchemy import Boolean, Column, Float, Integer, MetaData, String, Table, Text, create_engine, text
from sqlalchemy.engine import URL, Connection, Engine, make_url
from sqlalchemy.exc import ArgumentError, DBAPIError, NoSuchModuleError

from luthier.errors import MissingPart, Partial, UserError
from luthier.home import luthier_home, make_database

__all__ = ["STUDIES", "TRIALS_TABLE", "SweepDatabase"]

Result = TypeVar("Result")

FILE = "sweeps.db"

BUSY_SECONDS = 60
"""How long SQLite waits for another process to finish writing."""

PATIENCE_SECONDS = 600.0
FIRST_WAIT_SECONDS, LONGEST_WAIT_SECONDS = 0.5, 15.0

_metadata = MetaData()

STUDIES = Table(
    "luthier_studies",
    _metadata,
    Column("name", String(255), primary_key=True),
    Column("facts", Text, nullable=False),
    Column("stopped", Boolean, nullable=False, default=False),
    Column("winner", Text),
    Column("winner_usd", Float, nullable=False, default=0.0),
)

TRIALS_TABLE = Table(
    "luthier_trials",
    _metadata,
    Column("study", String(255), primary_key=True),
    Column("number", Integer, primary_key=True),
    Column("trial_id", Integer, nullable=False),
    Column("status", String(16), nullable=False),
    Column("reason", Text, nullable=False, default=""),
    # The lease: the process that drives the trial, and until when on the database's clock.
    Column("token", String(32)),
    Column("host", String(255)),
    Column("pid", Integer),
    Column("process_start", String(64)),
    Column("expires", Float, nullable=False, default=0.0),
    # The reservation, and what took its place.
    Column("reserved_usd", Float),
    Column("spent_usd", Float),
    Column("source", Text),
    Column("notes", Text, nullable=False, default="{}"),
)


class SweepDatabase:
    """A database with studies: an SQLite file of one machine, or a PostgreSQL server that several machines share.

    Args:
        url: of the database; this user's own file when absent.

    Raises:
        UserError: the URL is not understood, or the database cannot be reached.
        MissingPart: the driver of PostgreSQL is not installed.
    """

    def __init__(self, url: str | None = None) -> None:
        if url is None:
            self.file: Path | None = luthier_home() / FILE
            make_database(self.file)
            parsed = URL.create("sqlite", database=str(self.file))
        else:
            parsed = _parsed(url)
            self.file = Path(parsed.database or "") if parsed.get_backend_name() == "sqlite" else None
            if self.file is not None:
                make_database(self.file)
        self.url = parsed
        self.engine_options: dict[str, Any] = {"pool_pre_ping": True}
        if self.file is not None:
            self.engine_options["connect_args"] = {"timeout": BUSY_SECONDS}
        self.engine: Engine = create_engine(parsed, **self.engine_options)
        self._here = threading.Lock()
        # Lines about trials say nothing to a person who is shown a table of them.
        logging.getLogger("optuna").setLevel(logging.WARNING)
        logging.getLogger("alembic").setLevel(logging.WARNING)
        try:
            with self.locked("tables"):
                _metadata.create_all(self.engine)
        except DBAPIError as error:
            raise UserError(
                f"the storage {self.shown} cannot be used: {self._without_password(error)}. Give --storage a database "
                "that exists and may be written to, as in postgresql://user@host/sweeps (password: PGPASSWORD)."
            ) from None

    @property
    def shown(self) -> str:
        """The URL as people may see it."""
        return str(self.file) if self.file is not None else self.url.set(password=None).render_as_string()

    @contextmanager
    def locked(self, name: str) -> Iterator[None]:
        """One thread of one process of all machines at a time. Ends with the process that holds it."""
        with self._here:
            if self.file is not None:
                from filelock import FileLock

                digest = hashlib.sha256(f"{self.file.resolve()}\n{name}".encode()).hexdigest()[:16]
                folder = luthier_home() / "sweeps"
                folder.mkdir(mode=0o700, exist_ok=True)
                with FileLock(folder / f"{digest}.lock", mode=0o600):
                    yield
                return
            key = int.from_bytes(hashlib.sha256(f"luthier {name}".encode()).digest()[:8], signed=True)
            # A connection of its own: the server frees the lock when it is lost, however this process ends.
            with self.engine.connect().execution_options(isolation_level="AUTOCOMMIT") as connection:
                connection.execute(text("select pg_advisory_lock(:key)"), {"key": key})
                try:
                    yield
                finally:
                    connection.execute(text("select pg_advisory_unlock(:key)"), {"key": key})

    def now(self, connection: Connection) -> float:
        """Unix time by the clock that all machines share."""
        if self.file is not None:
            return time.time()
        return float(connection.execute(text("select extract(epoch from clock_timestamp())")).scalar_one())

    def patiently(self, act: Callable[[], Result]) -> Result:
        """Does what may be done twice, and tries again while the database is away: for ten minutes.

        Raises:
            Partial: it is still away.
        """
        from optuna.exceptions import StorageInternalError

        waited, wait = 0.0, FIRST_WAIT_SECONDS
        while True:
            try:
                return act()
            except (DBAPIError, StorageInternalError) as error:
                cause = error if isinstance(error, DBAPIError) else error.__cause__
                if not isinstance(cause, DBAPIError) or not _passes(cause):
                    raise
                if waited >= PATIENCE_SECONDS:
                    raise Partial(
                        f"the storage {self.shown} was away for ten minutes ({self._without_password(cause)}). Jobs "
                        "go on. When it is back, type the same command again."
                    ) from None
                if not waited:
                    print(f"waiting for the storage {self.shown}, which does not answer", file=sys.stderr, flush=True)
                time.sleep(wait)
                waited, wait = waited + wait, min(LONGEST_WAIT_SECONDS, wait * 2)

    def _without_password(self, error: DBAPIError) -> str:
        said = " ".join(str(error.orig).split())
        password = self.url.password
        return said.replace(str(password), "***") if password else said


def _parsed(url: str) -> URL:
    try:
        parsed = make_url(url)
        backend = parsed.get_backend_name()
    except (ArgumentError, NoSuchModuleError):
        # Not repeated: it may hold a password.
        raise UserError(f"--storage is no URL of a database; {ALLOWED}") from None
    if backend == "sqlite" and parsed.database:
        return parsed.set(drivername="sqlite")
    if backend != "postgresql":
        raise UserError(f"--storage names a database of kind {backend}; {ALLOWED}")
    try:
        import psycopg  # noqa: F401
    except ImportError as error:
        raise MissingPart("a study on PostgreSQL needs a driver. Type: pip install 'luthier[postgres]'") from error
    return parsed.set(drivername="postgresql+psycopg")


ALLOWED = "allowed: postgresql://USER@HOST/DATABASE, or sqlite:///FILE on one machine."


def _passes(error: DBAPIError) -> bool:
    """Whether the same may succeed later: the server is gone or starting, or another process is writing."""
    from sqlalchemy.exc import InterfaceError, OperationalError

    return isinstance(error, OperationalError | InterfaceError) or bool(error.connection_invalidated)
