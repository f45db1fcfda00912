"""Tables from files: a whole one, or its rows in chunks."""

from __future__ import annotations

import csv
import json
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

from luthier.errors import DataError

if TYPE_CHECKING:
    import pandas as pd
    import pyarrow as pa

__all__ = [
    "FORMATS",
    "Record",
    "columns_of",
    "count_rows",
    "existing",
    "read_chunks",
    "read_table",
    "readable_parquet",
    "refuse_repeated",
    "table_format",
]

Record = dict[str, Any]

FORMATS = {".csv": "csv", ".jsonl": "jsonl", ".ndjson": "jsonl", ".parquet": "parquet", ".pq": "parquet"}


def table_format(path: str | Path) -> str:
    """`csv`, `jsonl` or `parquet`, by the ending of the name.

    Raises:
        DataError: the ending is none of these.
    """
    suffix = Path(path).suffix.lower()
    if suffix not in FORMATS:
        raise DataError(f"{path}: tables end in {', '.join(FORMATS)}; {suffix or 'no ending'!r} was given.")
    return FORMATS[suffix]


def existing(path: str | Path) -> Path:
    """The path, if a file is there."""
    file = Path(path)
    if not file.exists():
        beside = (
            sorted(p.name for p in file.parent.glob("*") if p.suffix.lower() in FORMATS) if file.parent.is_dir() else []
        )
        hint = f" Tables in {file.parent}: {', '.join(beside[:8])}." if beside else ""
        raise DataError(f"no file {file}.{hint}")
    if not file.is_file():
        raise DataError(f"{file} is a folder; give a table: {', '.join(FORMATS)}.")
    return file


def refuse_repeated(names: Sequence[str], file: str | Path) -> None:
    """Stops at a column name that occurs twice: records are keyed by it, one of the two would be lost.

    Raises:
        DataError: a name is repeated.
    """
    repeated = sorted({name for name in names if names.count(name) > 1})
    if repeated:
        raise DataError(f"{file} has two columns called {', '.join(repeated)}; rename one of them.")


def read_table(path: str | Path) -> pd.DataFrame:
    """A whole table as a DataFrame with the values `read_chunks` gives.

    A column has its usual dtype where that holds every value as it is; another one, such as whole
    numbers with nulls between them, has the dtype `object`.

    Raises:
        DataError: the file is missing, empty, broken, or not of a known format.
    """
    import pandas as pd

    file = existing(path)
    if table_format(file) == "parquet":
        with readable_parquet(file) as source:
            table = source.read()
            columns = {name: _parquet_column(table.column(name)) for name in table.column_names}
    else:
        records = [record for chunk in read_chunks(file, rows=65_536) for record in chunk]
        columns = {name: _column([record.get(name) for record in records]) for name in columns_of(file)}
    frame = pd.DataFrame(dict(enumerate(columns.values())))
    frame.columns = pd.Index(_column(list(columns)))
    if frame.empty:
        raise DataError(f"{path} has no rows.")
    return frame


def _column(values: list[Any]) -> pd.Series[Any]:
    import pandas as pd

    kinds = {type(value) for value in values}
    whole = not kinds.isdisjoint({int, bool})
    if len(kinds - {type(None)}) > 1 or (whole and len(kinds) > 1):
        # By itself pandas would turn 1 into 1.0 here, and the prompt would say so.
        return pd.Series(values, dtype=object)
    try:
        return pd.Series(values)
    except UnicodeEncodeError:
        return pd.Series(values, dtype=object)


def _parquet_column(column: pa.ChunkedArray) -> pd.Series[Any]:
    import pandas as pd
    import pyarrow as pa

    kind = column.type
    as_it_is = (
        pa.types.is_string(kind)
        or pa.types.is_large_string(kind)
        or pa.types.is_floating(kind)
        or pa.types.is_timestamp(kind)
        or ((pa.types.is_integer(kind) or pa.types.is_boolean(kind)) and column.null_count == 0)
    )
    series: pd.Series[Any] = column.to_pandas() if as_it_is else pd.Series(column.to_pylist(), dtype=object)
    return series


def columns_of(path: str | Path) -> list[str]:
    """Names of the columns, in order; for jsonl every key that occurs.

    Raises:
        DataError: as for `read_table`; also, two columns have one name.
    """
    file = existing(path)
    kind = table_format(file)
    if kind == "parquet":
        with readable_parquet(file) as source:
            return [str(name) for name in source.schema_arrow.names]
    if kind == "csv":
        with _csv_lines(file) as (header, _):
            return header
    names: dict[str, None] = {}
    for chunk in _jsonl_chunks(file, 65_536):
        for record in chunk:
            names.update(dict.fromkeys(record))
    return list(names)


