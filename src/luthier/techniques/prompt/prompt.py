"""The prompt technique: a row is written into a template, a model answers, the label is read from the answer."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Any, Literal

from luthier.errors import SpecError
from luthier.providers.exchange import Answer, Conversation, Request
from luthier.spec import Fitted, JournalReplay, PlannedRequests
from luthier.tasks.prediction import Prediction
from luthier.tasks.task import Rows, Task
from luthier.techniques.calibration import calibrate
from luthier.techniques.preview import Preview, calibration_note, preview_rows
from luthier.techniques.prompt.adapter import adapter_for
from luthier.techniques.prompt.example_search import fit_examples
from luthier.techniques.prompt.few_shot import split_rows
from luthier.techniques.prompt.nearest import answer_rows
from luthier.techniques.prompt.recipe import PromptRecipe
from luthier.techniques.prompt.request_plan import plan_requests, preview_examples, unknown_to_journal
from luthier.techniques.prompt.settings import Style
from luthier.techniques.prompt.token_walk import walk
from luthier.techniques.training_rows import training_rows

if TYPE_CHECKING:
    import pandas as pd

__all__ = ["Prompt"]

CALIBRATION_CURE = (
    "Set answer.calibration_rows: 0, or use an endpoint and a prompt that give log-probabilities for the labels; "
    "`luthier check` tries one row."
)


class Prompt(PromptRecipe):
    """A prompt, zero- or few-shot, to a chat or completion model.

    Examples:
        >>> from luthier.providers.endpoint import openai
        >>> stars = Task("stars", type="rating", labels=[1, 2, 3, 4, 5])
        >>> few = Prompt(stars, "Stars for: {{ text }}", examples=5, endpoint=openai("some-model"))
        >>> few.columns, few.needs_training, few.prompt.examples.select
        (('text',), True, 'balanced')
        >>> Prompt(stars, "Stars for: {{ text }", endpoint=openai("some-model"))
        Traceback (most recent call last):
            ...
        luthier.errors.SpecError: Prompt: prompt.template: line 1: unexpected '}'
    """

    technique: Literal["prompt"] = "prompt"

    def __init__(
        self,
        task: Task | None = None,
        template: str | None = None,
        /,
        *,
        system: str | None = None,
        style: Style | None = None,
        examples: int | Mapping[str, Any] | None = None,
        **data: Any,
    ) -> None:
        """A prompt for a task.

        Args:
            task: the task.
            template: Jinja template of the user turn, or of the text to complete.
            system: template of the system turn.
            style: `chat` or `completion`.
            examples: how many few-shot examples, or `{"count": ..., "select": ..., "seed": ..., ...}`.
            data: `endpoint`, `answer`, `decoding`, `name`, `seed`; and every key of the YAML.

        Raises:
            SpecError: a setting is unknown, missing or contradicts another.
        """
        given = {"template": template, "system": system, "style": style, "examples": examples}
        wording = {name: value for name, value in given.items() if value is not None}
        if task is None:
            super().__init__(**data, **wording)
            return
        if wording and "prompt" in data:
            raise SpecError(f"{type(self).__name__}: give either prompt=... or {', '.join(wording)}, not both.")
        super().__init__(task, **{"prompt": wording, **data})

    def fit(self, rows: Rows | None) -> Conversation[Fitted]:
        """Chooses the examples and calibrates, on training rows only.

        Nearest examples take one embedding for each training text, searched ones a race over training rows.

        Raises:
            SpecError: training rows are needed and there are none.
            DataError: there are too few of them.
            UnusableAnswers: too few calibration rows got probabilities, or too few texts a vector.
            Partial: some requests have no answer yet for a reason that may pass.
        """
        self.check_ready()
        if not self.needs_training:
            return Fitted(spec=self)
        known = training_rows(self, rows)
        split = split_rows(self, known)
        fitted = yield from fit_examples(self, known, split)
        if not split.calibration:
            return fitted
        held = known.take(split.calibration)
        predictions = yield from answer_rows(self, fitted, held.inputs)
        calibration = calibrate(self, held, predictions, CALIBRATION_CURE)
        return replace(fitted, state={**fitted.state, **calibration})

    def predict(self, rows: Rows, fitted: Fitted) -> Conversation[list[Prediction]]:
        """One prediction per row; the first requests of all rows form one round.

        Raises:
            UnusableAnswers: the embedding model gives vectors of another length than when the spec was fitted.
        """
        self.check_ready()
        if not len(rows):
            return []
        self.check_columns(rows.inputs[0])
        return (yield from answer_rows(self, fitted, rows.inputs))

    def first_requests(
        self, rows: Rows, train: Rows | None = None, fitted: Fitted | None = None
    ) -> tuple[list[Request], list[Request]]:
        """What fitting and answering these rows ask first.

        Examples that are known only after something was asked are replaced by the longest there could be, and a
        search by its longest course.

        Raises:
            SpecError: training rows are needed and there are none.
            DataError: there are too few of them, or a column is missing.
        """
        fitting, answering = self.planned_requests(rows, train, fitted, unknown_to_journal)
        return [r for piece in fitting for r in piece.requests], [r for piece in answering for r in piece.requests]

    def planned_requests(
        self, rows: Rows, train: Rows | None, fitted: Fitted | None, recall: JournalReplay
    ) -> tuple[Sequence[PlannedRequests], Sequence[PlannedRequests]]:
        """All requests of fitting and of answering these rows, with bounds for those that depend on later answers.

        Raises:
            SpecError: training rows are needed and there are none.
            DataError: there are too few of them, or a column is missing.
        """
        self.check_ready()
        if len(rows):
            self.check_columns(rows.inputs[0])
        return plan_requests(self, rows, train, fitted, recall)

    def follow_ups(self, answer: Answer) -> int:
        """How many texts need their next tokens after this first answer, to tell labels that begin alike apart."""
        if self.answer_mode != "walk" or not answer.choices:
            return 0
        steps = walk(self.words)
        next(steps)
        try:
            return len(steps.send([answer.choices[0]]))
        except StopIteration:
            return 0

    def tables(self, fitted: Fitted) -> Mapping[str, Sequence[Mapping[str, Any]]]:
        """`samples`: what a search tried, best first."""
        return {"samples": fitted.state["samples"]} if "samples" in fitted.state else {}

    def preview(self, rows: pd.DataFrame, train: pd.DataFrame | None = None) -> Preview:
        """The requests these rows would make, with tokens and price; sends nothing.

        Args:
            rows: the rows to show; a few are enough.
            train: training rows to choose examples from; without them examples are placeholders.

        Raises:
            DataError: a table lacks a column.
        """
        notes = [*self.notes(), *calibration_note(self.answer.calibration_rows)]
        adapter = adapter_for(self, {})
        if self.prompt.examples.most:
            known = None
            if train is not None:
                self.check_columns(train.columns, "the training table")
                known = self.task.rows(train, labelled=True, source="the training table")
            examples, note = preview_examples(self, known)
            adapter = replace(adapter, examples=tuple(examples))
            notes += note
        return preview_rows(self, rows, notes, adapter.request)
