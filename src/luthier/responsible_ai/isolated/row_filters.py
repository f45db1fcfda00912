"""Filters of the widget, applied to rows."""

from __future__ import annotations

import operator
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np
import pandas as pd

__all__ = ["mask_of"]

COMPARED: dict[str, Callable[[Any, Any], Any]] = {
    "greater": operator.gt,
    "greater and equal": operator.ge,
    "less": operator.lt,
    "less and equal": operator.le,
    "equal": operator.eq,
}


def mask_of(
    filters: Sequence[Mapping[str, Any]],
    frame: pd.DataFrame,
    truth: np.ndarray[Any, Any],
    predicted: np.ndarray[Any, Any],
    labels: Sequence[str],
    categories: Mapping[str, Sequence[str]],
) -> np.ndarray[Any, Any]:
    """Whether each row meets all filters.

    Args:
        filters: `{"column", "method", "arg"}`, or `{"compositeFilters", "operation"}` of others. Labels and texts
            are meant by their place among `labels` and `categories`.
        frame: the features.
        truth: label of each row.
        predicted: label predicted for each row.
        labels: in order.
        categories: values of each column that holds texts, in order.

    Raises:
        ValueError: a column or a method is unknown.
    """
    kept = np.ones(len(frame), dtype=bool)
    for one in filters:
        if "compositeFilters" in one:
            inner = [mask_of([each], frame, truth, predicted, labels, categories) for each in one["compositeFilters"]]
            join = np.logical_and if one["operation"] == "and" else np.logical_or
            kept &= join.reduce(inner)
        else:
            kept &= _met(one, frame, truth, predicted, labels, categories)
    return kept


def _met(
    one: Mapping[str, Any],
    frame: pd.DataFrame,
    truth: np.ndarray[Any, Any],
    predicted: np.ndarray[Any, Any],
    labels: Sequence[str],
    categories: Mapping[str, Sequence[str]],
) -> np.ndarray[Any, Any]:
    column, method, values = one["column"], one["method"], list(one["arg"])
    if column in ("True Y", "true_y", "Predicted Y", "pred_y"):
        cells: Any = truth if column in ("True Y", "true_y") else predicted
        values = [labels[int(value)] for value in values]
    elif column == "Classification outcome":
        cells = _outcomes(truth, predicted, labels)
    elif column in ("Index", "index"):
        cells = np.arange(len(frame))
    elif column in frame:
        cells = frame[column].to_numpy()
        if column in categories:
            values = [categories[column][int(value)] for value in values]
    else:
        raise ValueError(f"no column is called {column!r}")
    if method == "in the range of":
        return np.asarray((cells >= values[0]) & (cells <= values[1]))
    if method in ("includes", "excludes"):
        found = np.isin(cells.astype(object), np.array(values, dtype=object))
        return found if method == "includes" else ~found
    if method not in COMPARED:
        raise ValueError(f"no filter is called {method!r}")
    return np.asarray(COMPARED[method](cells, values[0]), dtype=bool)


def _outcomes(
    truth: np.ndarray[Any, Any], predicted: np.ndarray[Any, Any], labels: Sequence[str]
) -> np.ndarray[Any, Any]:
    """As erroranalysis numbers them: of two labels 0 TP, 1 FP, 2 FN, 3 TN; of more 0 right, 1 wrong."""
    right, first = truth == predicted, truth == labels[0]
    if len(labels) != 2:
        return np.where(right, 0, 1)
    return np.where(right, np.where(first, 0, 3), np.where(first, 2, 1))
