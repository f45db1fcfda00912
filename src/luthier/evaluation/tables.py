"""Where a spec errs: the confusion matrix, the labels one by one, confidence against truth, the worst rows."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from luthier.evaluation.metrics import LabelArrays
from luthier.tasks.prediction import Prediction
from luthier.tasks.task import Rows, Task

if TYPE_CHECKING:
    import pandas as pd

__all__ = [
    "NO_LABEL",
    "CalibrationBin",
    "LabelScores",
    "Mistake",
    "calibration",
    "calibration_of",
    "confusion",
    "confusion_of",
    "label_scores",
    "mistakes",
    "per_label",
]

NO_LABEL = "(no label)"
"""Head of the confusion matrix's last column: off label, refused or failed."""

LONGEST_SHOWN = 60
"""Characters of another column's cell beside a mistake."""

Counts = tuple[tuple[int, ...], ...]


@dataclass(frozen=True, slots=True)
class LabelScores:
    """How one label fares: `support` rows have it, `answered` rows were given it."""

    label: str
    precision: float
    recall: float
    f1: float
    support: int
    answered: int


@dataclass(frozen=True, slots=True)
class CalibrationBin:
    """Rows of like confidence: how many, their mean confidence, the share of them that was right."""

    rows: int
    confidence: float
    accuracy: float


@dataclass(frozen=True, slots=True)
class Mistake:
    """A row that was got wrong.

    Attributes:
        row: position among the rows that were measured, from 0.
        number: the row in the user's own table, from 1.
        known_by: what else tells the row apart: its label in the index and the table's other columns, as text.
        text: what was read.
        truth: the true label.
        prediction: what was answered, with the model's raw words.
        distance: how far off on the task's scale (1 for unordered labels).
        confidence: probability of the wrong label, `None` where there is none.
    """

    row: int
    text: str
    truth: str
    prediction: Prediction
    distance: float
    confidence: float | None
    number: int
    known_by: tuple[tuple[str, str], ...] = ()


def confusion(task: Task, truths: Sequence[str], predictions: Sequence[Prediction]) -> Counts:
    """How often each label was answered for each true label.

    Returns:
        One line per true label; one column per label in the task's order and a last one for rows without a label.
        `empty` rows are left out.

    Raises:
        DataError: lengths differ or a truth is no label of the task.

    Examples:
        >>> task = Task("mood", label="mood", labels=["good", "bad"])
        >>> confusion(task, ["good", "bad"], [Prediction("bad", "ok"), Prediction(None, "refused")])
        ((0, 1, 0), (0, 0, 1))
    """
    return confusion_of(_read(task, truths, predictions))


def confusion_of(reading: LabelArrays) -> Counts:
    """`confusion` of a reading."""
    labels = len(reading.task.labels)
    cells = np.bincount(reading.truth * (labels + 1) + reading.predicted, minlength=labels * (labels + 1))
    return tuple(tuple(int(cell) for cell in line) for line in cells.reshape(labels, labels + 1))


def label_scores(task: Task, counts: Counts) -> tuple[LabelScores, ...]:
    """Precision, recall and F1 per label from a confusion matrix; 0 where there is nothing to divide by."""
    cells = np.array(counts, dtype=float)
    right, support, answered = np.diag(cells), cells.sum(axis=1), cells.sum(axis=0)
    return tuple(
        LabelScores(
            label=label,
            precision=float(right[i] / answered[i]) if answered[i] else 0.0,
            recall=float(right[i] / support[i]) if support[i] else 0.0,
            f1=float(2 * right[i] / (support[i] + answered[i])) if support[i] + answered[i] else 0.0,
            support=int(support[i]),
            answered=int(answered[i]),
        )
        for i, label in enumerate(task.labels)
    )


def per_label(task: Task, truths: Sequence[str], predictions: Sequence[Prediction]) -> pd.DataFrame:
    """Precision, recall, F1, support and number of answers per label, as a table indexed by label.

    Raises:
        DataError: lengths differ or a truth is no label of the task.
    """
    import pandas as pd

    lines = label_scores(task, confusion(task, truths, predictions))
    columns = ["precision", "recall", "f1", "support", "answered"]
    return pd.DataFrame(
        [{column: getattr(line, column) for column in columns} for line in lines],
        index=pd.Index([line.label for line in lines], name="label"),
        columns=columns,
    )


def calibration(task: Task, truths: Sequence[str], predictions: Sequence[Prediction]) -> tuple[CalibrationBin, ...]:
    """Confidence against the share that was right, in the bins of `calibration_error`; nothing without probabilities.

    Raises:
        DataError: lengths differ or a truth is no label of the task.
    """
    return calibration_of(_read(task, truths, predictions))


def calibration_of(reading: LabelArrays) -> tuple[CalibrationBin, ...]:
    """`calibration` of a reading."""
    if reading.probabilities is None:
        return ()
    rows = np.bincount(reading.bins)
    confidence = np.bincount(reading.bins, weights=reading.confidence)
    right = np.bincount(reading.bins, weights=reading.correct)
    return tuple(
        CalibrationBin(int(n), float(c / n), float(r / n)) for n, c, r in zip(rows, confidence, right, strict=True) if n
    )


def mistakes(task: Task, rows: Rows, predictions: Sequence[Prediction], limit: int | None = None) -> list[Mistake]:
    """The rows that were got wrong, worst first: farthest off, then most confident, then in the table's order.

    Rows without a label come after the wrong ones: why they have none is said in `prediction.error`.

    Args:
        task: names the labels.
        rows: the labelled test rows.
        predictions: one per row.
        limit: at most so many.

    Raises:
        DataError: lengths differ or a row has no label.
    """
    kept = [i for i, prediction in enumerate(predictions) if prediction.state != "empty"]
    if not kept:
        return []
    reading = _read(task, [label or "" for label in rows.labels], predictions)
    distance = reading.absolute_error if task.ordered else np.ones(len(kept))
    unlabelled = reading.predicted == len(task.labels)
    order = np.lexsort((np.arange(len(kept)), -reading.confidence, -distance, unlabelled))
    wrong = [int(i) for i in order if not reading.correct[i]][:limit]
    texts = rows.texts
    return [
        Mistake(
            row=kept[i],
            text=texts[kept[i]] or "",
            truth=task.labels[reading.truth[i]],
            prediction=reading.predictions[i],
            distance=float(distance[i]),
            confidence=float(reading.confidence[i]) if reading.covered[i] else None,
            number=rows.number(kept[i]),
            known_by=_known_by(task, rows, kept[i]),
        )
        for i in wrong
    ]


def _known_by(task: Task, rows: Rows, position: int) -> tuple[tuple[str, str], ...]:
    read = {task.text, task.label, *task.raters}
    cells = [*rows.keys(position).items()]
    cells += [(name, cell) for name, cell in rows.inputs[position].items() if name not in read]
    shown = [(name, str(cell)) for name, cell in cells if cell is not None]
    return tuple((name, text if len(text) <= LONGEST_SHOWN else text[:LONGEST_SHOWN] + "…") for name, text in shown)


def _read(task: Task, truths: Sequence[str], predictions: Sequence[Prediction]) -> LabelArrays:
    if len(truths) == len(predictions):
        kept = [i for i, prediction in enumerate(predictions) if prediction.state != "empty"]
        truths, predictions = [truths[i] for i in kept], [predictions[i] for i in kept]
    return LabelArrays.of(task, truths, predictions)
