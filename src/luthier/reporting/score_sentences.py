"""What a score came to, in lines for a terminal and in sentences for its page."""

from __future__ import annotations

from luthier.evaluation.population_stability import LARGE_SHIFT, SMALL_SHIFT, PopulationStability
from luthier.evaluation.score_summary import ScoreSummary, Throughput
from luthier.providers.prices import dollars
from luthier.reporting.numbers import number
from luthier.reporting.short_names import shortened
from luthier.tasks.prediction import STATES
from luthier.tasks.spellings import with_article

__all__ = ["ENDINGS", "duration", "meaning_of", "money", "score_lines", "score_sentences", "stability_sentence"]

MEANING = {
    "ok": "a label of the task",
    "off_label": "an answer that is none of the labels",
    "refused": "the model refused",
    "failed": "no answer",
    "empty": "no text, nothing sent",
}

ENDINGS = {
    "finished": "finished",
    "interrupted": "was interrupted",
    "budget": "stopped at its budget",
    "failed": "stopped on an error",
}

MOST_ERRORS, MOST_MOVED = 3, 3
"""Errors and labels that a line names."""

MOST_NAMED = 5
"""Models and endpoints that a line names."""

LONGEST_ERROR = 160


def score_lines(summary: ScoreSummary) -> list[str]:
    """The report of a score, a line each; plain text that may hold untrusted words."""
    lines = [_first_line(summary)]
    meaning = meaning_of(summary)
    for state in STATES:
        count = summary.states.get(state, 0)
        if count:
            lines.append(f"  {state:<10} {count:>9,}  {count / summary.rows:6.1%}  {meaning[state]}")
    for found in summary.errors[:MOST_ERRORS]:
        lines.append(f"    {found.rows:>9,}  {shortened(_line(found.error) or found.state, LONGEST_ERROR)}")
    if summary.partial:
        lines.append(f"left out    {_partial(summary)}")
    given = {label: count for label, count in summary.labels.items() if count}
    if given:
        counts = ", ".join(f"{label}: {count:,}" for label, count in given.items())
        lines.append(f"{f'{summary.counted_name}s':<11} {counts}")
    if summary.stability is not None:
        lines.append(f"{f'{summary.counted_name} mix':<11} {stability_sentence(summary.stability)}")
    lines += _cost_lines(summary)
    lines += _speed_lines(summary)
    for old, new in summary.renamed.items():
        lines.append(f"column {old!r} of the input is called {new!r} in the output, where {old!r} is the prediction's")
    return lines


def score_sentences(summary: ScoreSummary) -> list[str]:
    """What to take from a score, most important first."""
    out = []
    if summary.ending != "finished":
        out.append(
            f"This score {ENDINGS[summary.ending]}, so no table is written. The {summary.fetched:,} answers that were "
            f"fetched now (cost: {money(summary.spent_usd)}) are in the journal; the same command goes on from there."
        )
        out += [summary.reason] if summary.reason else []
    rows, ok = summary.rows, summary.states.get("ok", 0)
    if rows:
        counted = "rows" if summary.ending == "finished" else "rows answered so far"
        what = with_article(summary.value_name) if _is_one_label(summary) else "a usable answer"
        out.append(f"{ok:,} of {rows:,} {counted} ({ok / rows:.1%}) have {what}.")
    if summary.transient:
        out.append(f"{summary.transient:,} rows failed for a reason that may pass: run the same command again.")
    if summary.partial:
        out.append(f"Left out: {_partial(summary)}.")
    if summary.errors:
        first = summary.errors[0]
        error = shortened(_line(first.error) or first.state, LONGEST_ERROR)
        lost = f"a row without {with_article(summary.value_name)}"
        out.append(f"The most frequent reason for {lost} ({first.rows:,} rows): {error}")
    if summary.stability is not None:
        out.append(f"{summary.counted_name.capitalize()} mix: {stability_sentence(summary.stability)}.")
    elif summary.labels and rows:
        out.append(
            f"{summary.counted_name.capitalize()} mix: this model keeps no mix of training {summary.counted_name}s, as "
            "one that an earlier Luthier logged or that no run has measured. Log it again to have the mix compared."
        )
    if summary.input_tokens or summary.output_tokens:
        out.append(_cost_sentence(summary))
    if summary.throughput is not None and summary.throughput.what == "answers":
        out.append(f"{_speed(summary.throughput)}.")
    return out


def _partial(summary: ScoreSummary) -> str:
    share = summary.partial / summary.rows
    return f"{summary.partial_note}, in {summary.partial:,} of {summary.rows:,} rows ({share:.1%})"


def meaning_of(summary: ScoreSummary) -> dict[str, str]:
    """What each state means for this task."""
    if _is_one_label(summary):
        return MEANING
    value = summary.value_name
    return {**MEANING, "ok": f"{value} found", "off_label": f"no usable {value}"}


def _is_one_label(summary: ScoreSummary) -> bool:
    return bool(summary.labels) and summary.value_name == "label"


