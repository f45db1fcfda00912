"""What people have for a table, as a DataFrame: a path, records, columns, texts, a table of another library."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

from luthier.errors import DataError
from luthier.tables.readers import read_table
from luthier.tables.series import arrow_frame, frame_of_columns, frame_of_records, series_of
from luthier.tables.sources import FORMATS, STANDARD_INPUT

if TYPE_CHECKING:
    import pandas as pd

__all__ = ["ArrowStream", "take_rows", "frame_of", "is_table", "row_numbers"]


class ArrowStream(Protocol):
    """A table of another library that can hand out its columns, such as a polars DataFrame or an Arrow table."""

    def __arrow_c_stream__(self, requested_schema: object | None = None) -> object:
        """The columns, as the Arrow PyCapsule protocol has them."""


ROW_NUMBERS = "luthier_rows"
"""Key in a frame's `attrs`."""

ALLOWED = "a DataFrame (pandas or polars), an Arrow table, a path to a table, a list of dicts, or a dict of lists"
"""What `frame_of` takes, for messages."""


def frame_of(given: Any, source: str = "the table", *, text: str | None = None) -> pd.DataFrame:
    """A DataFrame whose columns have distinct names, each a text.

    Args:
        given: a DataFrame, a path, a list of dicts, a dict of lists, an Arrow or polars table, or anything with
            `to_pandas`.
        source: what it is called in messages.
        text: the text column; then texts alone are taken too: a list, a Series, an array.

    Raises:
        DataError: it is something else, or two columns have one name; says what to pass.

    Examples:
        >>> frame_of([{"text": "good", "n": 1}, {"text": "bad"}])["n"].tolist()
        [1, None]
        >>> frame_of(["good", "bad"], text="review").columns.tolist()
        ['review']
    """
    import pandas as pd

    if isinstance(given, pd.DataFrame):
        return _checked(given, source)
    if isinstance(given, str | Path):
        return _from_path(given, source, text)
    if isinstance(given, Mapping):
        return _checked(_from_columns(given, source), source)
    if isinstance(given, pd.Series | pd.Index):
        return _texts(
            given.astype(object).tolist(), source, text, given.index if isinstance(given, pd.Series) else None
        )
    if isinstance(given, list | tuple):
        if given and all(isinstance(row, Mapping) for row in given):
            return _checked(frame_of_records(given), source)
        return _texts(list(given), source, text)
    return _from_elsewhere(given, source, text)


def is_table(given: Any) -> bool:
    """Whether `frame_of` takes this for one table, rather than for a collection of several.

    Examples:
        >>> is_table({"text": ["a"], "label": ["b"]}), is_table(["may.csv", "june.csv"])
        (True, False)
    """
    if isinstance(given, Mapping):
        return bool(given) and not any(isinstance(value, str | Path) or _tabular(value) for value in given.values())
    if isinstance(given, list | tuple):
        return bool(given) and not any(isinstance(value, str | Path) or _tabular(value) for value in given)
    return True


def take_rows(frame: pd.DataFrame, positions: Sequence[int]) -> pd.DataFrame:
    """Rows of a frame that know which rows of it they are; for `row_numbers`."""
    numbers = row_numbers(frame) or range(1, len(frame) + 1)
    kept = frame.iloc[list(positions)]
    kept.attrs[ROW_NUMBERS] = tuple(numbers[position] for position in positions)
    return kept


def row_numbers(frame: pd.DataFrame) -> tuple[int, ...]:
    """For rows that `take_rows` took, the number of each in the whole table, from 1; nothing for a whole table."""
    numbers: tuple[int, ...] = frame.attrs.get(ROW_NUMBERS, ())
    return numbers if len(numbers) == len(frame) else ()


def _tabular(given: Any) -> bool:
    return hasattr(given, "columns") or hasattr(given, "column_names") or _records(given) or _columns(given)


def _records(given: Any) -> bool:
    return isinstance(given, list | tuple) and bool(given) and all(isinstance(row, Mapping) for row in given)


def _columns(given: Any) -> bool:
    return (
        isinstance(given, Mapping) and bool(given) and all(isinstance(cells, list | tuple) for cells in given.values())
    )


def _checked(frame: pd.DataFrame, source: str) -> pd.DataFrame:
    import pandas as pd

    if isinstance(frame.columns, pd.MultiIndex):
        raise DataError(
            f"{source} has column names of several levels, such as {frame.columns[0]!r}; give each column one name: "
            "df.columns = ['_'.join(map(str, name)) for name in df.columns]"
        )
    names = [str(name) for name in frame.columns]
    repeated = sorted({name for name in names if names.count(name) > 1})
    if repeated:
        raise DataError(f"{source} has two columns called {', '.join(repeated)}; rename or drop one of them.")
    if names != list(frame.columns):
        frame = frame.set_axis(names, axis="columns")
    return frame


