"""What the engine has under way: runs (what a caller waits for) and flights (what is sent once)."""

from __future__ import annotations

import asyncio
import logging
from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Literal, Protocol, TypedDict

from luthier.engine.budget import Budget
from luthier.engine.report import Report
from luthier.providers.endpoint import Endpoint
from luthier.providers.exchange import Answer, Request
from luthier.replies.common_cause import CommonCause

if TYPE_CHECKING:
    from luthier.engine.batching import SplitCall
    from luthier.engine.endpoint_queue import EndpointQueue
    from luthier.engine.pacing import Ticket

__all__ = [
    "FINAL",
    "AskOptions",
    "AskShorthands",
    "Call",
    "PendingRequest",
    "Permit",
    "Progress",
    "ProgressGuard",
    "StopReason",
    "ask_options",
]

StopReason = Literal["stopped", "interrupted", "budget", "error", "outage", "left"]
"""Why a run sends nothing more."""

ROOM = 256

FINAL: frozenset[str] = frozenset({"permanent", "content"})
"""Failures that are not tried again unless asked for."""

log = logging.getLogger("luthier.engine")


class Progress(Protocol):
    """Something that shows how far a run is. Called from the engine's thread; must be quick and never raise."""

    def expect(self, requests: int) -> None:
        """So many more requests will be asked."""

    def completed(self, answer: Answer) -> None:
        """One of them has its answer, or none for good."""

    def retried(self, wait_seconds: float) -> None:
        """One of them will be sent again."""

    def working(self, what: str, done: float, total: float | None, said: str) -> None:
        """A technique has come so far with work of its own, between its requests."""


class ProgressGuard:
    """The progress display, guarded so that a broken one costs nothing.

    Args:
        progress: shows it; `None` for no display.
    """

    def __init__(self, progress: Progress | None) -> None:
        self._progress = progress

    def show(self, tell: Callable[[Progress], None]) -> None:
        """Tells the progress display; one that fails is not told again."""
        if self._progress is None:
            return
        try:
            tell(self._progress)
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
        asked: journal keys that one command has asked so far, added to: `fresh` and `retry_failed` do not ask them
            once more in the same command. When absent, every call of the engine is a command of its own.
    """

    budget: Budget | None = None
    fresh: bool = False
    retry_failed: bool = False
    progress: Progress | None = None
    report: Report | None = None
    asked: set[bytes] | None = None

    def note(self, key: bytes, answer: Answer) -> None:
        """Remembers a key whose request is settled."""
        # A fresh answer that failed for good does not replace the one the journal has, which is not to be taken.
        if self.asked is not None and (answer.failure is None or (answer.failure in FINAL and not self.fresh)):
            self.asked.add(key)


class AskShorthands(TypedDict, total=False):
    """The fields of `AskOptions` as keywords."""

    budget: Budget | None
    fresh: bool
    retry_failed: bool
    progress: Progress | None
    report: Report | None
    asked: set[bytes] | None


def ask_options(options: AskOptions | None, shorthands: AskShorthands) -> AskOptions:
    """The options with what was given as keywords in place of theirs, and a set for what is asked."""
    given = replace(options or AskOptions(), **shorthands)
    return given if given.asked is not None else replace(given, asked=set())


@dataclass(eq=False, slots=True)
class Permit:
    """One call's place in the window of a lane.

    Attributes:
        lane: whose window it is.
        ticket: the limiter's.
        aboard: flights of the call that have not come to an end, or back to the queue.
        call: its number among the calls of its run, from 1.
    """

    lane: EndpointQueue
    ticket: Ticket
    aboard: int
    call: int = 0

    def leave(self, count: int = 1) -> None:
        """So many have; the last gives the slot back."""
        self.aboard -= count
        if not self.aboard:
            self.lane.landed()


@dataclass(eq=False, slots=True)
class PendingRequest:
    """One distinct request on its way to one answer, for all that wait for it.

    A text to embed may have companions: other texts that are sent in the same call. The lane and the sender
    then see one flight, the desk lands each.

    Attributes:
        key: its key in the journal.
        request: what is asked.
        identity: under what the answer is kept.
        run: who pays, and whose endpoint is asked; another waiting run takes over when this one stops.
        waiters: where the answer goes: runs and positions in them.
        journaled: whether the answer is kept.
        units: length of the question, for the token estimate.
        tokens: reserved at the limiter.
        reserved_usd: reserved at the budget, `None` when nothing is.
        attempts: times it was sent.
        pushed_back: times of those that say nothing of this request: the service said slow down, or refused a
            call for another text in it.
        told_to_wait_at: when the service first said slow down to it.
        airborne: whether it is being sent, answered or committed now.
        slot: what it holds while airborne.
        companions: who flies along; none while it waits in its run's queue.
        halves: set when its call is half of one that was refused.
        waits_since: when it began to wait for another process, in seconds since 1970.
    """

    key: bytes
    request: Request
    identity: str
    run: Call
    waiters: list[tuple[Call, int]]
    journaled: bool = True
    units: float = 0.0
    tokens: float = 0.0
    reserved_usd: float | None = None
    attempts: int = 0
    pushed_back: int = 0
    told_to_wait_at: float | None = None
    airborne: bool = False
    slot: Permit = field(init=False)
    companions: tuple[PendingRequest, ...] = ()
    halves: SplitCall | None = None
    waits_since: float = 0.0

    @property
    def members(self) -> tuple[PendingRequest, ...]:
        """All that are sent in one call."""
        return (self, *self.companions)

    @property
    def load(self) -> float:
        """Tokens of the whole call."""
        return self.tokens if not self.companions else sum(member.tokens for member in self.members)

    @property
    def is_queued(self) -> bool:
        """Whether it is next in its run's queue."""
        return bool(self.run.waiting) and self.run.waiting[0] is self


