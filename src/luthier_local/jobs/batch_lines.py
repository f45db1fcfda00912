"""The input file of a batch: one request per line, checked as the service checks them."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any, NamedTuple

__all__ = ["MOST_LINES", "Line", "plain_url", "read_lines"]

MOST_LINES = 50_000
_MOST_ERRORS = 20
_PREFIXES = ("/openai/v1/", "/v1/", "/")


class Line(NamedTuple):
    """One request."""

    number: int
    """Line number in the file, from 1."""
    custom_id: str
    body: dict[str, Any]


def plain_url(url: str) -> str:
    """A route without its prefix: `chat/completions`."""
    for prefix in _PREFIXES:
        if url.startswith(prefix):
            return url[len(prefix) :]
    return url


def read_lines(path: Path, endpoint: str) -> tuple[list[Line], list[dict[str, Any]]]:
    """Reads the requests of a file, and the faults as entries of a batch's `errors`."""
    try:
        text = path.read_bytes().decode("utf-8-sig")
    except UnicodeDecodeError as error:
        return [], [_error("invalid_json_line", f"The file is not UTF-8: {error}.", None, None)]
    lines: list[Line] = []
    errors: list[dict[str, Any]] = []
    seen: dict[str, int] = {}
    model: str | None = None
    for number, raw in enumerate(text.split("\n"), 1):
        if not raw.strip():
            continue
        found = _read_line(raw, number, endpoint)
        if isinstance(found, Line) and found.custom_id in seen:
            message = f"The custom_id {found.custom_id!r} was used in line {seen[found.custom_id]} already."
            found = _error("duplicate_custom_id", message, number, "custom_id")
        elif isinstance(found, Line):
            named = str(found.body["model"])
            model = model or named
            if named != model:
                message = f"The model {named!r} differs from {model!r} before it; a batch asks one model."
                found = _error("mismatched_model", message, number, "body.model")
        if isinstance(found, Line):
            seen[found.custom_id] = number
            lines.append(found)
        else:
            errors.append(found)
            if len(errors) == _MOST_ERRORS:
                return lines, errors
    if not lines and not errors:
        errors.append(_error("empty_file", "The input file holds no request.", None, None))
    if len(lines) > MOST_LINES:
        message = f"The input file holds {len(lines)} requests; at most {MOST_LINES} are taken."
        errors.append(_error("too_many_tasks", message, None, None))
    return lines, errors


def _read_line(raw: str, number: int, endpoint: str) -> Line | dict[str, Any]:
    try:
        found = json.loads(raw)
    except (ValueError, RecursionError):
        found = None
    if not isinstance(found, dict):
        return _error("invalid_json_line", "This line is not a JSON object.", number, None)
    for name in ("custom_id", "method", "url", "body"):
        if name not in found:
            return _error("missing_required_parameter", f"Missing required parameter: '{name}'.", number, name)
    custom_id, body = found["custom_id"], found["body"]
    if not isinstance(custom_id, str) or not custom_id or not _is_text(custom_id):
        return _error("invalid_value", "custom_id: expected a text.", number, "custom_id")
    if found["method"] != "POST":
        return _error("invalid_method", f"method: expected 'POST', got {found['method']!r}.", number, "method")
    if not isinstance(found["url"], str) or plain_url(found["url"]) != plain_url(endpoint):
        message = f"url: {found['url']!r} is not the batch's endpoint {endpoint!r}."
        return _error("mismatched_url", message, number, "url")
    if not isinstance(body, dict) or not isinstance(body.get("model"), str):
        return _error("missing_required_parameter", "Missing required parameter: 'body.model'.", number, "body.model")
    if body.get("stream"):
        return _error("invalid_value", "stream: a batch does not stream.", number, "body.stream")
    return Line(number, custom_id, body)


def _is_text(value: str) -> bool:
    """Whether the text can be encoded: it holds no lone surrogate."""
    return not any("\ud800" <= letter <= "\udfff" for letter in value)


def _error(code: str, message: str, line: int | None, param: str | None) -> dict[str, Any]:
    return {"code": code, "line": line, "message": message, "param": param}
