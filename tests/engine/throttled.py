"""A client with a limiter against services that throttle, in virtual time: events in a heap, no clock on the wall."""

from __future__ import annotations

import heapq
import random
from collections.abc import Callable
from dataclasses import dataclass, field

from luthier.engine.limiter import Limiter
from luthier.providers.endpoint import Limits

__all__ = ["Account", "Outcome", "Service", "Time", "Told", "ask"]

Told = Callable[[float], float]
"""From the seconds until the service would accept again to the seconds it says to wait."""

TIMER_SECONDS = 0.002


class Time:
    """Seconds that a test sets."""

    def __init__(self) -> None:
        self.now = 0.0

    def __call__(self) -> float:
        return self.now


@dataclass
class Service:
    """A bucket that refills continuously, and a share that is refused whatever is sent.

    Attributes:
        per_second: what it allows; may be changed on the way.
        burst: what the bucket holds.
        sporadic: share of requests refused at random.
        latency_seconds: until an answer.
        refusal_seconds: until a 429.
        changes: (when, requests a second from then on).
    """

    per_second: float = float("inf")
    burst: float = 5.0
    sporadic: float = 0.0
    latency_seconds: float = 0.1
    refusal_seconds: float = 0.002
    changes: list[tuple[float, float]] = field(default_factory=list)
    seed: int = 7

    def __post_init__(self) -> None:
        self._level, self._at = self.burst, 0.0
        self._random = random.Random(self.seed)

    def admits(self, now: float) -> bool:
        while self.changes and now >= self.changes[0][0]:
            self.per_second = self.changes.pop(0)[1]
        if self._random.random() < self.sporadic:
            return False
        if self.per_second == float("inf"):
            return True
        self._level = min(self.burst, self._level + (now - self._at) * self.per_second)
        self._at = now
        if self._level < 1:
            return False
        self._level -= 1
        return True

    def seconds_left(self) -> float:
        return 0.0 if self.per_second == float("inf") else max(0.0, 1 - self._level) / self.per_second


@dataclass
class Outcome:
    """What came of it.

    Attributes:
        seconds: until the last answer.
        accepted: answers.
        refused: 429s.
        by_second: answers in each second.
    """

    seconds: float = 0.0
    accepted: int = 0
    refused: int = 0
    by_second: list[int] = field(default_factory=list)

    @property
    def per_second(self) -> float:
        return self.accepted / self.seconds

    @property
    def share_refused(self) -> float:
        return self.refused / (self.accepted + self.refused)


class Account:
    """One client of a service: a queue of rows, a limiter, rows that wait to be sent again."""

    def __init__(self, rows: int, service: Service, time: Time, told: Told | None, concurrency: int = 64) -> None:
        self.limiter = Limiter(Limits(concurrency=concurrency), time)
        self.rows, self.again, self.in_flight = rows, 0, 0
        self.service, self.time, self.told = service, time, told
        self.outcome = Outcome()
        self.jitter = random.Random(service.seed)
        self.timer_at = float("inf")


def ask(*accounts: Account) -> None:
    """Runs accounts, which may share a service, until all their rows are answered."""
    time = accounts[0].time
    count = 0
    events: list[tuple[float, int, Account, Callable[[Account], None]]] = []

    def at(when: float, account: Account, what: Callable[[Account], None]) -> None:
        nonlocal count
        count += 1
        heapq.heappush(events, (when, count, account, what))

    def pump(account: Account) -> None:
        limiter = account.limiter
        while (account.again or account.rows) and limiter.permits_left(account.in_flight):
            wait = limiter.wait_seconds(0)
            if wait > 0:
                when = time.now + wait + account.jitter.uniform(0, TIMER_SECONDS)
                if not time.now < account.timer_at <= when:
                    account.timer_at = when
                    at(when, account, lambda account: None)
                return
            if account.again:
                account.again -= 1
            else:
                account.rows -= 1
            send(account)

    def send(account: Account) -> None:
        ticket = account.limiter.sent(0)
        account.in_flight += 1
        service = account.service
        if service.admits(time.now):

            def answered(account: Account) -> None:
                account.limiter.obey({})
                account.limiter.accepted(ticket)
                account.limiter.answered(0, 0, account.in_flight)
                account.in_flight -= 1
                outcome = account.outcome
                outcome.accepted += 1
                outcome.seconds = time.now
                outcome.by_second += [0] * (int(time.now) + 1 - len(outcome.by_second))
                outcome.by_second[int(time.now)] += 1

            at(time.now + service.latency_seconds, account, answered)
            return
        wait = account.jitter.uniform(0.25, 0.5) if account.told is None else account.told(service.seconds_left())

        def refused(account: Account) -> None:
            account.limiter.obey({})
            account.limiter.refused(0, ticket)
            account.in_flight -= 1
            account.outcome.refused += 1
            at(time.now + wait + account.jitter.uniform(0, 0.05), account, due)

        at(time.now + service.refusal_seconds, account, refused)

    def due(account: Account) -> None:
        account.again += 1

    for account in accounts:
        pump(account)
    while events:
        time.now, _, account, what = heapq.heappop(events)
        what(account)
        pump(account)
