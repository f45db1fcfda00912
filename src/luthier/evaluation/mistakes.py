"""The rows a spec got wrong, worst first."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from luthier.errors import DataError
from luthier.evaluation.metrics import EvaluatedRows
from luthier.tasks.prediction import Prediction
from luthier.tasks.task import Rows, Task

__all__ = ["Mistake", "mistakes"]

LONGEST_SHOWN = 60
"""Characters of another column's cell beside a mistake."""


@dataclass(frozen=True, slots=True)
class Mistake:
    """A row that was got wrong.

    Attributes:
        row: position among the rows that were measured, from 0.
        number: the row in the user's own table, from 1.
        known_by: what else tells the row apart: its label in the index and the table's other columns, as text.
        text: what was read.
        truth: the true value.
        prediction: what was answered, with the model's raw words.
        distance: how far off, as the task type has it (1 for unordered labels).
        confidence: how sure the prediction says it is, `None` where it does not.
    """

    row: int
    text: str
    truth: Any
    prediction: Prediction
    distance: float
    confidence: float | None
    number: int
    known_by: tuple[tuple[str, str], ...] = ()


def mistakes(task: Task, rows: Rows, predictions: Sequence[Prediction], limit: int | None = None) -> list[Mistake]:
    """The rows that were got wrong, worst first: farthest off, then most confident, then in the table's order.

    Rows without a value come after the wrong ones: why they have none is said in `prediction.error`.

    Args:
        task: says how rows are judged.
        rows: the labelled test rows.
        predictions: one per row.
        limit: at most so many.

    Raises:
        DataError: lengths differ or a row has no label.
    """
    if len(rows) != len(predictions):
        raise DataError(f"{len(rows)} rows and {len(predictions)} predictions; give one prediction per row.")
    kept = [i for i, prediction in enumerate(predictions) if prediction.state != "empty"]
    if not kept:
        return []
    found = EvaluatedRows.of(task, [rows.labels[i] for i in kept], [predictions[i] for i in kept])
    distance = found.judged.distances
    sure = found.judged.confidences
    sure = np.full(len(kept), np.nan) if sure is None else sure
    without = np.array([p.value is None for p in found.predictions])
    order = np.lexsort((np.arange(len(kept)), -np.nan_to_num(sure), -distance, without))
    wrong = [int(i) for i in order if not found.correct[i]][:limit]
    texts = rows.texts
    return [
        Mistake(
            row=kept[i],
            text=texts[kept[i]] or "",
            truth=found.truths[i],
            prediction=found.predictions[i],
            distance=float(distance[i]),
            confidence=None if np.isnan(sure[i]) else float(sure[i]),
            number=rows.number(kept[i]),
            known_by=_known_by(task, rows, kept[i]),
        )
        for i in wrong
    ]


def _known_by(task: Task, rows: Rows, position: int) -> tuple[tuple[str, str], ...]:
    read = {*task.text_columns, task.label, *task.raters}
    cells = [*rows.keys(position).items()]
    cells += [(name, cell) for name, cell in rows.inputs[position].items() if name not in read]
    shown = [(name, str(cell)) for name, cell in cells if cell is not None]
    return tuple((name, text if len(text) <= LONGEST_SHOWN else text[:LONGEST_SHOWN] + "…") for name, text in shown)
