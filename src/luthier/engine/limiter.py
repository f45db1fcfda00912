"""Rate and concurrency limits: token buckets for known rates, a pace for a learned rate, a window for the concurrency.

A limiter belongs to one account and model. Three layers decide whether a request may be sent: buckets hold what the
settings or the service's headers allow per minute, the pace is the rate learned from 429s, and the window bounds how
many may be in flight. The clock is a constructor argument; nothing here sleeps, waits are returned in seconds.
"""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Literal

from luthier.engine.concurrency_window import ConcurrencyWindow
from luthier.engine.fair_share import FairShare
from luthier.engine.pacing import Pace, Ticket
from luthier.providers.endpoint import Limits
from luthier.replies.headers import Scarce, Window, window

__all__ = ["Bucket", "Limiter", "LimiterEvent"]

Clock = Callable[[], float]
Source = Literal["settings", "headers"]

SMALLEST_BURST_REQUESTS = 2.0
BURST_SECONDS_REQUESTS = 0.1
BURST_SECONDS_TOKENS = 1.0
FORGETTING = 0.02


class Bucket:
    """A token bucket that refills continuously; its level is negative when more was used than reserved.

    Args:
        burst: the most it holds, which may be taken at once after a pause.
        level: what it holds at first; full when absent.

    Attributes:
        share: the part of the rate that is used, less than all of it while others use the account too.
    """

    def __init__(self, per_minute: float, burst: float, clock: Clock, level: float | None = None) -> None:
        self._clock = clock
        self._at = clock()
        self.share = FairShare(clock)
        self.per_minute = per_minute
        self.burst = burst
        self.level = burst if level is None else level

    def wait_seconds(self, amount: float) -> float:
        """Seconds until this amount may be taken. More than the bucket can hold may be taken when it is full."""
        self._refill()
        return max(0.0, (min(amount, self.burst) - self.level) / self.per_second)

    def take(self, amount: float) -> None:
        """Takes an amount, below zero if need be; a negative amount is given back."""
        self._refill()
        self.level = min(self.burst, self.level - amount)

    def change(self, per_minute: float, burst: float) -> None:
        """Changes the rate from now on; the level stays."""
        self._refill()
        self.per_minute, self.burst = per_minute, burst

    @property
    def per_second(self) -> float:
        """What is used of the rate."""
        return self.per_minute * self.share.part / 60.0

    def left(self, said: Window, taken: float, ticket: Ticket) -> str | None:
        """Lowers the level to what the service had left when it saw a request, with so much taken up to that.

        Returns:
            Words for a change worth telling: others use the account too, or no longer.
        """
        self._refill()
        left = said.remaining or 0.0
        self.level = min(self.level, left)
        before = self.share.part
        rate = self.per_minute / 60.0
        most = None if said.reset_seconds is None else left + said.reset_seconds * rate
        self.share.told(rate, ticket, taken, left, most)
        if before == 1.0 > self.share.part:
            return "others use the account too: less is left than was sent from here"
        return "the account is free again" if before < 1.0 == self.share.part else None

    def _refill(self) -> None:
        now = self._clock()
        self.level = min(self.burst, self.level + (now - self._at) * self.per_second)
        self._at = now


@dataclass(frozen=True, slots=True)
class LimiterEvent:
    """A change of a limiter, for the report.

    Attributes:
        seconds: since the limiter was made.
        window: how many requests may be in flight since then.
        requests_per_minute: the rate kept since then; `None` if none is known or learned.
        at: on the engine's clock.
        is_cut: whether the service pushed back or failed, so that less is sent since then.
        tokens_per_minute: likewise, of tokens.
    """

    seconds: float
    what: str
    window: int
    requests_per_minute: float | None
    at: float
    is_cut: bool = False
    tokens_per_minute: float | None = None


