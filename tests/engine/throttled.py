"""A client with a limiter against services that throttle, in virtual time: events in a heap, no clock on the wall."""

from __future__ import annotations

import heapq
import math
import random
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import NamedTuple

from luthier.engine.limiter import Limiter
from luthier.providers.endpoint import Limits
from luthier.replies.headers import Scarce

__all__ = ["Account", "Outcome", "Row", "Service", "Time", "Told", "ask"]

Told = Callable[[float], float]
"""From the seconds until the service would accept again to the seconds it says to wait."""

TIMER_SECONDS = 0.002


class Time:
    """Seconds that a test sets."""

    def __init__(self) -> None:
        self.now = 0.0

    def __call__(self) -> float:
        return self.now


class Row(NamedTuple):
    """Tokens of one request: what the client reserves, what the service charges when it admits it, and the true use."""

    reserved: float = 0.0
    charged: float = 0.0
    used: float = 0.0


class Passed(NamedTuple):
    """What a service gave of what it allowed."""

    given: float
    allowed: float


@dataclass
class Allowance:
    """What a service allows of requests or of tokens: a bucket that refills continuously.

    Attributes:
        changes: (when, units a second from then on).
        given: units admitted, less those given back.
    """

    per_second: float
    burst: float
    changes: list[tuple[float, float]] = field(default_factory=list)
    given: float = 0.0

    def __post_init__(self) -> None:
        self.level, self._at, self._allowed = self.burst, 0.0, 0.0

    def refill(self, now: float) -> None:
        while self.changes and now >= self.changes[0][0]:
            when, per_second = self.changes.pop(0)
            self._pass(when)
            self.per_second = per_second
        self._pass(now)

    def _pass(self, now: float) -> None:
        if self.per_second != math.inf:
            self.level = min(self.burst, self.level + (now - self._at) * self.per_second)
            self._allowed += (now - self._at) * self.per_second
        self._at = now

    def has(self, amount: float) -> bool:
        return self.per_second == math.inf or self.level >= amount

    def take(self, amount: float) -> None:
        self.given += amount
        if self.per_second != math.inf:
            self.level = min(self.burst, self.level - amount)

    def so_far(self, now: float) -> Passed:
        """What was given and allowed up to now, bursts aside."""
        self.refill(now)
        return Passed(self.given, self._allowed)

    def share_used(self, now: float) -> float:
        """Share of what it allowed up to now, bursts aside, that was used."""
        given, allowed = self.so_far(now)
        return given / allowed


@dataclass
class Service:
    """Buckets that refill continuously, and a share that is refused whatever is sent.

    Attributes:
        per_second: requests that it allows; may change on the way.
        burst: what the bucket of requests holds.
        changes: (when, requests a second from then on).
        tokens_per_second: tokens that it allows.
        burst_tokens: what the bucket of tokens holds.
        token_changes: (when, tokens a second from then on).
        refunds: whether what was charged and not used is given back with the answer.
        says_limits: whether its replies have `x-ratelimit-*` headers, as of the moment it admitted or refused.
        says_which: whether a 429 says whether requests or tokens ran out.
        sporadic: share of requests refused at random.
        slots: requests it works on at once; the others wait in its own queue.
        latency_seconds: until an answer, once it is worked on.
        spread: standard deviation of the logarithm of the latency.
        refusal_seconds: until a 429.
    """

    per_second: float = math.inf
    burst: float = 5.0
    changes: list[tuple[float, float]] = field(default_factory=list)
    tokens_per_second: float = math.inf
    burst_tokens: float = 2000.0
    token_changes: list[tuple[float, float]] = field(default_factory=list)
    refunds: bool = False
    says_limits: bool = False
    says_which: bool = False
    sporadic: float = 0.0
    slots: int | None = None
    latency_seconds: float = 0.1
    spread: float = 0.0
    refusal_seconds: float = 0.002
    seed: int = 7

    def __post_init__(self) -> None:
        self.requests = Allowance(self.per_second, self.burst, self.changes)
        self.tokens = Allowance(self.tokens_per_second, self.burst_tokens, self.token_changes)
        self._random = random.Random(self.seed)
        self._free_at = [0.0] * (self.slots or 0)

    def short_of(self, now: float, row: Row) -> Scarce | None:
        """Admits a request, or says what it has too little of."""
        self.requests.refill(now)
        self.tokens.refill(now)
        if self._random.random() < self.sporadic or not self.requests.has(1):
            return "requests"
        if not self.tokens.has(row.charged):
            return "tokens"
        self.requests.take(1)
        self.tokens.take(row.charged)
        return None

    def answers_at(self, now: float) -> float:
        """When the answer to a request that is admitted now comes."""
        seconds = self.latency_seconds * math.exp(self._random.gauss(0, self.spread))
        if self.slots is None:
            return now + seconds
        done = max(now, heapq.heappop(self._free_at)) + seconds
        heapq.heappush(self._free_at, done)
        return done

    def add_slots(self, count: int) -> None:
        for _ in range(count):
            heapq.heappush(self._free_at, 0.0)

    def give_back(self, row: Row) -> None:
        if self.refunds:
            self.tokens.take(row.used - row.charged)

    def headers(self) -> dict[str, str]:
        said: dict[str, str] = {}
        for what, allowance in (("requests", self.requests), ("tokens", self.tokens)):
            if self.says_limits and allowance.per_second != math.inf:
                said[f"x-ratelimit-limit-{what}"] = f"{60 * allowance.per_second:g}"
                said[f"x-ratelimit-remaining-{what}"] = f"{max(0, math.floor(allowance.level))}"
                reset = (allowance.burst - allowance.level) / allowance.per_second
                said[f"x-ratelimit-reset-{what}"] = f"{reset:.3f}s"
        return said

    def seconds_left(self, row: Row) -> float:
        waits = [
            max(0.0, amount - allowance.level) / allowance.per_second
            for amount, allowance in ((1.0, self.requests), (row.charged, self.tokens))
            if allowance.per_second != math.inf
        ]
        return max(waits, default=0.0)


