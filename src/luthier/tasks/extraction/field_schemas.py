"""What a task says about its fields: a JSON schema, or the short form of one."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from luthier.documents import described
from luthier.tasks.extraction.field_shapes import KINDS, Kind, Shape

__all__ = ["shape_of"]

DEEPEST = 5
"""Levels of objects and lists; what OpenAI's structured outputs have taken from the start."""

MOST_FIELDS = 100
"""Properties in all, those of objects within objects included; likewise."""

MOST_CHOICES = 500
"""Values of one `enum`; likewise."""

UNDERSTOOD = {"type", "enum", "const", "items", "properties", "required", "description", "nullable", "anyOf", "$ref"}
REMARKS = {"title", "default", "examples", "$schema", "$id", "$comment", "$defs", "definitions", "additionalProperties"}
"""Keywords that say nothing which an answer could break; `additionalProperties` is always false."""


def shape_of(fields: Mapping[str, Any]) -> Shape:
    """The shape of an object: of a JSON schema, or of the short form.

    In the short form a name has a type (`vendor: string`), a list of one (`items: [string]`), a block of fields, or a
    JSON schema of its own; everything in it may be absent. In a JSON schema what is not `required` may be absent.

    Examples:
        >>> shape_of({"vendor": "string", "items": ["string"]}).schema()["properties"]["items"]
        {'type': 'array', 'items': {'type': 'string'}}

    Raises:
        ValueError: it is neither, or has more, or deeper, fields than services take.
    """
    given = dict(fields)
    whole = isinstance(given.get("properties"), Mapping) and given.get("type", "object") == "object"
    defined = {**given.get("definitions", {}), **given.get("$defs", {})} if whole else {}
    found = _SchemaReader(defined).schema(given, "fields", 0) if whole else _SchemaReader({}).block(given, "fields", 0)
    if not found.properties:
        raise ValueError("fields names no field, as in fields: {vendor: string, total: number}")
    count = _count(found)
    if count > MOST_FIELDS:
        raise ValueError(f"fields has {count} fields, those within others included; services take {MOST_FIELDS}")
    return found


def _count(shape: Shape) -> int:
    within = [one for _, one in shape.properties] + ([shape.items] if shape.items is not None else [])
    return len(shape.properties) + sum(map(_count, within))


