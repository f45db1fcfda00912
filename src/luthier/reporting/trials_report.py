"""Trials as a page: where results lie, what they depend on, and which settings the best have."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from statistics import median

from luthier.engine.report import counted
from luthier.evaluation.setting_importance import importance_of
from luthier.evaluation.trials import BestRegion, TrialRow, TrialTable, best_cell, best_regions, best_trials, result
from luthier.reporting.numbers import number, printable
from luthier.reporting.setting_words import short_names, written_settings, written_value
from luthier.reporting.table import Cell, Column, Columns, Page, Section, Table, left_out
from luthier.reporting.trials_figures import (
    distribution_chart,
    frontier_chart,
    importance_strips,
    parallel_chart,
    result_title,
    result_unit,
    setting_charts,
)

__all__ = ["trials_page", "trials_sections", "trials_sentences"]

_Cell = Callable[[TrialRow], Cell]

MOST_LISTED = 300
"""Trials in the page's table, the best."""

MOST_FIGURES = 6
"""Other figures beside each trial in the table."""


def trials_page(table: TrialTable) -> Page:
    """Everything there is of a table of trials."""
    return Page(
        f"Trials: {printable(table.source)}",
        f"{counted(len(table.trials), 'trial')}, judged by {result_title(table)} ({table.better} is better).",
        tuple(trials_sentences(table)),
        trials_sections(table),
        " ".join(table.notes),
    )


def trials_sentences(table: TrialTable) -> list[str]:
    """What to take from the trials."""
    unit, values = result_unit(table), [result(one) for one in table.complete]
    if not values:
        return ["No trial has a result yet."]
    best = table.ranked[0]
    low, middle, high = (number(value, unit) for value in (min(values), median(values), max(values)))
    said = [f"Lowest {low}, median {middle}, highest {high}, over {counted(len(values), 'trial')} with a result."]
    said.append(
        f"The best is {printable(best.name)} with {number(result(best), unit)}: {written_settings(best.settings)}."
    )
    cell, top = best_cell(table), best_trials(table)
    if cell is not None and cell.trials < cell.trials_of:
        outside = "" if cell.elsewhere is None else f", against {number(cell.elsewhere, unit)} elsewhere"
        said.append(
            f"{cell.best:,} of the best {cell.best_of:,} have {written_settings(cell.settings)}, and so have "
            f"{cell.trials:,} of all {cell.trials_of:,} trials; the median there is "
            f"{number(cell.median, unit)}{outside}."
        )
    narrow = [_narrow(one) for one in best_regions(table) if one.narrower and not one.setting.is_choice]
    if narrow:
        said.append(f"The best {len(top):,} lie at {' and '.join(narrow)}.")
    if len(values) > 1:
        said.append(
            "The best of many is partly lucky: measure it on rows that had no part in choosing it before you rely on "
            "its figure."
        )
    return said


def trials_sections(table: TrialTable) -> tuple[Section, ...]:
    """The figures of a page: distribution, settings, all of them together, importance, cost, and the trials."""
    if not table.complete:
        return ()
    found = [Section("Distribution", (distribution_chart(table),))]
    best = _best_section(table)
    found += [best] if best is not None else []
    charts = setting_charts(table)
    if charts:
        intro = (
            "Each point is a trial. Its base model has a colour and a shape."
            if table.models[1:]
            else "Each point is a trial."
        )
        found.append(Section("Each setting against the result", (intro, charts)))
    parallel = parallel_chart(table)
    found += [Section("All settings together", (parallel,))] if parallel is not None else []
    importance = importance_of(table)
    found += [Section("What matters", (importance_strips(importance),))] if importance is not None else []
    frontier = frontier_chart(table)
    found += [Section("Cost and result", (frontier,))] if frontier is not None else []
    return (*found, Section("Trials", (_trials(table),)))


def _best_section(table: TrialTable) -> Section | None:
    regions = best_regions(table)
    if not regions:
        return None
    count = len(best_trials(table))
    names = short_names(table.settings)
    columns: Columns[BestRegion] = [
        (Column("setting", kind="name"), lambda one: printable(names[one.setting.name])),
        (Column(f"the best {count:,}"), _of_best),
        (Column("all trials"), _of_all),
    ]
    intro = (
        f"What the best tenth of the trials ({count:,}) have in common. Where most trials have the same value, "
        "the best have it too; only a region that leaves out a part of what was tried says something."
    )
    return Section("Where the best lie", (intro, Table.of(regions, columns)))


def _of_best(region: BestRegion) -> str:
    if region.values:
        shown = [f"{written_value(value, 24)} ({count:,})" for value, count in region.values[:6]]
        return ", ".join(shown) + (", …" if len(region.values) > 6 else "")
    return f"{written_value(region.low)} to {written_value(region.high)}"


def _of_all(region: BestRegion) -> str:
    values = region.setting.values
    if region.setting.is_choice:
        return ", ".join(written_value(value, 24) for value in values[:8]) + (", …" if len(values) > 8 else "")
    return f"{written_value(values[0])} to {written_value(values[-1])}"


def _narrow(region: BestRegion) -> str:
    name = printable(region.setting.name.rpartition(".")[2])
    tried = f"{written_value(region.setting.values[0])} to {written_value(region.setting.values[-1])} was tried"
    return f"{name} {written_value(region.low)} to {written_value(region.high)} ({tried})"


def _trials(table: TrialTable) -> Table:
    """A row per trial with a result, the best first."""
    shown = table.ranked[:MOST_LISTED]
    names, varied = short_names(table.settings), {one.name for one in table.varied}
    columns: list[tuple[Column, _Cell]] = [
        (Column("trial", kind="name"), lambda one: printable(one.name)),
        (Column(result_title(table), result_unit(table)), lambda one: one.value),
    ]
    columns += [(Column(printable(names[name])), _setting(name)) for name in table.settings if name in varied]
    figures = _frequent(table)
    columns += [(Column(printable(name), "fine"), _figure(name)) for name in figures]
    if any(one.cost_usd is not None for one in shown):
        columns.append((Column("cost $", "usd"), lambda one: one.cost_usd))
    return Table.of(shown, columns, notes=left_out("trials", len(table.ranked), len(shown)))


def _frequent(table: TrialTable) -> Sequence[str]:
    """The other figures that most trials have."""
    counts: Mapping[str, int] = {
        name: sum(name in one.figures for one in table.complete)
        for name in dict.fromkeys(name for one in table.complete for name in one.figures)
        if not name.endswith(("_low", "_high"))
    }
    return sorted(counts, key=lambda name: -counts[name])[:MOST_FIGURES]


def _setting(name: str) -> _Cell:
    return lambda one: written_value(one.settings[name]) if name in one.settings else None


def _figure(name: str) -> _Cell:
    return lambda one: one.figures.get(name)
