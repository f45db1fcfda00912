"""The durable record of answers by content key: a cache, the point to resume from, and the bill."""

from __future__ import annotations

import os
import queue
import sqlite3
import threading
import time
import weakref
import zlib
from collections.abc import Callable, Collection, Iterable, Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar, Literal

from luthier.errors import UserError
from luthier.home import luthier_home, make_database
from luthier.journal import leases
from luthier.journal.leases import Owner
from luthier.journal.schema import check_ours, explain, migrate
from luthier.journal.stored_batches import batched_keys, refuse_batched

__all__ = ["JournalEntry", "Journal", "JournalSize", "Lease"]

PACK_FROM_BYTES = 4096
BUSY_SECONDS = 60.0
KEYS_A_QUERY = 500
IN_MEMORY = ":memory:"
LATEST_ANSWERS = 5_000

COLUMNS = (
    "key, state, failure, operation, identity, model, reported_model, status, body, packed, "
    "input_tokens, output_tokens, cost_usd, latency_seconds, created, error"
)

NAMES = COLUMNS.split(", ")
BODY = NAMES.index("body")

# An answer, once there, is only ever replaced by another answer.
UPSERT = f"""
INSERT INTO answers ({COLUMNS}, checksum) VALUES ({", ".join("?" * 17)})
ON CONFLICT (key) DO UPDATE SET
    {", ".join(f"{name} = excluded.{name}" for name in [*NAMES[1:], "checksum"])}
WHERE excluded.state = 'answered' OR answers.state <> 'answered'
"""

# After a fork the child must neither use nor close the parent's connections: closing would remove the write-ahead log
# the parent is using. They are kept here, so that the garbage collector does not close them.
_LEFT_TO_THE_PARENT: list[object] = []

Done = Callable[[UserError | None], None]


@dataclass(frozen=True, slots=True)
class JournalEntry:
    """One item as the journal keeps it.

    Attributes:
        key: sha256 of the request and the identity of the model; see `providers/keys.py`.
        state: `answered` or `failed`; `damaged` where the row's checksum does not fit.
        identity: which model was asked; see `Identities`.
        model: the name it was asked for under.
        reported_model: what the service said it was.
        body: the answer as it came, before anything was read from it.
        input_tokens: as the service counted.
        output_tokens: as the service counted.
        cost_usd: price at the time; `None` when unknown.
        latency_seconds: of the call that succeeded.
        created: seconds since 1970.
        error: the service's message, without keys.
    """

    key: bytes
    state: Literal["answered", "failed"] | str
    operation: str
    identity: str
    model: str
    failure: str | None = None
    reported_model: str | None = None
    status: int | None = None
    body: bytes | None = None
    input_tokens: int = 0
    output_tokens: int = 0
    cost_usd: float | None = None
    latency_seconds: float | None = None
    created: float = 0.0
    error: str | None = None


@dataclass(frozen=True, slots=True)
class Lease:
    """The outcome of leasing keys.

    Attributes:
        held: keys that another owner has leased.
        found: entries that the journal has by now for other keys.
    """

    owner: Owner
    held: set[bytes]
    found: dict[bytes, JournalEntry]


@dataclass(frozen=True, slots=True)
class JournalSize:
    """What a journal holds.

    Attributes:
        bytes: size on disk, with the write-ahead log.
        cost_usd: what the answers cost, as far as prices were known.
    """

    answers: int
    failures: int
    bytes: int
    cost_usd: float


