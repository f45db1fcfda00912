"""Rows of an Excel workbook, from the first sheet that has any."""

from __future__ import annotations

import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import Any

from luthier.errors import DataError, MissingPart
from luthier.tables.delimited import SAMPLE_ROWS, named_columns, refuse_title
from luthier.tables.sources import refuse_duplicates

__all__ = ["SheetLayout", "sheet_layout", "workbook_rows"]


@dataclass(frozen=True)
class SheetLayout:
    """The sheet that is read.

    Attributes:
        name: its name in the workbook.
        columns: names of its columns, from the first row that is not empty.
        remarks: what is unusual about it, as shown to the user.
    """

    name: str
    columns: tuple[str, ...]
    remarks: tuple[str, ...]

    def __str__(self) -> str:
        return "; ".join([f"sheet {self.name!r}", *self.remarks])


def sheet_layout(file: Path) -> SheetLayout:
    """The first sheet with rows, and its columns.

    Raises:
        DataError: the file is broken, all sheets are empty, or two columns have the same name.
        MissingPart: the package that reads workbooks is not installed.
    """
    with _workbook(file) as book:
        empty = []
        for sheet in book.worksheets:
            rows = list(islice(_filled(sheet), SAMPLE_ROWS))
            if not rows:
                empty.append(sheet.title)
                continue
            refuse_title(rows[0], rows[1:], f"{file}, sheet {sheet.title!r}")
            columns, remarks = named_columns(["" if cell is None else str(cell) for cell in rows[0]], rows[1:])
            refuse_duplicates(columns, file)
            others = [other.title for other in book.worksheets if other.title not in (sheet.title, *empty)]
            if others:
                remarks.append(f"not read: {', '.join(map(repr, others))}")
            return SheetLayout(sheet.title, tuple(columns), tuple(remarks))
    raise DataError(f"{file} is empty; a sheet begins with a row of column names.")


def workbook_rows(file: Path) -> Iterator[dict[str, Any]]:
    """Records in order: texts and numbers as stored, not as formatted; formulas by their results.

    Raises:
        DataError: the file is broken, or a row has a cell where the header has no name.
        MissingPart: the package that reads workbooks is not installed.
    """
    chosen = sheet_layout(file)
    width = len(chosen.columns)
    with _workbook(file) as book:
        rows = _filled(book[chosen.name])
        next(rows)
        for cells in rows:
            if any(cell is not None and str(cell).strip() for cell in cells[width:]):
                raise DataError(f"{file}, sheet {chosen.name!r}: a row has a cell in a column without a name: {cells}.")
            padded = [*cells[:width], *[None] * (width - len(cells))]
            yield {name: None if cell == "" else cell for name, cell in zip(chosen.columns, padded, strict=True)}


def _filled(sheet: Any) -> Iterator[tuple[Any, ...]]:
    """Rows that are not empty; a sheet may end with any number of rows that were only formatted."""
    # The size that a file states is often wrong.
    sheet.reset_dimensions()
    for cells in sheet.iter_rows(values_only=True):
        if any(cell is not None and cell != "" for cell in cells):
            yield cells


@contextmanager
def _workbook(file: Path) -> Iterator[Any]:
    try:
        import openpyxl
    except ImportError as error:
        raise MissingPart(f"reading {file} needs openpyxl: pip install 'luthier[excel]', or save it as csv.") from error
    import zipfile

    try:
        with warnings.catch_warnings():
            # Of colours and drop-down lists that are not kept.
            warnings.simplefilter("ignore", UserWarning)
            book = openpyxl.load_workbook(file, read_only=True, data_only=True)
        try:
            yield book
        finally:
            book.close()
    except (zipfile.BadZipFile, KeyError, ValueError, SyntaxError, OSError) as error:
        if isinstance(error, DataError):
            raise
        raise DataError(f"{file} is not a readable Excel workbook: {error}") from error
