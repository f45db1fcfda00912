"""The constant words around the texts of a training file, found again as the template that wrote them."""

from __future__ import annotations

import math
import re
from bisect import bisect_left
from collections.abc import Sequence
from dataclasses import dataclass

from luthier.techniques.prompt.template import cell_expression

__all__ = ["ConstantWords", "constant_words", "literal"]

LEAST_SHARE = 0.9
"""Share of the turns that must begin alike, so that a few odd lines do not hide the words around the others."""

FEW = 10
"""Fewer different turns than this must all agree, and words without a mark behind them are taken for the text's own."""

LEAST_WORDS = 3
"""Words without a colon or a line break that are a prompt: texts that begin with the same three by chance are rare."""

BEFORE_TEXT = re.compile(r"""\n[ \t]*|(?:[:：|>=\])}]|[-–—])(?:[ \t]+|\Z)|(?:(?<=\s)|(?<=^)|(?<=:))["'`“„«\[(<]+\Z|>""")
"""What may stand directly before a text: a line break, a mark with a space, an opening quotation mark, a tag."""

CLOSED_BY = {'"': '"', "'": "'", "`": "`", "“": "”", "„": "“", "«": "»", "[": "]", "(": ")", "<": ">"}

ASKS = re.compile(r"[:：=>?|#-]\s*\Z")
"""How words after a text end that ask for an answer."""


@dataclass(frozen=True)
class ConstantWords:
    """What every turn begins and ends with."""

    before: str
    after: str

    def text_of(self, turn: str) -> str | None:
        """The text within a turn; `None` if other words are around it."""
        fits = len(turn) >= len(self.before) + len(self.after)
        if not (fits and turn.startswith(self.before) and turn.endswith(self.after)):
            return None
        return turn[len(self.before) : len(turn) - len(self.after)]

    def template(self, column: str) -> str:
        """The template that writes such turns; whatever the constant words hold is text in it, never code.

        Examples:
            >>> ConstantWords("Stars for: ", "").template("text")
            'Stars for: {{ text }}'
        """
        return f"{literal(self.before)}{{{{ {cell_expression(column)} }}}}{literal(self.after, last=True)}"


def literal(text: str, *, last: bool = True) -> str:
    """A template that writes exactly this text.

    Args:
        text: whatever it is, also what would be code in a template.
        last: whether nothing follows in the template, which would lose a line break at its end.

    Examples:
        >>> literal("Never {{ run }} this"), literal("Stars")
        ('Never {{ "{" }}{ run }} this', 'Stars')
    """
    return re.sub(
        r"\{(?=[{%#\r]|\n?\Z)|\r" + (r"|\n\Z" if last else ""),
        lambda found: {"{": '{{ "{" }}', "\r": '{{ "\\r" }}', "\n": '{{ "\\n" }}'}[found[0]],
        text,
    )


def constant_words(turns: Sequence[str]) -> ConstantWords:
    """The words that stand around the text in these turns, as far as they can be told from words that texts share.

    Args:
        turns: user turns; equal ones count once.

    Examples:
        >>> constant_words(["Rate: The soup\\nStars:", "Rate: The room\\nStars:", "Rate: The bar.\\nStars:"])
        ConstantWords(before='Rate: ', after='\\nStars:')
        >>> constant_words(["The soup was bad.", "The room was good.", "The bar was loud."])
        ConstantWords(before='', after='')
    """
    different = list(dict.fromkeys(turns))
    if len(different) < 2:
        return ConstantWords("", "")
    before = _before(_shared_beginning(different), len(different) < FEW)
    rest = [turn[len(before) :] for turn in different if turn.startswith(before)]
    # Reversed, an end is a beginning.
    after = _after(_shared_beginning([turn[::-1] for turn in rest])[::-1], before, len(different) < FEW)
    return ConstantWords(before, after)


def _shared_beginning(texts: Sequence[str]) -> str:
    """The longest text that enough of them begin with: among sorted ones, those that begin alike are neighbours."""
    ordered = sorted(texts)
    enough = len(ordered) if len(ordered) < FEW else math.ceil(LEAST_SHARE * len(ordered))
    best = 0
    found = ""
    for first, last in zip(ordered, ordered[enough - 1 :], strict=False):
        most = min(len(first), len(last))
        if best < most and last.startswith(first[: best + 1]):
            best += bisect_left(range(best + 1, most + 1), True, key=lambda end: not last.startswith(first[:end]))
            found = first[:best]
    return found


def _before(shared: str, few: bool) -> str:
    ends = [found.end() for found in BEFORE_TEXT.finditer(shared)]
    end = max(ends, default=0)
    space = max(shared.rfind(" ") + 1, 0)
    if not few and len(shared[end:space].split()) >= LEAST_WORDS:
        end = space
    return shared[:end]


def _after(shared: str, before: str, few: bool) -> str:
    opened = before.rstrip()[-1:]
    tag = re.search(r"<(\w+)[^<>]*>\s*\Z", before)
    closing = f"</{tag[1]}>" if tag else CLOSED_BY.get(opened) if before[-1:] == opened else None
    starts = [] if closing is None else [shared.find(closing)]
    line = re.search(r"\r?\n", shared)
    starts.append(-1 if line is None else line.start())
    found = [start for start in starts if start >= 0]
    if found:
        return shared[min(found) :]
    space = shared.find(" ")
    words = shared[space:] if space >= 0 else ""
    if ASKS.search(words) or (not few and len(words.split()) >= LEAST_WORDS):
        return words
    marks = re.search(r"[^\w\s.!?…]{2,}\Z", shared)
    return marks[0] if marks else ""
