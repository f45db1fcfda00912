"""Prompts with models, as tables, sentences and figures: what holds across them leads."""

from __future__ import annotations

import textwrap
from collections.abc import Callable, Sequence

from luthier.engine.report import counted
from luthier.evaluation.crossed import Crossed, CrossedFactor, CrossedLevel
from luthier.evaluation.resampling import Interval
from luthier.reporting.board_sentences import named
from luthier.reporting.charts.chart import Axis, Strip, Strips
from luthier.reporting.numbers import interval, number, printable
from luthier.reporting.short_names import short_names
from luthier.reporting.table import Block, Cell, Column, Lines, Row, Section, Table
from luthier.tasks.types import Measure

__all__ = ["crossed_leaders", "crossed_sections", "crossed_sentences"]

HEAD_WIDTH = 10
"""Characters of a terminal after which a model's name goes on in the next line."""

MOST_LINES = 40
"""Prompts or models that are printed or drawn, the best."""

MOST_LOOKS = 6
"""So many models, or prompts, have a look of their own in a figure."""


def crossed_sections(grids: Sequence[Crossed], measure: Measure, *, drawn: bool = False) -> tuple[Section, ...]:
    """Which prompt holds with every model, then which model with every prompt.

    Args:
        grids: as a rule one; nothing where no spec was asked with several models.
        measure: what the specs are ranked by.
        drawn: with figures, for a page, which begins with the sentences.
    """
    return tuple(section for grid in grids for section in _sections(grid, measure, drawn))


def crossed_leaders(grids: Sequence[Crossed], measure: Measure) -> list[str]:
    """Which prompt and which model lead, and which cannot be told from these: what a page begins with."""
    return [
        sentence
        for grid in grids
        for what, factor, other in (("prompt", grid.prompts, "model"), ("model", grid.models, "prompt"))
        if len(factor.levels) > 1
        for sentence in crossed_sentences(grid, factor, what, other, measure)
    ]


def _sections(grid: Crossed, measure: Measure, drawn: bool) -> list[Section]:
    over = [counted(len(grid.models.levels), "model"), counted(len(grid.prompts.levels), "prompt")]
    tables = f" and {len(grid.tables)} tables" if len(grid.tables) > 1 else ""
    found = []
    for what, factor, other, others in (
        ("prompt", grid.prompts, "model", over[0]),
        ("model", grid.models, "prompt", over[1]),
    ):
        if len(factor.levels) < 2:
            continue
        title = f"{what.capitalize()}s across {others}{tables}"
        blocks: list[Block] = [_table(grid, factor, what, other, measure)]
        if drawn:
            blocks.append(_strips(grid, factor, what, other, measure))
        else:
            blocks.append(Lines(tuple(crossed_sentences(grid, factor, what, other, measure))))
        found.append(Section(title, tuple(blocks)))
    return found


def _table(grid: Crossed, factor: CrossedFactor, what: str, other: str, measure: Measure) -> Table:
    """A row per prompt with a column per model, or a row per model; the matrix stands in one of both only."""
    columns: list[tuple[Column, Callable[[CrossedLevel], Cell]]] = [
        (Column("#", "count"), lambda one: one.rank),
        (Column(what, kind="name", least=16), lambda one: one.name),
        (Column(f"mean {measure.title}", measure.format, brief=5), lambda one: one.mean),
    ]
    if what == "prompt" or len(grid.prompts.levels) < 2:
        others = [level.name for level in (grid.models if what == "prompt" else grid.prompts).levels]
        shown = short_names(others)
        for name in others if len(others) > 1 else []:
            columns.append(_with(grid, what, name, shown[name], measure))
    several = len(grid.tables) > 1
    columns += [
        (Column("worst", measure.format, hint="The worst cell."), lambda one: one.worst.value),
        (Column(f"with {other}", least=14, drop=2), lambda one: one.worst_with),
        *([(Column("on", least=8, drop=1), lambda one: one.worst_on)] if several else []),
        (
            Column("leads", hint="Cells where it is first or not told apart from the first.", drop=4),
            lambda one: f"{one.leads} of {one.cells}",
        ),
        (
            Column("mean rank", hint="Mean of its places in the cells.", drop=3),
            lambda one: None if one.mean_rank is None else f"{one.mean_rank:.1f}",
        ),
        (Column("tie", least=4), lambda one: one.group),
    ]
    notes = (f"The best {MOST_LINES} of {len(factor.levels)}.",) if len(factor.levels) > MOST_LINES else ()
    levels = factor.levels[:MOST_LINES]
    return Table.of(levels, columns, lambda one, cells: Row(cells, "first" if one.rank == 1 else ""), notes)


