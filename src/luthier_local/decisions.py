"""`/v1/decisions`: typed questions about an input, answered with a probability per label.

OpenAI serves it with a dedicated model. Here every question becomes a user's turn, and the labels are weighed
by the served model's next-token scores where its answer begins (`label_probabilities.py`).
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Literal

from luthier_local.api_errors import ApiError, invalid_value, wrong_route
from luthier_local.backend import Backend
from luthier_local.json_bodies import refuse_unknown
from luthier_local.label_probabilities import LabelProbabilities, label_probabilities
from luthier_local.model_card import ModelCard

__all__ = [
    "DecisionRequest",
    "Option",
    "Question",
    "decide",
    "decision_body",
    "read_decision_body",
    "refused_questions",
]

MOST_QUESTIONS = 400
MOST_CHOICES = 255
MOST_LEVELS = 10
FIELDS = ("input", "model", "questions", "prompt_cache_key", "prompt_cache_options", "safety_identifier")

Kind = Literal["predicate", "choice", "score"]
OPTIONS_OF: dict[str, tuple[str, str, int] | None] = {
    "predicate": None,
    "choice": ("choices", "value", MOST_CHOICES),
    "score": ("levels", "label", MOST_LEVELS),
}
"""Where a question of each kind lists its options, the field of an option that names it, and how many there may be."""

SPEAKERS = {"user": "User", "developer": "System", "system": "System", "assistant": "Assistant"}


@dataclass(frozen=True, slots=True)
class Option:
    """One possible answer: a choice's typed value or a level's label, and its description."""

    value: str | bool
    description: str | None = None


@dataclass(frozen=True, slots=True)
class Question:
    """One question of a request, checked."""

    kind: Kind
    name: str | None
    instructions: str
    options: tuple[Option, ...]
    source: str
    """The question of the request, in JSON."""

    @property
    def words(self) -> tuple[str, ...]:
        """The options as the prompt spells them: plainly, or as JSON where plain texts would be ambiguous."""
        values = [option.value for option in self.options]
        plain = tuple(value.strip() if isinstance(value, str) else json.dumps(value) for value in values)
        if len(set(plain)) == len(plain) and not any(set(word) & set(",;\n\r") or not word for word in plain):
            return plain
        return tuple(json.dumps(value, ensure_ascii=False) for value in values)

    def prompt(self, subject: str) -> str:
        """The prompt of this question, a user's turn."""
        words = self.words
        lines = [subject, "", f"{'Statement' if self.kind == 'predicate' else 'Question'}: {self.instructions}"]
        lines += [
            f"{word}: {option.description}"
            for word, option in zip(words, self.options, strict=True)
            if option.description
        ]
        lines += [f"Options: {', '.join(words)}", "Answer:"]
        return "\n".join(lines)


@dataclass(frozen=True, slots=True)
class DecisionRequest:
    """A request, checked."""

    subject: str
    """The input, as one text."""
    questions: tuple[Question, ...]
    trained: bool = False
    """Whether the model was fine-tuned here: trained on bare texts, it would be misled by a question."""

    def prompt(self, question: Question) -> str:
        """The prompt of one of the questions."""
        return self.subject if self.trained else question.prompt(self.subject)


PREDICATE = (Option(True), Option(False))


def read_decision_body(body: dict[str, Any], card: ModelCard) -> DecisionRequest:
    """Reads the body of `decisions`.

    Raises:
        ApiError: what OpenAI would refuse: 400 with `param` and, for a wrong body, `code`.
    """
    if not (card.chat or card.completions):
        raise wrong_route("This model only embeds; it is not supported in the v1/decisions endpoint.", 400)
    refuse_unknown(body, FIELDS)
    subject = _subject(_required(body, "input"))
    given = _list(_required(body, "questions"), "questions", 1, MOST_QUESTIONS)
    questions = tuple(_question(item, f"questions[{i}]") for i, item in enumerate(given))
    names = [question.name for question in questions if question.name is not None]
    for i, question in enumerate(questions):
        if names.count(question.name or "") > 1:
            raise _duplicate(f"questions[{i}].name", f"the name {question.name!r} is given to more than one question")
    return DecisionRequest(subject, questions, trained=card.backend == "tuned")


