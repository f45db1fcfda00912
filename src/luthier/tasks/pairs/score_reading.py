"""Reads the number on a scale that a model named out of what it wrote."""

from __future__ import annotations

import re

from luthier.tasks.json_objects import MOST_READ
from luthier.tasks.labels.answers import (
    BOUND_AFTER,
    BOUND_BEFORE,
    EDGE,
    EMPHASIS,
    MOST_BEFORE_NUMBER,
    SCALE,
    SCALE_NAMED,
    visible,
    without_runs,
)
from luthier.tasks.labels.negation import is_denied
from luthier.tasks.quoting import short
from luthier.tasks.spellings import number_of
from luthier.tasks.types import AnswerRead

__all__ = ["ScoreReader"]

SCORE = r"[+-]?(?:\d+(?:[.,]\d+)?|\.\d+)"
NUMBER = re.compile(rf"(?<![\w.,/]){SCORE}(?!\w|[.,]\d)")
NAMED = re.compile(
    rf"(?:score|rating|similarity|answer|result|note|bewertung|ähnlichkeit|puntuación|similitud)"
    rf"(?:\s+(?:is|of|as|would\s+be|ist|est|es))?[\s:=“\"'(]*(?<!\d)({SCORE})(?!\w|[.,]\d)",
    re.I,
)
"""A number that is said to be the score."""

COUNTED = re.compile(
    r"\b(?:sentences?|texts?|statements?|phrases?|questions?|pairs?|passages?|examples?)\s*[#:]?\s*\d+\b"
    r"|^\s*\d{1,2}[.)]\s(?=\s*\D)",
    re.I | re.M,
)
"""A number that only tells texts or points of a list apart."""

RANGE_AFTER = re.compile(r"\s*(?:[-–—/]|to\b|or\b|and\b|bis\b|oder\b)\s*\d", re.I)
"""What makes a number the beginning of a range."""

MOST_NUMBERS = 200
"""Numbers in an answer that are weighed, the last ones."""


class ScoreReader:
    """Finds the score an answer states.

    A line that is a number and nothing else counts first, then a number that is called the score, then the only number
    there is. An answer that states two numbers, one beyond the scale, or one on another scale, states none.

    Args:
        low: the lowest score.
        high: the highest score.

    Examples:
        >>> reader = ScoreReader(0, 5)
        >>> [reader.read(said).value for said in ("4", "**4.5**", "4,5/5", "On a scale from 0 to 5, it is a 3.")]
        [4.0, 4.5, 4.5, 3.0]
        >>> [reader.read(said).value for said in ("3 or 4", "8/10", "at least 4", "6", "80%")]
        [None, None, None, None, None]
    """

    def __init__(self, low: float, high: float) -> None:
        self._low = low
        self._high = high

    def read(self, said: str, *, cut: bool = False) -> AnswerRead:
        """The score a free answer states.

        Args:
            said: what the model wrote, without its thoughts.
            cut: whether it had more to say. A cut answer counts only if it is a number and nothing else.
        """
        if not said.strip():
            return AnswerRead(None, "the model answered nothing, or only thought aloud")
        text = EMPHASIS.sub(" ", without_runs(visible(said[-MOST_READ:]))).strip()
        if (self._low, self._high) == (0, 100):
            text = text.replace("%", " ").strip()
        whole = self._alone(text)
        if whole is not None:
            return self._on_scale(whole, said)
        if cut:
            return AnswerRead(None, f"the answer was cut before it stated a score: {short(said)}")
        other = self._other_scale(text)
        if other:
            return AnswerRead(None, f"the answer is on another scale, {other}: {short(said)}")
        lines = {number for line in text.splitlines() if (number := self._alone(line)) is not None}
        found = lines or self._named(text) or self._mentioned(text)
        if len(found) > 1:
            numbers = ", ".join(f"{number:g}" for number in sorted(found)[:5])
            return AnswerRead(None, f"the answer states several numbers ({numbers}): {short(said)}")
        if not found:
            return AnswerRead(None, f"the answer states no score: {short(said)}")
        return self._on_scale(found.pop(), said)

    def _on_scale(self, number: float, said: str) -> AnswerRead:
        if self._low <= number <= self._high:
            return AnswerRead(number)
        ends = f"{self._low:g} to {self._high:g}"
        return AnswerRead(None, f"the score {number:g} is outside the scale from {ends}: {short(said)}")

    def _alone(self, line: str) -> float | None:
        """The number a line is, marks around it and what it is out of aside."""
        core = line.strip(EDGE.replace(".", "")).rstrip(".")
        number = number_of(core)
        if number is not None or len(core) > 100:
            return number
        begun = re.match(SCORE, core)
        scale = begun and SCALE.fullmatch(core, begun.end())
        if begun is None or not scale or float(scale.group(1)) != self._high:
            return None
        return number_of(begun.group())

    def _other_scale(self, text: str) -> str | None:
        """A scale that is named and is not this one."""
        for named in SCALE_NAMED.finditer(text):
            ends = [float(digits) for digits in named.groups() if digits]
            if ends[-1] != self._high:
                return named.group().strip()
        for number in NUMBER.finditer(text):
            scale = SCALE.match(text, number.end())
            if scale is not None and float(scale.group(1)) != self._high and not scale.group().strip().startswith("of"):
                return (number.group() + scale.group()).strip()
        return None

    def _named(self, text: str) -> set[float]:
        places = [found.span(1) for found in NAMED.finditer(text) if self._is_one(text, found.end(1))][-MOST_NUMBERS:]
        return {number for place in places if (number := self._stated(text, *place)) is not None}

    def _is_one(self, text: str, end: int) -> bool:
        """Whether the number that ends there begins no range."""
        return SCALE.match(text, end) is not None or RANGE_AFTER.match(text, end) is None

    def _mentioned(self, text: str) -> set[float]:
        """Every number that is not an end of the scale, the number of a text, denied or a bound.

        Where some are said to be out of the highest score, those alone.
        """
        for without in (SCALE_NAMED, COUNTED):
            text = without.sub(lambda found: "\0" * len(found.group()), text)
        numbers: dict[bool, set[float]] = {True: set(), False: set()}
        after = 0
        for found in list(NUMBER.finditer(text))[-MOST_NUMBERS:]:
            if found.start() < after:
                continue
            scale = SCALE.match(text, found.end())
            after = scale.end() if scale else found.end()
            number = self._stated(text, found.start(), found.end())
            if number is not None:
                numbers[scale is not None and float(scale.group(1)) == self._high].add(number)
        return numbers[True] or numbers[False]

    def _stated(self, text: str, begin: int, end: int) -> float | None:
        """The number at a place, unless it is denied or a bound."""
        before = text[max(0, begin - MOST_BEFORE_NUMBER) : begin]
        if BOUND_BEFORE.search(before) or BOUND_AFTER.match(text, end) or is_denied(text, begin, end):
            return None
        return number_of(text[begin:end])
