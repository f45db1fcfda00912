"""A sweep as tables, sentences and figures: for a terminal, a notebook and a page."""

from __future__ import annotations

from luthier.engine.report import counted
from luthier.reporting.charts.chart import Chart
from luthier.reporting.numbers import printable
from luthier.reporting.setting_words import setting_names, written_settings, written_value
from luthier.reporting.table import (
    Block,
    Column,
    Columns,
    Fold,
    Lines,
    Page,
    Row,
    Section,
    Table,
    glossary,
)
from luthier.reporting.trials_report import setting_sections
from luthier.sweeps.study_state import FinalistFigures, StudyState
from luthier.sweeps.sweep_figures import (
    best_over_cost_figure,
    best_over_trials_figure,
    curves_figure,
    front_figure,
    price_figure,
)
from luthier.sweeps.sweep_sentences import (
    best_sentences,
    money_sentences,
    next_sentences,
    sweep_sentences,
)
from luthier.sweeps.sweep_tables import jobs_table, trials_table, unmeasured_table
from luthier.sweeps.sweep_trials import trial_table
from luthier.sweeps.sweep_words import figure_title, figure_unit
from luthier.sweeps.trial import SweepTrial

__all__ = ["best_trial_sections", "status_sections", "sweep_page", "sweep_sections"]

MOST_PRINTED = 20
"""Trials that a terminal or a cell shows, the best; the page and `frame` have them all."""

MOST_UNMEASURED = 10
"""The same of those without figures."""

LONGEST = 400
"""Characters of a value where there is one trial."""

MOST_LISTED, MOST_OTHERS = 150, 100
"""Trials in the page's tables, the best, and those without figures and jobs: a page of 500 trials can be mailed."""

TERMS = {
    "Selection rows": "The rows that trials are measured on and chosen by.",
    "Holdout rows": "Rows that selection never saw; the winner's figure on them is what to expect.",
    "Shrinkage": "The figure on selection rows minus that on holdout rows. The best of many is partly lucky.",
    "Stopped early": "Early stopping ended the trial, and cancelled its job, because its figures were poor by then.",
    "Settings": "The values of a trial, by the last part of their path in the spec.",
    "Cost": "What training, answers and hosting of a trial cost.",
}


def sweep_sections(state: StudyState, *, wide: bool = False) -> tuple[Section, ...]:
    """What a sweep found: the sentences, the finalists, the best trials.

    Args:
        state: the sweep.
        wide: a column per setting and figure, for a notebook.
    """
    blocks: list[Block] = [Lines(tuple(sweep_sentences(state)))]
    blocks += [_finalists(state)] if state.winner is not None else []
    tables = trials_table(state, MOST_PRINTED, wide=wide), unmeasured_table(state, MOST_UNMEASURED, wide=wide)
    blocks += [table for table in tables if table.rows]
    return (Section(f"sweep {state.facts.name}", (*blocks, *next_sentences(state))),)


def status_sections(state: StudyState) -> tuple[Section, ...]:
    """How far a sweep is: the sentences, then every remote job with its state and bill."""
    blocks: list[Block] = [f"study in {state.storage}"] if state.storage else []
    blocks += [Lines(tuple(sweep_sentences(state)))]
    jobs = jobs_table(state) if state.with_jobs else unmeasured_table(state, wide=False)
    blocks += [jobs] if jobs.rows else []
    return (Section(f"sweep {state.facts.name}", (*blocks, *next_sentences(state))),)


def best_trial_sections(state: StudyState, best: SweepTrial) -> tuple[Section, ...]:
    """The best trial: what is said of it, its settings, its figures on the selection rows."""
    settings = Table(
        (Column("setting", kind="name", least=40), Column("value", least=60)),
        tuple(Row((printable(path), written_value(value, LONGEST))) for path, value in best.settings.items()),
    )
    figures = Table(
        (Column("on selection rows", kind="name", least=40), Column("", "fine")),
        tuple(
            Row((figure_title(name), state.figure(best, name)), unit=figure_unit(name))
            for name in state.measured
            if state.figure(best, name) is not None
        ),
    )
    blocks: list[Block] = [Lines(tuple(best_sentences(state)))]
    blocks += [table for table in (settings, figures) if table.rows]
    return (Section(f"sweep {state.facts.name}: trial {best.number}", tuple(blocks)),)


