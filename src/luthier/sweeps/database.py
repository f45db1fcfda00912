"""The database of sweeps: our own tables beside Optuna's, a lock over all processes, and patience while it is away."""

from __future__ import annotations

import hashlib
import sys
import threading
import time
import weakref
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, TypeVar

from filelock import FileLock
from optuna.exceptions import StorageInternalError
from sqlalchemy import (
    Boolean,
    Column,
    Float,
    Integer,
    MetaData,
    String,
    Table,
    Text,
    create_engine,
    event,
    select,
    text,
)
from sqlalchemy.engine import URL, Connection, Engine, make_url
from sqlalchemy.exc import ArgumentError, DBAPIError, InterfaceError, OperationalError
from sqlalchemy.pool import NullPool

from luthier.errors import MissingPart, ModelError, Partial, UserError
from luthier.home import luthier_home, make_database
from luthier.sweeps.patient_storage import PatientStorage

__all__ = ["STUDIES", "TRIALS_TABLE", "SweepDatabase"]

Result = TypeVar("Result")

FILE = "sweeps.db"
SCHEMA = 1

BUSY_SECONDS = 60.0
"""How long SQLite waits for another process to finish writing."""

PATIENCE_SECONDS = 600.0
FIRST_WAIT_SECONDS, LONGEST_WAIT_SECONDS = 0.5, 15.0

STEADY_SECONDS = 30.0
"""After an outage, until every process that waited for its end has tried again."""

HELD_SECONDS = 60
"""After which PostgreSQL takes the lock from a process that does nothing with it: one suspended, or out of reach."""

SERVER_KEEPALIVES = ("tcp_keepalives_idle = 15", "tcp_keepalives_interval = 5", "tcp_keepalives_count = 3")
"""By which the server notices that a machine vanished; by default it takes hours."""

LOCK_KEY = 0x6C757468696572
SECRETS = ("password", "sslpassword")

ALLOWED = "allowed: postgresql://USER@HOST/DATABASE, or sqlite:///FILE on one machine."

_metadata = MetaData()

VERSION = Table("luthier_sweeps_schema", _metadata, Column("version", Integer, primary_key=True))

STUDIES = Table(
    "luthier_studies",
    _metadata,
    Column("name", String(255), primary_key=True),
    Column("facts", Text, nullable=False),
    Column("stopped", Boolean, nullable=False),
    Column("winner", Text),
    Column("winner_usd", Float, nullable=False),
)

TRIALS_TABLE = Table(
    "luthier_trials",
    _metadata,
    Column("study", String(255), primary_key=True),
    Column("number", Integer, primary_key=True, autoincrement=False),
    Column("trial_id", Integer, nullable=False),
    Column("status", String(16), nullable=False, index=True),
    Column("reason", Text, nullable=False),
    # The lease: the process that drives the trial, and until when on the database's clock.
    Column("token", String(32)),
    Column("host", String(255), nullable=False),
    Column("place", String(255), nullable=False),
    Column("pid", Integer, nullable=False),
    Column("process_start", String(64), nullable=False),
    Column("expires", Float, nullable=False),
    # The reservation, and what took its place.
    Column("reserved_usd", Float),
    Column("spent_usd", Float),
    Column("notes", Text, nullable=False),
)


