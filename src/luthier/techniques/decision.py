"""The decision technique: a typed question about a row to `/v1/decisions`, answered with a probability per label."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from dataclasses import dataclass, replace
from functools import cached_property
from typing import TYPE_CHECKING, Any, Literal, Self

from pydantic import Field, field_validator, model_validator

from luthier.engine.report import call_record
from luthier.providers.exchange import Answer, Request
from luthier.providers.redaction import sendable
from luthier.spec import Conversation, Fitted, Probe, Spec
from luthier.tasks.labels.deciding import best_label
from luthier.tasks.prediction import Prediction
from luthier.tasks.task import Rows, Task
from luthier.techniques.calibration import calibrate, calibrated
from luthier.techniques.conversations import gather, opening, unanswered
from luthier.techniques.preview import Preview, calibration_note, preview_rows
from luthier.techniques.prompt.template import UnrenderedRow, compiled, plain_cell
from luthier.techniques.training_rows import calibration_rows, training_rows

if TYPE_CHECKING:
    import pandas as pd

__all__ = ["Decision"]

MOST_LABELS = 255
"""Most choices of a question."""

MOST_LEVELS = 10
"""Most levels of a score; a longer scale is asked as a choice."""

ROUNDING = 0.02
"""Tolerance for the sum of the probabilities, as services round them."""


LEAST_PRIOR = 0.001
"""Lower limit of a label's mean probability: dividing by less would lift what the service rounds to nothing."""


