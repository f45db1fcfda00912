"""Which labels a spec confuses most."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from luthier.tasks.types import Counts

__all__ = ["ConfusedLabels", "most_confused"]


@dataclass(frozen=True, slots=True)
class ConfusedLabels:
    """A true label and another one that was answered for it.

    Attributes:
        truth, answer: the labels.
        rows: that have the first and were given the second.
        share: of all rows that have the first.
    """

    truth: str
    answer: str
    rows: int
    share: float


def most_confused(labels: Sequence[str], counts: Counts, most: int | None = None) -> list[ConfusedLabels]:
    """Every mistake of one label for another, the most frequent first; rows without a label are none.

    Args:
        labels: of the task, in its order.
        counts: rows per true label (line) and answer (column, the last for rows without a label).
        most: at most so many.

    Examples:
        >>> most_confused(["bad", "good"], ((8, 2, 0), (1, 5, 4)), most=1)
        [ConfusedLabels(truth='bad', answer='good', rows=2, share=0.2)]
    """
    found = [
        ConfusedLabels(truth, answer, rows, rows / sum(line))
        for truth, line in zip(labels, counts, strict=True)
        for answer, rows in zip(labels, line, strict=False)
        if rows and truth != answer
    ]
    return sorted(found, key=lambda one: (-one.rows, -one.share))[:most]
