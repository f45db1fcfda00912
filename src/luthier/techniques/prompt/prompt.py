"""The prompt technique: a row is written into a template, a model answers, the answer is read."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Any, Literal, Self

from pydantic import Field, field_validator, model_validator

from luthier.engine.estimates import FollowUps
from luthier.errors import DataError, SpecError
from luthier.providers.endpoint import Endpoint
from luthier.providers.exchange import Answer, Request
from luthier.spec import Conversation, Fitted, JournalReplay, PlannedRequests, Probe, Spec
from luthier.tables import frame_of
from luthier.tasks.prediction import Prediction
from luthier.tasks.task import Rows, Task
from luthier.techniques.prompt.adapter import AnswerMode, FewShotExample, PromptAdapter, json_format
from luthier.techniques.prompt.fitting import asker, fit_prompt, planned_requests
from luthier.techniques.prompt.template import Template, UnrenderedRow, compiled, plain_cell
from luthier.techniques.prompt.token_walk import apart_at_once, most_follow_ups, walk
from luthier.techniques.prompt.wording import AnswerFormat, Decoding, Examples, Style, Wording

if TYPE_CHECKING:
    import pandas as pd

    from luthier.techniques.prompt.preview import Preview

__all__ = ["Prompt"]

MOST_LETTERS = 20
"""Chat services return at most this many likeliest tokens, so more letters could not be compared."""

TOP_CHOICES = 20
TOP_CHOICES_HOSTED_COMPLETION = 5
"""OpenAI and Azure refuse more for completions; other servers take 20."""

THINKING_TOKENS = 2000
"""Added to the answer's length where the model is told to think."""


PARAMS = ("temperature", "top_p", "max_tokens", "seed")
"""Decoding settings that are numbers; a packaged model declares them with a type."""


