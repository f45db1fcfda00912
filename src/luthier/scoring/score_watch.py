"""Watches a score: what came back when, from which model, after how long; in memory that stays small."""

from __future__ import annotations

import math
import time
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from typing import Literal

from luthier.engine.ask_options import GuardedProgress, Progress
from luthier.engine.limiter import LimiterEvent
from luthier.engine.report import Tally
from luthier.evaluation.score_summary import LatencySummary, LimiterChange, Throughput
from luthier.providers.exchange import Answer

__all__ = ["LatencyHistogram", "RateCounter", "ScoreWatch"]

GROWTH = math.log(1.02)
"""Width of a bin of latencies, as a logarithm: a quantile is known to 1%."""

SHORTEST_SECONDS = 1e-5

MOST_BINS = 24
"""Bins of the histogram that a summary keeps."""

MOST_STEPS = 80
FIRST_STEP_SECONDS = 0.25
"""Shorter steps would show the waves in which answers come, not the speed."""

MOST_MODELS = 50
"""Names of models that are told apart; a service with more of them is not known."""

OTHER_MODELS = "others"

MOST_CHANGES = 500
"""Changes of limiters that a summary keeps, the last ones."""


class LatencyHistogram:
    """How long calls took, in bins whose width grows with the time."""

    def __init__(self) -> None:
        self._bins: Counter[int] = Counter()
        self._shortest, self._longest = math.inf, 0.0

    def add(self, seconds: float) -> None:
        """Counts a call."""
        self._shortest, self._longest = min(self._shortest, seconds), max(self._longest, seconds)
        self._bins[math.floor(math.log(max(seconds, SHORTEST_SECONDS)) / GROWTH)] += 1

    def quantile(self, share: float) -> float | None:
        """The time that this share of calls stayed within, to 1%; `None` without calls."""
        wanted, seen = share * (self._bins.total() - 1), 0
        for place in sorted(self._bins):
            seen += self._bins[place]
            if seen > wanted:
                return min(max(math.exp((place + 0.5) * GROWTH), self._shortest), self._longest)
        return None

    def summary(self) -> LatencySummary | None:
        """A histogram of few bins, with the quantiles that are asked for most; `None` without calls."""
        p50, p95, p99 = (self.quantile(share) for share in (0.5, 0.95, 0.99))
        if p50 is None or p95 is None or p99 is None:
            return None
        first, last = min(self._bins), max(self._bins)
        width = max(1, -(-(last - first + 1) // MOST_BINS))
        counts = [0] * ((last - first) // width + 1)
        for place, calls in self._bins.items():
            counts[(place - first) // width] += calls
        edges = tuple(math.exp((first + width * place) * GROWTH) for place in range(len(counts) + 1))
        return LatencySummary(edges, tuple(counts), p50, p95, p99, self._longest)


class RateCounter:
    """Counts by time since the beginning, in equal steps that double when they become too many."""

    def __init__(self) -> None:
        self.step_seconds = FIRST_STEP_SECONDS
        self._counts: list[int] = []
        self._last = 0.0

    def add(self, seconds: float, count: int = 1) -> None:
        """So many came so many seconds after the beginning."""
        self._last = max(self._last, seconds)
        place = int(seconds / self.step_seconds)
        while place >= MOST_STEPS:
            self._counts = [sum(self._counts[i : i + 2]) for i in range(0, len(self._counts), 2)]
            self.step_seconds *= 2
            place = int(seconds / self.step_seconds)
        if place >= len(self._counts):
            self._counts += [0] * (place + 1 - len(self._counts))
        self._counts[place] += count

    def throughput(self, what: Literal["answers", "rows"]) -> Throughput | None:
        """The counts; `None` where nothing came."""
        if not self._counts:
            return None
        return Throughput(what, self.step_seconds, tuple(self._counts), self._last)


class ScoreWatch:
    """A `Progress` that keeps what the engine tells of a score, and passes it on to a display.

    Args:
        shown: the display; none where absent.
        clock: that of the engine, by which the changes of its limiters are dated.
    """

    def __init__(self, shown: Progress | None = None, clock: Callable[[], float] = time.monotonic) -> None:
        self._shown = GuardedProgress(shown)
        self._clock = clock
        self.began = clock()
        self.fetched = Tally()
        self.models: Counter[str] = Counter()
        self.retries = 0
        self._answers, self._rows = RateCounter(), RateCounter()

    @property
    def elapsed_seconds(self) -> float:
        """Since it was made."""
        return self._clock() - self.began

    @property
    def throughput(self) -> Throughput | None:
        """Answers of the service over time; rows where it was asked nothing."""
        return self._answers.throughput("answers") or self._rows.throughput("rows")

    def expect(self, requests: int) -> None:
        """Passes it on."""
        self._shown.tell(lambda shown: shown.expect(requests))

    def completed(self, answer: Answer) -> None:
        """Counts an answer, and passes it on."""
        if answer.failure is None:
            name = answer.model or "unnamed"
            self.models[name if name in self.models or len(self.models) < MOST_MODELS else OTHER_MODELS] += 1
            if not answer.from_journal:
                self.fetched.add(answer)
                self._answers.add(self.elapsed_seconds)
        self._shown.tell(lambda shown: shown.completed(answer))

    def retried(self, wait_seconds: float) -> None:
        """Counts it, and passes it on."""
        self.retries += 1
        self._shown.tell(lambda shown: shown.retried(wait_seconds))

    def working(self, what: str, done: float, total: float | None, said: str) -> None:
        """Passes it on."""
        self._shown.tell(lambda shown: shown.working(what, done, total, said))

    def wrote(self, rows: int) -> None:
        """So many rows are written."""
        self._rows.add(self.elapsed_seconds, rows)

    def limiter_changes(self, history: Mapping[str, Sequence[LimiterEvent]]) -> tuple[LimiterChange, ...]:
        """What limiters did since the score began, in order; of many changes the last ones.

        A limiter that was there before is shown as it stood when the score began.
        """
        found: list[LimiterChange] = []
        for endpoint, events in history.items():
            earlier = [event for event in events if event.at < self.began]
            for event in [*earlier[-1:], *events[len(earlier) :]]:
                since = max(0.0, event.at - self.began)
                kept = event.requests_per_minute
                found.append(LimiterChange(endpoint, since, event.what, event.window, kept, event.is_cut))
        return tuple(sorted(found, key=lambda change: change.seconds)[-MOST_CHANGES:])
