"""What is right in one field: when two values are the same, and when one is right in part."""

from __future__ import annotations

from collections import Counter
from collections.abc import Hashable
from typing import Any

from luthier.tasks.extraction.extraction_metrics import Count
from luthier.tasks.extraction.field_shapes import Shape
from luthier.tasks.spellings import composed, same_text

__all__ = ["count_of"]

DIGITS = 9
"""Digits in which two numbers are the same; the last ones of a float are those of its arithmetic."""

MOST_COMPARED = 200
"""Entries of a list, beside those that are right, which are held against each other."""


def count_of(shape: Shape, truth: Any, value: Any) -> Count:
    """What one row has of one field: at most one of a single value, one for each entry of a list.

    Args:
        shape: of the field, no object.
        truth: its true value, `None` where there is none.
        value: what was answered, `None` where nothing was.
    """
    if shape.items is None:
        return _counted(shape, [] if truth is None else [truth], [] if value is None else [value])
    return _counted(shape.items, truth or [], value or [])


def _counted(shape: Shape, true: list[Any], said: list[Any]) -> Count:
    keys, answered = [_key(shape, one) for one in true], [_key(shape, one) for one in said]
    right = Counter(keys) & Counter(answered)
    left, others = _without(true, keys, right), _without(said, answered, right)
    return Count(right.total(), _near(shape, left, others), answered=len(said), support=len(true))


def _without(values: list[Any], keys: list[Hashable], right: Counter[Hashable]) -> list[Any]:
    """The values that are not among the right ones."""
    taken = Counter(right)
    left: list[Any] = []
    for value, key in zip(values, keys, strict=True):
        if taken[key]:
            taken[key] -= 1
        elif len(left) < MOST_COMPARED:
            left.append(value)
    return left


def _near(shape: Shape, true: list[Any], said: list[Any]) -> int:
    """How many answers are right in part, each of a true value of its own."""
    hints = [_hints(shape, one) for one in true]
    count = 0
    for one in said:
        own = _hints(shape, one)
        place = next((at for at, other in enumerate(hints) if own & other), None)
        if place is not None:
            del hints[place]
            count += 1
    return count


def _key(shape: Shape, value: Any) -> Hashable:
    """Equal for values that count as the same: without case and runs of white space, numbers in nine digits."""
    if isinstance(value, dict):
        return tuple(_key(one, value[name]) for name, one in shape.properties)
    if isinstance(value, list):
        assert shape.items is not None
        return tuple(_key(shape.items, one) for one in value)
    if isinstance(value, str):
        return composed(same_text(value))
    if isinstance(value, bool) or value is None:
        return value
    return f"{value + 0.0:.{DIGITS}g}"


def _hints(shape: Shape, value: Any) -> set[Hashable]:
    """What a value shares with another that is right in part: words of a text, values of an object."""
    if isinstance(value, dict):
        return {(name, _key(one, value[name])) for name, one in shape.properties if value[name] not in (None, [])}
    if isinstance(value, str) and not shape.choices:
        return set(composed(same_text(value)).split())
    return set()
