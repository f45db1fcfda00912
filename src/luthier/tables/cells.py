"""Cells as they are written to files: csv text, JSON values, Arrow values."""

from __future__ import annotations

import base64
import datetime
import json
import math
import re
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import pyarrow as pa

__all__ = ["arrow_cells", "csv_line", "utf8_safe", "json_text", "json_value", "storable_cells", "without_formula"]

NEEDS_QUOTES = re.compile(r'[",\r\n\t]|^\s|\s$')

FORMULA = re.compile(r"\s*[=+\-@\uff0b\uff0d\uff1d\uff20]|[\t\r]")
"""The beginning of a cell that a spreadsheet runs as a formula."""

NUMBER = re.compile(r"\s*[+-]?(\d+[.,]?\d*|[.,]\d+)([eE][+-]?\d+)?%?\s*")


def without_formula(cell: Any) -> Any:
    """The cell, with `'` before a text that a spreadsheet would run as a formula. Numbers stay as they are.

    Examples:
        >>> [without_formula(cell) for cell in ("=1+1", "-1", "-1+cmd|'x'!A0", -2.5, "a=b")]
        ["'=1+1", '-1', "'-1+cmd|'x'!A0", -2.5, 'a=b']
    """
    if isinstance(cell, str) and FORMULA.match(cell) and not NUMBER.fullmatch(cell):
        return "'" + cell
    return cell


def csv_line(cells: Sequence[Any], delimiter: str = ",") -> str:
    """A row of a csv with its end of line.

    Not written by `csv.writer`, which in Python 3.11 leaves a lone carriage return unquoted, so that readers see two
    rows.

    Examples:
        >>> csv_line([1, None, "a, b", " c"])
        '1,,"a, b"," c"\\n'
        >>> csv_line([None])
        '""\\n'
    """
    # Other readers would skip a blank line.
    return (delimiter.join(map(_csv_cell, cells)) or '""') + "\n"


def _csv_cell(value: Any) -> str:
    text = _csv_text(value)
    if NEEDS_QUOTES.search(text):
        return '"' + text.replace('"', '""') + '"'
    return text


def _csv_text(value: Any) -> str:
    if isinstance(value, float):
        return "" if math.isnan(value) else str(value)
    if value is None or (value := json_value(value)) is None:
        return ""
    return json.dumps(value, ensure_ascii=False) if isinstance(value, dict | list) else str(value)


def json_text(value: Any) -> str:
    """The value as JSON on one line."""
    return json.dumps(json_value(value), ensure_ascii=False)


def json_value(value: Any) -> Any:
    """The value as JSON expresses it: NaN and infinity as null, times as ISO 8601, bytes as base64.

    Examples:
        >>> json_value({"n": float("nan"), "on": datetime.date(2026, 1, 31), "raw": b"a"})
        {'n': None, 'on': '2026-01-31', 'raw': 'YQ=='}
    """
    if value is None or type(value) in (str, int, bool):
        return value
    if isinstance(value, float):
        return float(value) if math.isfinite(value) else None
    if isinstance(value, dict):
        return {str(key): json_value(inner) for key, inner in value.items()}
    if isinstance(value, list | tuple):
        return [json_value(inner) for inner in value]
    if isinstance(value, bytes):
        return base64.b64encode(value).decode()
    if isinstance(value, datetime.timedelta):
        import pandas as pd

        return pd.Timedelta(value).isoformat()
    if isinstance(value, datetime.date | datetime.time):
        # NaT is a datetime, and not equal to itself.
        return value.isoformat() if value == value else None
    if hasattr(value, "tolist"):
        return json_value(value.tolist())
    return str(value)


def utf8_safe(value: Any) -> Any:
    """The value with `?` for each character that UTF-8 cannot hold, in its texts at any depth."""
    if isinstance(value, str):
        return value.encode("utf-8", "replace").decode()
    if isinstance(value, dict):
        return {utf8_safe(key): utf8_safe(inner) for key, inner in value.items()}
    if isinstance(value, list | tuple):
        return [utf8_safe(inner) for inner in value]
    return value


def arrow_cells(values: Sequence[Any], kind: pa.DataType | None = None) -> pa.Array:
    """A column of cells; of the type that Arrow infers where no `kind` is given.

    Raises:
        ValueError: the cells are not of that type, or of several.
        TypeError: likewise.
        OverflowError: an integer has more than 64 bits.
    """
    import pyarrow as pa

    if kind is not None and pa.types.is_string(kind):
        values = [value if value is None or isinstance(value, str) else _text(value) for value in values]
    try:
        return pa.array(values, type=kind)
    except UnicodeEncodeError:
        return pa.array([utf8_safe(value) for value in values], type=kind)


def storable_cells(values: Sequence[Any]) -> list[Any]:
    """A column's values as both parquet and JSON can hold them: as text where their types differ.

    Examples:
        >>> storable_cells([1, "a", None]), storable_cells([b"a"]), storable_cells([[1], [2]])
        (['1', 'a', None], ['YQ=='], [[1], [2]])
    """
    plainly = [utf8_safe(json_value(value)) for value in values]
    try:
        arrow_cells(plainly)
    except (ValueError, TypeError, OverflowError):
        return [None if value is None else _text(value) for value in plainly]
    return plainly


def _text(value: Any) -> str | None:
    value = json_value(value)
    return value if value is None or isinstance(value, str) else json.dumps(value, ensure_ascii=False)
