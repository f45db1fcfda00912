"""What an engine is told about a call: what may be spent, what is asked again, who is told."""

from __future__ import annotations

import logging
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Protocol, TypedDict

from luthier.engine.budget import Budget
from luthier.engine.report import Report
from luthier.providers.exchange import Answer

__all__ = ["FINAL", "AskOptions", "AskShorthands", "GuardedProgress", "OptionFields", "Progress", "ask_options"]

FINAL: frozenset[str] = frozenset({"permanent", "content"})
"""Failures that are not tried again unless asked for."""

log = logging.getLogger("luthier.engine")


class Progress(Protocol):
    """A display of how far the work is. Called from the engine's thread; must be quick and never raise."""

    def expect(self, requests: int) -> None:
        """So many more requests will be asked."""

    def completed(self, answer: Answer) -> None:
        """One of them has its answer, or none for good."""

    def retried(self, wait_seconds: float) -> None:
        """One of them will be sent again."""

    def working(self, what: str, done: float, total: float | None, said: str) -> None:
        """A technique reports on work of its own, between its requests; see `ProgressEvent`."""


class GuardedProgress:
    """Passes events on to a display, if there is one; one that raises is logged once and told nothing more."""

    def __init__(self, progress: Progress | None) -> None:
        self._progress = progress

    def tell(self, event: Callable[[Progress], None]) -> None:
        """Calls a method of the display."""
        if self._progress is None:
            return
        try:
            event(self._progress)
        except Exception:
            # A display must not cost an answer, whatever is wrong with it.
            log.exception("the progress display failed and is left out from here on")
            self._progress = None


@dataclass(frozen=True, slots=True, kw_only=True)
class AskOptions:
    """What may be spent on requests, what is asked again, and who is told; what an engine reads of `RunOptions`.

    Attributes:
        budget: what may be spent; several calls may share one.
        fresh: ask again what the journal has; the new answers replace the old.
        retry_failed: ask again what failed for good (`permanent`, `content`); what failed for a passing reason
            always is.
        progress: shows how far the work is; silent when absent.
        report: counts the work, beside the engine's own report.
        asked: journal keys that one command has asked under `fresh` or `retry_failed` so far, added to: these do not
            ask them once more in the same command. When absent, every call of the engine is a command of its own.
        collected: journal keys that batches of the command have filled and that no call has used yet: the first use
            counts as fetched now, not as known before.
        journal_only: send nothing: what the journal has no answer to fails for now.
        gives_up_at: when what is in flight ends without an answer if it is no longer waited for, so that it does not
            keep others from being sent, on the loop's clock; never when absent.
    """

    budget: Budget | None = None
    fresh: bool = False
    retry_failed: bool = False
    progress: Progress | None = None
    report: Report | None = None
    asked: set[bytes] | None = None
    collected: set[bytes] | None = None
    journal_only: bool = False
    gives_up_at: float | None = None

    def accepts_journaled(self, key: bytes) -> bool:
        """Whether an answer of the journal will do for this key."""
        return not self.fresh or (self.asked is not None and key in self.asked)

    def retries_failed(self, key: bytes) -> bool:
        """Whether this key is asked again if the journal says that it failed for good."""
        return self.retry_failed and not (self.asked is not None and key in self.asked)

    def note(self, key: bytes, answer: Answer) -> None:
        """Remembers a key whose request is settled, where it matters: a table has as many keys as rows."""
        if not self.fresh and not self.retry_failed:
            return
        # A fresh answer that failed for good does not replace the one the journal has, which is not to be taken.
        if self.asked is not None and (answer.failure is None or (answer.failure in FINAL and not self.fresh)):
            self.asked.add(key)


class OptionFields(TypedDict, total=False):
    """The fields of `AskOptions` as keywords, without the budget, which the verbs take in US dollars."""

    fresh: bool
    retry_failed: bool
    progress: Progress | None
    report: Report | None
    asked: set[bytes] | None


class AskShorthands(OptionFields, total=False):
    """The fields of `AskOptions` as keywords."""

    budget: Budget | None


def ask_options(options: AskOptions | None, shorthands: AskShorthands) -> AskOptions:
    """The options with what was given as keywords in place of theirs, and a set for what is asked."""
    given = replace(options or AskOptions(), **shorthands)
    return given if given.asked is not None else replace(given, asked=set())
