"""Standard input kept in a file, and standard output kept for a table alone."""

from __future__ import annotations

import os
import shutil
import sys
from functools import cache
from pathlib import Path
from typing import IO

from luthier.errors import DataError
from luthier.tables.contents import content_of, open_binary
from luthier.tables.temporary import temporary_folder

__all__ = ["STANDARD_STREAM", "is_standard", "keep_standard_output", "open_standard_output", "standard_input"]

STANDARD_STREAM = "-"
"""The path that stands for a table on standard input, or on standard output."""

_kept: list[int] = []
"""Descriptor of the standard output that the process was started with, once it is kept for a table."""


def is_standard(path: str | os.PathLike[str]) -> bool:
    """Whether a path stands for standard input or output."""
    return str(path) == STANDARD_STREAM


@cache
def standard_input() -> Path:
    """Keeps standard input in a file: a table is read several times (columns, length, rows), a pipe only once.

    Raises:
        DataError: nothing is piped in, or a workbook of an old Excel.
    """
    if sys.stdin is None or sys.stdin.isatty():
        raise DataError("- is a table on standard input, and none is piped in: cat table.csv | luthier ... -")
    arrived = temporary_folder() / "standard-input"
    with arrived.open("wb") as stream:
        shutil.copyfileobj(sys.stdin.buffer, stream)
    kind = content_of(arrived)
    if kind == "xls":
        raise DataError("standard input is a workbook of an old Excel; save it as .xlsx or as CSV UTF-8.")
    ending = {"parquet": ".parquet", "excel": ".xlsx"}.get(kind or "")
    if ending is None:
        with open_binary(arrived) as unpacked:
            ending = ".jsonl" if unpacked.read(64).lstrip(b"\xef\xbb\xbf \r\n\t").startswith(b"{") else ".csv"
    return arrived.rename(arrived.with_suffix(ending))


def keep_standard_output() -> None:
    """Keeps standard output for a table: whatever else this process and its children print goes to standard error."""
    if not _kept:
        sys.stdout.flush()
        _kept.append(os.dup(1))
        os.dup2(2, 1)


def open_standard_output() -> IO[bytes]:
    """A stream to the standard output that the process was started with; closing it leaves that one open."""
    if not _kept:
        sys.stdout.flush()
    return os.fdopen(os.dup(_kept[0] if _kept else 1), "wb")
