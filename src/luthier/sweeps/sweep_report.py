"""A sweep as tables, sentences and figures: for a terminal, a notebook and a page."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from luthier.evaluation.resampling import Interval
from luthier.reporting.numbers import Unit, printable
from luthier.reporting.table import (
    Block,
    Cell,
    Column,
    Columns,
    Figure,
    Lines,
    Page,
    Row,
    Section,
    Table,
    glossary,
    left_out,
)
from luthier.sweeps.study_state import FinalistFigures, StudyState
from luthier.sweeps.sweep_plots import (
    best_over_cost_figure,
    best_over_trials_figure,
    curves_figure,
    front_figure,
    parallel_figure,
    setting_figures,
)
from luthier.sweeps.sweep_sentences import (
    best_sentences,
    listed_trials,
    money_sentences,
    next_sentences,
    sweep_sentences,
)
from luthier.sweeps.sweep_words import (
    STATUS_WORDS,
    figure_title,
    figure_unit,
    short_names,
    written_seconds,
    written_settings,
    written_value,
)
from luthier.sweeps.trial import SweepTrial

__all__ = ["best_sections", "jobs_table", "status_sections", "sweep_page", "sweep_sections", "trials_table"]

MOST_PRINTED = 20
"""Trials that a terminal or a cell shows, the best; the page and `frame` have them all."""

MOST_COLUMNS = 6
"""Up to so many settings have a column each in a terminal."""

LONGEST = 400
"""Characters of a value where there is one trial."""

MOST_LISTED = 1000
"""Trials in the page's table, the best; `frame` has them all."""

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
    shown = trials_table(state, MOST_PRINTED, wide=wide)
    blocks: list[Block] = [Lines(tuple(sweep_sentences(state)))]
    blocks += [_finalists(state)] if state.winner is not None else []
    blocks += [shown] if shown.rows else []
    return (Section(f"sweep {state.facts.name}", (*blocks, *next_sentences(state))),)


def status_sections(state: StudyState) -> tuple[Section, ...]:
    """How far a sweep is: the sentences, then every remote job with its state and bill."""
    blocks: list[Block] = [f"study in {state.storage}"] if state.storage else []
    blocks += [Lines(tuple(sweep_sentences(state)))]
    jobs = jobs_table(state)
    blocks += [jobs] if jobs.rows else []
    return (Section(f"sweep {state.facts.name}", (*blocks, *next_sentences(state))),)


def best_sections(state: StudyState, best: SweepTrial) -> tuple[Section, ...]:
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


def trials_table(state: StudyState, most: int | None = None, *, wide: bool = True) -> Table:
    """A row per trial, the best first, with every figure there is of it.

    Args:
        state: the sweep.
        most: rows at most.
        wide: a column per setting however many there are; else many stand in one, or beneath the trial's number.
    """
    aims = [one.metric for one in state.facts.objectives]
    shown = state.ranked if most is None else state.ranked[:most]
    columns: list[tuple[Column, Callable[[SweepTrial], Cell]]] = [
        (Column("trial", kind="name", least=8), lambda trial: str(trial.number)),
    ]
    columns += _settings_columns(state, wide=wide or len(state.paths) <= MOST_COLUMNS)
    columns += [(Column("", least=14), _status)]
    # Bounds of the objective give way before the other metrics do: there is more to a trial than one figure.
    columns += [_figure_column(state, metric, brief=9) for metric in aims]
    others = [name for name in state.measured if name not in aims]
    # The first metrics are the most telling ones, so the last gives way first.
    columns += [_figure_column(state, name, brief=1, drop=max(4, 14 - place)) for place, name in enumerate(others)]
    columns += [_reported_column(name) for name in state.reported]
    columns += [
        (Column("tokens", "count", drop=8, hint="Trained tokens that are paid for."), lambda one: one.trained_tokens),
        (Column("cost $", "usd", drop=15, hint="Training, answers and hosting."), lambda one: one.cost_usd),
        (Column("time", drop=2), _duration),
        (Column("why", least=28, drop=3), lambda one: printable(one.reason)),
    ]
    kept = [pair for pair in columns if pair[0].kind == "name" or any(pair[1](one) is not None for one in shown)]
    kept = [pair for pair in kept if any(pair[1](one) not in (None, "") for one in shown)]
    best = state.best

    def row(trial: SweepTrial, cells: tuple[Cell, ...]) -> Row:
        if best is not None and trial.number == best.number:
            return Row(cells, "first")
        return Row(cells, "reference" if trial.status != "complete" or trial.source is not None else "")

    return Table.of(shown, kept, row, left_out("trials", len(state.trials), len(shown)))


def jobs_table(state: StudyState) -> Table:
    """A row per remote job, those that are alive first, with its state and bill."""
    columns: Columns[SweepTrial] = [
        (Column("trial", kind="name", least=6), lambda one: str(one.number)),
        (Column("job", least=40), lambda one: printable(one.job or "")),
        (Column("state", hint="The service's word, as last heard."), lambda one: printable(one.job_status or "")),
        (Column("trial is", drop=3), _status),
        (Column("tokens", "count", hint="Trained tokens that are paid for."), lambda one: one.trained_tokens),
        (Column("of", "count", drop=2, hint="Tokens of the whole job."), lambda one: one.planned_tokens),
        (Column("bill $", "usd", hint="What training cost."), _bill),
        (Column("reserved $", "usd", short="held $", drop=4), lambda one: one.reserved_usd),
        (Column("driven by", drop=1), lambda one: printable(one.owner or "")),
    ]
    jobs = state.with_jobs
    kept = [pair for pair in columns if any(pair[1](one) not in (None, "") for one in jobs)]
    guessed = [one.number for one in jobs if one.tokens_estimated and one.trained_tokens is not None]
    notes = []
    if guessed:
        notes = [f"Tokens and bill of {listed_trials(guessed)} follow from the last step heard of, as none are billed."]
    return Table.of(jobs, kept, notes=tuple(notes))


