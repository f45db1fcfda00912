"""The embedding technique: a model turns each text into a vector, and a head fitted here answers from it."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Any, ClassVar, Literal, Self

from pydantic import Field, model_validator

from luthier.engine.report import call_record
from luthier.errors import UnusableAnswers
from luthier.providers.exchange import Answer
from luthier.spec import Conversation, Fitted, Probe, Spec
from luthier.tasks.labels.closed_set import ClosedSet
from luthier.tasks.labels.multilabel import MultiLabel
from luthier.tasks.pairs.similarity import Similarity
from luthier.tasks.prediction import Prediction
from luthier.tasks.task import Rows, Task
from luthier.tasks.types import TaskType
from luthier.techniques.heads.answering import kept_while_used, label_values, share_predictions
from luthier.techniques.heads.automl import check_parts
from luthier.techniques.heads.head import FOR_PAIRS, FittedHead, Head, fit_head
from luthier.techniques.heads.label_sets import fit_sets, predict_sets, training_sets
from luthier.techniques.heads.learners import Predictor, TrainedModel
from luthier.techniques.heads.pairs import fit_pairs, predict_pairs, training_pairs
from luthier.techniques.heads.probabilities import ERRORS
from luthier.techniques.heads.training_set import TrainingSet, assign_folds, labelled_texts, labels_present
from luthier.techniques.preview import Preview, preview_rows
from luthier.techniques.vectors import TextVectors, without_vector

if TYPE_CHECKING:
    import numpy as np
    import numpy.typing as npt
    import pandas as pd

    Floats = npt.NDArray[np.float64]

__all__ = ["Embedding"]


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
    task_types: ClassVar[tuple[type[TaskType], ...]] = (ClosedSet, MultiLabel, Similarity)
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
        if self._of_pairs:
            if self.head.method not in FOR_PAIRS:
                raise ValueError(
                    f"head {self.head.method} chooses among labels; for pairs of texts, as in task "
                    f"{self.task.name!r}, write head: {', '.join(FOR_PAIRS[:-1])} or {FOR_PAIRS[-1]}"
                )
            return self
        if self.head.method in ("cosine", "isotonic"):
            raise ValueError(f"head {self.head.method} is for pairs of texts; task {self.task.name!r} is none of them")
        if self._of_sets and self.head.method != "logistic":
            raise ValueError(
                f"head {self.head.method} chooses one label; task {self.task.name!r} gives several: take logistic"
            )
        if self.head.method in ("ordinal", "regression") and not self.task.ordered:
            raise ValueError(
                f"head {self.head.method} is for ratings; task {self.task.name!r} has no order: take logistic or automl"
            )
        return self

    @property
    def needs_training(self) -> bool:
        """Always, but for the plain cosine of a pair."""
        return self.head.method != "cosine"

    @property
    def _of_pairs(self) -> bool:
        return isinstance(self.task.kind, Similarity)

    @property
    def _of_sets(self) -> bool:
        return isinstance(self.task.kind, MultiLabel)

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
        if self._of_pairs:
            return self._preview_of_pairs(rows, train)
        many = "every different training text"
        if train is not None:
            self.check_columns(train.columns, "the training table")
            known = self.task.rows(train, labelled=True, source="the training table")
            texts, _ = training_sets(self, known) if self._of_sets else self._training_texts(known)
            many = f"{len(dict.fromkeys(texts)):,} training texts"
        notes = [*self.notes(), f"Fitting sends {many} too, each once ever; the estimate here leaves them out."]
        return preview_rows(self, rows, lambda inputs: self._embedded.request(str(inputs[self.task.text])), notes)

    def _preview_of_pairs(self, rows: pd.DataFrame, train: pd.DataFrame | None) -> Preview:
        many = "every different training text"
        if train is not None and self.needs_training:
            self.check_columns(train.columns, "the training table")
            pairs, _ = training_pairs(self, self.task.rows(train, labelled=True, source="the training table"))
            many = f"{len({text for pair in pairs for text in pair}):,} training texts"
        notes = [f"Fitting sends {many} too, each once ever; the estimate here leaves them out."]
        first, second = self.task.text_columns
        return preview_rows(
            self,
            rows,
            lambda inputs: self._embedded.request(str(inputs[first])),
            notes if self.needs_training else [],
            also=lambda inputs: self._embedded.request(str(inputs[second])),
        )

    def fit(self, rows: Rows | None) -> Conversation[Fitted]:
        """Embeds the training texts and fits the head.

        A text that the service refuses to embed is left out, and counted in the notes.

        Raises:
            SpecError: there are no training rows.
            DataError: the rows hold fewer than two labels.
            MissingPart: AutoML is asked for and is not installed.
            UnusableAnswers: vectors differ in length, or have another length than was asked for; or so many texts
                are refused that fewer than two labels are left.
            Partial: some texts have no vector yet for a reason that may pass.
        """
        if self._of_pairs:
            return (yield from fit_pairs(self, self.head.method, self._embedded, rows))
        if self._of_sets:
            return (yield from fit_sets(self._embedded, self, rows))
        texts, labels = self._training_texts(rows)
        assert rows is not None
        distinct = list(dict.fromkeys(texts))
        answers = yield [self._embedded.request(text) for text in distinct]
        vectors, notes = self._embedded.read(distinct, answers)
        known = [position for position, text in enumerate(texts) if text in vectors]
        if notes and len({labels[i] for i in known}) < 2:
            raise UnusableAnswers(f"spec {self.name!r}: {notes[0]} Too few are left to learn from: ask another model.")
        training_set = self._training_set([texts[i] for i in known], [labels[i] for i in known], vectors)
        head = yield from fit_head(self.head, training_set, self.objective, self.seed)
        missing = [label for label in self.task.labels if label not in training_set.labels]
        if missing:
            notes.append(f"No training row is labelled {', '.join(missing)}: always given probability 0.")
        pairs = {(texts[i], labels[i]) for i in known}
        times = Counter(label for _, label in pairs)
        alone = [label for label in training_set.labels if times[label] == 1]
        if alone:
            notes.append(f"Only one training text is labelled {', '.join(alone)}: learned, and never held out.")
        return Fitted(
            spec=self,
            train_digest=rows.digest_of(self.columns),
            state={
                "dimensions": training_set.vectors.shape[1],
                "labels": list(training_set.labels),
                "head": head.state,
                "cuts": None if head.thresholds is None else list(head.thresholds),
                "trials": list(head.trials),
                "notes": [*notes, *_selection_note(head)],
            },
            arrays=head.trained.arrays,
            files=head.trained.files,
        )

    def predict(self, rows: Rows, fitted: Fitted) -> Conversation[list[Prediction]]:
        """One prediction per row: the texts are embedded in one round, the head answers from the vectors.

        Raises:
            DataError: a column is missing.
            UnusableAnswers: a vector has another length than the head was fitted on.
        """
        if len(rows):
            self.check_columns(rows.inputs[0])
        if self._of_pairs:
            return (yield from predict_pairs(self._embedded, rows, fitted))
        if self._of_sets:
            return (yield from predict_sets(self._embedded, rows, fitted))
        texts = rows.texts
        requests = [self._embedded.request(text) for text in texts if text is not None]
        answers = iter((yield requests)) if requests else iter(())
        return self._read([None if text is None else next(answers) for text in texts], fitted)

    def _read(self, answers: Sequence[Answer | None], fitted: Fitted) -> list[Prediction]:
        import numpy as np

        found = [Prediction(None, "empty") if answer is None else without_vector(answer) for answer in answers]
        read = {place: answer for place, answer in enumerate(answers) if answer is not None and found[place] is None}
        for answer in read.values():
            self._embedded.check_length(len(answer.vector), fitted.state["dimensions"])
        if not read:
            return [one for one in found if one is not None]
        vectors = np.array([answer.vector for answer in read.values()], dtype=float)
        shares = kept_while_used(fitted, _head_of).probabilities(vectors)
        predictions = iter(
            share_predictions(fitted, shares, [replace(call_record([a]), raw=None) for a in read.values()])
        )
        return [next(predictions) if one is None else one for one in found]

    @property
    def _embedded(self) -> TextVectors:
        return TextVectors(self.name, self.base_model, self.dimensions)

    def _training_texts(self, rows: Rows | None) -> tuple[list[str], list[str]]:
        """Texts and labels of the rows that have both."""
        if self.head.method == "automl":
            check_parts()
        return labelled_texts(self, rows)

    def _training_set(self, texts: Sequence[str], labels: Sequence[str], vectors: Mapping[str, Any]) -> TrainingSet:
        import numpy as np

        present = labels_present(self, labels)
        return TrainingSet(
            vectors=np.array([vectors[text] for text in texts], dtype=float),
            targets=np.array([present.index(label) for label in labels]),
            labels=present,
            values=label_values(self.task, present),
            ordered=self.task.ordered,
            folds=np.array(assign_folds(texts, labels, self.seed)),
        )


def _selection_note(head: FittedHead) -> list[str]:
    settings = ", ".join(
        f"{name} {value:.4g}" if isinstance(value, float) else f"{name} {value}"
        for name, value in head.won.choice.settings.items()
    )
    kind = {"classifier": "", "regressor": " fitted as a regression"}.get(head.won.choice.output, "")
    what = f"{head.won.choice.estimator}{kind} with {settings}" if settings else head.won.choice.estimator + kind
    if head.won.score is None:
        return [f"Too few training rows to hold any out: {what} was taken without a comparison."]
    trial = len(head.trials)
    return [
        f"The classifier on the embeddings is the best of {trial} cross-validated on the training rows: {what} "
        f"({head.trials[0]['measure']} {head.won.score:.4f})."
    ]


def _head_of(fitted: Fitted) -> Predictor:
    values = label_values(fitted.spec.task, fitted.state["labels"])
    head = fitted.state["head"]
    return Predictor(TrainedModel(fitted.arrays, fitted.files), head["as"], values, head["spread"])
