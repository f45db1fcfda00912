"""Where a table is written: a file, a file at an address, or standard output."""

from __future__ import annotations

from pathlib import Path

from luthier.errors import DataError
from luthier.outputs import check_file
from luthier.tables.contents import CODECS
from luthier.tables.remote import WEB, address_of, remote_place, remote_state
from luthier.tables.sources import FORMATS, ending_of_table, refuse_spark_name
from luthier.tables.standard_streams import is_standard

__all__ = ["check_target", "target_state", "written_format"]

WRITTEN = (".csv", ".tsv", ".jsonl", ".ndjson", ".parquet", ".pq")
"""Endings of tables that can be written, the text formats also compressed."""


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
    suffix = ending_of_table(path)
    if suffix in WRITTEN:
        return FORMATS[suffix]
    if not str(path):
        raise DataError("the path of the output is empty; name a file, such as scored.csv, or - for standard output.")
    if Path(path).is_dir():
        raise DataError(f"{path} is a folder; name the file to write, such as {Path(path) / 'scored.csv'}.")
    raise DataError(
        f"{path}: the name of an output ends in {', '.join(WRITTEN)}, or a text format and {' or '.join(CODECS)}, as "
        f"in scored.csv.gz; this one {f'ends in {suffix}' if suffix else 'has no ending'}. - is standard output."
    )


def check_target(path: str | Path) -> None:
    """Refuses a place where no table can be written, as far as that can be told without writing.

    Raises:
        DataError: the ending is unknown, or a symbolic link, a folder or a device is there.
        MissingPart: the package that reaches the address is not installed.
    """
    refuse_spark_name(path)
    written_format(path)
    if (address := address_of(path)) is not None:
        if remote_place(address).scheme in WEB:
            raise DataError(
                f"{path}: nothing is written to a web server; name a file, or an address of an object store."
            )
    elif not is_standard(path):
        check_file(path)


def target_state(path: str | Path) -> list[str | int] | None:
    """What tells a change of a written table; `None` where there is none, as on standard output.

    Raises:
        DataError: the address cannot be reached.
    """
    if is_standard(path):
        return None
    if (address := address_of(path)) is not None:
        return remote_state(address)
    try:
        found = Path(path).stat()
    except (FileNotFoundError, NotADirectoryError):
        return None
    return [found.st_size, found.st_mtime_ns]