def sweep_page(state: StudyState) -> Page:
    """Everything there is of a sweep."""
    facts = state.facts
    sections = [
        *([Section("Winner", (_finalists(state),))] if state.winner is not None else []),
        *_figures(state),
        Section("Trials", (_listed(state), trials_table(state, MOST_LISTED))),
        *([Section("Jobs", (jobs_table(state),))] if state.with_jobs else []),
        Section("Money", (Lines(tuple(money_sentences(state))),)),
        Section("Glossary", (glossary(TERMS),)),
    ]
    aims = " and ".join(f"{figure_title(one.metric)} ({one.better} is better)" for one in facts.objectives)
    rows = ", ".join(f"{kept['rows']:,} {name} rows" for name, kept in facts.tables.items() if kept.get("rows"))
    return Page(
        f"Sweep: {facts.name}",
        f"A search for {aims}{f' with {rows}' if rows else ''}.",
        tuple(sweep_sentences(state)),
        tuple(sections),
        f"MLflow run {facts.run_id}." if facts.run_id else "",
    )


def _listed(state: StudyState) -> str:
    names = short_names(state.paths)
    longer = [f"{name} is {path}" for path, name in names.items() if name != path]
    said = f" Of the settings, {', '.join(longer)}." if longer else ""
    return f"The best first; what early stopping ended stands back, with the reason.{said}"


def _figures(state: StudyState) -> list[Section]:
    blocks: list[Block] = []
    over = [
        Figure("figure-trials", best_over_trials_figure(state), "Best so far, by trial"),
        *(
            [Figure("figure-cost", found, "Best so far, by cost")]
            if (found := best_over_cost_figure(state)) is not None
            else []
        ),
    ]
    if not state.complete:
        return []
    blocks.append(tuple(over))
    if (front := front_figure(state)) is not None:
        blocks.append(
            Figure("figure-front", front, "Cost and quality", "No other trial beats those on the line in both.")
        )
    settings = [
        Figure(f"figure-setting-{place}", figure, name) for place, (name, figure) in enumerate(setting_figures(state))
    ]
    if settings:
        blocks.append(Section("Each setting against the objective", (tuple(settings),)))
    if (parallel := parallel_figure(state)) is not None:
        said = "A line per complete trial: the stronger, the better. The thick one is the best."
        blocks.append(Figure("figure-parallel", parallel, "All settings together", said))
    if (curves := curves_figure(state)) is not None:
        said = "What early stopping judged by: the best value until then. A cross is where it ended a trial."
        blocks.append(Figure("figure-curves", curves, "Learning curves", said))
    return [Section("Figures", tuple(blocks))]


def _finalists(state: StudyState) -> Table:
    """The winner and those it cannot be told from, on both kinds of rows."""
    assert state.winner is not None
    metric = state.facts.objectives[0].metric
    unit, settings = figure_unit(metric), {trial.number: trial.settings for trial in state.trials}
    columns: Columns[FinalistFigures] = [
        (Column("finalist", kind="name", least=8), lambda one: f"trial {one.number}"),
        (Column("settings", kind="beneath", least=40), lambda one: written_settings(settings.get(one.number, {}))),
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


def _settings_columns(state: StudyState, *, wide: bool) -> Sequence[tuple[Column, Callable[[SweepTrial], Cell]]]:
    if not wide:
        return [(Column("settings", kind="beneath", least=60), lambda trial: written_settings(trial.settings))]

    def cell(path: str) -> Callable[[SweepTrial], Cell]:
        return lambda trial: written_value(trial.settings[path]) if path in trial.settings else None

    names = short_names(state.paths)

    def head(path: str) -> Column:
        # In a terminal the words of a name stand one beneath the other.
        short = printable(names[path].rpartition(".")[2]).replace("_", "\n")
        return Column(printable(names[path]), least=16, short=short, hint=path)

    return [(head(path), cell(path)) for path in names]


def _figure_column(
    state: StudyState, metric: str, *, brief: int = 0, drop: int = 0
) -> tuple[Column, Callable[[SweepTrial], Cell]]:
    def cell(trial: SweepTrial) -> Interval | None:
        return state.figure(trial, metric)

    return Column(figure_title(metric), figure_unit(metric), brief=brief, drop=drop), cell


def _reported_column(name: str) -> tuple[Column, Callable[[SweepTrial], Cell]]:
    unit: Unit = "fine"
    title = printable(name.rpartition("/")[2])
    column = Column(f"reported {title}", unit, drop=1, hint=f"{name}, as the service reported it last.")
    return column, lambda trial: trial.reported.get(name)


def _status(trial: SweepTrial) -> str:
    if trial.source is not None:
        return f"imported: {printable(trial.source)}"
    if trial.status == "pruned" and trial.curve:
        return f"stopped at {max(trial.curve)}%"
    return STATUS_WORDS[trial.status]


def _duration(trial: SweepTrial) -> str:
    return "" if trial.duration_seconds is None else written_seconds(trial.duration_seconds)


def _bill(trial: SweepTrial) -> float | None:
    return trial.training_usd if trial.training_usd is not None else trial.cost_usd
