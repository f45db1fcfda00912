"""What a spec's predictions are worth against the truth, every number with its interval.

A row without a label counts as wrong everywhere: as an answer that is never true for F1, as the label farthest
from the truth for distances, as uniform probabilities for log loss, Brier and expected ratings. Otherwise a
model could look better by refusing the hard rows.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np
import numpy.typing as npt

from luthier.errors import DataError
from luthier.evaluation.measures import METRICS
from luthier.evaluation.resampling import (
    Columns,
    Floats,
    Interval,
    bootstrap_interval,
    quantile_interval,
    rate_interval,
    unvaried_interval,
    weights,
)
from luthier.tasks.prediction import Prediction
from luthier.tasks.task import Task

__all__ = ["EPSILON", "Measured", "LabelArrays", "evaluate", "measure"]

Positions = npt.NDArray[np.intp]

EPSILON = 1e-6
"""Log loss takes no probability below this. A label an endpoint left out, or a probability written as 0 in JSON,
says "very unlikely", not "impossible"; without a floor one such row would outweigh thousands. A row thus costs at
most 13.8 nats."""

BIASED_IN_SAMPLES = ("balanced_accuracy", "calibration_error")
"""Metrics that a bootstrap sample misses by more than the sample of rows itself does: a label that was not drawn
leaves the mean, and bins of repeated rows look worse calibrated. Correcting for that bias would add it."""

BINS = 10
ROWS_PER_BIN = 10


@dataclass(frozen=True)
class LabelArrays:
    """Predictions and truth of the evaluated rows as arrays.

    Attributes:
        task: names the labels.
        truth: position of the true label, shape (rows,).
        predicted: position of the predicted label, or the number of labels where there is none, shape (rows,).
        probabilities: shape (rows, labels), uniform where there are none; `None` if no row has any.
        covered: whether a row's probabilities are its own, shape (rows,).
        predictions: the records themselves, one per row.
        counted: 1 for rows that count, 0 for rows this reader never saw (a human who skipped some), shape (rows,).
    """

    task: Task
    truth: Positions
    predicted: Positions
    probabilities: Floats | None
    covered: npt.NDArray[np.bool_]
    predictions: tuple[Prediction, ...]
    counted: Floats

    @classmethod
    def of(
        cls,
        task: Task,
        truths: Sequence[str],
        predictions: Sequence[Prediction],
        *,
        counted: Sequence[bool] | None = None,
    ) -> LabelArrays:
        """Reads predictions that are all to be evaluated; `empty` ones must have been taken out.

        Raises:
            DataError: lengths differ, a truth is no label of the task, or probabilities have another length.
        """
        if len(truths) != len(predictions):
            raise DataError(
                f"{len(truths)} true labels and {len(predictions)} predictions; give one prediction per row."
            )
        labels = len(task.labels)
        where = {label: position for position, label in enumerate(task.labels)}
        try:
            truth = np.array([where[label] for label in truths], dtype=np.intp)
        except KeyError as missing:
            raise DataError(
                f"true label {missing.args[0]!r} is not a label of task {task.name!r}: {', '.join(task.labels)}."
            ) from None
        given = [None if p.state != "ok" or p.label is None else where.get(p.label) for p in predictions]
        predicted = np.array([labels if position is None else position for position in given], dtype=np.intp)
        covered = np.array(
            [
                p.probabilities is not None and position is not None
                for p, position in zip(predictions, given, strict=True)
            ],
            dtype=bool,
        )
        probabilities = None
        if covered.any():
            probabilities = np.full((len(predictions), labels), 1 / labels)
            own = [p.probabilities for p, has in zip(predictions, covered, strict=True) if has]
            if any(p is not None and len(p) != labels for p in own):
                raise DataError(f"a prediction has not one probability for each of the {labels} labels.")
            values = np.array(own, dtype=float)
            # A row whose probabilities are no numbers has none to judge, like a row that came without.
            sound = np.isfinite(values).all(axis=1)
            covered[np.flatnonzero(covered)[~sound]] = False
            probabilities[covered] = values[sound]
        return cls(
            task=task,
            truth=truth,
            predicted=predicted,
            probabilities=probabilities if covered.any() else None,
            covered=covered,
            predictions=tuple(predictions),
            counted=np.ones(len(truth)) if counted is None else np.asarray(counted, dtype=float),
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
        values = np.array(self.task.values)
        ascending = np.argsort(values, kind="stable")
        farthest = ascending[np.abs(values[:, None] - values[ascending]).argmax(axis=1)]
        return np.where(self.predicted == len(values), farthest[self.truth], self.predicted)

    @cached_property
    def absolute_error(self) -> Floats:
        """Distance of the answered from the true label on the task's scale, shape (rows,)."""
        values = np.array(self.task.values)
        distance: Floats = np.abs(values[self.answered] - values[self.truth])
        return distance

    @cached_property
    def confidence(self) -> Floats:
        """Probability of the predicted label, 1 / labels where there is none, shape (rows,)."""
        labels = len(self.task.labels)
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

    def columns(self) -> Columns:
        """What must be summed over rows for every metric."""
        labels, rows = len(self.task.labels), len(self.truth)
        dense: dict[str, Floats] = {"rows": np.ones(rows), "correct": self.correct.astype(float)}
        if self.task.ordered:
            # Centred, so that variances do not come out of differences of large numbers.
            values = np.array(self.task.values)
            centred = values - values.mean()
            truth, answer = centred[self.truth], centred[self.answered]
            ascending = np.argsort(values, kind="stable")
            rank = np.argsort(ascending)
            near = np.abs(rank[self.answered] - rank[self.truth]) <= 1
            dense |= _distances("", truth, answer) | {"within_1": (near & (self.predicted < labels)).astype(float)}
            if self.probabilities is not None:
                expected = self.probabilities @ centred
                nearest = ascending[np.abs(expected[:, None] - centred[ascending]).round(9).argmin(axis=1)]
                dense |= _distances("nearest_", truth, centred[nearest])
                dense |= {"expected_squared": (truth - expected) ** 2, "expected_absolute": np.abs(truth - expected)}
        bins = np.full(rows, -1, dtype=np.intp)
        if self.probabilities is not None:
            own = self.probabilities[np.arange(rows), self.truth]
            squares = (self.probabilities**2).sum(axis=1) - 2 * own + 1
            dense |= {"log_loss": -np.log(np.clip(own, EPSILON, 1)), "brier": squares}
            bins = self.bins
        priced = self.priced
        if priced is not None:
            dense |= {"priced": priced[1], "cost": priced[0]}
        ones = np.ones(rows)
        # Rows that do not count are given no weight here, once, instead of in every sample.
        seen = self.counted
        return Columns(
            {name: column * seen for name, column in dense.items()},
            {
                "support": (self.truth, ones * seen, labels),
                "answers": (np.where(self.predicted < labels, self.predicted, -1), ones * seen, labels),
                "right": (np.where(self.correct, self.truth, -1), ones * seen, labels),
                "gaps": (bins, (self.confidence - self.correct) * seen, BINS),
            },
        )

    @cached_property
    def priced(self) -> tuple[Floats, Floats] | None:
        """Cost of each row in US dollars and whether it counts, or `None` when a price is unknown.

        A `failed` row without a cost is left out: services do not bill failed requests, but none has said so.
        """
        known = [p.cost_usd is not None or p.state == "failed" for p in self.predictions]
        if not all(known) or all(p.cost_usd is None for p in self.predictions):
            return None
        cost = np.array([p.cost_usd or 0.0 for p in self.predictions], dtype=float)
        return cost, np.array([p.cost_usd is not None for p in self.predictions], dtype=float)


