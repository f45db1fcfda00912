"""Extraction of spans: which stretches of a text name a person, a place or another kind of thing."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import replace
from functools import cached_property
from itertools import pairwise
from typing import TYPE_CHECKING, Any, ClassVar, Self

from pydantic import StrictBool

from luthier.tasks.extraction.extraction import Extraction, in_template
from luthier.tasks.extraction.field_extraction import FieldExtraction
from luthier.tasks.extraction.spans import (
    TAG,
    Span,
    plain_tag,
    read_spans,
    spans_answered,
    spans_in,
    spans_of_tags,
)
from luthier.tasks.json_documents import NoValue, cell_document, compact
from luthier.tasks.prediction import Prediction
from luthier.tasks.spellings import Labels, missing
from luthier.tasks.types import Column, GuessedSettings, Judged, Measure, StartingSpec, TaskType, TypeSettings

if TYPE_CHECKING:
    from luthier.tasks.extraction.extraction_metrics import Count

__all__ = ["SpanExtraction", "SpanSettings"]

MOST_KINDS = 100

UNPLACED_RATE = Measure(
    "unplaced",
    "lower",
    "share",
    "Share of rows whose answer states a span that has no place in the text; it is left out, and counts as wrong.",
    kind="rate",
)


class SpanSettings(TypeSettings):
    """Settings of a task of type `extraction` that looks for spans."""

    labels: Labels = ()
    """The kinds of spans, as in [PER, ORG, LOC]."""
    overlapping: StrictBool = False
    """Whether a character may be in several spans, as in a place within the name of a company."""


class SpanExtraction(Extraction):
    """Spans of a text, each of one kind."""

    Settings: ClassVar[type[TypeSettings]] = SpanSettings
    value_name: ClassVar[str] = "spans"
    parts_title: ClassVar[str] = "Kind by kind"
    part_name: ClassVar[str] = "kind of span"
    constant_note: ClassVar[str] = "An empty list"
    constant_learns: ClassVar[bool] = False
    partial_rate: ClassVar[str] = "unplaced_rate"
    partial_note: ClassVar[str] = "spans that have no place in the text"
    variant_settings: ClassVar[tuple[str, ...]] = ("fields", "verbatim")
    settings: SpanSettings

    @classmethod
    def variant(cls, given: Mapping[str, Any]) -> type[TaskType]:
        """`FieldExtraction` of a task with `fields`."""
        return FieldExtraction if "fields" in given else cls

    @classmethod
    def of(cls, labels: Sequence[str], settings: TypeSettings) -> Self:
        """The type of a task with these kinds of spans.

        Raises:
            ValueError: there are none, too many, or one is empty or twice there.
        """
        made = super().of(labels, settings)
        kinds = made.parts
        if not kinds:
            raise ValueError(
                "an extraction names kinds of spans, as in labels: [PER, ORG, LOC], or fields, as in "
                "fields: {vendor: string, total: number}"
            )
        if len(kinds) > MOST_KINDS:
            raise ValueError(f"labels has {len(kinds)} kinds of spans, and at most {MOST_KINDS} are told apart")
        if "" in kinds:
            raise ValueError("a label is empty")
        repeated = [kind for kind, times in Counter(kinds).items() if times > 1]
        if repeated:
            raise ValueError(f"labels repeats {', '.join(repeated)}")
        return made

    @property
    def parts(self) -> Sequence[str]:
        """The kinds of spans."""
        return self.settings.labels

    def parts_of(self, truth: Any) -> Sequence[str]:
        """The kinds of its spans."""
        return [span["label"] for span in truth]

    @cached_property
    def _spellings(self) -> Mapping[str, str]:
        folded = Counter(kind.casefold() for kind in self.parts)
        return {kind.casefold(): kind for kind in self.parts if folded[kind.casefold()] == 1} | {
            kind: kind for kind in self.parts
        }

    def value_of(self, document: Any, *, answered: bool) -> Any:
        """The spans that a document states, as yet without their places where it gives none."""
        found = read_spans(document, self._spellings, offsets=not answered)
        return {"answered": found} if answered else found

    def held(self, value: Any, text: str) -> list[Span]:
        """The spans with their places and texts, in order; after them those of an answer that have no place."""
        if "answered" in value:
            return spans_answered(text, value["answered"], overlapping=self.settings.overlapping)
        return spans_in(text, value, overlapping=self.settings.overlapping)

    @property
    def metrics(self) -> Mapping[str, Measure]:
        """Those of extraction, and how often spans are stated that have no place in the text."""
        return {**super().metrics, "unplaced_rate": UNPLACED_RATE}

    def judge(self, truths: Sequence[Any], predictions: Sequence[Prediction]) -> Judged:
        """Holds predictions against truths, kind by kind."""
        partial = sum(self.is_partial(prediction.value) for prediction in predictions)
        return replace(super().judge(truths, predictions), rates={"unplaced_rate": (partial, len(predictions))})

    def is_partial(self, value: Any) -> bool:
        """Whether a span of the answer has no place in the text."""
        return bool(_unplaced(value))

    @property
    def columns(self) -> dict[str, Column]:
        """Spans that have a place, those that have none, state and error."""
        return {self.value_name: "text", "unplaced": "text", "state": "text", "error": "text"}

    def record(self, prediction: Prediction) -> dict[str, Any]:
        """One prediction under the names of its columns."""
        unplaced = _unplaced(prediction.value)
        placed = None if prediction.value is None else prediction.value[: len(prediction.value) - len(unplaced)]
        columns = super().record(replace(prediction, value=placed))
        return {
            self.value_name: columns.pop(self.value_name),
            "unplaced": compact(unplaced) if unplaced else None,
        } | columns

    def recorded(self, record: Mapping[str, Any]) -> Any:
        """The spans of both columns."""
        placed = super().recorded(record)
        return placed if placed is None else placed + cell_document(record["unplaced"] or "[]")

    def allowed(self, cells: Sequence[object]) -> str:
        """What is wrong with the first of these cells, and the forms that are read."""
        why = self._stated(cells[0]).why
        return (
            f"{'' if why is None else f'In the first of them, {why}. '}Kinds of spans are: {', '.join(self.parts)}. "
            f'A cell holds [{{"start": 0, "end": 5, "label": "{self.parts[0]}"}}], counted in characters from 0, or '
            '"text" in place of the offsets, or a BIO tag for each token; for a text without spans [].'
        )

    @property
    def answer_bytes(self) -> int:
        """Room for some thirty spans; a spec for long texts says more, or less, as decoding.max_tokens."""
        return 1000

    def schema(self, words: Sequence[str]) -> dict[str, Any]:
        """A list of texts, each with its kind."""
        span = {"text": {"type": "string"}, "label": {"type": "string", "enum": list(self.parts)}}
        one = {"type": "object", "properties": span, "required": list(span), "additionalProperties": False}
        return {"type": "array", "items": one}

    def as_answer(self, value: Any, *, as_json: bool) -> str:
        """The texts of the spans with their kinds; a model cannot count characters."""
        return compact({"spans": [{"text": span["text"], "label": span["label"]} for span in value]})

    def question(self) -> str:
        """Names the kinds of spans and the form of an answer."""
        kinds = self.parts
        apart = "" if self.settings.overlapping else " Spans do not overlap."
        return in_template(
            f"Find every span of these kinds in the text: {', '.join(kinds)}. Answer with JSON alone: "
            f'{{"spans": [{{"text": "...", "label": "{kinds[0]}"}}]}}. Copy each from the text exactly as it stands '
            f'there, in order, as often as it occurs.{apart} Where there is none, answer {{"spans": []}}.'
        )

    def starting_specs(self) -> tuple[StartingSpec, ...]:
        """Names known from the training rows, and prompts."""
        known = "The names that the training rows mark, found again: free, and what a language model has to beat."
        return (StartingSpec("baseline", known, {"technique": "baseline"}), *super().starting_specs())

    def constant(self, truths: Sequence[Any]) -> Prediction:
        """Nothing found."""
        return Prediction([], "ok")

    def counts(self, truth: Any, value: Any | None) -> Mapping[str, Count]:
        """Spans with the right place and kind, and others that overlap a true one of their kind.

        Each true span is given to one answered span at most: to its equal, else to the first that overlaps it. A span
        without a place is an answer that is right in nothing.
        """
        from luthier.tasks.extraction.extraction_metrics import Count

        found: dict[str, Count] = defaultdict(Count)
        true, said = _places(truth), _places(value or [])
        for kind in true.keys() | said.keys():
            right = true[kind] & said[kind]
            one = found[kind]
            one.found, one.support, one.answered = len(right), len(true[kind]), len(said[kind])
            one.partial = _overlaps(sorted(true[kind] - right), sorted(said[kind] - right))
        for span in _unplaced(value):
            found[span["label"]].answered += 1
        return found

    @classmethod
    def guess(cls, table: Mapping[str, Sequence[Any]], text: str, label: str) -> GuessedSettings:
        """The kinds of spans in a column of tags, or of lists of spans; fields where it holds other objects."""
        first = next((cell for cell in table[label] if not missing(cell)), None)
        if _is_object(first):
            return FieldExtraction.guess(table, text, label)
        kinds: Counter[str] = Counter()
        tagged, overlapping = False, 0
        for number, cell in enumerate(table[label], 1):
            try:
                document = cell_document(cell)
                if isinstance(document, str):
                    document = document.split()
                if isinstance(document, dict):
                    document = document.get("spans", document.get("tags"))
                tags = isinstance(document, list) and all(isinstance(one, str) for one in document) and document
                tagged = tagged or bool(tags)
                kinds.update(_kinds_of_tags(document) if tags else _kinds_of_spans(document))
                overlapping = overlapping or number * _do_overlap(document)
            except NoValue as why:
                if str(why) == "it is empty":
                    continue
                raise ValueError(
                    f"row {number}: {why}; spans are a list of objects with start, end and label, or "
                    "a BIO tag for each token"
                ) from None
        if not kinds:
            raise ValueError("it holds no span at all")
        settings: dict[str, Any] = {"labels": sorted(kinds)}
        reasons = [f"{label!r} holds {'BIO tags' if tagged else 'lists of spans'}"]
        if overlapping:
            settings["overlapping"] = True
            reasons.append(f"spans overlap, first in row {overlapping:,}")
        return GuessedSettings(settings, tuple(reasons), dict(sorted(kinds.items())))


def _places(spans: Sequence[Span]) -> dict[str, set[tuple[int, int]]]:
    found: dict[str, set[tuple[int, int]]] = defaultdict(set)
    for span in spans:
        if "start" in span:
            found[span["label"]].add((span["start"], span["end"]))
    return found


def _unplaced(spans: Sequence[Span] | None) -> list[Span]:
    return [span for span in spans or () if "start" not in span]


def _overlaps(true: Sequence[tuple[int, int]], said: Sequence[tuple[int, int]]) -> int:
    """How many answered spans overlap a true one of their own; both in order."""
    count = at = 0
    for start, end in said:
        while at < len(true) and true[at][1] <= start:
            at += 1
        if at < len(true) and true[at][0] < end:
            count, at = count + 1, at + 1
    return count


def _is_object(cell: object) -> bool:
    try:
        document = cell_document(cell)
    except NoValue:
        return False
    return isinstance(document, dict) and not document.keys() <= {"spans", "tags", "tokens", "text"}


def _kinds_of_tags(tags: Sequence[str]) -> list[str]:
    wrong = [tag for tag in tags if not TAG.fullmatch(tag)]
    if wrong:
        raise NoValue(f"{wrong[0][:60]!r} is no BIO tag")
    places = [(place, place + 1) for place in range(len(tags))]
    return [span["label"] or "SPAN" for span in spans_of_tags([plain_tag(tag) for tag in tags], places)]


def _kinds_of_spans(document: Any) -> list[str]:
    if not isinstance(document, list):
        raise NoValue("it is no list of spans")
    labels = [
        one.get("label") if isinstance(one, dict) else one[-1] if isinstance(one, list) and one else None
        for one in document
    ]
    if not all(isinstance(one, str) for one in labels):
        raise NoValue("a span has no label")
    return [str(one) for one in labels]


def _do_overlap(document: Sequence[Any]) -> bool:
    """Whether a character is in several of these spans; of those without offsets it is not known."""
    given: list[Any] = [(one.get("start"), one.get("end"), one["label"]) for one in document if isinstance(one, dict)]
    given += [tuple(one) for one in document if isinstance(one, list) and len(one) == 3]
    stated = sorted({one for one in given if isinstance(one[0], int | float) and isinstance(one[1], int | float)})
    return any(other[0] < one[1] for one, other in pairwise(stated))
