"""Finds what an answer in JSON says under one key, with whatever the model wrote around it."""

from __future__ import annotations

import json
import re
import sys
from collections.abc import Iterator
from typing import Any

from luthier.tables.cells import utf8_safe

__all__ = [
    "DECODER",
    "MOST_READ",
    "NoObject",
    "alternatives",
    "as_json",
    "is_whole",
    "objects_in",
    "values_under",
]

MOST_READ = 20_000
"""Characters of an answer that are searched, from its end: a model that never stops must not stall the reader."""

MOST_STARTS = 50
"""Braces that are tried: text full of them must not stall the reader."""

MOST_DEPTH = 2
"""Levels at which the key is looked for: {"answer": {"label": ...}} is read, a deeper one is not an answer."""

MOST_NESTED = 50
"""Levels of lists and objects in a value: what compares, writes and shows one takes a call per level."""

WRAPPERS = ("label", "value", "name", "answer")

MARKS = " \t\r\n\"'`*_:"


class NoObject(ValueError):
    """There is no JSON object in the text, or it holds what is no JSON value."""


class _Object(list[tuple[str, Any]]):
    """An object as its pairs, so that a key given twice is seen."""


DECODER = json.JSONDecoder(object_pairs_hook=_Object, parse_constant=str, strict=False)

CONSTANTS = {"true": "true", "false": "false", "null": "null", "none": "null"}
QUOTES = re.compile("[\u201c\u201d\u201e\u201f\uff02]")
COMMENTS = re.compile(r"/\*.{0,500}?\*/|(?<![:\w\"'])//[^\n]{0,500}", re.S)
LAST_COMMA = re.compile(r",\s{0,20}([}\]])")
SINGLE_QUOTED = re.compile(r"(?<=[{,:\[\s])'((?:[^'\\]|\\.|'(?!\s{0,20}[,:}\]])){0,500})'(?=\s{0,20}[,:}\]])")
BARE_KEY = re.compile(r"([{,]\s{0,20})([A-Za-z_]\w{0,40})(?=\s{0,20}:)")
BARE_VALUE = re.compile(r"(:\s{0,20})([A-Za-z_][\w -]{0,100}?)(?=\s{0,20}[,}])")
"""What models write that is nearly JSON: curly and single quotes, comments, a last comma, words without quotes."""


def values_under(key: str, text: str) -> list[Any]:
    """Everything the JSON objects in a text have under a key, in whatever case it is written.

    Text around the objects, such as words and code fences, is not read. Where nothing is JSON, what is nearly so
    (single quotes, a last comma, `True`) is read as it is meant.

    Examples:
        >>> values_under("label", 'Sure: ```json {"Label": "good"} ```')
        ['good']
        >>> values_under("label", '{"label": "good"} or {"label": "bad"}')
        ['good', 'bad']
        >>> values_under("label", "{'label': 'good', 'sure': True,}")
        ['good']

    Raises:
        NoObject: the text has no JSON object.
    """
    objects = objects_in(text)
    if not objects:
        raise NoObject(text)
    return [value for found in objects for value in _values(key, found, MOST_DEPTH)]


def objects_in(text: str) -> list[Any]:
    """The JSON objects in a text, with what is nearly JSON read as it is meant; `as_json` makes dicts of them."""
    return next((found for said in _readings(text) if (found := _all_objects(said))), [])


def as_json(value: Any, levels: int = MOST_NESTED) -> Any:
    """What `values_under` found as dicts, lists and single values, which every file and comparison takes.

    Examples:
        >>> as_json(DECODER.decode('{"name": "Ann", "tags": [1, 2.5, null]}'))
        {'name': 'Ann', 'tags': [1, 2.5, None]}

    Raises:
        NoObject: it is nested too deep, an object has a key twice with different values, or a number is beyond those
            of a float.
    """
    if isinstance(value, list) and not levels:
        raise NoObject("it is nested too deep")
    if isinstance(value, _Object):
        found: dict[str, Any] = {}
        for name, inner in value:
            key, one = utf8_safe(name), as_json(inner, levels - 1)
            if found.setdefault(key, one) != one:
                raise NoObject("an object has a key twice")
        return found
    if isinstance(value, list):
        return [as_json(inner, levels - 1) for inner in value]
    if isinstance(value, int | float) and not abs(value) <= sys.float_info.max:
        raise NoObject("a number is too large")
    # Escapes of JSON may have become unpaired surrogates when they were read.
    return utf8_safe(value) if isinstance(value, str) else value


def alternatives(value: Any) -> list[Any]:
    """The single values of one: each of a list, and what `{"value": ...}` holds."""
    if isinstance(value, _Object):
        single = len(value) == 1 and value[0][0].casefold() in WRAPPERS
        return [value[0][1]] if single else [value]
    return value if isinstance(value, list) and value else [value]


def is_whole(text: str) -> bool:
    """Whether an answer that was cut ends with its object all the same."""
    return text.rstrip("`\n ").endswith(("}", "]"))


def _readings(text: str) -> Iterator[str]:
    yield text
    if '{\\"' in text:
        yield text.replace('\\"', '"')
    text = LAST_COMMA.sub(r"\1", COMMENTS.sub(" ", QUOTES.sub('"', text)))
    yield text
    text = SINGLE_QUOTED.sub(lambda found: json.dumps(found.group(1).replace("\\'", "'")), text)
    text = BARE_KEY.sub(r'\1"\2"', text)
    yield BARE_VALUE.sub(lambda said: said[1] + (CONSTANTS.get(said[2].casefold()) or json.dumps(said[2])), text)


def _all_objects(text: str) -> list[_Object]:
    try:
        document = DECODER.decode(text)
        if isinstance(document, str):
            document = DECODER.decode(document)  # JSON within JSON
        documents = [document]
    except (ValueError, RecursionError):
        documents = list(_embedded(text))
    return [found for document in documents for found in _objects(document)]


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
        return values
    return [value for _, inner in found for each in _objects(inner) for value in _values(key, each, depth - 1)]
