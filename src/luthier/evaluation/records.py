"""What a prediction is, the same everywhere: in memory, in a table, in a model's signature."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal

from luthier.tasks.task import Task

if TYPE_CHECKING:
    import pandas as pd

__all__ = [
    "STATES",
    "TEXT_COLUMNS",
    "Interval",
    "Prediction",
    "State",
    "prediction_columns",
    "prediction_frame",
    "prediction_record",
]

State = Literal["ok", "off_label", "refused", "failed", "empty"]
TEXT_COLUMNS = ("label", "state", "error")
"""Prediction columns that hold text; the others hold numbers."""

STATES: tuple[State, ...] = ("ok", "off_label", "refused", "failed", "empty")


@dataclass(frozen=True, slots=True)
class Prediction:
    """An answer read under the task.

    Attributes:
        label: a label of the task; `None` unless the state is `ok`.
        state: `ok`; `off_label` (an answer that is none of the labels); `refused`; `failed` (no answer);
            `empty` (null or blank text, never sent).
        probabilities: one per label in the task's order, summing to 1; `None` where the endpoint gave none.
        error: why there is no label, for a person; `None` when the state is `ok` or `empty`.
        raw: the text the model answered, as it came.
        cost_usd: what the calls for this row cost when they were made; `None` when the price is unknown.
        cost_estimated: whether a service left token counts out, so that the cost rests on a guess.
        latency_seconds: of the original calls, also when they came from the journal; `None` if none was made.
        input_tokens: tokens sent for this row.
        output_tokens: tokens received for this row.
        from_journal: whether every call of this row was answered by the journal.
        spent_usd: what the calls made for this row now cost; 0 if the journal had them all, or another row
            asked the same; `None` when the price is unknown or the technique asks no model.
        censored: whether a label was not among the returned log-probabilities, so that it has the most it can have.
        transient: whether asking again may help (a `failed` row only).
    """

    label: str | None
    state: State
    probabilities: tuple[float, ...] | None = None
    error: str | None = None
    raw: str | None = None
    cost_usd: float | None = None
    latency_seconds: float | None = None
    input_tokens: int = 0
    output_tokens: int = 0
    from_journal: bool = False
    censored: bool = False
    transient: bool = False
    spent_usd: float | None = None
    cost_estimated: bool = False

    def probability(self, task: Task) -> float | None:
        """Probability of the predicted label."""
        if self.probabilities is None or self.label is None:
            return None
        return self.probabilities[task.position(self.label)]

    def expected(self, task: Task) -> float | None:
        """Mean of the labels' values under the probabilities; for ratings."""
        if self.probabilities is None or not task.ordered:
            return None
        return sum(p * value for p, value in zip(self.probabilities, task.values, strict=True))


@dataclass(frozen=True, slots=True)
class Interval:
    """A value with the bounds of its 95% interval; the bounds are `None` where there is nothing to resample."""

    value: float
    low: float | None = None
    high: float | None = None


def prediction_columns(task: Task) -> tuple[str, ...]:
    """Names of the prediction columns, in order.

    Examples:
        >>> prediction_columns(Task("mood", labels=["good", "bad"]))
        ('label', 'probability', 'p_good', 'p_bad', 'state', 'error')
    """
    expected = ("expected",) if task.ordered else ()
    return ("label", "probability", *(f"p_{label}" for label in task.labels), *expected, "state", "error")


def prediction_record(task: Task, prediction: Prediction) -> dict[str, Any]:
    """One prediction under the names of its columns, `None` where there is no value."""
    values: dict[str, Any] = {"label": prediction.label, "probability": prediction.probability(task)}
    for position, label in enumerate(task.labels):
        values[f"p_{label}"] = None if prediction.probabilities is None else prediction.probabilities[position]
    if task.ordered:
        values["expected"] = prediction.expected(task)
    return values | {"state": prediction.state, "error": prediction.error}


def prediction_frame(task: Task, predictions: Sequence[Prediction]) -> pd.DataFrame:
    """The predictions as the table every command, model and server returns."""
    import pandas as pd

    records = [prediction_record(task, prediction) for prediction in predictions]
    return pd.DataFrame(
        {
            name: pd.Series([record[name] for record in records], dtype="string" if name in TEXT_COLUMNS else "float64")
            for name in prediction_columns(task)
        }
    )
