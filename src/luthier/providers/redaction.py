"""Takes keys, and what no file or terminal takes, out of text before it is shown or stored."""

from __future__ import annotations

import functools
import json
import re
from collections.abc import Iterable
from typing import Any

__all__ = ["HIDDEN", "KEY_LIKE", "redact", "redact_bytes", "sendable"]

HIDDEN = "[key]"
"""What stands where a key was."""

SHORTEST_SECRET = 12
"""Characters from which on a key is one. Servers that need none are given `none` or `EMPTY`, and those are words."""

# Services repeat keys in part ("sk-ab***yz"), so the exact value is not enough to look for.
KEY_LIKE = re.compile(r"\b(?:sk|pk|rk|ak)-[A-Za-z0-9_*.-]{6,}|(?i:bearer|api-key:?)\s+[A-Za-z0-9_*.=-]{8,}")


ESCAPED = re.compile(rb"\\u00[2-7]|%|\\/|&#")
"""What a body must have for a key to stand in it in another spelling."""

IN_PARTS = re.compile(rb'"content"\s*:\s*\[')
"""An answer whose text comes in parts, which are joined when it is read."""


def sendable(text: str) -> str:
    """The text with `?` for each half of a surrogate pair, which JSON can carry and UTF-8 cannot.

    Examples:
        >>> sendable("fine " + chr(0xD83D))
        'fine ?'
    """
    return text if text.isascii() else text.encode("utf-8", "replace").decode("utf-8")


def redact(text: str, secrets: Iterable[str] = ()) -> str:
    """The text without these secrets, without anything else that looks like a key, and `sendable`.

    Examples:
        >>> redact("Incorrect API key provided: sk-ab***yz, or was it hunter22-hunter22?", ["hunter22-hunter22"])
        'Incorrect API key provided: [key], or was it [key]?'
    """
    for secret in secrets:
        if len(secret) >= SHORTEST_SECRET:
            text = _spellings(secret).sub(HIDDEN, text)
    return sendable(KEY_LIKE.sub(HIDDEN, text))


def redact_bytes(body: bytes, secrets: Iterable[str]) -> bytes:
    """The body without these exact secrets; all else stays as it came, because a model wrote it.

    A secret is found as it is, in JSON escapes (also of JSON within JSON), percent-encoded, as HTML entities, and
    where it is spread over the parts of an answer's text.

    Examples:
        >>> redact_bytes(b'{"content": "\\\\u0068unter22-hunter22"}', ["hunter22-hunter22"])
        b'{"content": "[key]"}'
    """
    for secret in secrets:
        if len(secret) < SHORTEST_SECRET:
            continue
        plain, hidden = secret.encode(), HIDDEN.encode()
        if plain in body:
            body = body.replace(plain, hidden)
        if ESCAPED.search(body) is not None:
            body = _spellings_in_bytes(secret).sub(hidden, body)
        if IN_PARTS.search(body) is not None:
            body = _without_in_parts(body, secret)
    return body


@functools.lru_cache(maxsize=32)
def _spellings(secret: str) -> re.Pattern[str]:
    """The secret, each character as it is or escaped."""
    return re.compile("".join(map(_spelling, secret)))


@functools.lru_cache(maxsize=32)
def _spellings_in_bytes(secret: str) -> re.Pattern[bytes]:
    return re.compile(_spellings(secret).pattern.encode())


def _spelling(character: str) -> str:
    code = ord(character)
    plain = rf"\\*{re.escape(character)}" if character in '/"\\' else re.escape(character)
    if code > 0x7F:
        return plain
    return rf"(?:{plain}|\\+u00(?i:{code:02x})|%(?:25)*(?i:{code:02x})|&#(?i:x0*{code:x}|0*{code});?)"


def _without_in_parts(body: bytes, secret: str) -> bytes:
    try:
        document = json.loads(body)
    except (ValueError, RecursionError):
        return body
    found = False

    def visit(value: Any) -> None:
        nonlocal found
        if isinstance(value, list):
            for inner in value:
                visit(inner)
        elif isinstance(value, dict):
            for inner in value.values():
                visit(inner)
            parts = value.get("content")
            if isinstance(parts, list):
                text = "".join(str(part.get("text") or "") for part in parts if isinstance(part, dict))
                if secret in text:
                    found, value["content"] = True, text.replace(secret, HIDDEN)

    visit(document)
    return json.dumps(document, separators=(",", ":")).encode() if found else body