class Journal:
    """An SQLite file in WAL mode, or the same in memory. Usable from threads and after a fork.

    Examples:
        >>> journal = Journal.in_memory()
        >>> journal.put([JournalEntry(b"k", "answered", "chat", "here", "some-model", body=b"{}")])
        >>> journal.lookup([b"k"])[b"k"].body
        b'{}'
        >>> journal.close()

    Args:
        path: the file, made with mode 0600 as it holds texts; `None` or `":memory:"` keeps all in memory.
    """

    commits_at_once: ClassVar[bool] = False
    """Whether `put` takes no time worth gathering answers for."""

    def __init__(self, path: str | Path | None) -> None:
        in_memory = path is None or str(path).strip() == IN_MEMORY
        self.path = None if in_memory else Path(path or "").expanduser()
        self._pid = os.getpid()
        self._lock = threading.RLock()
        self._open: sqlite3.Connection | None = None
        self._closing: weakref.finalize[[sqlite3.Connection, int], Journal] | None = None
        self._queue: queue.SimpleQueue[tuple[Sequence[JournalEntry], Sequence[tuple[Owner, bytes]], Done] | None] = (
            queue.SimpleQueue()
        )
        self._writer: threading.Thread | None = None
        self._owners: set[Owner] = set()

    @classmethod
    def in_memory(cls) -> Journal:
        """A journal that ends with the process."""
        return cls(None)

    @classmethod
    def from_environment(cls, otherwise: Literal["disk", "memory"] = "disk") -> Journal:
        """The journal `LUTHIER_JOURNAL` names (`:memory:` is allowed), else the user's, or one in memory."""
        given = os.environ.get("LUTHIER_JOURNAL", "").strip()
        if given:
            return cls(given)
        return cls(None if otherwise == "memory" else luthier_home() / "journal.db")

    def lookup(self, keys: Sequence[bytes]) -> dict[bytes, JournalEntry]:
        """The entries of these keys; a damaged row is returned in the state `damaged`, without a body."""
        with self._connection() as connection:
            return {entry.key: entry for entry in _entries(connection, keys)}

    def settled(self, keys: Sequence[bytes], failures: Collection[str] = ()) -> set[bytes]:
        """Those of these keys that cost nothing more: they have an answer, wait in a batch, or failed in these ways.

        Damaged rows do not count.
        """
        with self._connection() as connection:
            return batched_keys(connection, keys).keys() | {
                entry.key
                for entry in _entries(connection, keys)
                if entry.state == "answered" or (entry.state == "failed" and entry.failure in failures)
            }

    def put(self, entries: Iterable[JournalEntry], done_with: Iterable[tuple[Owner, bytes]] = ()) -> None:
        """Commits entries now, and in the same transaction ends leases.

        Args:
            entries: what to keep.
            done_with: leases that end, as owners and keys.
        """
        rows = [_row(entry) for entry in entries]
        with self.transaction() as connection:
            connection.executemany(UPSERT, rows)
            leases.give_back(connection, done_with)

    def submit(
        self, entries: Sequence[JournalEntry], done: Done, done_with: Sequence[tuple[Owner, bytes]] = ()
    ) -> None:
        """Has entries committed by the writer's thread, together with whatever else waits there.

        Args:
            entries: what to keep.
            done: called from that thread after the commit, with the error if it failed.
            done_with: leases that end with that commit, as owners and keys.
        """
        if self._writer is None or self._pid != os.getpid():
            # Otherwise without the lock, which a commit holds: the caller is a loop and must not wait for it.
            with self._lock_of_this_process():
                if self._writer is None:
                    self._writer = threading.Thread(target=self._write, name="luthier-journal", daemon=True)
                    self._writer.start()
        self._queue.put((entries, done_with, done))

    def lease(self, keys: Sequence[bytes], owner: Owner | None) -> Lease:
        """Leases those of these keys that no other owner holds, so that no other process asks them.

        Raises:
            UserError: one of them is in an open batch.
        """
        # One file has one name here, however its path is spelled.
        file = str(self.path.resolve()) if self.path is not None else ""
        with self.transaction() as connection:
            refuse_batched(connection, keys)
            owner, held = leases.take(connection, file, owner, keys)
            found = {entry.key: entry for entry in _entries(connection, [key for key in keys if key not in held])}
        self._owners.add(owner)
        return Lease(owner, held, found)

    def renew(self, owner: Owner) -> None:
        """Extends the owner's leases."""
        with self.transaction() as connection:
            leases.renew(connection, owner)

    def leave(self, owner: Owner) -> None:
        """Ends the owner and its leases."""
        self._owners.discard(owner)
        with self.transaction() as connection:
            leases.leave(connection, owner)

    def snapshot(self, identity: str, model: str) -> str | None:
        """The model name last reported, `None` if there was none."""
        query = "SELECT reported_model FROM snapshots WHERE identity = ? AND model = ? ORDER BY last_seen DESC LIMIT 1"
        with self._connection() as connection:
            row = connection.execute(query, (identity, model)).fetchone()
        return None if row is None else str(row[0])

    def saw_snapshot(self, identity: str, model: str, reported_model: str) -> None:
        """Records the model name reported now."""
        with self._connection() as connection:
            connection.execute(
                "INSERT OR REPLACE INTO snapshots VALUES (?, ?, ?, ?)", (identity, model, reported_model, time.time())
            )

    def latency_seconds(self, model: str) -> float | None:
        """How long a model took for each of its latest answers, on average; `None` where there are none lately."""
        # Newest rows alone: a journal may hold millions, and no index tells them apart by model.
        query = (
            "SELECT avg(latency_seconds) FROM (SELECT model, latency_seconds FROM answers ORDER BY rowid DESC LIMIT ?) "
            "WHERE model = ?"
        )
        with self._connection() as connection:
            return connection.execute(query, (LATEST_ANSWERS, model)).fetchone()[0]  # type: ignore[no-any-return]

    def size(self) -> JournalSize:
        """What the journal holds."""
        if self.path is not None and not self.path.exists():
            return JournalSize(0, 0, 0, 0.0)
        query = "SELECT state = 'answered', count(*), total(cost_usd) FROM answers GROUP BY 1"
        with self._connection() as connection:
            rows = {bool(answered): (int(count), float(cost)) for answered, count, cost in connection.execute(query)}
            pages = connection.execute("PRAGMA page_count").fetchone()[0]
            page = connection.execute("PRAGMA page_size").fetchone()[0]
        size = pages * page
        if self.path is not None:
            log = self.path.with_name(self.path.name + "-wal")
            size = self.path.stat().st_size + (log.stat().st_size if log.exists() else 0)
        answers, cost = rows.get(True, (0, 0.0))
        return JournalSize(answers, rows.get(False, (0, 0.0))[0], size, cost)

    def purge(self, older_than_days: float | None = None) -> int:
        """Deletes answers, all of them or the old ones, and wipes them from the file; returns how many."""
        before = time.time() - older_than_days * 86400 if older_than_days is not None else None
        with self._connection() as connection:
            if before is None:
                count = connection.execute("DELETE FROM answers").rowcount
                connection.execute("DELETE FROM snapshots")
                connection.execute("DELETE FROM batches WHERE state = 'closed'")
                connection.execute("DELETE FROM batch_keys WHERE batch IS NULL")
            else:
                count = connection.execute("DELETE FROM answers WHERE created < ?", (before,)).rowcount
            connection.execute("VACUUM")
            connection.execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchall()
        return count

    def close(self) -> None:
        """Commits what waits, ends the leases and closes the file; the journal opens again when it is used."""
        if self._pid != os.getpid():
            return
        if self._writer is not None:
            self._queue.put(None)
            self._writer.join()
            self._writer = None
        # Where the file cannot be written, which was reported before, the leases end with the process.
        with suppress(UserError):
            for owner in list(self._owners):
                self.leave(owner)
        with self._lock:
            connection, self._open = self._open, None
            if self._closing is not None:
                # Not called: at the end of the process finalizers are out of service before journals are closed.
                self._closing.detach()
            if connection is not None:
                connection.close()

    def _lock_of_this_process(self) -> threading.RLock:
        if self._pid != os.getpid():
            _LEFT_TO_THE_PARENT.append(self._open)
            self._pid = os.getpid()
            self._lock = threading.RLock()
            self._open = self._closing = self._writer = None
            self._owners = set()
            self._queue = queue.SimpleQueue()
        return self._lock

    @contextmanager
    def _connection(self) -> Iterator[sqlite3.Connection]:
        with self._lock_of_this_process():
            try:
                if self._open is None:
                    self._open = _opened(self.path)
                    # A journal that is collected without `close` closes its connection too.
                    self._closing = weakref.finalize(self, _close, self._open, os.getpid())
                    self._closing.atexit = False
                yield self._open
            except sqlite3.Error as error:
                raise explain(error, self.path) from error
            except OSError as error:
                raise UserError(
                    f"the journal {self.path} cannot be used ({error.strerror}). Make its folder writable, "
                    "or name another file in LUTHIER_JOURNAL."
                ) from error

    @contextmanager
    def transaction(self, *, durable: bool = False) -> Iterator[sqlite3.Connection]:
        """One transaction on the journal's file; `durable` outlives a loss of power, not only of the process."""
        with self._connection() as connection:
            if durable:
                connection.execute("PRAGMA synchronous = FULL")
            connection.execute("BEGIN IMMEDIATE")
            try:
                yield connection
                connection.execute("COMMIT")
            except BaseException:
                if connection.in_transaction:
                    connection.execute("ROLLBACK")
                raise
            finally:
                if durable:
                    connection.execute("PRAGMA synchronous = NORMAL")

    def _write(self) -> None:
        while (first := self._queue.get()) is not None:
            batches = [first]
            ended = False
            while not self._queue.empty():
                more = self._queue.get()
                if more is None:
                    ended = True
                    break
                batches.append(more)
            failure: UserError | None = None
            try:
                self.put(
                    (entry for entries, _, _ in batches for entry in entries),
                    [lease for _, done_with, _ in batches for lease in done_with],
                )
            except UserError as error:
                failure = error
            except Exception as error:  # the callers that wait for the commit must hear of any failure
                failure = UserError(f"the journal {self.path or 'in memory'} failed: {error!r}")
            for _, _, done in batches:
                done(failure)
            if ended:
                return


