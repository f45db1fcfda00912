"""Trials as a page: how results are distributed, what they depend on, and which settings the best have."""

from __future__ import annotations

from collections.abc import Callable
from statistics import median

from luthier.engine.report import counted
from luthier.evaluation.setting_importance import importance_of
from luthier.evaluation.trials import (
    BestRegion,
    TrialCell,
    TrialRow,
    TrialTable,
    best_cell,
    best_regions,
    best_trials,
    result,
    trial_cells,
)
from luthier.reporting.numbers import Unit, number, printable
from luthier.reporting.setting_words import setting_names, written_settings, written_value
from luthier.reporting.table import Block, Cell, Column, Columns, Fold, Lines, Page, Row, Section, Table, left_out
from luthier.reporting.trials_figures import (
    distribution_chart,
    frontier_chart,
    importance_strips,
    parallel_chart,
    result_title,
    result_unit,
    setting_charts,
    trial_name,
)

__all__ = ["best_sections", "setting_sections", "trials_page", "trials_sections", "trials_sentences", "trials_table"]

MOST_LISTED = 200
"""Trials in the page's table, the best."""

MOST_CELLS = 6
"""Combinations of choices in the page's table, those with most of the best trials."""

MOST_FIGURES = 6
"""Other figures beside each trial in the table, those that most trials have."""

MOST_WRITTEN = 8
"""Values of a setting in a cell of a table."""

CROWDED = 0.4
"""From this share of all trials on, a reader is told that the best cell had the most chances to hold the best."""

TrialCellOf = Callable[[TrialRow], Cell]


def _with(trial: TrialRow) -> str:
    return f": {written_settings(trial.settings)}" if trial.settings else ""


def trials_page(table: TrialTable) -> Page:
    """Everything there is of a table of trials."""
    better = f"by {result_title(table)} ({table.better} is better)"
    settings = f"{len(table.varied):,} {'setting that differs' if len(table.varied) == 1 else 'settings that differ'}"
    return Page(
        f"Trials: {printable(table.source)}",
        f"{counted(len(table.trials), 'trial')} with {settings}, compared {better}.",
        tuple(trials_sentences(table)),
        (*trials_sections(table), Section("How the table was read", (Lines(tuple(map(printable, table.notes))),)))
        if table.notes
        else trials_sections(table),
    )


def trials_sentences(table: TrialTable) -> list[str]:
    """What to take from the trials, the most important first."""
    unit, spread = result_unit(table), table.spread
    if spread is None:
        return ["No trial has a result yet."]
    low, middle, high = (number(value, unit) for value in (spread.least, spread.median, spread.most))
    best = table.ranked[0]
    said = [
        f"Lowest {low}, median {middle}, highest {high} over {counted(spread.trials, 'trial')} with a result.",
        f"The best is {trial_name(best)} with {number(result(best), unit)}{_with(best)}.",
        *_cell_sentences(table),
    ]
    if len(table.trials) > spread.trials:
        said.append(
            f"{counted(len(table.trials) - spread.trials, 'trial')} without a result: stopped, failed or not finished."
        )
    said.append(
        "The best of many trials is partly lucky. Measure it on rows that had no part in choosing it before you rely "
        "on its figure."
    )
    return said


def trials_sections(table: TrialTable) -> tuple[Section, ...]:
    """Everything of the settings, then what trials took, and the trials."""
    if not table.complete:
        return ()
    frontier = frontier_chart(table)
    took = (Section("What a trial took", (frontier,)),) if frontier is not None else ()
    listed = Fold(f"{counted(min(len(table.ranked), MOST_LISTED), 'trial')}, the best first", (trials_table(table),))
    return (*setting_sections(table), *took, Section("Trials", (listed,)))


def setting_sections(table: TrialTable) -> tuple[Section, ...]:
    """Distribution, where the best lie, each setting against the result, all together, importance."""
    distribution = distribution_chart(table)
    if distribution is None:
        return ()
    found = [Section("How results are distributed", (distribution,)), *best_sections(table)]
    charts = setting_charts(table)
    if charts:
        by_model = " Its colour and shape are those of its base model." if table.models[1:] else ""
        intro = (
            f"A point is a trial.{by_model} A stroke is the median: at each choice, or in each third of the values of "
            "a number. Settings vary together, so a difference here may come from another setting."
        )
        found.append(Section("Each setting against the result", (intro, charts)))
    for title, figure in (
        ("All settings together", parallel_chart(table)),
        ("Which settings matter", importance_strips(importance_of(table), table.settings)),
    ):
        found += [Section(title, (figure,))] if figure is not None else []
    return tuple(found)


def best_sections(table: TrialTable) -> tuple[Section, ...]:
    """Where the best tenth of the trials lie, as tables: by setting, and by combination of choices."""
    regions = best_regions(table)
    if not regions:
        return ()
    count = len(best_trials(table))
    names = setting_names(table.settings)
    columns: Columns[BestRegion] = [
        (Column("setting", kind="name"), lambda one: printable(names[one.setting.name])),
        (Column(f"the best {count:,}"), _of_best),
        (Column("all trials"), _of_all),
    ]
    blocks: list[Block] = [f"The best tenth of the trials, {count:,}, beside all.", Table.of(regions, columns)]
    cell = best_cell(table)
    if cell is not None:
        cells = _cells_table(table, tuple(cell.settings), count)
        blocks += [cells] if len(cells.rows) > 1 else []
    return (Section("Where the best lie", tuple(blocks)),)


