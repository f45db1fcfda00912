"""Tables read from files, whole or in chunks of rows."""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING, Any

from luthier.errors import DataError
from luthier.tables.delimited import delimited_columns, delimited_rows, dialect_of
from luthier.tables.encodings import PLAIN, encoding_of, open_text
from luthier.tables.parts import TableFiles, TablePart, table_files
from luthier.tables.series import arrow_frame, frame_of_records
from luthier.tables.sources import refuse_duplicates
from luthier.tables.workbook import sheet_layout, workbook_rows

if TYPE_CHECKING:
    import pandas as pd
    import pyarrow as pa

__all__ = [
    "Record",
    "arrow_schema",
    "columns_of",
    "count_rows",
    "how_saved",
    "open_parquet",
    "read_chunks",
    "read_table",
]

Record = dict[str, Any]

NAMED = 3
"""Number of files that a message names."""


def how_saved(path: str | Path) -> str:
    """What is unusual about how a table was saved: files, delimiter, encoding, sheet; empty for a plain one.

    Raises:
        DataError: as for `read_table`.
    """
    table = table_files(path)
    if len(table.parts) == 1:
        return "; ".join(said for said in (str(table), _how_saved(table, table.parts[0])) if said)
    unusual = [f"{part.name}: {said}" for part in table.parts if (said := _how_saved(table, part))]
    more = [f"and {len(unusual) - NAMED:,} more files"] if len(unusual) > NAMED else []
    return "; ".join([str(table), *unusual[:NAMED], *more])


def _how_saved(table: TableFiles, part: TablePart) -> str:
    with part.named() as file:
        if table.kind == "jsonl":
            return "" if (encoding := encoding_of(file)) == PLAIN else f"encoding {encoding}"
        if table.kind == "parquet":
            return ""
        return str(sheet_layout(file) if table.kind == "excel" else dialect_of(file))


def read_table(path: str | Path) -> pd.DataFrame:
    """Reads a whole table into a DataFrame, with the same values as `read_chunks`.

    A column has its usual dtype where that holds every value unchanged; other columns, such as integers with nulls
    among them, have the dtype `object`.

    Args:
        path: csv, tsv, txt, jsonl, parquet or xlsx; a folder or a pattern of such files; `-` for standard input.
            Delimiter and encoding of a text file are detected.

    Raises:
        DataError: the file is missing, empty, broken, or not of a known format.
    """
    table = table_files(path)
    if table.kind == "parquet":
        frame = arrow_frame(_arrow_table(table))
    else:
        frame = frame_of_records(list(_records(table, 65_536)), _columns(table))
    if frame.empty:
        raise DataError(f"{path} has no rows.")
    return frame


def columns_of(path: str | Path) -> list[str]:
    """Names of the columns, in order; for jsonl every key that occurs.

    Raises:
        DataError: as for `read_table`, or two columns have the same name, or the files have different columns.
    """
    return _columns(table_files(path))


def _columns(table: TableFiles) -> list[str]:
    if table.kind == "parquet":
        return [str(name) for name in arrow_schema(table).names]
    columns = dict[str, None]()
    for part in table.parts:
        with part.named() as file:
            if table.kind == "jsonl":
                columns |= dict.fromkeys(key for record in _jsonl_rows(file) for key in record)
                continue
            own = delimited_columns(file) if table.kind == "csv" else list(sheet_layout(file).columns)
        _refuse_other_columns(columns or own, table.parts[0], own, part)
        columns = columns or dict.fromkeys(own)
    return list(columns | dict.fromkeys(table.partitions))


def _refuse_other_columns(known: Iterable[str], first: TablePart, found: Iterable[str], part: TablePart) -> None:
    if lacking := sorted(set(known) - set(found)):
        raise DataError(
            f"{part.name} lacks the column {lacking[0]}, which {first.name} has; one table has the same in all files."
        )
    if added := sorted(set(found) - set(known)):
        raise DataError(
            f"{part.name} has a column {added[0]}, which {first.name} lacks; one table has the same in all files."
        )


def read_chunks(path: str | Path, rows: int) -> Iterator[list[Record]]:
    """Yields the table in lists of `rows` records, the last one shorter, in flat memory.

    Raises:
        DataError: as for `read_table`, when the faulty place is reached.
    """
    records = _records(table_files(path), rows)
    while chunk := list(islice(records, rows)):
        yield chunk


