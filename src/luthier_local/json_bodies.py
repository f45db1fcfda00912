"""JSON bodies in and out."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

from aiohttp import web

from luthier_local.api_errors import ApiError

__all__ = ["characters_in", "decode_body", "decode_json", "json_response"]


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