def refused_questions(questions: Sequence[Question], contains: str | None) -> list[bool]:
    """Which questions a scripted refusal applies to: those that hold the rule's text, or all if none does."""
    named = [contains is not None and contains in question.source for question in questions]
    return named if any(named) else [True] * len(named)


async def decide(backend: Backend, asked: DecisionRequest, refused: Sequence[bool]) -> list[LabelProbabilities | None]:
    """The probabilities of every question's options; `None` for a refused question."""
    # One after the other: a model answers one request at a time, and 400 prompts need not wait in memory.
    return [
        None if no else await _weigh(backend, asked.prompt(question), question.words, f"questions[{i}]")
        for i, (question, no) in enumerate(zip(asked.questions, refused, strict=True))
    ]


async def _weigh(backend: Backend, prompt: str, words: Sequence[str], where: str) -> LabelProbabilities:
    from luthier_local.jobs.tuned_backend import TunedBackend

    if not isinstance(backend, TunedBackend):
        return await label_probabilities(backend, prompt, words)
    # It knows the probability of each whole answer; by first tokens, answers that begin alike would be mixed up.
    shares = backend.weigh(prompt, words)
    if shares is None:
        raise invalid_value(where, f"this model was trained on other answers: {backend.shown_answers()}.")
    return shares


def decision_body(
    model: str, questions: Sequence[Question], found: Sequence[LabelProbabilities | None]
) -> dict[str, Any]:
    """The body of `decisions`."""
    used = [shares for shares in found if shares is not None]
    read = sum(shares.prompt_tokens for shares in used)
    return {
        "model": model,
        "answers": [_answer(question, shares) for question, shares in zip(questions, found, strict=True)],
        "usage": {
            "input_tokens": read,
            "input_tokens_details": {"cached_tokens": 0, "cache_write_tokens": 0},
            # Scores are read off the prompt; nothing is written.
            "output_tokens": 0,
            "output_tokens_details": {"reasoning_tokens": 0},
            "total_tokens": read,
        },
    }


def _answer(question: Question, shares: LabelProbabilities | None) -> dict[str, Any]:
    if shares is None:
        return {"type": "refusal", "name": question.name}
    head = {"type": question.kind, "name": question.name}
    options, probabilities = question.options, shares.probabilities
    if question.kind == "predicate":
        return {**head, "probability": probabilities[0]}
    best = max(range(len(options)), key=probabilities.__getitem__)
    answer: dict[str, Any]
    if question.kind == "choice":
        answer = {"choice": options[best].value}
        named: list[dict[str, Any]] = [{"value": option.value} for option in options]
    else:
        answer = {"score": sum(value * p for value, p in enumerate(probabilities))}
        named = [{"label": option.value, "value": value} for value, option in enumerate(options)]
    listed = [{**name, "probability": p} for name, p in zip(named, probabilities, strict=True)]
    return {**head, **answer, "confidence": probabilities[best], "probabilities": listed}


# Questions


def _question(given: Any, where: str) -> Question:
    if not isinstance(given, dict):
        raise _wrong_type(where, "an object")
    kind = _required(given, "type", where)
    if kind not in OPTIONS_OF:
        raise invalid_value(f"{where}.type", f"expected 'predicate', 'choice' or 'score', got {kind!r}.")
    listed = OPTIONS_OF[kind]
    refuse_unknown(given, ("type", "name", "instructions", *(listed or ())[:1]), where)
    name = given.get("name")
    if name is not None and (not isinstance(name, str) or not name):
        raise _wrong_type(f"{where}.name", "a text that is not empty")
    instructions = _content(_required(given, "instructions", where), f"{where}.instructions")
    options = PREDICATE if listed is None else _options(given, where, *listed)
    return Question(kind, name, instructions, options, json.dumps(given, ensure_ascii=False))