def money(usd: float | None) -> str:
    """An amount, or that it is not known."""
    return "unknown (give the endpoint a price)" if usd is None else dollars(usd)


def duration(seconds: float) -> str:
    """A time, in milliseconds where it is below a second.

    Examples:
        >>> duration(0.0284), duration(0.125), duration(3.14159), duration(0.0004)
        ('28 ms', '125 ms', '3.14 s', '<1 ms')
    """
    if seconds >= 1:
        return number(seconds, "seconds")
    return "<1 ms" if seconds < 0.001 else f"{1000 * seconds:.0f} ms"


def stability_sentence(found: PopulationStability) -> str:
    """How far the labels have moved, and which most."""
    most = f" of {shortened(found.shares[0].label, 40)}, the largest," if found.separate else ""
    said = f"population stability index {found.index:.3f}{most} against the {found.of}: "
    if found.shift == "none":
        if found.index >= SMALL_SHIFT:
            return f"{said}no shift that {found.rows:,} rows can show (chance alone reaches {found.by_chance:.3f})"
        return f"{said}no shift (below {SMALL_SHIFT:g})"
    bound = f"{SMALL_SHIFT:g} to {LARGE_SHIFT:g}" if found.shift == "moderate" else f"{LARGE_SHIFT:g} and above"
    moved = ", ".join(
        f"{shortened(one.label, 40)} from {one.before:.1%} to {one.now:.1%}" for one in found.shares[:MOST_MOVED]
    )
    return f"{said}a {found.shift} shift ({bound}); {moved}"


def _first_line(summary: ScoreSummary) -> str:
    took = f"{summary.elapsed_seconds:.1f} s"
    if summary.ending == "finished":
        return f"{summary.rows:,} rows written to {summary.target} in {took}"
    return f"{summary.rows:,} rows answered in {took}; the score {ENDINGS[summary.ending]} and wrote no table"


def _cost_lines(summary: ScoreSummary) -> list[str]:
    if not (summary.input_tokens or summary.output_tokens):
        return []
    cached = f" ({summary.cached_input_tokens:,} of them cached)" if summary.cached_input_tokens else ""
    now = "" if summary.spent_usd is None else f", of which {dollars(summary.spent_usd)} were spent now"
    about = "about " if summary.estimated and summary.cost_usd is not None else ""
    lines = [
        f"tokens      {summary.input_tokens:,} in{cached}, {summary.output_tokens:,} out",
        f"cost        {about}{money(summary.cost_usd)}{now}",
    ]
    if summary.estimated:
        lines.append(
            f"            estimated for {summary.estimated:,} rows from the lengths of their texts: the service "
            "did not count all tokens"
        )
    expected = summary.expected
    if expected is not None and expected.cost_usd is not None:
        most = "" if expected.cost_usd_high is None else f", at most {dollars(expected.cost_usd_high, up=True)}"
        lines.append(f"estimate    about {dollars(expected.cost_usd)} to spend{most}")
    lines.append(
        f"journal     {summary.from_journal:,} rows cost nothing now: paid for before, or equal to another row"
    )
    return lines


def _speed_lines(summary: ScoreSummary) -> list[str]:
    lines = []
    found = summary.latency
    if found is not None:
        lines.append(f"latency     p50 {found.p50_seconds * 1000:.0f} ms, p95 {found.p95_seconds * 1000:.0f} ms")
    if summary.throughput is not None and summary.throughput.what == "answers":
        limited = f", {summary.rate_limited:,} calls answered 429" if summary.rate_limited else ""
        lines.append(f"speed       {summary.throughput.mean_rate:,.1f} answers/s{limited}")
    for title, answers in (("models", summary.models), ("endpoints", summary.answered_by)):
        if len(answers) > 1:
            named = ", ".join(f"{name}: {count:,}" for name, count in list(answers.items())[:MOST_NAMED])
            lines.append(f"{title:<11} {named}")
    return lines


def _cost_sentence(summary: ScoreSummary) -> str:
    if summary.cost_usd is None:
        return "What the answers cost is unknown: give the endpoint a price."
    said = f"The answers cost {dollars(summary.cost_usd)}"
    if summary.spent_usd is not None and summary.spent_usd != summary.cost_usd:
        said += f", of which {dollars(summary.spent_usd)} were spent now"
    expected = summary.expected
    if expected is None or expected.cost_usd is None or summary.spent_usd is None:
        return f"{said}."
    said += f"; the plan expected {dollars(expected.cost_usd)}"
    if expected.cost_usd > 0 and summary.ending == "finished":
        said += f" to be spent ({summary.spent_usd / expected.cost_usd - 1:+.0%})"
    return f"{said}."


def _speed(found: Throughput) -> str:
    rates = sorted(found.rates)
    middle = rates[len(rates) // 2]
    return (
        f"{sum(found.counts):,} answers came in {found.seconds:,.1f} s: {found.mean_rate:,.1f} a second on average, "
        f"and at least {middle:,.1f} a second for half of the time"
    )


def _line(text: str) -> str:
    return " ".join(text.split())
