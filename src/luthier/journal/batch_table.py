"""How batches are written to a journal: begun, filled with requests, taken from state to state, ended."""

from __future__ import annotations

import sqlite3
import time
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from luthier.errors import UserError
from luthier.journal import leases
from luthier.journal.journal import Journal
from luthier.journal.stored_batches import BatchState, StoredBatch, batches_where, rows_of_keys

__all__ = ["BatchTable", "Claimed"]


@dataclass(slots=True)
class Claimed:
    """What became of keys that were to go into a batch.

    Attributes:
        taken: keys that belong to the batch now.
        settled: keys that have an answer, or a failure that will do.
        spent: keys that were in as many batches as a request may be.
        elsewhere: keys that an engine is asking at this moment.
        waiting: keys that are in another open batch, with its number.
    """

    taken: set[bytes] = field(default_factory=set)
    settled: set[bytes] = field(default_factory=set)
    spent: set[bytes] = field(default_factory=set)
    elsewhere: set[bytes] = field(default_factory=set)
    waiting: dict[bytes, int] = field(default_factory=dict)


class BatchTable:
    """The batches of one journal. What it commits outlives a loss of power.

    Raises:
        UserError: the journal is in memory, which no batch outlives.
    """

    def __init__(self, journal: Journal) -> None:
        if journal.path is None:
            raise UserError(
                "batches take hours, and this journal is in memory and ends with the process. "
                "Name a file in LUTHIER_JOURNAL, or unset it."
            )
        self._journal = journal

    def begin(self, **facts: Any) -> StoredBatch:
        """A new batch in the state `writing`."""
        values = {"state": "writing", "created": time.time(), **facts}
        names = ", ".join(values)
        with self._journal.transaction(durable=True) as connection:
            query = f"INSERT INTO batches ({names}) VALUES ({', '.join('?' * len(values))})"
            number = connection.execute(query, list(values.values())).lastrowid
            return batches_where(connection, "number = ?", number)[0]

    def claim(
        self,
        batch: StoredBatch,
        keys: Sequence[bytes],
        *,
        most_attempts: int,
        again: Collection[bytes] = (),
        retried: Collection[bytes] = (),
        final: Collection[str] = (),
    ) -> Claimed:
        """Takes those of these keys into a batch that nothing answers or asks yet.

        Args:
            batch: in the state `writing`.
            keys: of requests that the journal lacks.
            most_attempts: batches that a request may be in.
            again: keys that are asked although they have an answer or failed for good.
            retried: keys that are asked although they failed for good.
            final: what counts as failed for good.
        """
        found = Claimed()
        journal = str(self._journal.path.resolve()) if self._journal.path is not None else ""
        with self._journal.transaction() as connection:
            found.elsewhere = leases.asked_now(connection, journal, keys)
            for key, number, attempts in rows_of_keys(connection, "SELECT key, batch, attempts FROM batch_keys", keys):
                if number is not None:
                    found.waiting[key] = number
                elif attempts >= most_attempts:
                    found.spent.add(key)
            anew, retrying = set(again), set(retried)
            query = "SELECT key, state, failure FROM answers"
            for key, state, failure in rows_of_keys(connection, query, [key for key in keys if key not in anew]):
                if state == "answered" or (failure in final and key not in retrying):
                    found.settled.add(key)
            left = [key for key in dict.fromkeys(keys) if not _is_in(key, found)]
            connection.executemany(
                "INSERT INTO batch_keys VALUES (?, ?, 1) "
                "ON CONFLICT (key) DO UPDATE SET batch = excluded.batch, attempts = attempts + 1",
                [(key, batch.number) for key in left],
            )
        found.taken.update(left)
        return found

    def advance(self, batch: StoredBatch, state: BatchState | None = None, **facts: Any) -> StoredBatch:
        """Writes the state that a batch is in now, with what is known of it."""
        values = facts if state is None else {"state": state, **facts}
        with self._journal.transaction(durable=state is not None) as connection:
            return _changed(connection, batch.number, values)

    def open(self) -> list[StoredBatch]:
        """Every batch that is not closed, oldest first."""
        with self._journal.transaction() as connection:
            return batches_where(connection, "state <> 'closed'")

    def find(self, numbers: Iterable[int]) -> list[StoredBatch]:
        """Batches by their numbers, oldest first."""
        with self._journal.transaction() as connection:
            return [batch for number in sorted(numbers) for batch in batches_where(connection, "number = ?", number)]

    def keys(self, batch: StoredBatch) -> set[bytes]:
        """The keys of an open batch."""
        with self._journal.transaction() as connection:
            return {row[0] for row in connection.execute("SELECT key FROM batch_keys WHERE batch = ?", (batch.number,))}

    def release(self, batch: StoredBatch, settled: Iterable[bytes], *, counts: bool, **facts: Any) -> StoredBatch:
        """Ends a batch: its keys may be asked again, and those without an answer remember that they were asked.

        Args:
            batch: in the state `ended`.
            settled: keys that have an answer, or failed for good.
            counts: whether the others count as asked; not where the service never began with them.
            facts: what else is known of it.
        """
        with self._journal.transaction(durable=True) as connection:
            mine = [(batch.number, key) for key in settled]
            connection.executemany("DELETE FROM batch_keys WHERE batch = ? AND key = ?", mine)
            if counts:
                connection.execute("UPDATE batch_keys SET batch = NULL WHERE batch = ?", (batch.number,))
            else:
                _uncount(connection, batch.number)
            return _changed(connection, batch.number, {"state": "harvested", **facts})

    def discard(self, batch: StoredBatch) -> None:
        """Removes a batch that the service never began; its keys are as before."""
        with self._journal.transaction(durable=True) as connection:
            _uncount(connection, batch.number)
            connection.execute("DELETE FROM batches WHERE number = ?", (batch.number,))

    def forget_attempts(self, keys: Iterable[bytes]) -> None:
        """Lets requests that were given up be asked again by the next command."""
        with self._journal.transaction() as connection:
            connection.executemany("DELETE FROM batch_keys WHERE key = ? AND batch IS NULL", [(key,) for key in keys])


def _uncount(connection: sqlite3.Connection, number: int) -> None:
    """Frees the keys of a batch as if they had never been in it."""
    connection.execute("DELETE FROM batch_keys WHERE batch = ? AND attempts <= 1", (number,))
    query = "UPDATE batch_keys SET batch = NULL, attempts = attempts - 1 WHERE batch = ?"
    connection.execute(query, (number,))


def _changed(connection: sqlite3.Connection, number: int, values: Mapping[str, Any]) -> StoredBatch:
    query = f"UPDATE batches SET {', '.join(f'{name} = ?' for name in values)} WHERE number = ?"
    connection.execute(query, [*values.values(), number])
    return batches_where(connection, "number = ?", number)[0]


def _is_in(key: bytes, found: Claimed) -> bool:
    return key in found.settled or key in found.spent or key in found.elsewhere or key in found.waiting
