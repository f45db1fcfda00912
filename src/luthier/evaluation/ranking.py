"""Ranks specs measured on the same rows and samples, beside the most frequent label and the people who labelled."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

import numpy as np

from luthier.errors import DataError, UserError
from luthier.evaluation.leaderboard import Candidate, Comparison, Entry, Leaderboard, states_of
from luthier.evaluation.measures import measures_of, ranking_metric
from luthier.evaluation.metrics import EvaluatedRows, Measured, in_order, measure
from luthier.evaluation.resampling import Floats, Interval, percentile_interval, rate_interval
from luthier.evaluation.sample_size import plan_from_difference
from luthier.evaluation.statistics import (
    ALPHA,
    Difference,
    all_differences,
    holm,
    letters,
    mcnemar,
    paired_difference,
    sign_flip,
)
from luthier.tasks.prediction import CallRecord, Prediction
from luthier.tasks.task import Rows, Task
from luthier.tasks.types import Plots
from luthier.truncation import one_line

__all__ = ["MeasuredOnce", "build_leaderboard", "metrics_of", "plots_of"]

MOST_POINTS = 2_000
"""Points of single rows that are kept for a report; a browser draws every one of them."""

MOST_PARTS = 1_000
"""Parts of answers that are kept, the most frequent: keys of an object may be any words."""

LONGEST_CONSTANT = 40
"""Characters of an answer that gives its name to the constant reference."""


def build_leaderboard(
    task: Task,
    rows: Rows,
    candidates: Sequence[Candidate],
    *,
    train_labels: Sequence[Any | None] | None = None,
    rank_by: str | None = None,
    resamples: int = 2000,
    seed: int = 7,
    alpha: float = ALPHA,
    waiting: Sequence[str] = (),
    measured: MeasuredOnce | None = None,
    foreseen: Sequence[float] = (),
) -> Leaderboard:
    """Measures all candidates on the same rows and on the same bootstrap samples, and ranks them.

    Args:
        task: the question.
        rows: the test rows, every one labelled; also with the columns of `task.raters`, if the table has them.
        candidates: one or more, with one prediction per row.
        train_labels: truths that the constant reference is chosen on; those of the test rows when absent.
        rank_by: a metric of quality; the task type's own when absent.
        resamples: bootstrap samples behind intervals and p-values.
        seed: of the samples.
        alpha: level at which two specs count as different, after correction.
        waiting: names of specs that are still to be measured. The correction is for all pairs of the leaderboard,
            so nothing is compared before the last of them is there.
        measured: metrics of candidates measured before, added to; for a leaderboard that grows.
        foreseen: p-values of pairs with a spec that a race has stopped. They are no pairs of the leaderboard, but those
            are corrected for them too, so that a race finds the same ties as a comparison of all specs.

    Raises:
        UserError: no candidate, two of the same name, or `rank_by` is no metric of the task.
        DataError: a row has no label, all rows are empty, or a candidate has not one prediction per row.
    """
    metric = ranking_metric(task, rank_by)
    kept = _rows_to_evaluate(task, rows, candidates)
    truths = [label for label in (rows.labels[i] for i in kept) if label is not None]
    shown = [EvaluatedRows.of(task, truths, [c.predictions[i] for i in kept]) for c in candidates]
    majority, always = constant_rows(task, rows, kept, truths, train_labels)
    people = people_rows(task, rows, kept, truths)
    names = [*(f"spec {candidate.name}" for candidate in candidates), "constant", *(f"rater {name}" for name in people)]
    measured = MeasuredOnce(resamples, seed) if measured is None else measured
    found = measured.of(names, [*shown, always, *people.values()], kept)
    specs, floor, human = found[: len(shown)], found[len(shown)], found[len(shown) + 1 :]

    sign = -1 if measures_of(task)[metric].better == "higher" else 1
    by_name = sorted(range(len(shown)), key=lambda i: candidates[i].name)
    judged = [i for i in by_name if metric in specs[i].draws]
    judged.sort(key=lambda i: sign * specs[i].intervals[metric].value)
    order = judged + [i for i in by_name if metric not in specs[i].draws]
    if not judged and not waiting:
        raise UserError(f"no spec has {metric!r}, which needs a probability per label; rank by something else.")
    pairs: list[Comparison] = []
    differences: list[Difference] = []
    above: dict[int, bool] = {}
    if not waiting:
        pairs, differences = _compare(task, candidates, shown, specs, judged, metric, foreseen)
        above = _above_majority(specs, floor, judged, metric, alpha, higher=sign < 0)
    places = {candidates[i].name: place for place, i in enumerate(judged)}
    different = {(places[p.first], places[p.second]): p.corrected < alpha for p in pairs}
    groups = {} if waiting else dict(zip(judged, letters(len(judged), different), strict=True))

    empty = {"empty_rate": rate_interval(len(rows) - len(kept), len(rows))}
    entries = tuple(
        Entry(
            candidate=candidates[i],
            metrics=in_order(task, specs[i].intervals | empty),
            states=states_of(candidates[i]),
            from_journal_share=sum(p.call.from_journal for p in shown[i].predictions) / len(kept),
            rank=place,
            group=groups.get(i, ""),
            above_majority=above.get(i),
            plots=plots_of(shown[i]),
        )
        for place, i in enumerate(order, start=1)
    )
    plan = None
    if pairs:
        plan = plan_from_difference(
            differences[0],
            len(kept),
            metric=metric,
            names=(pairs[0].first, pairs[0].second),
            disagreement=pairs[0].disagreement,
            alpha=_level(pairs, alpha, foreseen),
        )
    return Leaderboard(
        task=task,
        test_digest=rows.digest,
        rows_evaluated=len(kept),
        rows_empty=len(rows) - len(kept),
        ranked_by=metric,
        entries=entries,
        pairs=tuple(pairs),
        majority=Entry(
            candidate=majority,
            metrics=in_order(task, floor.intervals | empty),
            states=states_of(majority),
            plots=plots_of(always),
        ),
        ceiling=ceiling_entry(task, people, human) if people else None,
        partial=any(p.state == "failed" and p.transient for c in candidates for p in c.predictions),
        plan=plan,
        alpha=alpha,
        draws={candidates[i].name: specs[i].draws[metric] for i in judged},
        waiting=tuple(waiting),
    )


def plots_of(rows: EvaluatedRows) -> Plots:
    """What a report may draw of these rows, as much as a page can hold."""
    found = rows.task.kind.plots(rows.truths, rows.predictions)
    parts = found.parts
    if len(parts) > MOST_PARTS:
        parts = tuple(sorted(parts, key=lambda one: -one.support)[:MOST_PARTS])
    return replace(found, points=found.points[:: len(found.points) // MOST_POINTS + 1], parts=parts)


class MeasuredOnce:
    """Metrics of candidates for the rows of one table, each measured once however often a leaderboard is built.

    Args:
        resamples: bootstrap samples behind intervals and p-values.
        seed: of the samples; equal ones for every candidate.
    """

    def __init__(self, resamples: int = 2000, seed: int = 7) -> None:
        self._resamples, self._seed = resamples, seed
        self._known: dict[tuple[str, tuple[int, ...]], Measured] = {}

    def of(self, names: Sequence[str], readings: Sequence[EvaluatedRows], kept: Sequence[int]) -> list[Measured]:
        """The metrics of each reading.

        Args:
            names: what each reading is known by.
            readings: of the rows that are kept.
            kept: places of these rows in the table.
        """
        rows = tuple(kept)
        new = {name: reading for name, reading in zip(names, readings, strict=True) if (name, rows) not in self._known}
        if new:
            found = measure(list(new.values()), resamples=self._resamples, seed=self._seed)
            self._known |= {(name, rows): one for name, one in zip(new, found, strict=True)}
        return [self._known[name, rows] for name in names]

    def draws(self, candidate: str) -> dict[str, Floats]:
        """Each metric of a candidate that was measured, on every bootstrap sample; shape (resamples,)."""
        return next(found.draws for (name, _), found in self._known.items() if name == f"spec {candidate}")


def metrics_of(task: Task, rows: Rows, candidate: Candidate, *, measured: MeasuredOnce) -> dict[str, Interval]:
    """Every metric of one candidate with its 95% interval; see `luthier.evaluation.metrics.evaluate`.

    Args:
        task: the question.
        rows: the test rows, every one labelled.
        candidate: with one prediction per row.
        measured: where a leaderboard of these rows finds what was measured here.
    """
    kept = _rows_to_evaluate(task, rows, [candidate])
    truths = [label for label in (rows.labels[i] for i in kept) if label is not None]
    reading = EvaluatedRows.of(task, truths, [candidate.predictions[i] for i in kept])
    [found] = measured.of([f"spec {candidate.name}"], [reading], kept)
    return in_order(task, found.intervals | {"empty_rate": rate_interval(len(rows) - len(kept), len(rows))})


def _level(pairs: Sequence[Comparison], alpha: float, foreseen: Sequence[float]) -> float:
    """The level at which Holm's correction tests the first pair, given the p-values of the others."""
    every = [*(pair.p for pair in pairs), *foreseen]
    return alpha / (len(every) - sum(p < pairs[0].p for p in every))


