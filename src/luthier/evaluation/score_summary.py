"""What a scored table came to, as plain records: the run of a score keeps them as `score.json`."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Literal

from luthier.evaluation.population_stability import PopulationStability

__all__ = [
    "Ending",
    "ErrorCount",
    "Expected",
    "LatencySummary",
    "LimiterChange",
    "RowExample",
    "ScoreSummary",
    "SlowRow",
    "Throughput",
]

Ending = Literal["finished", "interrupted", "budget", "failed"]


@dataclass(frozen=True, slots=True)
class Expected:
    """What the plan of a score expected; see `PlannedSpec`."""

    calls_low: int
    calls_high: int
    input_tokens: int
    input_tokens_high: int
    output_tokens_high: int | None
    cost_usd: float | None
    cost_usd_high: float | None
    seconds: float | None = None


@dataclass(frozen=True, slots=True)
class LatencySummary:
    """How long the calls that were made now took.

    Attributes:
        edges: of a histogram, in seconds, ascending.
        calls: in each of its bins, one fewer than edges.
        p50_seconds, p95_seconds, p99_seconds: quantiles, to 1%.
        longest_seconds: of the slowest call.
    """

    edges: tuple[float, ...]
    calls: tuple[int, ...]
    p50_seconds: float
    p95_seconds: float
    p99_seconds: float
    longest_seconds: float


@dataclass(frozen=True, slots=True)
class Throughput:
    """What came back over time, in equal steps from the beginning of the score.

    Attributes:
        what: what is counted: `answers` of the service, or `rows` of a model that asks none.
        step_seconds: length of a step.
        counts: in each step.
        seconds: until the last one came.
    """

    what: Literal["answers", "rows"]
    step_seconds: float
    counts: tuple[int, ...]
    seconds: float

    @property
    def mean_rate(self) -> float:
        """Per second over the whole time."""
        return sum(self.counts) / max(self.seconds, 1e-3)

    @property
    def rates(self) -> tuple[float, ...]:
        """Per second, step by step; the last step is as long as it was under way."""
        if not self.counts:
            return ()
        last = max(self.seconds - (len(self.counts) - 1) * self.step_seconds, 0.1 * self.step_seconds)
        lengths = [self.step_seconds] * (len(self.counts) - 1) + [min(last, self.step_seconds)]
        return tuple(count / length for count, length in zip(self.counts, lengths, strict=True))


@dataclass(frozen=True, slots=True)
class LimiterChange:
    """A change of what the limiter of an endpoint allows.

    Attributes:
        endpoint: whose.
        seconds: since the score began.
        what: why, in words.
        window: how many requests may be in flight since then.
        requests_per_minute: the rate kept since then; `None` if none is known or learned.
        is_cut: whether the service pushed back or failed, so that less is sent since then.
    """

    endpoint: str
    seconds: float
    what: str
    window: int
    requests_per_minute: float | None
    is_cut: bool = False


@dataclass(frozen=True, slots=True)
class ErrorCount:
    """Rows that have no value for one reason.

    Attributes:
        state: `off_label`, `refused` or `failed`.
        error: as it was written of the first of them.
        rows: how many; numbers in the text may differ among them.
        first_row: number of the first one in the table, from 1.
    """

    state: str
    error: str
    rows: int
    first_row: int


@dataclass(frozen=True, slots=True)
class RowExample:
    """A row that has no value; `text` and `raw`, the model's own words, are cut."""

    row: int
    state: str
    text: str
    raw: str
    error: str


@dataclass(frozen=True, slots=True)
class SlowRow:
    """A row whose calls took long; `text` is cut."""

    row: int
    seconds: float
    state: str
    input_tokens: int
    output_tokens: int
    text: str


@dataclass(frozen=True, slots=True)
class ScoreSummary:
    """What a score came to.

    Attributes:
        ending: how it ended; all but `finished` wrote no table.
        reason: why it ended, where it did not finish.
        source, target: the tables.
        task, spec, model: names of the task and the spec, and the model's address.
        value_name: what a value is called, such as `label`.
        rows: rows written, or answered and waiting to be written where it did not finish.
        states: rows per state.
        labels: rows per predicted label, kind, field or bin of scores; empty where values are not counted.
        stability: these counts against those of training; `None` where there is nothing to compare.
        input_tokens, output_tokens: of all answers, those of the journal included; of those fetched now where it did
            not finish, as is `cost_usd`.
        cached_input_tokens: input tokens of answers fetched now that the service had cached.
        cost_usd: price of all answers; `None` when a price is unknown.
        spent_usd: price of the answers that were fetched now; `None` when a price is unknown.
        from_journal: rows that cost nothing now: their calls are in the journal, or another row asked the same.
        transient: rows that failed for a reason that may pass.
        partial: rows part of whose answer did not fit the row and was left out.
        partial_note: what that is, in words.
        estimated: rows whose cost is an estimate, as the service did not count all tokens.
        elapsed_seconds: wall time.
        expected: what the plan said, where one was made.
        fetched: answers that the service gave now, in batches too.
        retries: calls that followed another for the same request.
        rate_limited: calls that the service answered with 429.
        latency: of calls made now; `None` where there was none.
        throughput: over time; `None` where nothing came.
        limiter: what the limiter did, in order.
        answered_by: answers fetched now, by endpoint, where several share the work.
        models: answers by the model that the service named, those of the journal included.
        errors: why rows have no value, the most frequent first.
        examples: some of those rows, of each state.
        slowest: rows whose calls took longest, the slowest first.
        renamed: input columns that had the name of a prediction column, and their new names.
        input_digest, output_digest: sha256 of the rows as they were read and written; empty where it did not finish.
    """

    ending: Ending = "finished"
    reason: str = ""
    source: str = ""
    target: str = ""
    task: str = ""
    spec: str = ""
    model: str = ""
    value_name: str = "label"
    rows: int = 0
    states: Mapping[str, int] = field(default_factory=dict)
    labels: Mapping[str, int] = field(default_factory=dict)
    stability: PopulationStability | None = None
    input_tokens: int = 0
    output_tokens: int = 0
    cached_input_tokens: int = 0
    cost_usd: float | None = 0.0
    spent_usd: float | None = 0.0
    from_journal: int = 0
    transient: int = 0
    partial: int = 0
    partial_note: str = ""
    estimated: int = 0
    elapsed_seconds: float = 0.0
    expected: Expected | None = None
    fetched: int = 0
    retries: int = 0
    rate_limited: int = 0
    latency: LatencySummary | None = None
    throughput: Throughput | None = None
    limiter: tuple[LimiterChange, ...] = ()
    answered_by: Mapping[str, int] = field(default_factory=dict)
    models: Mapping[str, int] = field(default_factory=dict)
    errors: tuple[ErrorCount, ...] = ()
    examples: tuple[RowExample, ...] = ()
    slowest: tuple[SlowRow, ...] = ()
    renamed: Mapping[str, str] = field(default_factory=dict)
    input_digest: str = ""
    output_digest: str = ""
    schema: int = 1

    @property
    def counted_name(self) -> str:
        """What one of `labels` is: a label, a score, a field."""
        return self.value_name.removesuffix("s")
