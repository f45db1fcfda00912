"""Tables into files: row after row into a scratch file that takes the target's place when it is whole."""

from __future__ import annotations

import os
import tempfile
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from types import TracebackType
from typing import IO, TYPE_CHECKING, Any, Protocol, Self

from luthier.errors import DataError
from luthier.outputs import check_file, lock_scratch, remove_stale
from luthier.tables.cells import arrow_cells, csv_line, json_text, utf8_safe, without_formula
from luthier.tables.readers import columns_of, read_chunks, readable_parquet
from luthier.tables.sources import existing_table, refuse_duplicates, table_format, written_format

if TYPE_CHECKING:
    import pandas as pd
    import pyarrow as pa

__all__ = ["TableWriter", "open_writer", "write_frame"]


def write_frame(frame: pd.DataFrame, path: str | Path) -> None:
    """A whole DataFrame as a table, missing cells as null.

    Raises:
        DataError: the ending is unknown, two columns have one name, or the file cannot be written.
    """
    columns = [str(column) for column in frame.columns]
    cells = frame.astype(object).where(frame.notna(), None)
    with open_writer(path, columns, {}) as writer:
        writer.write([dict(zip(columns, row, strict=True)) for row in cells.itertuples(index=False, name=None)])


class TableWriter(Protocol):
    """Takes records in order; the file appears whole when the writer closes without an error."""

    def write(self, records: Sequence[Mapping[str, Any]]) -> None:
        """Appends records that all have the writer's columns.

        Raises:
            DataError: the disk is full, or the file cannot be written for another reason.
        """

    def __enter__(self) -> Self:
        """Opens a scratch file beside the target."""

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Renames the scratch file into place, or removes it after an error."""


def open_writer(
    path: str | Path,
    columns: Sequence[str],
    added: Mapping[str, str],
    like: str | Path | None = None,
    renamed: Mapping[str, str] | None = None,
    escape_formulas: bool = False,
) -> TableWriter:
    """A writer for a table that holds the columns of another one and some more.

    Args:
        path: where the table goes; its ending gives the format.
        columns: every column, in order.
        added: the columns that the source does not have, each with `string` or `float64`.
        like: the source table, whose column types a parquet target keeps.
        renamed: column of the source to its name in the target, where that is another one.
        escape_formulas: whether texts in a csv that a spreadsheet would run as a formula get a `'` in front.

    Raises:
        DataError: the ending is unknown, two columns have one name, the folder cannot be written, or a symbolic link
            or a folder is in the file's place.
    """
    kind = written_format(path)
    file = check_file(path)
    refuse_duplicates([utf8_safe(name) for name in columns], file)
    with _named_fault(file):
        file.parent.mkdir(parents=True, exist_ok=True)
        remove_stale(file)
        # Found out now rather than after everything was paid for.
        descriptor, name = tempfile.mkstemp(prefix=f".{file.name}-", suffix=".part", dir=file.parent)
        os.close(descriptor)
    scratch = Path(name)
    scratch.unlink(missing_ok=True)
    if kind == "parquet":
        return _ParquetWriter(file, scratch, columns, added, like, renamed or {})
    return _LineWriter(file, scratch, columns, kind, escape_formulas)


@contextmanager
def _named_fault(file: Path) -> Iterator[None]:
    """A full disk and its like as an error that says which file and why."""
    try:
        yield
    except OSError as error:
        # Arrow's own message repeats the number and hides the reason in the middle.
        reason = os.strerror(error.errno) if error.errno else str(error)
        raise DataError(f"{file} cannot be written: {reason}. Make room there, or choose another place.") from error


class _Writer(ABC):
    def __init__(self, target: Path, scratch: Path, columns: Sequence[str]) -> None:
        self.target = target
        self.scratch = scratch
        self.columns = list(columns)

    @abstractmethod
    def _open(self) -> None: ...

    @abstractmethod
    def _append(self, records: Sequence[Mapping[str, Any]]) -> None: ...

    @abstractmethod
    def _close(self) -> None: ...

    def __enter__(self) -> Self:
        try:
            with _named_fault(self.target):
                self._open()
        except BaseException as error:
            self.__exit__(type(error), error, error.__traceback__)
            raise
        return self

    def write(self, records: Sequence[Mapping[str, Any]]) -> None:
        with _named_fault(self.target):
            self._append(records)

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        try:
            if kind is None:
                with _named_fault(self.target):
                    self._close()
                    self._keep()
            else:
                # A full disk refuses the last bytes too; the fault that is already on its way says more.
                with suppress(Exception):
                    self._close()
        finally:
            with suppress(OSError):
                self.scratch.unlink(missing_ok=True)

    def _keep(self) -> None:
        with self.scratch.open("rb") as stream:
            os.fsync(stream.fileno())
        mask = os.umask(0)
        os.umask(mask)
        self.scratch.chmod(0o666 & ~mask)
        os.replace(self.scratch, self.target)


class _LineWriter(_Writer):
    """csv, tsv and jsonl."""

    def __init__(self, target: Path, scratch: Path, columns: Sequence[str], kind: str, escape_formulas: bool) -> None:
        super().__init__(target, scratch, columns)
        self.kind = kind
        self.cell: Callable[[Any], Any] = without_formula if escape_formulas else lambda cell: cell
        self.delimiter = "\t" if target.suffix.lower() == ".tsv" else ","
        self.stream: IO[str]

    def _open(self) -> None:
        self.stream = self.scratch.open("x", encoding="utf-8", errors="replace", newline="")
        lock_scratch(self.stream.fileno())
        if self.kind == "csv":
            self.stream.write(csv_line([self.cell(name) for name in self.columns], self.delimiter))

    def _append(self, records: Sequence[Mapping[str, Any]]) -> None:
        if self.kind == "csv":
            self.stream.writelines(
                csv_line([self.cell(record.get(name)) for name in self.columns], self.delimiter) for record in records
            )
        else:
            self.stream.writelines(json_text(dict(record)) + "\n" for record in records)

    def _close(self) -> None:
        self.stream.close()


class _ParquetWriter(_Writer):
    def __init__(
        self,
        target: Path,
        scratch: Path,
        columns: Sequence[str],
        added: Mapping[str, str],
        like: str | Path | None,
        renamed: Mapping[str, str],
    ) -> None:
        super().__init__(target, scratch, columns)
        self.added = added
        self.like = like
        self.renamed = renamed
        self.stream: IO[bytes]
        self.writer: Any = None

    def __enter__(self) -> Self:
        import pyarrow as pa

        types = {"string": pa.string(), "float64": pa.float64()}
        known = {self.renamed.get(name, name): kind for name, kind in _column_types(self.like).items()}
        known |= {name: types[kind] for name, kind in self.added.items()}
        self.schema = pa.schema([(utf8_safe(name), known.get(name, pa.string())) for name in self.columns])
        return super().__enter__()

    def _open(self) -> None:
        import pyarrow.parquet as pq

        self.stream = self.scratch.open("xb")
        lock_scratch(self.stream.fileno())
        self.writer = pq.ParquetWriter(self.stream, self.schema)

    def _append(self, records: Sequence[Mapping[str, Any]]) -> None:
        import pyarrow as pa

        if not records:
            return
        arrays = [
            arrow_cells([record.get(name) for record in records], field.type)
            for name, field in zip(self.columns, self.schema, strict=True)
        ]
        self.writer.write_table(pa.Table.from_arrays(arrays, schema=self.schema))

    def _close(self) -> None:
        try:
            if self.writer is not None:
                self.writer.close()
        finally:
            if self.writer is not None:
                # After a failed close it would try again while it is collected, and print what it met.
                self.writer.is_open = False
            self.stream.close()


def _column_types(path: str | Path | None) -> dict[str, pa.DataType]:
    """Arrow types of a table's columns; for jsonl and workbooks found in its values."""
    import pyarrow as pa

    if path is None:
        return {}
    file = existing_table(path)
    kind = table_format(file)
    if kind == "parquet":
        with readable_parquet(file) as source:
            return {str(field.name): field.type for field in source.schema_arrow}
    if kind == "csv":
        return dict.fromkeys(columns_of(file), pa.string())
    return _found_types(file)


def _found_types(path: Path) -> dict[str, pa.DataType]:
    """One type per key that holds all of its values; text, for their JSON, where there is none."""
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
    # A type found chunk by chunk can still be too narrow for a value: 2**60 + 1 is no float64.
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
    """Whether parquet has this type; it lacks an object without keys, at any depth."""
    import pyarrow as pa
    import pyarrow.parquet as pq

    try:
        pq.ParquetWriter(pa.BufferOutputStream(), pa.schema([("it", kind)])).close()
    except pa.ArrowNotImplementedError:
        return False
    return True
