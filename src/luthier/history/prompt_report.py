"""The prompts of a task as tables and as a page: figures by rows, what changed, texts, and what each cost."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import replace
from itertools import accumulate

from luthier.engine.report import counted
from luthier.history.prompt_figures import prompt_sentences, prompts_chart, rows_title
from luthier.history.prompt_history import MeasuredRows, MeasuredWording, PromptHistory
from luthier.history.prompt_runs import COST, PromptFigure
from luthier.history.run_tables import day, moment, spent_text
from luthier.reporting.table import Block, Column, Columns, Fold, Lines, Page, Section, Table, TextDiff, left_out
from luthier.spec import Spec
from luthier.techniques.wordings import digest_of_wording, wording_of, wording_text

__all__ = ["detail_sections", "prompts_page", "prompts_sections", "unmeasured_sections"]

MOST_TABLES = 12
"""Sets of rows with a table of their own on a page; of those with fewest prompts, a line says that there are more."""

MOST_ROWS = 300
"""Figures in a table of a page, the best."""

MOST_OPEN = 25
"""Figures of it that are seen at once."""

MOST_TEXTS = 200
"""Prompts whose texts are on a page, the newest; 1,000 of a thousand characters make a file of several megabytes."""

Measured = tuple[MeasuredWording, PromptFigure]


def prompts_sections(history: PromptHistory, limit: int | None = None, *, tables: int = 4) -> tuple[Section, ...]:
    """What a terminal and a notebook show.

    Args:
        history: of the prompts.
        limit: most figures of a table, the best; all when absent.
        tables: most sets of rows.
    """
    shown = history.tables[:tables]
    lead = Section(f"Prompts of task {history.task}", (_lead(history), Lines(tuple(prompt_sentences(history)))))
    parts = [Section(rows_title(rows), (_table(history, rows, rows.figures[:limit]),)) for rows in shown]
    if len(history.tables) > len(shown):
        left = len(history.tables) - len(shown)
        parts.append(Section("", (f"{counted(left, 'further set')} of rows with fewer prompts: --html FILE, --json.",)))
    return (lead, *parts)


def detail_sections(wordings: Sequence[MeasuredWording]) -> tuple[Section, ...]:
    """Each of these prompts with what changed from its parent, or its text where it has none."""
    return tuple(Section(_title(one), tuple(_detail(one, whole=False))) for one in wordings)


def unmeasured_sections(history: PromptHistory, spec: Spec) -> tuple[Section, ...]:
    """What changed since the newest prompt, where the spec as it is now was not measured; nothing where it was."""
    wording = wording_of(spec)
    if wording is None or digest_of_wording(wording) in {one.digest for one in history.wordings}:
        return ()
    named = [one for one in history.wordings if spec.name in one.names]
    last = (named or list(history.wordings))[-1]
    text = f"{spec.name} as it is now was not measured. What changed since #{last.number}:"
    diff = TextDiff.between(last.text, wording_text(wording), (f"#{last.number}", spec.name))
    return (Section("Not measured yet", (text, diff)),)


def prompts_page(history: PromptHistory) -> Page:
    """Everything of the prompts on one page."""
    tables = history.tables
    parts = [Section(rows_title(rows), tuple(_rows_blocks(history, rows))) for rows in tables[:MOST_TABLES]]
    if len(tables) > MOST_TABLES:
        left = f"{len(tables) - MOST_TABLES:,} further sets of rows with fewer prompts: luthier prompts --json has all."
        parts.append(Section("Other rows", (left,)))
    return Page(
        f"Prompts: {history.task}",
        _lead(history),
        tuple(prompt_sentences(history)),
        (*parts, _all(history), _texts(history)),
        f"Made from the runs of the MLflow experiment {history.task}.",
    )


def _lead(history: PromptHistory) -> str:
    whole = f" of {history.whole:,}" if history.whole > len(history.wordings) else ""
    models = dict.fromkeys(model for one in history.wordings for model in one.models)
    text = f"{len(history.wordings):,}{whole} prompts measured with {counted(len(models), 'model')}"
    days = list(dict.fromkeys(day(one.first) for one in (*history.wordings[:1], *history.wordings[-1:])))
    says = "A prompt is its wording, whatever the spec is called and whichever model answers."
    return f"{text}, {' to '.join(days)}. {says}"


def _rows_blocks(history: PromptHistory, rows: MeasuredRows) -> Iterator[Block]:
    chart = prompts_chart(history, rows)
    if chart is not None:
        yield chart
    yield _table(history, rows, rows.figures[:MOST_OPEN])
    more = rows.figures[MOST_OPEN:MOST_ROWS]
    if more:
        notes = left_out("figures", len(rows.figures), MOST_OPEN + len(more))
        yield Fold(f"{counted(len(more), 'further figure')}", (_table(history, rows, more, notes),))


def _table(
    history: PromptHistory, rows: MeasuredRows, shown: Sequence[Measured], notes: tuple[str, ...] | None = None
) -> Table:
    measure = history.measure
    with_models = len({figure.model for _, figure in rows.figures}) > 1
    columns: Columns[Measured] = [
        (Column("#"), lambda pair: f"#{pair[0].number}"),
        (Column("prompt", kind="name", least=18), lambda pair: pair[1].spec),
        (Column("model", kind="" if with_models else "beneath", least=16, drop=6), lambda pair: pair[1].model),
        (Column(measure.title, measure.format, brief=7), lambda pair: pair[1].metrics[history.metric]),
        (Column("$ / 1,000 rows", "usd", short="$ /\n1,000", drop=5, hint="What 1,000 rows cost when they were asked."),
         lambda pair: _price(pair[1])),
        (Column("paid", drop=4, hint="What this measurement cost: 0 where the journal had the answers."),
         lambda pair: spent_text(pair[1].spent_usd)),
        (Column("made from", short="from", least=8), lambda pair: _from(pair[0])),
        (Column("what changed", least=24, drop=8), lambda pair: _changed(pair[0])),
        (Column("when (UTC)", drop=3), lambda pair: day(pair[1].when)),
        (Column("registered", least=14, drop=2), lambda pair: _registered(pair[0])),
        (Column("", drop=1), lambda pair: "rows missing" if pair[1].partial else ""),
    ]  # fmt: skip
    found = left_out("figures", len(rows.figures), len(shown)) if notes is None else notes
    return _without_empty(Table.of(shown, columns, notes=found))


def _without_empty(table: Table) -> Table:
    """A table without the columns that say nothing of any row."""
    kept = [
        place for place in range(len(table.columns)) if any(row.cells[place] not in ("", None) for row in table.rows)
    ]
    rows = tuple(replace(row, cells=tuple(row.cells[place] for place in kept)) for row in table.rows)
    return replace(table, columns=tuple(table.columns[place] for place in kept), rows=rows)


def _price(figure: PromptFigure) -> float | None:
    found = figure.metrics.get(COST)
    return None if found is None else found.value


def _from(wording: MeasuredWording) -> str:
    if wording.parent is None:
        return ""
    if wording.parent_number is None:
        return "not measured"
    return f"#{wording.parent_number}{', likely' if wording.parent.is_likely else ''}"


def _changed(wording: MeasuredWording) -> str:
    parent = wording.parent
    return "" if parent is None else "; ".join(filter(None, (parent.how, parent.change)))


def _registered(wording: MeasuredWording) -> str:
    prompts = [f"prompt {name}" for name in wording.prompt_versions[:1]]
    return ", ".join([*wording.model_versions[:2], *prompts])


def _all(history: PromptHistory) -> Section:
    """Every prompt in the order in which they came about, the newest first, with what was paid until then."""
    spent = [math.fsum(one.spent_usd or 0.0 for one in wording.figures) for wording in history.wordings]
    so_far = dict(zip((one.number for one in history.wordings), accumulate(spent), strict=True))
    columns: Columns[MeasuredWording] = [
        (Column("#"), lambda one: f"#{one.number}"),
        (Column("prompt", kind="name", least=18), lambda one: one.names[0]),
        (Column("", kind="beneath"), lambda one: f"also {', '.join(one.names[1:4])}" if one.names[1:] else ""),
        (Column("made from"), _from),
        (Column("what changed", least=24), _changed),
        (Column("first measured (UTC)"), lambda one: moment(one.first).removesuffix(" UTC")),
        (Column("models", least=16), lambda one: ", ".join(one.models)),
        (Column("measured", "count", hint="How often it was measured."), lambda one: len(one.figures)),
        (Column("paid", hint="What its measurements cost when they were made."), lambda one: spent_text(one.spent_usd)),
        (Column("paid so far", hint="With all prompts before it, as far as costs are known."),
         lambda one: spent_text(so_far[one.number])),
        (Column("registered", least=14), _registered),
    ]  # fmt: skip
    newest = list(reversed(history.wordings))
    blocks: list[Block] = [_without_empty(Table.of(newest[:MOST_OPEN], columns))]
    if newest[MOST_OPEN:]:
        blocks.append(
            Fold(f"{len(newest) - MOST_OPEN:,} older", (_without_empty(Table.of(newest[MOST_OPEN:], columns)),))
        )
    return Section("All prompts and their cost", tuple(blocks))


def _texts(history: PromptHistory) -> Section:
    newest = list(reversed(history.wordings))[:MOST_TEXTS]
    folds = [Fold(_title(one), tuple(_detail(one, whole=True))) for one in newest]
    notes = left_out("prompts", len(history.wordings), len(newest), first="newest")
    more = [f"{notes[0]} Any other: luthier prompts '#3' --diff."] if notes else []
    return Section("Texts", ("Each prompt and what changed from the one it was made from.", *folds, *more))


def _title(wording: MeasuredWording) -> str:
    return f"#{wording.number} {wording.names[0]}"


def _detail(wording: MeasuredWording, *, whole: bool) -> Iterator[Block]:
    yield from _facts(wording)
    parent = wording.parent
    if parent is not None and wording.parent_text is not None:
        names = (f"#{wording.parent_number}", f"#{wording.number}")
        yield TextDiff.between(wording.parent_text, wording.text, names)
    if whole or wording.parent_text is None:
        yield TextDiff.of_text(wording.text)


def _facts(wording: MeasuredWording) -> Iterator[Block]:
    parent = wording.parent
    lines = []
    if parent is not None and wording.parent_number is None:
        lines.append(f"Made from a prompt that was never measured ({parent.digest[:12]}). {parent.how}".strip())
    elif parent is not None:
        why = {
            "recorded": "",
            "name": " (likely: the last one measured under this name before)",
            "similar": " (likely: the earlier one with most words in common)",
        }[parent.by]
        lines.append(f"Made from #{wording.parent_number}{why}: {_changed(wording)}.")
    if wording.names[1:]:
        lines.append(f"Also measured as {', '.join(wording.names[1:])}.")
    registered = [*wording.model_versions, *(f"prompt {name}" for name in wording.prompt_versions)]
    if registered:
        lines.append(f"Registered: {', '.join(registered)}.")
    lines.append(f"Wording {wording.digest[:12]}; newest run {wording.runs[0]}.")
    yield Lines(tuple(lines))
