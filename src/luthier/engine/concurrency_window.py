"""How many requests may be in flight: more while that brings more answers a second, fewer when the service fails.

The window doubles. After each step a cohort of requests is measured: how many were in flight when they were sent, and
their median latency. The quotient is the throughput (Little's law). Where a doubled window brings hardly more of it,
requests only wait longer at the service: the step is taken back, and smaller windows are tried as long as they bring as
much.
"""

from __future__ import annotations

import sys
from collections.abc import Callable
from dataclasses import dataclass, field
from statistics import fmean, median
from typing import Literal

from luthier.engine.pacing import Ticket

__all__ = ["ConcurrencyWindow"]

Clock = Callable[[], float]

FIRST_CONTACT = 4
START_WINDOW = 32
TOGETHER = 1.5
"""The first two answers came together if the slower took at most so many times as long."""

SATURATED = 0.8
SMALLEST_COHORT = 8
LARGEST_COHORT = 64
LONGEST_COHORT = 4
"""A cohort is given up when so many times its requests were sent and still too few of it are answered."""
ANSWERED = 0.75
LEAST_GAIN = 0.2
"""Share of what a larger window would bring at an unchanged latency; with less the step is taken back."""
LONGER = 1.6
"""Where requests take so many times as long with the whole window as with the smallest, a smaller one is tried."""
COMPARABLE = 1.2
KEPT = 0.96
"""Share of the throughput that a smaller window must bring."""
REST_SECONDS = 60.0
REST_FACTOR = 5.0

CUT = 0.8
OVERLOAD = 2.5
"""Failures close together that count as an overload; one alone does not."""
TOLERATED_FAILURES = 0.1
COOLDOWN_SECONDS = 5.0


@dataclass(slots=True)
class _Cohort:
    """Requests by whose latency a window is measured: `count` of them, those after number `after`."""

    after: int
    count: int
    seconds: list[float] = field(default_factory=list)
    in_flight: list[int] = field(default_factory=list)

    def answered(self, ticket: Ticket, seconds: float) -> None:
        if self.after < ticket.number <= self.after + self.count:
            self.seconds.append(seconds)
            self.in_flight.append(ticket.in_flight)

    @property
    def is_known(self) -> bool:
        return len(self.seconds) >= ANSWERED * self.count

    @property
    def mean_in_flight(self) -> float:
        return fmean(self.in_flight)

    @property
    def per_second(self) -> float:
        return self.mean_in_flight / max(1e-6, self.median_seconds)

    @property
    def median_seconds(self) -> float:
        return median(self.seconds)


