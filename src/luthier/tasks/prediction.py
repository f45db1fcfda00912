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
    "CallRecord",
    "Prediction",
    "State",
    "prediction_columns",
    "prediction_frame",
    "prediction_record",
]

State = Literal["ok", "off_label", "refused", "failed", "empty"]
STATES: tuple[State, ...] = ("ok", "off_label", "refused", "failed", "empty")

TEXT_COLUMNS = ("label", "state", "error")
"""Prediction columns that hold text; the others hold numbers."""


@dataclass(frozen=True, slots=True)
class CallRecord:
    """What the calls for one row returned, cost and took; the default is a row no model was asked about.

    Attributes:
        raw: the text the model answered, as it came.
        cost_usd: what the calls cost when they were made; `None` when the price is unknown.
        cost_estimated: whether a service left token counts out, so that the cost rests on a guess.
        spent_usd: what the calls made now cost; 0 if the journal had them all, or another row asked the same; `None`
            when the price is unknown or the technique asks no model.
        latency_seconds: of the original calls, also when they came from the journal; `None` if none was made.
        input_tokens: tokens sent.
        output_tokens: tokens received.
        from_journal: whether the journal answered every call.
        censored: whether a label was not among the returned log-probabilities, so that it has the most it can have.
        transient: whether asking again may help (a `failed` row only).
    """

    raw: str | None = None
    cost_usd: float | None = None
    cost_estimated: bool = False
    spent_usd: float | None = None
    latency_seconds: float | None = None
    input_tokens: int = 0
    output_tokens: int = 0
    from_journal: bool = False
    censored: bool = False
    transient: bool = False


@dataclass(frozen=True, slots=True)
class Prediction:
    """An answer read under the task.

    Attributes:
        value: what was predicted, such as a label of the task; `None` unless the state is `ok`.
        state: `ok`; `off_label` (an answer the task does not allow); `refused`; `failed` (no answer); `empty` (null or
            blank text, never sent).
        scores: of a closed set of labels a probability each, in the task's order, summing to 1; `None` where the
            endpoint gave none.
        error: why there is no value, for a person; `None` when the state is `ok` or `empty`.
        call: what the calls for this row returned, cost and took.
    """

    value: Any
    state: State
    scores: tuple[float, ...] | None = None
    error: str | None = None
    call: CallRecord = CallRecord()

    @property
    def label(self) -> str | None:
        """The value, under the name it has for a closed set of labels."""
        label: str | None = self.value
        return label

    @property
    def probabilities(self) -> tuple[float, ...] | None:
        """The scores, under the name they have for a closed set of labels."""
        return self.scores

    @property
    def cost_usd(self) -> float | None:
        """What the calls for this row cost when they were made."""
        return self.call.cost_usd

    @property
    def transient(self) -> bool:
        """Whether asking again may help."""
        return self.call.transient

    def probability(self, task: Task) -> float | None:
        """Probability of the predicted label."""
        if self.scores is None or self.value is None:
            return None
        return self.scores[task.position(self.value)]

    def expected(self, task: Task) -> float | None:
        """Mean of the labels' values under the probabilities; for ratings."""
        if self.scores is None or not task.ordered:
            return None
        return sum(p * value for p, value in zip(self.scores, task.values, strict=True))


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
