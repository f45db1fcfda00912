"""Names of tables: their formats by their endings, and files that are what their names say."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from pathlib import Path, PurePath

from luthier.errors import DataError
from luthier.tables.contents import CODECS, codec_of, content_of

__all__ = [
    "FORMATS",
    "TABLE_ENDINGS",
    "existing_file",
    "free_names",
    "is_table_name",
    "refuse_duplicates",
    "refuse_spark_name",
    "table_format",
    "ending_of_table",
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

SAVED_AS = {
    "parquet": "a parquet file; let its name end in .parquet",
    "excel": "an Excel workbook or a zip archive; let the name of a workbook end in .xlsx, and unpack an archive",
    "xls": "a workbook of an old Excel; save it as .xlsx or as CSV UTF-8",
}


def table_format(path: str | PurePath) -> str:
    """`csv`, `jsonl`, `parquet` or `excel`, by the ending of the name.

    Raises:
        DataError: the ending is unknown.
    """
    suffix = ending_of_table(path)
    if suffix not in FORMATS:
        hint = " Write a JSON array as one object a line (.jsonl)." if suffix == ".json" else ""
        raise DataError(f"{path}: the name of a table ends in {TABLE_ENDINGS}; this one {_ends(suffix)}.{hint}")
    return FORMATS[suffix]


def is_table_name(path: str | PurePath) -> bool:
    """Whether a name ends like that of a table."""
    return ending_of_table(path) in FORMATS


def _ends(suffix: str) -> str:
    return f"ends in {suffix}" if suffix else "has no ending"


def ending_of_table(path: str | PurePath) -> str:
    """The ending that says the format; of a compressed text, the one before that of the compression."""
    file = PurePath(path)
    inner = PurePath(file.stem).suffix.lower()
    if codec_of(file) is not None and FORMATS.get(inner) in ("csv", "jsonl"):
        return inner
    return file.suffix.lower()


def refuse_spark_name(path: object) -> None:
    """Refuses the names of tables that only Spark reads and writes.

    Raises:
        DataError: it is `delta:PATH` or `table:NAME`.
    """
    if str(path).startswith(("delta:", "table:")):
        raise DataError(f"{path} is a table of Spark; add --mode spark (mode='spark').")


def existing_file(file: Path) -> Path:
    """The path of a file that holds what the ending of its name says.

    Raises:
        DataError: there is no such file, or its content is of another format than its name says.
    """
    if not file.exists():
        if file.is_symlink():
            raise DataError(f"{file} is a symbolic link to {file.readlink()}, which does not exist.")
        beside = sorted(p.name for p in file.parent.glob("*") if is_table_name(p)) if file.parent.is_dir() else []
        hint = f" Tables in {file.parent}: {', '.join(beside[:8])}." if beside else ""
        raise DataError(f"no file {file}.{hint}")
    if not file.is_file():
        raise DataError(f"{file} is a device or a pipe (- is standard input); give a table: {TABLE_ENDINGS}.")
    said = table_format(file)
    try:
        found = content_of(file)
    except OSError as error:
        raise DataError(f"{file} cannot be read: {error.strerror}.") from error
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
