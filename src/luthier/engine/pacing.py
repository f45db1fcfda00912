"""The rate a service allows, learned from its 429s (push-backs)."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from typing import Literal, NamedTuple

__all__ = ["Pace", "Ticket"]

Clock = Callable[[], float]
Phase = Literal["free", "probing", "searching", "keeping"]

# At the start, while no rate is known, requests are spaced a little, so that a low limit is hit by few of them.
FIRST_REQUESTS = 4
FIRST_SPACING_SECONDS = 0.03
SPACING_FACTOR = 0.9
SHORTEST_SPACING_SECONDS = 0.001

# Push-backs close together count as caused by the rate when there are this many above a tolerated share; one is enough
# where the rate is known. A small share that persists counts too.
CLUSTER = {"free": 4.0, "probing": 0.0, "searching": 1.7, "keeping": 0.0}
TOLERATED_SHARE = 0.12
SLOW_CLUSTER = 10.0
SLOW_TOLERATED_SHARE = 0.055

# Measuring: PROBED accepted requests end the probing, MEASURED make a measurement that counts; after LOST push-backs
# with hardly an accepted request between them the rate counts as unknown again.
FIRST_PROBE_SECONDS = 0.05
LONGEST_PROBE_SECONDS = 30.0
PROBED = 8
MEASURED = 30
LOST = 4

# Keeping: starts a little below the measured rate; each accepted request speeds it up, ever more, and so does the time:
# by requests a second that do not depend on the rate, so that a small one is found to be too small as well.
MARGIN = 0.97
STEP_DOWN = 0.95
SEARCH_GROWTH = 0.03
GROWTH = 0.0001
GROWING_REQUESTS = 125
ADDED_A_SECOND = 0.0015
GROWING_SECONDS = 20.0
MOST_GROWTH = 0.25
LATE_TIMER_SECONDS = 0.02

# Others use the account too if a pace is pushed back that was accepted before. Then a push-back slows the client that
# gets it more, which is most often the fastest, and all grow alike: shares become even.
CROWDED = 1.0
MOST_CROWDING = 3.0
SHARED_MARGIN = 0.9
SHARED_GROWTH_A_SECOND = 0.004
SHARED_GROWING_SECONDS = 25.0

# Push-backs do not depend on the rate after FALLS measurements in a row, each below FALL of the last, all below FALLEN.
FALLS = 4
FALL = 0.98
FALLEN = 0.65
MOST_SPORADIC_SHARE = 0.2
NO_SPORADIC_SHARE = 0.01
FORGETTING = 0.005


class Ticket(NamedTuple):
    """What is known of a request when it is sent; given back with its outcome.

    Attributes:
        number: from 1.
        at: when it was sent, by the limiter's clock.
        weight: 1, or its tokens as a multiple of the usual, where the pace is one of tokens.
        tokens: reserved for it.
        reserved_until: tokens reserved for it and all before it.
        in_flight: requests in flight, itself included.
    """

    number: int
    at: float
    weight: float = 1.0
    tokens: float = 0.0
    reserved_until: float = 0.0
    in_flight: int = 1


class Pace:
    """Requests a second, unknown until push-backs come in clusters; then measured, kept and probed.

    Between two push-backs caused by the rate, the service had nothing left both times, so what it accepted in
    between is what it allows. The phases: `free`, no rate is known; `probing`, one request at a time until some
    are accepted again; `searching`, faster with each accepted request until the service pushes back; `keeping`, just
    below the measured rate, and slowly faster, so that a rate that was raised is found.

    A push-back may also come at any rate, from a flaky gateway. Those are told apart by what a slower pace does: if
    the accepted rate falls with the pace, measurement after measurement, the push-backs do not depend on it. From
    then on only a larger share of them counts.
    """

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self.per_second: float | None = None
        """The rate kept now; `None` while none is known."""
        self.sporadic_share = 0.0
        """Share of requests that are pushed back whatever the rate is."""
        self._phase: Phase = "free"
        self._next = float("-inf")
        self.number = self._cut_number = self._origin_number = 0
        self._cut_at = 0.0
        self._began: float | None = None
        self._origin: float | None = None
        self._sent = self._refused = 0.0
        self._accepted = 0
        self._spacing = FIRST_SPACING_SECONDS
        self._probe_gap = FIRST_PROBE_SECONDS
        self._probes: deque[tuple[float, float]] = deque()
        self._probing = 0.0
        self._refusal_seconds = 0.0
        self._is_limiting = False
        self._score = self._slow_score = 0.0
        self._most_sporadic = 0.0
        self._measured: float | None = None
        self._crowding = 0.0
        """How sure it is that others use the account too."""
        self._falls = 0
        self._before_falls: float | None = None
        self._sent_in_falls = self._refused_in_falls = 0.0

    def skip_the_start(self) -> None:
        """The rate is known from settings or headers: the first requests need no spacing."""
        self._spacing = 0.0

    def wait_seconds(self) -> float:
        """Seconds until the next request may be sent."""
        return max(0.0, self._next - self._clock())

    def sent(self, weight: float = 1.0) -> Ticket:
        """A request is sent that counts as so many."""
        now = self._clock()
        self._began = now if self._began is None else self._began
        self.number += 1
        self._sent += weight
        if self._phase == "probing":
            self._probes.append((now, weight))
            self._probing += weight
            self._next = now + self._gap(now)
        elif self.per_second is not None:
            gap = weight / self.per_second
            self._is_limiting = now - self._next <= max(2 * gap, LATE_TIMER_SECONDS)
            if not self._is_limiting:
                # There was nothing to send: what was accepted says nothing about what the service allows.
                self._origin = None
            # What a late timer lost is made up for, by one request or by those of a moment.
            self._next = max(self._next, now - max(gap, LATE_TIMER_SECONDS)) + gap
        elif self.number >= FIRST_REQUESTS and self._spacing > SHORTEST_SPACING_SECONDS:
            self._next = now + self._spacing
            self._spacing *= SPACING_FACTOR
        return Ticket(self.number, now, weight)

    def accepted(self, ticket: Ticket) -> None:
        """The request was answered."""
        self._count(0)
        if ticket.number <= self._cut_number or self._phase == "free":
            return
        if self._phase == "probing":
            if self._passed - self._probing >= PROBED and self._origin is not None:
                self._phase, self._is_limiting = "searching", True
                self.per_second = self._passed / (self._clock() - self._origin)
        elif self._is_limiting and self.per_second is not None:
            self._accepted += 1
            self.per_second *= 1 + self._growth(self.per_second)

    def refused(self, ticket: Ticket) -> bool:
        """The request was pushed back; returns whether the pace was cut for it."""
        now = self._clock()
        self._refusal_seconds = now - ticket.at
        if self._origin is not None and ticket.number > self._origin_number:
            self._refused += ticket.weight
        if ticket.number <= self._cut_number:
            # What was sent before the cut says nothing about the pace after it.
            return False
        if self._origin is None or (self._phase == "free" and self._score == 0):
            self._begin(now)
        self._count(1)
        if self._phase == "probing" and self._passed < PROBED:
            self._next = now + self._gap(now)
            return False
        enough = CLUSTER["free" if self.sporadic_share else self._phase]
        if self._score < enough and self._slow_score < SLOW_CLUSTER:
            return False
        self._cut(now)
        return True

    def _growth(self, per_second: float) -> float:
        """By how much an accepted request speeds the pace up: more the longer no push-back came."""
        if self._phase == "searching":
            return SEARCH_GROWTH
        seconds = self._clock() - self._cut_at
        if self._crowding >= CROWDED:
            # By time, so that a client with a small share of the account gains as much as one with a large share.
            growth = SHARED_GROWTH_A_SECOND * (1 + (seconds / SHARED_GROWING_SECONDS) ** 3) / per_second
        else:
            growth = min(SEARCH_GROWTH, GROWTH * (1 + (self._accepted / GROWING_REQUESTS) ** 3))
        added_a_second = ADDED_A_SECOND * (seconds / GROWING_SECONDS) ** 3
        return min(MOST_GROWTH, growth + added_a_second / per_second**2)

    @property
    def _passed(self) -> float:
        # What is in flight counts as accepted: a push-back comes much sooner than an answer.
        return self._sent - self._refused

    def _gap(self, now: float) -> float:
        # Nothing was left at the origin, so one more than were accepted since is the most the service allows.
        elapsed = max(self._probe_gap, now - self._origin if self._origin is not None else 0.0)
        while self._probes and self._probes[0][0] <= now - self._refusal_seconds:
            self._probing -= self._probes.popleft()[1]
        return min(LONGEST_PROBE_SECONDS, elapsed / (max(0.0, self._passed - self._probing) + 1))

    def _begin(self, now: float) -> None:
        self._origin, self._origin_number, self._sent, self._refused = now, self.number, 0.0, 0.0

    def _count(self, refused: int) -> None:
        sporadic = self.sporadic_share
        self._score = max(0.0, self._score + refused - TOLERATED_SHARE - sporadic)
        self._slow_score = max(0.0, self._slow_score + refused - SLOW_TOLERATED_SHARE - sporadic)
        if sporadic:
            sporadic += FORGETTING * (refused - sporadic)
            self.sporadic_share = min(sporadic, self._most_sporadic) if sporadic >= NO_SPORADIC_SHARE else 0.0

    def _cut(self, now: float) -> None:
        passed, phase, before, accepted = self._passed, self._phase, self.per_second, self._accepted
        elapsed = now - self._origin if self._origin is not None else 0.0
        self._cut_number, self._cut_at, self._accepted = self.number, now, 0
        self._score = self._slow_score = 0.0
        lost = passed < PROBED and self._refused >= LOST
        if (phase == "free" and passed < MEASURED) or lost:
            self._phase, self._is_limiting = "probing", True
            self.per_second = None
            self._probe_gap = min(FIRST_PROBE_SECONDS, (now - (self._began or 0.0)) / self.number)
            self._next = now + self._probe_gap
            self._begin(now)
            self._probes.clear()
            self._probing = 0.0
            return
        if self._phase == "keeping" and before is not None and self._measured is not None and not self.sporadic_share:
            # Alone on an account, a pace that was accepted goes on being accepted.
            pushed_back_again = before < self._measured and accepted >= MEASURED
            self._crowding = min(MOST_CROWDING, self._crowding + 1.0) if pushed_back_again else self._crowding / 2
        self._phase, self._is_limiting = "keeping", True
        if passed < PROBED or elapsed <= 0:
            # Too few to measure by.
            most = (passed + 1) / elapsed if elapsed > 0 else float("inf")
            self.per_second = min(most, STEP_DOWN * (before or most))
        else:
            rate = passed / elapsed
            if before is not None and rate < 0.8 * before and self._crowding < CROWDED:
                # While the pace was slow the service saved up, and that was lost: it allows more than was measured.
                self.per_second = max((rate * before) ** 0.5, before / 2)
                self._begin(now)
            else:
                self.per_second = (SHARED_MARGIN if self._crowding >= CROWDED else MARGIN) * rate
                if passed >= MEASURED:
                    self._judge(rate, before)
                    self._begin(now)
        self._next = now + 1.0 / self.per_second

    def _judge(self, rate: float, before: float | None) -> None:
        """Whether the accepted rate only falls with the pace."""
        fell = self._measured is not None and rate < FALL * self._measured
        self._measured = rate
        if not fell or self._refused > MOST_SPORADIC_SHARE * self._sent:
            self._falls, self._before_falls, self._sent_in_falls, self._refused_in_falls = 0, before, 0.0, 0.0
            return
        self._falls += 1
        self._sent_in_falls += self._sent
        self._refused_in_falls += self._refused
        if self._falls >= FALLS and rate < FALLEN * (self._before_falls or float("inf")):
            self.sporadic_share = self._most_sporadic = self._refused_in_falls / self._sent_in_falls
            self._phase, self._falls, self._crowding = "searching", 0, 0.0
            self.per_second = max(rate, self._before_falls or 0.0)
