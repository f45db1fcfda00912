"""Rows of csv and its kin, one after the other, and faults by their line."""

from __future__ import annotations

import csv
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from luthier.errors import DataError
from luthier.tables.dialect import Dialect, dialect_of, open_text
from luthier.tables.sources import refuse_duplicates

__all__ = ["delimited_columns", "delimited_rows"]

Cells = list[str | None]

LONGEST_CELL = 2**31 - 1


def delimited_columns(file: Path) -> list[str]:
    """Names of the columns.

    Raises:
        DataError: the file is empty, its encoding cannot be told, or two columns have one name.
    """
    # Module-wide in Python: the default of 131,072 characters is shorter than some texts.
    csv.field_size_limit(LONGEST_CELL)
    columns = list(dialect_of(file).columns)
    refuse_duplicates(columns, file)
    return columns


def delimited_rows(file: Path) -> Iterator[dict[str, Any]]:
    """Records in order, an empty cell as `None`.

    Raises:
        DataError: a row does not fit the header, or a quote is in the wrong place; names the line.
    """
    columns = delimited_columns(file)
    dialect = dialect_of(file)
    with open_text(file, dialect.encoding) as stream:
        if dialect.declared:
            stream.readline()
        lines = csv.reader(stream, **dialect.format)
        above = 1 if dialect.declared else 0
        in_header = True
        while True:
            start = lines.line_num + above + 1
            try:
                cells = next(lines, None)
            except (csv.Error, UnicodeDecodeError) as error:
                raise _broken(file, dialect, start, error) from error
            if cells is None:
                return
            if in_header:
                # Lines of blanks above it are no header.
                in_header = not any(cell.strip() for cell in cells)
                continue
            if not cells and dialect.width > 1:
                continue
            if len(cells) != len(columns):
                cells = _fitted(cells, file, dialect, start)
            # The only way to write a null in a table of one column without quotes is a blank line.
            yield {name: cell or None for name, cell in zip(columns, cells or [""], strict=True)}


def _fitted(cells: list[str], file: Path, dialect: Dialect, line: int) -> list[str]:
    """A row without the empty cells behind its last column."""
    columns = len(dialect.columns)
    beyond = [place for place, cell in enumerate(cells) if place >= columns and cell.strip()]
    if not cells and columns == 1:
        return cells
    if beyond and beyond[0] < dialect.width:
        raise DataError(
            f"{file}, line {line}: cell {beyond[0] + 1} holds {cells[beyond[0]]!r}, but column {beyond[0] + 1} has no "
            "name. Name it in the header, or empty it."
        )
    if beyond or len(cells) < columns:
        raise DataError(
            f"{file}, line {line}: {len(cells)} cells where the header has {dialect.width}, with "
            f"{dialect.separator} between cells. A text with {dialect.separator} or line breaks stands in double "
            'quotes, and a quote inside it is doubled ("").'
        )
    return cells[:columns]


def _broken(file: Path, dialect: Dialect, line: int, error: Exception) -> DataError:
    if isinstance(error, UnicodeDecodeError):
        return DataError(f"{file} is not {dialect.encoding} near line {line} ({error.reason}); save it as UTF-8.")
    return DataError(
        f"{file}, the row that begins at line {line}: {error}. A text with {dialect.separator}, quotes or line breaks "
        'stands in double quotes, and a quote inside it is doubled ("").'
    )
