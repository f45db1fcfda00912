"""What a batch comes to: rows per state, labels, tokens, cost, speed, errors; as figures, as text and as a record."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

from luthier.evaluation.population_stability import (
    LabelMix,
    PopulationStability,
    population_stability,
    separate_stability,
)
from luthier.evaluation.score_summary import Ending, Expected, LimiterChange, ScoreSummary
from luthier.plans import Plan
from luthier.providers.prices import sum_if_known
from luthier.reporting.score_sentences import score_lines
from luthier.scoring.notable_rows import NotableRows
from luthier.scoring.score_watch import LatencyHistogram, ScoreWatch
from luthier.spec import Spec
from luthier.tables import Record
from luthier.tasks.prediction import STATES, Prediction

__all__ = ["BatchReport", "expected_of"]


@dataclass(repr=False)
class BatchReport:
    """Totals of a batch; shows itself as rows per state, labels, tokens, cost and speed.

    What it keeps does not grow with the table.

    Attributes:
        rows: rows written.
        states: rows per state.
        labels: rows per predicted label, kind, field or bin of scores; empty where values are not counted.
        input_tokens: tokens sent, answers from the journal included.
        output_tokens: tokens received, answers from the journal included.
        cost_usd: price of all answers; `None` when a price is unknown.
        spent_usd: price of the answers that were asked for now; `None` when a price is unknown.
        from_journal: rows that cost nothing now: their calls are in the journal, or another row asked the same.
        latencies: of the calls that were made now.
        transient: rows that failed for a reason that may pass; another run may answer them.
        partial: rows part of whose answer did not fit the row and was left out.
        estimated: rows whose cost is an estimate, as the service did not count all tokens.
        elapsed_seconds: wall time.
        renamed: input columns that had the name of a prediction column, and their new names.
        target: the file they were written to.
        source: the table that was read.
        spec: the recipe that answered.
        model_uri: the model that answered.
        mix: the labels of its training rows, or of those it was measured on; `None` where it kept neither.
        expected: what the plan said, where one was made.
        watch: what the engine told.
        notable: rows without a value, and the slowest.
        limiter: what the limiter did.
        rate_limited: calls that the service answered with 429.
        fetched: answers that the service gave now, in batches too.
        answered_by: answers fetched now, by endpoint, where several share the work.
        ending: how it ended; only `finished` wrote a table.
        reason: why it ended, where it did not finish.
        input_digest: sha256 of the rows as they were read.
        output_digest: sha256 of the rows as they were written.
    """

    rows: int = 0
    states: Counter[str] = field(default_factory=Counter)
    labels: Counter[str] = field(default_factory=Counter)
    input_tokens: int = 0
    output_tokens: int = 0
    cost_usd: float | None = 0.0
    spent_usd: float | None = 0.0
    from_journal: int = 0
    latencies: LatencyHistogram = field(default_factory=LatencyHistogram)
    transient: int = 0
    partial: int = 0
    estimated: int = 0
    elapsed_seconds: float = 0.0
    renamed: dict[str, str] = field(default_factory=dict)
    target: str = ""
    source: str = ""
    spec: Spec | None = None
    model_uri: str = ""
    mix: LabelMix | None = None
    expected: Expected | None = None
    watch: ScoreWatch = field(default_factory=ScoreWatch)
    notable: NotableRows = field(default_factory=NotableRows)
    limiter: tuple[LimiterChange, ...] = ()
    rate_limited: int = 0
    fetched: int = 0
    answered_by: Counter[str] = field(default_factory=Counter)
    ending: Ending = "finished"
    reason: str = ""
    input_digest: str = ""
    output_digest: str = ""

    def add(self, predictions: Sequence[Prediction], records: Sequence[Record] = ()) -> None:
        """Counts a chunk.

        Args:
            predictions: of its rows.
            records: the rows as they were read; without them no row is kept as an example.
        """
        if records:
            self.notable.add(self.rows + 1, records, predictions)
        self.rows += len(predictions)
        self.watch.wrote(len(predictions))
        for p in predictions:
            self.states[p.state] += 1
            if self.labels and self.spec is not None and p.value is not None:
                self.labels.update(set(self.spec.task.kind.counted_in(p.value)))
            call = p.call
            self.input_tokens += call.input_tokens
            self.output_tokens += call.output_tokens
            self.transient += call.transient
            self.partial += self.spec is not None and self.spec.task.kind.is_partial(p.value)
            self.estimated += call.cost_estimated
            if call.raw is None and call.latency_seconds is None and call.cost_usd is None:
                continue  # nothing was asked
            if call.from_journal:
                self.from_journal += 1
            elif call.latency_seconds is not None:
                self.latencies.add(call.latency_seconds)
            self.cost_usd = sum_if_known((self.cost_usd, call.cost_usd))
            self.spent_usd = sum_if_known((self.spent_usd, call.spent_usd))

    def latency_seconds(self, share: float) -> float | None:
        """A quantile of the latency of the calls made now, to 1%; `None` if none was made."""
        return self.latencies.quantile(share)

    def metrics(self) -> dict[str, float]:
        """The figures under the names they have in MLflow."""
        summary = self.summary()
        stability, throughput = summary.stability, summary.throughput
        figures: dict[str, float | None] = {
            "rows": self.rows,
            **{f"rows_{state}": self.states[state] for state in STATES},
            "rows_partial": self.partial or None,
            "rows_from_journal": self.from_journal,
            "input_tokens": summary.input_tokens,
            "output_tokens": summary.output_tokens,
            "rows_cost_estimated": self.estimated or None,
            "cost_usd": summary.cost_usd,
            "spent_usd": summary.spent_usd,
            "latency_p50_seconds": self.latency_seconds(0.5),
            "latency_p95_seconds": self.latency_seconds(0.95),
            "elapsed_seconds": self.elapsed_seconds,
            "population_stability_index": None if stability is None else stability.index,
            "answers_per_second": None if throughput is None or throughput.what == "rows" else throughput.mean_rate,
            "calls_retried": summary.retries or None,
            "calls_rate_limited": summary.rate_limited or None,
        }
        return {name: float(value) for name, value in figures.items() if value is not None}

    def _stability(self) -> PopulationStability | None:
        if self.mix is None or self.spec is None or not self.labels:
            return None
        parts = tuple(self.labels)
        if self.spec.task.kind.counted_once:
            return population_stability(self.mix, self.labels, parts)
        return separate_stability(self.mix, self.labels, parts, self.states["ok"])

    def summary(self) -> ScoreSummary:
        """What it came to, as the record that its run keeps."""
        fetched, spec = self.watch.fetched, self.spec
        done = self.ending == "finished"
        return ScoreSummary(
            ending=self.ending,
            reason=self.reason,
            source=self.source,
            target=self.target,
            task="" if spec is None else spec.task.name,
            spec="" if spec is None else spec.name,
            model=self.model_uri,
            value_name="label" if spec is None else spec.task.kind.value_name,
            rows=self.rows,
            states={state: self.states[state] for state in STATES},
            labels=dict(self.labels),
            stability=self._stability(),
            # Of a batch that did not finish, chunks that are not written have paid answers too.
            input_tokens=self.input_tokens if done else fetched.usage.input_tokens,
            output_tokens=self.output_tokens if done else fetched.usage.output_tokens,
            cached_input_tokens=fetched.usage.cached_input_tokens,
            cost_usd=self.cost_usd if done else fetched.cost_usd,
            spent_usd=self.spent_usd if done else fetched.cost_usd,
            from_journal=self.from_journal,
            transient=self.transient,
            partial=self.partial,
            partial_note="" if spec is None else spec.task.kind.partial_note,
            estimated=self.estimated,
            elapsed_seconds=self.elapsed_seconds,
            expected=self.expected,
            fetched=self.fetched,
            retries=self.watch.retries,
            rate_limited=self.rate_limited,
            latency=self.latencies.summary(),
            throughput=self.watch.throughput,
            limiter=self.limiter,
            answered_by=dict(self.answered_by.most_common()),
            models=dict(self.watch.models.most_common()),
            errors=self.notable.errors,
            examples=self.notable.examples,
            slowest=self.notable.slowest,
            renamed=self.renamed,
            input_digest=self.input_digest,
            output_digest=self.output_digest,
        )

    def to_document(self) -> dict[str, Any]:
        """Plain values for JSON: the figures of `metrics` and everything else there is."""
        # numpy, which is not needed to show the text.
        from luthier.evaluation.resampling import plain

        document: dict[str, Any] = plain(self.summary())
        return {**self.metrics(), **document}

    def __str__(self) -> str:
        return "\n".join(score_lines(self.summary()))

    def __repr__(self) -> str:
        return str(self)


def expected_of(plan: Plan, *, by_batch: bool = False) -> Expected | None:
    """What a plan of one spec says of calls, tokens and cost; `None` where it sends nothing."""
    (spec,) = plan.specs
    if not spec.asks:
        return None
    return Expected(
        calls_low=spec.calls.low + spec.texts.low,
        calls_high=spec.calls.high + spec.texts.high,
        input_tokens=spec.likely_input_tokens,
        input_tokens_high=spec.input_tokens.high,
        output_tokens_high=spec.output_tokens,
        cost_usd=spec.cost_usd_batch if by_batch else spec.cost_usd,
        cost_usd_high=spec.cost_usd_high_batch if by_batch else spec.cost_usd_high,
        seconds=None if by_batch else spec.seconds,
    )
