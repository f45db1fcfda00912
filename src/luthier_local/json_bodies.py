"""JSON bodies in and out, and the checks that several routes make of what is in them."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from typing import Any

from aiohttp import web

from luthier_local.api_errors import ApiError, invalid_value

__all__ = [
    "characters_in",
    "decode_body",
    "decode_json",
    "json_response",
    "read_seconds_kept",
    "read_whole",
    "refuse_unknown",
]


def json_response(body: Any, headers: Mapping[str, str] | None = None, status: int = 200) -> web.Response:
    """An answer in JSON."""
    text = json.dumps(body, ensure_ascii=False).encode("utf-8", "surrogatepass")
    return web.Response(body=text, status=status, headers=headers, content_type="application/json")


def decode_body(raw: bytes) -> dict[str, Any]:
    """The JSON object in a request's body, or the refusal OpenAI gives."""
    body = decode_json(raw)
    if not isinstance(body, dict):
        raise ApiError(400, "The body of your request must be a JSON object.")
    return body


def decode_json(raw: bytes) -> Any:
    """The value in a request's body, or the refusal OpenAI gives."""
    try:
        return json.loads(raw)
    except (ValueError, RecursionError):
        raise ApiError(400, "We could not parse the JSON body of your request.") from None


def characters_in(value: Any) -> int:
    """Characters of the texts in a prompt, messages or input, at any depth."""
    count = 0
    waiting = [value]
    # No recursion: what parses as JSON may be nested more deeply than Python calls functions.
    while waiting:
        value = waiting.pop()
        if isinstance(value, str):
            count += len(value)
        elif isinstance(value, dict):
            waiting.append(value.get("content", value.get("text")))
        elif isinstance(value, list):
            waiting += value
    return count


def refuse_unknown(given: Iterable[str], allowed: Iterable[str], where: str = "") -> None:
    """Refuses an object that has a field which is not allowed.

    Args:
        given: The object, or its fields' names.
        allowed: Names of the fields that are read.
        where: Path of the object in the body; nothing for the body itself.
    """
    for name in given:
        if name not in allowed:
            place = f"{where}.{name}" if where else name
            message = f"Unknown parameter: '{place}': expected one of {', '.join(sorted(allowed))}."
            raise ApiError(400, message, param=place, code="unknown_parameter")


def read_whole(
    value: Any, name: str, least: int | None = None, most: int | None = None, wanted: str = "a whole number"
) -> int | None:
    """A whole number within bounds, or `None` where none is given."""
    if value is None:
        return None
    if isinstance(value, bool) or not isinstance(value, int):
        raise invalid_value(name, f"expected {wanted}.", "invalid_type")
    bounds = f"at least {least}" if most is None else f"{least} to {most}"
    if least is not None and value < least:
        raise invalid_value(name, f"expected {bounds}, got {value}.", "integer_below_min_value")
    if most is not None and value > most:
        raise invalid_value(name, f"expected {bounds}, got {value}.", "integer_above_max_value")
    return value


def read_seconds_kept(given: Any, name: str) -> int:
    """After how many seconds a file is deleted."""
    if not isinstance(given, int) or not 3600 <= given <= 2_592_000:
        raise invalid_value(name, "expected 3600 (an hour) to 2592000 (30 days).")
    return given
