"""Finds what an answer in JSON says under one key, with whatever the model wrote around it."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

__all__ = ["NoObject", "values_under"]

MOST_STARTS = 50
"""Braces that are tried: text full of them must not stall the reader."""

MOST_DEPTH = 2
"""Levels at which the key is looked for: {"answer": {"label": ...}} is read, a deeper one is not an answer."""

MARKS = " \t\r\n\"'`*_:"


class NoObject(ValueError):
    """There is no JSON object in the text."""


class _Object(list[tuple[str, Any]]):
    """An object as its pairs, so that a key given twice is seen."""


DECODER = json.JSONDecoder(object_pairs_hook=_Object)


def values_under(key: str, text: str) -> list[Any]:
    """Everything the JSON objects in a text have under a key, in whatever case it is written.

    Text around the objects, such as words and code fences, is not read.

    Examples:
        >>> values_under("label", 'Sure: ```json {"Label": "good"} ```')
        ['good']
        >>> values_under("label", '{"label": "good"} or {"label": "bad"}')
        ['good', 'bad']

    Raises:
        NoObject: the text has no JSON object.
    """
    try:
        documents = [DECODER.decode(text)]
    except (ValueError, RecursionError):
        documents = list(_embedded(text))
    objects = [found for document in documents for found in _objects(document)]
    if not objects:
        raise NoObject(text)
    return [value for found in objects for value in _values(key, found, MOST_DEPTH)]


def _embedded(text: str) -> Iterator[Any]:
    begin = text.find("{")
    for _ in range(MOST_STARTS):
        if begin < 0:
            return
        end = begin + 1
        try:
            document, end = DECODER.raw_decode(text, begin)
        except (ValueError, RecursionError):
            pass
        else:
            yield document
        begin = text.find("{", end)


def _objects(document: Any) -> list[_Object]:
    if isinstance(document, _Object):
        return [document]
    return [item for item in document if isinstance(item, _Object)] if isinstance(document, list) else []


def _values(key: str, found: _Object, depth: int) -> list[Any]:
    values = [value for name, value in found if name == key]
    values = values or [value for name, value in found if name.strip(MARKS).casefold() == key]
    if values or depth == 1:
        return [value[0] if _is_single(value) else value for value in values]
    return [value for _, inner in found for each in _objects(inner) for value in _values(key, each, depth - 1)]


def _is_single(value: Any) -> bool:
    return isinstance(value, list) and not isinstance(value, _Object) and len(value) == 1
