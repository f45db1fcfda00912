"""The recipe of a prompt: its settings, checked against the task and each other, and what follows from them."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any, ClassVar, Self

from pydantic import Field, model_validator

from luthier.providers.endpoint import Endpoint
from luthier.spec import Fitted, Probe, Spec
from luthier.tasks.task import Rows, Task
from luthier.tasks.types import TaskType
from luthier.techniques.prompt.settings import AnswerFormat, AnswerMode, Decoding, Examples, Style, Wording
from luthier.techniques.prompt.template import cell_expression, compiled, plain_cell
from luthier.techniques.prompt.token_walk import apart_at_once

__all__ = ["PromptRecipe"]

MOST_LETTERS = 20
"""Chat services return the log-probabilities of at most this many tokens, so more letters cannot be compared."""

THINKING_TOKENS = 2000
"""Added to `max_tokens` where the model is told to reason."""

PARAMS = ("temperature", "top_p", "max_tokens", "seed")
"""Decoding settings that are numbers; a packaged model declares them with a type."""


class PromptRecipe(Spec):
    """The settings of a prompt, zero- or few-shot, and what follows from them; `Prompt` adds fitting and answering."""

    prompt: Wording
    """The text of the prompt."""
    answer: AnswerFormat = AnswerFormat()
    """The form of the answer; `answer: score` is short for `answer: {method: score}`."""
    decoding: Decoding = Field(default_factory=Decoding)
    """Decoding settings."""

    def __init__(self, task: Task | None = None, /, **data: Any) -> None:
        # Written out, as type checkers would make one of keywords alone from the fields.
        super().__init__(task, **data)

    task_types: ClassVar[tuple[type[TaskType], ...]] = (TaskType,)

    @model_validator(mode="after")
    def _fits_together(self) -> Self:
        if self.endpoint is None:
            raise ValueError("endpoint is missing; a prompt needs a model, as in {provider: openai, model: NAME}")
        if not self.task.labels and (self.answer.method == "score" or self.answer.words or self.objective):
            raise ValueError(
                f"task {self.task.name!r} is of type {self.task.type!r}{self.task.kind.made_by}, and "
                "answer: score, words and objective are of single labels: leave out words and objective, and set "
                "answer: text or json"
            )
        self._check_words()
        for column in self.task.kind.further_columns:
            if column not in self._named_columns:
                raise ValueError(
                    f"the prompt does not show the column {column!r}, and a row of task {self.task.name!r} is "
                    f"{' and '.join(map(repr, self.task.text_columns))}: put {{{{ {cell_expression(column)} }}}} into "
                    "prompt.template"
                )
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
                "objective qwk fits thresholds on calibration rows; set answer: {method: score, "
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
        """Whether it shows examples or is calibrated."""
        return self.prompt.examples.most > 0 or self.answer.calibration_rows > 0

    @property
    def columns(self) -> tuple[str, ...]:
        """The text column, then the others the templates name."""
        return (*self.task.text_columns, *sorted(self._named_columns.difference(self.task.text_columns)))

    @property
    def _named_columns(self) -> set[str]:
        sources = (self.prompt.template, self.prompt.system)
        return {column for source in sources if source is not None for column in compiled(source).columns}

    @property
    def examples_seed(self) -> int:
        """Seed of the draw of examples: its own, or that of the spec."""
        own = self.prompt.examples.seed
        return self.seed if own is None else own

    @property
    def words(self) -> tuple[str, ...]:
        """The word the model answers with for each label, in the task's order."""
        if not self.answer.words:
            return self.task.labels
        by_label = {self.task.canonical_label(label): word for label, word in self.answer.words.items()}
        return tuple(by_label[label] for label in self.task.labels)

    @property
    def style(self) -> Style:
        """`chat` or `completion`, as the spec says; else `completion` for the embedded model and `chat` elsewhere.

        The embedded model is too small to follow instructions, so it continues a text.
        """
        if self.prompt.style is not None:
            return self.prompt.style
        assert self.endpoint is not None
        wants_chat = self.answer.method == "json" or self.decoding.reasoning_effort
        return "completion" if self.endpoint.provider == "local" and not wants_chat else "chat"

    def with_endpoint(self, endpoint: Endpoint) -> Self:
        """The same recipe for another endpoint; the style is kept, so that the prompt stays the same."""
        moved = super().with_endpoint(endpoint)
        if moved.style == self.style:
            return moved
        wording = self.prompt.model_copy(update={"style": self.style})
        return type(self).model_validate({**moved._fields(), "prompt": wording})

    def _tied_to_model(self, fitted: Fitted, models: str) -> tuple[str, ...]:
        found: list[str] = []
        if "leaning" in fitted.state:
            found.append(f"{self.name} was calibrated on {models}: its probabilities are off")
        if "samples" in fitted.state:
            found.append(f"{self.name} shows the examples that did best on {models}, where others may")
        return tuple(found)

    @property
    def answer_mode(self) -> AnswerMode:
        """How a label is read from an answer; follows from method, style and words."""
        if self.answer.method != "score":
            return self.answer.method
        if self.style == "completion":
            return "walk"
        if apart_at_once(self.words):
            return "first"
        return "letters" if len(self.words) <= MOST_LETTERS else "text"

    @property
    def response_format(self) -> dict[str, Any]:
        """The `response_format` for a value as JSON; of a closed set one of the words."""
        kind = self.task.kind
        schema = {"name": kind.value_name, "strict": True, "schema": kind.answer_schema(self.words)}
        return {"type": "json_schema", "json_schema": schema}

    @property
    def max_tokens(self) -> int:
        """The most tokens of an answer: as the spec says, else enough for the longest label."""
        if self.decoding.max_tokens is not None:
            return self.decoding.max_tokens
        if self.answer_mode in ("walk", "first", "letters"):
            return 1
        thinks = self.decoding.reasoning_effort not in (None, "none", "minimal")
        # No tokenizer makes more tokens of a word than it has bytes.
        longest = max(
            (len(word.encode("utf-8", "replace")) for word in self.words), default=self.task.kind.answer_bytes
        )
        room = 32 if self.answer_mode == "json" else 8
        return max(16, longest + room) + (THINKING_TOKENS if thinks else 0)

    @property
    def endpoints(self) -> tuple[Endpoint, ...]:
        """The endpoint that answers, then the one that embeds where nearest examples are shown."""
        embedding = self.prompt.examples.endpoint
        return super().endpoints if embedding is None else (*super().endpoints, embedding)

    def probes(self) -> tuple[Probe, ...]:
        """One probe for each endpoint."""
        assert self.endpoint is not None
        settings = {"max_tokens": self.max_tokens, **self.decoding.model_dump(exclude={"max_tokens"})}
        reads_logprobs = self.answer_mode in ("walk", "first", "letters")
        if self.answer_mode == "json":
            settings["response_format"] = self.response_format
        roles: tuple[str, ...] = ()
        if self.style == "chat":
            shown = ("user", "assistant") if self.prompt.examples.count else ()
            roles = (("system",) if self.prompt.system is not None else ()) + shown
        asked = (Probe(self.endpoint, self.style, settings, reads_logprobs, roles),)
        return asked + tuple(Probe(embedding, "embedding", {}) for embedding in self.endpoints[1:])

    def notes(self) -> tuple[str, ...]:
        """How labels are asked, where the spec does not say it, and what that costs in accuracy or money."""
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
            for length in compiled(self.prompt.template).truncations
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
        """Decoding settings that a caller of the packaged model may override; those that are null are left out."""
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

    def kept(self, rows: Rows, positions: Iterable[int]) -> list[dict[str, Any]]:
        """The rows at these positions as fitted state: the cells the templates read, and the label."""
        columns = self.columns
        return [
            {
                "inputs": {name: plain_cell(rows.inputs[position].get(name)) for name in columns},
                "label": rows.labels[position],
            }
            for position in positions
        ]


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
