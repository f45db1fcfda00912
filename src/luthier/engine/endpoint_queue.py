"""What is to be sent to one model: whose turn it is, when, by which lane, and how many go in one HTTP call."""

from __future__ import annotations

import asyncio
import heapq
import itertools
import logging
import math
from collections import deque
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from itertools import islice
from typing import Any, Literal

from luthier.engine.ask_options import AskOptions, GuardedProgress
from luthier.engine.lanes import Lane, Permit
from luthier.engine.report import Report, damage
from luthier.errors import Interrupted
from luthier.providers.endpoint import Endpoint
from luthier.providers.exchange import Answer, Request
from luthier.replies.common_cause import CommonCause
from luthier.replies.failures import Verdict

__all__ = ["LOOKAHEAD", "Call", "EndpointQueue", "PendingRequest", "SplitCall", "StopReason", "settings_of"]

log = logging.getLogger("luthier.engine")

StopReason = Literal["stopped", "interrupted", "budget", "error", "outage", "left"]
"""Why a call sends nothing more."""

LOOKAHEAD = 256
"""Requests of a call that are queued before more of them are looked up in the journal; twice as many at most."""

FEWEST_TEXTS = 32
"""While requests are not what is scarce, an HTTP call is made no smaller than this to use a free permit."""

MOST_TOKENS = 100_000.0
"""OpenAI refuses HTTP calls of more than 300,000; the estimate before the first answer may be off by half."""


MADE_UP_FOR = 16.0
"""Requests that an endpoint of weight 1 is sent before its turn, after a time in which it had no room."""


@dataclass(slots=True)
class SplitCall:
    """An HTTP call refused for a reason not understood, and sent again in halves: if both go well, it was too large.

    Attributes:
        texts: in the larger half.
        left: halves that have not gone well yet.
    """

    texts: int
    left: int = 2


@dataclass(eq=False, slots=True)
class PendingRequest:
    """One distinct request on its way to one answer, for every call that waits for it.

    Texts to embed are sent in batches: the first of them carries the others as `companions` while they share an HTTP
    call.

    Attributes:
        identity: the name of the model its answer is kept under.
        call: the call that pays for it and whose endpoint is asked; another waiting call takes over when it stops.
        waiters: calls that wait for the answer, with its position in each.
        state: `queued`; `elsewhere` while another process asks the same; `in_flight` while it is being sent, and while
            its answer awaits its commit but holds the permit; `answered` when only the commit is awaited; `settled`.
        units: length of the question, for the token estimate.
        tokens: reserved at the limiter.
        reserved_usd: reserved at the budget, `None` when nothing is.
        uncounted_attempts: those that say nothing about this request: the service said slow down, or refused an HTTP
            call because of another text in it.
        told_to_wait_at: when the service first told it to slow down, on the engine's clock; infinity if it never did.
        split: set while its HTTP call is half of one that was refused.
        elsewhere_since: when it began to wait for another process, in seconds since 1970.
        tried: the lanes that did not answer it since it last waited, and what they said; other lanes come first.
    """

    key: bytes
    request: Request
    identity: str
    call: Call
    waiters: list[tuple[Call, int]]
    journaled: bool = True
    state: Literal["queued", "elsewhere", "in_flight", "answered", "settled"] = "queued"
    units: float = 0.0
    tokens: float = 0.0
    reserved_usd: float | None = None
    attempts: int = 0
    uncounted_attempts: int = 0
    told_to_wait_at: float = math.inf
    permit: Permit = field(init=False)
    companions: tuple[PendingRequest, ...] = ()
    split: SplitCall | None = None
    elsewhere_since: float = 0.0
    tried: dict[Lane, Verdict] = field(default_factory=dict)

    @property
    def members(self) -> tuple[PendingRequest, ...]:
        """All requests of its HTTP call."""
        return (self, *self.companions)

    @property
    def batch_tokens(self) -> float:
        """Tokens reserved for its HTTP call."""
        return self.tokens if not self.companions else sum(member.tokens for member in self.members)

    @property
    def is_unsent(self) -> bool:
        """Whether it is the next one of its call that was never sent."""
        return bool(self.call.unsent) and self.call.unsent[0] is self

    def refund(self, true_usd: float = 0.0) -> None:
        """Gives back what was reserved at the budget, and books what the HTTP call really cost."""
        reserved, self.reserved_usd = self.reserved_usd, None
        if self.call.options.budget is not None and reserved is not None:
            self.call.options.budget.settle(reserved, true_usd)

    def deliver(self, answer: Answer) -> None:
        """Hands the answer to every call that waits for it; the first has paid, the others have it from the journal."""
        for place, (call, position) in enumerate(self.waiters):
            call.options.note(self.key, answer)
            own = place == 0 or answer.from_journal
            call.deliver(position, answer if own else replace(answer, from_journal=answer.failure is None))

    def disband(self) -> tuple[PendingRequest, ...]:
        """The requests of its HTTP call, each on its own again."""
        members = self.members
        self.companions, self.split = (), None
        return members


