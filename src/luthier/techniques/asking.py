"""One row asked and read: what is sent for it, and what its answers mean."""

from __future__ import annotations

import contextlib
import math
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any, Literal, TypeAlias

from luthier.errors import EndpointError, Partial
from luthier.evaluation.deciding import Objective, best_label
from luthier.evaluation.records import Prediction
from luthier.providers.exchange import Answer, Request
from luthier.providers.redaction import sendable
from luthier.providers.tokens import most_tokens
from luthier.spec import Conversation
from luthier.tasks.answers import JSON_KEY, LabelReader, Read, answer_schema
from luthier.tasks.task import Rows, Task, is_blank
from luthier.tasks.thoughts import spoken
from luthier.techniques.prompt.examples import same_text
from luthier.techniques.prompt.template import Template, UnrenderedRow
from luthier.techniques.prompt.walk import LabelScores, walk

__all__ = [
    "Asking",
    "Shown",
    "Way",
    "calibrated",
    "calibration_answers",
    "facts_of",
    "leaning_of",
    "letters_for",
    "shown_tokens",
    "unanswered",
]

Way: TypeAlias = Literal["text", "json", "walk", "first", "letters"]
"""How labels are read: written out; as JSON; walked token by token; from the first token; from a letter."""

BETWEEN_EXAMPLES = "\n\n"


@dataclass(frozen=True, slots=True)
class Shown:
    """A few-shot example as it is sent."""

    user: str
    answer: str
    key: str


