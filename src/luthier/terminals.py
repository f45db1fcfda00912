"""Texts of rows, answers and services made safe for a terminal, which interprets some characters."""

from __future__ import annotations

import re

__all__ = ["visible"]

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
