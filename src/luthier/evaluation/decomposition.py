"""Why a reported number differs from the measured one: a chain of conditions between them, each changing one thing.

The first condition comes as close to the service's own terms as possible, the last is how the deployed model is
measured. A metric's step from one condition to the next is the part of the difference that this change makes; the
steps add up to the whole. Where changes depend on each other the part goes to the one that is made later.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from itertools import pairwise

import numpy as np
import scipy

from luthier.errors import DataError
from luthier.evaluation.agreement import may_be_share, reading_order
from luthier.evaluation.measures import METRICS
from luthier.evaluation.metrics import EvaluatedRows, Measured, measure
from luthier.evaluation.resampling import Interval, normal_quantile
from luthier.evaluation.statistics import paired_difference
from luthier.tasks.prediction import Prediction
from luthier.tasks.task import Rows, Task

__all__ = [
    "CHANGES",
    "Attribution",
    "Changed",
    "Condition",
    "ConditionFigures",
    "Decomposition",
    "Part",
    "Reported",
    "Switch",
    "decompose",
]

CHANGES: dict[str, str] = {
    "definition": "unexplained: the service's own definition",
    "labels": "answers that are no label",
    "prompt": "prompt, training against serving",
    "decoding": "decoding settings",
    "mix": "rows: labels in other proportions",
    "rows": "rows: other texts of the same labels",
}
"""What one step may change, and its name for a reader. `mix` is computed, never given."""

GIVEN = tuple(name for name in CHANGES if name != "mix")


@dataclass(frozen=True)
class Reported:
    """What a service said about a model.

    Attributes:
        metrics: name as in `METRICS` to value.
        rows: how many rows the service measured on, if it is known; the first condition is on the same rows then.
        terms: in a sentence, how it measured, as far as it says.
    """

    metrics: Mapping[str, float]
    rows: int | None = None
    terms: str = ""


@dataclass(frozen=True)
class Condition:
    """The deployed model's answers to some rows, in one way of asking.

    Attributes:
        name: for a reader, such as "the service's rows, asked with the training file's prompt".
        changes: the one thing that differs from the condition before: a key of `CHANGES` but `mix`. The first
            condition has `definition`: from the service's number to it everything changes that is not known.
        rows: labelled; the same as before unless `changes` is `rows`.
        predictions: one per row.
    """

    name: str
    changes: str
    rows: Rows = field(repr=False)
    predictions: tuple[Prediction, ...] = field(repr=False)


@dataclass(frozen=True)
class ConditionFigures:
    """A condition in figures: its evaluated rows, `empty` ones left out, and the reported metrics on them."""

    name: str
    changes: str
    rows: int
    without_label: int
    metrics: dict[str, Interval]


@dataclass(frozen=True)
class Part:
    """What one change, a key of `CHANGES`, makes of the difference, and the condition it leads to.

    `share` is the metric before the change minus after it; `p` is for "the change makes no difference". Without an
    interval and p the difference is counted and not estimated: the service's rows are known, and these are they.
    """

    changes: str
    condition: str
    share: Interval
    p: float | None


@dataclass(frozen=True)
class Decomposition:
    """One metric, from reported to measured.

    Attributes:
        metric: its name.
        reported: the service's value.
        measured: under the last condition.
        parts: in the order of the chain; their shares add up to reported minus measured.
        noise: by how much two measurements of one and the same model on rows like the service's and rows like the
            last condition's differ by chance, in 95 of 100 cases; 0 where both are on the same rows.
    """

    metric: str
    reported: float
    measured: Interval
    parts: tuple[Part, ...]
    noise: float

    @property
    def difference(self) -> float:
        """Reported minus measured."""
        return self.reported - self.measured.value


@dataclass(frozen=True)
class Changed:
    """A row whose answer a change turned; `row` is its position in the condition's rows, from 0."""

    row: int
    text: str
    truth: str
    before: Prediction
    after: Prediction


@dataclass(frozen=True)
class Switch:
    """From one condition to the next on the same rows, answered under both: which answers changed.

    `turned` rows have another label, or one instead of none; of these the `lost` were right before and wrong after,
    the `won` the other way round. `examples` are some of the turned rows, the lost ones first.
    """

    changes: str
    condition: str
    rows: int
    turned: int
    lost: int
    won: int
    examples: tuple[Changed, ...] = field(repr=False)


@dataclass(frozen=True)
class Attribution:
    """Everything known about why one model's, or job's, reported numbers differ from the measured ones.

    There is a decomposition per reported metric that was measured too, the most telling first, and a switch per
    change that leaves the rows as they are.
    """

    name: str
    reported: Reported
    conditions: tuple[ConditionFigures, ...]
    decompositions: tuple[Decomposition, ...]
    switches: tuple[Switch, ...]
    notes: tuple[str, ...] = ()


