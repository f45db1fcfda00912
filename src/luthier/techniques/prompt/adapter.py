"""The requests of a row under a prompt, and how a prediction is read from their answers."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property, partial
from typing import Any, Literal, TypeAlias

from luthier.engine.report import call_record
from luthier.providers.exchange import Answer, Request
from luthier.providers.redaction import sendable
from luthier.providers.tokens import most_tokens
from luthier.spec import Conversation
from luthier.tasks.deciding import Objective, best_label
from luthier.tasks.prediction import Prediction
from luthier.tasks.spellings import same_text
from luthier.tasks.task import Rows, Task
from luthier.tasks.thoughts import spoken
from luthier.tasks.types import AnswerRead, AnswerReader, TaskType
from luthier.techniques.calibration import calibrated
from luthier.techniques.conversations import opening, unanswered
from luthier.techniques.prompt.template import Template
from luthier.techniques.prompt.token_walk import WalkScores, walk

__all__ = [
    "PromptAdapter",
    "FewShotExample",
    "AnswerMode",
    "letters_for",
    "example_tokens",
]

AnswerMode: TypeAlias = Literal["text", "json", "walk", "first", "letters"]
"""How labels are read: from text, from JSON, by a walk over tokens, from the first token, or from a letter."""

BETWEEN_EXAMPLES = "\n\n"


@dataclass(frozen=True, slots=True)
class FewShotExample:
    """A few-shot example as it is sent; `key` is its text without case and white space."""

    user: str
    answer: str
    key: str


@dataclass(frozen=True)
class PromptAdapter:
    """Writes requests and reads answers; the same for all rows of a fitted prompt.

    Attributes:
        task: the task.
        answer_mode: how labels are read.
        template: of the user turn, or of the text to complete.
        system: template of the system turn.
        words: a word per label, in the task's order.
        settings: decoding settings as they are sent.
        top: number of likeliest tokens to ask for, where tokens are compared.
        chat: whether turns are sent; otherwise one text to complete.
        examples: few-shot examples, in order.
        label_prior: logarithms, in the task's order; see `fit_label_prior`.
        objective: what the label is chosen for, where there are probabilities.
        thresholds: between ratings, for objective `qwk`.
    """

    task: Task
    answer_mode: AnswerMode
    template: Template
    system: Template | None
    words: tuple[str, ...]
    settings: Mapping[str, Any]
    top: int
    chat: bool
    examples: tuple[FewShotExample, ...] = ()
    label_prior: tuple[float, ...] | None = None
    objective: Objective | None = None
    thresholds: tuple[float, ...] | None = None

    @property
    def answers(self) -> tuple[str, ...]:
        """What the model answers with for each label, in the task's order."""
        return letters_for(self.words) if self.answer_mode == "letters" else self.words

    def example(self, inputs: Mapping[str, Any], label: Any) -> FewShotExample:
        """A training row as an example.

        Raises:
            UnrenderedRow: the template cannot be filled with it.
        """
        return FewShotExample(
            user=self._fill(self.template, inputs),
            answer=self.answers[self.task.position(label)] if self.answers else self.task.kind.written(label),
            key=same_text(inputs.get(self.task.text)),
        )

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
        key = same_text(inputs.get(self.task.text))
        given = self.examples if examples is None else examples
        examples = [example for example in given if example.key != key]
        user = self._fill(self.template, inputs)
        if not self.chat:
            filled = [example.user + _gap(example.user) + example.answer for example in examples]
            above = [] if self.system is None else [self._fill(self.system, inputs)]
            prompt = BETWEEN_EXAMPLES.join([*above, *filled, user]) + begun
            return Request("completion", {"prompt": prompt, **self._extras()})
        turns: list[dict[str, str]] = []
        if self.system is not None:
            turns.append({"role": "system", "content": self._fill(self.system, inputs)})
        for example in examples:
            turns.append({"role": "user", "content": example.user})
            turns.append({"role": "assistant", "content": example.answer})
        turns.append({"role": "user", "content": user + (self.letter_key() if self.answer_mode == "letters" else "")})
        return Request("chat", {"messages": turns, **self._extras()})

    def requests(self, rows: Rows, examples: Sequence[FewShotExample] | None = None) -> list[Request]:
        """The first request of every row that makes one."""
        found = (self.opening(inputs, examples) for inputs in rows.inputs)
        return [asked for asked in found if isinstance(asked, Request)]

    def opening(
        self, inputs: Mapping[str, Any], examples: Sequence[FewShotExample] | None = None
    ) -> Request | Prediction:
        """The first request of a row, or its prediction where nothing is sent."""
        return opening(inputs, self.task.text, partial(self.request, examples=examples))

    def letter_key(self) -> str:
        """The key from letters to labels, added to the last user turn."""
        lines = [f"{letter} = {word}" for letter, word in zip(self.answers, self.words, strict=True)]
        return "\n\nAnswer with one letter:\n" + "\n".join(lines)

    def row(
        self, inputs: Mapping[str, Any], examples: Sequence[FewShotExample] | None = None
    ) -> Conversation[Prediction]:
        """The conversation about one row; no row and no answer makes it raise.

        Args:
            inputs: the row.
            examples: for this row, in order; those of all rows when absent.
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
            return self._from_text(asked)
        steps = walk(self.answers, follow=self.answer_mode == "walk")
        next(steps)
        choices = [answer.choices[0] if answer.choices else ()]
        while True:
            try:
                texts = steps.send(choices)
            except StopIteration as end:
                return self._from_scores(end.value, asked)
            further = yield [self.request(inputs, text, examples) for text in texts]
            asked += further
            broken = unanswered(further, asked)
            if broken is not None:
                return broken
            choices = [answer.choices[0] if answer.choices else () for answer in further]

    def _from_scores(self, scores: WalkScores | None, asked: Sequence[Answer]) -> Prediction:
        if scores is None:
            return self._from_text(asked)
        probabilities = calibrated(scores.logprobs, self.label_prior)
        best = best_label(self.task, probabilities, self.objective, self.thresholds)
        call = replace(call_record(asked), censored=scores.censored)
        return Prediction(self.task.labels[best], "ok", probabilities, call=call)

    def _from_text(self, asked: Sequence[Answer]) -> Prediction:
        answer = asked[0]
        cut = answer.finish_reason == "length"
        if self.answer_mode == "json":
            read = self.reader.read_json(answer.text, cut=cut)
        else:
            # A model that continues a text goes on after its answer, which is the first line.
            said = answer.text if self.chat else _first_line(answer.text)
            cut = cut and (self.chat or "\n" not in answer.text.strip())
            read = self.reader.read(said, cut=cut)
            if cut and self.answer_mode == "text" and self.reader.unfinished(said):
                read = AnswerRead(None, "")
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
            return (
                f"the answer was cut by max_tokens ({self.settings.get('max_tokens')}) before a label could be read. "
                "Raise decoding.max_tokens; reasoning models want about 2000"
            )
        return why

    def _fill(self, template: Template, inputs: Mapping[str, Any]) -> str:
        return template.fill(inputs, self.task.labels, self.words)

    def _extras(self) -> dict[str, Any]:
        extras = dict(self.settings)
        if self.answer_mode == "json":
            extras["response_format"] = json_format(self.task.kind, self.words)
        elif self.answer_mode != "text":
            extras |= {"logprobs": True, "top_logprobs": self.top} if self.chat else {"logprobs": self.top}
        elif not self.chat:
            extras["stop"] = [BETWEEN_EXAMPLES]
        return extras


def json_format(kind: TaskType, words: Sequence[str]) -> dict[str, Any]:
    """The `response_format` for a value as JSON; of a closed set one of these words."""
    return {
        "type": "json_schema",
        "json_schema": {"name": kind.value_name, "strict": True, "schema": kind.answer_schema(words)},
    }


def example_tokens(examples: Sequence[FewShotExample]) -> int:
    """The most tokens that examples can take."""
    return sum(most_tokens(example.user) + most_tokens(example.answer) for example in examples)


def letters_for(words: Sequence[str]) -> tuple[str, ...]:
    """A, B, C, ..., one for each word."""
    return tuple(chr(ord("A") + i) for i in range(len(words)))


def _gap(text: str) -> str:
    return "" if text[-1:].isspace() else " "


def _first_line(text: str) -> str:
    said = spoken(text)
    return said.splitlines()[0] if said else ""
