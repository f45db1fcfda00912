"""Pseudo-values: what each row contributes to a metric, so that any metric is the mean of something per row."""

from __future__ import annotations

import numpy as np

from luthier.errors import UserError
from luthier.evaluation.measures import measures_of
from luthier.evaluation.metrics import EvaluatedRows
from luthier.evaluation.resampling import Floats
from luthier.tasks.task import Task

__all__ = ["check_raceable", "pseudo_values", "raceable"]

CELLS_AT_ONCE = 2_000_000
"""Sums held at once; 16 MB of each."""


def raceable(task: Task) -> tuple[str, ...]:
    """Names of the metrics whose value on some rows says what it will be on more of them."""
    return tuple(name for name, one in task.kind.metrics.items() if one.kind == "quality" and not one.is_biased)


def check_raceable(task: Task, metric: str) -> None:
    """Refuses a metric that few rows measure too high or too low, whatever the spec.

    Raises:
        UserError: specs cannot be raced by it.
    """
    if metric not in raceable(task):
        raise UserError(
            f"specs cannot be raced by {metric}: on a part of the rows it is off in one direction, so that nothing "
            f"follows for all of them. Leave out --race (race=True), or rank by one of: {', '.join(raceable(task))}."
        )


def pseudo_values(rows: EvaluatedRows, metric: str) -> Floats | None:
    """The jackknife pseudo-values of a metric, one per row, higher being better.

    With n rows, the value M of all and the value M(-i) without row i, it is n M - (n - 1) M(-i). For a share or a mean
    that is the row's own score; for kappa, F1 or a correlation, what the row adds to it. Their mean is the metric
    without its bias, and their deviation says how sure it is.

    Args:
        rows: a spec's predictions held against the truth, two rows or more.
        metric: one of the task's.

    Returns:
        Shape (rows,); `None` where the metric cannot be had, as without probabilities.

    Examples:
        >>> from luthier.tasks.prediction import Prediction
        >>> task = Task("mood", label="mood", labels=["good", "bad"])
        >>> said = [Prediction(label, "ok") for label in ("good", "bad", "good")]
        >>> pseudo_values(EvaluatedRows.of(task, ["good", "bad", "bad"], said), "accuracy").round(9).tolist()
        [1.0, 1.0, 0.0]

    Source: Tukey 1958; Efron and Tibshirani 1993, section 11.5.
    """
    columns = rows.columns()
    from_sums = rows.task.kind.from_sums
    whole = from_sums(columns.sums())
    if metric not in whole:
        return None
    count = len(rows)
    step = max(1, CELLS_AT_ONCE // max(1, sum(size for _, _, size in rows.judged.groups.values())))
    parts = [from_sums(columns.sums_without(at, min(at + step, count)))[metric] for at in range(0, count, step)]
    found: Floats = count * whole[metric] - (count - 1) * np.concatenate(parts)
    return found if measures_of(rows.task)[metric].better == "higher" else -found
