"""The texts of a row that a head reads: one, or both of a pair."""

from __future__ import annotations

from typing import Any

from luthier.spec import Spec
from luthier.tasks.task import Rows, is_blank
from luthier.techniques.training_rows import training_rows

__all__ = ["RowTexts", "labelled_texts", "row_texts"]

RowTexts = tuple[str, ...]
"""A text per text column of the task."""


def row_texts(spec: Spec, rows: Rows) -> list[RowTexts | None]:
    """The texts of each row; `None` where one is missing or blank."""
    cells = [[row[column] for column in spec.task.text_columns] for row in rows.inputs]
    return [None if any(map(is_blank, texts)) else tuple(map(str, texts)) for texts in cells]


def labelled_texts(spec: Spec, rows: Rows | None) -> tuple[list[RowTexts], list[Any]]:
    """Texts and truths of the training rows that have all of them.

    Raises:
        SpecError: there are no training rows.
        DataError: they lack a column.
    """
    rows = training_rows(spec, rows)
    known = [
        (texts, truth)
        for texts, truth in zip(row_texts(spec, rows), rows.labels, strict=True)
        if texts is not None and truth is not None
    ]
    return [texts for texts, _ in known], [truth for _, truth in known]