def decompose(
    name: str,
    task: Task,
    reported: Reported,
    chain: Sequence[Condition],
    *,
    resamples: int = 2000,
    seed: int = 7,
    examples: int = 5,
) -> Attribution:
    """Splits reported minus measured along a chain of conditions.

    Steps on the same rows are paired row by row. A step to other rows is split once more, where every label of the new
    rows is among the old: the old rows are weighted to the new rows' shares of the labels (`mix`), and what is left
    is that other texts were drawn (`rows`), with the interval of two independent samples.

    Args:
        name: of the model or job.
        task: names the labels.
        reported: the service's figures.
        chain: from the service's terms to the measurement that counts; see `Condition`.
        resamples: bootstrap samples.
        seed: of the samples.
        examples: at most so many turned rows per step.

    Raises:
        DataError: the chain is empty or changes more than it says, or no reported metric was measured.

    Examples:
        >>> task = Task("mood", label="mood", labels=["good", "bad"])
        >>> rows = Rows(({"text": "a"}, {"text": "b"}), ("good", "bad"), "text")
        >>> good, bad = Prediction("good", "ok"), Prediction("bad", "ok")
        >>> found = decompose("job", task, Reported({"accuracy": 1.0}, rows=2), [
        ...     Condition("training prompt", "definition", rows, (good, bad)),
        ...     Condition("serving prompt", "prompt", rows, (good, good)),
        ... ])
        >>> [(part.changes, part.share.value) for part in found.decompositions[0].parts]
        [('definition', 0.0), ('prompt', 0.5)]
    """
    _check_chain(chain)
    groups: list[list[Condition]] = []
    for condition in chain:
        if condition.changes == "rows" or not groups:
            groups.append([])
        groups[-1].append(condition)
    kept = [_kept(group) for group in groups]
    readings = [
        [_reading(task, condition, rows) for condition in group] for group, rows in zip(groups, kept, strict=True)
    ]
    bridges = [_reweighted(before[-1], after[0]) for before, after in pairwise(readings)]
    found: list[list[Measured]] = []
    for place, group_readings in enumerate(readings):
        bridge = bridges[place] if place < len(bridges) else None
        together = [*group_readings, *([bridge] if bridge else [])]
        # Other rows are another sample: with equal seeds their draws would go up and down together.
        found.append(measure(together, resamples=resamples, seed=seed + place))
    names = [
        metric
        for metric in sorted(reported.metrics, key=reading_order)
        if all(metric in m.values for group in found for m in group)
    ]
    if not names:
        there = [metric for metric in METRICS if all(metric in m.values for group in found for m in group)]
        raise DataError(
            f"{name}: none of the reported metrics ({', '.join(reported.metrics) or 'none'}) was measured; "
            f"name them as one of: {', '.join(there)}."
        )
    other = _other_than_reported(reported, len(readings[0][0]))
    same, notes = other is None, [] if other is None else [other]
    figures = [
        ConditionFigures(
            condition.name,
            condition.changes,
            len(reading),
            reading.without_value,
            {metric: measured.intervals[metric] for metric in names},
        )
        for group, group_readings, results in zip(groups, readings, found, strict=True)
        for condition, reading, measured in zip(group, group_readings, results, strict=False)
    ]
    unmeasured = [metric for metric in reported.metrics if metric not in names]
    if unmeasured:
        notes.append(f"The service also reported {', '.join(unmeasured)}, which was not measured.")
    return Attribution(
        name=name,
        reported=reported,
        conditions=tuple(figures),
        decompositions=tuple(_decomposition(metric, reported, same, groups, readings, found) for metric in names),
        switches=tuple(
            _switch(task, before, after, rows, examples)
            for group, rows in zip(groups, kept, strict=True)
            for before, after in pairwise(group)
        ),
        notes=tuple(notes),
    )


def _check_chain(chain: Sequence[Condition]) -> None:
    if not chain:
        raise DataError("the chain has no condition; give at least the measurement itself, as `definition`.")
    if chain[0].changes != "definition":
        raise DataError(
            f"the first condition, {chain[0].name!r}, changes {chain[0].changes!r}; it has to be 'definition': what "
            "lies between the service's number and it is not known."
        )
    for condition in chain:
        if len(condition.predictions) != len(condition.rows):
            raise DataError(
                f"{condition.name}: {len(condition.rows)} rows and {len(condition.predictions)} predictions; give one "
                "prediction per row."
            )
        if None in condition.rows.labels:
            raise DataError(f"{condition.name}: row {condition.rows.labels.index(None) + 1} has no label.")
    for before, after in pairwise(chain):
        if after.changes not in GIVEN or after.changes == "definition":
            allowed = ", ".join(name for name in GIVEN if name != "definition")
            raise DataError(f"{after.name!r} changes {after.changes!r}; one condition may change one of: {allowed}.")
        if (after.rows.digest == before.rows.digest) == (after.changes == "rows"):
            what = "the same rows as" if after.changes == "rows" else "other rows than"
            raise DataError(
                f"{after.name!r} changes {after.changes!r} but is on {what} {before.name!r}; change one thing per "
                "condition, the rows in one of their own."
            )


