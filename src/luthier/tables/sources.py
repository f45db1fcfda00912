"""Names of tables: their formats by their endings, and files that are what their names say."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from pathlib import Path, PurePath

from luthier.errors import DataError
from luthier.tables.contents import CODECS, codec_of, content_of
from luthier.tables.standard_streams import is_standard

__all__ = [
    "FORMATS",
    "TABLE_ENDINGS",
    "existing_file",
    "free_names",
    "is_table_name",
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
"""Endings of tables that can be read; those of csv and jsonl also followed by an ending of `CODECS`."""

TABLE_ENDINGS = f"{', '.join(FORMATS)}, or a text format and {' or '.join(CODECS)}"
"""For messages."""

WRITTEN = (".csv", ".tsv", ".jsonl", ".ndjson", ".parquet", ".pq")
"""Endings of tables that can be written, the text formats also compressed."""

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
        raise DataError(f"{path}: the name of a table ends in {TABLE_ENDINGS}; this one {_ends(suffix)}.{hint}")
    return FORMATS[suffix]


def is_table_name(path: str | PurePath) -> bool:
    """Whether a name ends like that of a table."""
    return _suffix(path) in FORMATS


def written_format(path: str | Path, like: str | None = None) -> str:
    """`csv`, `jsonl` or `parquet`: the format of a table to write.

    Args:
        path: its ending gives the format; `-` is standard output.
        like: format of the source; standard output is jsonl where that is, else csv.

    Raises:
        DataError: tables with this ending are not written.
    """
    if is_standard(path):
        return "jsonl" if like == "jsonl" else "csv"
    suffix = _suffix(path)
    if suffix in WRITTEN:
        return FORMATS[suffix]
    if Path(path).is_dir():
        raise DataError(f"{path} is a folder; name the file to write, such as {Path(path) / 'scored.csv'}.")
    raise DataError(
        f"{path}: the name of an output ends in {', '.join(WRITTEN)}, or a text format and {' or '.join(CODECS)}, as "
        f"in scored.csv.gz; this one {_ends(suffix)}. - is standard output."
    )


def _ends(suffix: str) -> str:
    return f"ends in {suffix}" if suffix else "has no ending"


def _suffix(path: str | PurePath) -> str:
    """The ending that says the format; of a compressed text, the one before that of the compression."""
    file = PurePath(path)
    inner = PurePath(file.stem).suffix.lower()
    if codec_of(file) is not None and FORMATS.get(inner) in ("csv", "jsonl"):
        return inner
    return file.suffix.lower()


def existing_file(file: Path) -> Path:
    """The path of a file that holds what the ending of its name says.

    Raises:
        DataError: there is no such file, or its content is of another format than its name says.
    """
    if not file.exists():
        beside = sorted(p.name for p in file.parent.glob("*") if is_table_name(p)) if file.parent.is_dir() else []
        hint = f" Tables in {file.parent}: {', '.join(beside[:8])}." if beside else ""
        raise DataError(f"no file {file}.{hint}")
    if not file.is_file():
        raise DataError(f"{file} is a device or a pipe (- is standard input); give a table: {TABLE_ENDINGS}.")
    said, found = table_format(file), content_of(file)
    if found in SAVED_AS and found != said and said != "parquet":
        raise DataError(f"{file} is {SAVED_AS[found]}.")
    if said == "excel" and found != said:
        raise DataError(f"{file} is no Excel workbook; let the name of a csv end in .csv.")
    return file


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
