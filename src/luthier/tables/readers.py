"""Tables read from files, whole or in chunks of rows."""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import contextmanager
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING, Any

from luthier.errors import DataError
from luthier.tables.delimited import delimited_columns, delimited_rows, dialect_of
from luthier.tables.encodings import PLAIN, encoding_of, open_text
from luthier.tables.series import arrow_frame, frame_of_records
from luthier.tables.sources import existing_table, refuse_duplicates, table_format
from luthier.tables.workbook import sheet_layout, workbook_rows

if TYPE_CHECKING:
    import pandas as pd

__all__ = ["Record", "columns_of", "count_rows", "how_saved", "open_parquet", "read_chunks", "read_table"]

Record = dict[str, Any]


def how_saved(path: str | Path) -> str:
    """What is unusual about how a table was saved: delimiter, encoding, sheet; empty for a plain one.

    Raises:
        DataError: as for `read_table`.
    """
    file = existing_table(path)
    kind = table_format(file)
    if kind == "jsonl":
        return "" if (encoding := encoding_of(file)) == PLAIN else f"encoding {encoding}"
    return "" if kind == "parquet" else str(sheet_layout(file) if kind == "excel" else dialect_of(file))


def read_table(path: str | Path) -> pd.DataFrame:
    """Reads a whole table into a DataFrame, with the same values as `read_chunks`.

    A column has its usual dtype where that holds every value unchanged; other columns, such as integers with nulls
    among them, have the dtype `object`.

    Args:
        path: csv, tsv, txt, jsonl, parquet or xlsx; `-` for standard input. Delimiter and encoding of a text file
            are detected.

    Raises:
        DataError: the file is missing, empty, broken, or not of a known format.
    """
    file = existing_table(path)
    if table_format(file) == "parquet":
        with open_parquet(file) as source:
            frame = arrow_frame(source.read())
    else:
        records = [record for chunk in read_chunks(file, rows=65_536) for record in chunk]
        frame = frame_of_records(records, columns_of(file))
    if frame.empty:
        raise DataError(f"{path} has no rows.")
    return frame


def columns_of(path: str | Path) -> list[str]:
    """Names of the columns, in order; for jsonl every key that occurs.

    Raises:
        DataError: as for `read_table`, or two columns have the same name.
    """
    file = existing_table(path)
    kind = table_format(file)
    if kind == "parquet":
        with open_parquet(file) as source:
            return [str(name) for name in source.schema_arrow.names]
    if kind == "csv":
        return delimited_columns(file)
    if kind == "excel":
        return list(sheet_layout(file).columns)
    return list(dict.fromkeys(key for record in _jsonl_rows(file) for key in record))


def read_chunks(path: str | Path, rows: int) -> Iterator[list[Record]]:
    """Yields the table in lists of at most `rows` records, in flat memory.

    Raises:
        DataError: as for `read_table`, when the faulty place is reached.
    """
    file = existing_table(path)
    kind = table_format(file)
    if kind == "parquet":
        with open_parquet(file) as source:
            for batch in source.iter_batches(batch_size=rows):
                yield batch.to_pylist()
        return
    records = {"csv": delimited_rows, "excel": workbook_rows, "jsonl": _jsonl_rows}[kind](file)
    while chunk := list(islice(records, rows)):
        yield chunk


def count_rows(path: str | Path) -> int:
    """Number of rows of a table; reads the whole file, unless it is parquet.

    Raises:
        DataError: as for `read_table`.
    """
    file = existing_table(path)
    if table_format(file) == "parquet":
        with open_parquet(file) as source:
            return int(source.metadata.num_rows)
    return sum(len(chunk) for chunk in read_chunks(file, 65_536))


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