def sweep_page(state: StudyState) -> Page:
    """Everything there is of a sweep."""
    facts, table = state.facts, trial_table(state)
    sections = [
        *([Section("Winner", (_finalists(state),))] if state.winner is not None else []),
        *_section(
            "Progress", _drawn(best_over_trials_figure(state), best_over_cost_figure(state)), curves_figure(state)
        ),
        *_section("Cost and quality", _drawn(front_figure(state), price_figure(state))),
        *setting_sections(table),
        *_trials(state),
        *([Section("Jobs", (_folded(jobs_table(state, MOST_OTHERS), "job"),))] if state.with_jobs else []),
        Section("Money", (Lines(tuple(money_sentences(state))),)),
        Section("Glossary", (glossary(_terms(state)),)),
    ]
    aims = " and ".join(f"{figure_title(one.metric)} ({one.better} is better)" for one in facts.objectives)
    rows = ", ".join(f"{kept['rows']:,} {name} rows" for name, kept in facts.tables.items() if kept.get("rows"))
    return Page(
        f"Sweep: {facts.name}",
        f"A search for {aims}{f' with {rows}' if rows else ''}.",
        (*sweep_sentences(state), *table.notes),
        tuple(sections),
        f"MLflow run {facts.run_id}." if facts.run_id else "",
    )


def _trials(state: StudyState) -> list[Section]:
    complete, others = trials_table(state, MOST_LISTED), unmeasured_table(state, MOST_OTHERS)
    return [
        *([Section("Complete trials", (_listed(state), _folded(complete, "trial")))] if complete.rows else []),
        *([Section("Stopped, failed, under way", (_folded(others, "trial"),))] if others.rows else []),
    ]


def _folded(table: Table, what: str) -> Table | Fold:
    """A table that is long stands behind its number of rows."""
    count = len(table.rows)
    return table if count <= MOST_PRINTED else Fold(counted(count, what), (table,))


def _listed(state: StudyState) -> str:
    names = setting_names(state.paths)
    longer = [f"{name} is {path}" for path, name in names.items() if name != path]
    said = f" Of the settings, {', '.join(longer)}." if longer else ""
    return f"The best first.{said}"


def _drawn(*charts: Chart | None) -> tuple[Chart, ...]:
    """Those charts that there are, side by side."""
    return tuple(one for one in charts if one is not None)


def _section(title: str, *blocks: Block | None) -> list[Section]:
    """A section of what there is; nothing where there is nothing."""
    found = tuple(one for one in blocks if one)
    return [Section(title, found)] if found else []


def _terms(state: StudyState) -> dict[str, str]:
    """The terms that this page uses."""
    absent = set() if state.winner is not None else {"Holdout rows", "Shrinkage"}
    absent |= set() if state.stopped_early else {"Stopped early"}
    absent |= set() if any(trial.cost_usd is not None for trial in state.own) else {"Cost"}
    return {term: meaning for term, meaning in TERMS.items() if term not in absent}


def _finalists(state: StudyState) -> Table:
    """The winner and those it cannot be told from, on both kinds of rows."""
    assert state.winner is not None
    metric = state.winner.metric
    unit, settings = figure_unit(metric), {trial.number: trial.settings for trial in state.trials}
    columns: Columns[FinalistFigures] = [
        (Column("finalist", kind="name", least=8), lambda one: f"trial {one.number}"),
        (
            Column("settings", kind="beneath", least=40, drop=1),
            lambda one: written_settings(settings.get(one.number, {})),
        ),
        (Column(f"{figure_title(metric)}: selection rows", unit, short="selection"), lambda one: one.selection),
        (Column("holdout rows", unit, short="holdout"), lambda one: one.holdout),
        (
            Column("shrinkage", "gap", hint="The figure on selection rows minus that on holdout rows."),
            lambda one: one.shrinkage,
        ),
    ]
    won = state.winner.number
    return Table.of(
        state.winner.finalists, columns, lambda one, cells: Row(cells, "first" if one.number == won else "")
    )