@dataclass(frozen=True)
class Asking:
    """Everything that is the same for all rows of one fitted prompt.

    Attributes:
        task: the task.
        way: how labels are read.
        template: of the user turn, or of the text to complete.
        system: template of the system turn.
        words: a word per label, in the task's order.
        settings: decoding settings as they are sent.
        top: likeliest tokens to ask for, where tokens are compared.
        chat: whether turns are sent, or one text to complete.
        examples: few-shot examples, in order.
        leaning: see `leaning_of`; measured on the calibration rows, in the task's order.
        objective: what the label is chosen to be best at, where there are probabilities.
        cuts: bounds between the labels for objective `qwk`, fitted on the calibration rows.
    """

    task: Task
    way: Way
    template: Template
    system: Template | None
    words: tuple[str, ...]
    settings: Mapping[str, Any]
    top: int
    chat: bool
    examples: tuple[Shown, ...] = ()
    leaning: tuple[float, ...] | None = None
    objective: Objective | None = None
    cuts: tuple[float, ...] | None = None

    @property
    def answers(self) -> tuple[str, ...]:
        """What the model is to answer for each label, in the task's order."""
        return letters_for(self.words) if self.way == "letters" else self.words

    def shown(self, inputs: Mapping[str, Any], label: str) -> Shown:
        """A training row as an example.

        Raises:
            UnrenderedRow: the template cannot be filled with it.
        """
        return Shown(
            user=self._fill(self.template, inputs),
            answer=self.answers[self.task.position(label)],
            key=same_text(inputs.get(self.task.text)),
        )

    def request(self, inputs: Mapping[str, Any], begun: str = "", examples: Sequence[Shown] | None = None) -> Request:
        """What is sent for a row.

        An example with the row's own text is left out, so that overlapping tables are not answered by copying.

        Args:
            inputs: the row.
            begun: what the answer already holds; completion style only.
            examples: shown for this row, in order; those of all rows when absent.

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
        turns.append({"role": "user", "content": user + (self.letter_key() if self.way == "letters" else "")})
        return Request("chat", {"messages": turns, **self._extras()})

    def requests(self, rows: Rows, examples: Sequence[Shown] | None = None) -> list[Request]:
        """The first request of every row that is sent at all."""
        found: list[Request] = []
        for inputs in rows.inputs:
            if not is_blank(inputs.get(self.task.text)):
                with contextlib.suppress(UnrenderedRow):
                    found.append(self.request(inputs, examples=examples))
        return found

    def letter_key(self) -> str:
        """What is added to the last user turn when labels are asked as letters."""
        lines = [f"{letter} = {word}" for letter, word in zip(self.answers, self.words, strict=True)]
        return "\n\nAnswer with one letter:\n" + "\n".join(lines)

    def row(self, inputs: Mapping[str, Any], examples: Sequence[Shown] | None = None) -> Conversation[Prediction]:
        """Asks for one row and reads the answers; never raises for what a row or a model does.

        Args:
            inputs: the row.
            examples: shown for this row, in order; those of all rows when absent.
        """
        if is_blank(inputs.get(self.task.text)):
            return Prediction(label=None, state="empty", spent_usd=0.0)
        try:
            request = self.request(inputs, examples=examples)
        except UnrenderedRow as fault:
            return Prediction(label=None, state="failed", error=str(fault), spent_usd=0.0)
        answer = (yield [request])[0]
        asked = [answer]
        broken = unanswered(asked)
        if broken is not None:
            return broken
        if self.way in ("text", "json"):
            return self._from_text(asked)
        steps = walk(self.answers, follow=self.way == "walk")
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

    def _from_scores(self, scores: LabelScores | None, asked: Sequence[Answer]) -> Prediction:
        if scores is None:
            return self._from_text(asked)
        probabilities = calibrated(scores.logprobs, self.leaning)
        best = best_label(self.task, probabilities, self.objective, self.cuts)
        return Prediction(
            label=self.task.labels[best],
            state="ok",
            probabilities=probabilities,
            censored=scores.censored,
            **facts_of(asked),
        )

    def _from_text(self, asked: Sequence[Answer]) -> Prediction:
        answer = asked[0]
        cut = answer.finish_reason == "length"
        if self.way == "json":
            read = self.reader.json(answer.text, cut=cut)
        else:
            # A model that continues a text goes on to the next one: its answer ends with its first line.
            said = answer.text if self.chat else _first_line(answer.text)
            cut = cut and (self.chat or "\n" not in answer.text.strip())
            read = self.reader.text(said, cut=cut)
            if cut and self.way == "text" and self.reader.unfinished(said):
                read = Read(None, "")
        if read.label is not None:
            return Prediction(label=read.label, state="ok", **facts_of(asked))
        # What an answer spells as JSON's own escapes becomes half a pair only when it is read.
        error = sendable(self._why(answer, read.why or ""))
        return Prediction(label=None, state="off_label", error=error, **facts_of(asked))

    @cached_property
    def reader(self) -> LabelReader:
        """Reads words and labels; where a label is another label's word, the word counts."""
        names = dict(zip(self.answers, self.task.labels, strict=True))
        for said in (self.words, self.task.labels):
            taken = {name.casefold() for name in names}
            names |= {n: label for n, label in zip(said, self.task.labels, strict=True) if n.casefold() not in taken}
        return LabelReader(names)

    def _why(self, answer: Answer, why: str) -> str:
        if self.way in ("walk", "first", "letters"):
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
        if self.way == "json":
            extras["response_format"] = json_format(self.words)
        elif self.way != "text":
            extras |= {"logprobs": True, "top_logprobs": self.top} if self.chat else {"logprobs": self.top}
        elif not self.chat:
            extras["stop"] = [BETWEEN_EXAMPLES]
        return extras


def json_format(words: Sequence[str]) -> dict[str, Any]:
    """The `response_format` that has a model write one of these words as JSON."""
    return {
        "type": "json_schema",
        "json_schema": {"name": JSON_KEY, "strict": True, "schema": answer_schema(words)},
    }


def shown_tokens(examples: Sequence[Shown]) -> int:
    """Tokens that examples take at most."""
    return sum(most_tokens(example.user) + most_tokens(example.answer) for example in examples)


def letters_for(words: Sequence[str]) -> tuple[str, ...]:
    """A, B, C, ... for as many words."""
    return tuple(chr(ord("A") + i) for i in range(len(words)))


def calibrated(logprobs: Sequence[float], leaning: Sequence[float] | None) -> tuple[float, ...]:
    """Probabilities, after the model's bias towards some labels is taken away.

    Examples:
        >>> [round(p, 2) for p in calibrated([math.log(0.8), math.log(0.2)], [math.log(0.8), math.log(0.2)])]
        [0.5, 0.5]
    """
    scores = [value - (leaning[i] if leaning is not None else 0.0) for i, value in enumerate(logprobs)]
    top = max(scores)
    weights = [math.exp(score - top) for score in scores]
    total = math.fsum(weights)
    return tuple(weight / total for weight in weights)


