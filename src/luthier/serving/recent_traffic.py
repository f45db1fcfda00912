"""What a server has answered, as the controller compares it with another server."""

from __future__ import annotations

import math
import time
from collections import deque
from collections.abc import Callable
from typing import Any

from luthier.serving.served_request import ServedRequest

__all__ = ["RecentTraffic"]

WINDOW_SECONDS = 60.0

MOST_LATENCIES = 20_000
"""Latencies that are kept; above about 300 requests a second they cover less than the window."""

QUANTILES = {"p50": 0.50, "p95": 0.95, "p99": 0.99}


class RecentTraffic:
    """Counts requests to `/invocations` and keeps the latencies of the last minute. Lives on the server's loop.

    The latency of a request that was refused for what the client sent (4xx) is not kept: it says nothing of the model.

    Args:
        clock: seconds, from any start.
    """

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self.requests = 0
        """Answered since the start."""
        self.errors = 0
        """How many of them with a status of 500 or more."""
        self._clock = clock
        self._latencies: deque[tuple[float, float]] = deque(maxlen=MOST_LATENCIES)

    def began(self, path: str) -> None:
        """Nothing: requests are counted when they end."""

    def observed(self, request: ServedRequest) -> None:
        """Counts one request."""
        if request.path != "/invocations":
            return
        self.requests += 1
        self.errors += request.status >= 500
        if not 400 <= request.status < 500:
            self._latencies.append((self._clock(), request.seconds))

    def to_document(self) -> dict[str, Any]:
        """Counts since the start, and quantiles (nearest rank) of the latencies of the last minute, in seconds."""
        oldest = self._clock() - WINDOW_SECONDS
        while self._latencies and self._latencies[0][0] < oldest:
            self._latencies.popleft()
        ordered = sorted(seconds for _, seconds in self._latencies)
        quantiles = {
            name: ordered[math.ceil(share * len(ordered)) - 1] if ordered else None for name, share in QUANTILES.items()
        }
        return {"requests": self.requests, "errors": self.errors, "latency_seconds": quantiles}