def _cell(grid: Crossed, what: str, name: str, other: str) -> Interval | None:
    return grid.cell(name, other) if what == "prompt" else grid.cell(other, name)


def _with(
    grid: Crossed, what: str, name: str, shown: str, measure: Measure
) -> tuple[Column, Callable[[CrossedLevel], Cell]]:
    def cell(level: CrossedLevel) -> Cell:
        found = _cell(grid, what, level.name, name)
        return "missing" if found is None else found.value

    head = "\n".join(textwrap.wrap(printable(shown), HEAD_WIDTH))
    return Column(shown, measure.format, short=head, hint=f"With {name}, the mean over the tables.", drop=6), cell


def _strips(grid: Crossed, factor: CrossedFactor, what: str, other: str, measure: Measure) -> Strips:
    """The mean of each, with a dot for each cell of the matrix."""
    others = [level.name for level in (grid.models if what == "prompt" else grid.prompts).levels]
    looks = len(others) <= MOST_LOOKS
    strips = []
    for level in factor.levels[:MOST_LINES]:
        cells = [(name, _cell(grid, what, level.name, name)) for name in others]
        there = [(name, cell) for name, cell in cells if cell is not None]
        strips.append(
            Strip(
                level.name,
                tuple(cell.value for _, cell in there),
                tuple(f"{level.name} with {name}: {interval(cell, measure.format)}" for name, cell in there),
                tuple(others.index(name) for name, _ in there) if looks else (),
                level.mean,
            )
        )
    said = (
        f"The stroke is the mean {measure.title} with its 95% interval; a dot stands for each {other}. Dots far apart "
        f"show a {what} that depends on the {other}."
    )
    axis = Axis(f"{measure.title} ({measure.better} is better)", measure.format)
    return Strips("", said, axis, tuple(strips), legend=tuple(others) if looks else ())


def crossed_sentences(grid: Crossed, factor: CrossedFactor, what: str, other: str, measure: Measure) -> list[str]:
    """What to take from one of both sides, most important first.

    Args:
        grid: prompts and models.
        factor: its prompts or its models.
        what: `prompt` or `model`.
        other: the other one.
        measure: what is measured.
    """
    lacking = [
        f"No mean for {level.name}, as it was not measured with {named(level.missing)}: the means of others are over "
        "all cells."
        for level in factor.levels
        if level.missing
    ]
    if len(lacking) > 2:
        some = [level.name for level in factor.levels if level.missing]
        lacking = [f"No mean for {named(some)}, as each lacks a {other}: the means of others are over all cells."]
    ranked = factor.ranked
    if not ranked:
        return [f"No {what} was measured with every {other}, so none has a mean.", *lacking]
    best = ranked[0]
    found = interval(best.mean, measure.format) if best.mean else ""
    said = [f"{best.name} is the {what} with the best mean {measure.title}, {found}."]
    if len(ranked) == 1:
        return [*said, *lacking]
    tied = factor.tied_with_best(grid.alpha)
    if not tied:
        than = f"every other {what}" if len(ranked) > 2 else ranked[1].name
        said = [f"{said[0].rstrip('.')}; it is better than that of {than}."]
    else:
        shown = f"any other {what}" if len(tied) == len(ranked) - 1 > 1 else named(tied)
        said = [f"{said[0].rstrip('.')}; it cannot be told apart from that of {shown}."]
    return [*said, *_disagreement(grid, ranked, measure), *lacking]


def _disagreement(grid: Crossed, ranked: Sequence[CrossedLevel], measure: Measure) -> list[str]:
    """Whether the worst cell and the mean rank name the same one as the mean."""
    best = ranked[0]
    sign = -1 if measure.better == "higher" else 1
    steady = min(ranked, key=lambda one: (sign * one.worst.value, one.rank))
    placed = min(ranked, key=lambda one: (one.mean_rank or 0.0, one.rank))
    said = []
    if steady is not best:
        never = " and it is never last" if not steady.last and best.last else ""
        said.append(
            f"{best.name} is best on average, but the worst cell of {steady.name} is better: "
            f"{_worst(grid, steady, measure)} against {_worst(grid, best, measure)}{never}."
        )
    if placed not in (best, steady):
        said.append(
            f"By the mean of places {placed.name} is first: {placed.mean_rank:.1f} against {best.mean_rank:.1f}."
        )
    if steady is best and placed is best:
        said.append(f"The worst cell of {best.name}, {_worst(grid, best, measure)}, and its mean rank are best, too.")
    return said


def _worst(grid: Crossed, level: CrossedLevel, measure: Measure) -> str:
    where = f"with {level.worst_with}" + (f" on {level.worst_on}" if len(grid.tables) > 1 else "")
    return f"{number(level.worst.value, measure.format)} {where}"
