"""What a batch comes to: rows per state, tokens, cost and latency, as figures and as text."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field

from luthier.providers.prices import dollars, sum_if_known
from luthier.tasks.prediction import STATES, Prediction

__all__ = ["BatchReport"]

MEANING = {
    "ok": "a label of the task",
    "off_label": "an answer that is none of the labels",
    "refused": "the model refused",
    "failed": "no answer",
    "empty": "no text, nothing sent",
}

MOST_LATENCIES = 200_000
"""Latencies kept for the quantiles."""


@dataclass(repr=False)
class BatchReport:
    """Totals of a batch; shows itself as rows per state, tokens, cost and latency.

    Attributes:
        rows: rows written.
        states: rows per state.
        labels: rows per predicted label; empty for tasks that are no closed set.
        input_tokens: tokens sent, answers from the journal included.
        output_tokens: tokens received, answers from the journal included.
        cost_usd: price of all answers; `None` when a price is unknown.
        spent_usd: price of the answers that were asked for now; `None` when a price is unknown.
        from_journal: rows that cost nothing now: their calls are in the journal, or another row asked the same.
        latencies_seconds: of the calls that were made now.
        transient: rows that failed for a reason that may pass; another run may answer them.
        estimated: rows whose cost is an estimate, as the service did not count all tokens.
        elapsed_seconds: wall time.
        renamed: input columns that had the name of a prediction column, and their new names.
        target: the file they were written to.
    """

    rows: int = 0
    states: Counter[str] = field(default_factory=Counter)
    labels: Counter[str] = field(default_factory=Counter)
    input_tokens: int = 0
    output_tokens: int = 0
    cost_usd: float | None = 0.0
    spent_usd: float | None = 0.0
    from_journal: int = 0
    latencies_seconds: list[float] = field(default_factory=list)
    transient: int = 0
    estimated: int = 0
    elapsed_seconds: float = 0.0
    renamed: dict[str, str] = field(default_factory=dict)
    target: str = ""

    def add(self, predictions: Sequence[Prediction]) -> None:
        """Counts a chunk."""
        self.rows += len(predictions)
        for p in predictions:
            self.states[p.state] += 1
            if p.value in self.labels:
                self.labels[p.value] += 1
            call = p.call
            self.input_tokens += call.input_tokens
            self.output_tokens += call.output_tokens
            self.transient += call.transient
            self.estimated += call.cost_estimated
            if call.latency_seconds is None:
                continue
            if call.from_journal:
                self.from_journal += 1
            elif len(self.latencies_seconds) < MOST_LATENCIES:
                self.latencies_seconds.append(call.latency_seconds)
            self.cost_usd = sum_if_known((self.cost_usd, call.cost_usd))
            self.spent_usd = sum_if_known((self.spent_usd, call.spent_usd))

    def latency_seconds(self, share: float) -> float | None:
        """A quantile of the latency of the calls made now, `None` if none was made."""
        if not self.latencies_seconds:
            return None
        ordered = sorted(self.latencies_seconds)
        return ordered[min(len(ordered) - 1, round(share * (len(ordered) - 1)))]

    def metrics(self) -> dict[str, float]:
        """The figures under the names they have in MLflow."""
        figures: dict[str, float | None] = {
            "rows": self.rows,
            **{f"rows_{state}": self.states[state] for state in STATES},
            "rows_from_journal": self.from_journal,
            "input_tokens": self.input_tokens,
            "output_tokens": self.output_tokens,
            "rows_cost_estimated": self.estimated or None,
            "cost_usd": self.cost_usd,
            "spent_usd": self.spent_usd,
            "latency_p50_seconds": self.latency_seconds(0.5),
            "latency_p95_seconds": self.latency_seconds(0.95),
            "elapsed_seconds": self.elapsed_seconds,
        }
        return {name: float(value) for name, value in figures.items() if value is not None}

    def __str__(self) -> str:
        lines = [f"{self.rows:,} rows written to {self.target} in {self.elapsed_seconds:.1f} s"]
        meaning = (
            MEANING if self.labels else {**MEANING, "ok": "a value", "off_label": "an answer that states no value"}
        )
        for state in STATES:
            count = self.states[state]
            if count:
                lines.append(f"  {state:<10} {count:>9,}  {count / self.rows:6.1%}  {meaning[state]}")
        given = {label: count for label, count in self.labels.items() if count}
        if given:
            shown = ", ".join(f"{label}: {count:,}" for label, count in given.items())
            lines.append(f"labels      {shown}")
        if self.input_tokens or self.output_tokens:
            lines.append(f"tokens      {self.input_tokens:,} in, {self.output_tokens:,} out")
            cost = "unknown (give the endpoint a price)" if self.cost_usd is None else dollars(self.cost_usd)
            now = "" if self.spent_usd is None else f", of which {dollars(self.spent_usd)} were spent now"
            about = "about " if self.estimated and self.cost_usd is not None else ""
            lines.append(f"cost        {about}{cost}{now}")
            if self.estimated:
                lines.append(
                    f"            estimated for {self.estimated:,} rows from the lengths of their texts: the service "
                    "did not count all tokens"
                )
            lines.append(
                f"journal     {self.from_journal:,} rows cost nothing now: paid for before, or equal to another row"
            )
        p50, p95 = self.latency_seconds(0.5), self.latency_seconds(0.95)
        if p50 is not None and p95 is not None:
            lines.append(f"latency     p50 {p50 * 1000:.0f} ms, p95 {p95 * 1000:.0f} ms")
        for old, new in self.renamed.items():
            lines.append(
                f"column {old!r} of the input is called {new!r} in the output, where {old!r} is the prediction's"
            )
        return "\n".join(lines)

    def __repr__(self) -> str:
        return str(self)
