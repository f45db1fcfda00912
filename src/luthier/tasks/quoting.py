"""What a model wrote, as a message quotes it."""

from __future__ import annotations

from collections.abc import Sequence

from luthier.tasks.json_objects import MOST_READ
from luthier.truncation import one_line

__all__ = ["listed_labels", "short"]

MOST_LISTED = 40
"""Labels that a message lists; a task may have hundreds."""

LONGEST_SHOWN = 80
LONGEST_ESCAPED = 200
"""Characters of a quotation as it is spelled: those that cannot be printed take up to ten each."""


def short(text: str) -> str:
    """A text as a message quotes it, in one line.

    Examples:
        >>> short("It is  4." + chr(0x202E)), len(short("4" * 1000))
        ("'It is 4.\\\\u202e'", 82)
    """
    room = LONGEST_SHOWN
    while len(shown := repr(one_line(text[:MOST_READ], room))) > LONGEST_ESCAPED:
        room //= 2
    return shown


def listed_labels(labels: Sequence[str]) -> str:
    """Labels as a message lists them.

    Examples:
        >>> listed_labels(["good", "bad"]), listed_labels([str(n) for n in range(150)])[-28:]
        ('good, bad', '37, 38, 39, ... (150 in all)')
    """
    more = f", ... ({len(labels)} in all)" if len(labels) > MOST_LISTED else ""
    return ", ".join(labels[:MOST_LISTED]) + more
