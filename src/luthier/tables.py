"""Tables in files: csv, jsonl and parquet, whole or in chunks, in and out.

Cells stay as they are written: a csv cell is text (`001` stays `001`, `NA` stays `NA`, an empty
cell is null), a parquet column keeps its type, a jsonl value stays the JSON value it was.
"""

from __future__ import annotations

import csv
import json
import math
import os
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from types import TracebackType
from typing import IO, TYPE_CHECKING, Any, Protocol, Self

from luthier.errors import DataError

if TYPE_CHECKING:
    import pandas as pd
    import pyarrow as pa

__all__ = [
    "FORMATS",
    "Record",
    "TableWriter",
    "columns_of",
    "count_rows",
    "open_writer",
    "read_chunks",
    "read_table",
    "table_format",
    "write_frame",
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


def read_table(path: str | Path) -> pd.DataFrame:
    """A whole table as a DataFrame.

    Raises:
        DataError: the file is missing, empty, broken, or not of a known format.
    """
    import pandas as pd

    if table_format(path) == "parquet":
        with _readable_parquet(existing(path)) as source:
            frame: pd.DataFrame = source.read().to_pandas()
    else:
        records = [record for chunk in read_chunks(path, rows=65_536) for record in chunk]
        frame = pd.DataFrame.from_records(records, columns=columns_of(path))
    if frame.empty:
        raise DataError(f"{path} has no rows.")
    return frame


def columns_of(path: str | Path) -> list[str]:
    """Names of the columns, in order; for jsonl every key that occurs."""
    file = existing(path)
    kind = table_format(file)
    if kind == "parquet":
        with _readable_parquet(file) as source:
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
        with _readable_parquet(file) as source:
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
        with _readable_parquet(file) as source:
            return int(source.metadata.num_rows)
    return sum(len(chunk) for chunk in read_chunks(file, 65_536))


@contextmanager
def _readable_parquet(file: Path) -> Iterator[Any]:
    import pyarrow as pa
    import pyarrow.parquet as pq

    try:
        source = pq.ParquetFile(file)
    except (pa.ArrowInvalid, OSError) as error:
        raise DataError(f"{file} is not a readable parquet file: {error}") from error
    with source:
        yield source


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
        repeated = sorted({name for name in header if header.count(name) > 1})
        if repeated:
            raise DataError(f"{file} has two columns called {', '.join(repeated)}; rename one of them.")
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
                continue
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


def write_frame(frame: pd.DataFrame, path: str | Path) -> None:
    """A whole DataFrame as a table, missing cells as null.

    Raises:
        DataError: the ending is unknown, or the folder cannot be written.
    """
    columns = [str(column) for column in frame.columns]
    cells = frame.astype(object).where(frame.notna(), None)
    with open_writer(path, columns, {}) as writer:
        writer.write([dict(zip(columns, row, strict=True)) for row in cells.itertuples(index=False, name=None)])


class TableWriter(Protocol):
    """Takes records in order; the file appears whole when the writer closes without an error."""

    def write(self, records: Sequence[Mapping[str, Any]]) -> None:
        """Appends records that all have the writer's columns."""

    def __enter__(self) -> Self:
        """Opens a scratch file beside the target."""

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Renames the scratch file into place, or removes it after an error."""


def open_writer(
    path: str | Path, columns: Sequence[str], added: Mapping[str, str], like: str | Path | None = None
) -> TableWriter:
    """A writer for a table that holds the columns of another one and some more.

    Args:
        path: where the table goes; its ending gives the format.
        columns: every column, in order.
        added: the columns that the source does not have, each with `string` or `float64`.
        like: the source table, whose column types a parquet target keeps.

    Raises:
        DataError: the ending is unknown, or the folder cannot be written.
    """
    file = Path(path)
    kind = table_format(file)
    if file.is_dir():
        raise DataError(f"{file} is a folder; name the file to write.")
    try:
        file.parent.mkdir(parents=True, exist_ok=True)
        # Found out now rather than after everything was paid for.
        descriptor, scratch = tempfile.mkstemp(prefix=f".{file.name}-", suffix=".part", dir=file.parent)
        os.close(descriptor)
    except OSError as error:
        raise DataError(f"{file} cannot be written: {error.strerror}. Choose another place.") from error
    Path(scratch).unlink()
    if kind == "parquet":
        return _ParquetWriter(file, Path(scratch), columns, added, like)
    return _LineWriter(file, Path(scratch), columns, kind)


class _Scratch:
    def __init__(self, target: Path, scratch: Path) -> None:
        self.target = target
        self.scratch = scratch

    def _keep(self) -> None:
        with self.scratch.open("rb") as stream:
            os.fsync(stream.fileno())
        mask = os.umask(0)
        os.umask(mask)
        self.scratch.chmod(0o666 & ~mask)
        os.replace(self.scratch, self.target)


class _LineWriter(_Scratch):
    """csv and jsonl."""

    def __init__(self, target: Path, scratch: Path, columns: Sequence[str], kind: str) -> None:
        super().__init__(target, scratch)
        self.columns = list(columns)
        self.kind = kind
        self.stream: IO[str]

    def __enter__(self) -> Self:
        self.stream = self.scratch.open("w", encoding="utf-8", newline="")
        if self.kind == "csv":
            self.lines = csv.writer(self.stream, lineterminator="\n")
            self.lines.writerow(self.columns)
        return self

    def write(self, records: Sequence[Mapping[str, Any]]) -> None:
        if self.kind == "csv":
            self.lines.writerows([_csv_cell(record.get(name)) for name in self.columns] for record in records)
        else:
            for record in records:
                self.stream.write(json.dumps(_json_value(dict(record)), ensure_ascii=False, default=str) + "\n")

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.stream.close()
        if kind is None:
            self._keep()
        else:
            self.scratch.unlink(missing_ok=True)


class _ParquetWriter(_Scratch):
    def __init__(
        self,
        target: Path,
        scratch: Path,
        columns: Sequence[str],
        added: Mapping[str, str],
        like: str | Path | None,
    ) -> None:
        super().__init__(target, scratch)
        self.columns = list(columns)
        self.added = added
        self.like = like
        self.writer: Any = None

    def __enter__(self) -> Self:
        import pyarrow as pa
        import pyarrow.parquet as pq

        types = {"string": pa.string(), "float64": pa.float64()}
        known: dict[str, pa.DataType] = {name: types[kind] for name, kind in self.added.items()}
        known |= {name: kind for name, kind in _column_types(self.like).items() if name not in known}
        self.schema = pa.schema([(name, known.get(name, pa.string())) for name in self.columns])
        self.writer = pq.ParquetWriter(self.scratch, self.schema)
        return self

    def write(self, records: Sequence[Mapping[str, Any]]) -> None:
        import pyarrow as pa

        if not records:
            return
        arrays = [
            pa.array([_arrow_value(record.get(field.name), field.type) for record in records], type=field.type)
            for field in self.schema
        ]
        self.writer.write_table(pa.Table.from_arrays(arrays, schema=self.schema))

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.writer.close()
        if kind is None:
            self._keep()
        else:
            self.scratch.unlink(missing_ok=True)


def _column_types(path: str | Path | None) -> dict[str, pa.DataType]:
    """Arrow types of a table's columns; for jsonl found by one pass over the file."""
    import pyarrow as pa

    if path is None:
        return {}
    kind = table_format(path)
    if kind == "parquet":
        with _readable_parquet(Path(path)) as source:
            return {str(field.name): field.type for field in source.schema_arrow}
    if kind == "csv":
        return dict.fromkeys(columns_of(path), pa.string())
    types: dict[str, Any] = {}
    mixed: set[str] = set()
    for chunk in read_chunks(path, rows=8_192):
        for name in {key for record in chunk for key in record} - mixed:
            try:
                here = pa.array([record.get(name) for record in chunk]).type
                there = types.get(name, here)
                types[name] = (
                    pa.unify_schemas(
                        [pa.schema([(name, there)]), pa.schema([(name, here)])], promote_options="permissive"
                    )
                    .field(name)
                    .type
                )
            except (pa.ArrowInvalid, pa.ArrowTypeError):
                # A key that holds values of several kinds becomes JSON text.
                mixed.add(name)
    return {name: pa.string() if name in mixed or pa.types.is_null(kind) else kind for name, kind in types.items()}


def _arrow_value(value: Any, kind: pa.DataType) -> Any:
    import pyarrow as pa

    if value is None or not pa.types.is_string(kind) or isinstance(value, str):
        return value
    return json.dumps(value, ensure_ascii=False, default=str)


def _csv_cell(value: Any) -> Any:
    if isinstance(value, float) and math.isnan(value):
        return None
    if isinstance(value, dict | list):
        return json.dumps(value, ensure_ascii=False, default=str)
    return value


def _json_value(value: Any) -> Any:
    """The value with NaN, which JSON does not have, as null."""
    if isinstance(value, float) and not math.isfinite(value):
        return None
    if isinstance(value, dict):
        return {key: _json_value(inner) for key, inner in value.items()}
    if isinstance(value, list):
        return [_json_value(inner) for inner in value]
    return value
