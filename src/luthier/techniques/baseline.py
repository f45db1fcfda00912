"""The baseline: TF-IDF and what can be learned from it, which any paid model has to beat."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, ClassVar, Literal, Protocol

from luthier.spec import Conversation, Fitted, Spec
from luthier.tasks.extraction.span_extraction import SpanExtraction
from luthier.tasks.labels.closed_set import ClosedSet
from luthier.tasks.labels.multilabel import MultiLabel
from luthier.tasks.pairs.similarity import Similarity
from luthier.tasks.prediction import Prediction
from luthier.tasks.task import Rows, Task
from luthier.tasks.types import TaskType
from luthier.techniques.heads.answering import kept_while_used
from luthier.techniques.heads.known_names import KnownNames
from luthier.techniques.heads.label_words import LabelWords
from luthier.techniques.heads.pair_words import PairWords
from luthier.techniques.heads.row_texts import RowTexts, row_texts
from luthier.techniques.heads.set_words import LabelSetWords

__all__ = ["Baseline"]


class WordModel(Protocol):
    """Answers the rows of one task type from their words."""

    base_model: ClassVar[str]
    """The kind of model, for tables and tags."""

    def __init__(self, fitted: Fitted) -> None: ...

    @classmethod
    def fit(cls, spec: Spec, rows: Rows | None) -> Fitted:
        """Learns from training rows."""

    def predictions(self, texts: Sequence[RowTexts]) -> list[Prediction]:
        """One prediction per row."""


MODELS: Mapping[type[TaskType], type[WordModel]] = {
    ClosedSet: LabelWords,
    MultiLabel: LabelSetWords,
    SpanExtraction: KnownNames,
    Similarity: PairWords,
}
"""What is learned, by the type of the task."""


class Baseline(Spec):
    """Logistic regression on words and word pairs weighted by TF-IDF; calls no model.

    Labels are weighted so that rare ones count as much as frequent ones. A label without training rows gets
    probability 0. For pairs of texts: the cosine of their TF-IDF weights, mapped to a score. For spans: the names that
    training rows mark.

    Examples:
        >>> mood = Task("mood", labels=["good", "bad"])
        >>> Baseline(mood).needs_training
        True
        >>> Baseline.make({"technique": "baseline", "task": mood, "name": "words"}).name
        'words'
    """

    task_types: ClassVar[tuple[type[TaskType], ...]] = tuple(MODELS)
    technique: Literal["baseline"] = "baseline"

    def __init__(self, task: Task | None = None, /, **data: Any) -> None:
        # Written out, as type checkers would make one of keywords alone from the fields.
        super().__init__(task, **data)

    @property
    def needs_training(self) -> bool:
        """Always."""
        return True

    @property
    def base_model(self) -> str:
        """The kind of model."""
        return self._model.base_model

    @property
    def _model(self) -> type[WordModel]:
        return next(model for kind, model in MODELS.items() if isinstance(self.task.kind, kind))

    def fit(self, rows: Rows | None) -> Conversation[Fitted]:
        """Fits vocabulary and weights; the same rows give the same weights.

        Raises:
            SpecError: there are no training rows.
            DataError: the truths of the rows do not differ enough to learn from, or the rows hold no words.
        """
        yield from ()
        return self._model.fit(self, rows)

    def predict(self, rows: Rows, fitted: Fitted) -> Conversation[list[Prediction]]:
        """Predictions from the stored arrays alone; nothing is sent anywhere."""
        yield from ()
        texts = row_texts(self, rows)
        known = [one for one in texts if one is not None]
        found = iter(kept_while_used(fitted, self._model).predictions(known) if known else ())
        return [Prediction(None, "empty") if one is None else next(found) for one in texts]
