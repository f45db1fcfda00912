"""Filters: conditions on the columns of a table, and the rows that meet them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal, TypeAlias

import numpy as np
import numpy.typing as npt

from luthier.errors import DataError

if TYPE_CHECKING:
    import pandas as pd

__all__ = ["MISSING", "Filter", "Filters", "category_names", "meets", "numbers_of", "written"]

Rows: TypeAlias = npt.NDArray[np.bool_]

MISSING = "(missing)"
"""How an empty cell is named."""

QUANTILES = (0.05, 0.075, 0.1, 0.15, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7, 0.8, 0.85, 0.9, 0.925, 0.95)
"""Thresholds tried in a column of numbers. They are closer at the ends, where cohorts of 5 to 20% of the rows lie."""

MOST_VALUES = 50
"""Values tried in a column of categories, the most frequent first."""


@dataclass(frozen=True, slots=True)
class Filter:
    """A condition on one column.

    Attributes:
        column: name of a feature or of a column of the table.
        relation: `>` and `<=` for numbers and dates, `=` for a value of any other column; a missing cell meets neither
            `>` nor `<=`.
        value: what the cell is compared with; a date is written as in ISO 8601, a missing cell is `(missing)`.
    """

    column: str
    relation: Literal[">", "<=", "="]
    value: float | str

    def __str__(self) -> str:
        value = self.value if isinstance(self.value, str) else f"{self.value:,.6g}"
        return f"{self.column} {self.relation} {value}"


@dataclass(frozen=True)
class Filters:
    """Every filter that is worth trying on a table.

    Attributes:
        tried: the filters.
        met: which rows meet each, shape (filters, rows).
        columns: columns that have at least one filter.
        left_out: columns that have none: constant ones, and those whose values are all rare.
    """

    tried: tuple[Filter, ...]
    met: Rows
    columns: tuple[str, ...]
    left_out: tuple[str, ...]

    @classmethod
    def of(cls, table: pd.DataFrame, fewest: int, most: int) -> Filters:
        """Filters that between `fewest` and `most` rows meet.

        Args:
            table: columns of numbers, dates, booleans or categories; cells may be missing.
            fewest: rows that must meet a filter.
            most: rows that may meet it.
        """
        tried: list[Filter] = []
        met: list[Rows] = []
        columns: list[str] = []
        left_out: list[str] = []
        for place, name in enumerate(map(str, table.columns)):
            before = len(tried)
            for one, rows in _of_column(name, table.iloc[:, place], fewest):
                if fewest <= rows.sum() <= most:
                    tried.append(one)
                    met.append(rows)
            (columns if len(tried) > before else left_out).append(name)
        shape = (0, len(table))
        return cls(tuple(tried), np.stack(met) if met else np.empty(shape, bool), tuple(columns), tuple(left_out))


def meets(table: pd.DataFrame, filters: Sequence[Filter]) -> Rows:
    """Which rows meet every filter, shape (rows,).

    Raises:
        DataError: the table has no column of that name.

    Examples:
        >>> import pandas as pd
        >>> table = pd.DataFrame({"words": [3, 90, 40], "region": ["north", "north", None]})
        >>> meets(table, [Filter("words", "<=", 50), Filter("region", "=", "north")]).tolist()
        [True, False, False]
    """
    out = np.ones(len(table), dtype=bool)
    names = list(map(str, table.columns))
    for one in filters:
        if one.column not in names:
            raise DataError(f"the table has no column {one.column!r}; its columns are: {', '.join(names)}.")
        series = table.iloc[:, names.index(one.column)]
        if one.relation == "=":
            out &= np.array([name == one.value for name in category_names(series)], dtype=bool)
            continue
        numbers = numbers_of(series)
        if numbers is None:
            raise DataError(f"column {one.column!r} holds neither numbers nor dates, so {str(one)!r} cannot be judged.")
        value = _moment(one.value) if isinstance(one.value, str) else one.value
        out &= numbers > value if one.relation == ">" else numbers <= value
    return out


def category_names(cells: pd.Series[Any]) -> list[str]:
    """Each cell as the name of a category; missing ones are `(missing)`."""
    import pandas as pd

    values = cells.astype(object)
    return [MISSING if missing else str(value) for value, missing in zip(values.tolist(), pd.isna(values), strict=True)]


def _of_column(name: str, cells: pd.Series[Any], fewest: int) -> list[tuple[Filter, Rows]]:
    """Filters on one column with the rows that meet them, whatever their number."""
    import pandas as pd

    numbers = numbers_of(cells)
    if numbers is None:
        codes, values = pd.factorize(np.array(category_names(cells), dtype=object))
        counts = np.bincount(codes, minlength=len(values))
        frequent = [place for place in np.argsort(-counts, kind="stable")[:MOST_VALUES] if counts[place] >= fewest]
        return [(Filter(name, "=", str(values[place])), codes == place) for place in frequent]
    missing = np.isnan(numbers)
    found: list[tuple[Filter, Rows]] = [(Filter(name, "=", MISSING), missing)] if missing.any() else []
    if missing.all():
        return []
    # An observed value as threshold, so that it reads as the column does: `words <= 12` and not `words <= 12.4`.
    edges = np.unique(np.quantile(numbers[~missing], QUANTILES, method="inverted_cdf"))
    for edge in edges:
        value = _as_compared(float(edge), cells)
        with np.errstate(invalid="ignore"):
            found += [(Filter(name, "<=", value), numbers <= edge), (Filter(name, ">", value), numbers > edge)]
    return found


def numbers_of(cells: pd.Series[Any]) -> npt.NDArray[np.float64] | None:
    """A column of numbers as floats and one of dates as microseconds, NaN where missing; `None` for any other."""
    import pandas as pd

    kind = pd.api.types.infer_dtype(cells, skipna=True)
    if kind in ("integer", "floating", "mixed-integer-float", "decimal"):
        numbers: npt.NDArray[np.float64] = pd.to_numeric(cells).to_numpy(dtype=float, na_value=np.nan)
        return numbers
    if _are_dates(cells):
        times = pd.to_datetime(cells, utc=True)
        moments = times.dt.tz_localize(None).astype("datetime64[us]").to_numpy()
        return np.where(np.isnat(moments), np.nan, moments.astype("int64").astype(float))
    return None


def written(number: float, cells: pd.Series[Any]) -> str:
    """One of the numbers of `numbers_of` as a reader writes it: a date in ISO 8601, a whole number without a point."""
    import pandas as pd

    if _are_dates(cells):
        moment = pd.Timestamp(int(number), unit="us")
        return moment.date().isoformat() if moment == moment.normalize() else moment.isoformat()
    return str(int(number)) if float(number).is_integer() else repr(float(number))


def _as_compared(edge: float, cells: pd.Series[Any]) -> float | str:
    """A threshold as a `Filter` holds it: a number, or a date in ISO 8601."""
    return written(edge, cells) if _are_dates(cells) else edge


def _are_dates(cells: pd.Series[Any]) -> bool:
    import pandas as pd

    return pd.api.types.infer_dtype(cells, skipna=True) in ("datetime64", "datetime", "date")


def _moment(written: str) -> float:
    """A date in ISO 8601 as microseconds."""
    return float(np.datetime64(written, "us").astype("int64"))
