"""Totals of a batch as text for a terminal."""

from __future__ import annotations

from pathlib import Path

from luthier.providers.prices import dollars
from luthier.scoring.batch import BatchReport
from luthier.tasks.prediction import STATES

__all__ = ["report_text"]

MEANING = {
    "ok": "a label of the task",
    "off_label": "an answer that is none of the labels",
    "refused": "the model refused",
    "failed": "no answer",
    "empty": "no text, nothing sent",
}


def report_text(report: BatchReport, target: str | Path) -> str:
    """What was written, rows per state, tokens, cost and latency; plain text."""
    lines = [f"{report.rows:,} rows written to {target} in {report.elapsed_seconds:.1f} s"]
    meaning = MEANING if report.labels else {**MEANING, "ok": "a value", "off_label": "an answer that states no value"}
    for state in STATES:
        count = report.states[state]
        if count:
            lines.append(f"  {state:<10} {count:>9,}  {count / report.rows:6.1%}  {meaning[state]}")
    given = {label: count for label, count in report.labels.items() if count}
    if given:
        shown = ", ".join(f"{label}: {count:,}" for label, count in given.items())
        lines.append(f"labels      {shown}")
    if report.input_tokens or report.output_tokens:
        lines.append(f"tokens      {report.input_tokens:,} in, {report.output_tokens:,} out")
        cost = "unknown (give the endpoint a price)" if report.cost_usd is None else dollars(report.cost_usd)
        now = "" if report.spent_usd is None else f", of which {dollars(report.spent_usd)} were spent now"
        about = "about " if report.estimated and report.cost_usd is not None else ""
        lines.append(f"cost        {about}{cost}{now}")
        if report.estimated:
            lines.append(
                f"            estimated for {report.estimated:,} rows from the lengths of their texts: the service did "
                "not count all tokens"
            )
        lines.append(
            f"journal     {report.from_journal:,} rows cost nothing now: paid for before, or equal to another row"
        )
    p50, p95 = report.latency_seconds(0.5), report.latency_seconds(0.95)
    if p50 is not None and p95 is not None:
        lines.append(f"latency     p50 {p50 * 1000:.0f} ms, p95 {p95 * 1000:.0f} ms")
    for old, new in report.renamed.items():
        lines.append(f"column {old!r} of the input is called {new!r} in the output, where {old!r} is the prediction's")
    return "\n".join(lines)
