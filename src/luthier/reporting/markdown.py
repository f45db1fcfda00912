"""What was found, in the Markdown of a run's description: read in the MLflow UI before any artifact is opened."""

from __future__ import annotations

import re
from collections.abc import Sequence

from luthier.evaluation.leaderboard import Leaderboard
from luthier.evaluation.resampling import Interval
from luthier.reporting.board_report import first_rows
from luthier.reporting.board_sentences import sentences
from luthier.reporting.numbers import interval, printable
from luthier.reporting.table import Row, Table

__all__ = ["described", "escaped", "listed"]

MOST_ROWS = 15
"""So many specs are listed, the best; the report has them all."""

MOST_METRICS = 3

LONGEST = 4_000
"""Characters; stores keep about five thousand of a tag."""


def described(board: Leaderboard) -> str:
    """The leaderboard as a numbered list, and beneath it what it says.

    A list and no table: MLflow shows the cells of a table without a gap between them.

    Args:
        board: what to describe.
    """
    table = first_rows(board, MOST_METRICS, MOST_ROWS)
    lines = [_in_words(table, row) for row in table.rows]
    count = min(len(board.entries), MOST_ROWS)
    head = f"{board.rows_evaluated:,} rows; in brackets the 95% interval."
    if len(board.entries) > MOST_ROWS:
        head += f" The best {MOST_ROWS} are shown; report.html has all {len(board.entries):,}."
    beneath = [*lines[count:], *map(escaped, sentences(board))]
    numbered = [f"{place}. {line}" for place, line in enumerate(lines[:count], start=1)]
    return _cut([*numbered, "", head, "", *(f"- {line}" for line in beneath)])


def listed(lines: Sequence[str]) -> str:
    """Sentences as a list, as many as a description has room for.

    Examples:
        >>> listed(["a_b leads", "p <.001"])
        '- a\\\\_b leads\\n- p &lt;.001'
    """
    return _cut([f"- {escaped(line)}" for line in lines])


def escaped(text: str) -> str:
    """Text that Markdown shows as it is, on one line.

    Examples:
        >>> escaped("few_shot *5* <b>")
        'few\\\\_shot \\\\*5\\\\* &lt;b&gt;'
    """
    marked = re.sub(r"([\\`*_\[\]|~])", r"\\\1", printable(text).replace("&", "&amp;"))
    return marked.replace("<", "&lt;").replace(">", "&gt;")


def _in_words(table: Table, row: Row) -> str:
    """A row of a table as a line: its name, then each value after its column's head."""
    name, said = "", []
    for column, cell in zip(table.columns, row.cells, strict=True):
        if column.kind == "name":
            name = escaped(str(cell))
        elif isinstance(cell, Interval) and column.unit:
            said.append(f"{column.title} {interval(cell, column.unit)}")
    return f"{name}: {', '.join(said)}"


def _cut(lines: Sequence[str]) -> str:
    """Whole lines as far as they go."""
    kept, room = [], LONGEST
    for line in lines:
        room -= len(line) + 1
        if room < 0:
            break
        kept.append(line)
    return "\n".join(kept)
