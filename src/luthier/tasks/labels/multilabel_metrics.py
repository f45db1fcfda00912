"""Metrics of sets of labels: what each is, what is summed over the rows, what it is of the sums.

A row without an answer is as wrong as a row can be: no true label was found, every label is off, and one answered label
more is wrong. Otherwise a model could look better by refusing the hard rows.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
import numpy.typing as npt

from luthier.errors import DataError
from luthier.tasks.labels.label_metrics import ratio
from luthier.tasks.prediction import Prediction
from luthier.tasks.types import AnswerPart, Floats, Measure, Positions

__all__ = ["MULTILABEL_METRICS", "SetArrays", "best_constant", "set_metrics"]

MULTILABEL_METRICS: dict[str, Measure] = {
    "micro_f1": Measure(
        "micro F1",
        "higher",
        "share",
        "F1 (harmonic mean of precision and recall) over all labels of all rows together.",
    ),
    "macro_f1": Measure("macro F1", "higher", "share", "F1 per label, each label that occurs counting the same."),
    "samples_f1": Measure(
        "samples F1", "higher", "share", "F1 of each row's labels, averaged over the rows; 1 where none is right."
    ),
    "jaccard": Measure(
        "Jaccard",
        "higher",
        "share",
        "Labels that are both true and answered, of those that are either; averaged over the rows.",
    ),
    "exact_match": Measure(
        "exact match", "higher", "share", "Share of rows whose labels are all right and none too many.", is_share=True
    ),
    "hamming_loss": Measure(
        "Hamming loss", "lower", "share", "Share of labels that are wrongly given or wrongly left out, over all rows."
    ),
    "micro_precision": Measure("precision", "higher", "share", "Of the labels answered, the share that is true."),
    "micro_recall": Measure("recall", "higher", "share", "Of the true labels, the share that was answered."),
}
"""Metric name to what it is, in the order tables show them."""


@dataclass(frozen=True)
class SetArrays:
    """True and answered sets of labels as arrays.

    Attributes:
        labels: the task's.
        truth: whether a label is true of a row, shape (rows, labels).
        answer: whether it was answered, shape (rows, labels).
        given: whether a row has an answer at all, shape (rows,).
    """

    labels: tuple[str, ...]
    truth: npt.NDArray[np.bool_]
    answer: npt.NDArray[np.bool_]
    given: npt.NDArray[np.bool_]

    @classmethod
    def of(cls, labels: Sequence[str], truths: Sequence[Any], predictions: Sequence[Prediction]) -> SetArrays:
        """Reads predictions, none of them `empty`, and the truths of their rows.

        Raises:
            DataError: a truth names what is no label of the task.
        """
        answers = [p.value if p.state == "ok" else None for p in predictions]
        try:
            truth, answer = indicators(labels, truths), indicators(labels, [said or () for said in answers])
        except KeyError as missing:
            raise DataError(f"{missing.args[0]!r} is not a label of the task: {', '.join(labels)}.") from None
        return cls(tuple(labels), truth, answer, np.array([said is not None for said in answers], dtype=bool))

    @cached_property
    def sizes(self) -> tuple[Floats, Floats, Floats]:
        """Of each row the number of labels that are true, answered, and both; shape (rows,)."""
        both = self.truth & self.answer
        return self.truth.sum(axis=1) * 1.0, self.answer.sum(axis=1) * 1.0, both.sum(axis=1) * 1.0

    @cached_property
    def row_f1(self) -> Floats:
        """F1 of each row's labels: 1 where none is true and none answered, 0 without an answer; shape (rows,)."""
        true, answered, both = self.sizes
        return np.where(true + answered > 0, ratio(2 * both, true + answered), 1.0) * self.given

    def sums(self) -> dict[str, Floats]:
        """What is summed over the rows."""
        true, answered, both = self.sizes
        either = true + answered - both
        wrong = (self.truth != self.answer).mean(axis=1)
        return {
            "f1": self.row_f1,
            "jaccard": np.where(either > 0, ratio(both, either), 1.0) * self.given,
            "exact": ((true == both) & (answered == both) & self.given).astype(float),
            "wrong": np.where(self.given, wrong, 1.0),
            "unanswered": (~self.given).astype(float),
        }

    def groups(self) -> dict[str, tuple[Positions, Floats, int]]:
        """What is summed label by label; a row adds to each of its labels."""
        found = {}
        for name, cells in (("support", self.truth), ("answers", self.answer), ("right", self.truth & self.answer)):
            places = _places(cells)
            found[name] = (places, np.ones(places.shape), len(self.labels))
        return found

    def parts(self) -> tuple[AnswerPart, ...]:
        """Precision, recall and F1 of each label; 0 where there is nothing to divide by."""
        support, answers = self.truth.sum(axis=0) * 1.0, self.answer.sum(axis=0) * 1.0
        right = (self.truth & self.answer).sum(axis=0) * 1.0
        figures = (ratio(right, answers), ratio(right, support), ratio(2 * right, support + answers))
        return tuple(
            AnswerPart(
                label,
                dict(zip(("precision", "recall", "F1"), (float(one[place]) for one in figures), strict=True)),
                int(support[place]),
                int(answers[place]),
            )
            for place, label in enumerate(self.labels)
        )