def _rows_to_evaluate(task: Task, rows: Rows, candidates: Sequence[Candidate]) -> list[int]:
    if not candidates:
        raise UserError("there is no spec to put on a leaderboard; give one or more.")
    repeated = sorted(name for name, count in Counter(c.name for c in candidates).items() if count > 1)
    if repeated:
        raise UserError(f"two specs are called {', '.join(repeated)}; give each spec its own `name:`.")
    for candidate in candidates:
        if len(candidate.predictions) != len(rows):
            raise DataError(
                f"spec {candidate.name!r} has {len(candidate.predictions)} predictions for {len(rows)} rows; "
                "every spec must answer the same rows."
            )
    unlabelled = [i for i, label in enumerate(rows.labels) if label is None]
    if unlabelled:
        raise DataError(
            f"{len(unlabelled)} test rows have no {task.kind.value_name} of task {task.name!r}; the first is row "
            f"{unlabelled[0] + 1}. Correct them or leave them out."
        )
    blank = {i for i, text in enumerate(rows.texts) if text is None}
    blank |= {i for c in candidates for i, p in enumerate(c.predictions) if p.state == "empty"}
    kept = [i for i in range(len(rows)) if i not in blank]
    if not kept:
        columns = " or ".join(map(repr, task.text_columns))
        raise DataError(f"column {columns} is empty in all {len(rows)} test rows; there is nothing to evaluate.")
    return kept


