"""The requests of a row under a prompt, and how a prediction is read from their answers."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property, partial
from typing import Any

from luthier.engine.report import call_record
from luthier.errors import DataError
from luthier.providers.exchange import Answer, Request
from luthier.providers.redaction import sendable
from luthier.providers.tokens import most_tokens
from luthier.spec import Conversation
from luthier.tasks.labels.deciding import best_label
from luthier.tasks.prediction import Prediction
from luthier.tasks.spellings import same_text, with_article
from luthier.tasks.task import Rows, Task
from luthier.tasks.thoughts import MOST_ANSWERED, spoken
from luthier.tasks.types import AnswerRead, AnswerReader
from luthier.techniques.calibration import calibrated
from luthier.techniques.conversations import opening, unanswered
from luthier.techniques.prompt.recipe import PromptRecipe
from luthier.techniques.prompt.settings import AnswerMode
from luthier.techniques.prompt.template import UnrenderedRow, compiled
from luthier.techniques.prompt.token_walk import WalkScores, walk

__all__ = ["FewShotExample", "PromptAdapter", "adapter_for", "example_tokens"]

TOP_CHOICES = 20
TOP_CHOICES_HOSTED_COMPLETION = 5
"""OpenAI and Azure refuse more for completions; other servers take 20."""

BETWEEN_EXAMPLES = "\n\n"
BETWEEN_LONG_EXAMPLES = "\n\n###\n\n"
AFTER_LONG_ANSWER = "\n###\n"
"""Of answers that may have several lines, and blank ones among them."""


@dataclass(frozen=True, slots=True)
class FewShotExample:
    """A few-shot example as it is sent; `key` is its text without case and white space."""

    user: str
    answer: str
    key: str


def adapter_for(spec: PromptRecipe, state: Mapping[str, Any]) -> PromptAdapter:
    """The adapter of a prompt, with the examples and calibration in a fitted state.

    Raises:
        DataError: the template cannot be filled with a chosen example.
    """
    adapter = PromptAdapter(
        spec,
        label_prior=tuple(state["leaning"]) if "leaning" in state else None,
        thresholds=tuple(state["cuts"]) if "cuts" in state else None,
    )
    shown = []
    for example in state.get("examples", ()):
        try:
            shown.append(adapter.example(example["inputs"], example["label"]))
        except UnrenderedRow as fault:
            raise DataError(
                f"spec {spec.name!r}: example {example['inputs'][spec.task.text]!r:.60}: {fault}"
            ) from fault
    return replace(adapter, examples=tuple(shown))


@dataclass(frozen=True)
class PromptAdapter:
    """Writes requests and reads answers; the same for all rows of a fitted prompt.

    Attributes:
        spec: the recipe.
        examples: few-shot examples, in order.
        label_prior: logarithms, in the task's order; see `fit_label_prior`.
        thresholds: between ratings, for objective `qwk`.
    """

    spec: PromptRecipe
    examples: tuple[FewShotExample, ...] = ()
    label_prior: tuple[float, ...] | None = None
    thresholds: tuple[float, ...] | None = None

    # Read for every row, so worked out once.
    @cached_property
    def task(self) -> Task:
        """The task."""
        return self.spec.task

    @cached_property
    def words(self) -> tuple[str, ...]:
        """A word per label, in the task's order."""
        return self.spec.words

    @cached_property
    def answers(self) -> tuple[str, ...]:
        """What the model answers with for each label, in the task's order: letters A, B, ... or the words."""
        if self.answer_mode != "letters":
            return self.words
        return tuple(chr(ord("A") + place) for place in range(len(self.words)))

    @cached_property
    def answer_mode(self) -> AnswerMode:
        """How a label is read from an answer."""
        return self.spec.answer_mode

    @cached_property
    def chat(self) -> bool:
        """Whether turns are sent; otherwise one text to complete."""
        return self.spec.style == "chat"

    def example(self, inputs: Mapping[str, Any], label: Any) -> FewShotExample:
        """A training row as an example.

        Raises:
            UnrenderedRow: the template cannot be filled with it.
        """
        return FewShotExample(
            user=self._fill(self.spec.prompt.template, inputs),
            answer=self.said(label),
            key=self.key(inputs),
        )

    def said(self, label: Any) -> str:
        """What the model is to answer where this is true."""
        if self.answers:
            return self.answers[self.task.position(label)]
        return self.task.kind.as_answer(label, as_json=self.answer_mode == "json")

    def key(self, inputs: Mapping[str, Any]) -> str:
        """The text of a row without case and white space."""
        return same_text(" ".join(str(inputs.get(column)) for column in self.task.text_columns))

    def request(
        self, inputs: Mapping[str, Any], begun: str = "", examples: Sequence[FewShotExample] | None = None
    ) -> Request:
        """A request for a row.

        An example with the text of the row is left out, so that an answer cannot be copied where tables overlap.

        Args:
            inputs: the row.
            begun: the beginning of the answer; completion style only.
            examples: for this row, in order; those of all rows when absent.

        Raises:
            UnrenderedRow: a template cannot be filled with the row.
        """
        key = self.key(inputs)
        given = self.examples if examples is None else examples
        examples = [example for example in given if example.key != key]
        user, system = self._fill(self.spec.prompt.template, inputs), self.spec.prompt.system
        if not self.chat:
            filled = [example.user + _gap(example.user) + example.answer for example in examples]
            above = [] if system is None else [self._fill(system, inputs)]
            between = BETWEEN_LONG_EXAMPLES if self.task.kind.several_lines else BETWEEN_EXAMPLES
            prompt = between.join([*above, *filled, user]) + begun
            return Request("completion", {"prompt": prompt, **self.extras})
        turns: list[dict[str, str]] = []
        if system is not None:
            turns.append({"role": "system", "content": self._fill(system, inputs)})
        for example in examples:
            turns.append({"role": "user", "content": example.user})
            turns.append({"role": "assistant", "content": example.answer})
        turns.append({"role": "user", "content": user + (self.letter_key() if self.answer_mode == "letters" else "")})
        return Request("chat", {"messages": turns, **self.extras})

    def requests(self, rows: Rows, examples: Sequence[FewShotExample] | None = None) -> list[Request]:
        """The first request of every row that makes one."""
        found = (self.opening(inputs, examples) for inputs in rows.inputs)
        return [asked for asked in found if isinstance(asked, Request)]

    def opening(
        self, inputs: Mapping[str, Any], examples: Sequence[FewShotExample] | None = None
    ) -> Request | Prediction:
        """The first request of a row, or its prediction where nothing is sent."""
        return opening(inputs, self.task.text_columns, partial(self.request, examples=examples))

    def letter_key(self) -> str:
        """The key from letters to labels, added to the last user turn."""
        lines = [f"{letter} = {word}" for letter, word in zip(self.answers, self.words, strict=True)]
        return "\n\nAnswer with one letter:\n" + "\n".join(lines)

    def row(
        self, inputs: Mapping[str, Any], examples: Sequence[FewShotExample] | None = None
    ) -> Conversation[Prediction]:
        """The conversation about one row; no row and no answer makes it raise.

        `examples` are as for `request`.
        """
        request = self.opening(inputs, examples)
        if isinstance(request, Prediction):
            return request
        answer = (yield [request])[0]
        asked = [answer]
        broken = unanswered(asked)
        if broken is not None:
            return broken
        if self.answer_mode in ("text", "json"):
            return self._from_text(asked, inputs)
        steps = walk(self.answers, follow=self.answer_mode == "walk")
        next(steps)
        choices = [answer.choices[0] if answer.choices else ()]
        while True:
            try:
                texts = steps.send(choices)
            except StopIteration as end:
                return self._from_scores(end.value, asked, inputs)
            further = yield [self.request(inputs, text, examples) for text in texts]
            asked += further
            broken = unanswered(further, asked)
            if broken is not None:
                return broken
            choices = [answer.choices[0] if answer.choices else () for answer in further]

    def _from_scores(self, scores: WalkScores | None, asked: Sequence[Answer], inputs: Mapping[str, Any]) -> Prediction:
        if scores is None:
            return self._from_text(asked, inputs)
        probabilities = calibrated(scores.logprobs, self.label_prior)
        best = best_label(self.task, probabilities, self.spec.objective, self.thresholds)
        call = replace(call_record(asked), censored=scores.censored)
        return Prediction(self.task.labels[best], "ok", probabilities, call=call)

    def _from_text(self, asked: Sequence[Answer], inputs: Mapping[str, Any]) -> Prediction:
        answer = asked[0]
        cut = answer.finish_reason == "length"
        if len(answer.text) > MOST_ANSWERED:
            read = AnswerRead(
                None, f"the answer has {len(answer.text):,} characters; at most {MOST_ANSWERED:,} are read"
            )
        elif self.answer_mode == "json":
            read = self.reader.read_json(answer.text, cut=cut)
        else:
            # A model that continues a text goes on after its answer, which is the first line.
            whole = self.chat or self.task.kind.several_lines
            said = answer.text if whole else _first_line(answer.text)
            cut = cut and (whole or "\n" not in answer.text.strip())
            read = self.reader.read(said, cut=cut)
            if cut and self.answer_mode == "text" and self.reader.unfinished(said):
                read = AnswerRead(None, "")
        if read.value is not None:
            read = self.task.kind.in_row(read.value, inputs, self.task.text)
        if read.value is not None:
            return Prediction(read.value, "ok", call=call_record(asked))
        # Escapes of JSON may have become unpaired surrogates when they were read.
        error = sendable(self._why(answer, read.why or ""))
        return Prediction(None, "off_label", error=error, call=call_record(asked))

    @cached_property
    def reader(self) -> AnswerReader:
        """Reads values of the task type, in the words of this prompt."""
        return self.task.kind.reader(self.answers, self.words)

    def _why(self, answer: Answer, why: str) -> str:
        if self.answer_mode in ("walk", "first", "letters"):
            if not answer.choices:
                return (
                    f"the endpoint gave no log-probabilities, and {why}. "
                    "Set answer.method: text, or use an endpoint that gives them"
                )
            return (
                f"no label is among the {len(answer.choices[0])} likeliest first tokens "
                f"({', '.join(repr(token) for token, _ in answer.choices[0][:3])}, ...), and {why}. "
                "Say in the prompt that the answer is a label and nothing else"
            )
        if answer.finish_reason == "length":
            what = with_article(self.task.kind.value_name)
            return (
                f"the answer was cut by max_tokens ({self.spec.max_tokens}) before {what} could be read. "
                "Raise decoding.max_tokens; reasoning models want about 2000"
            )
        return why

    def _fill(self, source: str, inputs: Mapping[str, Any]) -> str:
        kind = self.task.kind
        return compiled(source).fill(inputs, kind.parts, self.words or kind.parts, kind.descriptions)

    @cached_property
    def extras(self) -> dict[str, Any]:
        """The fields of a request beside its text."""
        spec = self.spec
        settings = {"max_tokens": spec.max_tokens, **spec.decoding.model_dump(exclude={"max_tokens"})}
        extras = {name: value for name, value in settings.items() if value is not None}
        if self.answer_mode == "json":
            extras["response_format"] = spec.response_format
        elif self.answer_mode != "text" and self.chat:
            extras |= {"logprobs": True, "top_logprobs": TOP_CHOICES}
        elif self.answer_mode != "text":
            hosted = spec.endpoint is not None and spec.endpoint.provider in ("openai", "azure")
            extras["logprobs"] = TOP_CHOICES_HOSTED_COMPLETION if hosted else TOP_CHOICES
        elif not self.chat:
            kind = self.task.kind
            extras["stop"] = [AFTER_LONG_ANSWER if kind.several_lines else kind.completion_stop]
        return extras


def example_tokens(examples: Sequence[FewShotExample]) -> int:
    """The most tokens that examples can take."""
    return sum(most_tokens(example.user) + most_tokens(example.answer) for example in examples)


def _gap(text: str) -> str:
    return "" if text[-1:].isspace() else " "


def _first_line(text: str) -> str:
    said = spoken(text)
    return said.splitlines()[0] if said else ""
