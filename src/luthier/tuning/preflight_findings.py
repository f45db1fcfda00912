"""What was found wrong with the tables of a job before it is paid for."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any

from luthier.errors import DataError
from luthier.tasks.task import Rows

__all__ = ["PreflightFinding", "RowExcerpt", "refuse"]

LONGEST_SHOWN = 50


@dataclass(frozen=True)
class RowExcerpt:
    """A row, to be looked up.

    Attributes:
        table: `train`, `validation` or `test`.
        row: counted from 1, without the line of column names.
        text: how its text begins.
        label: its label.
    """

    table: str
    row: int
    text: str
    label: str | None

    @classmethod
    def of(cls, table: str, rows: Rows, position: int) -> RowExcerpt:
        """The row at a position."""
        text = " ".join((rows.texts[position] or "").split())
        short = text if len(text) <= LONGEST_SHOWN else text[: LONGEST_SHOWN - 1] + "…"
        return cls(table, position + 1, short, rows.labels[position])

    def __str__(self) -> str:
        return f"{self.table} row {self.row} ({self.label}): {self.text}"


@dataclass(frozen=True)
class PreflightFinding:
    """One thing that was found.

    Attributes:
        kind: a word for programs.
        stops: whether a job is refused for it.
        message: what was found.
        cure: what to do; empty where there is nothing to be done.
        rows: some of the rows it is about.
    """

    kind: str
    stops: bool
    message: str
    cure: str = ""
    rows: tuple[RowExcerpt, ...] = ()

    def __str__(self) -> str:
        return f"{self.message} {self.cure}".rstrip()

    def document(self) -> dict[str, Any]:
        """As JSON has it."""
        return asdict(self)


def refuse(spec: str, findings: Sequence[PreflightFinding]) -> None:
    """Raises what stops, all of it at once.

    Raises:
        DataError: has every finding that stops, with its cure and rows.
    """
    stopping = [finding for finding in findings if finding.stops]
    if not stopping:
        return
    lines = [f"spec {spec!r} is not tuned on these tables; nothing was uploaded."]
    for finding in stopping:
        lines.append(f"- {finding}")
        lines += [f"    {place}" for place in finding.rows]
    raise DataError("\n".join(lines))