class Prompt(Spec):
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
    prompt: Wording
    """What is said to the model."""
    answer: AnswerFormat = AnswerFormat()
    """How the model is to answer; `answer: score` is short for `answer: {method: score}`."""
    decoding: Decoding = Field(default_factory=Decoding)
    """How the model is to write."""

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

    @field_validator("answer", mode="before")
    @classmethod
    def _method_alone(cls, given: Any) -> Any:
        return {"method": given} if isinstance(given, str) else given

    @model_validator(mode="after")
    def _fits_together(self) -> Self:
        if self.endpoint is None:
            raise ValueError("endpoint is missing; a prompt needs a model, as in {provider: openai, model: NAME}")
        for column in (self.task.label, *self.task.raters):
            if column in self.columns:
                raise ValueError(f"the template shows the column {column!r}, which holds what is asked for")
        self._check_words()
        chat = self.style == "chat"
        if self.answer.method == "json" and not chat:
            raise ValueError("answer method json is for style chat; use text or score with style completion")
        if self.decoding.reasoning_effort is not None and not chat:
            raise ValueError("decoding.reasoning_effort is for style chat")
        self._check_objective()
        if self.answer.calibration_rows and self.answer_mode == "text":
            raise ValueError(
                f"calibration_rows needs probabilities per label, which style chat does not give for "
                f"{len(self.words)} labels that begin alike; use style: completion, or leave calibration_rows out"
            )
        return self

    def _check_objective(self) -> None:
        if self.objective not in ("mse", "qwk"):
            return
        if self.answer_mode in ("text", "json"):
            cure = "set answer: {method: score}" if self.answer.method != "score" else "use style: completion"
            raise ValueError(
                f"objective {self.objective} needs probabilities per label, which this way of answering "
                f"({self.answer_mode}) does not give; {cure}, or leave objective out"
            )
        if self.objective == "qwk" and not self.answer.calibration_rows:
            raise ValueError(
                "objective qwk cuts the expected rating on calibration rows; set answer: {method: score, "
                "calibration_rows: 100}, or objective: mse, which needs none"
            )

    def _check_words(self) -> None:
        given = self.answer.words
        if not given:
            return
        labels = {label: self.task.canonical_label(label) for label in given}
        unknown = [label for label, canonical in labels.items() if canonical is None]
        missing = [label for label in self.task.labels if label not in labels.values()]
        allowed = ", ".join(self.task.labels)
        if unknown:
            raise ValueError(f"answer.words has {', '.join(map(repr, unknown))}, which is no label; labels: {allowed}")
        if missing:
            raise ValueError(f"answer.words lacks a word for {', '.join(missing)}; every label needs one: {allowed}")

    @property
    def needs_training(self) -> bool:
        """Whether examples are shown or the model's bias is measured."""
        return self.prompt.examples.most > 0 or self.answer.calibration_rows > 0

    @property
    def columns(self) -> tuple[str, ...]:
        """The text column, then the others the templates name."""
        named = {*self._template.columns, *(self._system.columns if self._system is not None else ())}
        return (self.task.text, *sorted(named - {self.task.text}))

    @property
    def words(self) -> tuple[str, ...]:
        """What the model is to answer for each label, in the task's order."""
        if not self.answer.words:
            return self.task.labels
        by_label = {self.task.canonical_label(label): word for label, word in self.answer.words.items()}
        return tuple(by_label[label] for label in self.task.labels)

    @property
    def style(self) -> Style:
        """How the model is spoken to: as the spec says, else as fits the endpoint.

        The embedded model is too small to follow instructions, so it is given a text to continue.
        """
        if self.prompt.style is not None:
            return self.prompt.style
        assert self.endpoint is not None
        wants_chat = self.answer.method == "json" or self.decoding.reasoning_effort
        return "completion" if self.endpoint.provider == "local" and not wants_chat else "chat"

    def with_endpoint(self, endpoint: Endpoint) -> Self:
        """The same recipe answered elsewhere, in the style it has now: another provider does not change the words."""
        moved = super().with_endpoint(endpoint)
        if moved.style == self.style:
            return moved
        wording = self.prompt.model_copy(update={"style": self.style})
        return type(self).model_validate({**moved._fields(), "prompt": wording})

    def relocation_warnings(self, fitted: Fitted) -> tuple[str, ...]:
        """A calibration belongs to the model it was measured on, and so does a search."""
        before = fitted.spec.endpoint
        assert self.endpoint is not None
        if before is None or before.model == self.endpoint.model:
            return ()
        moved = f"{before.model} and is asked at {self.endpoint.model}"
        cure = "Fit it there: luthier log SPEC --endpoint FILE --train TABLE"
        found: list[str] = []
        if "leaning" in fitted.state:
            found.append(f"{self.name} was calibrated on {moved}: its probabilities are off. {cure}")
        if "samples" in fitted.state:
            found.append(f"{self.name} shows the examples that did best on {moved}, where others may. {cure}")
        return tuple(found)

    @property
    def answer_mode(self) -> AnswerMode:
        """How labels are read, given method, style and words."""
        if self.answer.method != "score":
            return self.answer.method
        if self.style == "completion":
            return "walk"
        if apart_at_once(self.words):
            return "first"
        return "letters" if len(self.words) <= MOST_LETTERS else "text"

    @property
    def max_tokens(self) -> int:
        """Most tokens of an answer: what the spec says, else enough for the longest label."""
        if self.decoding.max_tokens is not None:
            return self.decoding.max_tokens
        if self.answer_mode in ("walk", "first", "letters"):
            return 1
        thinks = self.decoding.reasoning_effort not in (None, "none", "minimal")
        # No tokenizer makes more tokens of a word than it has bytes.
        longest = max(len(word.encode("utf-8", "replace")) for word in self.words)
        room = 32 if self.answer_mode == "json" else 8
        return max(16, longest + room) + (THINKING_TOKENS if thinks else 0)

    @property
    def endpoints(self) -> tuple[Endpoint, ...]:
        """The model that answers, then the one that embeds where nearest examples are shown."""
        embedding = self.prompt.examples.endpoint
        return super().endpoints if embedding is None else (*super().endpoints, embedding)

    def probes(self) -> tuple[Probe, ...]:
        """What to try each endpoint with."""
        assert self.endpoint is not None
        settings = {"max_tokens": self.max_tokens, **self.decoding.model_dump(exclude={"max_tokens"})}
        reads_logprobs = self.answer_mode in ("walk", "first", "letters")
        if self.answer_mode == "json":
            settings["response_format"] = json_format(self.words)
        roles: tuple[str, ...] = ()
        if self.style == "chat":
            shown = ("user", "assistant") if self.prompt.examples.count else ()
            roles = (("system",) if self.prompt.system is not None else ()) + shown
        asked = (Probe(self.endpoint, self.style, settings, reads_logprobs, roles),)
        return asked + tuple(Probe(embedding, "embedding", {}) for embedding in self.endpoints[1:])

    def notes(self) -> tuple[str, ...]:
        """What a user should know before paying: how labels are asked where that is not plain."""
        notes: list[str] = []
        if self.answer_mode == "letters":
            notes.append(
                "Labels are asked as letters (A, B, ...), because some begin with the same character and a chat "
                "model cannot be made to continue a word; the key is added to the last user turn."
            )
        if self.answer.method == "score" and self.answer_mode == "text":
            notes.append(
                f"No probabilities: {len(self.words)} labels begin alike, and a chat service compares no more than "
                f"{MOST_LETTERS} letters, so the written answer is read. Style completion gives probabilities."
            )
        thinks = self.decoding.reasoning_effort not in (None, "none", "minimal")
        if self.answer_mode in ("walk", "first", "letters") and thinks:
            notes.append(
                "Reasoning models give no log-probabilities while they think; use answer method text or json, "
                "or reasoning_effort: none."
            )
        notes += [
            f"Texts are cut after {length:,} characters (`truncate` in the template)."
            for length in self._template.truncations
        ]
        notes += _notes_on(self.prompt.examples)
        if self.style == "completion" and self.prompt.template.removesuffix("\n")[-1:] == " ":
            notes.append("The template ends with a space, which most tokenizers put before the answer; leave it out.")
        return tuple(notes)

    @property
    def prompt_text(self) -> str:
        """Both templates, as a prompt registry shows them."""
        if self.prompt.system is None:
            return self.prompt.template
        return f"system:\n{self.prompt.system}\n\nuser:\n{self.prompt.template}"

    @property
    def params(self) -> dict[str, Any]:
        """Decoding settings a caller of the packaged model may set per call; null ones are not offered."""
        settings = self.decoding.model_dump(include=set(PARAMS)) | {"max_tokens": self.max_tokens}
        return {name: value for name, value in settings.items() if value is not None}

    def with_params(self, given: Mapping[str, Any]) -> Self:
        """The same recipe with other decoding settings.

        Raises:
            SpecError: a setting is unknown or out of range.
        """
        plain = {name: value.item() if hasattr(value, "item") else value for name, value in given.items()}
        changed = {name: value for name, value in plain.items() if self.params.get(name) != value}
        if not changed:
            return self
        decoding = {**self.decoding.model_dump(), **changed}
        return type(self).make({**self._fields(), "decoding": decoding}, "params")

    def fit(self, rows: Rows | None) -> Conversation[Fitted]:
        """Chooses the examples and measures the model's bias towards labels, both on training rows only.

        Nearest examples take one embedding per training text, searched ones a race over training rows.

        Raises:
            SpecError: training rows are needed and there are none.
            DataError: there are too few of them.
            EndpointError: the endpoint gave too few rows what is measured, or too few texts a vector.
            Partial: something has no answer for a reason that may pass.
        """
        if not self.needs_training:
            return Fitted(spec=self)
        return (yield from fit_prompt(self, rows))

    def predict(self, rows: Rows, fitted: Fitted) -> Conversation[list[Prediction]]:
        """One prediction per row; the first requests of all rows come in one round.

        Raises:
            EndpointError: the model that embeds gives vectors of another length than when it was fitted.
        """
        if not len(rows):
            return []
        self.check_columns(rows.inputs[0])
        return (yield from asker(self, fitted)(rows.inputs))

    def first_requests(
        self, rows: Rows, train: Rows | None = None, fitted: Fitted | None = None
    ) -> tuple[list[Request], list[Request]]:
        """What fitting and what answering these rows would ask first; a walk may ask a little more.

        What hangs on answers that are not there yet is stood for: nearest examples by some of ordinary length, a
        race by its longest course.

        Raises:
            SpecError: training rows are needed and there are none.
            DataError: there are too few of them, or a column is missing.
        """
        if len(rows):
            self.check_columns(rows.inputs[0])
        return planned_requests(self, rows, train, fitted)

    def planned_requests(
        self, rows: Rows, train: Rows | None, fitted: Fitted | None, recall: JournalReplay
    ) -> tuple[Sequence[PlannedRequests], Sequence[PlannedRequests]]:
        """All that will be asked, with bounds for what hangs on answers to come.

        Raises:
            SpecError: training rows are needed and there are none.
            DataError: there are too few of them, or a column is missing.
        """
        from luthier.techniques.prompt.foresight import planned_requests

        if len(rows):
            self.check_columns(rows.inputs[0])
        return planned_requests(self, rows, train, fitted, recall)

    @property
    def following(self) -> FollowUps:
        """What the first answer of a row may lead to: a walk asks for the next tokens of labels that begin alike."""
        if self.answer_mode != "walk":
            return FollowUps()
        longest = max(len(word.encode("utf-8", "replace")) for word in self.words)
        return FollowUps(most_follow_ups(self.words), longest + 1)

    def follow_ups(self, answer: Answer) -> int:
        """The texts whose next tokens are needed to tell the labels apart."""
        if self.answer_mode != "walk" or not answer.choices:
            return 0
        steps = walk(self.words)
        next(steps)
        try:
            return len(steps.send([answer.choices[0]]))
        except StopIteration:
            return 0

    def tables(self, fitted: Fitted) -> Mapping[str, Sequence[Mapping[str, Any]]]:
        """The `samples` a search tried."""
        return {"samples": fitted.state["samples"]} if "samples" in fitted.state else {}

    def adapter(self, state: Mapping[str, Any]) -> PromptAdapter:
        """How one row is asked and read, given what `fit` kept.

        Raises:
            DataError: the template cannot be filled with a chosen example.
        """
        assert self.endpoint is not None
        chat = self.style == "chat"
        hosted = self.endpoint.provider in ("openai", "azure")
        settings = {"max_tokens": self.max_tokens, **self.decoding.model_dump(exclude={"max_tokens"})}
        adapter = PromptAdapter(
            task=self.task,
            answer_mode=self.answer_mode,
            template=self._template,
            system=self._system,
            words=self.words,
            settings={name: value for name, value in settings.items() if value is not None},
            top=TOP_CHOICES_HOSTED_COMPLETION if hosted and not chat else TOP_CHOICES,
            chat=chat,
            label_prior=tuple(state["leaning"]) if "leaning" in state else None,
            objective=self.objective,
            thresholds=tuple(state["cuts"]) if "cuts" in state else None,
        )
        shown: list[FewShotExample] = []
        for example in state.get("examples", ()):
            try:
                shown.append(adapter.shown(example["inputs"], example["label"]))
            except UnrenderedRow as fault:
                raise DataError(
                    f"spec {self.name!r}: example {example['inputs'][self.task.text]!r:.60}: {fault}"
                ) from fault
        return replace(adapter, examples=tuple(shown))

    def preview(self, rows: pd.DataFrame, train: pd.DataFrame | None = None) -> Preview:
        """What would be sent for these rows, with tokens and price; sends nothing.

        Args:
            rows: the rows to show; a few are enough.
            train: training rows to choose examples from; without them examples are placeholders.

        Raises:
            DataError: a table lacks a column.
        """
        from luthier.techniques.prompt.preview import preview

        rows = frame_of(rows, text=self.task.text)
        self.check_columns(rows.columns)
        known = None
        if self.prompt.examples.most and train is not None:
            self.check_columns(train.columns, "the training table")
            known = self.task.rows(train, labelled=True, source="the training table")
        return preview(self, self.task.rows(rows), known)

    def kept(self, rows: Rows, positions: Iterable[int]) -> list[dict[str, Any]]:
        """The rows at these positions as examples are kept: the cells the templates read, and the label."""
        return [
            {
                "inputs": {name: plain_cell(rows.inputs[position].get(name)) for name in self.columns},
                "label": rows.labels[position],
            }
            for position in positions
        ]

    @property
    def _template(self) -> Template:
        return compiled(self.prompt.template)

    @property
    def _system(self) -> Template | None:
        return compiled(self.prompt.system) if self.prompt.system is not None else None


def _notes_on(examples: Examples) -> list[str]:
    if examples.select == "nearest":
        assert examples.endpoint is not None
        return [
            f"Every row is shown the {examples.most} training rows nearest to it by {examples.endpoint.model}: one "
            "embedding per different text, once ever, and no prompt begins like another, so services cannot cache it."
        ]
    if examples.select == "searched":
        return [
            f"{examples.samples} samples of examples race over {examples.rows} training rows when it is fitted; no "
            "test row is looked at."
        ]
    return []
