"""What a prediction is, the same everywhere: in memory, in a table, in a model's signature."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Literal

__all__ = ["STATES", "CallRecord", "Prediction", "State"]

State = Literal["ok", "off_label", "refused", "failed", "empty"]
STATES: tuple[State, ...] = ("ok", "off_label", "refused", "failed", "empty")


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