@dataclass(frozen=True)
class Measured:
    """A reading's metrics, and the bootstrap samples they came from for paired comparisons.

    Attributes:
        intervals: metric to value and bounds.
        draws: metric to its value on every sample, shape (resamples,).
        values: metric to its value on all rows, for every metric that has draws.
    """

    intervals: dict[str, Interval]
    draws: dict[str, Floats]
    values: dict[str, float]


def evaluate(
    task: Task,
    truths: Sequence[str],
    predictions: Sequence[Prediction],
    *,
    resamples: int = 2000,
    seed: int = 7,
) -> dict[str, Interval]:
    """Every metric that can be had, with its 95% interval.

    Rows whose state is `empty` leave the evaluation and are counted in `empty_rate`. Metrics that need something
    no row has (probabilities, prices, times) are absent, never zero. Plain shares of rows have Wilson intervals,
    times order-statistic intervals, everything else BCa bootstrap intervals over rows. `METRICS` says what
    each name means; docs/metrics.md has the formulas.

    Args:
        task: names the labels; ratings have more metrics.
        truths: the true label of each row.
        predictions: one per row, in the same order.
        resamples: bootstrap samples; 0 leaves the bootstrapped bounds `None`.
        seed: equal seeds draw equal samples, so the intervals of two specs on the same rows go together.

    Raises:
        DataError: there is no row, lengths differ, or a truth is no label of the task.

    Examples:
        >>> task = Task("mood", label="mood", labels=["good", "bad"])
        >>> right, refused = Prediction("good", "ok"), Prediction(None, "refused")
        >>> metrics = evaluate(task, ["good", "good", "bad"], [right, right, refused])
        >>> round(metrics["accuracy"].value, 3), round(metrics["refused_rate"].value, 3)
        (0.667, 0.333)
    """
    if not len(predictions):
        raise DataError("there are no rows to evaluate.")
    if len(truths) != len(predictions):
        raise DataError(f"{len(truths)} true labels and {len(predictions)} predictions; give one prediction per row.")
    kept = [i for i, prediction in enumerate(predictions) if prediction.state != "empty"]
    empty = {"empty_rate": rate_interval(len(predictions) - len(kept), len(predictions))}
    if not kept:
        return empty
    reading = LabelArrays.of(task, [truths[i] for i in kept], [predictions[i] for i in kept])
    [measured] = measure([reading], resamples=resamples, seed=seed)
    return in_order(measured.intervals | empty)


