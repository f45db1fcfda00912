"""Cells that should hold a number, as tables from anywhere have them."""

from __future__ import annotations

import math
import re

from luthier.errors import DataError

__all__ = ["number_in"]


def number_in(cell: object, place: str) -> float | None:
    """The number a cell holds; `None` for an empty one and for NaN.

    Args:
        cell: as a table has it.
        place: where it stands, for the message.

    Raises:
        DataError: it holds something else; says what to write instead.

    Examples:
        >>> number_in("0.61", "f1 of line 1"), number_in(None, "f1 of line 2"), number_in(" NaN", "f1 of line 3")
        (0.61, None, None)
    """
    text = "" if cell is None else str(cell).strip()
    if not text or text.lower() in ("nan", "<na>"):
        return None
    try:
        value = float(text)
    except ValueError:
        value = math.nan
    if math.isfinite(value) and not isinstance(cell, bool):
        return value
    hint = " Write shares from 0 to 1 without a percent sign." if text.endswith("%") else ""
    hint = hint or (" Write a decimal point, not a comma." if re.fullmatch(r"-?\d*,\d+", text) else "")
    hint = hint or " Correct the cell, or leave it empty."
    raise DataError(f"{place} is {text!r}, which is no number.{hint}")
