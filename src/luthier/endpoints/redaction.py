"""Takes keys, and what no file or terminal takes, out of text before it is shown or stored."""

from __future__ import annotations

import re
from collections.abc import Iterable

__all__ = ["HIDDEN", "KEY_LIKE", "redact", "redact_bytes", "sendable"]

HIDDEN = "[key]"
"""What stands where a key was."""

SHORTEST_SECRET = 12
"""Characters from which on a key is one. Servers that need none are given `none` or `EMPTY`, and those are words."""

# Services repeat keys in part ("sk-ab***yz"), so the exact value is not enough to look for.
KEY_LIKE = re.compile(r"\b(?:sk|pk|rk|ak)-[A-Za-z0-9_*.-]{6,}|(?i:bearer|api-key:?)\s+[A-Za-z0-9_*.=-]{8,}")


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
            text = text.replace(secret, HIDDEN)
    return sendable(KEY_LIKE.sub(HIDDEN, text))


def redact_bytes(body: bytes, secrets: Iterable[str]) -> bytes:
    """The body without these exact secrets; all else stays as it came, because a model wrote it."""
    for secret in secrets:
        plain = secret.encode()
        if len(secret) >= SHORTEST_SECRET and plain in body:
            body = body.replace(plain, HIDDEN.encode())
    return body