def _kept(group: Sequence[Condition]) -> list[int]:
    """Rows that no condition of the group left empty."""
    kept = [i for i in range(len(group[0].rows)) if all(c.predictions[i].state != "empty" for c in group)]
    if not kept:
        raise DataError(f"{group[0].name}: there are no rows to compare, every text is empty.")
    return kept


def _reading(task: Task, condition: Condition, kept: Sequence[int]) -> EvaluatedRows:
    labels = [condition.rows.labels[i] for i in kept]
    return EvaluatedRows.of(task, labels, [condition.predictions[i] for i in kept])


def _reweighted(before: EvaluatedRows, after: EvaluatedRows) -> EvaluatedRows | None:
    """The rows before with the truths in the shares they have after; `None` where one is missing before."""
    kind = before.task.kind
    had, has = list(map(kind.written, before.truths)), list(map(kind.written, after.truths))
    old, new = Counter(had), Counter(has)
    if not new.keys() <= old.keys():
        return None
    share = {truth: (new[truth] / len(after)) / (count / len(before)) for truth, count in old.items()}
    return replace(before, counted=np.array([share[truth] for truth in had]))


def _other_than_reported(reported: Reported, rows: int) -> str | None:
    """Why the service may not have measured on exactly the first condition's rows; `None` where it has."""
    if reported.rows is None:
        return "The service does not say which rows it measured on, so chance is part of what is not explained."
    if reported.rows != rows:
        return (
            f"The service measured on {reported.rows:,} rows, the first condition is on {rows:,}: chance is part of "
            "what is not explained."
        )
    if not may_be_share(reported.metrics.get("accuracy", 0.0), rows):
        return (
            f"The reported accuracy {reported.metrics['accuracy']:.6g} is no whole share of {rows:,} rows: the service "
            "counted other rows, or something else than rows."
        )
    return None


def _decomposition(
    metric: str,
    reported: Reported,
    same: bool,
    groups: Sequence[Sequence[Condition]],
    readings: Sequence[Sequence[EvaluatedRows]],
    found: Sequence[Sequence[Measured]],
) -> Decomposition:
    said = float(reported.metrics[metric])
    first, rows = found[0][0], len(readings[0][0])
    # The service's number is a draw too; its spread is that of our own, on its number of rows.
    theirs = reported.rows or rows
    own = float(first.draws[metric].std())
    parts = [_definition(groups[0][0].name, said - first.values[metric], own * (1 + rows / theirs) ** 0.5, same)]
    for place, (group, results) in enumerate(zip(groups, found, strict=True)):
        if place:
            parts += _other_rows(metric, group[0], found[place - 1], len(groups[place - 1]), results[0])
        for condition, (before, after) in zip(group[1:], pairwise(results), strict=False):
            parts.append(_part(condition.changes, condition.name, metric, before, after))
    last = found[-1][len(groups[-1]) - 1]
    variance = 0.0 if same and len(groups) == 1 else own**2 * rows / theirs + float(last.draws[metric].var())
    return Decomposition(metric, said, last.intervals[metric], tuple(parts), normal_quantile() * variance**0.5)


def _definition(condition: str, gap: float, error: float, same: bool) -> Part:
    if same:
        return Part("definition", condition, Interval(gap), None)
    half = normal_quantile() * error
    p = float(2 * scipy.stats.norm.sf(abs(gap) / error)) if error > 0 else float(abs(gap) < 1e-12)
    return Part("definition", condition, Interval(gap, gap - half, gap + half), p)


def _other_rows(
    metric: str, condition: Condition, before: Sequence[Measured], conditions: int, after: Measured
) -> list[Part]:
    old, *bridge = before[conditions - 1 :]
    if not bridge:
        return [_part("rows", condition.name, metric, old, after)]
    return [
        _part("mix", condition.name, metric, old, bridge[0]),
        _part("rows", condition.name, metric, bridge[0], after),
    ]


def _part(changes: str, condition: str, metric: str, before: Measured, after: Measured) -> Part:
    found = paired_difference(before.values[metric], after.values[metric], before.draws[metric], after.draws[metric])
    return Part(changes, condition, found.interval, found.p)


def _switch(task: Task, before: Condition, after: Condition, kept: Sequence[int], examples: int) -> Switch:
    rows, texts = before.rows, before.rows.texts
    turned = [i for i in kept if before.predictions[i].value != after.predictions[i].value]

    def way(i: int) -> str:
        right = (before.predictions[i].value == rows.labels[i], after.predictions[i].value == rows.labels[i])
        return "lost" if right == (True, False) else "won" if right == (False, True) else "moved"

    ways = {i: way(i) for i in turned}
    counts = Counter(ways.values())
    shown = sorted(turned, key=lambda i: ("lost", "won", "moved").index(ways[i]))[:examples]
    return Switch(
        changes=after.changes,
        condition=after.name,
        rows=len(kept),
        turned=len(turned),
        lost=counts["lost"],
        won=counts["won"],
        examples=tuple(
            Changed(i, texts[i] or "", task.kind.written(rows.labels[i]), before.predictions[i], after.predictions[i])
            for i in shown
        ),
    )
