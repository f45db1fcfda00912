"""Texts of rows, answers and services made safe for a terminal, which interprets some characters."""

from __future__ import annotations

import json
import re

__all__ = ["visible", "visible_json"]

# Control characters but tab and line feed, and what reorders or hides text: bidirectional marks, zero-width
# characters, the byte order mark, tags.
_INTERPRETED = re.compile(
    "[\x00-\x08\x0b-\x1f\x7f-\x9f\u061c\u200b\u200e\u200f\u2028-\u202e\u2060-\u2069\ufeff\U000e0000-\U000e007f\ud800-\udfff]"
)


def visible(text: str) -> str:
    """The text with its control characters escaped; tabs, line ends and printable characters stay.

    Examples:
        >>> print(visible("a\\x1b[31mred\\r\\u202eb"))
        a\\x1b[31mred\\r\\u202eb
    """
    return _INTERPRETED.sub(lambda found: found[0].encode("unicode_escape").decode(), text)


def visible_json(document: str) -> str:
    """A JSON document with the same characters written as JSON's escapes, which read back as they were.

    Examples:
        >>> print(visible_json('["a\\x9b31m\\ud800"]'))
        ["a\\u009b31m\\ud800"]
    """
    return _INTERPRETED.sub(lambda found: json.dumps(found[0])[1:-1], document)
