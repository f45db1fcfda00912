"""An import as tables: what is in MLflow now, and what is not and why."""

from __future__ import annotations

import time
from collections.abc import Sequence

from luthier.importing.records import ImportedItem, NotImported
from luthier.reporting.table import Cell, Column, Columns, Row, Section, Table

__all__ = ["import_sections"]

MOST_ROWS = 60
"""Items of a table; those that changed come first."""

WORDS = {"job": "jobs", "model": "models", "deployment": "deployments"}

WOULD = {"new": "would be new", "updated": "would be updated", "unchanged": "unchanged"}


def import_sections(
    place: str, items: Sequence[ImportedItem], missing: Sequence[NotImported], *, dry_run: bool = False
) -> list[Section]:
    """The tables of an import; of a dry run, what it would do."""
    sections = []
    for kind in [kind for kind in WORDS if any(item.kind == kind for item in items)] or ["job"]:
        of_kind = [item for item in items if item.kind == kind]
        table = (_table_of(of_kind, kind, dry_run),) if of_kind else ()
        sections.append(Section(_title(place, kind, of_kind, dry_run), table))
    if missing:
        shown = missing[:MOST_ROWS]
        lost = Table.of(shown, MISSING, notes=_left_out(len(missing), len(shown)))
        sections.append(Section(f"Not brought: {len(missing):,}", (lost,)))
    return sections


def _title(place: str, kind: str, items: Sequence[ImportedItem], dry_run: bool) -> str:
    counts = {word: sum(item.happened == word for item in items) for word in WOULD}
    told = [f"{count:,} {WOULD[word] if dry_run else word}" for word, count in counts.items() if count]
    return f"{WORDS[kind]} of {place}: {', '.join(told) or 'none'}"


def _table_of(items: Sequence[ImportedItem], kind: str, dry_run: bool) -> Table:
    # Sorting is stable: within what changed, and within what did not, the newest come first.
    ordered = sorted(items, key=lambda item: item.happened == "unchanged")[:MOST_ROWS]
    columns = [one for one in _columns(kind, dry_run) if one[0].kind == "name" or any(map(one[1], ordered))]
    return Table.of(ordered, columns, _row, notes=_left_out(len(items), len(ordered)))


def _row(item: ImportedItem, cells: tuple[Cell, ...]) -> Row:
    return Row(cells, style="reference" if item.happened == "unchanged" else "")


def _columns(kind: str, dry_run: bool) -> Columns[ImportedItem]:
    return [
        (Column(kind, kind="name", least=30), lambda item: item.id),
        (Column("state", least=16), lambda item: item.status),
        (Column("base model", kind="beneath", least=24, drop=2), lambda item: item.base_model),
        (Column("started", least=10, drop=4), lambda item: _day(item.created)),
        (Column("run", least=34, drop=3), lambda item: item.run_id),
        (Column("version"), lambda item: item.version),
        (Column("happened"), lambda item: WOULD[item.happened] if dry_run else item.happened),
        (Column("note", kind="beneath", least=24, drop=1), lambda item: item.note),
    ]


MISSING: Columns[NotImported] = [
    (Column("what", kind="name"), lambda one: one.id or one.kind),
    (Column("why", least=30), lambda one: one.why),
    (Column("what to do", least=20), lambda one: one.cure or "nothing can be done"),
]


def _day(created: float | None) -> str | None:
    return None if created is None else time.strftime("%Y-%m-%d", time.localtime(created))


def _left_out(whole: int, shown: int) -> tuple[str, ...]:
    return (f"{whole - shown:,} more; --json and report.frame have all.",) if whole > shown else ()
