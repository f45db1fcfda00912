"""Reads the body of an answer: the text, the log-probabilities or the vector, and the token counts."""

from __future__ import annotations

import base64
import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from luthier.providers.exchange import Answer, Operation, Usage
from luthier.providers.redaction import sendable
from luthier.replies.counts import read_usage
from luthier.replies.finishes import Finish, finish_of
from luthier.replies.likeliest import choices_of

__all__ = ["ReplyPart", "Unreadable", "read_answer", "read_call"]

EXPECTED: dict[Operation, str] = {
    "chat": "choices[0].message.content",
    "completion": "choices[0].text",
    "embedding": "data[0].embedding",
    "decision": "answers[0] with probabilities from 0 to 1",
}

SPOKEN_PARTS = (None, "text", "output_text")

ROUNDING = 1e-6
"""By this much a probability may exceed 1."""

FINISHES: dict[Finish, str] = {"cut": "length", "refused": "content_filter"}
"""What an answer's `finish_reason` is then, however the service spells it."""

DECLINED = "The model declined to answer this question."
"""Decisions are refused without words."""


class Unreadable(ValueError):
    """The body is not an answer of the protocol; asking again may help."""


def read_answer(body: bytes, operation: Operation) -> Answer:
    """The answer in a body of status 200.

    Raises:
        Unreadable: the body is cut, is no JSON, or lacks what every answer has.
    """
    if operation == "embedding":
        (part,) = read_call(body, (1.0,))
        if isinstance(part, Unreadable):
            raise part
        return part.answer
    document = _document(body)
    try:
        if operation == "decision":
            return _decision(document)
        return _written(document, operation)
    except Unreadable:
        raise
    except (KeyError, IndexError, TypeError, ValueError, AttributeError, OverflowError) as error:
        raise Unreadable(_reported_error(document) or f"the body has no {EXPECTED[operation]}") from error


@dataclass(slots=True)
class ReplyPart:
    """The share of one request in the reply to an HTTP call that carried several.

    Attributes:
        answer: its own, with its share of the tokens.
        body: the reply it would have had alone.
    """

    answer: Answer
    body: bytes


