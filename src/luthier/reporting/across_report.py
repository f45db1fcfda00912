"""What holds across several tables, as tables, sentences and figures."""

from __future__ import annotations

import textwrap
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace

from luthier.engine.report import counted
from luthier.evaluation.across import Across, AcrossEntry
from luthier.evaluation.leaderboard import Leaderboard
from luthier.evaluation.spread import Spread
from luthier.reporting.board_figures import across_strips
from luthier.reporting.board_report import board_sections, board_table, pairs_section, spread_blocks
from luthier.reporting.board_sentences import named, sentences
from luthier.reporting.crossed_report import crossed_leaders, crossed_sections
from luthier.reporting.numbers import interval, printable
from luthier.reporting.race_report import race_sections
from luthier.reporting.table import Cell, Column, Columns, Lines, Page, Row, Section, Table
from luthier.tasks.types import Measure

__all__ = ["across_page", "across_sections", "across_sentences", "across_table"]

HEAD_WIDTH = 12
"""Characters of a terminal after which a table's name goes on in the next line."""

Spreads = Mapping[str, Sequence[Spread]]


def across_sections(
    boards: Mapping[str, Leaderboard], across: Across, spreads: Spreads | None = None
) -> tuple[Section, ...]:
    """The leaderboard of every table and, at the end, what holds across them.

    Args:
        boards: table to its leaderboard.
        across: what holds across them.
        spreads: table to the spreads of its grids.
    """
    title = f"Across {len(across.tables)} tables, ranked by mean {across.measure.title}"
    return (
        *(
            Section(f"Table {name}", board_sections(replace(board, crossed=()), (spreads or {}).get(name, ())))
            for name, board in boards.items()
        ),
        Section(title, (across_table(across), Lines(tuple(across_sentences(across))))),
        *crossed_sections(across.crossed, across.measure),
    )


def across_table(across: Across) -> Table:
    """A row per spec: its mean over the tables, its value on each one, and where it does worst."""
    measure, several = across.measure, len(across.entries) > 1
    columns: list[tuple[Column, Callable[[AcrossEntry], Cell]]] = [
        (Column("#", "count"), lambda entry: entry.rank),
        (Column("spec", kind="name", least=20), lambda entry: entry.name),
        (Column("technique", kind="beneath", drop=1), lambda entry: entry.technique),
        (Column("model", kind="beneath", least=24, drop=1), lambda entry: "" if entry.model == "none" else entry.model),
        (Column(f"mean {measure.title}", measure.format, brief=5), lambda entry: entry.mean),
    ]
    for name in across.tables:
        columns += _on(name, measure)
    columns += [
        (Column("worst on", drop=3), lambda entry: entry.worst_table(measure)),
        (Column("mean rank", "number", drop=2), lambda entry: f"{entry.mean_rank:.1f}"),
        *([(Column("tie", least=8), lambda entry: entry.group)] if several else []),
    ]
    return Table.of(across.entries, columns, lambda entry, cells: Row(cells, "first" if entry.rank == 1 else ""))


def _on(table: str, measure: Measure) -> Columns[AcrossEntry]:
    head = "\n".join(textwrap.wrap(printable(table), HEAD_WIDTH))
    column = Column(table, measure.format, short=head, hint="Beneath: the place on this table.", drop=4)
    places: Columns[AcrossEntry] = [(Column("", kind="small"), lambda entry: f"#{entry.ranks[table]}")]
    return [(column, lambda entry: entry.values[table].value), *places]


def across_sentences(across: Across) -> list[str]:
    """What to take from several tables, most important first."""
    best, measure = across.best, across.measure
    count = len(across.tables)
    found = interval(best.mean, measure.format)
    said = [
        f"{best.name} has the best mean {measure.title}, {found}, over {counted(count, 'table')}. Each "
        "table has the same weight, and the interval is for these tables, not for a further one."
    ]
    tied = across.tied_with(best.name)
    if tied:
        said.append(f"Its mean cannot be told apart from that of {named(tied)}.")
    elif len(across.entries) == 2:
        said.append(f"Its mean is better than that of {across.entries[1].name}.")
    elif len(across.entries) > 1:
        said.append("Its mean is better than every other spec's, also after correcting for the number of comparisons.")
    without: list[str] = []
    if across.without:
        without = [f"No mean, because {measure.title} is missing on some table: {named(across.without)}."]
    if len(across.entries) < 2 or count < 2:
        return said + without
    everywhere = [entry.name for entry in across.entries if len(entry.leads) == count]
    on_all = "on both tables" if count == 2 else f"on all {count} tables"
    if everywhere:
        said.append(f"{named(everywhere)} {'is' if len(everywhere) == 1 else 'are'} among the best {on_all}.")
    else:
        said.append(f"No spec is among the best {on_all}: which is best depends on the table.")
    return said + [line for entry in across.entries for line in _extremes(entry, len(across.entries))] + without


def _extremes(entry: AcrossEntry, count: int) -> list[str]:
    """A sentence about a spec that is best on one table and last on another."""
    best = [table for table, rank in entry.ranks.items() if rank == 1]
    last = [table for table, rank in entry.ranks.items() if rank == count]
    return [f"{entry.name} is best on {named(best)} and last on {named(last)}."] if best and last else []


def across_page(boards: Mapping[str, Leaderboard], across: Across, *, spreads: Spreads | None = None) -> Page:
    """Every table's leaderboard, then what holds across them.

    Args:
        boards: table to its leaderboard.
        across: what holds across them.
        spreads: table to the spreads of grids with several seeds of examples.
    """
    measure, task = across.measure, next(iter(boards.values())).task
    # What holds across models stands first: behind the tables of many specs it would not be found.
    sections = [*crossed_sections(across.crossed, measure, drawn=True)]
    for name, board in boards.items():
        title = f"{counted(board.rows_evaluated, 'row')}, ranked by {measure.title}."
        drawn = [*race_sections(board), *spread_blocks((spreads or {}).get(name, ()))]
        sections.append(Section(f"Table {name}", (title, board_table(board), Lines(tuple(sentences(board))), *drawn)))
    intro = (
        f"Ranked by the mean {measure.title} over the tables, each of the same weight whatever its number of rows. "
        f"{measure.description} The intervals come from resampling rows within each table, independently of the other "
        "tables: they say how certain the mean over these tables is, not what a further table would show. Specs that "
        "share a letter under “tie” cannot be told apart by the mean."
    )
    sections.append(Section("Across the tables", (intro, across_table(across), across_strips(across))))
    differences = (
        "Differences of the means, from the same resamples for both specs. “p” is corrected for the number of pairs "
        f"(Holm's method); below {across.alpha:g} the difference counts as real."
    )
    head = Column(f"difference in mean {measure.title}", measure.format)
    return Page(
        f"Leaderboards: {task.name}",
        f"{len(across.entries) + len(across.without)} specs on {len(across.tables)} tables; each spec is fitted once. "
        "Confusion, calibration and errors are in the report of each table's run.",
        (*crossed_leaders(across.crossed, measure), *across_sentences(across)),
        (*sections, *pairs_section(differences, head, across.pairs, across.alpha)),
    )
