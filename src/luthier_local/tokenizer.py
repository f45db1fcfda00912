"""The deterministic backend's tokenizer.

A token is, with the one space before it if there is one: up to six letters, one digit, or one
other character. Line breaks and further spaces are tokens of their own. Long words are therefore
several tokens (`" terrible"` is `" terrib"` and `"le"`), and the tokens joined are the text.
"""

from __future__ import annotations

import re
import zlib

__all__ = ["count_tokens", "split_tokens", "token_id"]

_TOKEN = re.compile(r" ?[^\W\d_]{1,6}| ?\d| ?(?:[^\w\s]|_)|\s")


def split_tokens(text: str) -> list[str]:
    """The tokens of a text, in order."""
    return _TOKEN.findall(text)


def count_tokens(text: str) -> int:
    """How many tokens a text has; beyond 2 million characters an estimate, to stay quick."""
    if len(text) > 2_000_000:
        return len(text) // 5
    return len(_TOKEN.findall(text))


def token_id(token: str) -> int:
    """A number for a token: the same on every machine, and almost always unique."""
    return zlib.crc32(token.encode("utf-8", "surrogatepass")) & 0x7FFFFFFF