def _records(table: TableFiles, rows: int) -> Iterator[Record]:
    """The records of all files; those of parquet are read `rows` at a time."""
    for part in table.parts:
        with part.named() as file:
            for record in _file_records(table.kind, file, rows):
                # A column of the file is the same one with its type.
                for name, value in part.partitions.items():
                    record.setdefault(name, value)
                yield record


def _file_records(kind: str, file: Path, rows: int) -> Iterator[Record]:
    if kind != "parquet":
        yield from {"csv": delimited_rows, "excel": workbook_rows, "jsonl": _jsonl_rows}[kind](file)
        return
    with open_parquet(file) as source:
        # Asked for all groups at once, Arrow reads ahead: the peak grows with the table.
        for group in range(source.num_row_groups):
            for batch in source.iter_batches(batch_size=rows, row_groups=[group], use_threads=False):
                yield from batch.to_pylist()


def count_rows(path: str | Path) -> int:
    """Number of rows of a table; reads the whole file, unless it is parquet.

    Raises:
        DataError: as for `read_table`.
    """
    table = table_files(path)
    if table.kind != "parquet":
        return sum(1 for _ in _records(table, 65_536))
    rows = 0
    for part in table.parts:
        with part.named() as file, open_parquet(file) as source:
            rows += int(source.metadata.num_rows)
    return rows


def arrow_schema(table: TableFiles) -> pa.Schema:
    """Names and types of the columns of parquet files; of several types of one column, one that holds them all.

    Raises:
        DataError: files have different columns, or types of one column that no type holds.
    """
    import pyarrow as pa

    def own_schema(part: TablePart) -> pa.Schema:
        with part.named() as file, open_parquet(file) as source:
            return source.schema_arrow.remove_metadata()

    first, *others = table.parts
    schema = own_schema(first)
    for part in others:
        own = own_schema(part)
        _refuse_other_columns(schema.names, first, own.names, part)
        try:
            schema = pa.unify_schemas([schema, own], promote_options="permissive")
        except pa.ArrowTypeError as error:
            raise DataError(
                f"{part.name} has other types than {first.name}: {error}. Write both with the same types."
            ) from error
    for name in table.partitions:
        if name not in schema.names:
            schema = schema.append(pa.field(name, pa.string()))
    return schema


def _arrow_table(table: TableFiles) -> pa.Table:
    import pyarrow as pa

    schema, read = arrow_schema(table), []
    for part in table.parts:
        with part.named() as file, open_parquet(file) as source:
            rows = source.read()
        for name, value in part.partitions.items():
            if name not in rows.column_names:
                rows = rows.append_column(name, pa.array([value] * len(rows), pa.string()))
        rows = rows.select(schema.names)
        read.append(rows if rows.schema.equals(schema) else rows.cast(schema))
    return pa.concat_tables(read)


@contextmanager
def open_parquet(file: Path) -> Iterator[Any]:
    """Opens a parquet file.

    Raises:
        DataError: the file is broken, wherever that shows, or two columns have the same name.
    """
    import pyarrow as pa
    import pyarrow.parquet as pq

    try:
        with pq.ParquetFile(file) as source:
            refuse_duplicates(source.schema_arrow.names, file)
            yield source
    except (pa.ArrowException, OSError) as error:
        raise DataError(f"{file} is not a readable parquet file: {error}") from error


def _jsonl_rows(file: Path) -> Iterator[Record]:
    encoding = encoding_of(file)
    try:
        with open_text(file, encoding) as stream:
            for number, line in enumerate(stream, start=1):
                if not line.strip():
                    continue
                try:
                    record = json.loads(line, object_pairs_hook=_object)
                except json.JSONDecodeError as error:
                    raise DataError(f"{file}, line {number} is not JSON: {error.msg}.") from error
                except (ValueError, RecursionError) as error:
                    raise DataError(f"{file}, line {number} cannot be read: {error}.") from error
                if not isinstance(record, dict):
                    raise DataError(f"{file}, line {number} is {type(record).__name__}; each line holds one object.")
                yield record
    except UnicodeDecodeError as error:
        raise DataError(f"{file} is not {encoding} ({error.reason}); save it as UTF-8.") from error


def _object(pairs: list[tuple[str, Any]]) -> Record:
    """A JSON object; by itself Python would keep only the last of two values under one key."""
    found = dict(pairs)
    if len(found) < len(pairs):
        keys = [key for key, _ in pairs]
        raise ValueError(f"it has two values for {', '.join(sorted({key for key in keys if keys.count(key) > 1}))}")
    return found
