"""Requests and tokens per minute, as token buckets that refill continuously."""

from __future__ import annotations

import math
import time
from collections.abc import Callable

from luthier_local.api_errors import ApiError

__all__ = ["RateLimits"]


class _TokenBucket:
    def __init__(self, per_minute: float, burst: float, now: float) -> None:
        self.per_minute = per_minute
        self.per_second = per_minute / 60
        self.burst = burst
        self.level = burst
        self._at = now

    def refill(self, now: float) -> None:
        self.level = min(self.burst, self.level + (now - self._at) * self.per_second)
        self._at = now

    def wait_seconds(self, amount: float) -> float:
        return max(0.0, (amount - self.level) / self.per_second)

    def reset_seconds(self) -> float:
        return (self.burst - self.level) / self.per_second


class RateLimits:
    """Token buckets that admit a request or refuse it with 429.

    A bucket holds its burst and refills at the rate per second, so over any time T at most
    burst + rate x T is admitted. Tokens are charged at admission: the prompt's characters over
    four plus the answer's allowed tokens; nothing is given back. A refused request is not charged.

    Args:
        requests_per_minute: `None`: no limit.
        tokens_per_minute: `None`: no limit.
        burst_requests: What the bucket of requests holds.
        burst_tokens: What the bucket of tokens holds; `None`: ten seconds' worth, at least 2,000
            but no more than a minute's.
        clock: Seconds that only grow.
    """

    def __init__(
        self,
        requests_per_minute: float | None = None,
        tokens_per_minute: float | None = None,
        burst_requests: int = 5,
        burst_tokens: int | None = None,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._clock = clock
        self._buckets: dict[str, _TokenBucket] = {}
        if requests_per_minute:
            self._buckets["requests"] = _TokenBucket(requests_per_minute, max(1, burst_requests), clock())
        if tokens_per_minute:
            burst = burst_tokens or min(tokens_per_minute, max(2000, tokens_per_minute / 6))
            self._buckets["tokens"] = _TokenBucket(tokens_per_minute, burst, clock())

    def admit(self, tokens: int) -> dict[str, str]:
        """Charges one request of so many tokens and returns the `x-ratelimit-*` headers.

        Raises:
            ApiError: 429 with `retry-after` and `retry-after-ms`.
        """
        now = self._clock()
        needed = {"requests": 1.0, "tokens": float(tokens)}
        longest, short_of = 0.0, ""
        for what, bucket in self._buckets.items():
            amount = needed[what]
            bucket.refill(now)
            if amount > bucket.burst:
                raise ApiError(
                    429,
                    f"Request too large on {what} per min: Limit {bucket.per_minute:g}, burst "
                    f"{bucket.burst:g}, Requested {amount:g}. Waiting does not help; send less at once.",
                    kind=what,
                    code="rate_limit_exceeded",
                    headers=self._headers(),
                )
            wait = bucket.wait_seconds(amount)
            if wait > longest:
                longest, short_of = wait, what
        if short_of:
            limit = self._buckets[short_of].per_minute
            milliseconds = max(1, math.ceil(longest * 1000))
            raise ApiError(
                429,
                f"Rate limit reached on {short_of} per min: Limit {limit:g}. Please try again in {_pretty(longest)}.",
                kind=short_of,
                code="rate_limit_exceeded",
                headers={
                    **self._headers(),
                    "retry-after": str(math.ceil(longest)),
                    "retry-after-ms": str(milliseconds),
                },
            )
        for what, bucket in self._buckets.items():
            bucket.level -= needed[what]
        return self._headers()

    def _headers(self) -> dict[str, str]:
        headers: dict[str, str] = {}
        for what, bucket in self._buckets.items():
            headers[f"x-ratelimit-limit-{what}"] = f"{bucket.per_minute:.0f}"
            headers[f"x-ratelimit-remaining-{what}"] = str(max(0, int(bucket.level)))
            headers[f"x-ratelimit-reset-{what}"] = _pretty(bucket.reset_seconds())
            headers[f"x-ratelimit-burst-{what}"] = f"{bucket.burst:.0f}"
        return headers


def _pretty(seconds: float) -> str:
    """A duration as OpenAI writes it: `7ms`, `8.64s`, `6m0s`."""
    if seconds < 1:
        return f"{math.ceil(seconds * 1000)}ms"
    if seconds < 60:
        return f"{seconds:.2f}s"
    return f"{int(seconds // 60)}m{seconds % 60:.0f}s"