@dataclass
class Outcome:
    """What came of it.

    Attributes:
        seconds: until the last answer.
        accepted: answers.
        refused: 429s.
        by_second: answers in each second.
        latencies: seconds from a request to its answer.
    """

    seconds: float = 0.0
    accepted: int = 0
    refused: int = 0
    by_second: list[int] = field(default_factory=list)
    latencies: list[float] = field(default_factory=list)

    @property
    def per_second(self) -> float:
        return self.accepted / self.seconds

    @property
    def share_refused(self) -> float:
        return self.refused / (self.accepted + self.refused)


class Account:
    """One client of a service: a queue of rows, a limiter, rows that wait to be sent again."""

    def __init__(
        self,
        rows: int,
        service: Service,
        time: Time,
        told: Told | None,
        concurrency: int = 64,
        size: Callable[[random.Random], Row] = lambda _: Row(),
        seed: int = 0,
    ) -> None:
        self.limiter = Limiter(Limits(concurrency=concurrency), time)
        self.jitter = random.Random(100 * service.seed + seed)
        self.rows = rows
        self.size = size
        self.next: Row | None = None
        self.again: list[Row] = []
        self.in_flight = 0
        self.service, self.time, self.told = service, time, told
        self.outcome = Outcome()
        self.timer_at = math.inf
        self.events: list[tuple[float, int, Account, Callable[[Account], None]]] = []

    def waiting(self) -> Row | None:
        """The row to be sent next."""
        if self.again:
            return self.again[0]
        if self.next is None and self.rows:
            self.next = self.size(self.jitter)
        return self.next

    def take(self) -> None:
        if self.again:
            del self.again[0]
        else:
            self.next = None
            self.rows -= 1


def ask(*accounts: Account, until: float = math.inf) -> None:
    """Runs accounts, which may share a service, until all their rows are answered."""
    time = accounts[0].time
    count = len(accounts[0].events)
    events = accounts[0].events

    def at(when: float, account: Account, what: Callable[[Account], None]) -> None:
        nonlocal count
        count += 1
        heapq.heappush(events, (when, count, account, what))

    def pump(account: Account) -> None:
        limiter = account.limiter
        while limiter.permits_left(account.in_flight) and (row := account.waiting()) is not None:
            wait = limiter.wait_seconds(row.reserved)
            if wait > 0:
                when = time.now + wait + account.jitter.uniform(0, TIMER_SECONDS)
                if not time.now < account.timer_at <= when:
                    account.timer_at = when
                    at(when, account, lambda account: None)
                return
            account.take()
            send(account, row)

    def send(account: Account, row: Row) -> None:
        account.in_flight += 1
        ticket = account.limiter.sent(row.reserved, account.in_flight)
        service = account.service
        scarce = service.short_of(time.now, row)
        headers = service.headers()
        if scarce is None:
            sent_at = time.now

            def answered(account: Account) -> None:
                service.give_back(row)
                account.limiter.obey(headers, ticket)
                account.limiter.accepted(ticket)
                account.limiter.answered(ticket, row.used)
                account.in_flight -= 1
                outcome = account.outcome
                outcome.accepted += 1
                outcome.seconds = time.now
                outcome.latencies.append(time.now - sent_at)
                outcome.by_second += [0] * (int(time.now) + 1 - len(outcome.by_second))
                outcome.by_second[int(time.now)] += 1

            at(service.answers_at(time.now), account, answered)
            return
        left = service.seconds_left(row)
        wait = account.jitter.uniform(0.25, 0.5) if account.told is None else account.told(left)

        def refused(account: Account) -> None:
            account.limiter.obey(headers, ticket)
            account.limiter.refused(ticket, scarce if service.says_which else None)
            account.in_flight -= 1
            account.outcome.refused += 1
            at(time.now + wait + account.jitter.uniform(0, 0.05), account, lambda account: account.again.append(row))

        at(time.now + service.refusal_seconds, account, refused)

    for account in accounts:
        pump(account)
    while events and events[0][0] <= until:
        time.now, _, account, what = heapq.heappop(events)
        what(account)
        pump(account)
