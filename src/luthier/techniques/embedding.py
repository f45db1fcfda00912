"""The embedding technique: a model turns each text into a vector, and a head fitted here answers from it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from functools import partial
from typing import TYPE_CHECKING, Any, ClassVar, Literal, Self

from pydantic import Field, model_validator

from luthier.engine.report import call_record
from luthier.errors import UnusableAnswers
from luthier.providers.exchange import Answer, Request
from luthier.spec import Conversation, Fitted, Probe, Spec
from luthier.tasks.labels.closed_set import ClosedSet
from luthier.tasks.labels.multilabel import MultiLabel
from luthier.tasks.pairs.similarity import Similarity
from luthier.tasks.prediction import Prediction
from luthier.tasks.task import Rows, Task
from luthier.tasks.types import TaskType
from luthier.techniques.heads.automl import check_parts
from luthier.techniques.heads.head import Head, VectorHead
from luthier.techniques.heads.label_head import LabelHead
from luthier.techniques.heads.pair_head import PairHead
from luthier.techniques.heads.probabilities import ERRORS
from luthier.techniques.heads.row_texts import RowTexts, row_texts
from luthier.techniques.heads.set_head import LabelSetHead
from luthier.techniques.preview import Preview, preview_rows
from luthier.techniques.vectors import TextVectors, without_vector

if TYPE_CHECKING:
    import numpy as np
    import numpy.typing as npt
    import pandas as pd

    Floats = npt.NDArray[np.float64]

__all__ = ["Embedding"]

HEADS: Mapping[type[TaskType], VectorHead] = {
    ClosedSet: LabelHead(),
    MultiLabel: LabelSetHead(),
    Similarity: PairHead(),
}
"""What answers from the vectors, by the type of the task."""


class Embedding(Spec):
    """Vectors of an embedding model, and a classifier over them, the head, that is fitted on training rows.

    A text is embedded once per model: the journal keeps the vector. A label without training rows gets probability 0.
    For pairs of texts the head reads a score from the two vectors.

    Examples:
        >>> from luthier.providers.endpoint import embedded
        >>> stars = Task("stars", type="rating", text="text", label="stars", labels=[1, 2, 3, 4, 5])
        >>> spec = Embedding(stars, endpoint=embedded("wordllama-256"), head="ordinal")
        >>> spec.head.method, spec.needs_training, spec.base_model
        ('ordinal', True, 'wordllama-256')
        >>> Embedding(stars, endpoint=embedded("wordllama-256"), head={"method": "ordinal", "seconds": 60})
        Traceback (most recent call last):
            ...
        luthier.errors.SpecError: Embedding: head: trials and seconds are for head automl, not ordinal
    """

    endpoint_block: ClassVar[str] = "embedding"
    task_types: ClassVar[tuple[type[TaskType], ...]] = tuple(HEADS)
    technique: Literal["embedding"] = "embedding"
    head: Head = Head()
    """What answers from the vectors; the name of a method alone will do."""
    dimensions: int | None = Field(default=None, ge=1)
    """Length of the vectors, for models that can shorten them; their own length when absent."""

    def __init__(self, task: Task | None = None, /, **data: Any) -> None:
        # Written out, as type checkers would make one of keywords alone from the fields.
        super().__init__(task, **data)

    @model_validator(mode="after")
    def _fits_together(self) -> Self:
        if self.endpoint is None:
            raise ValueError("endpoint is missing; vectors need a model, as in {provider: local, model: wordllama-256}")
        refusal = self._vector_head.refusal(self.head.method, self.task)
        if refusal is not None:
            raise ValueError(refusal)
        return self

    @property
    def needs_training(self) -> bool:
        """Always, but for the plain cosine of a pair."""
        return self.head.method != "cosine"

    @property
    def _vector_head(self) -> VectorHead:
        return next(head for kind, head in HEADS.items() if isinstance(self.task.kind, kind))

    def probes(self) -> tuple[Probe, ...]:
        """One text to embed."""
        assert self.endpoint is not None
        return (Probe(self.endpoint, "embedding", self._embedded.settings),)

    def notes(self) -> tuple[str, ...]:
        """What a reader of the figures should know."""
        if self.head.method != "automl" or self.head.seconds is None:
            return ()
        return (
            f"AutoML looks for {self.head.seconds:g} seconds, so another machine may find another model; "
            "head.trials makes it repeatable.",
        )

    def _tied_to_model(self, fitted: Fitted, models: str) -> tuple[str, ...]:
        if not self.needs_training:
            return ()
        return (f"the head of {self.name} was fitted on vectors of {models}: its answers mean nothing",)

    def tables(self, fitted: Fitted) -> Mapping[str, Sequence[Mapping[str, Any]]]:
        """`trials`, best first; `best` is the best score up to each."""
        given = fitted.state.get("trials", ())
        trials: list[Mapping[str, Any]] = [trial for trial in given if trial["score"] is not None]
        if not trials:
            return {}
        sign = 1 if trials[0]["measure"] in ERRORS else -1
        return {"trials": sorted(trials, key=lambda trial: sign * trial["score"])}

    def preview(self, rows: pd.DataFrame, train: pd.DataFrame | None = None) -> Preview:
        """The requests these rows would make, with tokens and price; sends nothing.

        Args:
            rows: the rows to show; a few are enough.
            train: the training rows; with them the notes say how many texts fitting sends.

        Raises:
            DataError: a table lacks a column.
        """
        notes = list(self.notes())
        if self.needs_training:
            many = "every different training text"
            if train is not None:
                self.check_columns(train.columns, "the training table")
                texts, _ = self._training_rows(self.task.rows(train, labelled=True, source="the training table"))
                many = f"{len({text for one in texts for text in one}):,} training texts"
            notes.append(f"Fitting sends {many} too, each once ever; the estimate here leaves them out.")
        requests = [partial(self._request, column) for column in self.task.text_columns]
        return preview_rows(self, rows, notes, *requests)

    def fit(self, rows: Rows | None) -> Conversation[Fitted]:
        """Embeds the training texts and fits the head.

        A text that the service refuses to embed is left out, and counted in the notes.

        Raises:
            SpecError: there are no training rows.
            DataError: the truths of the rows do not differ enough to learn from.
            MissingPart: AutoML is asked for and is not installed.
            UnusableAnswers: vectors differ in length, or have another length than was asked for; or so many texts
                are refused that what is left does not differ enough.
            Partial: some texts have no vector yet for a reason that may pass.
        """
        if not self.needs_training:
            return Fitted(spec=self)
        texts, truths = self._training_rows(rows)
        assert rows is not None
        distinct = list(dict.fromkeys(text for one in texts for text in one))
        answers = yield [self._embedded.request(text) for text in distinct]
        vectors, notes = self._embedded.read(distinct, answers)
        known = [place for place, one in enumerate(texts) if all(text in vectors for text in one)]
        texts, truths = [texts[place] for place in known], [truths[place] for place in known]
        if notes and not self._vector_head.can_learn(self, truths):
            raise UnusableAnswers(f"spec {self.name!r}: {notes[0]} Too few are left to learn from: ask another model.")
        arrays = _columns([[vectors[text] for text in one] for one in texts])
        learned = yield from self._vector_head.learn(self, self.head, texts, truths, arrays)
        return Fitted(
            spec=self,
            train_digest=rows.digest_of(self.columns),
            state={
                "dimensions": arrays[0].shape[1],
                **learned.state,
                "trials": list(learned.trials),
                "notes": [*notes, *learned.notes],
            },
            arrays=learned.arrays,
            files=learned.files,
        )

    def predict(self, rows: Rows, fitted: Fitted) -> Conversation[list[Prediction]]:
        """One prediction per row: the texts are embedded in one round, the head answers from the vectors.

        Raises:
            DataError: a column is missing.
            UnusableAnswers: a vector has another length than the head was fitted on.
        """
        if len(rows):
            self.check_columns(rows.inputs[0])
        texts = row_texts(self, rows)
        requests = [self._embedded.request(text) for one in texts for text in one or ()]
        answers = iter((yield requests)) if requests else iter(())
        found: list[Prediction | None] = []
        read: list[list[Answer]] = []
        for one in texts:
            given = [next(answers) for _ in one or ()]
            found.append(without_vector(*given) if given else Prediction(None, "empty"))
            if found[-1] is None:
                read.append(given)
        predictions = iter(self._predictions(fitted, read) if read else ())
        return [next(predictions) if one is None else one for one in found]

    def _predictions(self, fitted: Fitted, read: Sequence[Sequence[Answer]]) -> list[Prediction]:
        vectors = [[answer.vector for answer in answers] for answers in read]
        # The plain cosine is fitted on no vectors, and knows no length of them.
        length = fitted.state.get("dimensions") or len(vectors[0][0])
        for vector in (vector for one in vectors for vector in one):
            self._embedded.check_length(len(vector), length)
        calls = [replace(call_record(answers), raw=None) for answers in read]
        return self._vector_head.predictions(fitted, _columns(vectors), calls)

    def _request(self, column: str, inputs: Mapping[str, Any]) -> Request:
        return self._embedded.request(str(inputs[column]))

    @property
    def _embedded(self) -> TextVectors:
        return TextVectors(self.name, self.base_model, self.dimensions)

    def _training_rows(self, rows: Rows | None) -> tuple[list[RowTexts], list[Any]]:
        if self.head.method == "automl":
            # Before anything is paid for.
            check_parts()
        return self._vector_head.training_rows(self, rows)


def _columns(vectors: Sequence[Sequence[Any]]) -> list[Floats]:
    """An array for each text of a row, shape (rows, dimensions), given the vectors of the texts of each row."""
    import numpy as np

    return [np.array(column, dtype=float) for column in zip(*vectors, strict=True)]