def in_order(intervals: dict[str, Interval]) -> dict[str, Interval]:
    """The metrics in the order of `METRICS`."""
    return {name: intervals[name] for name in METRICS if name in intervals}


def measure(readings: Sequence[LabelArrays], *, resamples: int = 2000, seed: int = 7) -> list[Measured]:
    """The metrics of several readings of the same rows on the same bootstrap samples.

    Args:
        readings: of equally many rows, at least one.
        resamples: bootstrap samples.
        seed: of the samples.

    Raises:
        DataError: the readings are of different numbers of rows, or of none.
    """
    sizes = {len(reading.truth) for reading in readings}
    if len(sizes) != 1 or 0 in sizes:
        raise DataError(
            f"predictions to compare are of {sorted(sizes)} rows; all must be of the same rows, one or more."
        )
    columns = [reading.columns() for reading in readings]
    values = [_metrics(reading.task, own.sums()) for reading, own in zip(readings, columns, strict=True)]
    parts: list[list[dict[str, Floats]]] = [[] for _ in readings]
    for drawn in weights(sizes.pop(), resamples, seed):
        for reading, own, part in zip(readings, columns, parts, strict=True):
            part.append(_metrics(reading.task, own.sums(drawn)))
    out = []
    for reading, own, value, part in zip(readings, columns, values, parts, strict=True):
        draws = {name: np.concatenate([p[name] for p in part]) if part else np.empty(0) for name in value}
        sums = own.sums_without_each()
        without_each = _metrics(reading.task, sums) if part and sums is not None else {}
        intervals = {
            name: _interval(reading, name, float(value[name][0]), draws[name], without_each.get(name)) for name in value
        }
        exact = {name: float(found[0]) for name, found in value.items()}
        out.append(Measured(in_order(intervals | _rates(reading, value) | _latencies(reading)), draws, exact))
    return out


def _interval(reading: LabelArrays, name: str, value: float, draws: Floats, without_each: Floats | None) -> Interval:
    rows = round(float(reading.counted.sum()))
    ends = _ends(reading.task, name)
    if ends is not None and len(draws) and bool((np.abs(draws - value) < 1e-12).all()):
        return unvaried_interval(value, rows, *ends)
    corrected = name not in BIASED_IN_SAMPLES
    return bootstrap_interval(value, draws, rows, without_each, corrected=corrected)


def _ends(task: Task, name: str) -> tuple[float, float] | None:
    """The best and the worst value a quality metric can take on a row; `None` for other metrics."""
    span = max(task.values) - min(task.values)
    if name.endswith("qwk"):
        return 1.0, -1.0
    if METRICS[name].kind == "quality" and METRICS[name].better == "higher":
        return 1.0, 0.0
    worst = {"mse": span**2, "mae": span, "log_loss": -float(np.log(EPSILON)), "brier": 2.0}
    return (0.0, worst[name.removeprefix("expected_")]) if name.removeprefix("expected_") in worst else None


