"""Estimates how many tokens a request takes, for limits and budgets before the answer is known."""

from __future__ import annotations

import json
import math
import re
from dataclasses import replace
from typing import Any

from luthier.providers.endpoint import Endpoint
from luthier.providers.exchange import Request, Usage

__all__ = ["TokenGuess", "least_input_tokens", "most_input_tokens", "most_tokens", "text_units", "texts_of"]

UNITS_PER_TOKEN = 4.0
PRIOR_TOKENS = 50.0
MOST_TOKENS_A_UNIT = 0.5
MOST_OF_A_GUESS = MOST_TOKENS_A_UNIT * UNITS_PER_TOKEN
PRIOR_ANSWERS = 4.0
UNBOUNDED_OUTPUT = 256.0
PER_MESSAGE = 4.0

LONGEST_TOKEN = 12.0
"""Characters of the longest tokens that a text could be made of throughout."""

MOST_FOR_TURNS = 8
MOST_FOR_A_CALL = 64
"""Tokens that a turn and a call have beyond their text: marks, roles, a template's own system turn."""

_WORD = re.compile(rb" ?[A-Za-z]+")

WITHOUT_OUTPUT = {"embedding", "decision"}
"""Operations that write nothing: a vector has no tokens, and a decision next to none."""


def text_units(text: str) -> float:
    """Length of a text in quarters of a token: a Latin letter is 1, an accented one 2.5, a Chinese one 4.

    Bytes beyond one per character tell scripts apart well enough and cost nothing to count.

    Examples:
        >>> text_units("word"), text_units("語")
        (4.0, 4.0)
    """
    if text.isascii():
        return float(len(text))
    extra = len(text.encode("utf-8", "surrogatepass")) - len(text)
    return len(text) + 1.5 * extra


def most_tokens(text: str) -> int:
    """Tokens that no tokenizer in use exceeds on texts people write.

    A word of Latin letters is at most a token and another for every second letter; anything else at most a token a
    byte, which is the bound of byte-level tokenizers.

    Examples:
        >>> most_tokens("a good place"), most_tokens("12:30"), most_tokens("語")
        (8, 5, 3)
    """
    data = text.encode("utf-8", "surrogatepass")
    rest, words = _WORD.subn(b"", data)
    return math.ceil(len(rest) + words + (len(data) - len(rest) - words) / 2)


def least_input_tokens(request: Request) -> int:
    """Tokens that a question has at least."""
    return max(1, math.floor(sum(map(len, texts_of(request))) / LONGEST_TOKEN))


def most_input_tokens(request: Request) -> int:
    """Tokens that a question has at most: its texts, the marks between turns and the schema of its answer."""
    turns = request.body.get("messages", ())
    most = sum(map(most_tokens, texts_of(request))) + MOST_FOR_TURNS * (1 + len(turns))
    if request.operation in ("chat", "decision"):
        most += MOST_FOR_A_CALL
    schema = request.body.get("response_format")
    return most if schema is None else most + most_tokens(json.dumps(schema, default=str))


def texts_of(request: Request) -> list[str]:
    """All the texts that a request carries."""
    body = request.body
    if request.operation == "decision":
        return [*_leaves(body.get("input")), *_leaves(body.get("questions"))]
    return _leaves(body.get("messages", body.get("prompt", body.get("input"))))


def _leaves(value: Any) -> list[str]:
    if isinstance(value, str):
        return [value]
    if isinstance(value, dict):
        return [text for item in value.values() for text in _leaves(item)]
    if isinstance(value, list | tuple):
        return [text for item in value for text in _leaves(item)]
    return []


class TokenGuess:
    """Learns from the usage of answers how many tokens a text has, and how long answers are."""

    def __init__(self) -> None:
        self._units = PRIOR_TOKENS * UNITS_PER_TOKEN
        self._tokens = PRIOR_TOKENS
        self._densest = 0.0
        self._outputs = 0.0
        self._answers = 0.0

    def tokens_of(self, units: float) -> float:
        """Estimated tokens of so many units."""
        return max(1.0, units * self._tokens / self._units)

    def at_most(self, units: float) -> float:
        """Upper estimate of the tokens of so many units: by the densest question so far, or half a token a unit."""
        return max(1.0, units * (self._densest or MOST_TOKENS_A_UNIT))

    def largest_output(self, request: Request, endpoint: Endpoint | None = None) -> float | None:
        """Tokens the answer may have at most, `None` where the request sets no bound.

        The `max_completion_tokens` of an endpoint replace the bound of a chat.
        """
        if request.operation in WITHOUT_OUTPUT:
            return 0.0
        most = request.body.get("max_tokens", request.body.get("max_completion_tokens"))
        if request.operation == "completion":
            most = 16 if most is None else most
        elif endpoint is not None:
            most = endpoint.extra_body.get("max_completion_tokens", most)
        count = request.body.get("n") or 1
        return float(most * count) if isinstance(most, int) and isinstance(count, int) else None

    def likely_output(self, request: Request, endpoint: Endpoint | None = None) -> float:
        """Tokens the answer will probably have; see `largest_output`."""
        most = self.largest_output(request, endpoint)
        first = UNBOUNDED_OUTPUT if most is None else most
        mean = (self._outputs + PRIOR_ANSWERS * first) / (self._answers + PRIOR_ANSWERS)
        return mean if most is None else min(most, mean)

    def completed(self, usage: Usage, units: float) -> Usage:
        """The usage of an answer, with an estimate where the service did not count the question."""
        if usage.input_tokens or not usage.estimated:
            return usage
        return replace(usage, input_tokens=math.ceil(self.tokens_of(units)))

    def dearest(self, usage: Usage, units: float) -> Usage:
        """The usage with the most tokens there can have been in place of estimates."""
        if not usage.estimated:
            return usage
        most = usage.input_tokens or math.ceil(self.at_most(units))
        return replace(usage, input_tokens=most, output_tokens=math.ceil(usage.output_tokens * MOST_OF_A_GUESS))

    def learn(self, units: float, usage: Usage) -> None:
        """Learns from the true counts of an answer; estimates teach nothing."""
        if usage.input_tokens and not usage.estimated:
            self._units += units
            self._densest = max(self._densest, usage.input_tokens / max(1.0, units))
            self._tokens += usage.input_tokens
            self._outputs += usage.output_tokens
            self._answers += 1


def request_units(request: Request) -> float:
    """Length of everything the model reads, in quarters of a token."""
    body = request.body
    if request.operation == "decision":
        # A question's texts lie at several depths: instructions, and labels with their descriptions.
        return _units(body.get("input")) + sum(map(text_units, _leaves(body.get("questions"))))
    asked = _units(body.get("messages", body.get("prompt", body.get("input"))))
    schema = body.get("response_format")
    return asked if schema is None else asked + text_units(json.dumps(schema, default=str))


def _units(value: Any) -> float:
    if isinstance(value, str):
        return text_units(value)
    if isinstance(value, dict):
        return _units(value.get("content", value.get("text"))) + PER_MESSAGE * UNITS_PER_TOKEN
    if isinstance(value, list | tuple):
        return sum(_units(item) for item in value)
    return 0.0
