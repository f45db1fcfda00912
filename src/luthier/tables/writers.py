"""Tables written records by records, into a scratch file that takes the target's place when it is whole.

Standard output has no such place: what is written there is read at once.
"""

from __future__ import annotations

import io
import os
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import IO, TYPE_CHECKING, Any, Protocol

from luthier.errors import DataError
from luthier.outputs import ScratchFile, check_file
from luthier.tables.cells import arrow_cells, csv_line, json_text, utf8_safe, without_formula
from luthier.tables.contents import codec_of, compressed
from luthier.tables.parts import table_files
from luthier.tables.readers import arrow_schema, columns_of, read_chunks
from luthier.tables.remote import address_of, remote_target
from luthier.tables.sources import refuse_duplicates
from luthier.tables.standard_streams import is_standard, open_standard_output
from luthier.tables.targets import written_format

if TYPE_CHECKING:
    import pandas as pd
    import pyarrow as pa

__all__ = ["TableWriter", "open_writer", "write_frame"]

ROW_GROUP_ROWS = 65_536
ROW_GROUP_BYTES = 32 << 20
"""Rows and bytes that are written to parquet together: readers of many small groups are slow, and their list grows."""


def write_frame(frame: pd.DataFrame, path: str | Path) -> None:
    """Writes a DataFrame as a table, missing cells as null.

    Raises:
        DataError: the ending is unknown, two columns have the same name, or the file cannot be written.
    """
    columns = [str(column) for column in frame.columns]
    cells = frame.astype(object).where(frame.notna(), None)
    with open_writer(path, columns, {}) as writer:
        writer.write([dict(zip(columns, row, strict=True)) for row in cells.itertuples(index=False, name=None)])


class TableWriter(Protocol):
    """Takes the records of a table in order."""

    def write(self, records: Sequence[Mapping[str, Any]]) -> None:
        """Appends records that all have the writer's columns.

        Raises:
            DataError: the disk is full, or the file cannot be written for another reason.
        """

    def close(self) -> None:
        """Writes what is buffered; the file itself stays open."""


@contextmanager
def open_writer(
    path: str | Path,
    columns: Sequence[str],
    added: Mapping[str, str],
    like: str | Path | None = None,
    renamed: Mapping[str, str] | None = None,
    escape_formulas: bool = False,
) -> Iterator[TableWriter]:
    """Opens a writer for a table with the columns of another one and some more.

    The file appears whole when the block ends without an error, and not at all otherwise.

    Args:
        path: where the table goes; its ending gives the format, `.gz` or `.zst` behind it compresses a text. `-` is
            standard output, which gets every record as soon as it is written: jsonl where `like` is, else csv. An
            address such as `s3://bucket/scored.csv` gets the file when it is whole.
        columns: every column, in order.
        added: the columns that the source does not have, each with `string` or `float64`.
        like: the source table; a parquet target keeps its column types.
        renamed: column of the source to its name in the target, where they differ.
        escape_formulas: whether texts in a csv that a spreadsheet would run as a formula get a `'` in front.

    Raises:
        DataError: the ending is unknown, two columns have the same name, the folder cannot be written to, or a
            symbolic link or a folder is in the file's place.
    """
    kind = written_format(path, None if like is None else table_files(like).kind)
    refuse_duplicates([utf8_safe(name) for name in columns], path)
    address = address_of(path)
    if address is not None:
        with (
            remote_target(address) as here,
            open_writer(here, columns, added, like, renamed, escape_formulas) as local,
        ):
            yield local
        return
    if is_standard(path):
        with open_standard_output() as stream:
            yield _LineWriter(stream, Path(path), columns, kind, escape_formulas)
        return
    with _named_fault(path):
        check_file(path).parent.mkdir(parents=True, exist_ok=True)
        # Before anything is paid for.
        scratch = ScratchFile(path)
    try:
        writer: TableWriter
        if kind == "parquet":
            writer = _ParquetWriter(scratch, columns, _schema(columns, added, like, renamed or {}))
        else:
            writer = _LineWriter(scratch.stream, scratch.target, columns, kind, escape_formulas)
        try:
            yield writer
        except BaseException:
            with suppress(Exception):
                writer.close()
            raise
        with _named_fault(path):
            writer.close()
            scratch.keep()
    finally:
        scratch.discard()


@contextmanager
def _named_fault(file: str | Path) -> Iterator[None]:
    """A full disk and the like as an error that names the file and the reason."""
    try:
        yield
    except BrokenPipeError:
        # Whatever read standard output has seen enough, as `head` does.
        raise
    except OSError as error:
        # Arrow's own message repeats the number and hides the reason in the middle.
        reason = os.strerror(error.errno) if error.errno else str(error)
        raise DataError(f"{file} cannot be written: {reason}. Make room there, or choose another place.") from error