class Limiter:
    """Buckets, pace and window of one account and model.

    Args:
        limits: what the endpoint's settings allow; the lower of these and the service's headers counts.
        share: the part of all these limits that may be used, as where several processes share an account.
    """

    def __init__(self, limits: Limits, clock: Clock = time.monotonic, share: float = 1.0) -> None:
        self._clock, self._share = clock, share
        self._began = clock()
        self._earliest = float("-inf")
        self.met = False
        """Whether the service has ever answered."""
        self.window = ConcurrencyWindow(self._shared(limits.concurrency), clock)
        self.pace = Pace(clock)
        self.accepted_at = float("-inf")
        """When a request was last answered by anything but a 429."""
        self._tokens_left: float | None = None
        """What the service has left by its own account, once it was told."""
        self._reserved = self._mean_tokens = 0.0
        self._empty: Bucket | None = None
        """Of which, if any, the service said in its last reply that nothing is left."""
        self._paces_tokens = False
        """Whether the learned pace is one of tokens: the service has said that they are what ran out."""
        self.requests: Bucket | None = None
        self.tokens: Bucket | None = None
        self.history: deque[LimiterEvent] = deque(maxlen=500)
        self._rates: dict[str, dict[Source, float | None]] = {"requests": {}, "tokens": {}}
        self.configure(limits)

    def configure(self, limits: Limits) -> None:
        """Takes over an endpoint's settings; the latest ones count, so that a notebook can correct them."""
        self._set_requests(limits.requests_per_minute, "settings")
        self._set_tokens(limits.tokens_per_minute, "settings")
        self.window.limit(self._shared(limits.concurrency))

    def wait_seconds(self, tokens: float) -> float:
        """Seconds until the rates allow a request of so many tokens."""
        wait = max(self._earliest - self._clock(), self.pace.wait_seconds())
        if self.requests is not None:
            wait = max(wait, self.requests.wait_seconds(1.0))
        if self.tokens is not None:
            wait = max(wait, self.tokens.wait_seconds(tokens))
        return max(0.0, wait)

    @property
    def per_second(self) -> float | None:
        """Requests a second that are allowed, by the settings, the headers or the learned pace; `None` if unknown."""
        known = [] if self.requests is None else [self.requests.per_second]
        if self.pace.per_second is not None:
            known.append(self.pace.per_second)
        return min(known, default=None)

    def permits_left(self, in_flight: int) -> int:
        """How many more requests may be in flight."""
        return max(0, int(self.window.size) - in_flight)

    def sent(self, tokens: float, in_flight: int) -> Ticket:
        """A request is sent with so many tokens reserved for it, as the latest of so many in flight.

        The ticket is passed back with the outcome.
        """
        if self.requests is not None:
            self.requests.take(1.0)
        if self.tokens is not None:
            self.tokens.take(tokens)
        self._reserved += tokens
        self._mean_tokens += (tokens - self._mean_tokens) * max(FORGETTING, 1.0 / (self.pace.number + 1))
        weight = tokens / self._mean_tokens if self._paces_tokens and self._mean_tokens else 1.0
        ticket = self.pace.sent(weight)._replace(tokens=tokens, reserved_until=self._reserved, in_flight=in_flight)
        self.window.sent(ticket.number)
        return ticket

    def answered(self, ticket: Ticket, used: float | None) -> None:
        """An answer came; the reservation is corrected to the tokens that were used, if that is known."""
        if self.tokens is not None and used is not None:
            more = used - ticket.tokens
            if more < 0 and self._tokens_left is not None:
                # Some services charge an estimate and give nothing back. Where what is left is told, unused tokens
                # go to other requests only as far as more than a little is left.
                more = min(0.0, max(more, self.tokens.level + self.tokens.share.little - self._tokens_left))
            self.tokens.take(more)
        if (what := self.window.succeeded(ticket)) is not None:
            self._note(what)

    def accepted(self, ticket: Ticket) -> None:
        """The service answered with anything but a 429."""
        self.accepted_at = self._clock()
        self.pace.accepted(ticket)

    def refused(self, ticket: Ticket, scarce: Scarce | None = None) -> None:
        """The service answered 429, from which the pace learns. Other requests need not wait as long as this one."""
        if scarce is not None:
            self._paces_tokens = scarce == "tokens"
        if self.tokens is not None:
            self.tokens.take(-ticket.tokens)
        if self._empty is not None:
            # No more was sent than the service says it allows: others use the account too.
            self.window.creep()
        elif self.pace.refused(ticket):
            self.window.creep()
            self._note("429: slower, at the rate that was accepted", is_cut=True)

    def hold(self, seconds: float) -> None:
        """Sends nothing for so many seconds."""
        self._earliest = max(self._earliest, self._clock() + seconds)

    def failed(self) -> None:
        """A 5xx, a timeout or a broken connection."""
        if self.window.failed():
            self._note("several failures close together: fewer in flight", is_cut=True)

    def obey(self, headers: Mapping[str, str], ticket: Ticket) -> None:
        """Takes over what the headers of the reply to a request say about the limits."""
        self.met, self._empty = True, None
        said = window(headers, "requests")
        if said is not None:
            self._set_requests(said.per_minute, "headers")
            if said.remaining is not None and self.requests is not None:
                self._told_left(self.requests, said, 1.0, float(ticket.number), ticket)
            elif said.remaining is not None and said.remaining < 1 and said.limit and said.reset_seconds:
                # A daily limit is not spread over the day: it is used up, then waited for.
                self.hold(said.reset_seconds / said.limit)
        said = window(headers, "tokens")
        if said is not None:
            self._set_tokens(said.per_minute, "headers")
            if said.remaining is not None and self.tokens is not None:
                self._told_left(self.tokens, said, ticket.tokens, ticket.reserved_until, ticket)
                # As of when the service saw the request; others were sent since, and some flowed back.
                back = (self._clock() - ticket.at) * self.tokens.per_minute / 60.0
                self._tokens_left = said.remaining + back - (self._reserved - ticket.reserved_until)

    def _told_left(self, bucket: Bucket, said: Window, needed: float, taken: float, ticket: Ticket) -> None:
        if said.remaining is not None and said.remaining < needed:
            self._empty = bucket
        if (what := bucket.left(said, taken, ticket)) is not None:
            self._note(what)

    def _set_requests(self, per_minute: float | None, source: Source) -> None:
        rate = self._lowest("requests", per_minute, source)
        if rate is None:
            self.requests = None
            return
        self.pace.skip_the_start()
        if self.requests is None or rate != self.requests.per_minute:
            # Services allow small bursts only, so requests are paced evenly: the little the bucket holds makes up
            # for timers that fire late.
            burst = max(SMALLEST_BURST_REQUESTS, rate / 60.0 * BURST_SECONDS_REQUESTS)
            self.requests = self.requests or Bucket(rate, burst, self._clock, level=1.0)
            self.requests.change(rate, burst)
            self._note(f"{rate:g} requests a minute, from {source}")

    def _set_tokens(self, per_minute: float | None, source: Source) -> None:
        rate = self._lowest("tokens", per_minute, source)
        if rate is None:
            self.tokens = None
        elif self.tokens is None or rate != self.tokens.per_minute:
            burst = rate / 60.0 * BURST_SECONDS_TOKENS
            self.tokens = self.tokens or Bucket(rate, burst, self._clock)
            self.tokens.change(rate, burst)
            self._note(f"{rate:g} tokens a minute, from {source}")

    def _shared(self, concurrency: int) -> int:
        return max(1, int(concurrency * self._share))

    def _lowest(self, what: str, per_minute: float | None, source: Source) -> float | None:
        rates = self._rates[what]
        rates[source] = None if per_minute is None else per_minute * self._share
        return min((rate for rate in rates.values() if rate is not None), default=None)

    def _note(self, what: str, *, is_cut: bool = False) -> None:
        rates = [60.0 * self.pace.per_second] if self.pace.per_second is not None else []
        if self.requests is not None:
            rates.append(60.0 * self.requests.per_second)
        now = self._clock()
        tokens = None if self.tokens is None else 60.0 * self.tokens.per_second
        seconds, window = now - self._began, int(self.window.size)
        self.history.append(LimiterEvent(seconds, what, window, min(rates, default=None), now, is_cut, tokens))
