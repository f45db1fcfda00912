"""The page of a score: states, labels against those of training, cost, speed, rows to look at."""

from __future__ import annotations

from luthier.engine.report import counted
from luthier.evaluation.population_stability import LARGE_SHIFT, SMALL_SHIFT, LabelShare, PopulationStability
from luthier.evaluation.score_summary import ErrorCount, Expected, LimiterChange, RowExample, ScoreSummary, SlowRow
from luthier.providers.prices import dollars
from luthier.reporting.numbers import number
from luthier.reporting.score_figures import label_strips, latency_chart, limiter_chart, throughput_chart
from luthier.reporting.score_sentences import duration, meaning_of, money, score_sentences
from luthier.reporting.table import (
    Block,
    Column,
    Columns,
    Example,
    Fold,
    Page,
    Row,
    Section,
    Table,
    glossary,
)
from luthier.tasks.prediction import STATES
from luthier.tasks.spellings import with_article

__all__ = ["score_page"]

MOST_LISTED = 20
"""Labels that a table shows without being opened."""

TERMS = {
    "Population stability index": "The sum over labels of (share now - share before) ln(share now / share before), "
    "with half a row added to each label. Where a row has several or none, each has an index of its own, from the "
    "rows with it and those without, and the largest is shown. Scores are counted by fifths of their scale. By "
    f"convention below {SMALL_SHIFT:g} is no shift, up to {LARGE_SHIFT:g} a "
    "moderate one and above a large one (Siddiqi 2006). It compares predictions with true labels, so a model's own "
    "mistakes move it too.",
    "By chance": "What the index of an unchanged mix stays below in 95% of samples of so many rows (Yurdakul and "
    "Naranjo 2020). An index below it is not called a shift.",
    "Window": "How many requests may be in flight; it grows with answers and is cut when the service is overloaded.",
    "Journal": "Where every answer is kept; what is there is not paid for again.",
}


def score_page(summary: ScoreSummary) -> Page:
    """Everything there is of a score. Rows without a value and the slowest are on the page, with their texts."""
    sections = [
        *_states(summary),
        *_labels(summary),
        *_cost(summary),
        *_speed(summary),
        *_models(summary),
        *_without_value(summary),
        *_slowest(summary),
        _tables(summary),
        Section("Glossary", (glossary(TERMS),)),
    ]
    read = f"{summary.source} was read" if summary.source else "A table was read"
    wrote = f" and {summary.target} written" if summary.ending == "finished" and summary.target else ""
    by = f" by {summary.spec}" if summary.spec else ""
    return Page(
        f"Score: {summary.task}" if summary.task else "Score",
        f"{read}{wrote}; {summary.rows:,} rows{by} in {number(summary.elapsed_seconds, 'seconds')}.",
        tuple(score_sentences(summary)),
        tuple(sections),
        f"Model {summary.model}." if summary.model else "",
    )


def _states(summary: ScoreSummary) -> list[Section]:
    if not summary.rows:
        return []
    meaning = meaning_of(summary)
    columns: Columns[str] = [
        (Column("state", kind="name"), lambda state: state),
        (Column("rows", "count"), lambda state: summary.states.get(state, 0)),
        (Column("share", "percent"), lambda state: summary.states.get(state, 0) / summary.rows),
        (Column("meaning"), lambda state: meaning[state]),
    ]
    return [Section("Rows", (Table.of(STATES, columns),))]


def _labels(summary: ScoreSummary) -> list[Section]:
    found, what = summary.stability, summary.counted_name
    if found is None:
        given = {label: rows for label, rows in summary.labels.items() if rows}
        if not given:
            return []
        whole = summary.states.get("ok", 0)
        counts: Columns[str] = [
            (Column(what, kind="name"), lambda label: label),
            (Column("rows", "count"), lambda label: given[label]),
            (Column("share", "percent"), lambda label: given[label] / whole),
        ]
        return [Section(f"{what.capitalize()}s", _folded(Table.of(given, counts), f"{what}s"))]
    index = Table(
        (Column("", kind="name"), Column("", "fine")),
        (
            Row(("population stability index" + (", the largest" if found.separate else ""), found.index), "first"),
            Row(("by chance, at most", found.by_chance)),
            Row((f"rows with {with_article(summary.value_name)}", float(found.rows)), unit="count"),
            Row((found.of, None if found.rows_before is None else float(found.rows_before)), unit="count"),
        ),
    )
    blocks = (index, label_strips(found, what), *_folded(_label_table(found, what), f"{what}s"))
    return [Section(f"{what.capitalize()}s now and before", blocks)]


def _label_table(found: PopulationStability, what: str) -> Table:
    columns: Columns[LabelShare] = [
        (Column(what, kind="name"), lambda one: one.label),
        (Column("rows", "count"), lambda one: one.rows),
        (Column("share now", "percent"), lambda one: one.now),
        (Column("share before", "percent"), lambda one: one.before),
        (Column("index" if found.separate else "adds to the index", "fine"), lambda one: one.part),
    ]
    return Table.of(found.shares, columns)


def _folded(table: Table, what: str) -> tuple[Block, ...]:
    count = len(table.rows)
    return (table,) if count <= MOST_LISTED else (Fold(f"All {count:,} {what}", (table,)),)