def leaning_of(rows: Sequence[Sequence[float]]) -> tuple[float, ...]:
    """How far a model is biased towards each label: the logarithm of its mean probability over the rows.

    The mean is taken of probabilities, not of logarithms: a sure model gives a rare label 1e-8 on nearly
    every row, and the mean of those logarithms would lift that label above all others.

    Examples:
        >>> [round(math.exp(value), 2) for value in leaning_of([(0.99, 0.01), (0.2, 0.8)])]
        [0.59, 0.41]
    """
    least = sys.float_info.min
    return tuple(math.log(max(math.fsum(shares) / len(rows), least)) for shares in zip(*rows, strict=True))


def calibration_answers(predictions: Sequence[Prediction], name: str, cure: str) -> dict[int, tuple[float, ...]]:
    """The probabilities of the rows a spec is calibrated on, by their position.

    Args:
        predictions: of those rows.
        name: of the spec.
        cure: what to do where the endpoint gave too few.

    Raises:
        Partial: some rows have no answer for a reason that may pass.
        EndpointError: fewer than half of the rows got probabilities.
    """
    got = {i: found.probabilities for i, found in enumerate(predictions) if found.probabilities is not None}
    waiting = sum(found.transient for found in predictions)
    first = next((found.error for found in predictions if found.error), None)
    if waiting:
        raise Partial(
            f"spec {name!r}: {waiting} of {len(predictions)} calibration rows have no answer yet "
            f"({first}). Run the same command again; answers so far are kept."
        )
    if 2 * len(got) < len(predictions):
        raise EndpointError(
            f"spec {name!r}: only {len(got)} of {len(predictions)} calibration rows got probabilities"
            f"{f' ({first})' if first else ''}. {cure}"
        )
    return got


def _gap(text: str) -> str:
    return "" if text[-1:].isspace() else " "


def _first_line(text: str) -> str:
    said = spoken(text)
    return said.splitlines()[0] if said else ""


def unanswered(answers: Sequence[Answer], asked: Sequence[Answer] | None = None) -> Prediction | None:
    """The prediction of a row one of whose answers cannot be read, `None` if all can."""
    facts = facts_of(answers if asked is None else asked)
    for answer in answers:
        if answer.failure == "content":
            return Prediction(label=None, state="refused", error=answer.error or "the service refused it", **facts)
        if answer.failure is not None:
            # What stops a whole run (quota, key, budget) says nothing about the row: it may be asked again.
            again = answer.failure != "permanent"
            error = answer.error or f"no answer ({answer.failure})"
            return Prediction(label=None, state="failed", error=error, transient=again, **facts)
        if answer.refusal:
            return Prediction(label=None, state="refused", error=answer.refusal, **facts)
        if answer.finish_reason == "content_filter":
            return Prediction(label=None, state="refused", error=answer.error or "withheld by the service", **facts)
    return None


def facts_of(asked: Sequence[Answer]) -> dict[str, Any]:
    """Cost, time and tokens of a row's calls, as a prediction keeps them."""
    answered = [answer for answer in asked if answer.failure is None]
    costs = [answer.cost_usd for answer in asked if answer.failure is None or answer.cost_usd is not None]
    latencies = [answer.latency_seconds for answer in asked if answer.latency_seconds is not None]
    paid_now = [answer.cost_usd for answer in answered if not answer.from_journal]
    return {
        "raw": asked[0].text if answered else None,
        "cost_usd": _total(costs) if costs else None,
        "spent_usd": _total(paid_now),
        "latency_seconds": math.fsum(latencies) if latencies else None,
        "input_tokens": sum(answer.usage.input_tokens for answer in asked),
        "output_tokens": sum(answer.usage.output_tokens for answer in asked),
        "from_journal": all(answer.from_journal for answer in asked),
        "cost_estimated": any(answer.usage.estimated for answer in answered),
    }


def _total(costs: Sequence[float | None]) -> float | None:
    known = [cost for cost in costs if cost is not None]
    return math.fsum(known) if len(known) == len(costs) else None
