"""The head of an embedding spec: its settings, and what a head has to do for the rows of a task type."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, ClassVar, Literal, Protocol, Self

from pydantic import Field, model_validator

from luthier.providers.exchange import Conversation
from luthier.spec import Fitted, Spec
from luthier.spec.setting_paths import SHORT_FORMS, SettingsBlock
from luthier.tasks.prediction import CallRecord, Prediction
from luthier.tasks.task import Rows, Task
from luthier.techniques.heads.row_texts import RowTexts

if TYPE_CHECKING:
    import numpy as np
    import numpy.typing as npt

    Floats = npt.NDArray[np.float64]

__all__ = ["FOR_PAIRS", "Head", "HeadMethod", "LearnedHead", "VectorHead", "refused_of_single_texts"]

HeadMethod = Literal["logistic", "ordinal", "regression", "automl", "cosine", "isotonic"]

FOR_PAIRS: tuple[HeadMethod, ...] = ("cosine", "isotonic", "regression")
"""For pairs of texts; the others choose among labels."""

DEFAULT_TRIALS = 30


class Head(SettingsBlock):
    """What answers from the vectors; `head: ordinal` is short for `head: {method: ordinal}`.

    Settings are chosen by cross-validation on the training rows.
    """

    short_form: ClassVar[str | None] = SHORT_FORMS["head"]
    method: HeadMethod = "logistic"
    """`logistic` (regression over the labels); for ratings also `ordinal` (a logistic regression per bound
    between labels) and `regression` (ridge, on the labels' values); `automl` (FLAML chooses among these,
    LightGBM and XGBoost; needs the extra `automl`).
    For pairs of texts: `cosine` (of the two vectors, 0 and below for the lowest score, 1 for the highest; needs no
    training rows), `isotonic` (a rising curve over the cosine, fitted on training rows) and `regression` (that curve,
    and a ridge on how the vectors differ where it does better on held-out rows)."""
    trials: int | None = Field(default=None, ge=1)
    """For `automl`: number of trials; 30 where neither trials nor seconds are given. The same rows and seed then give
    the same model."""
    seconds: float | None = Field(default=None, gt=0)
    """For `automl`: time for trials; the search ends with whichever of the two is reached first. How many trials fit
    in depends on the machine, and so does the model."""

    @model_validator(mode="after")
    def _budget_is_for_automl(self) -> Self:
        if self.method != "automl" and (self.trials is not None or self.seconds is not None):
            raise ValueError(f"trials and seconds are for head automl, not {self.method}")
        return self

    @property
    def most_trials(self) -> int | None:
        """Most trials of AutoML; `None` where only the time counts."""
        return DEFAULT_TRIALS if self.trials is None and self.seconds is None else self.trials


@dataclass(frozen=True)
class LearnedHead:
    """What a head learned, as a fitted spec keeps it.

    Attributes:
        arrays: the weights.
        trials: a record of each trial, in order; JSON values.
        notes: what a reader of the figures should know.
        state: what else is needed to answer; JSON values.
        files: boosters in their own format.
    """

    arrays: Mapping[str, npt.NDArray[Any]]
    trials: Sequence[Mapping[str, Any]]
    notes: Sequence[str]
    state: Mapping[str, Any] = field(default_factory=dict)
    files: Mapping[str, bytes] = field(default_factory=dict)


class VectorHead(Protocol):
    """Answers the rows of one task type from the vectors of their texts.

    `vectors` has an array per text of a row, of shape (rows, dimensions).
    """

    def refusal(self, method: HeadMethod, task: Task) -> str | None:
        """Why this method cannot answer the task; `None` if it can."""

    def training_rows(self, spec: Spec, rows: Rows | None) -> tuple[list[RowTexts], list[Any]]:
        """Texts and truths of the training rows that have all of them.

        Raises:
            SpecError: there are no training rows.
            DataError: they lack a column, or their truths do not differ enough.
        """

    def can_learn(self, spec: Spec, truths: Sequence[Any]) -> bool:
        """Whether the truths differ enough to learn from."""

    def learn(
        self, spec: Spec, head: Head, texts: Sequence[RowTexts], truths: Sequence[Any], vectors: Sequence[Floats]
    ) -> Conversation[LearnedHead]:
        """Fits the head on training rows; asks no model."""

    def predictions(self, fitted: Fitted, vectors: Sequence[Floats], calls: Sequence[CallRecord]) -> list[Prediction]:
        """One prediction per row; `calls` tells what the row's vectors cost."""


def refused_of_single_texts(method: HeadMethod, task: Task) -> str | None:
    """Why a task of single texts cannot be answered by this method; `None` unless it compares two."""
    if method in ("cosine", "isotonic"):
        return f"head {method} is for pairs of texts; task {task.name!r} is none of them"
    return None
