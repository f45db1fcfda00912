"""Metrics with their intervals, from sums over rows: what is summed is the task type's, how sure it is stands here.

2,000 bootstrap samples are one product of matrices, because every metric is a function of sums over rows.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
import numpy.typing as npt

from luthier.errors import DataError
from luthier.evaluation.measures import measures_of
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
from luthier.tasks.types import Judged

__all__ = ["EvaluatedRows", "Measured", "evaluate", "evaluate_unlabelled", "in_order", "measure"]


@dataclass(frozen=True)
class EvaluatedRows:
    """One spec's predictions held against the truth of the rows they are for.

    Attributes:
        task: whose type judges them.
        truths: one per row.
        predictions: one per row, none of them `empty`.
        counted: 1 for rows that count, 0 for rows it never saw (a person who skipped some), and any weight between or
            above; shape (rows,).
    """

    task: Task
    truths: tuple[Any, ...]
    predictions: tuple[Prediction, ...]
    counted: Floats

    @classmethod
    def of(
        cls,
        task: Task,
        truths: Sequence[Any],
        predictions: Sequence[Prediction],
        *,
        counted: Sequence[bool] | None = None,
    ) -> EvaluatedRows:
        """Predictions that are all to be evaluated; `empty` ones must have been taken out.

        Raises:
            DataError: lengths differ, or a truth is none of the task's.
        """
        if len(truths) != len(predictions):
            raise DataError(f"{len(truths)} truths and {len(predictions)} predictions; give one prediction per row.")
        seen = np.ones(len(truths)) if counted is None else np.asarray(counted, dtype=float)
        found = cls(task, tuple(truths), tuple(predictions), seen)
        assert found.judged is not None
        return found

    def __len__(self) -> int:
        return len(self.truths)

    @cached_property
    def judged(self) -> Judged:
        """What the task type makes of them."""
        return self.task.kind.judge(self.truths, self.predictions)

    @property
    def correct(self) -> npt.NDArray[np.bool_]:
        """Whether each row is exactly right, shape (rows,)."""
        correct: npt.NDArray[np.bool_] = self.judged.distances == 0
        return correct

    @property
    def without_value(self) -> int:
        """How many rows have no value."""
        return sum(p.value is None for p in self.predictions)

    def columns(self) -> Columns:
        """What must be summed over rows for every metric."""
        dense = {"rows": np.ones(len(self)), **self.judged.sums}
        if self.priced is not None:
            dense |= {"priced": self.priced[1], "cost": self.priced[0]}
        # Rows that do not count are given no weight here, once, instead of in every sample.
        return Columns(
            {name: column * self.counted for name, column in dense.items()},
            {
                name: (place, (value.T * self.counted).T, count)
                for name, (place, value, count) in self.judged.groups.items()
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
    """The metrics of one spec, and the bootstrap samples they came from for paired comparisons.

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
    truths: Sequence[Any],
    predictions: Sequence[Prediction],
    *,
    resamples: int = 2000,
    seed: int = 7,
) -> dict[str, Interval]:
    """Every metric that can be had, with its 95% interval.

    Rows whose state is `empty` leave the evaluation and are counted in `empty_rate`. Metrics that need something
    no row has (probabilities, prices, times) are absent, never zero. Plain shares of rows have Wilson intervals,
    times order-statistic intervals, everything else BCa bootstrap intervals over rows. `measures_of`
    says what each name means; docs/metrics.md has the formulas.

    Args:
        task: says how rows are judged and which metrics there are.
        truths: the truth of each row, such as its label.
        predictions: one per row, in the same order.
        resamples: bootstrap samples; 0 leaves the bootstrapped bounds `None`.
        seed: equal seeds draw equal samples, so the intervals of two specs on the same rows go together.

    Raises:
        DataError: there is no row, lengths differ, or a truth is none of the task's.

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
        raise DataError(f"{len(truths)} truths and {len(predictions)} predictions; give one prediction per row.")
    kept = [i for i, prediction in enumerate(predictions) if prediction.state != "empty"]
    empty = {"empty_rate": rate_interval(len(predictions) - len(kept), len(predictions))}
    if not kept:
        return empty
    rows = EvaluatedRows.of(task, [truths[i] for i in kept], [predictions[i] for i in kept])
    [measured] = measure([rows], resamples=resamples, seed=seed)
    return in_order(task, measured.intervals | empty)


def evaluate_unlabelled(task: Task, predictions: Sequence[Prediction]) -> dict[str, Interval]:
    """The metrics that need no truth: rates of states, money and time.

    Args:
        task: names the metrics.
        predictions: one per row.

    Examples:
        >>> task = Task("mood", label="mood", labels=["good", "bad"])
        >>> found = evaluate_unlabelled(task, [Prediction("good", "ok"), Prediction(None, "refused")])
        >>> found["refused_rate"].value
        0.5
    """
    asked = tuple(prediction for prediction in predictions if prediction.state != "empty")
    found = {"empty_rate": rate_interval(len(predictions) - len(asked), len(predictions))}
    if asked:
        rows = EvaluatedRows(task, (None,) * len(asked), asked, np.ones(len(asked)))
        found |= _state_rates(rows) | _latencies(rows)
        if rows.priced is not None and rows.priced[1].any():
            cost, priced = rows.priced
            found["cost_per_1000_rows_usd"] = Interval(float(1000 * cost.sum() / priced.sum()))
    return in_order(task, found)


def in_order(task: Task, intervals: Mapping[str, Interval]) -> dict[str, Interval]:
    """The metrics in the order tables show them."""
    return {name: intervals[name] for name in measures_of(task) if name in intervals}


def measure(evaluated: Sequence[EvaluatedRows], *, resamples: int = 2000, seed: int = 7) -> list[Measured]:
    """The metrics of several specs on the same rows and the same bootstrap samples.

    Args:
        evaluated: a spec each, of equally many rows, at least one.
        resamples: bootstrap samples.
        seed: of the samples.

    Raises:
        DataError: they have different numbers of rows, or none.
    """
    sizes = {len(rows) for rows in evaluated}
    if len(sizes) != 1 or 0 in sizes:
        raise DataError(
            f"predictions to compare are of {sorted(sizes)} rows; all must be of the same rows, one or more."
        )
    columns = [rows.columns() for rows in evaluated]
    values = [_metrics(rows, own.sums()) for rows, own in zip(evaluated, columns, strict=True)]
    parts: list[list[dict[str, Floats]]] = [[] for _ in evaluated]
    for drawn in weights(sizes.pop(), resamples, seed):
        for rows, own, part in zip(evaluated, columns, parts, strict=True):
            part.append(_metrics(rows, own.sums(drawn)))
    out = []
    for rows, own, value, part in zip(evaluated, columns, values, parts, strict=True):
        draws = {name: np.concatenate([p[name] for p in part]) if part else np.empty(0) for name in value}
        sums = own.sums_without_each()
        without_each = _metrics(rows, sums) if part and sums is not None else {}
        intervals = {
            name: _interval(rows, name, float(value[name][0]), draws[name], without_each.get(name)) for name in value
        }
        exact = {name: float(found[0]) for name, found in value.items()}
        out.append(Measured(in_order(rows.task, intervals | _rates(rows, value) | _latencies(rows)), draws, exact))
    return out


def _interval(rows: EvaluatedRows, name: str, value: float, draws: Floats, without_each: Floats | None) -> Interval:
    count = round(float(rows.counted.sum()))
    ends = rows.task.kind.ends(name)
    if ends is not None and len(draws) and bool((np.abs(draws - value) < 1e-12).all()):
        return unvaried_interval(value, count, *ends)
    corrected = not measures_of(rows.task)[name].is_biased
    return bootstrap_interval(value, draws, count, without_each, corrected=corrected)


def _metrics(rows: EvaluatedRows, sums: dict[str, Floats]) -> dict[str, Floats]:
    """Metrics from sums over rows; arrays of shape (samples,) in and out."""
    out = rows.task.kind.from_sums(sums)
    if "cost" in sums:
        cost, priced = sums["cost"], sums["priced"]
        out["cost_per_1000_rows_usd"] = 1000 * np.divide(cost, priced, out=np.zeros_like(cost), where=priced > 0)
    return out


def _rates(rows: EvaluatedRows, values: Mapping[str, Floats]) -> dict[str, Interval]:
    count = round(float(rows.counted.sum()))
    measures = measures_of(rows.task)
    shares = [name for name in values if measures[name].is_share]
    out = {name: rate_interval(round(float(values[name][0]) * count), count) for name in shares}
    return out | _state_rates(rows) | {name: rate_interval(*counted) for name, counted in rows.judged.rates.items()}


def _state_rates(rows: EvaluatedRows) -> dict[str, Interval]:
    count = round(float(rows.counted.sum()))
    out = {
        f"{state}_rate": rate_interval(sum(p.state == state for p in rows.predictions), count)
        for state in ("off_label", "refused", "failed")
    }
    return out | {"censored_rate": rate_interval(sum(p.call.censored for p in rows.predictions), count)}


def _latencies(rows: EvaluatedRows) -> dict[str, Interval]:
    calls = [p.call for p in rows.predictions]
    seconds = np.array([call.latency_seconds for call in calls if call.latency_seconds is not None], dtype=float)
    if not len(seconds):
        return {}
    return {
        "latency_p50_seconds": quantile_interval(seconds, 0.5),
        "latency_p95_seconds": quantile_interval(seconds, 0.95),
    }
