"""Which metrics a task has, and which of them rank its leaderboard."""

from __future__ import annotations

from luthier.errors import UserError
from luthier.tasks.labels.label_metrics import LABEL_METRICS, RATING_METRICS
from luthier.tasks.task import Task
from luthier.tasks.types import Measure

__all__ = ["METRICS", "measures_of", "rankable", "ranking_metric"]

COMMON_METRICS: dict[str, Measure] = {
    "off_label_rate": Measure(
        "off label", "lower", "share", "Share of rows whose answer is none that the task allows.", kind="rate"
    ),
    "refused_rate": Measure("refused", "lower", "share", "Share of rows the model refused to answer.", kind="rate"),
    "failed_rate": Measure("failed", "lower", "share", "Share of rows without any answer.", kind="rate"),
    "empty_rate": Measure(
        "empty", "lower", "share", "Share of all rows without text; they are left out of everything else.", kind="rate"
    ),
    "censored_rate": Measure(
        "censored",
        "lower",
        "share",
        "Share of rows where the service returned no log-probability for some label; the largest it can have is used.",
        kind="rate",
    ),
    "cost_per_1000_rows_usd": Measure(
        "$ / 1,000 rows", "lower", "usd", "What 1,000 rows cost when they were asked, in US dollars.", kind="cost"
    ),
    "latency_p50_seconds": Measure(
        "p50", "lower", "seconds", "Half of the rows were answered within this time.", kind="cost"
    ),
    "latency_p95_seconds": Measure(
        "p95", "lower", "seconds", "95 of 100 rows were answered within this time.", kind="cost"
    ),
}
"""Metrics of every task type: states of rows, money and time; computed in `metrics.py`."""

METRICS: dict[str, Measure] = {**LABEL_METRICS, **COMMON_METRICS}
"""Every metric of labels, in the order tables show them; for figures that come without a task."""


def measures_of(task: Task) -> dict[str, Measure]:
    """Every metric of a task by name, in the order tables show them.

    Examples:
        >>> "qwk" in measures_of(Task("mood", labels=["good", "bad"]))
        False
    """
    return {**task.kind.metrics, **COMMON_METRICS}


def rankable(task: Task) -> tuple[str, ...]:
    """Names of the metrics this task's leaderboard can be ranked by."""
    return tuple(name for name, measure in task.kind.metrics.items() if measure.kind == "quality")


def ranking_metric(task: Task, name: str | None) -> str:
    """The metric to rank by, checked; the task type's own when absent.

    Raises:
        UserError: there is no such metric, or it does not fit the task.

    Examples:
        >>> ranking_metric(Task("stars", type="rating", label="stars", labels=[1, 2, 3]), None)
        'qwk'
        >>> ranking_metric(Task("mood", label="mood", labels=["good", "bad"]), None)
        'weighted_f1'
    """
    if name is None:
        return task.kind.ranking()
    if name not in rankable(task):
        why = "is no metric to rank by"
        if name in RATING_METRICS and task.labels:
            why = f"needs ordered labels, and task {task.name!r} is a {task.type}"
        raise UserError(f"rank_by {name!r} {why}; choose one of: {', '.join(rankable(task))}.")
    return name
