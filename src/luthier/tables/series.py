"""DataFrame columns that hold every value unchanged: 1 does not become 1.0 because another cell is missing."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from luthier.tables.cells import utf8_safe

if TYPE_CHECKING:
    import pandas as pd
    import pyarrow as pa

__all__ = ["arrow_frame", "frame_of_columns", "frame_of_records", "series_of", "text_series", "utf8_frame"]


def frame_of_records(records: Sequence[Mapping[str, Any]], columns: Sequence[str] | None = None) -> pd.DataFrame:
    """A frame from records, with missing keys as null.

    Args:
        records: one mapping per row.
        columns: their names in order; without them, every key that occurs.
    """
    if columns is None:
        columns = list(dict.fromkeys(key for record in records for key in record))
    return frame_of_columns({name: series_of([record.get(name) for record in records]) for name in columns})


def frame_of_columns(columns: Mapping[str, pd.Series[Any]]) -> pd.DataFrame:
    """A frame from its columns."""
    import pandas as pd

    frame = pd.DataFrame(dict(enumerate(columns.values())))
    frame.columns = pd.Index(series_of(list(columns)))
    return frame


def series_of(values: list[Any]) -> pd.Series[Any]:
    """A column of the usual dtype of the values where that holds each of them, else of dtype `object`."""
    import pandas as pd

    kinds = {type(value) for value in values}
    whole = not kinds.isdisjoint({int, bool})
    if len(kinds - {type(None)}) > 1 or (whole and len(kinds) > 1):
        # By itself pandas would turn 1 into 1.0 here, and prompts would show that.
        return pd.Series(values, dtype=object)
    try:
        return pd.Series(values)
    except UnicodeEncodeError:
        return pd.Series(values, dtype=object)


def text_series(values: Iterable[str | None]) -> pd.Series[Any]:
    """A column of texts of pandas' dtype `string`, with `?` for what UTF-8 cannot hold."""
    import pandas as pd

    return pd.Series([utf8_safe(value) for value in values], dtype="string")


def utf8_frame(frame: pd.DataFrame) -> pd.DataFrame:
    """The frame with `?` for what UTF-8 cannot hold, in its names and texts; only dtype `object` has such texts."""
    columns = {
        utf8_safe(name): series_of([utf8_safe(value) for value in cells]).set_axis(cells.index)
        if cells.dtype == object
        else cells
        for name, cells in frame.items()
    }
    return frame_of_columns(columns)


def arrow_frame(table: pa.Table) -> pd.DataFrame:
    """A frame from an Arrow table."""
    return frame_of_columns({str(name): _arrow_column(table.column(name)) for name in table.column_names})


def _arrow_column(column: pa.ChunkedArray) -> pd.Series[Any]:
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