class _LineWriter:
    """csv, tsv and jsonl, compressed where the name says so."""

    def __init__(self, stream: IO[bytes], file: Path, columns: Sequence[str], kind: str, escape_formulas: bool) -> None:
        self.file = file
        codec = codec_of(file)
        self.compressed = None if codec is None else compressed(stream, codec)
        self.stream = io.TextIOWrapper(self.compressed or stream, encoding="utf-8", errors="replace", newline="")
        self.cell: Callable[[Any], Any] = without_formula if escape_formulas else lambda cell: cell
        delimiter = "\t" if ".tsv" in (suffix.lower() for suffix in file.suffixes) else ","
        self.line: Callable[[Mapping[str, Any]], str] = lambda record: json_text(dict(record)) + "\n"
        if kind == "csv":
            self.line = lambda record: csv_line([self.cell(record.get(name)) for name in columns], delimiter)
            self.write([{name: name for name in columns}])

    def write(self, records: Sequence[Mapping[str, Any]]) -> None:
        with _named_fault(self.file):
            self.stream.writelines(map(self.line, records))
            if is_standard(self.file):
                self.stream.flush()

    def close(self) -> None:
        try:
            self.stream.detach()
        finally:
            if self.compressed is not None:
                self.compressed.close()


class _ParquetWriter:
    def __init__(self, scratch: ScratchFile, columns: Sequence[str], schema: pa.Schema) -> None:
        import pyarrow.parquet as pq

        self.file = scratch.target
        self.columns = columns
        self.schema = schema
        self.waiting: list[pa.Table] = []
        self.waiting_rows = self.waiting_bytes = 0
        with _named_fault(self.file):
            self.writer: Any = pq.ParquetWriter(scratch.stream, schema)

    def write(self, records: Sequence[Mapping[str, Any]]) -> None:
        import pyarrow as pa

        if not records:
            return
        cells = [
            arrow_cells([record.get(name) for record in records], kind)
            for name, kind in zip(self.columns, self.schema.types, strict=True)
        ]
        table = pa.Table.from_arrays(cells, schema=self.schema)
        self.waiting.append(table)
        self.waiting_rows += len(table)
        self.waiting_bytes += table.nbytes
        if self.waiting_rows >= ROW_GROUP_ROWS or self.waiting_bytes >= ROW_GROUP_BYTES:
            self._write_group()

    def close(self) -> None:
        try:
            self._write_group()
            self.writer.close()
        finally:
            # After a failed close it would try again when it is garbage-collected, and print the error.
            self.writer.is_open = False

    def _write_group(self) -> None:
        import pyarrow as pa

        if self.waiting:
            group, self.waiting = pa.concat_tables(self.waiting), []
            self.waiting_rows = self.waiting_bytes = 0
            with _named_fault(self.file):
                self.writer.write_table(group)


def _schema(
    columns: Sequence[str], added: Mapping[str, str], like: str | Path | None, renamed: Mapping[str, str]
) -> pa.Schema:
    import pyarrow as pa

    types = {"string": pa.string(), "float64": pa.float64()}
    known = {renamed.get(name, name): kind for name, kind in _column_types(like).items()}
    known |= {name: types[kind] for name, kind in added.items()}
    return pa.schema([(utf8_safe(name), known.get(name, pa.string())) for name in columns])


def _column_types(path: str | Path | None) -> dict[str, pa.DataType]:
    """Arrow types of a table's columns; for jsonl and workbooks inferred from the values."""
    import pyarrow as pa

    if path is None:
        return {}
    table = table_files(path)
    if table.kind == "parquet":
        return {str(field.name): field.type for field in arrow_schema(table)}
    if table.kind == "csv":
        return dict.fromkeys(columns_of(path), pa.string())
    return _found_types(path)


def _found_types(path: str | Path) -> dict[str, pa.DataType]:
    """For each key a type that holds all of its values; where there is none, text, for their JSON."""
    import pyarrow as pa

    types: dict[str, Any] = {}
    mixed: set[str] = set()
    for chunk in read_chunks(path, rows=8_192):
        for name in {key for record in chunk for key in record} - mixed:
            try:
                here = arrow_cells([record.get(name) for record in chunk]).type
                types[name] = _common_type(types.get(name, here), here)
            except (ValueError, TypeError, OverflowError):
                mixed.add(name)
    mixed |= {name for name, kind in types.items() if pa.types.is_null(kind) or not _storable(kind)}
    types |= dict.fromkeys(mixed, pa.string())
    # A type found chunk by chunk can still be too narrow for a value: float64 cannot hold 2**60 + 1.
    doubtful = {name: kind for name, kind in types.items() if not pa.types.is_string(kind)}
    for chunk in read_chunks(path, rows=8_192) if doubtful else ():
        for name, kind in list(doubtful.items()):
            try:
                arrow_cells([record.get(name) for record in chunk], kind)
            except (ValueError, TypeError, OverflowError):
                types[name] = pa.string()
                del doubtful[name]
    return types


def _common_type(one: pa.DataType, other: pa.DataType) -> pa.DataType:
    import pyarrow as pa

    schemas = [pa.schema([("it", kind)]) for kind in (one, other)]
    return pa.unify_schemas(schemas, promote_options="permissive").field("it").type


def _storable(kind: pa.DataType) -> bool:
    """Whether parquet has this type; it lacks objects without keys, at any depth."""
    import pyarrow as pa
    import pyarrow.parquet as pq

    try:
        pq.ParquetWriter(pa.BufferOutputStream(), pa.schema([("it", kind)])).close()
    except pa.ArrowNotImplementedError:
        return False
    return True