def read_chunks(path: str | Path, rows: int) -> Iterator[list[Record]]:
    """The table in lists of at most `rows` records, read as they are asked for.

    Raises:
        DataError: as for `read_table`, when the faulty place is reached.
    """
    file = existing(path)
    kind = table_format(file)
    if kind == "parquet":
        with readable_parquet(file) as source:
            for batch in source.iter_batches(batch_size=rows):
                yield batch.to_pylist()
    elif kind == "csv":
        yield from _csv_chunks(file, rows)
    else:
        yield from _jsonl_chunks(file, rows)


def count_rows(path: str | Path) -> int:
    """Rows of a table; a pass over the file, except for parquet, which knows.

    Raises:
        DataError: as for `read_table`.
    """
    file = existing(path)
    if table_format(file) == "parquet":
        with readable_parquet(file) as source:
            return int(source.metadata.num_rows)
    return sum(len(chunk) for chunk in read_chunks(file, 65_536))


@contextmanager
def readable_parquet(file: Path) -> Iterator[Any]:
    """An open parquet file whose columns have names of their own.

    Raises:
        DataError: the file is broken, wherever that shows, or two columns have one name.
    """
    import pyarrow as pa
    import pyarrow.parquet as pq

    try:
        with pq.ParquetFile(file) as source:
            refuse_repeated(source.schema_arrow.names, file)
            yield source
    except (pa.ArrowException, OSError) as error:
        raise DataError(f"{file} is not a readable parquet file: {error}") from error


@contextmanager
def _csv_lines(file: Path) -> Iterator[tuple[list[str], Iterator[list[str]]]]:
    csv.field_size_limit(2**31 - 1)
    with file.open(encoding="utf-8-sig", newline="") as stream:
        # strict: a quote in the wrong place would otherwise swallow the rows that follow it.
        lines = csv.reader(stream, strict=True)
        try:
            header = next(lines, None)
        except (csv.Error, UnicodeDecodeError) as error:
            raise _broken_csv(file, lines.line_num, error) from error
        if not header:
            raise DataError(f"{file} is empty; a csv begins with a line of column names.")
        refuse_repeated(header, file)
        yield header, lines


def _csv_chunks(file: Path, rows: int) -> Iterator[list[Record]]:
    with _csv_lines(file) as (header, lines):
        chunk: list[Record] = []
        width = len(header)
        while True:
            start = lines.line_num + 1  # type: ignore[attr-defined]
            try:
                cells = next(lines, None)
            except (csv.Error, UnicodeDecodeError) as error:
                raise _broken_csv(file, start, error) from error
            if cells is None:
                break
            if not cells:
                if width > 1:
                    continue
                # The only way to write a null in a table of one column without quotes.
                cells = [""]
            if len(cells) != width:
                raise DataError(
                    f"{file}, line {start}: {len(cells)} cells where the header has {width}. A text with commas "
                    'or line breaks stands in double quotes, and a quote inside it is doubled ("").'
                )
            chunk.append({name: cell if cell else None for name, cell in zip(header, cells, strict=True)})
            if len(chunk) == rows:
                yield chunk
                chunk = []
        if chunk:
            yield chunk


def _broken_csv(file: Path, line: int, error: Exception) -> DataError:
    if isinstance(error, UnicodeDecodeError):
        return DataError(f"{file} is not UTF-8 near line {line} ({error.reason}); save it as UTF-8.")
    return DataError(
        f"{file}, the row that begins at line {line}: {error}. A text with commas, quotes or line breaks stands in "
        'double quotes, and a quote inside it is doubled ("").'
    )


def _jsonl_chunks(file: Path, rows: int) -> Iterator[list[Record]]:
    chunk: list[Record] = []
    try:
        with file.open(encoding="utf-8-sig") as stream:
            for number, line in enumerate(stream, start=1):
                if not line.strip():
                    continue
                try:
                    record = json.loads(line)
                except json.JSONDecodeError as error:
                    raise DataError(f"{file}, line {number} is not JSON: {error.msg}.") from error
                except (ValueError, RecursionError) as error:
                    raise DataError(f"{file}, line {number} cannot be read: {error}.") from error
                if not isinstance(record, dict):
                    raise DataError(f"{file}, line {number} is {type(record).__name__}; each line holds one object.")
                chunk.append(record)
                if len(chunk) == rows:
                    yield chunk
                    chunk = []
    except UnicodeDecodeError as error:
        raise DataError(f"{file} is not UTF-8 ({error.reason}); save it as UTF-8.") from error
    if chunk:
        yield chunk