@dataclass(eq=False)
class Call(ProgressGuard):
    """One call of the engine: so many requests, one list of answers.

    Attributes:
        endpoint: whom it asks.
        lane: where its flights queue.
        answers: in the order of the requests.
        done: set when every request has come to an end.
        terms: on what terms it asks.
        reports: where it is counted.
        waiting: flights of this run that have not been sent yet.
        reported_model: what the endpoint says it is, where that was asked before.
        damaged: answers of the journal that are asked again because they are damaged.
        evidence: what its failures say of all its requests.
        taken_in: whether every request was looked up in the journal.
        halt: why it sends nothing more.
        error: what is raised when all has drained.
    """

    endpoint: Endpoint
    lane: EndpointQueue
    answers: list[Answer | None]
    done: asyncio.Future[None]
    terms: AskOptions
    reports: Sequence[Report]
    waiting: deque[PendingRequest] = field(default_factory=deque)
    room: asyncio.Event = field(default_factory=asyncio.Event)
    reported_model: str | None = None
    damaged: int = 0
    evidence: CommonCause = field(default_factory=CommonCause)
    taken_in: bool = False
    halt: StopReason | None = None
    error: BaseException | None = None

    def __post_init__(self) -> None:
        super().__init__(self.terms.progress)
        self._left = len(self.answers)
        self.room.set()
        if not self._left:
            self.done.set_result(None)

    @property
    def budget(self) -> Budget | None:
        """What may be spent."""
        return self.terms.budget

    @property
    def is_over(self) -> bool:
        """Whether every request has come to an end."""
        return self._left == 0

    @property
    def answered(self) -> int:
        """Requests that have an answer, or none for good."""
        return sum(answer is not None and answer.failure != "stopped" for answer in self.answers)

    def deliver(self, position: int, answer: Answer) -> None:
        """Puts an answer in its place; a second one for the same place is dropped."""
        if self.answers[position] is not None:
            return
        self.answers[position] = answer
        self._left -= 1
        for report in self.reports:
            report.completed(answer)
        self.show(lambda progress: progress.completed(answer))
        if self._left == 0 and not self.done.done():
            self.done.set_result(None)

    def queue(self, flight: PendingRequest) -> None:
        """Adds a flight to those not sent yet."""
        self.waiting.append(flight)
        if len(self.waiting) >= 2 * ROOM:
            self.room.clear()

    def next(self) -> PendingRequest:
        """Takes the next flight that was not sent yet."""
        flight = self.waiting.popleft()
        if len(self.waiting) < ROOM:
            self.room.set()
        return flight
