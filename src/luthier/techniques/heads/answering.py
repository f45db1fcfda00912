"""Answers of a classifier that was fitted here: its shares as predictions, and the classifier kept while it is used."""

from __future__ import annotations

import weakref
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any, TypeVar

from luthier.spec import Fitted
from luthier.tasks.labels.deciding import best_labels
from luthier.tasks.prediction import CallRecord, Prediction
from luthier.tasks.task import Task

if TYPE_CHECKING:
    import numpy as np
    import numpy.typing as npt

__all__ = ["kept_while_used", "label_values", "share_predictions"]

Classifier = TypeVar("Classifier")

_kept: dict[int, Any] = {}


def kept_while_used(fitted: Fitted, build: Callable[[Fitted], Classifier]) -> Classifier:
    """The classifier of a fitted spec, built once and kept as long as the fitted spec is: a server asks row by row."""
    key = id(fitted)
    if key not in _kept:
        _kept[key] = build(fitted)
        weakref.finalize(fitted, _kept.pop, key, None)
    classifier: Classifier = _kept[key]
    return classifier


def label_values(task: Task, labels: Sequence[str]) -> tuple[float, ...]:
    """A number per label: a rating's value, else its rank in the task."""
    return tuple(task.values[task.position(label)] for label in labels)


def share_predictions(fitted: Fitted, shares: npt.NDArray[np.float64], calls: Sequence[CallRecord]) -> list[Prediction]:
    """One prediction per row; a label without training rows has probability 0.

    Args:
        fitted: the fitted spec; its state has the `labels` it learned, and for objective `qwk` the thresholds (`cuts`).
        shares: a probability per row and learned label, shape (rows, labels).
        calls: what the calls for each row cost.
    """
    task, labels = fitted.spec.task, fitted.state["labels"]
    best = best_labels(label_values(task, labels), shares, fitted.spec.objective, fitted.state.get("cuts"))
    found: list[Prediction] = []
    for row, chosen, call in zip(shares.tolist(), best.tolist(), calls, strict=True):
        learned = dict(zip(labels, row, strict=True))
        scores = tuple(learned.get(label, 0.0) for label in task.labels)
        found.append(Prediction(labels[chosen], "ok", scores, call=call))
    return found