class ConcurrencyWindow:
    """Starts with 4, then 32 if the first answers come together, and doubles while throughput rises.

    After the first sign of a limit (`creep`) it grows by one for each window of answers instead.
    """

    def __init__(self, most: int, clock: Clock) -> None:
        self._clock = clock
        self.most = most
        self.size = float(min(most, FIRST_CONTACT))
        self._phase: Literal["starting", "growing", "shrinking", "resting", "creeping"] = "starting"
        self.newest = 0
        self._cohort = _Cohort(0, sys.maxsize)
        self._first: float | None = None
        self._before: _Cohort | None = None
        """Of the smaller window, while the window grows; of the larger one while it shrinks."""
        self._size_before = self.size
        self._doubts = 0
        self._is_full = False
        """Whether the largest window is measured once more, when all of it is in use."""
        self._shortest = float("inf")
        self._tried_at: float | None = None
        """When a larger window was tried again, after a rest."""
        self._rests_until = float("inf")
        self._overload = 0.0
        self._quiet_until = float("-inf")

    def limit(self, most: int) -> None:
        """Changes the upper bound."""
        grown = most > self.most
        self.most = most
        self.size = min(self.size, float(most))
        if grown and self._phase == "resting":
            self._rests_until = self._clock()

    def sent(self, number: int) -> None:
        """A request is sent; they are numbered from 1."""
        self.newest = number

    def succeeded(self, ticket: Ticket) -> str | None:
        """An answer came. Returns what it changed, in words, if anything."""
        self._overload = max(0.0, self._overload - TOLERATED_FAILURES)
        now = self._clock()
        if now < self._quiet_until:
            return None
        if self._phase == "creeping":
            if ticket.in_flight >= SATURATED * int(self.size):
                self.size = min(float(self.most), self.size + 1.0 / self.size)
            return None
        for cohort in (self._cohort, self._before):
            if cohort is not None:
                cohort.answered(ticket, now - ticket.at)
        if self._phase == "starting":
            return self._start(now - ticket.at)
        if self._phase == "resting":
            if now >= self._rests_until and self.size < self.most and ticket.in_flight >= SATURATED * int(self.size):
                self._phase, self._before, self._doubts, self._tried_at = "growing", None, 0, now
                self._measure(min(LARGEST_COHORT, 2 * int(self.size)))
            return None
        if not self._cohort.is_known:
            if self.newest > self._cohort.after + LONGEST_COHORT * self._cohort.count:
                self._measure(self._cohort.count)
            return None
        if max(self._cohort.in_flight) < SATURATED * int(self.size):
            # The window is not what holds the requests back.
            self._measure(self._cohort.count)
            return None
        return self._judge_larger() if self._phase == "growing" else self._judge_smaller()

    def creep(self) -> None:
        """A limit is near: grows by one for each window of answers from now on."""
        self._phase = "creeping"

    def failed(self) -> bool:
        """The service failed or timed out; True if several failures close together cut the window."""
        if self._clock() < self._quiet_until:
            # A request sent before the cut says nothing about the window after it.
            return False
        self._overload += 1.0 - TOLERATED_FAILURES
        if self._overload < OVERLOAD:
            return False
        self._overload = 0.0
        self.creep()
        self._quiet_until = self._clock() + COOLDOWN_SECONDS
        self.size = max(1.0, self.size * CUT)
        return True

    def _start(self, seconds: float) -> str | None:
        if self._first is None:
            self._first = seconds
            return None
        together = max(seconds, self._first) <= TOGETHER * min(seconds, self._first)
        self._phase, self._before, self._shortest = "growing", self._cohort, min(seconds, self._first)
        self._before.count = self.newest
        return self._grow(START_WINDOW if together else 2 * FIRST_CONTACT)

    def _judge_larger(self) -> str | None:
        now, before = self._cohort, self._before
        self._shortest = min(self._shortest, now.median_seconds)
        if self._is_full:
            if now.median_seconds > LONGER * self._shortest and self._tried_at is None:
                self._try_smaller()
            else:
                self._rest()
            return None
        if before is not None:
            in_flight = now.mean_in_flight / before.mean_in_flight
            if in_flight < COMPARABLE:
                self._measure(now.count)
                return None
            gain = (now.per_second / before.per_second - 1) / (in_flight - 1)
            if gain < LEAST_GAIN:
                self._doubts += 1
                if self._doubts < 2:
                    self._measure(now.count)
                    return None
                return self._take_back()
        self._before, self._doubts = now, 0
        if self.size < self.most:
            return self._grow(2 * int(self.size))
        self._is_full = True
        self._measure(LARGEST_COHORT, unmeasured=int(self.size - self._size_before))
        return None

    def _grow(self, size: int) -> str | None:
        self._size_before, self._is_full = self.size, False
        self.size = float(min(self.most, size))
        at_once = int(self.size - self._size_before)
        # Those that go out at once tell after one latency, but they find fewer before them than later ones do.
        unmeasured = 0 if self._tried_at is None else at_once
        self._measure(max(SMALLEST_COHORT, min(LARGEST_COHORT, at_once)), unmeasured)
        return f"{int(self.size)} requests in flight at most: throughput rises with them"

    def _take_back(self) -> str:
        tried, self.size = self.size, max(self._size_before, float(int(self.size) // 2))
        if self._tried_at is not None:
            self._rest()
        else:
            self._try_smaller()
        return (
            f"{int(self.size)} requests in flight at most: with {int(tried)} answers took longer and were hardly "
            "more a second"
        )

    def _judge_smaller(self) -> str | None:
        now, before = self._cohort, self._before
        self._before = before or now
        if before is not None and now.per_second < KEPT * before.per_second:
            self.size = self._size_before
        elif self.size > FIRST_CONTACT:
            self._size_before, self.size = self.size, float(max(FIRST_CONTACT, int(self.size) // 2))
            self._measure(max(LARGEST_COHORT, 2 * int(self.size)))
            return f"{int(self.size)} requests in flight at most, to see whether they bring as much"
        self._rest()
        return f"{int(self.size)} requests in flight at most: the fewest that bring as many answers a second"

    def _try_smaller(self) -> None:
        self._phase, self._before = "shrinking", None
        self._measure(max(LARGEST_COHORT, 2 * int(self.size)))

    def _rest(self) -> None:
        now = self._clock()
        spent = 0.0 if self._tried_at is None else now - self._tried_at
        self._phase, self._rests_until = "resting", now + max(REST_SECONDS, REST_FACTOR * spent)

    def _measure(self, count: int, unmeasured: int = 0) -> None:
        self._cohort = _Cohort(self.newest + unmeasured, count)