def _from_path(given: str | Path, source: str, text: str | None) -> pd.DataFrame:
    if isinstance(given, str) and given != STANDARD_INPUT and not given.lower().endswith((*FORMATS, ".gz")):
        shown = given if len(given) <= 40 else given[:40] + "..."
        single = "; a single text is given in a list" if text is not None else ""
        raise DataError(f"{source} is the text {shown!r}; the path of a table ends in {', '.join(FORMATS)}{single}.")
    return read_table(given)


def _from_columns(given: Mapping[Any, Any], source: str) -> pd.DataFrame:
    import pandas as pd

    if not given:
        raise DataError(f"{source} is an empty dict; give {ALLOWED}.")
    if not any(_one_dimensional(cells) for cells in given.values()):
        # One row.
        return frame_of_records([{str(name): cell for name, cell in given.items()}])
    columns = {}
    for name, cells in given.items():
        if not _one_dimensional(cells):
            raise DataError(
                f"{source}: column {name!r} is {type(cells).__name__}; a dict holds a list for each column."
            )
        columns[name] = cells if isinstance(cells, pd.Series) else _column(cells)
    lengths = {str(name): len(cells) for name, cells in columns.items()}
    if len(set(lengths.values())) > 1:
        shown = ", ".join(f"{name}: {length}" for name, length in lengths.items())
        raise DataError(f"{source} has columns of different lengths ({shown}); give each as many values.")
    return frame_of_columns(columns)


def _one_dimensional(cells: Any) -> bool:
    return (
        isinstance(cells, list | tuple)
        or (hasattr(cells, "__len__") and getattr(cells, "ndim", 0) == 1)
        or (hasattr(cells, "to_pylist"))
    )


def _column(cells: Any) -> pd.Series[Any]:
    import numpy as np
    import pandas as pd

    if isinstance(cells, np.ndarray | pd.Index | pd.api.extensions.ExtensionArray):
        return pd.Series(cells)
    for method in ("to_pylist", "to_list", "tolist"):
        if hasattr(cells, method):
            return series_of(getattr(cells, method)())
    return series_of(list(cells))


def _texts(values: list[Any], source: str, text: str | None, index: pd.Index[Any] | None = None) -> pd.DataFrame:
    import pandas as pd

    odd = next(
        (value for value in values if isinstance(value, list | tuple | set | Mapping | bytes) or _tabular(value)), None
    )
    if odd is not None:
        raise DataError(f"{source} is a list that holds {type(odd).__name__}; give {ALLOWED}.")
    if text is None:
        raise DataError(f"{source} is a list of single values, without names of columns; give {ALLOWED}.")
    frame = pd.DataFrame({text: series_of(values)})
    if index is not None:
        frame.index = index
    return frame


def _from_elsewhere(given: Any, source: str, text: str | None) -> pd.DataFrame:
    """Arrow, polars, numpy and what knows pandas; by what they can do, so that none of them has to be installed."""
    import numpy as np
    import pandas as pd
    import pyarrow as pa

    if isinstance(given, pa.RecordBatch):
        given = pa.Table.from_batches([given])
    if isinstance(given, np.ndarray):
        if given.ndim == 2 and given.shape[1] == 1:
            given = given[:, 0]
        if given.ndim != 1 or given.dtype.names:
            raise DataError(f"{source} is an array of shape {given.shape}, without names of columns; give {ALLOWED}.")
        return _texts(given.tolist(), source, text)
    if isinstance(given, pa.Array | pa.ChunkedArray):
        return _texts(given.to_pylist(), source, text)
    if hasattr(given, "__arrow_c_stream__"):
        try:
            table = given if isinstance(given, pa.Table) else pa.table(given)
        except (pa.ArrowException, TypeError, ValueError):
            # A single column, such as a polars Series.
            return _texts(pa.chunked_array(given).to_pylist(), source, text)
        names = [str(name) for name in table.column_names]
        repeated = sorted({name for name in names if names.count(name) > 1})
        if repeated:
            raise DataError(f"{source} has two columns called {', '.join(repeated)}; rename or drop one of them.")
        return arrow_frame(table)
    if hasattr(given, "to_pandas"):
        frame = given.to_pandas()
        if isinstance(frame, pd.DataFrame):
            return _checked(frame, source)
    kind = f"{type(given).__module__.split('.')[0]}.{type(given).__name__}".removeprefix("builtins.")
    cure = next(
        (f"call .{name}() first" for name in ("collect", "toPandas") if hasattr(given, name)), f"give {ALLOWED}"
    )
    if hasattr(given, "__next__"):
        cure = "put its rows into a list first: list(...)"
    raise DataError(f"{source} is {'nothing' if given is None else f'of type {kind}'}; {cure}.")
