"""The beginning of a text that is too long for a message or a table."""

from __future__ import annotations

__all__ = ["one_line", "truncated"]


def truncated(text: str, most: int) -> str:
    """The text if it has at most `most` characters, otherwise its beginning and `…`, as many in all.

    Characters are code points: a letter that is written as several may lose its accents. Control characters stay; they
    are escaped where the text is shown, by `terminals.visible` or as HTML.

    Examples:
        >>> truncated("positive", 8), truncated("positively", 8)
        ('positive', 'positiv…')
    """
    return text if len(text) <= most else f"{text[: most - 1]}…"


def one_line(text: str, most: int) -> str:
    """The text in one line, truncated: line ends, tabs and runs of spaces become one space.

    Examples:
        >>> one_line(" It is\\n\\n4.", 40)
        'It is 4.'
    """
    return truncated(" ".join(text.split()), most)
