"""A DataFrame from whatever holds a table: a path, records, columns, texts, or a table of another library."""

from __future__ import annotations

import os
import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

from luthier.errors import DataError
from luthier.tables.parts import is_pattern
from luthier.tables.readers import read_table
from luthier.tables.remote import address_of
from luthier.tables.series import arrow_frame, frame_of_columns, frame_of_records, series_of
from luthier.tables.sources import TABLE_ENDINGS, is_table_name, refuse_duplicates
from luthier.tables.standard_streams import is_standard

if TYPE_CHECKING:
    import pandas as pd

__all__ = ["ArrowStream", "frame_of", "is_table", "row_numbers", "take_rows"]


class ArrowStream(Protocol):
    """A table of another library that can hand out its columns, such as a polars DataFrame or an Arrow table."""

    def __arrow_c_stream__(self, requested_schema: object | None = None) -> object:
        """The columns, as the Arrow PyCapsule protocol defines them."""


ROW_NUMBERS = "luthier_rows"
"""Key in a frame's `attrs`."""

ALLOWED = "a DataFrame (pandas or polars), an Arrow table, a path to a table, a list of dicts, or a dict of lists"
"""What `frame_of` takes, for messages."""


def frame_of(given: Any, source: str = "the table", *, text: str | None = None) -> pd.DataFrame:
    """Converts a table to a DataFrame whose column names are distinct strings.

    Args:
        given: a DataFrame, a path, a list of dicts, a dict of lists, an Arrow or polars table, or an object with a
            `to_pandas` method.
        source: what messages call it.
        text: name of the text column; with it, texts without a column name are accepted too: a list, a Series, an
            array.

    Raises:
        DataError: it is something else, or two columns have the same name.

    Examples:
        >>> frame_of([{"text": "good", "n": 1}, {"text": "bad"}])["n"].tolist()
        [1, None]
        >>> frame_of(["good", "bad"], text="review").columns.tolist()
        ['review']
    """
    import pandas as pd

    if isinstance(given, str | Path):
        return _from_path(given, source, text)
    frame = given if isinstance(given, pd.DataFrame) else _converted(given, source, text)
    if isinstance(frame.columns, pd.MultiIndex):
        raise DataError(
            f"{source} has column names of several levels, such as {frame.columns[0]!r}; give each column one name: "
            "df.columns = ['_'.join(map(str, name)) for name in df.columns]"
        )
    names = [str(name) for name in frame.columns]
    refuse_duplicates(names, source)
    return frame if names == list(frame.columns) else frame.set_axis(names, axis="columns")


def is_table(given: Any) -> bool:
    """Whether `frame_of` takes this for one table rather than for a collection of tables.

    Examples:
        >>> is_table({"text": ["a"], "label": ["b"]}), is_table(["may.csv", "june.csv"])
        (True, False)
    """
    if not isinstance(given, Mapping | list | tuple):
        return True
    inner = given.values() if isinstance(given, Mapping) else given
    return bool(given) and not any(isinstance(value, str | Path) or _is_tabular(value) for value in inner)


def _is_tabular(given: Any) -> bool:
    if isinstance(given, Mapping):
        return bool(given) and all(isinstance(cells, list | tuple) for cells in given.values())
    return hasattr(given, "columns") or hasattr(given, "column_names") or _are_records(given)


def _are_records(given: Any) -> bool:
    return isinstance(given, list | tuple) and bool(given) and all(isinstance(row, Mapping) for row in given)


def take_rows(frame: pd.DataFrame, positions: Sequence[int]) -> pd.DataFrame:
    """Rows of a frame by position; `row_numbers` says which rows of the whole table they are."""
    numbers = row_numbers(frame) or range(1, len(frame) + 1)
    kept = frame.iloc[list(positions)]
    kept.attrs[ROW_NUMBERS] = tuple(numbers[position] for position in positions)
    return kept


def row_numbers(frame: pd.DataFrame) -> tuple[int, ...]:
    """For rows from `take_rows`, the number of each in the whole table, from 1; empty for a whole table."""
    numbers: tuple[int, ...] = frame.attrs.get(ROW_NUMBERS, ())
    return numbers if len(numbers) == len(frame) else ()


def _from_path(given: str | Path, source: str, text: str | None) -> pd.DataFrame:
    if isinstance(given, str) and not _is_path(given):
        shown = given if len(given) <= 40 else given[:40] + "..."
        single = "; a single text is given in a list" if text is not None else ""
        raise DataError(f"{source} is the text {shown!r}; the path of a table ends in {TABLE_ENDINGS}{single}.")
    return read_table(given)


