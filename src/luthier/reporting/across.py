"""What holds across several tables, in a terminal, in a notebook and in sentences."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from html import escape
from typing import TYPE_CHECKING

from luthier.evaluation.across import Across, AcrossEntry
from luthier.evaluation.leaderboard import Leaderboard
from luthier.evaluation.measures import METRICS
from luthier.evaluation.spread import Spread
from luthier.reporting.notebook import BOARD_STYLE, leaderboard_html
from luthier.reporting.numbers import interval, number, printable
from luthier.reporting.sentences import named
from luthier.reporting.terminal import ascii_text, print_leaderboard

if TYPE_CHECKING:
    from rich.console import Console

__all__ = ["across_html", "across_sentences", "across_table", "print_across"]

WIDE = 100
"""From so many columns on there is room for the mean rank and the worst table."""

MOST_TABLES = 4
"""So many tables have a column each in a terminal; more are in the report."""


def across_sentences(across: Across) -> list[str]:
    """What to take from several tables, most important first."""
    best, measure = across.best, METRICS[across.metric]
    count = len(across.tables)
    found = interval(best.mean, measure.format)
    said = [
        f"{best.name} has the best mean {measure.title}, {found}, over {count} table{'s' if count > 1 else ''}; each "
        "table weighs the same, and the interval is for these tables, not for a further one."
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
        without = [f"Without {measure.title} on every table, and so without a mean: {named(across.without)}."]
    if len(across.entries) < 2 or count < 2:
        return said + without
    everywhere = [entry.name for entry in across.entries if len(entry.leads) == count]
    on_all = "on both tables" if count == 2 else f"on all {count} tables"
    if everywhere:
        said.append(f"{named(everywhere)} {'is' if len(everywhere) == 1 else 'are'} among the best {on_all}.")
    else:
        said.append(f"No spec is among the best {on_all}: which is best depends on the table.")
    said += [_moody(entry, len(across.entries)) for entry in across.entries if _is_moody(entry, len(across.entries))]
    return said + without


def _is_moody(entry: AcrossEntry, count: int) -> bool:
    return min(entry.ranks.values()) == 1 and max(entry.ranks.values()) == count


def _moody(entry: AcrossEntry, count: int) -> str:
    best = [table for table, rank in entry.ranks.items() if rank == 1]
    last = [table for table, rank in entry.ranks.items() if rank == count]
    return f"{entry.name} is best on {named(best)} and last on {named(last)}."


def print_across(
    boards: Mapping[str, Leaderboard],
    across: Across,
    console: Console | None = None,
    spreads: Mapping[str, Sequence[Spread]] | None = None,
) -> None:
    """Prints the leaderboard of every table and, at the end, what holds across them.

    Args:
        boards: table to its leaderboard.
        across: what holds across them.
        console: where; standard output when absent.
        spreads: table to the spreads of its grids.
    """
    from rich import box
    from rich.console import Console
    from rich.table import Table
    from rich.text import Text

    console = console or Console()
    ascii_only = not console.encoding.lower().startswith("utf")

    def cell(text: str) -> Text:
        return Text(ascii_text(printable(text)) if ascii_only else printable(text))

    for name, board in boards.items():
        console.print(cell(f"Table {name}"), style="bold reverse")
        print_leaderboard(board, console, spreads=(spreads or {}).get(name, ()))
        console.print()
    measure = METRICS[across.metric]
    console.print(cell(f"Across {len(across.tables)} tables, ranked by mean {measure.title}"), style="bold reverse")
    wide = console.width >= WIDE
    shown = across.tables if len(across.tables) <= MOST_TABLES else ()
    table = Table(box=box.SIMPLE_HEAD, padding=(0, 1, 0, 0), show_edge=False, collapse_padding=True)
    table.add_column("#", justify="right", no_wrap=True)
    table.add_column("spec", overflow="fold", min_width=12)
    table.add_column(f"mean {measure.title}", no_wrap=True)
    for name in shown:
        table.add_column(cell(name), justify="right", overflow="fold")
    if wide or not shown:
        table.add_column("worst on", overflow="fold")
        table.add_column("mean rank", justify="right", no_wrap=True)
    if len(across.entries) > 1:
        table.add_column("tie", no_wrap=True)
    for entry in across.entries:
        cells = [cell(str(entry.rank)), cell(entry.name), cell(interval(entry.mean, measure.format))]
        cells += [cell(number(entry.values[name].value, measure.format)) for name in shown]
        if wide or not shown:
            cells += [cell(entry.worst_table(across.metric)), cell(f"{entry.mean_rank:.1f}")]
        if len(across.entries) > 1:
            cells.append(cell(entry.group))
        table.add_row(*cells, style="bold" if entry.rank == 1 else None)
    console.print(table)
    beneath = Table.grid(padding=(0, 1, 0, 0))
    for line in across_sentences(across):
        beneath.add_row("-", cell(line))
    console.print(beneath)


def across_table(across: Across) -> str:
    """The table of means as HTML; to be put inside an element of class `luthier-board`."""
    measure = METRICS[across.metric]
    head = ["", "spec", "model", f"mean {measure.title}", *across.tables, "worst on", "mean rank", "tie"]
    body = []
    for entry in across.entries:
        model = "" if entry.model == "none" else escape(entry.model)
        cells = [
            f'<td class="luthier-number">{entry.rank}</td>',
            f'<td class="luthier-name"><span class="luthier-who"><bdi>{escape(entry.name)}</bdi></span>'
            f"<br><small>{escape(entry.technique)}</small></td>",
            f'<td class="luthier-name"><bdi>{model}</bdi></td>',
            f"<td>{escape(interval(entry.mean, measure.format))}</td>",
            *(
                f'<td class="luthier-number">{escape(number(entry.values[name].value, measure.format))}'
                f"<br><small>#{entry.ranks[name]}</small></td>"
                for name in across.tables
            ),
            f"<td><bdi>{escape(entry.worst_table(across.metric))}</bdi></td>",
            f'<td class="luthier-number">{entry.mean_rank:.1f}</td>',
            f'<td class="luthier-tie">{escape(entry.group)}</td>',
        ]
        body.append(f'<tr class="{"luthier-first" if entry.rank == 1 else ""}">{"".join(cells)}</tr>')
    numbers = {*across.tables, "mean rank"}
    heads = "".join(
        f'<th class="luthier-number"><bdi>{escape(text)}</bdi></th>' if text in numbers else f"<th>{escape(text)}</th>"
        for text in head
    )
    return f"<table><thead><tr>{heads}</tr></thead><tbody>{''.join(body)}</tbody></table>"


def across_html(
    boards: Mapping[str, Leaderboard], across: Across, spreads: Mapping[str, Sequence[Spread]] | None = None
) -> str:
    """Every table's leaderboard and what holds across them, as a fragment for `_repr_html_`."""
    parts = [
        f"<h4><bdi>{escape(name)}</bdi></h4>{leaderboard_html(board, (spreads or {}).get(name, ()))}"
        for name, board in boards.items()
    ]
    said = "".join(f"<li>{escape(line)}</li>" for line in across_sentences(across))
    title = f"<strong>Across {len(across.tables)} tables</strong>, ranked by mean {METRICS[across.metric].title}"
    return (
        f'{"".join(parts)}<div class="luthier-board"><style>{BOARD_STYLE}</style><div>{title}</div>'
        f"{across_table(across)}<ul>{said}</ul></div>"
    )
