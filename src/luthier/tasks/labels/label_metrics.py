"""Metrics of a closed set of labels: what each is, what is summed over the rows, what it is of the sums.

A row without a label counts as wrong everywhere: as an answer that is never true for F1, as the label farthest
from the truth for distances, as uniform probabilities for log loss, Brier and expected ratings. Otherwise a
model could look better by refusing the hard rows.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np
import numpy.typing as npt

from luthier.errors import DataError
from luthier.tasks.prediction import Prediction
from luthier.tasks.types import CalibrationBin, Counts, Floats, Measure, Positions

__all__ = ["EPSILON", "LABEL_METRICS", "RATING_METRICS", "LabelArrays", "LabelScores", "label_metrics", "label_scores"]

LABEL_METRICS: dict[str, Measure] = {
    "accuracy": Measure("accuracy", "higher", "share", "Share of rows whose label is exactly right.", is_share=True),
    "balanced_accuracy": Measure(
        "balanced acc.",
        "higher",
        "share",
        "Mean over the labels of the share of their rows that were found.",
        is_biased=True,
    ),
    "weighted_f1": Measure(
        "weighted F1",
        "higher",
        "share",
        "F1 (harmonic mean of precision and recall) per label, averaged by how often the label is true.",
    ),
    "macro_f1": Measure("macro F1", "higher", "share", "F1 per label, each label counting the same."),
    "weighted_precision": Measure(
        "weighted precision",
        "higher",
        "share",
        "Of the rows given a label, the share that has it; averaged by how often the label is true.",
    ),
    "weighted_recall": Measure(
        "weighted recall",
        "higher",
        "share",
        "Of the rows that have a label, the share that was given it; the same number as accuracy.",
        is_share=True,
    ),
    "qwk": Measure(
        "QWK",
        "higher",
        "share",
        "Quadratic weighted kappa: agreement on the scale beyond chance, where an error of two steps weighs four "
        "times an error of one. 1 is perfect, 0 is what any constant answer gets.",
    ),
    "mse": Measure("MSE", "lower", "number", "Mean squared distance from the true rating."),
    "mae": Measure("MAE", "lower", "number", "Mean distance from the true rating."),
    "within_1": Measure(
        "within 1", "higher", "share", "Share of rows at most one step of the scale away.", is_share=True
    ),
    "expected_mse": Measure(
        "MSE (expected)",
        "lower",
        "number",
        "Mean squared distance of the expected rating (the mean under the probabilities) from the true one.",
    ),
    "expected_mae": Measure(
        "MAE (expected)", "lower", "number", "Mean distance of the expected rating from the true one."
    ),
    "expected_qwk": Measure(
        "QWK (expected)", "higher", "share", "Quadratic weighted kappa of the label nearest to the expected rating."
    ),
    "log_loss": Measure(
        "log loss",
        "lower",
        "number",
        "Mean surprise, in nats, at the true label under the probabilities; sure and wrong costs most.",
    ),
    "brier": Measure(
        "Brier",
        "lower",
        "number",
        "Mean squared distance of the probabilities from the truth, summed over the labels: 0 to 2.",
    ),
    "calibration_error": Measure(
        "calibration error",
        "lower",
        "share",
        "How far the stated confidence is from the share that was right, averaged over ten equally full bins.",
        is_biased=True,
    ),
    "probability_coverage": Measure(
        "with probabilities",
        "higher",
        "share",
        "Share of rows with a label that also have a probability per label; the others count as uniform.",
        kind="rate",
    ),
}
"""Metric name to what it is, in the order tables show them."""

RATING_METRICS = ("qwk", "mse", "mae", "within_1", "expected_mse", "expected_mae", "expected_qwk")
"""Those that are for ratings only."""

EPSILON = 1e-6
"""Log loss takes no probability below this. A label an endpoint left out, or a probability written as 0 in JSON,
says "very unlikely", not "impossible"; without a floor one such row would outweigh thousands. A row thus costs at
most 13.8 nats."""

BINS = 10
ROWS_PER_BIN = 10


@dataclass(frozen=True, slots=True)
class LabelScores:
    """How one label fares: `support` rows have it, `answered` rows were given it."""

    label: str
    precision: float
    recall: float
    f1: float
    support: int
    answered: int


@dataclass(frozen=True)
class LabelArrays:
    """Predictions and truth of the evaluated rows as arrays.

    Attributes:
        values: a number per label, shape (labels,).
        ordered: whether the labels are ratings.
        truth: position of the true label, shape (rows,).
        predicted: position of the predicted label, or the number of labels where there is none, shape (rows,).
        probabilities: shape (rows, labels), uniform where there are none; `None` if no row has any.
        covered: whether a row's probabilities are its own, shape (rows,).
    """

    values: Floats
    ordered: bool
    truth: Positions
    predicted: Positions
    probabilities: Floats | None
    covered: npt.NDArray[np.bool_]

    @classmethod
    def of(
        cls,
        labels: Sequence[str],
        values: Sequence[float],
        ordered: bool,
        truths: Sequence[str],
        predictions: Sequence[Prediction],
    ) -> LabelArrays:
        """Reads predictions, none of them `empty`, and the truths of their rows.

        Raises:
            DataError: a truth is no label, or probabilities have another length.
        """
        count = len(labels)
        where = {label: position for position, label in enumerate(labels)}
        try:
            truth = np.array([where[label] for label in truths], dtype=np.intp)
        except KeyError as missing:
            raise DataError(
                f"true label {missing.args[0]!r} is not a label of the task: {', '.join(labels)}."
            ) from None
        given = [None if p.state != "ok" or p.value is None else where.get(p.value) for p in predictions]
        predicted = np.array([count if position is None else position for position in given], dtype=np.intp)
        covered = np.array(
            [p.scores is not None and position is not None for p, position in zip(predictions, given, strict=True)],
            dtype=bool,
        )
        probabilities = None
        if covered.any():
            probabilities = np.full((len(predictions), count), 1 / count)
            own = [p.scores for p, has in zip(predictions, covered, strict=True) if has]
            if any(p is not None and len(p) != count for p in own):
                raise DataError(f"a prediction has not one probability for each of the {count} labels.")
            shares = np.array(own, dtype=float)
            # A row whose probabilities are no numbers has none to judge, like a row that came without.
            sound = np.isfinite(shares).all(axis=1)
            covered[np.flatnonzero(covered)[~sound]] = False
            probabilities[covered] = shares[sound]
        return cls(
            values=np.array(values),
            ordered=ordered,
            truth=truth,
            predicted=predicted,
            probabilities=probabilities if covered.any() else None,
            covered=covered,
        )

    @cached_property
    def correct(self) -> npt.NDArray[np.bool_]:
        """Whether the label is exactly right, shape (rows,)."""
        correct: npt.NDArray[np.bool_] = self.predicted == self.truth
        return correct

    @cached_property
    def answered(self) -> Positions:
        """The predicted label's position, and the label farthest from the truth where there is none, shape (rows,).

        Where two labels are equally far the lower one is taken.
        """
        values = self.values
        ascending = np.argsort(values, kind="stable")
        farthest = ascending[np.abs(values[:, None] - values[ascending]).argmax(axis=1)]
        return np.where(self.predicted == len(values), farthest[self.truth], self.predicted)

    @cached_property
    def absolute_error(self) -> Floats:
        """Distance of the answered from the true label on the task's scale, shape (rows,)."""
        values = self.values
        distance: Floats = np.abs(values[self.answered] - values[self.truth])
        return distance

    @cached_property
    def confidence(self) -> Floats:
        """Probability of the predicted label, 1 / labels where there is none, shape (rows,)."""
        labels = len(self.values)
        if self.probabilities is None:
            return np.full(len(self.truth), 1 / labels)
        label = np.minimum(self.predicted, labels - 1)
        return np.where(self.covered, self.probabilities[np.arange(len(label)), label], 1 / labels)

    @cached_property
    def bins(self) -> Positions:
        """Bin of each row by confidence, equally full as far as ties allow, shape (rows,).

        Equally full and not equally wide, because the confidences of language models crowd near 1 and most bins of
        equal width would hold a handful of rows (Nixon et al. 2019, Measuring Calibration in Deep Learning). Ten bins,
        fewer when that would leave under ten rows in each. Equal confidences share a bin.
        """
        count = int(np.clip(len(self.truth) // ROWS_PER_BIN, 1, BINS))
        edges = np.unique(np.quantile(self.confidence, np.linspace(0, 1, count + 1)[1:-1]))
        return np.searchsorted(edges, self.confidence, side="right").astype(np.intp)

    def sums(self) -> dict[str, Floats]:
        """What is summed over the rows."""
        rows = len(self.truth)
        dense: dict[str, Floats] = {"correct": self.correct.astype(float)}
        if self.ordered:
            # Centred, so that variances do not come out of differences of large numbers.
            values = self.values
            centred = values - values.mean()
            truth, answer = centred[self.truth], centred[self.answered]
            ascending = np.argsort(values, kind="stable")
            rank = np.argsort(ascending)
            near = np.abs(rank[self.answered] - rank[self.truth]) <= 1
            dense |= _distances("", truth, answer) | {"within_1": (near & (self.predicted < len(values))).astype(float)}
            if self.probabilities is not None:
                expected = self.probabilities @ centred
                nearest = ascending[np.abs(expected[:, None] - centred[ascending]).round(9).argmin(axis=1)]
                dense |= _distances("nearest_", truth, centred[nearest])
                dense |= {"expected_squared": (truth - expected) ** 2, "expected_absolute": np.abs(truth - expected)}
        if self.probabilities is not None:
            own = self.probabilities[np.arange(rows), self.truth]
            squares = (self.probabilities**2).sum(axis=1) - 2 * own + 1
            dense |= {"log_loss": -np.log(np.clip(own, EPSILON, 1)), "brier": squares}
        return dense

    def groups(self) -> dict[str, tuple[Positions, Floats, int]]:
        """What is summed label by label, and bin by bin."""
        labels, ones = len(self.values), np.ones(len(self.truth))
        bins = np.full(len(ones), -1, dtype=np.intp) if self.probabilities is None else self.bins
        return {
            "support": (self.truth, ones, labels),
            "answers": (np.where(self.predicted < labels, self.predicted, -1), ones, labels),
            "right": (np.where(self.correct, self.truth, -1), ones, labels),
            "gaps": (bins, self.confidence - self.correct, BINS),
        }

    def confusion(self) -> Counts:
        """Rows per true label (line) and answer (column, the last for rows without a label)."""
        labels = len(self.values)
        cells = np.bincount(self.truth * (labels + 1) + self.predicted, minlength=labels * (labels + 1))
        return tuple(tuple(int(cell) for cell in line) for line in cells.reshape(labels, labels + 1))

    def calibration(self) -> tuple[CalibrationBin, ...]:
        """Confidence against the share that was right, in the bins of `calibration_error`."""
        if self.probabilities is None:
            return ()
        rows = np.bincount(self.bins)
        confidence = np.bincount(self.bins, weights=self.confidence)
        right = np.bincount(self.bins, weights=self.correct)
        return tuple(
            CalibrationBin(int(n), float(c / n), float(r / n))
            for n, c, r in zip(rows, confidence, right, strict=True)
            if n
        )


def label_metrics(sums: Mapping[str, Floats], span: float | None) -> dict[str, Floats]:
    """Metrics from sums over rows; arrays of shape (samples,) in and out.

    Args:
        sums: as `LabelArrays` has them, summed.
        span: of the rating scale, largest minus smallest value; `None` for labels without an order.
    """
    rows = sums["rows"]
    support, answers, right = sums["support"], sums["answers"], sums["right"]
    precision, recall = ratio(right, answers), ratio(right, support)
    f1 = ratio(2 * right, support + answers)
    out = {
        "accuracy": ratio(sums["correct"], rows),
        "balanced_accuracy": ratio(recall.sum(axis=0), (support > 0).sum(axis=0)),
        "weighted_f1": ratio((f1 * support).sum(axis=0), rows),
        # As scikit-learn does, over the labels that occur; "no label" is an answer, not a label, and is not averaged.
        "macro_f1": ratio(f1.sum(axis=0), (support + answers > 0).sum(axis=0)),
        "weighted_precision": ratio((precision * support).sum(axis=0), rows),
        "weighted_recall": ratio(right.sum(axis=0), rows),
    }
    if span is not None:
        out |= {
            "qwk": _kappa("", sums, span),
            "mse": ratio(sums["squared"], rows),
            "mae": ratio(sums["absolute"], rows),
            "within_1": ratio(sums["within_1"], rows),
        }
        if "expected_squared" in sums:
            out |= {
                "expected_mse": ratio(sums["expected_squared"], rows),
                "expected_mae": ratio(sums["expected_absolute"], rows),
                "expected_qwk": _kappa("nearest_", sums, span),
            }
    if "log_loss" in sums:
        out |= {name: np.maximum(ratio(sums[name], rows), 0.0) for name in ("log_loss", "brier")}
        # Guo et al. 2017: the gap of each bin, weighted by its share of the rows.
        out["calibration_error"] = ratio(np.abs(sums["gaps"]).sum(axis=0), rows)
    return out


def _distances(prefix: str, truth: Floats, answer: Floats) -> dict[str, Floats]:
    return {
        f"{prefix}truth": truth,
        f"{prefix}truth_squared": truth**2,
        f"{prefix}answer": answer,
        f"{prefix}answer_squared": answer**2,
        f"{prefix}squared": (truth - answer) ** 2,
        f"{prefix}absolute": np.abs(truth - answer),
    }


def _kappa(prefix: str, sums: Mapping[str, Floats], span: float) -> Floats:
    """Quadratic weighted kappa from moments: 1 - E(t - a)^2 / E(t - a')^2 with a' drawn independently of t.

    The usual definition over the confusion matrix (Cohen 1968) with weights (t - a)^2, regrouped. Where truth and
    answers are all the same label, no agreement beyond chance can be seen, and kappa is 0.
    """
    rows = sums["rows"]
    truth, answer = ratio(sums[f"{prefix}truth"], rows), ratio(sums[f"{prefix}answer"], rows)
    squares = ratio(sums[f"{prefix}truth_squared"] + sums[f"{prefix}answer_squared"], rows)
    by_chance = squares - 2 * truth * answer
    seen = ratio(sums[f"{prefix}squared"], rows)
    varied = by_chance > 1e-12 * span**2
    return np.where(varied, 1 - ratio(seen, np.where(varied, by_chance, 1.0)), 0.0)


def label_scores(labels: Sequence[str], counts: Counts) -> tuple[LabelScores, ...]:
    """Precision, recall and F1 per label from a confusion matrix; 0 where there is nothing to divide by."""
    cells = np.array(counts, dtype=float)
    right, support, answered = np.diag(cells), cells.sum(axis=1), cells.sum(axis=0)[:-1]
    columns = [ratio(right, answered), ratio(right, support), ratio(2 * right, support + answered)]
    columns += [support.astype(int), answered.astype(int)]
    lines = zip(labels, *(column.tolist() for column in columns), strict=True)
    return tuple(LabelScores(*line) for line in lines)


def ratio(above: Floats, below: Floats | npt.NDArray[np.int_]) -> Floats:
    """Division where nothing by nothing is 0, as for the precision of a label that was never answered."""
    out: Floats = np.zeros(np.broadcast_shapes(np.shape(above), np.shape(below)))
    np.divide(above, below, out=out, where=np.asarray(below) > 0)
    return out
