"""Extraction of fields: an object of named values, as an invoice has a vendor, a total and items."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from functools import cached_property
from typing import TYPE_CHECKING, Annotated, Any, ClassVar, Self

from pydantic import BaseModel, BeforeValidator, StrictBool

from luthier.documents import described
from luthier.tasks.extraction.extraction import Extraction, in_template
from luthier.tasks.extraction.field_guessing import guess_fields
from luthier.tasks.extraction.field_schemas import shape_of
from luthier.tasks.extraction.field_shapes import Shape
from luthier.tasks.extraction.spans import Occurrences
from luthier.tasks.json_documents import NoValue, compact
from luthier.tasks.prediction import Prediction
from luthier.tasks.quoting import short
from luthier.tasks.types import Column, GuessedSettings, TypeSettings

if TYPE_CHECKING:
    from luthier.tasks.extraction.extraction_metrics import Count

__all__ = ["FieldExtraction", "FieldSettings"]

TAKEN = (
    *("fields", "state", "error", "row", "text", "truth", "raw"),
    *("cost_usd", "latency_seconds", "input_tokens", "output_tokens"),
)
"""Columns of tables of predictions and answers, which no field may be called."""

LONGEST_ANSWER_BYTES = 4000


def _schema_of(given: Any) -> Any:
    """The JSON schema of a model of pydantic; anything else as it is."""
    if isinstance(given, type) and issubclass(given, BaseModel):
        return given.model_json_schema()
    if isinstance(given, Mapping) and not all(isinstance(name, str) for name in given):
        raise ValueError("a name of a field is no text; put yes, no, on, off and numbers in quotes")
    if not isinstance(given, Mapping):
        raise ValueError(
            f"it is {described(given)}; fields are a block of names and types, as in {{vendor: string}}, "
            "or a JSON schema of an object"
        )
    return given


class FieldSettings(TypeSettings):
    """Settings of a task of type `extraction` that reads fields."""

    fields: Annotated[dict[str, Any], BeforeValidator(_schema_of)]
    """The fields: a JSON schema of an object, or in short {vendor: string, total: number, items: [string]}; in Python
    also a model of pydantic."""
    verbatim: StrictBool | tuple[str, ...] = False
    """Fields whose texts must stand in the text that is read, by name; `true` for all that hold texts."""


class FieldExtraction(Extraction):
    """Fields of a text: the values of an object."""

    Settings: ClassVar[type[TypeSettings]] = FieldSettings
    value_name: ClassVar[str] = "fields"
    parts_title: ClassVar[str] = "Field by field"
    part_name: ClassVar[str] = "field"
    constant_note: ClassVar[str] = "The most frequent value of each field"
    settings: FieldSettings
    shape: Shape

    @classmethod
    def of(cls, labels: Sequence[str], settings: TypeSettings) -> Self:
        """The type of a task with these fields.

        Raises:
            ValueError: the fields are no JSON schema that can be asked for and judged, or one has a name that is taken.
        """
        if labels:
            raise ValueError("labels are kinds of spans, and this task reads fields; give one of the two")
        made = super().of((), settings)
        made.shape = shape_of(made.settings.fields)
        taken = [name for name in made.shape.names if name in TAKEN]
        if taken:
            raise ValueError(
                f"a field is called {taken[0]!r}, as a column of every table of answers is; call it otherwise. "
                f"Taken are: {', '.join(TAKEN)}"
            )
        assert made._verbatim is not None
        return made

    @cached_property
    def leaves(self) -> tuple[tuple[tuple[str, ...], Shape], ...]:
        """What is judged by itself, with the names that lead there."""
        return tuple(self.shape.leaves())

    @cached_property
    def _verbatim(self) -> frozenset[tuple[str, ...]]:
        """The leaves whose texts must stand in the text."""
        with_texts = [path for path, shape in self.leaves if _holds_texts(shape)]
        given = self.settings.verbatim
        if isinstance(given, bool):
            return frozenset(with_texts if given else ())
        found = set()
        for name in given:
            paths = [path for path in with_texts if f"{'.'.join(path)}.".startswith(f"{name}.")]
            if not paths:
                there = ", ".join(".".join(path) for path in with_texts) or "none"
                raise ValueError(f"verbatim has {name!r}, which is no field with texts; those are: {there}")
            found.update(paths)
        return frozenset(found)

    @cached_property
    def parts(self) -> Sequence[str]:
        """The fields, those within others with a dot, as in `address.city`."""
        return tuple(".".join(path) for path, _ in self.leaves)

    def parts_of(self, truth: Any) -> Sequence[str]:
        """The fields that have a value."""
        return [".".join(path) for path, _ in self.leaves if _at(truth, path) not in (None, [])]

    def value_of(self, document: Any, *, answered: bool) -> Any:
        """The fields that a document states."""
        if isinstance(document, dict) and set(document) == {self.value_name} and isinstance(document["fields"], dict):
            document = document["fields"]
        return self.shape.read(document, "", complete=answered)

    def held(self, value: Any, text: str) -> Any:
        """The fields, with those that are quoted spelled as they stand in the text."""
        if not self._verbatim:
            return value
        places = Occurrences(text)

        def quoted(one: Any, path: tuple[str, ...]) -> Any:
            if isinstance(one, dict):
                return {name: quoted(inner, (*path, name)) for name, inner in one.items()}
            if isinstance(one, list):
                return [quoted(inner, path) for inner in one]
            if not isinstance(one, str) or not any(path[: len(leaf)] == leaf for leaf in self._verbatim):
                return one
            place = places.first(one)
            if place is None:
                raise NoValue(f"{'.'.join(path)} is {short(one[:200])}, which does not stand in the text")
            return text[place[0] : place[1]]

        return quoted(value, ())

    def allowed(self, cells: Sequence[object]) -> str:
        """What is wrong with the first of these cells, and what one holds."""
        why = self._stated(cells[0]).why
        return (
            f"{'' if why is None else f'In the first of them, {why}. '}Fields are: {', '.join(self.shape.names)}. A "
            "cell holds an object of them, in text as JSON; what the text does not state is null or left out."
        )

    @property
    def answer_bytes(self) -> int:
        """Room for usual values of every field; a spec for longer ones says so as decoding.max_tokens."""
        return min(LONGEST_ANSWER_BYTES, _room(self.shape))

    def schema(self, words: Sequence[str]) -> dict[str, Any]:
        """The object."""
        return self.shape.schema()

    def answer_schema(self, words: Sequence[str]) -> dict[str, Any]:
        """The object itself."""
        return self.schema(words)

    def as_answer(self, value: Any, *, as_json: bool) -> str:
        """The object, with every key."""
        return compact(value)

    def question(self) -> str:
        """Names the fields, what each is, and the form of an answer."""
        lines = [line for name, shape in self.shape.properties for line in self._lines((name,), shape)]
        form = compact({name: _blank(shape) for name, shape in self.shape.properties})
        return in_template(
            "Read these fields from the text:\n"
            + "\n".join(lines)
            + f"\nAnswer with JSON alone, with every field: {form}. What the text does not state is null, "
            "or an empty list."
        )

    def _lines(self, path: tuple[str, ...], shape: Shape) -> Iterator[str]:
        said = f"- {'.'.join(path)}: {_kind(shape)}"
        if path in self._verbatim:
            said += ", copied from the text as it stands there"
        yield f"{said}; {shape.description}" if shape.description else said
        inner = shape.items if shape.items is not None and shape.items.kind == "object" else shape
        for name, one in inner.properties:
            yield from self._lines((*path, name), one)

    @property
    def columns(self) -> dict[str, Column]:
        """All fields as JSON, each by itself, state and error."""
        own: dict[str, Column] = {
            name: "number" if shape.kind in ("number", "integer") else "text" for name, shape in self.shape.properties
        }
        return {self.value_name: "text", **own, "state": "text", "error": "text"}

    def record(self, prediction: Prediction) -> dict[str, Any]:
        """One prediction under the names of its columns; lists, objects and booleans as JSON."""
        value = prediction.value
        own = {name: None if value is None else _cell(value[name]) for name in self.shape.names}
        return {
            self.value_name: self.cell(value),
            **own,
            "state": prediction.state,
            "error": prediction.error,
        }

    def constant(self, truths: Sequence[Any]) -> Prediction:
        """The most frequent value of each field; nothing where it must stand in the text."""
        found = {}
        for name, shape in self.shape.properties:
            quoted = any(path[0] == name for path in self._verbatim)
            times = Counter(compact(truth[name]) for truth in truths)
            usual = max(times, key=lambda said: times[said])
            values = {compact(truth[name]): truth[name] for truth in truths}
            found[name] = ([] if shape.kind == "array" else None) if quoted else values[usual]
        return Prediction(found, "ok")

    @classmethod
    def guess(cls, table: Mapping[str, Sequence[Any]], text: str, label: str) -> GuessedSettings:
        """The fields of the objects in the column."""
        return guess_fields(table[text], table[label], label)

    def counts(self, truth: Any, value: Any | None) -> Mapping[str, Count]:
        """Fields that are equal, and others that are partly so; of lists every entry counts."""
        from luthier.tasks.extraction.field_counts import count_of

        return {".".join(path): count_of(shape, _at(truth, path), _at(value, path)) for path, shape in self.leaves}


def _at(value: Any, path: Sequence[str]) -> Any:
    for name in path:
        if value is None:
            return None
        value = value[name]
    return value


def _holds_texts(shape: Shape) -> bool:
    if shape.items is not None:
        return _holds_texts(shape.items)
    if shape.kind == "object":
        return any(_holds_texts(one) for _, one in shape.properties)
    return shape.kind == "string" and not shape.choices


def _cell(value: Any) -> Any:
    return compact(value) if isinstance(value, bool | list | dict) else value


def _kind(shape: Shape) -> str:
    if shape.items is not None:
        return f"list of {_kind(shape.items)}s" if not shape.items.choices else f"list of {_kind(shape.items)}"
    if shape.choices:
        return "one of " + ", ".join(map(compact, shape.choices))
    names = {"string": "text", "integer": "whole number", "boolean": "true or false"}
    return names.get(shape.kind, shape.kind)


def _blank(shape: Shape) -> Any:
    """What stands in the form of an answer."""
    if shape.items is not None:
        return [_blank(shape.items)]
    if shape.kind == "object":
        return {name: _blank(one) for name, one in shape.properties}
    return shape.choices[0] if shape.choices else {"string": "...", "boolean": True}.get(shape.kind, 0)


def _room(shape: Shape) -> int:
    if shape.items is not None:
        return 5 * _room(shape.items)
    if shape.kind == "object":
        return sum(len(compact(name)) + 4 + _room(one) for name, one in shape.properties)
    if shape.choices:
        return max(len(compact(choice).encode()) for choice in shape.choices) + 2
    return 80 if shape.kind == "string" else 20
