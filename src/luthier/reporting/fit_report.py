"""What fitting tried and found, as tables: the best rows of each."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from luthier.reporting.numbers import printable
from luthier.reporting.table import Column, Row, Section, Table

__all__ = ["fit_sections"]

MOST_ROWS = 10


def fit_sections(tables: Mapping[str, Sequence[Mapping[str, Any]]], notes: Sequence[str] = ()) -> list[Section]:
    """The first rows of each table, then the notes.

    Args:
        tables: by name, best rows first, rows of one table with the same keys.
        notes: sentences beneath.
    """
    sections = []
    for name, rows in tables.items():
        if not rows:
            continue
        title = f"{name}: the best {MOST_ROWS} of {len(rows)}" if len(rows) > MOST_ROWS else f"{name}: {len(rows)}"
        # What is the same in all rows stands above them, and a running best is for a curve.
        first = rows[0]
        same = [key for key, cell in first.items() if isinstance(cell, str) and all(r.get(key) == cell for r in rows)]
        same = same if len(rows) > 1 else []
        shown = [{key: cell for key, cell in row.items() if key not in {"best", *same}} for row in rows[:MOST_ROWS]]
        sections.append(Section("; ".join([title, *(f"{key} {first[key]}" for key in same)]), (_table(shown),)))
    return [*sections, Section("", tuple(notes))] if notes else sections


def _table(rows: Sequence[Mapping[str, Any]]) -> Table:
    """Rows of settings and scores; the longest texts give way first where a terminal has no room."""
    names = list(rows[0])
    numeric = {name for name in names if all(isinstance(row.get(name), int | float | None) for row in rows)}
    longest = {name: max(len(printable(_short(row.get(name)))) for row in rows) for name in names}
    texts = sorted(set(names) - numeric, key=lambda name: -longest[name])
    columns = tuple(
        Column(name, "number") if name in numeric else Column(name, drop=1 + texts.index(name)) for name in names
    )
    # Numbers of unknown size have four digits, so they are texts in a column of numbers.
    cells = (tuple(_short(row.get(name)) for name in names) for row in rows)
    return Table(columns, tuple(Row(line, "" if place else "first") for place, line in enumerate(cells)))


def _short(cell: Any) -> str:
    if isinstance(cell, Mapping):
        return ", ".join(f"{name} {_short(value)}" for name, value in cell.items())
    if isinstance(cell, bool):
        return "yes" if cell else "no"
    if isinstance(cell, float):
        return f"{cell:.4g}"
    return "none" if cell is None else str(cell)
