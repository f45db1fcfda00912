"""The baseline of spans: the names that training rows mark, found again by their words."""

from __future__ import annotations

import re
from collections import Counter, defaultdict
from collections.abc import Collection, Iterable, Iterator, Sequence
from typing import Any, ClassVar

from luthier.spec import Fitted, Spec
from luthier.tasks.prediction import CallRecord, Prediction
from luthier.tasks.task import Rows
from luthier.techniques.heads.row_texts import RowTexts
from luthier.techniques.training_rows import training_rows

__all__ = ["KnownNames"]

WORD = re.compile(r"\w+|[^\w\s]")
MOST_NAMES = 100_000
"""Names that are kept, the most frequent ones; limits the size of a packaged model."""

Words = tuple[str, ...]


class KnownNames:
    """Marks the names it knows, by their words: the longest first, from left to right."""

    base_model: ClassVar[str] = "names of the training rows"

    def __init__(self, fitted: Fitted) -> None:
        self._kinds = {tuple(words): kind for words, kind in fitted.state["names"]}
        self._lengths = _lengths(self._kinds)

    @classmethod
    def fit(cls, spec: Spec, rows: Rows | None) -> Fitted:
        """Learns which words name what.

        A name gets the kind it mostly has, and is kept if it is marked at least every other time it occurs.

        Raises:
            SpecError: there are no training rows.
        """
        rows = training_rows(spec, rows)
        kinds: dict[Words, Counter[str]] = defaultdict(Counter)
        for truth in rows.labels:
            for span in truth or ():
                kinds[tuple(WORD.findall(span["text"]))][span["label"]] += 1
        texts = [text for text, truth in zip(rows.texts, rows.labels, strict=True) if text and truth is not None]
        lengths = _lengths(kinds)
        occurs = Counter(name for text in texts for _, _, name in names_in(text, kinds, lengths))
        kept = [name for name, times in kinds.items() if 2 * times.total() >= occurs[name]]
        kept.sort(key=lambda name: (-kinds[name].total(), name))
        names = [[list(name), kinds[name].most_common(1)[0][0]] for name in kept[:MOST_NAMES]]
        return Fitted(spec=spec, train_digest=rows.digest_of(spec.columns), state={"names": names})

    def predictions(self, texts: Sequence[RowTexts]) -> list[Prediction]:
        """The spans of each text."""
        return [Prediction(self._spans(text), "ok", call=CallRecord(cost_usd=0.0)) for (text,) in texts]

    def _spans(self, text: str) -> list[dict[str, Any]]:
        return [
            {"start": start, "end": end, "label": self._kinds[name], "text": text[start:end]}
            for start, end, name in names_in(text, self._kinds, self._lengths)
        ]


def names_in(text: str, known: Collection[Words], lengths: Sequence[int]) -> Iterator[tuple[int, int, Words]]:
    """Where known names stand in a text, without overlaps.

    Args:
        text: where to look.
        known: the names, by their words.
        lengths: how many words they have, the longest first.
    """
    words = list(WORD.finditer(text))
    said = [word[0] for word in words]
    at = 0
    while at < len(said):
        names = (tuple(said[at : at + length]) for length in lengths)
        name = next((name for name in names if name in known), None)
        if name is not None:
            yield words[at].start(), words[at + len(name) - 1].end(), name
        at += 1 if name is None else len(name)


def _lengths(names: Iterable[Words]) -> list[int]:
    return sorted({len(name) for name in names}, reverse=True)