def _opened(path: Path | None) -> sqlite3.Connection:
    if path is None:
        connection = sqlite3.connect(IN_MEMORY, check_same_thread=False, isolation_level=None)
        connection.text_factory = _text
        migrate(connection, "in memory")
        return connection
    path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
    make_database(path)
    connection = sqlite3.connect(path, check_same_thread=False, isolation_level=None, timeout=BUSY_SECONDS)
    connection.text_factory = _text
    try:
        check_ours(connection, str(path))
        _use_wal(connection)
        # A crash of the program loses nothing; a power cut may lose the last moments, never the file.
        connection.execute("PRAGMA synchronous = NORMAL")
        connection.execute("PRAGMA secure_delete = ON")
        migrate(connection, str(path))
    except BaseException:
        connection.close()
        raise
    return connection


def _close(connection: sqlite3.Connection, pid: int) -> None:
    if pid == os.getpid():
        connection.close()
    else:
        _LEFT_TO_THE_PARENT.append(connection)


def _use_wal(connection: sqlite3.Connection) -> None:
    deadline = time.monotonic() + BUSY_SECONDS
    while True:
        try:
            connection.execute("PRAGMA journal_mode = WAL").fetchone()
            return
        except sqlite3.OperationalError as error:
            # The busy timeout does not cover the switch to WAL when two processes make the file at once.
            if "locked" not in str(error) or time.monotonic() > deadline:
                raise
            time.sleep(0.01)


