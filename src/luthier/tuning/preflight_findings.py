"""What is wrong with the tables of a fine-tuning job, or should be known about them, before it is paid for."""

from __future__ import annotations

import json
from collections.abc import Iterable
from dataclasses import asdict, dataclass
from typing import Any

from luthier.tasks.task import Rows
from luthier.truncation import one_line

__all__ = ["PreflightFinding", "RowExcerpt", "excerpts", "truth_key"]

LONGEST_SHOWN = 50
MOST_ROWS = 3


@dataclass(frozen=True)
class RowExcerpt:
    """A row of a table, named so that it can be looked up.

    Attributes:
        table: `train`, `validation` or `test`.
        row: its number, counted from 1 without the line of column names.
        text: the beginning of its text.
        label: its truth, as JSON where it is no text.
    """

    table: str
    row: int
    text: str
    label: str

    def __str__(self) -> str:
        return f"{self.table} row {self.row} ({self.label}): {self.text}"


def excerpts(table: str, rows: Rows, positions: Iterable[int]) -> tuple[RowExcerpt, ...]:
    """The first three of the rows at these positions, counted from 0."""
    found = []
    for position in [*positions][:MOST_ROWS]:
        text, truth = rows.texts[position] or "", truth_key(rows.labels[position])
        found.append(RowExcerpt(table, position + 1, one_line(text, LONGEST_SHOWN), one_line(truth, LONGEST_SHOWN)))
    return tuple(found)


def truth_key(truth: Any) -> str:
    """A truth as text, equal for equal ones: labels as they are, other values as JSON."""
    return truth if isinstance(truth, str) else json.dumps(truth, ensure_ascii=False, sort_keys=True)


@dataclass(frozen=True)
class PreflightFinding:
    """One finding.

    Attributes:
        kind: a word for programs.
        stops: whether the job is refused because of it.
        message: what was found.
        cure: what to do about it; empty where nothing can be done.
        rows: some of the rows concerned.
    """

    kind: str
    stops: bool
    message: str
    cure: str = ""
    rows: tuple[RowExcerpt, ...] = ()

    def __str__(self) -> str:
        return f"{self.message} {self.cure}".rstrip()

    def document(self) -> dict[str, Any]:
        """The finding as JSON values."""
        return asdict(self)
