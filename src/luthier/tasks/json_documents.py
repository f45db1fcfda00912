"""Reads the JSON document that an answer or a cell consists of, however long it is, and says why it is none."""

from __future__ import annotations

import ast
import json
import warnings
from typing import Any

from luthier.tasks.json_objects import DECODER, MOST_READ, NoObject, as_json, objects_in
from luthier.tasks.spellings import missing
from luthier.tasks.thoughts import MOST_ANSWERED, spoken

__all__ = ["NOT_JSON", "NoValue", "answer_documents", "cell_document", "compact"]

DEEPEST_CELL = 50
"""Levels of a cell that holds lists and mappings rather than text."""


NOT_JSON = "the answer is not the JSON that was asked for"


class NoValue(ValueError):
    """There is no such document; the message says why, for a person."""


def answer_documents(text: str) -> tuple[list[Any], bool]:
    """The JSON documents in an answer, and whether it is one of them; text around them is not read.

    An answer that is JSON as a whole, or from its first brace to its last, is read whole. In any other the objects at
    its end are looked for, as `json_objects` does.

    Examples:
        >>> answer_documents('Sure: ```json {"spans": []} ```')
        ([{'spans': []}], True)

    Raises:
        NoValue: there is none, a key is given twice, or the answer is too long.
    """
    if len(text) > MOST_ANSWERED:
        raise NoValue(f"the answer has {len(text):,} characters, and at most {MOST_ANSWERED:,} are read")
    said = spoken(text)
    first, last = min((at for at in map(said.find, "{[") if at >= 0), default=0), max(map(said.rfind, "}]"))
    try:
        for part in dict.fromkeys((said, said[first : last + 1])):
            document = _decoded(part)
            if isinstance(document, dict | list):
                return [document], True
        found = [as_json(one) for one in objects_in(said[-MOST_READ:])]
    except NoObject as why:
        raise NoValue(f"the JSON is no answer: {why}") from None
    if not found:
        raise NoValue(NOT_JSON)
    return found, False


def cell_document(cell: object) -> Any:
    """The lists, mappings and values of a cell: as they stand, or as JSON or Python writes them; else its text.

    Examples:
        >>> cell_document('[{"start": 0}]'), cell_document("[{'start': 0}]"), cell_document([{"start": 0}])
        ([{'start': 0}], [{'start': 0}], [{'start': 0}])

    Raises:
        NoValue: the cell is empty, or begins as JSON does and is none.
    """
    if not isinstance(cell, str):
        plain = _plain(cell, DEEPEST_CELL)
        if not isinstance(plain, dict | list) and missing(plain):
            raise NoValue("it is empty")
        return plain
    text = cell.strip()
    if not text:
        raise NoValue("it is empty")
    try:
        found = _decoded(text)
    except NoObject as why:
        raise NoValue(str(why)) from None
    if found is not None:
        return found
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # of escapes that Python does not know
            return _plain(ast.literal_eval(text), DEEPEST_CELL)
    except (ValueError, SyntaxError, MemoryError, RecursionError):
        if text[0] not in "[{":
            return text
        raise NoValue("it is no JSON") from None


def _decoded(text: str) -> Any:
    """What a text states that is JSON, by itself or within a text in JSON; `None` where it is none.

    Raises:
        NoObject: it holds what is no value.
    """
    try:
        document = DECODER.decode(text)
        return as_json(DECODER.decode(document) if isinstance(document, str) else document)
    except NoObject:
        raise
    except (ValueError, RecursionError):
        return None


def _plain(value: Any, levels: int) -> Any:
    if not levels:
        raise NoValue(f"it is nested more than {DEEPEST_CELL} deep")
    if hasattr(value, "tolist"):
        value = value.tolist()
    if isinstance(value, dict):
        return {str(key): _plain(one, levels - 1) for key, one in value.items()}
    if isinstance(value, list | tuple):
        return [_plain(one, levels - 1) for one in value]
    return value


def compact(value: Any) -> str:
    """A value as JSON on one line."""
    return json.dumps(value, ensure_ascii=False)