def indicators(labels: Sequence[str], sets: Sequence[Sequence[str]]) -> npt.NDArray[np.bool_]:
    """Whether each row has each label, shape (rows, labels).

    Raises:
        KeyError: a row has one that is not listed.
    """
    where = {label: place for place, label in enumerate(labels)}
    found = np.zeros((len(sets), len(labels)), dtype=bool)
    for row, those in enumerate(sets):
        for label in those:
            found[row, where[label]] = True
    return found


def set_metrics(sums: Mapping[str, Floats]) -> dict[str, Floats]:
    """Metrics from sums over rows; arrays of shape (samples,) in and out.

    Args:
        sums: as `SetArrays` has them, summed.
    """
    rows, support, answers, right = (sums[name] for name in ("rows", "support", "answers", "right"))
    found, true, said = right.sum(axis=0), support.sum(axis=0), answers.sum(axis=0) + sums["unanswered"]
    # As in the metrics of single labels: a label that is neither true nor answered is not averaged.
    macro = ratio(ratio(2 * right, support + answers).sum(axis=0), (support + answers > 0).sum(axis=0))
    return {
        # No label true and none answered is what was asked for.
        "micro_f1": np.where(true + said > 0, ratio(2 * found, true + said), 1.0),
        "macro_f1": macro,
        "samples_f1": ratio(sums["f1"], rows),
        "jaccard": ratio(sums["jaccard"], rows),
        "exact_match": ratio(sums["exact"], rows),
        "hamming_loss": ratio(sums["wrong"], rows),
        "micro_precision": ratio(found, said),
        "micro_recall": ratio(found, true),
    }


def best_constant(labels: Sequence[str], truths: Sequence[Sequence[str]]) -> tuple[list[str], tuple[float, ...]]:
    """The set of labels with the best micro F1 for all rows alike, and the share of rows that have each label."""
    counts = indicators(labels, truths).sum(axis=0)
    likeliest = np.argsort(-counts, kind="stable")
    below: Floats = np.arange(1.0, len(labels) + 1) * len(truths) + counts.sum()
    scores = ratio(2.0 * np.cumsum(counts[likeliest]), below)
    taken = set(likeliest[: int(scores.argmax()) + 1].tolist()) if counts.any() else set()
    shares = counts / max(len(truths), 1)
    return [label for place, label in enumerate(labels) if place in taken], tuple(map(float, shares))


def _places(cells: npt.NDArray[np.bool_]) -> Positions:
    """The positions that are set in each row, then -1; shape (rows, most in a row)."""
    counts = cells.sum(axis=1)
    found = np.full((len(cells), int(counts.max(initial=0))), -1, dtype=np.intp)
    rows, places = np.nonzero(cells)
    found[rows, np.arange(len(rows)) - np.repeat(np.cumsum(counts) - counts, counts)] = places
    return found
