"""Everything of a task on one page: its newest comparison, comparisons over time, versions, sweeps, audits, money."""

from __future__ import annotations

import shlex
from collections.abc import Callable, Iterator

from luthier.engine.report import counted
from luthier.history.history_figures import over_time_chart, over_time_sentences, spending_chart, spending_sentence
from luthier.history.judged_answers import with_judgements
from luthier.history.over_time import ComparedOnce, CompareHistory
from luthier.history.run_tables import day, moment, runs_table
from luthier.history.spending import SpentOn, TaskSpending
from luthier.history.task_history import TaskHistory, history_of_task
from luthier.history.versions import RegisteredVersion
from luthier.reporting.audit_report import audit_page
from luthier.reporting.board_report import board_page
from luthier.reporting.board_sentences import sentences
from luthier.reporting.numbers import metric_title
from luthier.reporting.table import Block, Cell, Column, Columns, Fold, Lines, Page, Row, Section, Table, left_out
from luthier.sweeps.sweep_report import sweep_page
from luthier.sweeps.sweep_sentences import sweep_sentences
from luthier.tracking.runs import tag_of

__all__ = ["task_page", "task_page_of"]

MOST_COMPARES = 100
"""Comparisons in a table, the newest."""

MOST_OPEN = 10
"""Comparisons of it that are seen at once, the newest; the others are folded."""

MOST_VERSIONS = 50

MOST_LINES = 100
"""Days and purposes in the table of spending, the newest."""

NOUNS = {"judge": "judgement", "rai": "rai run"}
"""What a run of a kind is called, where that is not the kind's name."""


def task_page_of(task: str | None = None) -> Page:
    """The page of a task; arguments and errors as of `history_of_task`."""
    return task_page(history_of_task(task))


def task_page(history: TaskHistory) -> Page:
    """Everything of a task, from `history_of_task`."""
    runs = history.runs
    kinds = [
        (kind, len(history.of_kind(kind))) for kind in ("compare", "sweep", "tune", "audit", "judge", "rai", "score")
    ]
    counts = ", ".join(counted(count, NOUNS.get(kind, kind)) for kind, count in kinds if count)
    days = list(dict.fromkeys(day(one.started) for one in (*runs[-1:], *runs[:1])))
    span = f" from {days[0]} to {days[1]}" if len(days) > 1 else "".join(f" of {one}" for one in days)
    return Page(
        f"Task: {history.task}",
        f"{counted(len(runs), 'run')} in MLflow{span}{f': {counts}' if counts else ''}.",
        tuple(_summary(history)),
        (
            *_over_time(history.compares),
            *_newest(history),
            *_versions(history),
            *_newest_sweep(history),
            *_list(history, "Sweeps", "sweep", "Each searched for the best settings."),
            *_newest_audit(history),
            *_list(history, "Audits", "audit", "Each held what a service reported against what was measured."),
            *_list(history, "Judgements", "judge", "Each is a model that rated the answers of a comparison."),
            *_list(history, "Assessments", "rai", "Each is a scorecard of a model on labelled rows."),
            *_prompts(history),
            *_spending(history.spending),
            _all_runs(history),
        ),
        f"Made from the runs of the MLflow experiment {history.task}.",
    )


def _summary(history: TaskHistory) -> Iterator[str]:
    if history.newest is not None:
        run, kept = history.newest
        yield f"Newest comparison ({moment(run.started)}): {sentences(kept.board)[0]}"
    else:
        yield "No comparison of this task keeps a leaderboard."
    if history.compares is not None and len(history.compares.compares) > 1:
        yield from over_time_sentences(history.compares)
    if history.sweep is not None:
        run, state = history.sweep
        yield f"Newest sweep ({run.name}, {moment(run.started)}): {sweep_sentences(state)[0]}"
    named = [f"{one.model} version {one.version} ({', '.join(one.aliases)})" for one in history.versions if one.aliases]
    if named:
        yield f"Registered: {'; '.join(named[:4])}."
    if history.spending.lines or history.spending.unknown:
        yield spending_sentence(history.spending)


def _over_time(history: CompareHistory | None) -> list[Section]:
    if history is None:
        return []
    chart = over_time_chart(history)
    digests = {digest: place for place, digest in enumerate(history.by_rows, start=1)}
    title = history.measure.title
    columns: Columns[ComparedOnce] = [
        (Column("comparison", kind="name", least=24), lambda one: one.name),
        (Column("id", kind="beneath", drop=4), lambda one: one.run_id),
        (Column("when (UTC)"), lambda one: moment(one.when).removesuffix(" UTC")),
        (Column("rows", "count"), lambda one: one.rows),
        (Column("which rows", hint="Comparisons with the same number are on the same labelled rows.", drop=2),
         lambda one: f"#{digests[one.test_digest]}"),
        (Column("best spec", least=16), lambda one: one.best.name),
        (Column(f"best {title}", history.measure.format), lambda one: one.best.value),
        (Column("", drop=3), lambda one: "rows missing" if one.partial else ""),
    ]  # fmt: skip
    newest = sorted(history.compares, key=lambda one: -one.when)
    notes = left_out("comparisons", len(newest), min(len(newest), MOST_COMPARES), first="newest")
    tables: list[Block] = [Table.of(newest[:MOST_OPEN], columns)]
    if len(newest) > MOST_OPEN:
        older = Table.of(newest[MOST_OPEN:MOST_COMPARES], columns, notes=notes)
        tables.append(Fold(f"{counted(len(newest) - MOST_OPEN, 'older comparison')}", (older,)))
    intro = (
        f"Each comparison of this task with the {title} of its specs and their 95% intervals: a better prompt, a new "
        "model or a service that drifts shows here."
    )
    return [Section("Comparisons over time", (intro, *([chart] if chart is not None else []), *tables))]


