"""What each task type makes of a labelled table."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from luthier.errors import DataError, SpecError
from luthier.tasks.known_types import TASK_TYPES, type_of_name
from luthier.tasks.spellings import missing
from luthier.tasks.task import plain_records
from luthier.tasks.types import GuessedSettings

if TYPE_CHECKING:
    import pandas as pd

__all__ = ["SAMPLE_ROWS", "are_structured", "columns_of", "guessed_by_type", "types_that_fit"]

SAMPLE_ROWS = 5_000
"""Rows that columns are guessed from."""


def guessed_by_type(table: Mapping[str, Sequence[Any]], text: str, label: str, type_name: str) -> GuessedSettings:
    """The settings that a type guesses from a table.

    Args:
        table: columns by name, of plain values.
        text: the column that is read.
        label: the column with the truth.
        type_name: name of the type.

    Raises:
        SpecError: there is no such type.
        DataError: the column holds nothing of this type.
    """
    try:
        kind = type_of_name(type_name)
    except ValueError as error:
        raise SpecError(f"--type: {error}.") from None
    if all(missing(cell) for cell in table[label]):
        raise DataError(f"column {label!r} holds no {kind.value_name} at all.")
    try:
        return kind.guess(table, text, label)
    except ValueError as error:
        raise DataError(f"column {label!r} does not fit --type {type_name}: {error}.") from error


def types_that_fit(frame: pd.DataFrame, text: str, label: str | None = None) -> str:
    """The types that take the table, as the end of a message; nothing where there is none."""
    table = columns_of(frame.head(SAMPLE_ROWS))
    names = [label] if label is not None else [name for name in table if name != text]
    found = []
    for type_name in TASK_TYPES:
        fitting = [name for name in names if _fits(table, text, name, type_name)]
        if fitting:
            of = "" if label is not None else f" --label {fitting[0]}"
            found.append(f"--type {type_name}{of}")
    return f" It would fit {' or '.join(found)}." if found else ""


def _fits(table: Mapping[str, Sequence[Any]], text: str, label: str, type_name: str) -> bool:
    try:
        counts = guessed_by_type(table, text, label, type_name).counts
    except DataError:
        return False
    # What hardly ever occurs twice is no label, though a type that is named would take it for one.
    return len(counts) * 2 <= len(table[label])


def columns_of(frame: pd.DataFrame) -> dict[str, list[Any]]:
    """Plain values by column."""
    rows = plain_records(frame)
    return {str(name): [row[str(name)] for row in rows] for name in frame.columns}


def are_structured(cells: Sequence[object], *, in_json: bool = True) -> bool:
    """Whether most cells hold lists or objects.

    Args:
        cells: of a column.
        in_json: whether texts in JSON count, too.
    """
    objects = [isinstance(cell, list | tuple | dict) for cell in cells]
    given = sum(is_object or not missing(cell) for is_object, cell in zip(objects, cells, strict=True))
    found = sum(is_object or (in_json and _is_json(cell)) for is_object, cell in zip(objects, cells, strict=True))
    return found * 2 > given


def _is_json(cell: object) -> bool:
    if not isinstance(cell, str) or cell.strip()[:1] not in ("{", "["):
        return False
    try:
        return isinstance(json.loads(cell), list | dict)
    except (ValueError, RecursionError):
        return False
