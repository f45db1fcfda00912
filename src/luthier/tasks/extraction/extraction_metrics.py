"""Metrics of extraction: what is counted in each row for each kind of span or field, and what it is of the sums."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import TypeAlias

import numpy as np
import numpy.typing as npt

from luthier.tasks.types import AnswerPart, Measure

__all__ = ["EXTRACTION_METRICS", "Count", "PartCounts"]

Floats: TypeAlias = npt.NDArray[np.float64]

EXTRACTION_METRICS: dict[str, Measure] = {
    "f1": Measure(
        "F1",
        "higher",
        "share",
        "Harmonic mean of precision and recall over all that is to be found; only what is exactly right counts.",
    ),
    "precision": Measure("precision", "higher", "share", "Of what was answered, the share that is exactly right."),
    "recall": Measure("recall", "higher", "share", "Of what is true, the share that was answered exactly."),
    "macro_f1": Measure(
        "macro F1", "higher", "share", "F1 of each kind of span or field that occurs, each counting the same."
    ),
    "partial_f1": Measure(
        "partial F1", "higher", "share", "As F1; what is partly right, as a span that overlaps a true one, counts half."
    ),
    "exact_match": Measure(
        "exact match", "higher", "share", "Share of rows in which everything is right and nothing else was answered.",
        is_share=True,
    ),
}  # fmt: skip
"""Every metric of extraction, in the order tables show them."""

COUNTED = ("found", "partial", "answered", "support")


@dataclass(slots=True)
class Count:
    """What one row has of one kind of span, or of one field.

    Attributes:
        found: how many of those answered are exactly right.
        partial: how many others are right in part.
        answered: how many were answered.
        support: how many are true.
    """

    found: int = 0
    partial: int = 0
    answered: int = 0
    support: int = 0


@dataclass(frozen=True)
class PartCounts:
    """The counts of all rows: `numbers` has shape (4, parts, rows), in the order of `COUNTED`.

    Attributes:
        parts: the kinds of spans, or the fields.
        numbers: the counts.
        whole: whether each row has a value and everything in it is right, shape (rows,).
    """

    parts: tuple[str, ...]
    numbers: Floats
    whole: npt.NDArray[np.bool_]

    @classmethod
    def of(cls, parts: Sequence[str], rows: Iterable[Mapping[str, Count]], answered: Sequence[bool]) -> PartCounts:
        """The counts of these rows.

        Args:
            parts: the kinds of spans, or the fields.
            rows: count by part, for each row; a part that is absent counts nothing.
            answered: whether the row has a value at all.
        """
        place = {part: at for at, part in enumerate(parts)}
        numbers = np.zeros((len(COUNTED), len(parts), len(answered)))
        for row, counts in enumerate(rows):
            for part, one in counts.items():
                numbers[:, place[part], row] = one.found, one.partial, one.answered, one.support
        found, _, said, true = numbers.sum(axis=1)
        return cls(tuple(parts), numbers, np.asarray(answered, dtype=bool) & (found == said) & (found == true))

    @property
    def distances(self) -> Floats:
        """1 less the partial F1 of each row; 0 only where everything is right, 1 without a value."""
        found, partial, said, true = self.numbers.sum(axis=1)
        near = np.where(self.whole, 1.0, _f1(found + partial / 2, said, true))
        distances: Floats = 1 - near
        return distances

    def sums(self) -> dict[str, Floats]:
        """What is summed over the rows: each count of each part, and the rows that are right."""
        named = {
            f"{name}:{part}": self.numbers[at, place]
            for at, name in enumerate(COUNTED)
            for place, part in enumerate(self.parts)
        }
        return named | {"whole": self.whole.astype(float)}

    def answer_parts(self) -> tuple[AnswerPart, ...]:
        """How well each part was found in all rows."""
        found, partial, said, true = self.numbers.sum(axis=2)
        precision, recall = _share(found, said), _share(found, true)
        exact, near = _f1(found, said, true), _f1(found + partial / 2, said, true)
        return tuple(
            AnswerPart(
                part,
                {
                    "precision": float(precision[at]) if said[at] else None,
                    "recall": float(recall[at]) if true[at] else None,
                    "F1": float(exact[at]) if said[at] + true[at] else None,
                    "partial F1": float(near[at]) if said[at] + true[at] else None,
                },
                support=int(true[at]),
                answered=int(said[at]),
            )
            for at, part in enumerate(self.parts)
        )


def metrics_of(sums: Mapping[str, Floats], parts: Sequence[str]) -> dict[str, Floats]:
    """The metrics from sums over rows, shape (samples,); what is undefined, as there is nothing to find, is 0.

    The average over the parts is that of seqeval: of the parts that are true or answered at least once.
    """
    found, partial, said, true = (np.stack([sums[f"{name}:{part}"] for part in parts]) for name in COUNTED)
    there = (said + true) > 0
    every = [each.sum(axis=0) for each in (found, partial, said, true)]
    return {
        "f1": _f1(every[0], every[2], every[3]),
        "precision": _share(every[0], every[2]),
        "recall": _share(every[0], every[3]),
        "macro_f1": _share((_f1(found, said, true) * there).sum(axis=0), there.sum(axis=0).astype(float)),
        "partial_f1": _f1(every[0] + every[1] / 2, every[2], every[3]),
        "exact_match": _share(sums["whole"], sums["rows"]),
    }


def _share(part: Floats, whole: Floats) -> Floats:
    shares: Floats = np.divide(part, whole, out=np.zeros_like(part), where=whole > 0)
    return shares


def _f1(found: Floats, said: Floats, true: Floats) -> Floats:
    return _share(2 * found, said + true)