class _SchemaReader:
    """Reads schemas that refer to definitions."""

    def __init__(self, defined: Mapping[str, Any]) -> None:
        self._defined = defined

    def block(self, given: Mapping[Any, Any], path: str, depth: int) -> Shape:
        """The short form of an object."""
        self._check_depth(path, depth)
        found = ((_name(name, path), self.short(one, f"{path}.{name}", depth + 1)) for name, one in given.items())
        return Shape("object", nullable=depth > 0, properties=tuple(found))

    def short(self, given: Any, path: str, depth: int) -> Shape:
        """The short form of a value."""
        self._check_depth(path, depth)
        if isinstance(given, str):
            kind = self._kind(given, path)
            if kind in ("array", "object"):
                raise ValueError(
                    f"{path} is of type {kind}; say of what: a list of texts is [string], a block {{name: string}}"
                )
            return Shape(kind, nullable=True)
        if isinstance(given, list):
            if len(given) != 1:
                raise ValueError(
                    f"{path} is a list of {len(given)}; a list of texts is [string], and choices are {{enum: [a, b]}}"
                )
            items = self.short(given[0], f"{path}[]", depth + 1)
            return Shape("array", nullable=True, items=replace(items, nullable=False))
        if isinstance(given, Mapping):
            if self._is_schema(given):
                return replace(self.schema(given, path, depth), nullable=True)
            return self.block(given, path, depth)
        raise ValueError(
            f"{path} is {described(given)}; give a type: {', '.join(KINDS[:4])}, or a list or block of them"
        )

    def _is_schema(self, given: Mapping[Any, Any]) -> bool:
        """Whether it is no block of fields: one may have a field called `type`, and none of type `3` or `date`."""
        typed = isinstance(given.get("type"), str) and given["type"] in KINDS
        if typed and any(not isinstance(one, list | Mapping) and one not in KINDS for one in given.values()):
            return True
        return given.keys() <= UNDERSTOOD | REMARKS and bool(given.keys() & {"type", "enum", "anyOf", "const"})

    def schema(self, given: Mapping[str, Any], path: str, depth: int) -> Shape:
        """A JSON schema."""
        self._check_depth(path, depth)
        if not isinstance(given, Mapping):
            raise ValueError(f"{path} is {described(given)}, not a JSON schema")
        given, nullable = self._plain(given, path)
        kind = given.get("type")
        if isinstance(kind, list):
            nullable = nullable or "null" in kind
            kinds = [one for one in kind if one != "null"]
            kind = kinds[0] if len(kinds) == 1 else kind
        choices = given.get("enum", [given["const"]] if "const" in given else ())
        if choices:
            return self._choices(choices, nullable, given, path)
        if kind is None:
            kind = "object" if "properties" in given else "array" if "items" in given else None
        found = self._kind(kind, path)
        described_as = " ".join(str(given.get("description", "")).split())
        if found == "array":
            if not isinstance(given.get("items"), Mapping):
                raise ValueError(f"{path} is an array; say of what, as in items: {{type: string}}")
            items = self.schema(given["items"], f"{path}[]", depth + 1)
            return Shape("array", nullable, items=replace(items, nullable=False), description=described_as)
        if found == "object":
            return Shape("object", nullable, properties=self._properties(given, path, depth), description=described_as)
        return Shape(found, nullable, description=described_as)

    def _plain(self, given: Mapping[str, Any], path: str) -> tuple[Mapping[str, Any], bool]:
        """The schema without references and without null among alternatives, and whether null was there."""
        nullable = bool(given.get("nullable", False))
        for _ in range(DEEPEST * 2):
            unknown = [key for key in given if key not in UNDERSTOOD | REMARKS]
            if unknown:
                raise ValueError(
                    f"{path} has the keyword {unknown[0]!r}, which is not checked; leave it out, and say in the "
                    "description what a model should know"
                )
            if "$ref" in given:
                name = str(given["$ref"]).rpartition("/")[2]
                if name not in self._defined:
                    raise ValueError(f"{path} refers to {given['$ref']!r}, which $defs does not define")
                given = {**self._defined[name], **{key: value for key, value in given.items() if key != "$ref"}}
            elif "anyOf" in given:
                others = [one for one in given["anyOf"] if one != {"type": "null"}]
                if len(others) != 1:
                    raise ValueError(f"{path} has {len(others)} alternatives; one type, or one and null, can be judged")
                nullable = nullable or len(others) < len(given["anyOf"])
                given = {**others[0], **{key: value for key, value in given.items() if key != "anyOf"}}
            else:
                return given, nullable
        raise ValueError(f"{path} refers to itself")

    def _choices(self, choices: Any, nullable: bool, given: Mapping[str, Any], path: str) -> Shape:
        if not isinstance(choices, list) or len(choices) > MOST_CHOICES:
            raise ValueError(f"{path}: enum is a list of at most {MOST_CHOICES} values")
        values = [one for one in choices if one is not None]
        texts = all(isinstance(one, str) for one in values)
        numbers = all(isinstance(one, int | float) and not isinstance(one, bool) for one in values)
        if not values or not (texts or numbers):
            raise ValueError(f"{path}: enum has texts, or numbers; yes and no stand in quotes in YAML")
        whole = all(isinstance(one, int) for one in values)
        kind: Kind = "string" if texts else "integer" if whole else "number"
        said = " ".join(str(given.get("description", "")).split())
        return Shape(kind, nullable or len(values) < len(choices), tuple(dict.fromkeys(values)), description=said)

    def _properties(self, given: Mapping[str, Any], path: str, depth: int) -> tuple[tuple[str, Shape], ...]:
        properties, required = given.get("properties"), given.get("required", ())
        if not isinstance(properties, Mapping) or not properties:
            raise ValueError(f"{path} is an object; say of what, as in properties: {{name: {{type: string}}}}")
        unknown = [name for name in required if name not in properties]
        if unknown:
            raise ValueError(f"{path} requires {unknown[0]!r}, which is none of its properties")
        found = []
        for name, one in properties.items():
            shape = self.schema(one, f"{path}.{name}", depth + 1)
            found.append((_name(name, path), shape if name in required else replace(shape, nullable=True)))
        return tuple(found)

    def _kind(self, given: Any, path: str) -> Kind:
        for kind in KINDS:
            if given == kind:
                return kind  # type: ignore[return-value]
        raise ValueError(
            f"{path} is of type {described(given)}; types are: {', '.join(KINDS)}. A date is a string; what it "
            "looks like is said in a description"
        )

    def _check_depth(self, path: str, depth: int) -> None:
        if depth > DEEPEST:
            raise ValueError(f"{path[:200]} is nested more than {DEEPEST} deep")


def _name(given: Any, path: str) -> str:
    if not isinstance(given, str) or not given.strip():
        raise ValueError(
            f"{path} has a field called {described(given)}; a name is a text, in YAML in quotes if it is yes or no"
        )
    return given