@dataclass(eq=False)
class Call:
    """One call of the engine to one endpoint: a list of requests that becomes a list of answers.

    Attributes:
        done: set when every request is settled.
        reported_model: what the endpoint says it is, where it had to be asked.
        is_probe: whether it only asks that; its answer is counted as paid, not as a request.
        unsent: its requests that have never been sent.
        lookahead: set while there is room in `unsent`.
        damaged: answers of the journal that are asked again because they are damaged.
        is_enqueued: whether all requests have been looked up in the journal.
        error: raised when nothing is in flight any more.
    """

    endpoint: Endpoint
    queue: EndpointQueue
    answers: list[Answer | None]
    done: asyncio.Future[None]
    options: AskOptions
    reports: Sequence[Report]
    reported_model: str | None = None
    is_probe: bool = False
    unsent: deque[PendingRequest] = field(default_factory=deque)
    lookahead: asyncio.Event = field(default_factory=asyncio.Event)
    damaged: int = 0
    cause: CommonCause = field(default_factory=CommonCause)
    is_enqueued: bool = False
    stop_reason: StopReason | None = None
    error: BaseException | None = None

    def __post_init__(self) -> None:
        self.progress = GuardedProgress(self.options.progress)
        self._left = len(self.answers)
        self.lookahead.set()

    @property
    def is_over(self) -> bool:
        """Whether every request is settled."""
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
        for report in () if self.is_probe else self.reports:
            report.completed(answer)
        self.progress.tell(lambda progress: progress.completed(answer))
        if self._left == 0 and not self.done.done():
            self.done.set_result(None)

    def retried(self, wait_seconds: float) -> None:
        """Shows that one of its requests will be sent again."""
        self.progress.tell(lambda progress: progress.retried(wait_seconds))

    def answered_by(self, permit: Permit, requests: int) -> None:
        """Counts which of several endpoints answered."""
        if permit.name:
            for report in self.reports:
                report.answered_by[permit.name] += requests

    def left_out(self, lane: Lane, verdict: Verdict) -> None:
        """Tells a person that one of several endpoints gets nothing for a while."""
        if lane not in self.queue.lanes:
            return
        name = self.queue.names[self.queue.lanes.index(lane)]
        log.warning("%s is left out for a while: %s", name, verdict.message)
        # Without the words, which differ each time: one note is enough.
        why = "no connection" if verdict.status is None else f"status {verdict.status}"
        for report in self.reports:
            report.note(f"{name} failed ({why}) and was left out for a while; the others of the model went on.")

    def note(self, text: str) -> None:
        """Tells a person something, in the log and in the reports."""
        log.warning(text)
        for report in self.reports:
            report.note(text)

    def result(self) -> list[Answer]:
        """The answers, in the order of the requests.

        Raises:
            EndpointError: no request could work; likewise any other error that stopped it.
            BudgetReached: the budget is spent.
            Interrupted: a signal came before every request had an answer.
        """
        budget, answered, total = self.options.budget, self.answered, len(self.answers)
        if self.damaged:
            log.warning("%s", damage(self.damaged))
        for report in self.reports:
            report.damaged += self.damaged
            for name, lane in zip(self.queue.names, self.queue.lanes, strict=True):
                report.history[name or self.endpoint.label] = list(lane.limiter.history)
        if self.error is not None:
            if self.stop_reason != "outage" or not self.queue.known:
                raise self.error
            self.note(f"{self.error} The rows that the journal holds go on without it.")
        if self.stop_reason == "budget" and budget is not None:
            raise budget.reached(answered, total)
        if self.stop_reason == "interrupted" and answered < total:
            raise Interrupted(
                f"stopped by a signal: {answered} of {total} requests of this step are answered and kept in the "
                "journal. Run the same again to go on from there."
            )
        return [answer for answer in self.answers if answer is not None]


