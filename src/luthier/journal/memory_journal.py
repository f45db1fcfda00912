"""A journal that remembers the latest answers only, for a process that lives long and leaves nothing behind."""

from __future__ import annotations

import os
import threading
import time
from collections import OrderedDict
from collections.abc import Collection, Iterable, Sequence
from dataclasses import replace

from luthier.journal.journal import Done, Journal, JournalEntry, JournalSize
from luthier.journal.leases import Owner

__all__ = ["MemoryJournal"]

MOST_ANSWERS = 20_000
MOST_BYTES = 64 * 2**20
"""Bytes of the bodies: vectors are large."""


class MemoryJournal(Journal):
    """Keeps entries as they are, and forgets the oldest when there are more than it may keep.

    Examples:
        >>> journal = MemoryJournal(most_answers=1)
        >>> journal.put([JournalEntry(key, "answered", "chat", "here", "some-model") for key in (b"a", b"b")])
        >>> list(journal.lookup([b"a", b"b"]))
        [b'b']

    Args:
        most_answers: entries that are kept.
        most_bytes: bytes of their bodies that are kept.
    """

    commits_at_once = True

    def __init__(self, *, most_answers: int = MOST_ANSWERS, most_bytes: int = MOST_BYTES) -> None:
        super().__init__(None)
        self.most_answers, self.most_bytes = most_answers, most_bytes
        self._entries: OrderedDict[bytes, JournalEntry] = OrderedDict()
        self._bytes = 0
        self._snapshots: dict[tuple[str, str], str] = {}
        self._guard, self._guarded_pid = threading.Lock(), os.getpid()

    def lookup(self, keys: Sequence[bytes]) -> dict[bytes, JournalEntry]:
        """The entries of these keys that are still remembered."""
        known = self._entries
        return {key: entry for key in keys if (entry := known.get(key)) is not None}

    def settled(self, keys: Sequence[bytes], failures: Collection[str] = ()) -> set[bytes]:
        """Those of these keys that have an answer, or failed in one of these ways."""
        found = self.lookup(keys).values()
        return {entry.key for entry in found if entry.state == "answered" or entry.failure in failures}

    def put(self, entries: Iterable[JournalEntry], done_with: Iterable[tuple[Owner, bytes]] = ()) -> None:
        """Keeps entries as the newest; an answer is only ever replaced by another answer."""
        with self._locked():
            for entry in entries:
                before = self._entries.get(entry.key)
                if before is not None:
                    if before.state == "answered" and entry.state != "answered":
                        continue
                    self._bytes -= len(before.body or b"")
                self._entries[entry.key] = entry if entry.created else replace(entry, created=time.time())
                self._entries.move_to_end(entry.key)
                self._bytes += len(entry.body or b"")
            while len(self._entries) > self.most_answers or (self._bytes > self.most_bytes and len(self._entries) > 1):
                _, oldest = self._entries.popitem(last=False)
                self._bytes -= len(oldest.body or b"")

    def submit(
        self, entries: Sequence[JournalEntry], done: Done, done_with: Sequence[tuple[Owner, bytes]] = ()
    ) -> None:
        """As `put`, and calls `done` at once."""
        self.put(entries)
        done(None)

    def snapshot(self, identity: str, model: str) -> str | None:
        """The model name last reported, `None` if there was none."""
        return self._snapshots.get((identity, model))

    def saw_snapshot(self, identity: str, model: str, reported_model: str) -> None:
        """Records the model name reported now."""
        self._snapshots[identity, model] = reported_model

    def size(self) -> JournalSize:
        """What the journal holds; its bytes are those of the bodies."""
        with self._locked():
            entries = list(self._entries.values())
        answered = [entry for entry in entries if entry.state == "answered"]
        cost = sum(entry.cost_usd or 0.0 for entry in answered)
        return JournalSize(len(answered), len(entries) - len(answered), self._bytes, cost)

    def purge(self, older_than_days: float | None = None) -> int:
        """Forgets entries, all of them or the old ones; returns how many."""
        before = time.time() - (older_than_days or 0.0) * 86400
        with self._locked():
            gone = [key for key, entry in self._entries.items() if older_than_days is None or entry.created < before]
            for key in gone:
                self._bytes -= len(self._entries.pop(key).body or b"")
        return len(gone)

    def close(self) -> None:
        """Nothing: what it remembers stays for the engine's next use."""

    def _locked(self) -> threading.Lock:
        if self._guarded_pid != os.getpid():
            # A fork may have copied the lock while a thread of the parent held it.
            self._guard, self._guarded_pid = threading.Lock(), os.getpid()
        return self._guard