def _compare(
    task: Task,
    candidates: Sequence[Candidate],
    evaluated: Sequence[EvaluatedRows],
    measured: Sequence[Measured],
    order: Sequence[int],
    metric: str,
    foreseen: Sequence[float],
) -> tuple[list[Comparison], list[Difference]]:
    """Compares every two specs, the better one first; the pair of the two best comes first."""
    couples = [(i, j) for place, i in enumerate(order) for j in order[place + 1 :]]
    differences = all_differences(
        np.array([measured[i].intervals[metric].value for i in order]),
        np.stack([measured[i].draws[metric] for i in order]),
    )
    right = [mcnemar(evaluated[i].correct, evaluated[j].correct) for i, j in couples]
    near: Sequence[float | None] = [None] * len(couples)
    near_corrected = near
    if task.kind.ordered:
        flips = [sign_flip(evaluated[i].judged.distances - evaluated[j].judged.distances) for i, j in couples]
        near, near_corrected = flips, holm(flips)
    corrected, right_corrected = holm([*(d.p for d in differences), *foreseen]), holm(right)
    pairs = [
        Comparison(
            first=candidates[i].name,
            second=candidates[j].name,
            metric=metric,
            difference=differences[k].interval,
            p=differences[k].p,
            corrected=corrected[k],
            accuracy_p=right[k],
            accuracy_corrected=right_corrected[k],
            error_p=near[k],
            error_corrected=near_corrected[k],
            disagreement=float((evaluated[i].correct != evaluated[j].correct).mean()),
        )
        for k, (i, j) in enumerate(couples)
    ]
    return pairs, differences


