"""What specs are held against: the most frequent label below, the people who made the labels above."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence

import numpy as np

from luthier.errors import DataError
from luthier.evaluation.entries import Candidate, Entry
from luthier.evaluation.measures import METRICS
from luthier.evaluation.metrics import Measured, Reading
from luthier.evaluation.resampling import percentile_interval
from luthier.evaluation.tables import confusion_of
from luthier.tasks.prediction import CallRecord, Prediction
from luthier.tasks.task import Rows, Task

__all__ = ["ceiling_entry", "majority_reading", "people_readings"]


def majority_reading(
    task: Task, rows: Rows, kept: Sequence[int], truths: Sequence[str], train_labels: Sequence[str | None] | None
) -> tuple[Candidate, Reading]:
    """The spec that has not read the text: the most frequent label, with the labels' shares as probabilities."""
    known = [label for label in train_labels or () if label in task.labels]
    source, note = (known, "training rows") if known else (list(truths), "test rows")
    counts = Counter(source)
    label = max(task.labels, key=lambda name: counts[name])
    shares = tuple(counts[name] / len(source) for name in task.labels)
    there = set(kept)
    answer = Prediction(label, "ok", shares, call=CallRecord(cost_usd=0.0))
    nothing = Prediction(None, "empty")
    candidate = Candidate(
        name=f"always {label}",
        technique="majority",
        model="none",
        spec_digest="",
        fitted_digest="",
        predictions=tuple(answer if i in there else nothing for i in range(len(rows))),
        notes=(f"The most frequent label of the {note}, for every row.",),
    )
    return candidate, Reading.of(task, truths, [answer] * len(kept))


def people_readings(task: Task, rows: Rows, kept: Sequence[int], truths: Sequence[str]) -> dict[str, Reading]:
    """A reading per rater who labelled any of the rows."""
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
        labels = [task.canonical_label(row[rater]) for row in inputs]
        if any(label is not None for label in labels):
            answers = [Prediction(label, "ok" if label is not None else "off_label") for label in labels]
            people[rater] = Reading.of(task, truths, answers, counted=[label is not None for label in labels])
    return people


def ceiling_entry(people: Mapping[str, Reading], measured: Sequence[Measured]) -> Entry:
    """The mean over the raters; the interval is over rows, with these raters as they are.

    Over rows and not over raters, so that it means the same as the specs' intervals above it: other texts, same people.
    """
    metrics = {}
    for name, measure_ in METRICS.items():
        if measure_.kind == "quality" and all(name in one.draws for one in measured):
            value = sum(one.intervals[name].value for one in measured) / len(measured)
            metrics[name] = percentile_interval(value, np.mean([one.draws[name] for one in measured], axis=0))
    labels = [int(reading.counted.sum()) for reading in people.values()]
    seen = [confusion_of(reading) for reading in people.values()]
    summed = tuple(tuple(sum(cells) for cells in zip(*lines, strict=True)) for lines in zip(*seen, strict=True))
    # Rows a rater skipped stand in the last column of the reading, but nobody asked that rater.
    confusion = tuple((*line[:-1], 0) for line in summed)
    return Entry(
        candidate=Candidate(
            name="human raters",
            technique="human",
            model=f"{len(people)} people" if len(people) > 1 else "1 person",
            spec_digest="",
            fitted_digest="",
            predictions=(),
            notes=(
                f"Mean over {len(people)} people of how well one person's labels agree with the truth. "
                "The truth was made from the same people's labels, so each person's own vote is in it "
                "and the ceiling is a little flattering.",
            ),
        ),
        metrics=metrics,
        states={"ok": sum(labels)},
        from_journal_share=0.0,
        rank=None,
        group="",
        confusion=confusion,
    )