def _cost(summary: ScoreSummary) -> list[Section]:
    expected = summary.expected
    if expected is None and not (summary.input_tokens or summary.output_tokens):
        return []
    about = "about " if summary.estimated and summary.cost_usd is not None else ""
    rows = [
        ("answers fetched now", _expected_calls(expected), f"{summary.fetched:,}"),
        ("tokens in", _expected_input(expected), f"{summary.input_tokens:,}"),
        ("tokens out", _expected_output(expected), f"{summary.output_tokens:,}"),
        ("time", _expected_time(expected), duration(summary.elapsed_seconds)),
        ("spent now", _expected_cost(expected), money(summary.spent_usd)),
    ]
    if summary.ending == "finished":
        rows.append(("cost of all answers, those of the journal included", "", f"{about}{money(summary.cost_usd)}"))
    if summary.cached_input_tokens:
        rows.append(("input tokens that the service had cached", "", f"{summary.cached_input_tokens:,}"))
    if summary.from_journal:
        rows.append(("rows that cost nothing now", "", f"{summary.from_journal:,}"))
    columns = (Column("", kind="name"), Column("expected"), Column("actual"))
    return [Section("Expected and actual", (Table(columns, tuple(map(Row, rows))),))]


def _expected_calls(expected: Expected | None) -> str:
    if expected is None:
        return ""
    low, high = expected.calls_low, expected.calls_high
    return f"{low:,}" if low == high else f"{low:,} to {high:,}"


def _expected_input(expected: Expected | None) -> str:
    return "" if expected is None else f"about {expected.input_tokens:,}, at most {expected.input_tokens_high:,}"


def _expected_output(expected: Expected | None) -> str:
    if expected is None:
        return ""
    return "without bound" if expected.output_tokens_high is None else f"at most {expected.output_tokens_high:,}"


def _expected_time(expected: Expected | None) -> str:
    return "" if expected is None or expected.seconds is None else f"about {duration(expected.seconds)}"


def _expected_cost(expected: Expected | None) -> str:
    if expected is None or expected.cost_usd is None:
        return ""
    most = "" if expected.cost_usd_high is None else f", at most {dollars(expected.cost_usd_high, up=True)}"
    return f"about {dollars(expected.cost_usd)}{most}"


def _speed(summary: ScoreSummary) -> list[Section]:
    blocks: list[Block] = []
    if summary.throughput is not None:
        blocks.append(throughput_chart(summary, summary.throughput))
    if summary.limiter:
        drawn = limiter_chart(summary)
        figures: tuple[Block, ...] = () if drawn is None else (drawn,)
        count = counted(len(summary.limiter), "change")
        blocks.append(Section("What the limiter allowed", (*figures, Fold(count, (_limiter_table(summary),)))))
    if summary.latency is not None:
        blocks.append(Section("Latency", (latency_chart(summary.latency),)))
    calls = [
        ("calls sent again", summary.retries),
        ("calls answered 429", summary.rate_limited),
    ]
    if any(count for _, count in calls):
        table = Table(
            (Column("", kind="name"), Column("", "count")), tuple(Row((name, float(count))) for name, count in calls)
        )
        blocks.append(table)
    return [Section("Speed", tuple(blocks))] if blocks else []


def _limiter_table(summary: ScoreSummary) -> Table:
    columns: Columns[LimiterChange] = [
        (Column("after", "seconds"), lambda one: one.seconds),
        (Column("what happened", kind="name", least=24), lambda one: one.what),
        (Column("in flight, at most", "count"), lambda one: one.window),
        (Column("requests a minute", "count"), lambda one: one.requests_per_minute),
        (Column("endpoint"), lambda one: one.endpoint),
    ]
    return Table.of(summary.limiter, columns)


def _models(summary: ScoreSummary) -> list[Section]:
    tables = []
    for name, answers, which in (
        ("model", summary.models, "answers, those of the journal included"),
        ("endpoint", summary.answered_by, "answers fetched now"),
    ):
        if answers:
            columns: Columns[tuple[str, int]] = [
                (Column(name, kind="name", hint="As the service named it." if name == "model" else ""), _named),
                (Column(which, "count"), lambda one: one[1]),
            ]
            tables.append(Table.of(answers.items(), columns))
    return [Section("Models that answered", tuple(tables))] if tables else []


def _named(one: tuple[str, int]) -> str:
    return one[0]


def _without_value(summary: ScoreSummary) -> list[Section]:
    if not summary.errors:
        return []
    columns: Columns[ErrorCount] = [
        (Column("state", kind="name"), lambda one: one.state),
        (Column("rows", "count"), lambda one: one.rows),
        (Column("first row", "count"), lambda one: one.first_row),
        (Column("reason", least=40), lambda one: one.error),
    ]
    examples = tuple(map(_example, summary.examples))
    shown = (Section("Examples", examples),) if examples else ()
    return [Section(f"Rows without {with_article(summary.value_name)}", (Table.of(summary.errors, columns), *shown))]


def _example(one: RowExample) -> Example:
    return Example(("row ", f"{one.row:,}", ": ", one.state), one.text, one.raw, one.error)


def _slowest(summary: ScoreSummary) -> list[Section]:
    if not summary.slowest:
        return []
    columns: Columns[SlowRow] = [
        (Column("row", "count"), lambda one: one.row),
        (Column("took", "seconds"), lambda one: one.seconds),
        (Column("state"), lambda one: one.state),
        (Column("tokens in", "count"), lambda one: one.input_tokens),
        (Column("tokens out", "count"), lambda one: one.output_tokens),
        (Column("text", least=40), lambda one: one.text),
    ]
    return [Section("Slowest rows", (Table.of(summary.slowest, columns),))]


def _tables(summary: ScoreSummary) -> Section:
    facts = {
        "input": summary.source,
        "sha256 of its rows": summary.input_digest,
        "output": summary.target,
        "sha256 of the rows written": summary.output_digest,
        **{f"input column {old}": f"is {new} in the output" for old, new in summary.renamed.items()},
    }
    columns = (Column("", kind="name"), Column("", least=40))
    return Section("Tables", (Table(columns, tuple(Row((name, text)) for name, text in facts.items() if text)),))