def _is_path(given: str) -> bool:
    """Whether a string is meant as the path of a table; a single text may be a sentence of any length."""
    if is_standard(given) or is_table_name(given):
        return True
    if re.fullmatch(r"\S+", given) and (address_of(given) is not None or ("/" in given and is_pattern(given))):
        return True
    # Path.is_dir raises where a text is no name at all.
    return os.path.isdir(given)  # noqa: PTH112


def _converted(given: Any, source: str, text: str | None) -> pd.DataFrame:
    """A frame, by what the object can do, so that no other library has to be installed.

    Arrow first: `to_pandas` of Arrow and polars would turn 1 into 1.0 beside a missing cell.
    """
    import numpy as np
    import pandas as pd
    import pyarrow as pa

    if isinstance(given, Mapping):
        return _from_columns(given, source)
    if _are_records(given):
        return frame_of_records(given)
    if isinstance(given, list | tuple):
        return _from_texts(list(given), source, text)
    if isinstance(given, pd.Series | pd.Index):
        frame = _from_texts(given.astype(object).tolist(), source, text)
        return frame.set_axis(given.index) if isinstance(given, pd.Series) else frame
    if isinstance(given, np.ndarray):
        if given.ndim == 2 and given.shape[1] == 1:
            given = given[:, 0]
        if given.ndim != 1 or given.dtype.names:
            raise DataError(f"{source} is an array of shape {given.shape}, without names of columns; give {ALLOWED}.")
        return _from_texts(given.tolist(), source, text)
    if isinstance(given, pa.Array | pa.ChunkedArray):
        return _from_texts(given.to_pylist(), source, text)
    if isinstance(given, pa.RecordBatch):
        given = pa.Table.from_batches([given])
    if hasattr(given, "__arrow_c_stream__"):
        try:
            table = given if isinstance(given, pa.Table) else pa.table(given)
        except (pa.ArrowException, TypeError, ValueError):
            # A single column, such as a polars Series.
            return _from_texts(pa.chunked_array(given).to_pylist(), source, text)
        refuse_duplicates(list(map(str, table.column_names)), source)
        return arrow_frame(table)
    if hasattr(given, "to_pandas") and isinstance(frame := given.to_pandas(), pd.DataFrame):
        return frame
    kind = f"{type(given).__module__.split('.')[0]}.{type(given).__name__}".removeprefix("builtins.")
    cure = next((f"call .{name}() first" for name in ("collect", "toPandas") if hasattr(given, name)), None)
    if hasattr(given, "__next__"):
        cure = "put its rows into a list first: list(...)"
    raise DataError(f"{source} is {'nothing' if given is None else f'of type {kind}'}; {cure or f'give {ALLOWED}'}.")


def _from_columns(given: Mapping[Any, Any], source: str) -> pd.DataFrame:
    if not given:
        raise DataError(f"{source} is an empty dict; give {ALLOWED}.")
    columns = {name: _series(cells) for name, cells in given.items()}
    if not any(column is not None for column in columns.values()):
        # One row.
        return frame_of_records([{str(name): cell for name, cell in given.items()}])
    known = {}
    for name, column in columns.items():
        if column is None:
            kind = type(given[name]).__name__
            raise DataError(f"{source}: column {name!r} is {kind}; a dict holds a list for each column.")
        known[name] = column
    lengths = {str(name): len(column) for name, column in known.items()}
    if len(set(lengths.values())) > 1:
        shown = ", ".join(f"{name}: {length}" for name, length in lengths.items())
        raise DataError(f"{source} has columns of different lengths ({shown}); give each as many values.")
    return frame_of_columns(known)


def _series(cells: Any) -> pd.Series[Any] | None:
    """A column's cells as a Series; `None` where they are a single value."""
    import numpy as np
    import pandas as pd

    if isinstance(cells, pd.Series):
        return cells
    if isinstance(cells, np.ndarray | pd.Index | pd.api.extensions.ExtensionArray) and cells.ndim == 1:
        return pd.Series(cells)
    if isinstance(cells, list | tuple):
        return series_of(list(cells))
    for method in ("to_pylist", "to_list", "tolist"):
        if hasattr(cells, method) and getattr(cells, "ndim", 1) == 1:
            return series_of(getattr(cells, method)())
    return None


def _from_texts(values: list[Any], source: str, text: str | None) -> pd.DataFrame:
    import pandas as pd

    nested = (
        value for value in values if isinstance(value, list | tuple | set | Mapping | bytes) or _is_tabular(value)
    )
    if (odd := next(nested, None)) is not None:
        raise DataError(f"{source} is a list that holds {type(odd).__name__}; give {ALLOWED}.")
    if text is None:
        raise DataError(f"{source} is a list of single values, without names of columns; give {ALLOWED}.")
    return pd.DataFrame({text: series_of(values)})
