"""What the failures of a call have in common: whether each is its row's own, or every request would meet it."""

from __future__ import annotations

import re

from luthier.journal.journal import JournalEntry
from luthier.replies.failures import Cause, Verdict

__all__ = ["CommonCause"]

ENOUGH = 5
"""So many different requests that fail alike before any is answered stop the call."""

ENOUGH_AFTER_ANSWERS = 20
"""So many in a row stop it where others were answered before: a key may be revoked at any time."""

REVOCABLE: frozenset[Cause | None] = frozenset({"access", "quota", "unknown_model"})
"""Causes that may arise after requests were answered."""

SHARED_SETTINGS: frozenset[Cause] = frozenset({"every_row", "max_tokens"})
"""Causes that an answer in the journal disproves; it says nothing about today's key."""


class CommonCause:
    """Collects failures of a call that may concern every row, until an answer shows that they do not.

    Such a failure is kept as its row's own only once the call has an answer. Until then it is not written to the
    journal: when the cause has been removed, its row is asked again.
    """

    def __init__(self) -> None:
        self.sent = 0
        """HTTP calls sent so far."""
        self.in_flight = 0
        """HTTP calls without a reply yet."""
        self.answered = False
        """Whether a request of this call was answered now."""
        self.recorded = False
        """Whether the journal had an answer to a request of this call."""
        self.failed_otherwise = False
        """Whether a request failed for a reason of its own."""
        self._alike: dict[str, dict[bytes, tuple[JournalEntry | None, int]]] = {}
        self._verdict: dict[str, Verdict] = {}

    def is_disproved(self, cause: Cause | None) -> bool:
        """Whether answers show that this cause does not concern all requests."""
        return self.answered or (self.recorded and cause in SHARED_SETTINGS)

    def suspect(self, verdict: Verdict, key: bytes, entry: JournalEntry | None = None) -> bool:
        """Notes a failure that may concern every row; returns whether answers have shown it to be the row's own.

        Args:
            verdict: the failure.
            key: key of the request.
            entry: what the journal keeps if the failure is the row's own; `None` where the request is sent again.
        """
        how = _normal(verdict)
        self._alike.setdefault(how, {})[key] = entry, self.sent
        self._verdict[how] = verdict
        return self.is_disproved(verdict.suspected)

    def answer(self, number: int) -> list[JournalEntry]:
        """Notes an answer to HTTP call `number`; returns failures now known to be their rows' own, not kept yet."""
        owed: list[JournalEntry] = []
        if not self.answered:
            owed = [entry for alike in self._alike.values() for entry, _ in alike.values() if entry is not None]
        self.answered = True
        for how, alike in list(self._alike.items()):
            # An answer to what was sent before a failure came back does not disprove a key revoked since.
            self._alike[how] = {key: (entry, sent) for key, (entry, sent) in alike.items() if sent >= number}
            if not self._alike[how]:
                del self._alike[how]
        return owed

    @property
    def is_doubtful(self) -> bool:
        """Whether there are failures that may concern every row."""
        return bool(self._alike)

    @property
    def wants_others(self) -> bool:
        """Whether a request that was never sent tells more than one that is sent again."""
        return bool(self._alike) and not self.answered

    @property
    def waits(self) -> bool:
        """Whether the next request should wait for those in flight, so that few are sent before the cause is known."""
        if not self._alike or not self.in_flight:
            return False
        how, alike = self._foremost()
        if self.is_disproved(self._verdict[how].suspected):
            return self._verdict[how].suspected in REVOCABLE and len(alike) >= ENOUGH_AFTER_ANSWERS
        return len(alike) + self.in_flight >= ENOUGH

    def conclusion(self, *, is_over: bool) -> tuple[Verdict, list[JournalEntry]] | None:
        """The cause that every request meets, once that is shown, and the failures it explains.

        Args:
            is_over: whether all requests of the call are settled: then two failures are enough, and for a refusal
                of access one.
        """
        if not self._alike or self.in_flight:
            return None
        how, alike = self._foremost()
        verdict = self._verdict[how]
        disproved = self.is_disproved(verdict.suspected)
        if disproved and verdict.suspected not in REVOCABLE:
            return None
        enough = ENOUGH_AFTER_ANSWERS if disproved else ENOUGH
        if is_over and not disproved and not self.failed_otherwise and len(self._alike) == 1:
            enough = 1 if verdict.suspected == "access" else 2
        return (verdict, [entry for entry, _ in alike.values() if entry is not None]) if len(alike) >= enough else None

    def _foremost(self) -> tuple[str, dict[bytes, tuple[JournalEntry | None, int]]]:
        return max(self._alike.items(), key=lambda item: len(item[1]))


def _normal(verdict: Verdict) -> str:
    # Numbers, ids of requests and quoted texts differ from row to row.
    words = re.sub(r"(['\"`]).*?\1", "", verdict.message.lower())
    return f"{verdict.suspected} " + " ".join(word for word in words.split() if not any(map(str.isdigit, word)))
