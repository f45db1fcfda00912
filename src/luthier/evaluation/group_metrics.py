"""What groups of rows are compared by: metrics that are a mean over rows, from truths or from predictions alone."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
import numpy.typing as npt

from luthier.errors import DataError
from luthier.evaluation.resampling import Floats
from luthier.tasks.labels.closed_set import ClosedSet
from luthier.tasks.prediction import Prediction, State
from luthier.tasks.task import Task

__all__ = ["GroupMetric", "RowValues", "group_metric_names", "row_values"]

MOST_LABELS = 10
"""Labels whose share is compared, the most often predicted first."""

NO_VALUE: dict[State, str] = {
    "refused": "the model refused to answer",
    "off_label": "the answer is none that the task allows",
    "failed": "there is no answer",
}


@dataclass(frozen=True, slots=True)
class GroupMetric:
    """A metric that groups are compared by: a mean over rows.

    Attributes:
        title: short name for a table's head.
        better: which way is better; `None` for what a model predicts, where neither is.
        format: `share` (0 to 1) or `number` (in the units of the task's values).
        description: one sentence for a reader who meets it for the first time.
    """

    title: str
    better: Literal["higher", "lower"] | None
    format: Literal["share", "number"]
    description: str


@dataclass(frozen=True)
class RowValues:
    """A metric with what each row adds to its mean.

    Attributes:
        name: such as `accuracy` or `missed: spam`.
        metric: what it is.
        values: shape (rows,); NaN for rows it does not apply to, such as those without a truth.
    """

    name: str
    metric: GroupMetric
    values: Floats


def row_values(task: Task, truths: Sequence[Any], predictions: Sequence[Prediction]) -> list[RowValues]:
    """Every metric that groups can be compared by, in the order a table shows them.

    With truths: `accuracy`, but for answers that are only nearer or farther; of ratings `mae` and `mean_error`, of two
    labels `missed: LABEL` for each (the false negative rate of one is the false positive rate of the other), of answers
    that are no labels `mean_distance`. From predictions alone: `refused_rate`,
    `off_label_rate` and `failed_rate` where there are such rows; of ratings `mean_predicted`, of other labels
    `predicted: LABEL`, which is what fairness calls the selection rate.

    Args:
        task: says how rows are judged.
        truths: one per row; `None` where it is not known.
        predictions: one per row, none of them `empty`.

    Raises:
        DataError: lengths differ, or a truth is none of the task's.
    """
    if len(truths) != len(predictions):
        raise DataError(f"{len(truths)} truths and {len(predictions)} predictions; give one prediction per row.")
    known = np.array([truth is not None for truth in truths], dtype=bool)
    found = _of_truths(task, truths, predictions, known) if known.any() else []
    for state, why in NO_VALUE.items():
        held = np.array([p.state == state for p in predictions], dtype=float)
        if held.any():
            metric = GroupMetric(state.replace("_", " "), "lower", "share", f"Share of rows where {why}.")
            found.append(RowValues(f"{state}_rate", metric, held))
    return found + _of_predictions(task, predictions)


def group_metric_names(task: Task) -> dict[str, bool]:
    """Every name that `row_values` may give for a task, with whether it takes truths to measure it."""
    names = {} if task.kind.graded else {"accuracy": True}
    names |= dict.fromkeys((f"{state}_rate" for state in NO_VALUE), False)
    if not isinstance(task.kind, ClosedSet):
        return names | {"mean_distance": True}
    if task.kind.ordered:
        return names | {"mae": True, "mean_error": True, "mean_predicted": False}
    missed = task.kind.labels if len(task.kind.labels) == 2 else ()
    return (
        names
        | dict.fromkeys((f"missed: {label}" for label in missed), True)
        | dict.fromkeys((f"predicted: {label}" for label in task.kind.labels), False)
    )


def _of_truths(
    task: Task, truths: Sequence[Any], predictions: Sequence[Prediction], known: npt.NDArray[np.bool_]
) -> list[RowValues]:
    labelled = [pair for pair in zip(truths, predictions, strict=True) if pair[0] is not None]
    distances = np.full(len(truths), np.nan)
    distances[known] = task.kind.judge([truth for truth, _ in labelled], [p for _, p in labelled]).distances
    right = np.where(np.isnan(distances), np.nan, (distances == 0).astype(float))
    exactly = GroupMetric("accuracy", "higher", "share", "Share of rows that is exactly right.")
    found = [] if task.kind.graded else [RowValues("accuracy", exactly, right)]
    if not isinstance(task.kind, ClosedSet):
        metric = GroupMetric("distance", "lower", "number", "Mean distance from the truth, 0 where an answer is right.")
        return [*found, RowValues("mean_distance", metric, distances)]
    if task.kind.ordered:
        metric = GroupMetric("MAE", "lower", "number", "Mean distance from the true value.")
        found.append(RowValues("mae", metric, distances))
        metric = GroupMetric(
            "mean error",
            None,
            "number",
            "Mean of predicted minus true value: above 0 the model rates too high, below 0 too low. Rows without a "
            "prediction are left out.",
        )
        number = dict(zip(task.kind.labels, task.kind.values, strict=True))
        off = [
            number[p.value] - number[truth] if truth is not None and p.value is not None else np.nan
            for truth, p in zip(truths, predictions, strict=True)
        ]
        found.append(RowValues("mean_error", metric, np.array(off)))
    elif len(task.kind.labels) == 2:
        for label in task.kind.labels:
            metric = GroupMetric(
                f"missed {label}", "lower", "share", f"Share of the rows that are {label} and were not answered so."
            )
            held = np.array([truth == label for truth in truths], dtype=bool)
            found.append(RowValues(f"missed: {label}", metric, np.where(held, 1 - right, np.nan)))
    return found


def _of_predictions(task: Task, predictions: Sequence[Prediction]) -> list[RowValues]:
    if not isinstance(task.kind, ClosedSet):
        return []
    if task.kind.ordered:
        number = dict(zip(task.kind.labels, task.kind.values, strict=True))
        values = np.array([np.nan if p.value is None else number[p.value] for p in predictions])
        metric = GroupMetric(
            "mean predicted", None, "number", "Mean of the predicted values; rows without one are left out."
        )
        return [RowValues("mean_predicted", metric, values)] if np.isfinite(values).any() else []
    counts = Counter(p.value for p in predictions if p.value is not None)
    frequent = {label for label, _ in counts.most_common(MOST_LABELS)}
    return [
        RowValues(
            f"predicted: {label}",
            GroupMetric(f"predicted {label}", None, "share", f"Share of rows that were answered {label}."),
            np.array([p.value == label for p in predictions], dtype=float),
        )
        for label in task.kind.labels
        if label in frequent
    ]
