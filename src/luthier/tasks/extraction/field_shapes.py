"""Shapes of fields: what a value is, how one is read, and which JSON schema a model is held to."""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property
from typing import Any, Literal, TypeAlias

from luthier.documents import described
from luthier.tasks.json_documents import NoValue
from luthier.tasks.quoting import short

__all__ = ["KINDS", "Kind", "Shape"]

Kind: TypeAlias = Literal["string", "number", "integer", "boolean", "array", "object"]
"""A type of JSON."""

KINDS = ("string", "number", "integer", "boolean", "array", "object")

MOST_ITEMS = 10_000
"""Entries of a list; an answer with more is a model that does not stop."""


@dataclass(frozen=True)
class Shape:
    """What one value is.

    Attributes:
        kind: its type in JSON.
        nullable: whether it may be absent.
        choices: all that it may be, where that is a list.
        items: the shape of a list's entries.
        properties: shapes of an object's values by name.
        description: what it is, in words for the model.
    """

    kind: Kind
    nullable: bool = False
    choices: tuple[Any, ...] = ()
    items: Shape | None = None
    properties: tuple[tuple[str, Shape], ...] = ()
    description: str = ""

    @cached_property
    def names(self) -> tuple[str, ...]:
        """Names of an object's values."""
        return tuple(name for name, _ in self.properties)

    def leaves(self, path: tuple[str, ...] = ()) -> Iterator[tuple[tuple[str, ...], Shape]]:
        """What is judged by itself: single values and lists, by the names that lead there; objects are their values."""
        for name, shape in self.properties:
            here = (*path, name)
            if shape.kind == "object":
                yield from shape.leaves(here)
            else:
                yield here, shape

    def schema(self) -> dict[str, Any]:
        """The JSON schema, as strict structured outputs take it: every key required, none beside them."""
        null = self.nullable and self.kind != "array"
        found: dict[str, Any] = {"type": [self.kind, "null"] if null else self.kind}
        if self.description:
            found["description"] = self.description
        if self.choices:
            found["enum"] = [*self.choices, *([None] if null else [])]
        if self.items is not None:
            found["items"] = self.items.schema()
        if self.kind == "object":
            found["properties"] = {name: shape.schema() for name, shape in self.properties}
            found |= {"required": list(self.names), "additionalProperties": False}
        return found

    def read(self, value: Any, path: str, *, complete: bool) -> Any:
        """The value in its plain form: blank texts and absent lists as nothing, choices as they are spelled here.

        Args:
            value: of JSON.
            path: of the field, for messages; empty for the whole.
            complete: whether every key must be there, as in an answer; a person may leave out what is absent.

        Raises:
            NoValue: it has another shape; the message names the field.
        """
        if self.kind == "array":
            return self._list(value, path, complete=complete)
        if _is_blank(value) and (self.nullable or not isinstance(value, str)):
            if self.nullable:
                return None
            raise NoValue(f"{path or 'the object'} is null, and has to be there")
        if self.kind == "object":
            return self._object(value, path, complete=complete)
        if self.choices:
            return self._choice(value, path)
        return self._single(value, path)

    def _single(self, value: Any, path: str) -> Any:
        number = isinstance(value, int | float) and not isinstance(value, bool) and math.isfinite(value)
        if self.kind == "string" and isinstance(value, str):
            return value.strip()
        if self.kind == "number" and number:
            return value
        if self.kind == "integer" and number and float(value).is_integer():
            return int(value)
        if self.kind == "boolean" and isinstance(value, bool):
            return value
        raise NoValue(f"{path} is {described(value)}, not of type {self.kind}")

    def _choice(self, value: Any, path: str) -> Any:
        for choice in self.choices:
            if choice == value and not isinstance(value, bool):
                return choice
        folded = [c for c in self.choices if isinstance(value, str) and str(c).casefold() == value.strip().casefold()]
        if len(folded) == 1:
            return folded[0]
        raise NoValue(f"{path} is {described(value)}, none of {short(', '.join(map(str, self.choices)))}")

    def _list(self, value: Any, path: str, *, complete: bool) -> list[Any]:
        if value is None:
            return []
        if not isinstance(value, list):
            raise NoValue(f"{path} is {described(value)}, not a list")
        if len(value) > MOST_ITEMS:
            raise NoValue(f"{path} has {len(value):,} entries, and at most {MOST_ITEMS:,} are read")
        assert self.items is not None
        there = [(at, one) for at, one in enumerate(value) if not _is_blank(one)]
        return [self.items.read(one, f"{path}[{at}]", complete=complete) for at, one in there]

    def _object(self, value: Any, path: str, *, complete: bool) -> dict[str, Any]:
        if not isinstance(value, dict):
            raise NoValue(f"{path or 'the value'} is {described(value)}, not an object")
        shapes = dict(self.properties)
        unknown = [name for name in value if name not in shapes]
        if unknown:
            fields = ", ".join(self.names)
            raise NoValue(f"{short(_at(path, unknown[0])[:200])} is no field; fields are: {short(fields)}")
        if complete:
            absent = [name for name in shapes if name not in value]
            if absent:
                raise NoValue(f"{_at(path, absent[0])} is missing")
        return {name: one.read(value.get(name), _at(path, name), complete=complete) for name, one in self.properties}


def _is_blank(value: Any) -> bool:
    blank = isinstance(value, str) and not value.strip()
    return value is None or blank or (isinstance(value, float) and math.isnan(value))


def _at(path: str, name: str) -> str:
    return f"{path}.{name}" if path else name
