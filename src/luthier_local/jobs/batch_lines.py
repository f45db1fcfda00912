"""The input file of a batch: one request per line, checked as the service checks them."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any, NamedTuple

__all__ = ["MOST_LINES", "Fault", "Line", "fault", "plain_url", "read_lines"]

MOST_LINES = 50_000
_MOST_FAULTS = 20
_PREFIXES = ("/openai/v1/", "/v1/", "/")


class Line(NamedTuple):
    """One request."""

    number: int
    """Line number in the file, from 1."""
    custom_id: str
    body: dict[str, Any]


Fault = dict[str, Any]
"""An entry of a batch's `errors`."""


def fault(code: str, message: str, line: int | None = None, param: str | None = None) -> Fault:
    """Makes an entry of a batch's `errors`."""
    return {"code": code, "line": line, "message": message, "param": param}


def plain_url(url: str) -> str:
    """A route without its prefix: `chat/completions`."""
    for prefix in _PREFIXES:
        if url.startswith(prefix):
            return url[len(prefix) :]
    return url


class _Invalid(Exception):
    """A line that cannot be answered: the code, the message and the parameter."""


def read_lines(path: Path, endpoint: str) -> tuple[list[Line], list[Fault]]:
    """Reads the requests of a file, and what is wrong with it."""
    try:
        text = path.read_bytes().decode("utf-8-sig")
    except UnicodeDecodeError as error:
        return [], [fault("invalid_json_line", f"The file is not UTF-8: {error}.")]
    lines: dict[str, Line] = {}
    faults: list[Fault] = []
    for number, raw in enumerate(text.split("\n"), 1):
        if not raw.strip():
            continue
        try:
            found = _read_line(raw, number, endpoint)
            first = next(iter(lines.values()), found)
            if found.custom_id in lines:
                used = f"The custom_id {found.custom_id!r} was used in line {lines[found.custom_id].number} already."
                raise _Invalid("duplicate_custom_id", used, "custom_id")
            if found.body["model"] != first.body["model"]:
                named = f"The model {found.body['model']!r} differs from {first.body['model']!r} before it"
                raise _Invalid("mismatched_model", f"{named}; a batch asks one model.", "body.model")
            lines[found.custom_id] = found
        except _Invalid as error:
            code, message, param = error.args
            faults.append(fault(code, message, number, param))
            if len(faults) == _MOST_FAULTS:
                break
    if not lines and not faults:
        faults.append(fault("empty_file", "The input file holds no request."))
    if len(lines) > MOST_LINES:
        message = f"The input file holds {len(lines)} requests; at most {MOST_LINES} are taken."
        faults.append(fault("too_many_tasks", message))
    return list(lines.values()), faults


def _read_line(raw: str, number: int, endpoint: str) -> Line:
    try:
        found = json.loads(raw)
    except (ValueError, RecursionError):
        found = None
    if not isinstance(found, dict):
        raise _Invalid("invalid_json_line", "This line is not a JSON object.", None)
    for name in ("custom_id", "method", "url", "body"):
        if name not in found:
            raise _Invalid("missing_required_parameter", f"Missing required parameter: '{name}'.", name)
    custom_id, body = found["custom_id"], found["body"]
    # A lone surrogate cannot be encoded.
    if not isinstance(custom_id, str) or not custom_id or any("\ud800" <= c <= "\udfff" for c in custom_id):
        raise _Invalid("invalid_value", "custom_id: expected a text.", "custom_id")
    if found["method"] != "POST":
        raise _Invalid("invalid_method", f"method: expected 'POST', got {found['method']!r}.", "method")
    if not isinstance(found["url"], str) or plain_url(found["url"]) != plain_url(endpoint):
        raise _Invalid("mismatched_url", f"url: {found['url']!r} is not the batch's endpoint {endpoint!r}.", "url")
    if not isinstance(body, dict) or not isinstance(body.get("model"), str):
        raise _Invalid("missing_required_parameter", "Missing required parameter: 'body.model'.", "body.model")
    if body.get("stream"):
        raise _Invalid("invalid_value", "stream: a batch does not stream.", "body.stream")
    return Line(number, custom_id, body)