class EndpointQueue:
    """Calls take turns, so that a long one does not hold up a short one; requests that are due again go first.

    Where several lanes have room, they get requests in proportion to their weights; one that is full, paced or left
    out holds up no other.

    Args:
        lanes: to the endpoints of the model, in their order.
        admit: whether a request and its companions may be sent to an endpoint as far as money is concerned; may stop
            its call.
        launch: sends it.
    """

    def __init__(
        self,
        lanes: Sequence[Lane],
        loop: asyncio.AbstractEventLoop,
        clock: Callable[[], float],
        admit: Callable[[PendingRequest, Endpoint], bool],
        launch: Callable[[PendingRequest, Permit], None],
    ) -> None:
        self.lanes = tuple(lanes)
        self.names: Sequence[str] = ("",) * len(lanes)
        """What tells the endpoints apart; empty where there is one."""
        self.known = False
        """Whether the journal had an answer for anything that was asked here."""
        self._loop, self._clock, self._admit, self._launch = loop, clock, admit, launch
        self._turns: deque[Call] = deque()
        self._due: deque[PendingRequest] = deque()
        self._later: list[tuple[float, int, PendingRequest]] = []
        self._order = itertools.count()
        self._timer: asyncio.TimerHandle | None = None
        self._pumping = False
        # Start-time fair queuing: a lane is next when its share of what was sent, by its weight, is the smallest.
        self._sent_shares = [0.0] * len(lanes)
        self._share_now = 0.0
        for lane in lanes:
            lane.serve(self)

    @property
    def is_pool(self) -> bool:
        """Whether several endpoints share the work."""
        return len(self.lanes) > 1

    def configure(self, endpoint: Endpoint) -> None:
        """Takes over the limits of the endpoints, and whatever tells them apart."""
        for lane, one in zip(self.lanes, endpoint.pool, strict=True):
            lane.limiter.configure(one.limits)
        if self.is_pool:
            self.names = endpoint.pool_names
            if all(lane.fault is not None for lane in self.lanes):
                for lane in self.lanes:
                    lane.try_again()

    def add(self, pending: PendingRequest) -> None:
        """Queues a request that was never sent."""
        call = pending.call
        pending.state = "queued"
        if not call.unsent:
            self._turns.append(call)
        call.unsent.append(pending)
        if len(call.unsent) >= 2 * LOOKAHEAD:
            call.lookahead.clear()

    def add_again(self, pending: PendingRequest, wait_seconds: float) -> None:
        """Queues a request, with its companions, that is to be sent again."""
        for member in pending.members:
            member.state = "queued"
        heapq.heappush(self._later, (self._clock() + wait_seconds, next(self._order), pending))

    def withdraw(self, call: Call) -> list[PendingRequest]:
        """Takes back everything of a call that is not in flight."""
        taken = list(call.unsent)
        for pending in taken:
            pending.companions = ()
        call.unsent.clear()
        call.lookahead.set()
        if call in self._turns:
            self._turns.remove(call)
        again = [*self._due, *(pending for _, _, pending in self._later)]
        taken += [member for pending in again if pending.call is call for member in pending.disband()]
        self._due = deque(pending for pending in self._due if pending.call is not call)
        self._later = [item for item in self._later if item[2].call is not call]
        heapq.heapify(self._later)
        return taken

    def pump(self) -> None:
        """Sends what may be sent now, and sets the timer for what may be sent later."""
        if self._pumping:
            return
        self._pumping = True
        try:
            now = self._clock()
            while self._later and self._later[0][0] <= now:
                self._due.append(heapq.heappop(self._later)[2])
            waits = [self._later[0][0] - now] if self._later else []
            short_of_money: set[Call] = set()
            held_up: set[PendingRequest] = set()
            while any(lane.permits_left for lane in self.lanes):
                pending = self._next_sendable(short_of_money, held_up)
                if pending is None:
                    break
                place = self._place_for(pending, waits)
                if place is None and pending.tried:
                    # What waits for the endpoint it has not tried does not hold up the others.
                    held_up.add(pending)
                    continue
                if place is None:
                    break
                endpoint = pending.call.endpoint.pool[place]
                if not self._admit(pending, endpoint):
                    # Its call is out of money for now, or for good; the others go on.
                    short_of_money.add(pending.call)
                    continue
                self._take(pending)
                self._launch(pending, self._permit(pending, place, endpoint))
            self._set_timer(min(waits, default=None))
        finally:
            self._pumping = False

    def _place_for(self, pending: PendingRequest, waits: list[float]) -> int | None:
        """The place of the lane that takes the request now; else `None`, and in `waits` how long until one may."""
        for place in self._places(pending, waits):
            lane = self.lanes[place]
            if not lane.permits_left:
                continue
            if pending.request.operation == "embedding" and pending.is_unsent:
                pending.companions = self._companions(pending, lane)
            wait = lane.limiter.wait_seconds(pending.batch_tokens)
            if wait <= 0:
                return place
            waits.append(wait)
        return None

    def _places(self, pending: PendingRequest, waits: list[float]) -> Sequence[int]:
        """The lanes that may be asked, those that have not failed the request before, the next by weight first."""
        if not self.is_pool:
            return (0,)
        closed = [lane.closed_seconds for lane in self.lanes]
        waits += [seconds for seconds in closed if seconds > 0]
        places = [place for place, seconds in enumerate(closed) if seconds <= 0]
        untried = [place for place in places if self.lanes[place] not in pending.tried]
        return sorted(untried or places, key=self._share_of)

    def _share_of(self, place: int) -> float:
        """What a lane was sent, by its weight. One that was full or left out makes up for little of it."""
        return max(self._share_now - MADE_UP_FOR, self._sent_shares[place])

    def _permit(self, pending: PendingRequest, place: int, endpoint: Endpoint) -> Permit:
        lane, count = self.lanes[place], len(pending.members)
        ticket, is_trial = lane.enter(pending.batch_tokens)
        share = self._share_of(place)
        self._share_now = max(self._share_now, share)
        self._sent_shares[place] = share + count / endpoint.weight
        return Permit(lane, endpoint, self.names[place], ticket, is_trial, count)

    def expected_wait_seconds(self) -> float:
        """How long a request of one more call would wait: for the limits, and for a request of each call before it."""

        def wait(lane: Lane) -> float:
            rate = lane.limiter.per_second
            ahead = 0.0 if rate is None else len(self._turns) / rate
            return lane.limiter.wait_seconds(0.0) + ahead

        return min(wait(lane) for lane in [lane for lane in self.lanes if lane.fault is None] or self.lanes)

    def close(self) -> None:
        """Forgets the timer."""
        self._set_timer(None)

    def _next_sendable(self, without: set[Call], held_up: set[PendingRequest]) -> PendingRequest | None:
        for pending in self._due:
            call = pending.call
            if pending in held_up:
                continue
            if call not in without and not call.cause.waits and not (call.unsent and call.cause.wants_others):
                return pending
        for call in self._turns:
            if call not in without and not call.cause.waits:
                return call.unsent[0]
        return None

    def _companions(self, pending: PendingRequest, lane: Lane) -> tuple[PendingRequest, ...]:
        """The texts that can share its HTTP call; they stay in the queue until they are taken."""
        unsent, texts, limiter = pending.call.unsent, lane.most_texts, lane.limiter
        if limiter.requests is None:
            # Where only time is to be saved, the free permits share what waits.
            permits = max(1, sum(one.permits_left for one in self.lanes))
            texts = min(texts, max(FEWEST_TEXTS, -(-len(unsent) // permits)))
        # More tokens than the bucket holds would wait for a full one, and may be refused as too large.
        room = MOST_TOKENS if limiter.tokens is None else min(MOST_TOKENS, limiter.tokens.burst)
        room -= pending.tokens
        settings = settings_of(pending.request)
        found: list[PendingRequest] = []
        for other in islice(unsent, 1, texts):
            room -= other.tokens
            if room < 0 or other.request.operation != "embedding" or settings_of(other.request) != settings:
                break
            found.append(other)
        return tuple(found)

    def _take(self, pending: PendingRequest) -> None:
        if pending in self._due:
            self._due.remove(pending)
            return
        call = pending.call
        self._turns.remove(call)
        for _ in pending.members:
            call.unsent.popleft()
        if len(call.unsent) < LOOKAHEAD:
            call.lookahead.set()
        if call.unsent:
            self._turns.append(call)

    def _set_timer(self, wake_in: float | None) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        if wake_in is not None:
            self._timer = self._loop.call_later(max(0.0005, wake_in), self.pump)


def settings_of(request: Request) -> Mapping[str, Any]:
    """The body of an embedding without its text: texts with equal settings can share an HTTP call."""
    return {name: value for name, value in request.body.items() if name != "input"}