class Decision(Spec):
    """A question with the task's labels as its only answers, to an endpoint that serves `/v1/decisions`.

    A rating is asked as a score over its ordered levels, a classification as a choice. The model writes no text, so
    nothing is parsed: every row gets a probability per label or is refused.

    Examples:
        >>> from luthier.providers.endpoint import openai
        >>> stars = Task("stars", type="rating", labels=[1, 2, 3, 4, 5])
        >>> asked = Decision(stars, question="How satisfied is the guest?", endpoint=openai("some-model"))
        >>> asked.answer, asked.needs_training, asked.columns
        ('score', False, ('text',))
        >>> Decision(stars, endpoint=openai("some-model")).question
        'Rate this text: stars, from 1 (lowest) to 5 (highest).'
    """

    technique: Literal["decision"] = "decision"
    question: str = ""
    """The question about each row, plain or a Jinja template; made from the task's name and labels when absent."""
    input: str | None = None
    """Jinja template of the text the question is about; the text column when absent."""
    descriptions: dict[str, str] = Field(default_factory=dict)
    """Descriptions of labels, for those that need one; the task's where this has none."""
    calibration_rows: int = Field(default=0, ge=0, le=10_000)
    """Number of training rows on which the model's prior for each label is measured, to divide by it, and the
    thresholds of `objective: qwk` are fitted."""

    def __init__(self, task: Task | None = None, /, **data: Any) -> None:
        """A question for a task.

        Args:
            task: the task.
            data: `question`, `endpoint`, `input`, `descriptions`, `objective`, `name`; and every key of the YAML.

        Raises:
            SpecError: a setting is unknown, missing or contradicts another.
        """
        # Written out, as type checkers would make one of keywords alone from the fields.
        super().__init__(task, **data)

    @field_validator("question", "input")
    @classmethod
    def _compiles(cls, source: str | None) -> str | None:
        if source is not None:
            if not source.strip():
                raise ValueError("is empty; leave it out for the default")
            compiled(source)
        return source

    @field_validator("descriptions", mode="before")
    @classmethod
    def _describes_labels(cls, given: Any) -> Any:
        if not isinstance(given, Mapping):
            raise ValueError('descriptions says what labels mean, as in descriptions: {"1": would never return}')
        if any(isinstance(label, bool) for label in given):
            raise ValueError("a label is a boolean: YAML reads yes, no, on, off so; put it in quotes")
        return {str(label): said for label, said in given.items()}

    @model_validator(mode="after")
    def _fits_together(self) -> Self:
        if self.endpoint is None:
            raise ValueError("endpoint is missing; a decision needs a model, as in {provider: openai, model: NAME}")
        if not self.question:
            # Stored with the spec, so that a packaged model asks the same after the default changes.
            object.__setattr__(self, "question", default_question(self.task))
        if len(self.task.labels) > MOST_LABELS:
            raise ValueError(
                f"the task has {len(self.task.labels)} labels and a decision offers at most {MOST_LABELS}; "
                "use technique: prompt, baseline or embedding"
            )
        if self.input is not None and not compiled(self.input).columns:
            raise ValueError("input names no column, so every row would be asked the same; write {{ text }} into it")
        labels = {label: self.task.canonical_label(label) for label in self.descriptions}
        unknown = [label for label, canonical in labels.items() if canonical is None]
        if unknown:
            allowed = ", ".join(self.task.labels)
            raise ValueError(f"descriptions has {', '.join(map(repr, unknown))}, which is no label; labels: {allowed}")
        if self.objective == "qwk" and not self.calibration_rows:
            raise ValueError("objective qwk fits thresholds on training rows; set calibration_rows: 100")
        return self

    @property
    def needs_training(self) -> bool:
        """Whether it is calibrated."""
        return self.calibration_rows > 0

    @property
    def answer(self) -> Literal["choice", "score"]:
        """The type of the question: `score` for a rating of at most 10 levels, otherwise `choice`."""
        return "score" if self.task.ordered and len(self.task.labels) <= MOST_LEVELS else "choice"

    @property
    def columns(self) -> tuple[str, ...]:
        """The text column, then the others the templates name."""
        named = set(compiled(self.question).columns)
        if self.input is not None:
            named |= set(compiled(self.input).columns)
        return (*self.task.text_columns, *sorted(named.difference(self.task.text_columns)))

    @property
    def prompt_text(self) -> str:
        """The question, and the template of its input if there is one."""
        return self.question if self.input is None else f"input:\n{self.input}\n\nquestion:\n{self.question}"

    def probes(self) -> tuple[Probe, ...]:
        """One small question."""
        assert self.endpoint is not None
        return (Probe(self.endpoint, "decision", {}),)

    def notes(self) -> tuple[str, ...]:
        """What a reader of its figures should know."""
        if self.task.ordered and self.answer == "choice":
            return (
                f"Asked as a choice: a score takes at most {MOST_LEVELS} levels and the task has "
                f"{len(self.task.labels)}, so the service is not told their order.",
            )
        return ()

    def _tied_to_model(self, fitted: Fitted, models: str) -> tuple[str, ...]:
        if "leaning" not in fitted.state:
            return ()
        return (f"{self.name} was calibrated on {models}: its probabilities are off",)

    def fit(self, rows: Rows | None) -> Conversation[Fitted]:
        """Calibrates on `calibration_rows` training rows, as a prompt does.

        Raises:
            SpecError: training rows are needed and there are none.
            DataError: there are too few of them.
            UnusableAnswers: the endpoint refused most of them.
            Partial: some have no answer yet, for a reason that may pass.
        """
        if not self.needs_training:
            return Fitted(spec=self)
        rows = training_rows(self, rows)
        known = rows.take(calibration_rows(self, rows, self.calibration_rows))
        adapter = self.adapter({})
        predictions = yield from gather(adapter.row(inputs) for inputs in known.inputs)
        cure = "Set calibration_rows: 0, or use another endpoint"
        state = calibrate(self, known, predictions, cure, LEAST_PRIOR)
        return Fitted(spec=self, train_digest=rows.digest_of(self.columns), state=state)

    def predict(self, rows: Rows, fitted: Fitted) -> Conversation[list[Prediction]]:
        """One prediction per row, by one call each, all in one round."""
        if not len(rows):
            return []
        self.check_columns(rows.inputs[0])
        adapter = self.adapter(fitted.state)
        return (yield from gather(adapter.row(inputs) for inputs in rows.inputs))

    def preview(self, rows: pd.DataFrame, train: pd.DataFrame | None = None) -> Preview:
        """The requests these rows would make, with tokens and price; sends nothing.

        Args:
            rows: the rows to show; a few are enough.
            train: not read; the requests do not depend on training rows.

        Raises:
            DataError: the table lacks a column.
        """
        notes = [*self.notes(), *calibration_note(self.calibration_rows)]
        return preview_rows(self, rows, notes, self.adapter({}).request)

    def adapter(self, state: Mapping[str, Any]) -> DecisionAdapter:
        """Writes the request of a row and reads its answer, with the calibration in a fitted state."""
        return DecisionAdapter(
            spec=self,
            label_prior=tuple(state["leaning"]) if "leaning" in state else None,
            thresholds=tuple(state["cuts"]) if "cuts" in state else None,
        )