def _above_majority(
    measured: Sequence[Measured], floor: Measured, order: Sequence[int], metric: str, alpha: float, *, higher: bool
) -> dict[int, bool]:
    """Whether each spec is better than the constant reference, Holm-corrected over the specs."""
    base = floor.intervals[metric].value
    differences = [
        paired_difference(measured[i].intervals[metric].value, base, measured[i].draws[metric], floor.draws[metric])
        for i in order
    ]
    corrected = holm([d.p for d in differences])
    return {
        i: p < alpha and (d.interval.value > 0) == higher for i, d, p in zip(order, differences, corrected, strict=True)
    }


def constant_rows(
    task: Task, rows: Rows, kept: Sequence[int], truths: Sequence[Any], train_labels: Sequence[Any | None] | None
) -> tuple[Candidate, EvaluatedRows]:
    """A spec that does not read the text: the best constant of the task type, such as the most frequent label."""
    known = [value for value in map(task.canonical_label, train_labels or ()) if value is not None]
    source, note = (known, "training rows") if known else (list(truths), "test rows")
    answer = replace(task.kind.constant(source), call=CallRecord(cost_usd=0.0))
    there = set(kept)
    nothing = Prediction(None, "empty")
    value = answer.value
    written = f"{value:.4g}" if isinstance(value, float) else "" if value is None else task.kind.written(value)
    said = one_line(written, LONGEST_CONSTANT) or "nothing"
    candidate = Candidate(
        name=f"always {said}",
        technique="majority",
        predictions=tuple(answer if i in there else nothing for i in range(len(rows))),
        notes=(f"{task.kind.constant_note}{f' of the {note}' if task.kind.constant_learns else ''}, for every row.",),
    )
    return candidate, EvaluatedRows.of(task, truths, [answer] * len(kept))


def people_rows(task: Task, rows: Rows, kept: Sequence[int], truths: Sequence[Any]) -> dict[str, EvaluatedRows]:
    """Per rater who labelled any of the rows, the labels as if they were a spec's predictions."""
    inputs = [rows.inputs[i] for i in kept]
    missing = [name for name in task.raters if name not in inputs[0]]
    if len(missing) == len(task.raters):
        return {}
    if missing:
        raise DataError(
            f"the test table has no rater column {', '.join(map(repr, missing))}, which task {task.name!r} names; "
            f"its columns are: {', '.join(map(str, inputs[0]))}."
        )
    people = {}
    for rater in task.raters:
        labels = [task.truth_of(row, rater).value for row in inputs]
        if any(label is not None for label in labels):
            answers = [Prediction(label, "ok" if label is not None else "off_label") for label in labels]
            people[rater] = EvaluatedRows.of(task, truths, answers, counted=[label is not None for label in labels])
    return people


def ceiling_entry(task: Task, people: Mapping[str, EvaluatedRows], measured: Sequence[Measured]) -> Entry:
    """The mean over the raters, with intervals over rows as the specs have: other texts, the same people."""
    metrics = {}
    for name, one_measure in task.kind.metrics.items():
        if one_measure.kind == "quality" and all(name in one.draws for one in measured):
            value = sum(one.intervals[name].value for one in measured) / len(measured)
            metrics[name] = percentile_interval(value, np.mean([one.draws[name] for one in measured], axis=0))
    # Rows that a rater skipped are not among them.
    given = [
        (truth, answer)
        for rows in people.values()
        for truth, answer, counted in zip(rows.truths, rows.predictions, rows.counted, strict=True)
        if counted
    ]
    return Entry(
        candidate=Candidate(
            name="human raters",
            technique="human",
            model=f"{len(people)} people" if len(people) > 1 else "1 person",
            notes=(
                f"Mean over {len(people)} people of how well one person's labels agree with the truth. "
                "The truth was made from the same people's labels, so each person's own vote is in it "
                "and the ceiling is a little flattering.",
            ),
        ),
        metrics=metrics,
        states={"ok": len(given)},
        plots=Plots(task.kind.plots([truth for truth, _ in given], [answer for _, answer in given]).confusion),
    )