def _metrics(task: Task, sums: dict[str, Floats]) -> dict[str, Floats]:
    """Metrics from sums over rows; arrays of shape (samples,) in and out."""
    rows = sums["rows"]
    support, answers, right = sums["support"], sums["answers"], sums["right"]
    precision, recall = _ratio(right, answers), _ratio(right, support)
    f1 = _ratio(2 * right, support + answers)
    out = {
        "accuracy": _ratio(sums["correct"], rows),
        "balanced_accuracy": _ratio(recall.sum(axis=0), (support > 0).sum(axis=0)),
        "weighted_f1": _ratio((f1 * support).sum(axis=0), rows),
        # As scikit-learn does, over the labels that occur; "no label" is an answer, not a label, and is not averaged.
        "macro_f1": _ratio(f1.sum(axis=0), (support + answers > 0).sum(axis=0)),
        "weighted_precision": _ratio((precision * support).sum(axis=0), rows),
        "weighted_recall": _ratio(right.sum(axis=0), rows),
    }
    if task.ordered:
        span = max(task.values) - min(task.values)
        out |= {
            "qwk": _kappa("", sums, span),
            "mse": _ratio(sums["squared"], rows),
            "mae": _ratio(sums["absolute"], rows),
            "within_1": _ratio(sums["within_1"], rows),
        }
        if "expected_squared" in sums:
            out |= {
                "expected_mse": _ratio(sums["expected_squared"], rows),
                "expected_mae": _ratio(sums["expected_absolute"], rows),
                "expected_qwk": _kappa("nearest_", sums, span),
            }
    if "log_loss" in sums:
        out |= {name: np.maximum(_ratio(sums[name], rows), 0.0) for name in ("log_loss", "brier")}
        # Guo et al. 2017: the gap of each bin, weighted by its share of the rows.
        out["calibration_error"] = _ratio(np.abs(sums["gaps"]).sum(axis=0), rows)
    if "cost" in sums:
        out["cost_per_1000_rows_usd"] = 1000 * _ratio(sums["cost"], sums["priced"])
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


def _kappa(prefix: str, sums: dict[str, Floats], span: float) -> Floats:
    """Quadratic weighted kappa from moments: 1 - E(t - a)^2 / E(t - a')^2 with a' drawn apart from t.

    The usual definition over the confusion matrix (Cohen 1968) with weights (t - a)^2, regrouped. Where truth and
    answers are one and the same label there is nothing beyond chance to see, and kappa is 0.
    """
    rows = sums["rows"]
    truth, answer = _ratio(sums[f"{prefix}truth"], rows), _ratio(sums[f"{prefix}answer"], rows)
    squares = _ratio(sums[f"{prefix}truth_squared"] + sums[f"{prefix}answer_squared"], rows)
    by_chance = squares - 2 * truth * answer
    seen = _ratio(sums[f"{prefix}squared"], rows)
    varied = by_chance > 1e-12 * span**2
    return np.where(varied, 1 - _ratio(seen, np.where(varied, by_chance, 1.0)), 0.0)


def _rates(reading: LabelArrays, values: dict[str, Floats]) -> dict[str, Interval]:
    rows = round(float(reading.counted.sum()))
    shares = ["accuracy", "weighted_recall", *(["within_1"] if reading.task.ordered else [])]
    out = {name: rate_interval(round(float(values[name][0]) * rows), rows) for name in shares}
    for state in ("off_label", "refused", "failed"):
        out[f"{state}_rate"] = rate_interval(sum(p.state == state for p in reading.predictions), rows)
    out["censored_rate"] = rate_interval(sum(p.call.censored for p in reading.predictions), rows)
    if reading.probabilities is not None:
        labelled = int((reading.predicted < len(reading.task.labels)).sum())
        out["probability_coverage"] = rate_interval(int(reading.covered.sum()), labelled)
    return out


def _latencies(reading: LabelArrays) -> dict[str, Interval]:
    calls = [p.call for p in reading.predictions]
    seconds = np.array([call.latency_seconds for call in calls if call.latency_seconds is not None], dtype=float)
    if not len(seconds):
        return {}
    return {
        "latency_p50_seconds": quantile_interval(seconds, 0.5),
        "latency_p95_seconds": quantile_interval(seconds, 0.95),
    }


def _ratio(above: Floats, below: Floats | npt.NDArray[np.int_]) -> Floats:
    """Division where nothing by nothing is 0, as for the precision of a label that was never answered."""
    out: Floats = np.zeros(np.broadcast_shapes(np.shape(above), np.shape(below)))
    np.divide(above, below, out=out, where=np.asarray(below) > 0)
    return out
