"""Every metric there is: its name, which way is better, how it is written and what it means."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from luthier.errors import UserError
from luthier.tasks.task import Task

__all__ = ["METRICS", "Measure", "default_ranking", "ranking_metric", "rankable"]

Better = Literal["higher", "lower"]
Format = Literal["share", "number", "usd", "seconds"]
Kind = Literal["quality", "rate", "cost"]


@dataclass(frozen=True, slots=True)
class Measure:
    """One metric.

    Attributes:
        title: short name for a table's head.
        better: which way is better.
        format: `share` (0 to 1 or -1 to 1, two decimals without the leading zero), `number`, `usd` or `seconds`.
        description: one sentence for a reader who meets it for the first time.
        kind: `quality` metrics can rank a leaderboard; `rate` counts states of rows; `cost` is money and time.
        ordered_only: only for ratings.
        needs_probabilities: absent unless some row has a probability per label.
    """

    title: str
    better: Better
    format: Format
    description: str
    kind: Kind = "quality"
    ordered_only: bool = False
    needs_probabilities: bool = False


METRICS: dict[str, Measure] = {
    "accuracy": Measure("accuracy", "higher", "share", "Share of rows whose label is exactly right."),
    "balanced_accuracy": Measure(
        "balanced acc.", "higher", "share", "Mean over the labels of the share of their rows that were found."
    ),
    "weighted_f1": Measure(
        "weighted F1",
        "higher",
        "share",
        "F1 (harmonic mean of precision and recall) per label, averaged by how often the label is true.",
    ),
    "macro_f1": Measure("macro F1", "higher", "share", "F1 per label, each label counting the same."),
    "weighted_precision": Measure(
        "weighted precision",
        "higher",
        "share",
        "Of the rows given a label, the share that has it; averaged by how often the label is true.",
    ),
    "weighted_recall": Measure(
        "weighted recall",
        "higher",
        "share",
        "Of the rows that have a label, the share that was given it; the same number as accuracy.",
    ),
    "qwk": Measure(
        "QWK",
        "higher",
        "share",
        "Quadratic weighted kappa: agreement on the scale beyond chance, where an error of two steps weighs four "
        "times an error of one. 1 is perfect, 0 is what any constant answer gets.",
        ordered_only=True,
    ),
    "mse": Measure("MSE", "lower", "number", "Mean squared distance from the true rating.", ordered_only=True),
    "mae": Measure("MAE", "lower", "number", "Mean distance from the true rating.", ordered_only=True),
    "within_1": Measure(
        "within 1", "higher", "share", "Share of rows at most one step of the scale away.", ordered_only=True
    ),
    "expected_mse": Measure(
        "MSE (expected)",
        "lower",
        "number",
        "Mean squared distance of the expected rating (the mean under the probabilities) from the true one.",
        ordered_only=True,
        needs_probabilities=True,
    ),
    "expected_mae": Measure(
        "MAE (expected)",
        "lower",
        "number",
        "Mean distance of the expected rating from the true one.",
        ordered_only=True,
        needs_probabilities=True,
    ),
    "expected_qwk": Measure(
        "QWK (expected)",
        "higher",
        "share",
        "Quadratic weighted kappa of the label nearest to the expected rating.",
        ordered_only=True,
        needs_probabilities=True,
    ),
    "log_loss": Measure(
        "log loss",
        "lower",
        "number",
        "Mean surprise, in nats, at the true label under the probabilities; sure and wrong costs most.",
        needs_probabilities=True,
    ),
    "brier": Measure(
        "Brier",
        "lower",
        "number",
        "Mean squared distance of the probabilities from the truth, summed over the labels: 0 to 2.",
        needs_probabilities=True,
    ),
    "calibration_error": Measure(
        "calibration error",
        "lower",
        "share",
        "How far the stated confidence is from the share that was right, averaged over ten equally full bins.",
        needs_probabilities=True,
    ),
    "probability_coverage": Measure(
        "with probabilities",
        "higher",
        "share",
        "Share of rows with a label that also have a probability per label; the others count as uniform.",
        kind="rate",
        needs_probabilities=True,
    ),
    "off_label_rate": Measure(
        "off label", "lower", "share", "Share of rows whose answer is none of the labels.", kind="rate"
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
"""Metric name to what it is, in the order tables show them."""


def default_ranking(task: Task) -> str:
    """The metric a leaderboard is ranked by unless told otherwise.

    Ratings are ranked by quadratic weighted kappa: like the squared error it counts a far miss more than a near
    one, but it does not reward answers that hide in the middle of the scale, and a constant answer gets 0.

    Examples:
        >>> default_ranking(Task("stars", type="rating", label="stars", labels=[1, 2, 3]))
        'qwk'
        >>> default_ranking(Task("mood", label="mood", labels=["good", "bad"]))
        'weighted_f1'
    """
    return "qwk" if task.ordered else "weighted_f1"


def rankable(task: Task) -> tuple[str, ...]:
    """Names of the metrics this task's leaderboard can be ranked by."""
    return tuple(
        name
        for name, measure in METRICS.items()
        if measure.kind == "quality" and (task.ordered or not measure.ordered_only)
    )


def ranking_metric(task: Task, name: str | None) -> str:
    """The metric to rank by, checked.

    Raises:
        UserError: there is no such metric, or it does not fit the task.
    """
    if name is None:
        return default_ranking(task)
    if name not in rankable(task):
        why = "is no metric to rank by"
        if name in METRICS and METRICS[name].ordered_only:
            why = f"needs ordered labels, and task {task.name!r} is a {task.type}"
        raise UserError(f"rank_by {name!r} {why}; choose one of: {', '.join(rankable(task))}.")
    return name
