"""What a model wrote, as a message quotes it."""

from __future__ import annotations

from luthier.tasks.json_objects import MOST_READ

__all__ = ["short"]

LONGEST_SHOWN = 80
LONGEST_ESCAPED = 200
"""Characters of a quotation as it is spelled: those that cannot be printed take up to ten each."""


def short(text: str) -> str:
    """A text as a message quotes it, in one line.

    Examples:
        >>> short("It is  4." + chr(0x202E)), len(short("4" * 1000))
        ("'It is 4.\\\\u202e'", 82)
    """
    room, flat = LONGEST_SHOWN, " ".join(text[:MOST_READ].split())
    while len(shown := repr(flat if len(flat) <= room else flat[: room - 1] + "…")) > LONGEST_ESCAPED:
        room //= 2
    return shown
