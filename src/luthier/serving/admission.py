"""How many requests a server answers or lets wait at one time, and when a refused one is worth trying again."""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from luthier.serving.refusals import Refusal

__all__ = ["Admission"]

REMEMBERED = 256
"""Answers that the throughput is measured by."""

RECENT_SECONDS = 30.0
"""An answer of longer ago says nothing about the throughput now."""

LONGEST_RETRY_SECONDS = 60.0
UNKNOWN_RETRY_SECONDS = 5.0
"""Where nothing was answered lately."""


class Admission:
    """Counts the requests that are in, and refuses more than there may be.

    Examples:
        >>> admission = Admission(1)
        >>> with admission.place():
        ...     admission.requests
        1

    Args:
        most: requests at one time.
        clock: seconds that only grow.
    """

    def __init__(self, most: int, clock: Callable[[], float] = time.monotonic) -> None:
        self.most, self._clock = most, clock
        self.requests = 0
        """Those that are answered or wait now."""
        self._answered: deque[float] = deque(maxlen=REMEMBERED)

    @contextmanager
    def place(self) -> Iterator[None]:
        """Holds a place for a request inside the block.

        Raises:
            Refusal: 429, there is none.
        """
        if self.requests >= self.most:
            raise Refusal(
                429,
                "RESOURCE_EXHAUSTED",
                f"The server has {self.most} requests already, as many as it takes; ask again later.",
                retry_after_seconds=self.retry_after_seconds(),
            )
        self.requests += 1
        try:
            yield
        finally:
            self.requests -= 1
            self._answered.append(self._clock())

    @property
    def per_second(self) -> float | None:
        """Requests answered in a second lately; `None` where too few were."""
        now = self._clock()
        while self._answered and now - self._answered[0] > RECENT_SECONDS:
            self._answered.popleft()
        if len(self._answered) < 2:
            return None
        return len(self._answered) / max(now - self._answered[0], 1e-3)

    def retry_after_seconds(self) -> float:
        """In how many seconds half of the requests that are in now will have been answered, as far as is known.

        By Little's law so many requests take their number over the throughput.
        """
        rate = self.per_second
        if rate is None:
            return UNKNOWN_RETRY_SECONDS
        return min(LONGEST_RETRY_SECONDS, max(1.0, self.requests / 2 / rate))
