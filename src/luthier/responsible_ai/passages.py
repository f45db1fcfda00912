"""A text cut into a few passages: sentences where there are some, else clauses, else words."""

from __future__ import annotations

import re
from collections.abc import Iterator

__all__ = ["MOST_PASSAGES", "passages_of"]

MOST_PASSAGES = 14
"""A text is cut into at most so many passages, so that explaining it takes at most so many questions."""

LONG = 400
"""Characters of a sentence that is itself cut, at its clauses or between words."""

ROUGHLY = 200
"""A text of more pieces than this is first divided into so many stretches of equal length."""

CLOSERS = r"[\"'”’»)\]」』）】]*+"

# A mark in the middle of a run of marks is not looked at, so that a million of them are read once.
SENTENCE_END = re.compile(rf"(?<![.!?…])[.!?…؟۔।]++{CLOSERS}\s++|[。！？｡]++{CLOSERS}\s*+|\n\s*+")
CLAUSE_END = re.compile(rf"[,;:،؛]++{CLOSERS}\s++|[，、；：]++{CLOSERS}\s*+|\s[-–—]++\s++")
WORD_END = re.compile(r"\s++|[\u3040-\u30ff\u3400-\u9fff]{4}")
"""Chinese and Japanese put no blanks between words: four characters stand for one."""

ABBREVIATION = re.compile(
    r"\W*(?:mr|mrs|ms|mx|dr|prof|st|vs|approx|bzw|ca|nr|(?:[^\W\d_]\.)*(?!i)[^\W\d_])", re.IGNORECASE
)
"""A word whose full stop ends no sentence: titles, initials, "e.g.", "p.m."."""

NO_WORDS = re.compile(r"[\s\d.,;:!?…()\[\]*•#>=_~–—\"'-]*+")
"""List numbers, rules and stray marks: they belong to what follows. A smiley or "9/10" says something by itself."""


def passages_of(text: str, most: int = MOST_PASSAGES) -> tuple[str, ...]:
    """Cuts a text into contiguous passages; joined, they are the text, character for character.

    Sentences end at `.`, `!`, `?` before a blank, at `。`, `！`, `？` and at line ends. A text of one sentence is cut
    into clauses, one of a single clause between words. If there are more than `most` pieces, the neighbours that are
    shortest together are joined until there are so many.

    Args:
        text: the text; one that is blank has no passage.
        most: most passages.

    Returns:
        The passages, none of them blank; a single word is one passage, as is any run without blanks or marks.

    Examples:
        >>> passages_of("Mr. Lee was kind. The soup cost 3.5 dollars!  Again?")
        ('Mr. Lee was kind. ', 'The soup cost 3.5 dollars!  ', 'Again?')
        >>> passages_of("很好吃。服务太慢了！")
        ('很好吃。', '服务太慢了！')
        >>> passages_of("good, but far too loud")
        ('good, ', 'but far too loud')
        >>> passages_of("delicious")
        ('delicious',)
    """
    if not text.strip():
        return ()
    pieces = _cut(text, SENTENCE_END)
    if len(pieces) == 1:
        pieces = _cut(text, CLAUSE_END)
    if len(pieces) == 1:
        return _joined(_cut(text, WORD_END), most)
    return _joined([part for piece in pieces for part in _shortened(piece)], most)


def _shortened(piece: str) -> list[str]:
    """A piece as it is, or one that is too long in parts."""
    if len(piece) <= LONG:
        return [piece]
    clauses = _cut(piece, CLAUSE_END)
    return [
        part
        for clause in clauses
        for part in (
            [clause] if len(clause) <= LONG else _joined(_cut(clause, WORD_END), -(-len(clause) // (LONG // 2)))
        )
    ]


def _cut(text: str, end: re.Pattern[str]) -> list[str]:
    """The pieces between these ends; pieces without words are part of the next one, at the end of the one before."""
    pieces: list[str] = []
    waiting: list[str] = []
    for piece in _between(text, end):
        waiting.append(piece)
        if not NO_WORDS.fullmatch(piece):
            pieces.append("".join(waiting))
            waiting = []
    if waiting:
        pieces[-1:] = ["".join([*pieces[-1:], *waiting])]
    return pieces


def _between(text: str, end: re.Pattern[str]) -> Iterator[str]:
    start = 0
    for found in end.finditer(text):
        if found[0].startswith(".") and _is_abbreviated(text[max(start, found.start() - 12) : found.start()]):
            continue
        yield text[start : found.end()]
        start = found.end()
    if start < len(text):
        yield text[start:]


def _is_abbreviated(before: str) -> bool:
    words = before.split()
    return bool(words) and not before[-1].isspace() and ABBREVIATION.fullmatch(words[-1]) is not None


def _joined(pieces: list[str], most: int) -> tuple[str, ...]:
    """At most so many pieces: neighbours that are shortest together are joined."""
    if len(pieces) > ROUGHLY:
        pieces = _stretches(pieces)
    pieces = list(pieces)
    while len(pieces) > most:
        place = min(range(len(pieces) - 1), key=lambda i: len(pieces[i]) + len(pieces[i + 1]))
        pieces[place : place + 2] = [pieces[place] + pieces[place + 1]]
    return tuple(pieces)


def _stretches(pieces: list[str]) -> list[str]:
    total = sum(map(len, pieces))
    found: dict[int, list[str]] = {}
    start = 0
    for piece in pieces:
        found.setdefault(ROUGHLY * start // total, []).append(piece)
        start += len(piece)
    return ["".join(stretch) for stretch in found.values()]
