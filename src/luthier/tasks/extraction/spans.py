"""Spans of a text: how truths and answers write them, and where they stand.

A span that was read is a mapping with `start`, `end`, `label` and `text`: characters of the text, counted from 0 as
Python does, `end` not included. Before it is held against its text it may lack the offsets; tags lack everything else.
One that a model stated and that has no place in the text is unplaced: it has `label` and `text` alone.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from functools import cached_property
from itertools import pairwise
from typing import Any, TypeAlias

from luthier.documents import described
from luthier.tables.cells import utf8_safe
from luthier.tasks.json_documents import NoValue
from luthier.tasks.quoting import short

__all__ = [
    *("MOST_SPANS", "Occurrences", "Span", "TAG", "Tags"),
    *("plain_tag", "read_spans", "spans_answered", "spans_in", "spans_of_tags"),
]

Span: TypeAlias = dict[str, Any]
Tags: TypeAlias = dict[str, list[str]]

MOST_SPANS = 10_000
"""Spans of one text; an answer with more is a model that does not stop."""

ALLOWS_OVERLAPS = "`overlapping: true` in the task"

MOST_STEPS = 1_000_000
"""Occurrences that are looked at to place the spans of one text: `a` within a text of nothing else has many."""

TAG = re.compile(r"O|[BIESLU](-.+)?")
ENDS_AND_SINGLES = {"L": "E", "U": "S"}
"""BILOU calls the last token L and a single one U."""

ALIKE = str.maketrans("\u2018\u2019\u201a\u201c\u201d\u201e\u2010\u2011\u2012\u2013\u2014", "'''\"\"\"-----")
"""Quotes and dashes that models write as plain ones."""


def read_spans(document: Any, labels: Mapping[str, str], *, offsets: bool) -> list[Span] | Tags:
    """The spans that a document states; without offsets where it states none.

    Args:
        document: `{"spans": [...]}` or a list of mappings with `label` and `text`, of mappings with `start`, `end` and
            `label`, of `[start, end, label]`, or of tags; in a cell the tags may also be a text.
        labels: the kinds of spans by each spelling that stands for them.
        offsets: whether offsets count; a model cannot count characters, so those in an answer are not read.

    Raises:
        NoValue: it states no spans; the message says why.
    """
    if isinstance(document, str) and offsets:
        document = document.split()
    if isinstance(document, dict) and "tags" in document:
        document = document["tags"]
    elif isinstance(document, dict):
        if "spans" not in document:
            raise NoValue("the JSON has no spans")
        document = document["spans"]
    if not isinstance(document, list):
        raise NoValue(f"the spans are {described(document)}, not a list")
    if len(document) > MOST_SPANS:
        raise NoValue(f"{len(document):,} spans are stated, and at most {MOST_SPANS:,} are read")
    if offsets and document and all(isinstance(one, str) for one in document):
        return {"tags": _tags(document, labels)}
    spans = [_span(one, labels, offsets=offsets) for one in document]
    if len({"start" in span for span in spans}) > 1:
        raise NoValue("some spans have offsets and some have none")
    return in_order(spans) if spans and "start" in spans[0] else spans


def _span(given: Any, labels: Mapping[str, str], *, offsets: bool) -> Span:
    if offsets and isinstance(given, list) and len(given) == 3:
        given = dict(zip(("start", "end", "label"), given, strict=True))
    if not isinstance(given, dict):
        raise NoValue(f"a span is {described(given)}, not an object")
    span: Span = {}
    if offsets and given.get("start") is not None and given.get("end") is not None:
        for end in ("start", "end"):
            at = given[end]
            if isinstance(at, float) and at.is_integer():
                at = int(at)
            if isinstance(at, bool) or not isinstance(at, int):
                raise NoValue(f"the {end} of a span is {described(at)}, not a whole number")
            span[end] = at
    span["label"] = _label(given.get("label"), labels)
    text = given.get("text")
    if text is not None and not isinstance(text, str):
        raise NoValue(f"the text of a span is {described(text)}")
    if text is not None:
        span["text"] = text
    elif "start" not in span:
        raise NoValue("a span has no text" + (" and no offsets" if offsets else ""))
    return span


def _label(given: Any, labels: Mapping[str, str]) -> str:
    if isinstance(given, list) and len(given) == 1:
        given = given[0]
    if not isinstance(given, str):
        raise NoValue("a span has no label")
    found = labels.get(given) or labels.get(given.strip().casefold())
    if found is None:
        raise NoValue(f"{short(given[:200])} is no kind of span")
    return found


def _tags(given: Sequence[str], labels: Mapping[str, str]) -> list[str]:
    found = []
    for tag in given:
        if not TAG.fullmatch(tag):
            raise NoValue(f"{short(tag[:200])} is no tag: O, B-KIND and I-KIND are, with E and S or L and U too")
        mark, _, kind = plain_tag(tag).partition("-")
        if mark != "O":
            # A single kind need not be named.
            kind = next(iter(labels.values())) if not kind and len(set(labels.values())) == 1 else _label(kind, labels)
        found.append("O" if mark == "O" else f"{mark}-{kind}")
    return found


def plain_tag(tag: str) -> str:
    """The tag with the E and S of BIOES for the L and U of BILOU."""
    return ENDS_AND_SINGLES.get(tag[0], tag[0]) + tag[1:]


def spans_of_tags(tags: Sequence[str], tokens: Sequence[tuple[int, int]]) -> list[Span]:
    """The spans that tags mark, as conlleval and the default mode of seqeval read them.

    A span begins at B and S, where the kind changes, and at an I or E that nothing precedes; so IOB1, IOB2, IOE and
    BIOES are all read.

    Args:
        tags: `O`, `B-KIND`, `I-KIND`, `E-KIND` or `S-KIND` for each token.
        tokens: start and end of each token in the text.

    Examples:
        >>> spans_of_tags(["I-PER", "O", "B-LOC"], [(0, 3), (4, 6), (7, 12)])
        [{'start': 0, 'end': 3, 'label': 'PER'}, {'start': 7, 'end': 12, 'label': 'LOC'}]
    """
    spans: list[Span] = []
    before, kind_before = "O", ""
    for tag, (start, end) in zip(tags, tokens, strict=True):
        mark, _, kind = tag.partition("-")
        if mark != "O":
            if mark in "BS" or kind != kind_before or before in "OES":
                spans.append({"start": start, "end": end, "label": kind})
            spans[-1]["end"] = end
        before, kind_before = mark, kind
    return spans


def tokens_of(text: str, count: int) -> list[tuple[int, int]]:
    """Where each token of a text stands: what white space separates, or single spaces where only those give `count`.

    Raises:
        NoValue: the text has another number of tokens.
    """
    tokens = [found.span() for found in re.finditer(r"\S+", text)]
    if len(tokens) != count:
        by_spaces = [found.span() for found in re.finditer(r"[^ ]+", text)]
        if len(by_spaces) != count:
            raise NoValue(f"{count:,} tags for {len(tokens):,} tokens of the text, as white space separates them")
        tokens = by_spaces
    return tokens


def in_order(spans: Sequence[Span]) -> list[Span]:
    """The spans by where they stand, each once."""
    keyed = {(span["start"], span["end"], span["label"]): span for span in spans}
    return [keyed[key] for key in sorted(keyed)]


def spans_in(text: str, value: list[Span] | Tags, *, overlapping: bool) -> list[Span]:
    """The spans of a truth with their offsets and texts, in order, held against the text.

    A span with offsets must lie in the text, and have the text it states there. One without is looked for, as
    `spans_answered` does. White space at both ends of a span is no part of it.

    Args:
        text: that they stand in.
        value: what `read_spans` gave.
        overlapping: whether a character may be in several spans.

    Raises:
        NoValue: one has no place in the text, or two overlap that may not.
    """
    if isinstance(value, dict):
        value = spans_of_tags(value["tags"], tokens_of(text, len(value["tags"])))
    if not all("start" in span for span in value):
        placed, unplaced = _located(text, value, overlapping)
        for why in unplaced.values():
            raise NoValue(why)
        return in_order(placed)
    spans = in_order(list(_verified(text, value)))
    if not overlapping:
        for one, other in pairwise(spans):
            if other["start"] < one["end"]:
                raise NoValue(f"{_said(one)} and {_said(other)} overlap, which {ALLOWS_OVERLAPS} allows")
    return spans


def spans_answered(text: str, spans: Sequence[Span], *, overlapping: bool) -> list[Span]:
    """The spans of an answer that have a place in the text, in order, and after them the others, each once.

    A text is looked for exactly as stated, as words before as parts of words, else with another case, white space,
    quotes and dashes. Equal texts are given to successive occurrences; one stated more often than it occurs counts as
    often as it occurs.

    Examples:
        >>> spans = [{"text": "Bo", "label": "PER"}, {"text": "Ann", "label": "PER"}]
        >>> spans_answered("Ann left.", spans, overlapping=False)
        [{'start': 0, 'end': 3, 'label': 'PER', 'text': 'Ann'}, {'label': 'PER', 'text': 'Bo'}]

    Raises:
        NoValue: they stand in too many places to be looked at.
    """
    placed, unplaced = _located(text, spans, overlapping)
    stated = ({"label": spans[at]["label"], "text": utf8_safe(spans[at]["text"].strip())} for at in sorted(unplaced))
    return [*in_order(placed), *{(one["label"], one["text"]): one for one in stated}.values()]


def _said(span: Span) -> str:
    return f"{short(span['text'][:200])} ({span['label']})"


def _verified(text: str, spans: Sequence[Span]) -> Iterator[Span]:
    for span in spans:
        start, end = span["start"], span["end"]
        if not 0 <= start < end <= len(text):
            raise NoValue(f"a span from {start} to {end} does not lie in the text of {len(text):,} characters")
        there = text[start:end]
        if "text" in span and span["text"].strip() != utf8_safe(there.strip()):
            raise NoValue(f"the text has {short(there[:200])} from {start} to {end}, not {short(span['text'][:200])}")
        if not there.strip():
            raise NoValue(f"there is only white space from {start} to {end}")
        yield _trimmed(text, start, end, span["label"])


def _trimmed(text: str, start: int, end: int, label: str) -> Span:
    there = text[start:end]
    start += len(there) - len(there.lstrip())
    said = utf8_safe(there.strip())
    return {"start": start, "end": start + len(said), "label": label, "text": said}


def _located(text: str, spans: Sequence[Span], overlapping: bool) -> tuple[list[Span], dict[int, str]]:
    """The spans that have a place, and of the others their number and why they have none."""
    places = Occurrences(text)
    taken = bytearray(len(text))
    found: list[Span] = []
    last: dict[str, Span] = {}
    unplaced: dict[int, str] = {}
    # The longest first: Basel alone is not the one in University of Basel, whichever is named first.
    in_turn = range(len(spans))
    for at in in_turn if overlapping else sorted(in_turn, key=lambda at: -len(spans[at]["text"].strip())):
        said, label = spans[at]["text"].strip(), spans[at]["label"]
        if not said:
            unplaced[at] = "a span has an empty text"
            continue
        for start, end in places.of(said):
            if overlapping or taken.find(1, start, end) < 0:
                taken[start:end] = b"\1" * (end - start)
                last[said] = _trimmed(text, start, end, label)
                found.append(last[said])
                break
        else:
            if said in last and (overlapping or last[said]["label"] == label):
                found.append({**last[said], "label": label})
            elif places.lacks(said):
                unplaced[at] = f"{short(said[:200])} does not stand in the text"
            else:
                unplaced[at] = (
                    f"{short(said[:200])} ({label}) stands in the text within other spans only, "
                    f"which {ALLOWS_OVERLAPS} allows"
                )
    return found, unplaced


class Occurrences:
    """Occurrences of stated texts, each given out once."""

    def __init__(self, text: str) -> None:
        self._text = text
        self._left: dict[str, Iterator[tuple[int, int]]] = {}
        self._seen: set[str] = set()
        self._steps = 0

    def of(self, said: str) -> Iterator[tuple[int, int]]:
        """The occurrences that were not given out yet."""
        if said not in self._left:
            self._left[said] = self._occurrences(said)
        return self._left[said]

    def first(self, said: str) -> tuple[int, int] | None:
        """The first occurrence, `None` where there is none."""
        return next(self._occurrences(said.strip()), None)

    def lacks(self, said: str) -> bool:
        """Whether no occurrence was found."""
        return said not in self._seen

    def _occurrences(self, said: str) -> Iterator[tuple[int, int]]:
        exact = list(self._found(said, self._text))
        alone = [place for place in exact if self._is_alone(*place)]
        yield from alone
        # Parts of words only where no whole word is meant: text without spaces, or a span that ends within a word.
        yield from () if alone else exact
        if not exact:
            folded, positions = self._folded
            wanted, _ = folded_text(said)
            for start, end in self._found(wanted, folded):
                place = positions[start], positions[end - 1] + 1
                if self._is_alone(*place):
                    self._seen.add(said)
                    yield place
        else:
            self._seen.add(said)

    def _found(self, wanted: str, text: str) -> Iterator[tuple[int, int]]:
        at = text.find(wanted)
        while at >= 0:
            self._steps += 1
            if self._steps > MOST_STEPS:
                raise NoValue("the spans stand in too many places of the text")
            yield at, at + len(wanted)
            at = text.find(wanted, at + len(wanted))

    def _is_alone(self, start: int, end: int) -> bool:
        """Whether neither end is within a word."""
        text = self._text
        before = start > 0 and text[start - 1].isalnum() and text[start].isalnum()
        after = end < len(text) and text[end - 1].isalnum() and text[end].isalnum()
        return not (before or after)

    @cached_property
    def _folded(self) -> tuple[str, list[int]]:
        return folded_text(self._text)


def folded_text(text: str) -> tuple[str, list[int]]:
    """The text without case, with one space for white space and plain quotes and dashes, and where each character was.

    Examples:
        >>> folded_text("A\\n B")
        ('a b', [0, 1, 3])
    """
    characters: list[str] = []
    positions: list[int] = []
    for at, character in enumerate(text.translate(ALIKE)):
        if character.isspace():
            if characters and characters[-1] == " ":
                continue
            character = " "
        for one in character.casefold():
            characters.append(one)
            positions.append(at)
    return "".join(characters), positions