def _options(given: dict[str, Any], where: str, field: str, key: str, most: int) -> tuple[Option, ...]:
    options: list[Option] = []
    for i, item in enumerate(_list(_required(given, field, where), f"{where}.{field}", 2, most)):
        here = f"{where}.{field}[{i}]"
        if not isinstance(item, dict):
            raise _wrong_type(here, "an object")
        refuse_unknown(item, (key, "description"), here)
        value = _required(item, key, here)
        if not isinstance(value, str if key == "label" else str | bool):
            raise _wrong_type(f"{here}.{key}", "a text" if key == "label" else "a text or a boolean")
        if isinstance(value, str) and not value.strip():
            raise _empty(f"{here}.{key}")
        description = item.get("description")
        if description is not None and not isinstance(description, str):
            raise _wrong_type(f"{here}.description", "a text")
        if any(type(option.value) is type(value) and option.value == value for option in options):
            raise _duplicate(f"{here}.{key}", f"{value!r} is given more than once")
        options.append(Option(value, description))
    return tuple(options)


# The input


def _subject(given: Any) -> str:
    if isinstance(given, str):
        return _content(given, "input")
    if not isinstance(given, list):
        raise _wrong_type("input", "a text or a list of items")
    called: set[Any] = set()
    turns: list[tuple[str, str]] = []
    for i, item in enumerate(_list(given, "input", 1)):
        if not isinstance(item, dict):
            raise _wrong_type(f"input[{i}]", "an object")
        turns.append(_turn(item, f"input[{i}]", called))
    if len(turns) == 1:
        return turns[0][1]
    return "\n".join(f"{who}: {said}" for who, said in turns)


def _turn(item: dict[str, Any], where: str, called: set[Any]) -> tuple[str, str]:
    kind = item.get("type", "message")
    if kind == "message":
        if item.get("role") not in SPEAKERS:
            raise invalid_value(f"{where}.role", "expected user, developer, system or assistant.")
        return SPEAKERS[item["role"]], _content(_required(item, "content", where), f"{where}.content")
    said = {"function_call": "arguments", "custom_tool_call": "input"}.get(kind)
    if said is not None:
        if not isinstance(item.get(said), str):
            raise _wrong_type(f"{where}.{said}", "a text")
        called.add(item.get("call_id"))
        return f"Call of {item.get('name')}", item[said]
    if kind in ("function_call_output", "custom_tool_call_output"):
        if item.get("call_id") not in called:
            raise invalid_value(f"{where}.call_id", f"no call before it has the id {item.get('call_id')!r}.")
        return "Result", _content(_required(item, "output", where), f"{where}.output")
    raise invalid_value(f"{where}.type", f"expected a message, a call or its output, got {kind!r}.")


def _content(given: Any, where: str) -> str:
    if isinstance(given, str):
        text = given
    elif isinstance(given, list):
        text = "\n".join(_part(part, f"{where}[{i}]") for i, part in enumerate(given))
    else:
        raise _wrong_type(where, "a text or a list of parts")
    if not text.strip():
        raise _empty(where)
    return text


def _part(part: Any, where: str) -> str:
    kind = part.get("type") if isinstance(part, dict) else None
    field = {"input_text": "text", "output_text": "text", "refusal": "refusal"}.get(str(kind))
    if field is not None and isinstance(part.get(field), str):
        return str(part[field])
    if kind == "input_json" and isinstance(part.get("data"), dict | list):
        return json.dumps(part["data"], ensure_ascii=False)
    raise invalid_value(where, "only parts of text and JSON are read here.")


# Refusals of bodies, in OpenAI's words and codes


def _required(given: dict[str, Any], name: str, where: str = "") -> Any:
    if given.get(name) is None:
        place = f"{where}.{name}" if where else name
        raise ApiError(400, f"Missing required parameter: '{place}'.", param=place, code="missing_required_parameter")
    return given[name]


def _list(given: Any, where: str, least: int, most: int | None = None) -> list[Any]:
    if not isinstance(given, list):
        raise _wrong_type(where, "a list")
    if len(given) < least:
        message = f"list too short: expected at least {least}, got {len(given)}."
        raise invalid_value(where, message, "array_below_min_length")
    if most is not None and len(given) > most:
        message = f"list too long: expected at most {most}, got {len(given)}."
        raise invalid_value(where, message, "array_above_max_length")
    return given


def _wrong_type(where: str, wanted: str) -> ApiError:
    return invalid_value(where, f"expected {wanted}.", "invalid_type")


def _empty(where: str) -> ApiError:
    return invalid_value(where, "it is empty.", "empty_string")


def _duplicate(where: str, message: str) -> ApiError:
    return invalid_value(where, message + ".", "duplicate_value")
