"""The baseline of spans: the names that training rows mark, found again by their words."""

from __future__ import annotations

import re
from collections import Counter, defaultdict
from collections.abc import Iterator, Mapping, Sequence

from luthier.spec import Conversation, Fitted, Spec
from luthier.tasks.prediction import CallRecord, Prediction
from luthier.tasks.task import Rows
from luthier.techniques.heads.answering import kept_while_used
from luthier.techniques.training_rows import training_rows

__all__ = ["fit_names", "predict_names"]

WORD = re.compile(r"\w+|[^\w\s]")
MOST_NAMES = 100_000
"""Names that are kept, the most frequent ones; limits the size of a packaged model."""

Words = tuple[str, ...]


def fit_names(spec: Spec, rows: Rows | None) -> Conversation[Fitted]:
    """Learns which words name what: the kind a name mostly has, if it is marked at least every other time it occurs.

    Raises:
        SpecError: there are no training rows.
    """
    yield from ()
    rows = training_rows(spec, rows)
    kinds: dict[Words, Counter[str]] = defaultdict(Counter)
    for truth in rows.labels:
        for span in truth or ():
            kinds[_words(span["text"])][span["label"]] += 1
    known = {name: times.most_common(1)[0][0] for name, times in kinds.items()}
    marked = _KnownNames(known)
    occurs = Counter(
        name for text, truth in zip(rows.texts, rows.labels, strict=True) if text and truth is not None
        for _, _, name in marked.found(text)
    )  # fmt: skip
    kept = [name for name, times in kinds.items() if 2 * times.total() >= occurs[name]]
    kept.sort(key=lambda name: (-kinds[name].total(), name))
    names = [[list(name), known[name]] for name in kept[:MOST_NAMES]]
    return Fitted(spec=spec, train_digest=rows.digest_of(spec.columns), state={"names": names})


def predict_names(rows: Rows, fitted: Fitted) -> Conversation[list[Prediction]]:
    """The known names in each text, the longest first from left to right; nothing is sent anywhere."""
    yield from ()
    names = kept_while_used(fitted, _KnownNames.of)
    return [Prediction(None, "empty") if text is None else names.prediction(text) for text in rows.texts]


class _KnownNames:
    """Names with their kinds, by their words."""

    def __init__(self, kinds: Mapping[Words, str]) -> None:
        self._kinds = kinds
        self._lengths = sorted({len(name) for name in kinds}, reverse=True)

    @classmethod
    def of(cls, fitted: Fitted) -> _KnownNames:
        """Those of a fitted spec."""
        return cls({tuple(words): kind for words, kind in fitted.state["names"]})

    def prediction(self, text: str) -> Prediction:
        """The spans of a text."""
        spans = [
            {"start": start, "end": end, "label": self._kinds[name], "text": text[start:end]}
            for start, end, name in self.found(text)
        ]
        return Prediction(spans, "ok", call=CallRecord(cost_usd=0.0))

    def found(self, text: str) -> Iterator[tuple[int, int, Words]]:
        """Where names stand in a text, without overlaps."""
        words = list(WORD.finditer(text))
        said: Sequence[str] = [word[0] for word in words]
        at = 0
        while at < len(said):
            names = (tuple(said[at : at + length]) for length in self._lengths)
            name = next((name for name in names if name in self._kinds), None)
            if name is not None:
                yield words[at].start(), words[at + len(name) - 1].end(), name
            at += 1 if name is None else len(name)


def _words(text: str) -> Words:
    return tuple(WORD.findall(text))