def read_call(body: bytes, units: Sequence[float]) -> list[ReplyPart | Unreadable]:
    """The vectors in a body of status 200, in the order the texts were sent.

    An unusable vector (no numbers, not finite, all zeros) fails only its own text.

    Args:
        body: what came.
        units: lengths of the texts; the tokens are shared out by them, to the last one.

    Raises:
        Unreadable: it cannot be told which vector belongs to which text, or they differ in length.
    """
    document = _document(body)
    try:
        items = _in_order(document["data"], len(units))
        model, usage = _text_or_none(document.get("model")), read_usage(document.get("usage"))
    except (KeyError, TypeError, ValueError, AttributeError) as error:
        missing = f"the body does not have {len(units)} data[...].embedding, numbered from 0"
        raise Unreadable(_reported_error(document) or missing) from error
    vectors = [_vector(item.get("embedding")) for item in items]
    lengths = sorted({len(vector) // 4 for vector in vectors if isinstance(vector, bytes)})
    if len(lengths) > 1:
        raise Unreadable(f"vectors of different lengths in one answer: {', '.join(map(str, lengths))}")
    parts: list[ReplyPart | Unreadable] = []
    for item, vector, share in zip(items, vectors, _shares(usage.input_tokens, units), strict=True):
        if isinstance(vector, Unreadable):
            parts.append(vector)
            continue
        counted = None if usage.estimated else {"prompt_tokens": share}
        alone = {"data": [{**item, "index": 0}], "model": model, "usage": counted}
        own = Usage(input_tokens=share, estimated=usage.estimated)
        answer = Answer(embedding=vector, usage=own, model=model, status=200)
        parts.append(ReplyPart(answer, json.dumps(alone, separators=(",", ":")).encode()))
    return parts


def _in_order(items: Any, count: int) -> list[Mapping[str, Any]]:
    if not isinstance(items, list) or len(items) != count or not all(isinstance(item, Mapping) for item in items):
        raise TypeError("data")
    if all("index" not in item for item in items):
        return items
    placed = {item["index"]: item for item in items if type(item["index"]) is int}
    return [placed[index] for index in range(count)]


def _vector(given: Any) -> bytes | Unreadable:
    import numpy as np

    try:
        if isinstance(given, str):
            vector = np.frombuffer(base64.b64decode(given, validate=True), dtype="<f4")
        elif isinstance(given, list) and all(type(value) in (float, int) for value in given):
            # A server that does not know base64 writes decimal numbers.
            with np.errstate(over="ignore"):
                vector = np.array(given, dtype="<f4")
        else:
            return Unreadable("data[...].embedding is neither base64 nor a list of numbers")
    except (ValueError, OverflowError) as error:
        return Unreadable(f"data[...].embedding is no vector ({error})")
    if not np.isfinite(vector).all():
        return Unreadable("the vector has numbers that are not finite")
    if not vector.any():
        return Unreadable("the vector is empty or nothing but zeros")
    return vector.tobytes()


def _shares(tokens: int, units: Sequence[float]) -> Iterable[int]:
    whole, up_to, given = sum(units) or 1.0, 0.0, 0
    for length in units:
        up_to += length
        upper = round(tokens * up_to / whole)
        yield upper - given
        given = upper


def _document(body: bytes) -> Any:
    try:
        return json.loads(body)
    except (ValueError, RecursionError) as error:
        raise Unreadable(f"the body is no JSON ({error})") from error


def _written(document: Any, operation: Operation) -> Answer:
    choice = document["choices"][0]
    message = choice["message"] if operation == "chat" else {"content": choice["text"]}
    content = message.get("content")
    text, refusal = _content(content), _text_or_none(message.get("refusal")) or _refusal_in(content)
    if not isinstance(text, str):
        raise TypeError("text")
    finish, words = finish_of(choice)
    reported = _reported_error(document)
    if not refusal and finish != "refused" and (finish == "broken" or reported):
        raise Unreadable(reported or f"the service broke off ({sendable(words)})")
    counts = document.get("usage") or choice.get("usage")
    said = text.strip() or refusal or choice.get("logprobs") or message.get("tool_calls")
    if not said and finish != "refused" and _counts_nothing(counts):
        raise Unreadable("the answer is empty and counts no tokens")
    thoughts = message.get("reasoning_content") or message.get("reasoning")
    return Answer(
        text=sendable(text),
        refusal=refusal or None,
        finish_reason=FINISHES.get(finish) or _text_or_none(choice.get("finish_reason")),
        choices=choices_of(choice.get("logprobs")),
        usage=read_usage(counts, text + (thoughts if isinstance(thoughts, str) else "")),
        model=_text_or_none(document.get("model")),
        status=200,
        error=f"withheld by the service ({sendable(words)})" if finish == "refused" and not refusal else None,
    )


def _counts_nothing(counts: Any) -> bool:
    if not isinstance(counts, Mapping) or not counts:
        return False
    usage = read_usage(counts)
    return not usage.input_tokens and not usage.output_tokens


def _decision(document: Any) -> Answer:
    (answer,) = document["answers"]
    decided: list[tuple[str, float]] = []
    if answer["type"] == "predicate":
        likely = _probability(answer["probability"])
        decided = [("true", likely), ("false", 1.0 - likely)]
    elif answer["type"] in ("choice", "score"):
        name = "value" if answer["type"] == "choice" else "label"
        decided = [(_label(each[name]), _probability(each["probability"])) for each in answer["probabilities"]]
    elif answer["type"] != "refusal":
        raise TypeError("type")
    if len(dict(decided)) != len(decided) or bool(decided) == (answer["type"] == "refusal"):
        raise TypeError("probabilities")
    return Answer(
        refusal=None if decided else DECLINED,
        decided=tuple(decided),
        usage=read_usage(document.get("usage")),
        model=_text_or_none(document.get("model")),
        status=200,
    )


def _label(value: Any) -> str:
    # Values of a choice may be true and false, which JSON and YAML spell small.
    if isinstance(value, bool):
        return "true" if value else "false"
    if not isinstance(value, str):
        raise TypeError("label")
    return sendable(value)


def _probability(value: Any) -> float:
    if isinstance(value, bool) or not isinstance(value, int | float) or not -ROUNDING <= value <= 1.0 + ROUNDING:
        raise TypeError("probability")
    return min(1.0, max(0.0, float(value)))


def _text_or_none(value: Any) -> str | None:
    return sendable(value) if isinstance(value, str) else None


def _content(content: Any) -> Any:
    if content is None:
        return ""
    if isinstance(content, list):
        # Thoughts may come as parts of their own, of type thinking or reasoning.
        return "".join(part.get("text") or "" for part in content if _is_part(part, *SPOKEN_PARTS))
    return content


def _refusal_in(content: Any) -> str | None:
    parts = content if isinstance(content, list) else ()
    return next((_text_or_none(part.get("refusal")) for part in parts if _is_part(part, "refusal")), None)


def _is_part(part: Any, *types: str | None) -> bool:
    return isinstance(part, Mapping) and part.get("type") in types


def _reported_error(document: Any) -> str | None:
    # Some gateways answer 200 with an error inside.
    error = document.get("error") if isinstance(document, Mapping) else None
    if isinstance(error, Mapping):
        error = error.get("message")
    return f"status 200 with an error: {error}" if isinstance(error, str) and error else None
