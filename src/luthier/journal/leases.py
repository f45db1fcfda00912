"""Leases on keys, kept in the journal, so that two processes with the same rows ask each question once."""

from __future__ import annotations

import os
import sqlite3
import time
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from luthier.processes import linux_state, place_of_processes

__all__ = ["EXPIRE_SECONDS", "Owner", "asked_now", "give_back", "leave", "renew", "take"]

EXPIRE_SECONDS = 60.0
KEYS_A_QUERY = 500

# Owners of this process that are active; any other owner under this process's id was left by one that died.
_at_work: set[tuple[str, int]] = set()


@dataclass(frozen=True, slots=True)
class Owner:
    """An engine that asks, by its number in the journal's file."""

    id: int
    journal: str
    pid: int


def take(
    connection: sqlite3.Connection, journal: str, owner: Owner | None, keys: Sequence[bytes]
) -> tuple[Owner, set[bytes]]:
    """Leases those of these keys that no other owner holds, within the caller's transaction.

    Owners that have died lose theirs first.

    Returns:
        The owner, a new one where none was given, and the keys that another owner holds.
    """
    if owner is None:
        owner = _enter(connection, journal)
    else:
        renew(connection, owner)
    _bury(connection, owner.journal, owner.id)
    connection.executemany("INSERT OR IGNORE INTO leases VALUES (?, ?)", [(key, owner.id) for key in keys])
    held: set[bytes] = set()
    for begin in range(0, len(keys), KEYS_A_QUERY):
        some = keys[begin : begin + KEYS_A_QUERY]
        marks = ",".join("?" * len(some))
        query = f"SELECT key FROM leases WHERE owner <> ? AND key IN ({marks})"
        held.update(row[0] for row in connection.execute(query, [owner.id, *some]))
    return owner, held


def asked_now(connection: sqlite3.Connection, journal: str, keys: Sequence[bytes]) -> set[bytes]:
    """Those of these keys that any living owner has leased, within the caller's transaction."""
    _bury(connection, journal)
    held: set[bytes] = set()
    for begin in range(0, len(keys), KEYS_A_QUERY):
        some = keys[begin : begin + KEYS_A_QUERY]
        query = f"SELECT key FROM leases WHERE key IN ({','.join('?' * len(some))})"
        held.update(row[0] for row in connection.execute(query, some))
    return held


def give_back(connection: sqlite3.Connection, leases: Iterable[tuple[Owner, bytes]]) -> None:
    """Ends leases on keys that are answered or will not be asked."""
    connection.executemany("DELETE FROM leases WHERE key = ? AND owner = ?", [(key, owner.id) for owner, key in leases])


def renew(connection: sqlite3.Connection, owner: Owner) -> None:
    """Extends the owner's leases."""
    _at_work.add((owner.journal, owner.id))
    connection.execute(
        "INSERT OR REPLACE INTO lease_owners VALUES (?, ?, ?, ?, ?)",
        (owner.id, place_of_processes(), owner.pid, _started(owner.pid), time.time() + EXPIRE_SECONDS),
    )


def leave(connection: sqlite3.Connection, owner: Owner) -> None:
    """Ends the owner and its leases."""
    _at_work.discard((owner.journal, owner.id))
    connection.execute("DELETE FROM leases WHERE owner = ?", (owner.id,))
    connection.execute("DELETE FROM lease_owners WHERE id = ?", (owner.id,))


def _enter(connection: sqlite3.Connection, journal: str) -> Owner:
    pid = os.getpid()
    query = "INSERT INTO lease_owners (place, pid, started, expires) VALUES (?, ?, ?, ?)"
    cursor = connection.execute(query, (place_of_processes(), pid, _started(pid), time.time() + EXPIRE_SECONDS))
    assert cursor.lastrowid is not None
    _at_work.add((journal, cursor.lastrowid))
    return Owner(cursor.lastrowid, journal, pid)


def _bury(connection: sqlite3.Connection, journal: str, but: int | None = None) -> None:
    query = "SELECT id, place, CAST(pid AS INTEGER), started, CAST(expires AS REAL) FROM lease_owners"
    for identity, place, pid, started, expires in connection.execute(query).fetchall():
        if identity != but and not _lives(journal, identity, place, pid, started, expires):
            connection.execute("DELETE FROM lease_owners WHERE id = ?", (identity,))
    connection.execute("DELETE FROM leases WHERE owner NOT IN (SELECT id FROM lease_owners)")


def _lives(journal: str, identity: int, place: str, pid: int, started: str, expires: float) -> bool:
    if place != place_of_processes() or not started:
        # A process that cannot be inspected counts as alive for as long as it renews.
        return time.time() < expires
    if pid == os.getpid() and started == _started(pid):
        return (journal, identity) in _at_work
    state, found = linux_state(pid) or ("", "")
    if state in ("T", "t"):
        return found == started and time.time() < expires
    return found == started


def _started(pid: int) -> str:
    _, started = linux_state(pid) or ("", "")
    return started