def _newest(history: TaskHistory) -> list[Section]:
    if history.newest is None:
        return []
    run, kept = history.newest
    beneath = [one for one in history.runs if one.parent == run.run_id]
    page = with_judgements(board_page(kept.board, kept.rows), kept.board, beneath)
    lead = f"{run.name}, {moment(run.started)}. {page.lead} Its own page: luthier report {run.run_id}"
    whole = next((one for one in history.runs if one.run_id == run.parent and one.kind == "compare"), None)
    if whole is not None:
        lead += f". It is one table of {whole.name}: luthier report {whole.run_id}"
    return [Section("Newest comparison", (lead, *_parts(page)))]


def _prompts(history: TaskHistory) -> list[Section]:
    """How many prompts were measured; a page of their own has their texts."""
    digests = {tag_of(run.tags, "prompt_digest") for run in history.runs if run.test_digest is not None} - {None}
    if not digests:
        return []
    said = f"{counted(len(digests), 'prompt')} measured, each with its figures, its text and what changed: "
    return [Section("Prompts", (f"{said}luthier prompts --task {shlex.quote(history.task)} --html prompts.html",))]


def _newest_sweep(history: TaskHistory) -> list[Section]:
    if history.sweep is None:
        return []
    run, state = history.sweep
    page = sweep_page(state)
    lead = f"{run.name}, {moment(run.started)}; its own page: luthier report {run.run_id}"
    return [Section("Newest sweep", (lead, Lines(page.said), *_parts(page)))]


def _newest_audit(history: TaskHistory) -> list[Section]:
    if history.audit is None:
        return []
    run, audit = history.audit
    page = audit_page(audit)
    lead = f"{run.name}, {moment(run.started)}. {page.lead} Its own page: luthier report {run.run_id}"
    return [Section("Newest audit", (lead, Lines(page.said), *_parts(page)))]


def _parts(page: Page) -> Iterator[Section]:
    """The sections of a page that is a part of this one."""
    return (section for section in page.sections if section.title != "Glossary")


def _versions(history: TaskHistory) -> list[Section]:
    if not history.versions:
        return []
    metric = None if history.compares is None else history.compares.metric
    measure = None if history.compares is None else history.compares.measure
    columns: list[tuple[Column, Callable[[RegisteredVersion], Cell]]] = [
        (Column("version", kind="name", least=16), lambda one: f"{one.model}/{one.version}"),
        (Column("alias"), lambda one: ", ".join(one.aliases)),
        (Column("spec", least=16), lambda one: one.spec),
        (Column("technique", kind="beneath", drop=3), lambda one: one.technique),
        (Column("model", kind="beneath", drop=3), lambda one: "" if one.base_model == "none" else one.base_model),
        (Column("registered", drop=2), lambda one: day(one.created)),
    ]
    if metric is not None and measure is not None:
        columns.append((Column(metric_title(metric), measure.format), lambda one: one.figures.get(metric)))
    columns.append((Column("on rows", "count", drop=1), lambda one: one.rows))
    shown = history.versions[:MOST_VERSIONS]
    table = Table.of(
        shown,
        columns,
        lambda one, cells: Row(cells, "first" if "champion" in one.aliases else ""),
        left_out("versions", len(history.versions), len(shown), first="newest"),
    )
    digests = {one.test_digest for one in shown if one.test_digest is not None}
    apart = " They were measured on different rows, so compare them before choosing." if len(digests) > 1 else ""
    intro = f"Versions in the model registry, with what the run measured that each was packaged from.{apart}"
    return [Section("Registered versions", (intro, table))]


def _list(history: TaskHistory, title: str, kind: str, intro: str) -> list[Section]:
    found = history.of_kind(kind)
    return [Section(title, (intro, runs_table(found)))] if found else []


def _spending(spending: TaskSpending) -> list[Section]:
    if not spending.lines and not spending.unknown:
        return []
    chart = spending_chart(spending)
    columns: Columns[SpentOn] = [
        (Column("day (UTC)", kind="name"), lambda line: str(line.day)),
        (Column("for"), lambda line: line.purpose),
        (Column("US dollars", "usd"), lambda line: line.usd),
        (Column("runs", "count"), lambda line: line.runs),
    ]
    newest = spending.lines[::-1]
    notes = left_out("lines", len(newest), min(len(newest), MOST_LINES), first="newest")
    blocks: list[Block] = [chart if chart is not None else spending_sentence(spending)]
    blocks += [Table.of(newest[:MOST_LINES], columns, notes=notes)] if newest else []
    return [Section("What was spent", tuple(blocks))]


def _all_runs(history: TaskHistory) -> Section:
    whole = [run for run in history.runs if run.kind not in ("candidate", "judged") and "luthier.trial" not in run.tags]
    fold = Fold(f"{counted(len(whole), 'run')}, specs and trials aside", (runs_table(whole),))
    return Section("All runs", ("The page of a run, whatever its kind: luthier report ID.", fold))
