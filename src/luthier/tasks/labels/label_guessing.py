"""What a column of labels says about a task: which labels there are, and whether they have an order."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterable, Sequence

from luthier.tasks.spellings import composed, missing, number_of, spelling
from luthier.tasks.types import GuessedSettings

__all__ = [
    "between",
    "counted",
    "guessed_classes",
    "guessed_rating",
    "labels_in_order",
    "numbers_of",
    "scale_of",
]

MOST_CLASSES = 500
"""A column with more distinct values holds numbers or texts."""

MOST_FILLED = 11
"""Length of a rating, as from 0 to 10, up to which numbers that never occur are added."""

PADDED = re.compile(r"[+-]?0\d+")

SCALES = (
    ("very negative", "negative", "neutral", "positive", "very positive"),
    ("negative", "neutral", "positive"),
    ("strongly disagree", "disagree", "neutral", "agree", "strongly agree"),
    ("terrible", "poor", "okay", "good", "excellent"),
    ("very bad", "bad", "okay", "good", "very good"),
    ("poor", "fair", "good", "very good", "excellent"),
    ("never", "rarely", "sometimes", "often", "always"),
    ("none", "low", "medium", "high", "critical"),
    ("trivial", "minor", "major", "critical", "blocker"),
    ("small", "medium", "large"),
)
"""Known scales, lowest first."""


def guessed_classes(cells: Sequence[object]) -> GuessedSettings:
    """Labels without an order.

    Raises:
        ValueError: there is one only, or so many that they are none.
    """
    counts = counted(cell for cell in cells if not missing(cell))
    _check(counts)
    labels = sorted(counts)
    if numbers_of(counts) is not None:
        labels.sort(key=lambda label: number_of(label) or 0)
    return GuessedSettings({"labels": labels}, (f"{len(labels)} labels, in no order",), counts)


def guessed_rating(cells: Sequence[object]) -> GuessedSettings:
    """Labels from lowest to highest: numbers, or words of a known scale.

    Raises:
        ValueError: nothing says which of them is the lowest, or there are too few or too many.
    """
    counts = counted(cell for cell in cells if not missing(cell))
    _check(counts)
    if numbers_of(counts) is None and scale_of(list(counts)) is None:
        raise ValueError(
            f"its labels are words, and nothing says which is the lowest: {', '.join(list(counts)[:5])}. "
            "Give all of them with --labels, lowest first"
        )
    labels, _, reasons = labels_in_order(counts)
    return GuessedSettings({"labels": labels}, reasons, counts)


def _check(counts: Counter[str]) -> None:
    if len(counts) == 1:
        raise ValueError(f"it holds one label only, {next(iter(counts))!r}; a task needs at least 2")
    if len(counts) > MOST_CLASSES:
        raise ValueError(
            f"it holds {len(counts):,} distinct values, such as {', '.join(list(counts)[:4])}, and more than "
            f"{MOST_CLASSES} are not guessed to be labels: group them into fewer, or name all of them with --labels"
        )


def labels_in_order(counts: Counter[str]) -> tuple[list[str], bool, tuple[str, ...]]:
    """The labels in order, whether more than two of them make a rating, and why."""
    if numbers_of(counts) is not None:
        gaps = between(list(counts))
        found = sorted([*counts, *gaps], key=lambda label: number_of(label) or 0)
        added = (f"{', '.join(gaps)} added: not in the table, but between labels that are",) if gaps else ()
        why = "all labels are numbers: a rating, lowest first" if len(found) > 2 else "two numbers: two classes"
        return found, len(found) > 2, (*added, why)
    scale = scale_of(list(counts))
    if scale is not None:
        is_rating = len(scale) > 2
        why = "the labels are words of a known scale" + (": a rating, lowest first" if is_rating else "")
        return scale, is_rating, (why,)
    why = "the labels are words: classes without order (say `type: rating` and order them if there is one)"
    return sorted(counts), False, (why,)


def counted(cells: Iterable[object]) -> Counter[str]:
    """How often each label occurs; spellings that look the same count as the most frequent one."""
    spelled = Counter(spelling(cell) for cell in cells)
    usual: dict[str, str] = {}
    for label, _ in spelled.most_common():
        usual.setdefault(composed(label), label)
    found: Counter[str] = Counter()
    for label, count in spelled.items():
        found[usual[composed(label)]] += count
    return found


def scale_of(labels: list[str]) -> list[str] | None:
    """The labels in the order of the known scale they come from; `None` where there is none."""
    lower = {value.strip().lower(): value for value in labels}
    for scale in SCALES:
        if set(lower) <= set(scale):
            return [lower[word] for word in scale if word in lower]
    return None


def numbers_of(labels: Iterable[object]) -> list[float] | None:
    """The labels as numbers, in order; `None` where one is not a number, or two are the same number."""
    numbers = [number for label in labels if (number := number_of(str(label))) is not None]
    return numbers if numbers and len(set(numbers)) == len(list(labels)) else None


def between(labels: list[str]) -> list[str]:
    """Integers missing between a rating's labels, spelled like them; none for long ranges or fractions.

    Examples:
        >>> between(["001", "002", "004"]), between(["-1", "+1"]), between(["1", "90"])
        (['003'], ['0'], [])
    """
    numbers = numbers_of(labels) or []
    if not numbers or not all(number.is_integer() for number in numbers):
        return []
    whole = range(int(min(numbers)), int(max(numbers)) + 1)
    if not 2 < len(whole) <= MOST_FILLED:
        return []
    width = min(len(label.lstrip("+-")) for label in labels) if any(PADDED.fullmatch(label) for label in labels) else 0
    plus = any(label.startswith("+") for label in labels)
    gaps = [number for number in whole if number not in numbers]
    return [
        ("+" if plus and number > 0 else "-" if number < 0 else "") + str(abs(number)).zfill(width) for number in gaps
    ]
