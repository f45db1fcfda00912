"""Which column of a table is read and which one holds the truth, guessed from names and cells."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from luthier.errors import DataError
from luthier.tasks.spellings import missing, spelling

if TYPE_CHECKING:
    import pandas as pd

__all__ = ["guess_columns"]

TEXT_NAMES = ("text", "review", "comment", "message", "body", "content", "description", "sentence", "document", "input")
LABEL_NAMES = (
    "label",
    "labels",
    "class",
    "category",
    "target",
    "sentiment",
    "stars",
    "rating",
    "score",
    "verdict",
    "y",
)
"""Names that such columns usually have, the most telling first."""

MOST_LABELS = 50
SAMPLE_ROWS = 5_000


def guess_columns(frame: pd.DataFrame, text: str | None, label: str | None) -> tuple[str, str, tuple[str, ...]]:
    """The text and the label column, and a reason for each that was guessed.

    Args:
        frame: the labelled table.
        text: the text column, where it is known.
        label: the label column, likewise.

    Raises:
        DataError: no column, or none of several, suggests itself; names them and the option to give.
    """
    reasons = []
    shown = frame.head(SAMPLE_ROWS)
    if text is None:
        text, why = _guess_text(shown, label)
        reasons.append(f"text column guessed: {text!r}, {why}; --text COLUMN names another")
    if label is None:
        label, why = _guess_label(shown, text)
        reasons.append(f"label column guessed: {label!r}, {why}; --label COLUMN names another")
    return text, label, tuple(reasons)


def _guess_text(frame: pd.DataFrame, label: str | None) -> tuple[str, str]:
    lengths = {}
    for name in frame.columns:
        cells = [cell for cell in frame[name].tolist() if not missing(cell)]
        # A text is made of words; links and keys may be longer.
        texts = [cell for cell in cells if isinstance(cell, str) and re.search(r"\w\W+\w|[^\x00-\x7f]{4}", cell)]
        if name != label and cells and len(texts) * 2 > len(cells):
            lengths[str(name)] = sum(map(len, texts)) / len(texts)
    named = [name for usual in TEXT_NAMES for name in lengths if name.lower() == usual]
    if named:
        return named[0], "by its name"
    if not lengths:
        raise DataError(f"no column of the table holds texts; its columns are: {_listed(frame)}. Give --text COLUMN.")
    longest = max(lengths, key=lambda name: lengths[name])
    return longest, "which has the longest texts" if len(lengths) > 1 else "the only one with texts"


def _guess_label(frame: pd.DataFrame, text: str) -> tuple[str, str]:
    kinds = {}
    for name in frame.columns:
        if name == text or re.fullmatch(r"rater[_-]?\d+", str(name)):
            continue
        cells = [spelling(cell) for cell in frame[name].tolist() if not missing(cell)]
        # Some label occurs twice even in a short table; in a column of keys none does.
        if 2 <= len(set(cells)) <= min(MOST_LABELS, len(cells) - 1):
            kinds[str(name)] = len(set(cells))
    named = [name for usual in LABEL_NAMES for name in kinds if name.lower() == usual]
    if named:
        return named[0], "by its name"
    if len(kinds) == 1:
        name, count = next(iter(kinds.items()))
        return name, f"the only one with few values ({count})"
    if kinds:
        which = ", ".join(f"{name} ({count} values)" for name, count in kinds.items())
        raise DataError(f"several columns could hold the labels: {which}. Give --label COLUMN.")
    raise DataError(
        f"no column of the table has 2 to {MOST_LABELS} values that repeat, as labels do; its columns are: "
        f"{_listed(frame)}. Give --label COLUMN."
    )


def _listed(frame: pd.DataFrame) -> str:
    return ", ".join(map(str, frame.columns))