class SweepDatabase:
    """A database with studies: an SQLite file of one machine, or a PostgreSQL server that several machines share.

    Args:
        url: of the database; this user's own file when absent.
        wait: sleeps for so many seconds.
        make: whether the file is made where there is none.

    Attributes:
        url: without a password.
        storage: of Optuna.
        engine: of our own tables; the same as Optuna's.

    Raises:
        UserError: the URL is not understood, or the database cannot be used.
        ModelError: there is no such file, and it is not to be made.
        MissingPart: the driver of PostgreSQL is not installed.
    """

    def __init__(
        self, url: str | None = None, wait: Callable[[float], None] = time.sleep, *, make: bool = True
    ) -> None:
        given = URL.create("sqlite", database=str(luthier_home() / FILE)) if url is None else _parsed(url)
        # Not `given.set(password=None)`, which leaves the password.
        parts = (given.drivername, given.username, None, given.host, given.port, given.database, given.query)
        self.url = URL.create(*parts).difference_update_query(SECRETS)
        self.file = Path(given.database or "") if given.get_backend_name() == "sqlite" else None
        secrets = {name: str(given.query[name]) for name in SECRETS if name in given.query}
        if given.password:
            secrets["password"] = str(given.password)
        self._secrets = tuple(secrets.values())
        self._wait = wait
        self._here, self._outage = threading.RLock(), threading.Lock()
        self._is_away, self._back = False, float("-inf")
        if self.file is not None:
            if not self.file.parent.is_dir():
                raise UserError(
                    f"--storage names {self.file}, but there is no folder {self.file.parent}; make it first."
                )
            if not make and not self.file.exists():
                raise ModelError(
                    f"no sweep in {self.file}; it has none yet. luthier sweep FILE --trials N starts one. Another "
                    "database: --storage URL"
                )
            make_database(self.file)
        options = self._options(secrets)
        self.engine: Engine = create_engine(self.url, poolclass=NullPool, connect_args=options["connect_args"])
        try:
            # Processes that make the tables at once would collide.
            with self.locked() as connection:
                if self.file is not None:
                    connection.execute(text("PRAGMA journal_mode = WAL"))
                self.storage = PatientStorage(self.url.render_as_string(), options, self.patiently)
                self._make_tables(connection)
        except (DBAPIError, StorageInternalError, RuntimeError) as error:
            raise UserError(
                f"the storage {self.shown} cannot be used: {self._reason(error)}. Give --storage a database that "
                "exists and may be written to, as in postgresql://user@host/sweeps (password: PGPASSWORD)."
            ) from None
        self.engine = self.storage.engine
        if self.file is not None:
            self.engine.dispose()
            # A crash of the program loses nothing; a power cut may lose the last moments, never the file.
            event.listen(self.engine, "connect", lambda made, _: made.execute("PRAGMA synchronous = NORMAL").close())
        weakref.finalize(self, self.engine.dispose)

    @property
    def shown(self) -> str:
        """The database as people may see it: without a password."""
        return str(self.file) if self.file is not None else self.url.set(drivername="postgresql").render_as_string()

    @property
    def is_steady(self) -> bool:
        """Whether it has answered for so long that leases which ran out were not kept from being renewed."""
        return not self._is_away and time.monotonic() - self._back > STEADY_SECONDS

    @contextmanager
    def locked(self) -> Iterator[Connection]:
        """One thread of one process of all machines at a time; what is written is committed together at its end.

        The lock ends with the process that holds it. On SQLite nothing may be written before Optuna has written.
        """
        with self._here:
            if self.file is not None:
                with FileLock(f"{self.file}.lock", mode=0o600, poll_interval=0.01), self.engine.begin() as connection:
                    yield connection
                return
            with self.engine.begin() as connection:
                connection.execute(text(f"SET LOCAL idle_in_transaction_session_timeout = '{HELD_SECONDS}s'"))
                connection.execute(text("SELECT pg_advisory_xact_lock(:key)"), {"key": LOCK_KEY})
                yield connection

    @contextmanager
    def alone(self, what: str) -> Iterator[None]:
        """A lock of its own for work that takes long. Ends with the process that holds it."""
        digest = hashlib.sha256(what.encode()).digest()[:8]
        if self.file is not None:
            with FileLock(f"{self.file}.{digest.hex()}.lock", mode=0o600):
                yield
            return
        key = int.from_bytes(digest, signed=True)

        def lock() -> Connection:
            connection = self.engine.connect().execution_options(isolation_level="AUTOCOMMIT")
            try:
                for setting in SERVER_KEEPALIVES:
                    connection.execute(text(f"SET {setting}"))
                connection.execute(text("SELECT pg_advisory_lock(:key)"), {"key": key})
            except BaseException:
                connection.close()
                raise
            return connection

        connection = self.patiently(lock)
        try:
            yield
        finally:
            # The server frees the lock with the connection, which no other thread gets.
            connection.invalidate()
            connection.close()

    def in_transaction(self, act: Callable[[Connection], Result]) -> Result:
        """What a function does, committed together; waits while the database is away."""

        def once() -> Result:
            with self.engine.begin() as connection:
                return act(connection)

        return self.patiently(once)

    def under_lock(self, act: Callable[[Connection], Result]) -> Result:
        """The same by one thread of one process of all machines at a time."""

        def once() -> Result:
            with self.locked() as connection:
                return act(connection)

        return self.patiently(once)

    def now(self, connection: Connection) -> float:
        """Unix time by the clock that all machines share."""
        if self.file is not None:
            return time.time()
        return float(connection.execute(text("SELECT extract(epoch FROM clock_timestamp())")).scalar_one())

    def patiently(self, act: Callable[[], Result]) -> Result:
        """Does what may be done twice, and tries again while the database is away: for ten minutes.

        Raises:
            Partial: it is still away.
        """
        waited, wait = 0.0, FIRST_WAIT_SECONDS
        while True:
            try:
                result = act()
            except (DBAPIError, StorageInternalError) as error:
                if not self._passes(error):
                    raise
                if waited >= PATIENCE_SECONDS:
                    raise Partial(
                        f"the storage {self.shown} was away for ten minutes ({self._reason(error)}). Jobs go on. "
                        "When it is back, type the same command again."
                    ) from None
                self._note_away(error)
            else:
                self._note_back()
                return result
            self._wait(wait)
            waited, wait = waited + wait, min(LONGEST_WAIT_SECONDS, wait * 2)

    def _note_away(self, error: Exception) -> None:
        with self._outage:
            # What was begun before it came back fails after that: still the same outage.
            if not self._is_away and time.monotonic() - self._back > STEADY_SECONDS:
                self._say(f"waiting for the storage {self.shown}: {self._reason(error)}")
            self._is_away = True

    def _note_back(self) -> None:
        if self._is_away:
            with self._outage:
                if self._is_away and time.monotonic() - self._back > STEADY_SECONDS:
                    self._say(f"the storage {self.shown} answers again")
                self._is_away, self._back = False, time.monotonic()

    def _say(self, line: str) -> None:
        print(line, file=sys.stderr, flush=True)

    def _passes(self, error: Exception) -> bool:
        """Whether the same may succeed later: the server is gone or starting, or another process is writing."""
        cause = error if isinstance(error, DBAPIError) else error.__cause__
        if self.file is not None:
            return isinstance(cause, OperationalError) and ("locked" in str(cause.orig) or "busy" in str(cause.orig))
        return isinstance(cause, OperationalError | InterfaceError) or (
            isinstance(cause, DBAPIError) and bool(cause.connection_invalidated)
        )

    def _reason(self, error: Exception) -> str:
        """What the database said, in a line."""
        cause = error.__cause__ if isinstance(error, StorageInternalError) else error
        said = " ".join(str(cause.orig if isinstance(cause, DBAPIError) else cause).split())
        for secret in self._secrets:
            said = said.replace(secret, "***")
        return said

    def _options(self, secrets: dict[str, str]) -> dict[str, Any]:
        """Keywords of the engine that Optuna makes, and that is used for our tables too."""
        if self.file is not None:
            return {"connect_args": {"timeout": BUSY_SECONDS}}
        # Without these, a machine that vanished is noticed after hours.
        kept_alive = {"connect_timeout": 10, "keepalives_idle": 15, "keepalives_interval": 5, "keepalives_count": 3}
        # Few stay open: servers allow about a hundred, and many machines share them.
        pool = {"pool_size": 2, "max_overflow": 30, "pool_pre_ping": True}
        return {"connect_args": {**kept_alive, **secrets}, **pool}

    def _make_tables(self, connection: Connection) -> None:
        _metadata.create_all(connection)
        found = connection.execute(select(VERSION.c.version)).scalar()
        if found is None:
            connection.execute(VERSION.insert().values(version=SCHEMA))
        elif found > SCHEMA:
            raise UserError(
                f"the storage {self.shown} has schema {found}; this luthier reads up to {SCHEMA}. "
                "Install the newer luthier that wrote it."
            )


def _parsed(url: str) -> URL:
    try:
        parsed = make_url(url)
    except (ArgumentError, ValueError):
        # Not repeated: it may hold a password.
        raise UserError(f"--storage is no URL of a database; {ALLOWED}") from None
    backend = parsed.get_backend_name()
    if backend == "sqlite" and parsed.database not in (None, "", ":memory:"):
        return parsed.set(drivername="sqlite")
    if backend not in ("postgresql", "postgres"):
        raise UserError(f"--storage names a database of kind {backend}; {ALLOWED}")
    try:
        import psycopg  # noqa: F401
    except ImportError as error:
        raise MissingPart("a study on PostgreSQL needs a driver. Type: pip install 'luthier[postgres]'") from error
    return parsed.set(drivername="postgresql+psycopg")
