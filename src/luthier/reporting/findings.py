"""What fitting found, in a terminal: the best of what was tried."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from luthier.reporting.numbers import printable

if TYPE_CHECKING:
    from rich.console import Console
    from rich.table import Table

__all__ = ["findings_table", "print_findings"]

MOST_ROWS = 10

LEAST_TEXT = 12
"""Columns of a terminal that a cell of text needs to be of use; MLflow's table has what is left out here."""

GAP = 2


def print_findings(
    tables: Mapping[str, Sequence[Mapping[str, Any]]], notes: Sequence[str] = (), console: Console | None = None
) -> None:
    """Prints the first rows of each table, then the notes.

    Args:
        tables: by name, best rows first.
        notes: sentences beneath.
        console: where; standard output when absent.
    """
    from rich.console import Console
    from rich.text import Text

    console = console or Console()
    for name, rows in tables.items():
        if not rows:
            continue
        head = f"{name}: the best {MOST_ROWS} of {len(rows)}" if len(rows) > MOST_ROWS else f"{name}: {len(rows)}"
        same = [key for key, cell in rows[0].items() if isinstance(cell, str) and all(r.get(key) == cell for r in rows)]
        console.print(
            Text("; ".join([head, *(f"{key} {rows[0][key]}" for key in same if len(rows) > 1)]), style="bold")
        )
        # What holds for all rows stands above them, and a running best is for a curve.
        left_out = {"best", *(same if len(rows) > 1 else ())}
        shown = [{key: cell for key, cell in row.items() if key not in left_out} for row in rows[:MOST_ROWS]]
        console.print(findings_table(shown, console.width))
    for note in notes:
        console.print(Text(printable(note)))


def findings_table(rows: Sequence[Mapping[str, Any]], width: int) -> Table:
    """Rows as a rich table; settings in one cell, numbers short.

    Args:
        rows: of one kind.
        width: columns of the terminal; the longest texts that have no room are left out.
    """
    from rich import box
    from rich.table import Table
    from rich.text import Text

    table = Table(box=box.SIMPLE_HEAD, padding=(0, GAP - 1, 0, 0), show_edge=False)
    names = _with_room(rows, width)
    for name in names:
        number = _is_number(rows, name)
        table.add_column(name, justify="right" if number else "left", no_wrap=number)
    for place, row in enumerate(rows):
        cells = [Text(printable(_short(row.get(name)))) for name in names]
        table.add_row(*cells, style="bold" if place == 0 else None)
    return table


def _with_room(rows: Sequence[Mapping[str, Any]], width: int) -> list[str]:
    """The columns that have room beside each other."""
    names = list(rows[0])
    longest = {name: max(len(name), *(len(printable(_short(row.get(name)))) for row in rows)) for name in names}
    while True:
        texts = [name for name in names if not _is_number(rows, name)]
        wanted = sum(longest[name] if name not in texts else min(longest[name], LEAST_TEXT) for name in names)
        if not texts or wanted + GAP * len(names) <= width:
            return names
        names.remove(max(texts, key=lambda name: longest[name]))


def _is_number(rows: Sequence[Mapping[str, Any]], name: str) -> bool:
    return all(isinstance(row.get(name), int | float | None) for row in rows)


def _short(cell: Any) -> str:
    if isinstance(cell, Mapping):
        return ", ".join(f"{name} {_short(value)}" for name, value in cell.items())
    if isinstance(cell, bool):
        return "yes" if cell else "no"
    if isinstance(cell, float):
        return f"{cell:.4g}"
    return "none" if cell is None else str(cell)