def trials_table(table: TrialTable) -> Table:
    """A row per trial with a result, the best first."""
    shown = table.ranked[:MOST_LISTED]
    names, varied = setting_names(table.settings), {one.name for one in table.varied}
    columns: list[tuple[Column, TrialCellOf]] = [
        (Column("trial", kind="name"), lambda one: printable(one.name)),
        (Column(result_title(table), result_unit(table)), lambda one: one.value),
    ]
    columns += [
        (Column(printable(names[name]), hint=printable(name)), _setting(name))
        for name in table.settings
        if name in varied
    ]
    columns += [(Column(printable(name), _figure_unit(table, name)), _figure(name)) for name in _frequent(table)]
    if any(one.cost_usd is not None for one in shown):
        columns.append((Column("cost $", "usd"), lambda one: one.cost_usd))
    return Table.of(
        shown,
        columns,
        lambda one, cells: Row(cells, "first" if one is shown[0] else ""),
        left_out("trials", len(table.ranked), len(shown)),
    )


def _cell_sentences(table: TrialTable) -> list[str]:
    """Where the best tenth lie, and how much that says."""
    cell, unit = best_cell(table), result_unit(table)
    said = []
    if cell is not None and cell.trials < cell.trials_of:
        some = "All" if cell.best == cell.best_of else f"{cell.best:,}"
        share = cell.trials / cell.trials_of
        outside = "" if cell.elsewhere is None else f", against {number(cell.elsewhere, unit)} elsewhere"
        said.append(
            f"{some} of the best {cell.best_of:,} have {written_settings(cell.settings)}. The median there is "
            f"{number(cell.median, unit)}{outside}."
        )
        fewer = " Other settings had fewer trials to show what they can reach." if share >= CROWDED else ""
        said.append(
            f"That is where {cell.trials:,} of the {cell.trials_of:,} trials were ({number(share, 'percent')}), so "
            f"chance alone would put about {cell.best_of * share:.0f} of the best there.{fewer}"
        )
    narrow = [_narrow(table, one) for one in best_regions(table) if one.narrower and not one.setting.is_choice]
    if narrow:
        said.append(f"The best {len(best_trials(table)):,} have {' and '.join(narrow)}.")
    return said


def _cells_table(table: TrialTable, settings: tuple[str, ...], count: int) -> Table:
    """A row per combination of choices, those with most of the best trials first."""
    cells, unit = trial_cells(table, settings), result_unit(table)
    names = setting_names(table.settings)
    better = max if table.better == "higher" else min
    columns: list[tuple[Column, Callable[[TrialCell], Cell]]] = [
        (Column("settings", kind="name"), lambda one: _written_cell(one, settings, names)),
        (Column("trials", "count"), lambda one: len(one.results)),
        (Column(f"of the best {count:,}", "count"), lambda one: one.best),
        (Column(f"median {result_title(table)}", unit, short="median"), lambda one: median(one.results)),
        (Column("best", unit), lambda one: better(one.results)),
    ]
    return Table.of(
        cells[:MOST_CELLS],
        columns,
        lambda one, found: Row(found, "first" if one is cells[0] else ""),
        left_out("combinations that were tried", len(cells), len(cells[:MOST_CELLS]), first="first"),
    )


def _written_cell(cell: TrialCell, settings: tuple[str, ...], names: dict[str, str]) -> str:
    parts = [
        f"{printable(names[name])} {written_value(cell.settings[name], 24) if name in cell.settings else 'not set'}"
        for name in settings
    ]
    return ", ".join(parts)


def _of_best(region: BestRegion) -> str:
    if region.setting.is_choice:
        shown = [f"{written_value(value, 24)} ({count:,})" for value, count in region.values[:MOST_WRITTEN]]
        return ", ".join(shown) + (", …" if len(region.values) > MOST_WRITTEN else "")
    return f"{written_value(region.low)} to {written_value(region.high)}"


def _of_all(region: BestRegion) -> str:
    values = region.setting.values
    if region.setting.is_choice:
        shown = [written_value(value, 24) for value in values[:MOST_WRITTEN]]
        return ", ".join(shown) + (", …" if len(values) > MOST_WRITTEN else "")
    return f"{written_value(values[0])} to {written_value(values[-1])}"


def _narrow(table: TrialTable, region: BestRegion) -> str:
    name = printable(setting_names(table.settings)[region.setting.name])
    tried = f"{written_value(region.setting.values[0])} to {written_value(region.setting.values[-1])} was tried"
    return f"{name} {written_value(region.low)} to {written_value(region.high)} ({tried})"


def _frequent(table: TrialTable) -> list[str]:
    """The other figures that most trials have."""
    names = dict.fromkeys(name for one in table.complete for name in one.figures)
    counts = {name: sum(name in one.figures for one in table.complete) for name in names}
    return sorted(counts, key=lambda name: -counts[name])[:MOST_FIGURES]


def _setting(name: str) -> TrialCellOf:
    return lambda one: written_value(one.settings[name]) if name in one.settings else None


def _figure(name: str) -> TrialCellOf:
    return lambda one: one.figures.get(name)


def _figure_unit(table: TrialTable, name: str) -> Unit:
    values = [one.figures[name] for one in table.complete if name in one.figures]
    return "count" if max(map(abs, values)) > 1 and all(value.is_integer() for value in values) else "fine"
