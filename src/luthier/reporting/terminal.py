"""The leaderboard in a terminal, readable at 80 columns and in a log file."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from luthier.evaluation.leaderboard import Entry, Leaderboard
from luthier.evaluation.measures import METRICS, Format
from luthier.evaluation.resampling import Interval
from luthier.evaluation.spread import Spread
from luthier.reporting.numbers import interval, number, percent, printable
from luthier.reporting.sentences import headline_metrics, sentences, unlabelled_share
from luthier.reporting.spread import print_spread

if TYPE_CHECKING:
    from rich.console import Console
    from rich.table import Table

__all__ = ["ascii_text", "headline", "leaderboard_table", "print_leaderboard"]

WIDE = 118
"""From so many columns on there is room for technique, model and an interval beside every metric."""

MANY_TIES = 4
"""A narrow table with more letters of ties than these has two metrics: names of specs need the room of the third."""

WIDEST = 136
"""From so many on, for a fourth metric."""

MOST_LINES = 60
"""So many specs are printed, the best; the report has them all."""

COST = "cost_per_1000_rows_usd"
SPEED = "latency_p50_seconds"


def leaderboard_table(
    board: Leaderboard, width: int, *, ascii_only: bool = False, most_specs: int = MOST_LINES
) -> Table:
    """The leaderboard as a rich table.

    Args:
        board: what to show.
        width: columns of the terminal.
        ascii_only: whether the terminal can write nothing else.
        most_specs: so many specs have a line, the best.
    """
    from rich import box
    from rich.table import Table
    from rich.text import Text

    def cell(text: str) -> Text:
        return Text(ascii_text(printable(text)) if ascii_only else printable(text))

    wide = width >= WIDE
    many = not wide and max(len(entry.group) for entry in board.entries) > MANY_TIES
    metrics = headline_metrics(board)[: 4 if width >= WIDEST else 2 if many else 3]
    entries: list[Entry] = [
        *board.entries[:most_specs],
        board.majority,
        *([board.ceiling] if board.ceiling else []),
    ]
    lost = any(unlabelled_share(entry) for entry in board.entries)
    tied = board.is_compared

    table = Table(box=box.SIMPLE_HEAD, padding=(0, 1, 0, 0), show_edge=False, collapse_padding=True)
    table.add_column("#", justify="right", no_wrap=True)
    table.add_column("spec", overflow="fold", min_width=12)
    if wide:
        table.add_column("technique", no_wrap=True)
        table.add_column("model", overflow="fold", min_width=8, max_width=24)
    for place, name in enumerate(metrics):
        table.add_column(METRICS[name].title, justify="left" if wide or place == 0 else "right", no_wrap=True)
    if lost:
        table.add_column("no label" if wide else "lost", justify="right", no_wrap=True)
    if any(COST in entry.metrics for entry in board.entries):
        table.add_column("$/1,000" if wide else "$/1k", justify="right", no_wrap=True)
    if any(SPEED in entry.metrics for entry in board.entries):
        table.add_column("p50", justify="right", no_wrap=True)
    if tied:
        table.add_column("tie", no_wrap=True)
    headers = [str(column.header) for column in table.columns]

    for entry in entries:
        reference = entry.rank is None
        who = entry.candidate
        model = "" if who.model == "none" else who.model
        title = cell(who.name)
        title.stylize("italic" if reference else "bold" if entry.rank == 1 else "")
        if not wide and not reference:
            under = cell(", ".join(filter(None, (who.technique, model))))
            under.stylize("dim")
            title = Text("\n").join([title, under])
        cells: list[Text] = [cell("" if reference else str(entry.rank)), title]
        if wide:
            cells += [cell("" if reference else who.technique), cell(model)]
        for place, metric in enumerate(metrics):
            found = entry.metrics.get(metric)
            write = interval if wide or place == 0 else _value
            cells.append(cell("" if found is None else write(found, METRICS[metric].format)))
        if lost:
            cells.append(cell("" if reference else percent(unlabelled_share(entry))))
        for metric, heads in ((COST, ("$/1,000", "$/1k")), (SPEED, ("p50",))):
            if any(head in headers for head in heads):
                found = None if reference else entry.metrics.get(metric)
                cells.append(cell("" if found is None else number(found.value, METRICS[metric].format)))
        if tied:
            cells.append(cell(entry.group))
        if reference and entry is board.majority:
            table.add_section()
        table.add_row(*cells, style="dim" if reference else None)
    return table


def print_leaderboard(board: Leaderboard, console: Console | None = None, spreads: Sequence[Spread] = ()) -> None:
    """Prints the table and, beneath it, what it says.

    Args:
        board: what to print.
        console: where; standard output when absent. Where that is no terminal the output has no colours, and where
            its encoding is not a Unicode one it is ASCII.
        spreads: of grids with several seeds of examples.
    """
    from rich.console import Console
    from rich.table import Table
    from rich.text import Text

    console = console or Console()
    ascii_only = not console.encoding.lower().startswith("utf")
    lines = sentences(board)
    if board.is_compared:
        lines.append("Specs that share a letter under “tie” cannot be told apart.")
    if len(board.entries) > MOST_LINES:
        lines.insert(0, f"The best {MOST_LINES} are shown; the report in MLflow has all {len(board.entries):,}.")
    beneath = Table.grid(padding=(0, 1, 0, 0))
    for line in lines:
        text = printable(line)
        beneath.add_row("-", Text(ascii_text(text) if ascii_only else text))
    console.print(Text(headline(board), style="bold"))
    console.print(leaderboard_table(board, console.width, ascii_only=ascii_only))
    console.print(beneath)
    for spread in spreads:
        console.print()
        print_spread(spread, console)


def headline(board: Leaderboard) -> str:
    """What stands above the table: task, specs, rows and the metric that ranks."""
    count = len(board.entries)
    specs = f"{count} spec{'s' if count != 1 else ''}"
    if board.waiting:
        specs = f"{count} of {count + len(board.waiting)} specs"
    return f"{board.task.name}: {specs} on {board.rows_evaluated:,} rows, ranked by {METRICS[board.ranked_by].title}"


def _value(given: Interval, format: Format) -> str:  # noqa: A002 - the word the measures use
    return number(given.value, format)


def ascii_text(text: str) -> str:
    """The text for a terminal that can write nothing but ASCII."""
    swaps = str.maketrans({"–": "-", "“": '"', "”": '"', "·": "-", "’": "'"})
    return text.translate(swaps).encode("ascii", "replace").decode("ascii")
