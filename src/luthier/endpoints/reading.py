"""Reads the body of an answer: what the model wrote, how sure it was, what was counted."""

from __future__ import annotations

import json
import math
from collections.abc import Iterable, Mapping
from typing import Any

from luthier.endpoints.exchange import Answer, Operation, TokenChoices, Usage
from luthier.endpoints.redaction import sendable

__all__ = ["Unreadable", "read_answer", "read_usage"]

SENTINEL = -9998.0
"""Below this a service means minus infinity (OpenAI writes -9999.0)."""

MOST_TOKENS = 2**53
"""A larger count is a fault of the service, and more than the journal's columns take."""


class Unreadable(ValueError):
    """The body is not an answer of the protocol; asking again may help."""


def read_answer(body: bytes, operation: Operation) -> Answer:
    """The answer in a body of status 200.

    Raises:
        Unreadable: the body is cut, is no JSON, or lacks what every answer has.
    """
    try:
        document = json.loads(body)
    except (ValueError, RecursionError) as error:
        raise Unreadable(f"the body is no JSON ({error})") from error
    try:
        choice = document["choices"][0]
        if operation == "chat":
            message = choice["message"]
            text, refusal = _content(message.get("content")), message.get("refusal")
        else:
            text, refusal = choice["text"], None
        if not isinstance(text, str):
            raise TypeError("text")
        return Answer(
            text=sendable(text),
            refusal=_text_or_none(refusal) or None,
            finish_reason=_text_or_none(choice.get("finish_reason")),
            choices=_choices(choice.get("logprobs")),
            usage=read_usage(document.get("usage")),
            model=_text_or_none(document.get("model")),
            status=200,
        )
    except (KeyError, IndexError, TypeError, AttributeError, OverflowError) as error:
        message = _reported_error(document)
        what = "message.content" if operation == "chat" else "text"
        raise Unreadable(message or f"the body has no choices[0].{what}") from error


def read_usage(usage: Any) -> Usage:
    """Token counts as services spell them; what is missing or odd counts as 0."""
    if not isinstance(usage, Mapping):
        return Usage()
    details = usage.get("prompt_tokens_details") or usage.get("input_tokens_details")
    cached = details.get("cached_tokens") if isinstance(details, Mapping) else 0
    return Usage(
        input_tokens=_count(usage.get("prompt_tokens", usage.get("input_tokens"))),
        output_tokens=_count(usage.get("completion_tokens", usage.get("output_tokens"))),
        cached_input_tokens=_count(cached),
    )


def _count(value: Any) -> int:
    return value if isinstance(value, int) and 0 < value <= MOST_TOKENS else 0


def _text_or_none(value: Any) -> str | None:
    return sendable(value) if isinstance(value, str) else None


def _content(content: Any) -> Any:
    if content is None:
        return ""
    if isinstance(content, list):
        return "".join(part.get("text") or "" for part in content if isinstance(part, Mapping))
    return content


def _choices(logprobs: Any) -> tuple[TokenChoices, ...]:
    if not isinstance(logprobs, Mapping):
        return ()
    if isinstance(content := logprobs.get("content"), list):
        return tuple(_chat_position(position) for position in content)
    if isinstance(tops := logprobs.get("top_logprobs"), list):
        tokens, given = logprobs.get("tokens") or [], logprobs.get("token_logprobs") or []
        positions = []
        for place, top in enumerate(tops):
            likeliest = list((top or {}).items())
            if place < len(tokens) and place < len(given) and given[place] is not None and tokens[place] is not None:
                likeliest.append((tokens[place], given[place]))
            positions.append(_likeliest(likeliest))
        return tuple(positions)
    return ()


def _chat_position(position: Mapping[str, Any]) -> TokenChoices:
    choices = (*(position.get("top_logprobs") or ()), position)
    return _likeliest((choice["token"], choice["logprob"]) for choice in choices)


def _likeliest(choices: Iterable[tuple[str, float]]) -> TokenChoices:
    found: dict[str, float] = {}
    for given, logprob in choices:
        token = sendable(given)
        # Two tokens may spell the same text (bytes of one character): the likelier stands for both.
        if token not in found or logprob > found[token]:
            found[token] = logprob
    usable = [(token, float(value)) for token, value in found.items() if value > SENTINEL and math.isfinite(value)]
    usable.sort(key=lambda choice: -choice[1])
    return tuple(usable)


def _reported_error(document: Any) -> str | None:
    # Some gateways answer 200 with an error inside.
    error = document.get("error") if isinstance(document, Mapping) else None
    if isinstance(error, Mapping):
        error = error.get("message")
    return f"status 200 with an error: {error}" if isinstance(error, str) and error else None