@dataclass(frozen=True)
class DecisionAdapter:
    """Writes requests and reads answers; the same for all rows of a fitted decision.

    Attributes:
        spec: the recipe.
        label_prior: logarithms, in the task's order; see `fit_label_prior`.
        thresholds: between ratings; see `fit_thresholds`.
    """

    spec: Decision
    label_prior: tuple[float, ...] | None
    thresholds: tuple[float, ...] | None

    @cached_property
    def offer(self) -> dict[str, Any]:
        """The type of the question and the labels to choose from."""
        spec, task = self.spec, self.spec.task
        described: dict[str | None, str] = dict(task.kind.descriptions.items())
        described |= {task.canonical_label(label): said for label, said in spec.descriptions.items()}
        score = spec.answer == "score"
        options = [
            {"label" if score else "value": label} | ({"description": described[label]} if label in described else {})
            for label in (task.ascending if score else task.labels)
        ]
        return {"type": spec.answer, "levels" if score else "choices": options}

    def request(self, inputs: Mapping[str, Any]) -> Request:
        """The request for a row.

        Raises:
            UnrenderedRow: a template cannot be filled with the row, or leaves nothing to ask.
        """
        labels = self.spec.task.labels
        meant = self.spec.task.kind.descriptions
        said = compiled(self.spec.question).fill(inputs, labels, labels, meant)
        if self.spec.input is None:
            about = sendable(str(plain_cell(inputs.get(self.spec.task.text))))
        else:
            about = compiled(self.spec.input).fill(inputs, labels, labels, meant)
        for what, text in (("question", said), ("input", about)):
            if not text.strip():
                raise UnrenderedRow(f"the template of `{what}` writes nothing for this row")
        return Request("decision", {"input": about, "questions": [{**self.offer, "instructions": said}]})

    def row(self, inputs: Mapping[str, Any]) -> Conversation[Prediction]:
        """The conversation about one row; no row and no answer makes it raise."""
        request = opening(inputs, self.spec.task.text_columns, self.request)
        if isinstance(request, Prediction):
            return request
        answer = (yield [request])[0]
        return unanswered([answer]) or self._read(answer)

    def _read(self, answer: Answer) -> Prediction:
        task = self.spec.task
        given = dict(answer.decided)
        # The service writes no text: the probabilities before calibration take its place.
        raw = json.dumps({k: round(p, 6) for k, p in given.items()}, ensure_ascii=False)
        call = replace(call_record([answer]), raw=raw)
        missing = [label for label in task.labels if label not in given]
        if missing:
            error = f"the answer has no probability for {', '.join(map(repr, missing))}"
            return Prediction(None, "off_label", error=sendable(error), call=call)
        total = math.fsum(given[label] for label in task.labels)
        if abs(total - 1) > ROUNDING:
            error = f"the labels' probabilities sum to {total:.3f} instead of 1"
            return Prediction(None, "off_label", error=error, call=call)
        probabilities = tuple(given[label] / total for label in task.labels)
        if self.label_prior is not None:
            probabilities = calibrated([math.log(p) if p else -math.inf for p in probabilities], self.label_prior)
        best = best_label(task, probabilities, self.spec.objective, self.thresholds)
        return Prediction(task.labels[best], "ok", probabilities, call=call)


def default_question(task: Task) -> str:
    """The question where the spec has none.

    Examples:
        >>> default_question(Task("kind-of-mail", labels=["spam", "ham"]))
        'Which of these fits this text best: kind of mail?'
    """
    name = task.name.replace("-", " ").replace("_", " ")
    if task.ordered:
        return f"Rate this text: {name}, from {task.ascending[0]} (lowest) to {task.ascending[-1]} (highest)."
    return f"Which of these fits this text best: {name}?"
