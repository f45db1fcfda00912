"""Where a table comes from: a file of a known format, compressed or not, or standard input."""

from __future__ import annotations

import atexit
import gzip
import shutil
import sys
import tempfile
from collections.abc import Collection, Sequence
from functools import cache
from pathlib import Path
from typing import IO, cast

from luthier.documents import path_of
from luthier.errors import DataError

__all__ = [
    "FORMATS",
    "STANDARD_INPUT",
    "existing_table",
    "open_binary",
    "free_names",
    "refuse_duplicates",
    "table_format",
    "written_format",
]

FORMATS = {
    ".csv": "csv",
    ".tsv": "csv",
    ".txt": "csv",
    ".jsonl": "jsonl",
    ".ndjson": "jsonl",
    ".parquet": "parquet",
    ".pq": "parquet",
    ".xlsx": "excel",
}
"""Endings of tables that can be read; csv and jsonl also followed by `.gz`."""

WRITTEN = (".csv", ".tsv", ".jsonl", ".ndjson", ".parquet", ".pq")
"""Endings of tables that can be written."""

STANDARD_INPUT = "-"
"""The path that stands for a table on standard input."""

MAGIC = ((b"PAR1", "parquet"), (b"PK\x03\x04", "excel"), (b"\xd0\xcf\x11\xe0", "xls"), (b"\x1f\x8b", "gzip"))
"""First bytes of formats; no text begins with them."""

SAVED_AS = {
    "parquet": "a parquet file; let its name end in .parquet",
    "excel": "an Excel workbook or a zip archive; let the name of a workbook end in .xlsx, and unpack an archive",
    "xls": "a workbook of an old Excel; save it as .xlsx or as CSV UTF-8",
}


def table_format(path: str | Path) -> str:
    """`csv`, `jsonl`, `parquet` or `excel`, by the ending of the name.

    Raises:
        DataError: the ending is unknown.
    """
    suffix = _suffix(path)
    if suffix not in FORMATS:
        hint = " Write a JSON array as one object a line (.jsonl)." if suffix == ".json" else ""
        raise DataError(f"{path}: the name of a table ends in {', '.join(FORMATS)}; this one {_ends(suffix)}.{hint}")
    return FORMATS[suffix]


def written_format(path: str | Path) -> str:
    """`csv`, `jsonl` or `parquet`: the format of a table to write, by the ending of the name.

    Raises:
        DataError: tables with this ending are not written.
    """
    suffix = Path(path).suffix.lower()
    if suffix in WRITTEN:
        return FORMATS[suffix]
    if str(path) == STANDARD_INPUT:
        raise DataError("the output is written to a file, not to standard output; name one, such as scored.csv.")
    if Path(path).is_dir():
        raise DataError(f"{path} is a folder; name the file to write, such as {Path(path) / 'scored.csv'}.")
    raise DataError(f"{path}: the name of an output ends in {', '.join(WRITTEN)}; this one {_ends(suffix)}.")


def _ends(suffix: str) -> str:
    return f"ends in {suffix}" if suffix else "has no ending"


def _suffix(path: str | Path) -> str:
    file = Path(path)
    inner = Path(file.stem).suffix.lower()
    if file.suffix.lower() == ".gz" and FORMATS.get(inner) in ("csv", "jsonl"):
        return inner
    return file.suffix.lower()


def existing_table(path: str | Path) -> Path:
    """The path of a table that exists; for `-`, of a file with the content of standard input.

    Raises:
        DataError: there is no such file, or its content is of another format than its name says.
    """
    file = path_of(path, "a table", DataError)
    if str(file) == STANDARD_INPUT:
        return _standard_input()
    if not file.exists():
        beside = sorted(p.name for p in file.parent.glob("*") if _suffix(p) in FORMATS) if file.parent.is_dir() else []
        hint = f" Tables in {file.parent}: {', '.join(beside[:8])}." if beside else ""
        raise DataError(f"no file {file}.{hint}")
    if not file.is_file():
        what = "a folder" if file.is_dir() else "a device or a pipe (- is standard input)"
        raise DataError(f"{file} is {what}; give a table: {', '.join(FORMATS)}.")
    said, found = table_format(file), _content(file)
    if found not in (None, "gzip", said) and said != "parquet":
        raise DataError(f"{file} is {SAVED_AS[found or said]}.")
    if said == "excel" and found is None:
        raise DataError(f"{file} is no Excel workbook; let the name of a csv end in .csv.")
    return file


def open_binary(file: Path) -> IO[bytes]:
    """A stream of a file's bytes, decompressed if it is a gzip file."""
    if _content(file) == "gzip":
        return cast(IO[bytes], gzip.open(file))
    return file.open("rb")


def free_names(columns: Sequence[str], taken: Collection[str]) -> dict[str, str]:
    """Name of every column beside others that are taken: its own, else with `_input` behind it until it is free.

    Examples:
        >>> free_names(["text", "label", "label_input"], {"label"})
        {'text': 'text', 'label': 'label_input_input', 'label_input': 'label_input'}
    """
    own, names = set(columns), {}
    for column in columns:
        name = column
        while name in taken or (name != column and name in own):
            name += "_input"
        names[column] = name
    return names


def refuse_duplicates(names: Sequence[str], file: str | Path) -> None:
    """Refuses a column name that occurs twice: records are keyed by name, so one column would be lost.

    Raises:
        DataError: a name is repeated.
    """
    repeated = sorted({name for name in names if names.count(name) > 1})
    if repeated:
        raise DataError(f"{file} has two columns called {', '.join(repeated)}; rename one of them.")


def _content(file: Path) -> str | None:
    with file.open("rb") as stream:
        first = stream.read(4)
    return next((kind for magic, kind in MAGIC if first.startswith(magic)), None)


@cache
def _standard_input() -> Path:
    """Keeps standard input in a file: a table is read several times (columns, length, rows), a pipe only once."""
    if sys.stdin is None or sys.stdin.isatty():
        raise DataError("- is a table on standard input, and none is piped in: cat table.csv | luthier ... -")
    folder = Path(tempfile.mkdtemp(prefix="luthier-"))
    atexit.register(shutil.rmtree, folder, ignore_errors=True)
    arrived = folder / "standard-input"
    with arrived.open("wb") as stream:
        shutil.copyfileobj(sys.stdin.buffer, stream)
    kind = _content(arrived)
    if kind == "xls":
        raise DataError(f"standard input is {SAVED_AS[kind]}.")
    ending = {"parquet": ".parquet", "excel": ".xlsx"}.get(kind or "")
    if ending is None:
        with open_binary(arrived) as unpacked:
            ending = ".jsonl" if unpacked.read(64).lstrip(b"\xef\xbb\xbf \r\n\t").startswith(b"{") else ".csv"
    return arrived.rename(arrived.with_suffix(ending))
