"""Training rows as arrays, divided into folds for cross-validation."""

from __future__ import annotations

from collections.abc import Hashable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from luthier.errors import DataError
from luthier.tasks.task import Rows
from luthier.techniques.heads.row_texts import RowTexts, labelled_texts

if TYPE_CHECKING:
    import numpy as np
    import numpy.typing as npt

    from luthier.spec import Spec

__all__ = ["TrainingSet", "assign_folds", "labels_present", "training_labels"]

FOLDS = 5
NEVER_HELD_OUT = -1


@dataclass(frozen=True)
class TrainingSet:
    """Vectors with their labels.

    Attributes:
        vectors: shape (rows, dimensions).
        targets: position of each row's label among `labels`, shape (rows,).
        labels: the labels of the rows; of a rating from the lowest value up.
        values: a number per label.
        ordered: whether the labels have an order.
        folds: the fold that holds a row out, -1 for rows that are never held out; shape (rows,).
    """

    vectors: npt.NDArray[np.float64]
    targets: npt.NDArray[np.intp]
    labels: tuple[str, ...]
    values: tuple[float, ...]
    ordered: bool
    folds: npt.NDArray[np.intp]

    @property
    def judged(self) -> npt.NDArray[np.intp]:
        """Positions of the rows that some fold holds out."""
        import numpy as np

        return np.flatnonzero(self.folds >= 0)

    def parts(self) -> list[tuple[npt.NDArray[np.intp], npt.NDArray[np.intp]]]:
        """For each fold, positions of the rows to train on and of those held out."""
        import numpy as np

        held = [np.flatnonzero(self.folds == fold) for fold in range(FOLDS)]
        return [(np.flatnonzero(self.folds != fold), out) for fold, out in enumerate(held) if len(out)]

    def take(self, positions: npt.NDArray[np.intp]) -> TrainingSet:
        """The same with these rows only; the labels stay, and each must still have a row."""
        from dataclasses import replace

        chosen: Any = positions
        return replace(self, vectors=self.vectors[chosen], targets=self.targets[chosen], folds=self.folds[chosen])


def training_labels(spec: Spec, rows: Rows | None) -> tuple[list[RowTexts], list[str]]:
    """Texts and labels of the training rows that have both.

    Raises:
        SpecError: there are no training rows.
        DataError: they lack a column, or hold fewer than two labels.
    """
    texts, labels = labelled_texts(spec, rows)
    labels_present(spec, labels)
    return texts, labels


def labels_present(spec: Spec, labels: Sequence[str]) -> tuple[str, ...]:
    """The labels of training rows: of a rating from the lowest value up, others in the task's order.

    Raises:
        DataError: they are fewer than two.
    """
    held = set(labels)
    listed = spec.task.ascending if spec.task.ordered else spec.task.labels
    present = tuple(label for label in listed if label in held)
    if len(present) < 2:
        what = f"only {present[0]!r}" if present else "none"
        raise DataError(
            f"spec {spec.name!r} needs training rows with at least 2 labels; of "
            f"{', '.join(spec.task.labels)} the training rows hold {what}. Give more rows with --train."
        )
    return present


def assign_folds(texts: Sequence[Hashable], labels: Sequence[Hashable], seed: int) -> list[int]:
    """The fold that holds each row out: labels in equal shares, equal texts in one fold; -1 for rows never held out.

    Where all texts of a label would be held out together, one of them never is, so that every fold trains on the label.
    scikit-learn's `StratifiedGroupKFold` does not keep such rows back, and would hold other rows out than the figures
    in docs/ were measured on.

    Examples:
        >>> assign_folds("abcda", "xxxyx", seed=7)
        [1, 2, 0, -1, 1]
    """
    import random

    drawn = random.Random(seed)
    first: dict[Hashable, Hashable] = {}
    for text, label in zip(texts, labels, strict=True):
        first.setdefault(text, label)
    groups: dict[Hashable, list[Hashable]] = {}
    for text, label in first.items():
        groups.setdefault(label, []).append(text)
    fold: dict[Hashable, int] = {}
    begin = 0
    for members in groups.values():
        drawn.shuffle(members)
        if len(members) == 1:
            fold[members[0]] = NEVER_HELD_OUT
            continue
        for place, text in enumerate(members):
            fold[text] = (begin + place) % FOLDS
        # The next label begins where this one ended, so that folds are of equal length.
        begin += len(members)
    # A text with two labels was assigned by the first, so all texts of the second may be in one fold.
    texts_of: dict[Hashable, list[Hashable]] = {}
    for text, label in zip(texts, labels, strict=True):
        texts_of.setdefault(label, []).append(text)
    for held in texts_of.values():
        if len({fold[text] for text in held}) == 1:
            fold[held[0]] = NEVER_HELD_OUT
    return [fold[text] for text in texts]
