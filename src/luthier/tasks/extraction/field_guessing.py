"""Guesses the fields of a task, and their types, from the objects in a labelled table."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence
from typing import Any

from luthier.documents import described
from luthier.tasks.extraction.spans import Occurrences
from luthier.tasks.json_documents import NoValue, cell_document
from luthier.tasks.types import GuessedSettings

__all__ = ["guess_fields"]

MOST_CHOICES, LONGEST_CHOICE, FEWEST_EACH = 8, 40, 3
"""Texts of a field are choices if they are few and short and each of them occurs several times."""

KIND_WORDS = {
    "string": "a text",
    "number": "a number",
    "integer": "a number",
    "boolean": "true or false",
    "array": "a list",
    "object": "an object",
}


class _SeenValues:
    """What a field holds in the rows that were read."""

    def __init__(self) -> None:
        self.kind: str | None = None
        self.texts: Counter[str] = Counter()
        self.fields: dict[str, _SeenValues] = {}
        self.items: _SeenValues | None = None
        self.in_text = True

    def add(self, value: Any, path: str, row: int, places: Occurrences) -> None:
        """Takes another value into account.

        Raises:
            ValueError: it is of another type than those before.
        """
        if value is None:
            return
        kinds = {bool: "boolean", int: "integer", float: "number", str: "string", list: "array", dict: "object"}
        kind = kinds.get(type(value))
        if kind is None:
            raise ValueError(f"row {row}: {path} is {described(value)}, which no field of JSON can be")
        if {kind, self.kind} == {"integer", "number"}:
            kind = "number"
        elif self.kind not in (None, kind):
            raise ValueError(f"row {row}: {path} is {KIND_WORDS[kind]} here and {KIND_WORDS[str(self.kind)]} before")
        self.kind = kind
        if isinstance(value, str):
            self.texts[value] += 1
            self.in_text = self.in_text and (not value.strip() or places.first(value) is not None)
        elif isinstance(value, list):
            self.items = self.items or _SeenValues()
            for one in value:
                self.items.add(one, f"{path}[]", row, places)
        elif isinstance(value, dict):
            for name, one in value.items():
                self.fields.setdefault(name, _SeenValues()).add(one, f"{path}.{name}" if path else name, row, places)

    def short(self, *, choices: bool = True) -> Any:
        """The field as a task says it in short."""
        if self.kind == "object":
            return {name: one.short() for name, one in self.fields.items()}
        if self.kind == "array":
            return [self.items.short(choices=False) if self.items is not None else "string"]
        if choices and self.kind == "string" and self._are_choices():
            return {"enum": sorted(self.texts)}
        return self.kind or "string"

    def _are_choices(self) -> bool:
        few = 2 <= len(self.texts) <= MOST_CHOICES
        return few and all(len(text) <= LONGEST_CHOICE and times >= FEWEST_EACH for text, times in self.texts.items())

    def quoted(self, path: str = "") -> Iterator[str]:
        """The fields whose texts all stand in their texts."""
        for name, one in self.fields.items():
            here = f"{path}.{name}" if path else name
            last = one.items if one.items is not None else one
            if last.kind == "object":
                yield from last.quoted(here) if last is one else ()
            elif last.kind == "string" and last.in_text and last.texts and not (last is one and one._are_choices()):
                yield here


def guess_fields(texts: Sequence[Any], cells: Sequence[Any], label: str) -> GuessedSettings:
    """The fields of the objects in a column, with their types in short.

    Args:
        texts: that the objects were read from.
        cells: the objects, or JSON of them.
        label: name of their column.

    Raises:
        ValueError: a cell is no object, or a field has several types.
    """
    seen, there = _SeenValues(), Counter[str]()
    for row, (text, cell) in enumerate(zip(texts, cells, strict=True), 1):
        try:
            document = cell_document(cell)
        except NoValue as why:
            if str(why) == "it is empty":
                continue
            raise ValueError(f"row {row}: {why}; fields are an object, in text as JSON") from None
        if not isinstance(document, dict):
            raise ValueError(f"row {row}: it is no object; fields are an object, in text as JSON")
        inner = document.get("fields") if set(document) == {"fields"} else None
        fields = inner if isinstance(inner, dict) else document
        seen.add(fields, "", row, Occurrences(str(text or "")))
        there.update(name for name, value in fields.items() if value not in (None, [], ""))
    if not seen.fields:
        raise ValueError("it holds no field at all")
    reasons = [f"{label!r} holds objects: their fields, with types as they occur"]
    quoted = list(seen.quoted())
    if quoted:
        which = ", ".join(quoted)
        reasons.append(f"found in every text: {which}; verbatim: [{which}] in the task refuses answers that are not")
    counts = {name: there[name] for name in seen.fields}
    return GuessedSettings({"fields": seen.short()}, tuple(reasons), counts)