def _text(value: bytes) -> str:
    # A flipped bit may leave text that is not UTF-8; the checksum finds it.
    return value.decode("utf-8", "backslashreplace")


def _row(entry: JournalEntry) -> tuple[object, ...]:
    body, packed = entry.body, 0
    if body is not None and len(body) >= PACK_FROM_BYTES:
        body, packed = zlib.compress(body, 1), 1
    written = {"body": body, "packed": packed, "created": float(entry.created or time.time())}
    for name in ("cost_usd", "latency_seconds"):
        value = getattr(entry, name)
        written[name] = None if value is None else float(value)
    row = tuple(written[name] if name in written else getattr(entry, name) for name in NAMES)
    return *row, _checksum(row)


def _checksum(row: tuple[object, ...]) -> int:
    # Of the whole row: a flipped bit in a price or in a state is as silent as one in a body.
    body = row[BODY]
    begun = zlib.crc32(body) if isinstance(body, bytes) else 0
    return zlib.crc32(repr((*row[:BODY], *row[BODY + 1 :])).encode("utf-8", "backslashreplace"), begun)


def _entries(connection: sqlite3.Connection, keys: Sequence[bytes]) -> Iterator[JournalEntry]:
    for begin in range(0, len(keys), KEYS_A_QUERY):
        some = keys[begin : begin + KEYS_A_QUERY]
        marks = ",".join("?" * len(some))
        for row in connection.execute(f"SELECT {COLUMNS}, checksum FROM answers WHERE key IN ({marks})", some):
            yield _entry(row[:-1], row[-1])


def _entry(row: tuple[object, ...], checksum: object) -> JournalEntry:
    values = dict(zip(NAMES, row, strict=True))
    packed = values.pop("packed")
    body = values["body"]
    # Rows of the first schemas have no checksum.
    damaged = checksum is not None and checksum != _checksum(row)
    if packed and isinstance(body, bytes) and not damaged:
        try:
            values["body"] = zlib.decompress(body)
        except zlib.error:
            damaged = True
    if damaged:
        return JournalEntry(row[0], "damaged", "", "", "")  # type: ignore[arg-type]
    return JournalEntry(**values)  # type: ignore[arg-type]
