"""The leaderboard's plain records: specs measured on the same rows, best first, with what cannot be told apart."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import numpy as np

from luthier.errors import DataError, UserError
from luthier.evaluation.entries import Candidate, Comparison, Entry, states_of
from luthier.evaluation.measures import METRICS, ranking_metric
from luthier.evaluation.metrics import Measured, Reading, in_order, measure
from luthier.evaluation.planning import Plan, plan_from_difference
from luthier.evaluation.references import ceiling_entry, majority_reading, people_readings
from luthier.evaluation.resampling import Floats, rate_interval
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
from luthier.evaluation.tables import calibration_of, confusion_of
from luthier.tasks.prediction import STATES
from luthier.tasks.task import Rows, Task, is_blank

if TYPE_CHECKING:
    import pandas as pd

__all__ = ["Candidate", "Comparison", "Entry", "Leaderboard", "build_leaderboard"]


@dataclass(frozen=True)
class Leaderboard:
    """Specs measured on the same rows.

    Attributes:
        task: the question.
        test_digest: of the rows; equal digests mean the same labelled rows.
        rows_evaluated: rows every number is about.
        rows_empty: rows without text, left out for all.
        ranked_by: metric name.
        entries: best first.
        pairs: every two of them compared.
        majority: always answers the most frequent label; what any spec must beat.
        ceiling: how well the single people agree with the truth; `None` without `raters` in the task.
        partial: whether a row still fails for a reason that may pass.
        plan: rows needed to tell the first from the second; `None` with fewer than two specs.
        alpha: level at which two specs count as different.
        draws: spec to its ranking metric per bootstrap sample; empty on a leaderboard read from a document.
        waiting: specs that are not measured yet; until they are, no two specs are compared.
    """

    task: Task
    test_digest: str
    rows_evaluated: int
    rows_empty: int
    ranked_by: str
    entries: tuple[Entry, ...]
    pairs: tuple[Comparison, ...]
    majority: Entry
    ceiling: Entry | None
    partial: bool
    plan: Plan | None
    alpha: float
    draws: Mapping[str, Floats] = field(default_factory=dict, repr=False, compare=False)
    waiting: tuple[str, ...] = ()

    @property
    def best(self) -> Entry:
        """The first entry."""
        return self.entries[0]

    @property
    def is_compared(self) -> bool:
        """Whether it says which specs can be told apart: all are measured, and they are several."""
        return len(self.entries) > 1 and not self.waiting

    def entry(self, name: str) -> Entry:
        """The entry of this name.

        Raises:
            DataError: there is none; the message has the names.
        """
        for entry in self.entries:
            if entry.name == name:
                return entry
        raise DataError(f"no spec {name!r} on the leaderboard; there is: {', '.join(e.name for e in self.entries)}.")

    def tied_with(self, name: str) -> tuple[str, ...]:
        """Names of the specs that cannot be told from this one, best first.

        Raises:
            DataError: there is no such spec.
        """
        self.entry(name)
        pairs = [pair for pair in self.pairs if name in (pair.first, pair.second) and pair.corrected >= self.alpha]
        tied = {pair.first for pair in pairs} | {pair.second for pair in pairs}
        return tuple(entry.name for entry in self.entries if entry.name in tied and entry.name != name)

    def frame(self, *, references: bool = False) -> pd.DataFrame:
        """One row per spec: names, every metric with `_low` and `_high`, rows per state, rank and group.

        Args:
            references: whether the majority and the human ceiling are rows too (their rank is missing).
        """
        import pandas as pd

        entries: list[Entry] = [*self.entries]
        if references:
            entries += [self.majority, *([self.ceiling] if self.ceiling else [])]
        names = [name for name in METRICS if any(name in entry.metrics for entry in entries)]
        lines = []
        for entry in entries:
            who = entry.candidate
            line: dict[str, Any] = {
                "rank": entry.rank,
                "name": who.name,
                "technique": who.technique,
                "model": who.model,
            }
            line["group"] = entry.group
            for name in names:
                found = entry.metrics.get(name)
                line[name] = found.value if found else None
                line[f"{name}_low"] = found.low if found else None
                line[f"{name}_high"] = found.high if found else None
            line |= {f"rows_{state}": entry.states.get(state, 0) for state in STATES}
            line |= {"from_journal_share": entry.from_journal_share}
            line |= {"spec_digest": who.spec_digest, "fitted_digest": who.fitted_digest}
            lines.append(line)
        frame = pd.DataFrame(lines)
        numbers = [f"{name}{end}" for name in names for end in ("", "_low", "_high")]
        return frame.astype({"rank": "Int64"} | dict.fromkeys(numbers, "float64"))

    def to_document(self, *, predictions: bool = False) -> dict[str, Any]:
        """Plain JSON values, none of them NaN.

        Args:
            predictions: whether every spec's predictions are in it too. They are large and hold the raw answers.
        """
        from luthier.evaluation.documents import leaderboard_document

        return leaderboard_document(self, predictions=predictions)

    @classmethod
    def from_document(cls, document: Mapping[str, Any]) -> Leaderboard:
        """The leaderboard a document describes; predictions are empty where the document has none.

        Raises:
            DataError: the document is no leaderboard, or of a later Luthier.
        """
        from luthier.evaluation.documents import read_leaderboard

        return read_leaderboard(document)


def build_leaderboard(
    task: Task,
    rows: Rows,
    candidates: Sequence[Candidate],
    *,
    train_labels: Sequence[str | None] | None = None,
    rank_by: str | None = None,
    resamples: int = 2000,
    seed: int = 7,
    alpha: float = ALPHA,
    waiting: Sequence[str] = (),
) -> Leaderboard:
    """Measures all candidates on the same rows and on the same bootstrap samples, and ranks them.

    Args:
        task: the question.
        rows: the test rows, every one labelled; also with the columns of `task.raters`, if the table has them.
        candidates: one or more, with one prediction per row.
        train_labels: where the most frequent label is taken from; from the test rows when absent.
        rank_by: a metric of quality; weighted F1, for ratings quadratic weighted kappa, when absent.
        resamples: bootstrap samples behind intervals and p-values.
        seed: of the samples.
        alpha: level at which two specs count as different, after correction.
        waiting: names of specs that are still to be measured. The correction is for all pairs of the leaderboard,
            so nothing is compared before the last of them is there.

    Raises:
        UserError: no candidate, two of the same name, or `rank_by` is no metric of the task.
        DataError: a row has no label, all rows are empty, or a candidate has not one prediction per row.
    """
    metric = ranking_metric(task, rank_by)
    kept = _rows_to_evaluate(task, rows, candidates)
    truths = [label for label in (rows.labels[i] for i in kept) if label is not None]
    shown = [Reading.of(task, truths, [c.predictions[i] for i in kept]) for c in candidates]
    majority, always = majority_reading(task, rows, kept, truths, train_labels)
    people = people_readings(task, rows, kept, truths)
    measured = measure([*shown, always, *people.values()], resamples=resamples, seed=seed)
    specs, floor, human = measured[: len(shown)], measured[len(shown)], measured[len(shown) + 1 :]

    sign = -1 if METRICS[metric].better == "higher" else 1
    order = sorted(
        range(len(shown)),
        key=lambda i: (
            metric not in specs[i].draws,
            sign * specs[i].intervals[metric].value if metric in specs[i].draws else 0.0,
            candidates[i].name,
        ),
    )
    judged = [i for i in order if metric in specs[i].draws]
    if not judged and not waiting:
        raise UserError(f"no spec has {metric!r}, which needs a probability per label; rank by something else.")
    pairs: list[Comparison] = []
    differences: list[Difference] = []
    above: dict[int, bool] = {}
    if not waiting:
        pairs, differences = _compare(task, candidates, shown, specs, judged, metric)
        above = _above_majority(specs, floor, judged, metric, alpha)
    places = {candidates[i].name: place for place, i in enumerate(judged)}
    different = {(places[p.first], places[p.second]): p.corrected < alpha for p in pairs}
    groups = {} if waiting else dict(zip(judged, letters(len(judged), different), strict=True))

    empty = {"empty_rate": rate_interval(len(rows) - len(kept), len(rows))}
    entries = tuple(
        Entry(
            candidate=candidates[i],
            metrics=in_order(specs[i].intervals | empty),
            states=states_of(candidates[i]),
            from_journal_share=sum(p.call.from_journal for p in shown[i].predictions) / len(kept),
            rank=place,
            group=groups.get(i, ""),
            above_majority=above.get(i),
            confusion=confusion_of(shown[i]),
            calibration=calibration_of(shown[i]),
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
            alpha=_level(pairs, alpha),
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
            metrics=in_order(floor.intervals | empty),
            states=states_of(majority),
            from_journal_share=0.0,
            rank=None,
            group="",
            confusion=confusion_of(always),
            calibration=calibration_of(always),
        ),
        ceiling=ceiling_entry(people, human) if people else None,
        partial=any(p.state == "failed" and p.transient for c in candidates for p in c.predictions),
        plan=plan,
        alpha=alpha,
        draws={candidates[i].name: specs[i].draws[metric] for i in judged},
        waiting=tuple(waiting),
    )


def _level(pairs: Sequence[Comparison], alpha: float) -> float:
    """The level at which Holm's correction tests the first pair, given the p-values of the others."""
    smaller = sum(pair.p < pairs[0].p for pair in pairs)
    return alpha / (len(pairs) - smaller)


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
            f"{len(unlabelled)} test rows have no label of task {task.name!r} (the first is row {unlabelled[0] + 1}); "
            f"labels are: {', '.join(task.labels)}."
        )
    blank = {i for i, row in enumerate(rows.inputs) if is_blank(row.get(rows.text))}
    blank |= {i for c in candidates for i, p in enumerate(c.predictions) if p.state == "empty"}
    kept = [i for i in range(len(rows)) if i not in blank]
    if not kept:
        raise DataError(f"column {rows.text!r} is empty in all {len(rows)} test rows; there is nothing to evaluate.")
    return kept


def _compare(
    task: Task,
    candidates: Sequence[Candidate],
    readings: Sequence[Reading],
    measured: Sequence[Measured],
    order: Sequence[int],
    metric: str,
) -> tuple[list[Comparison], list[Difference]]:
    """Every two specs, the better first; the first two specs come first."""
    couples = [(i, j) for place, i in enumerate(order) for j in order[place + 1 :]]
    differences = all_differences(
        np.array([measured[i].intervals[metric].value for i in order]),
        np.stack([measured[i].draws[metric] for i in order]),
    )
    right = [mcnemar(readings[i].correct, readings[j].correct) for i, j in couples]
    near: list[float] | None = None
    if task.ordered:
        near = [sign_flip(readings[i].absolute_error - readings[j].absolute_error) for i, j in couples]
    corrected, right_corrected = holm([d.p for d in differences]), holm(right)
    near_corrected = holm(near) if near is not None else None
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
            error_p=near[k] if near is not None else None,
            error_corrected=near_corrected[k] if near_corrected is not None else None,
            disagreement=float((readings[i].correct != readings[j].correct).mean()),
        )
        for k, (i, j) in enumerate(couples)
    ]
    return pairs, differences


def _above_majority(
    measured: Sequence[Measured], floor: Measured, order: Sequence[int], metric: str, alpha: float
) -> dict[int, bool]:
    """Which specs are better than always answering the most frequent label, Holm-corrected over the specs."""
    base = floor.intervals[metric].value
    differences = [
        paired_difference(measured[i].intervals[metric].value, base, measured[i].draws[metric], floor.draws[metric])
        for i in order
    ]
    higher = METRICS[metric].better == "higher"
    corrected = holm([d.p for d in differences])
    return {
        i: p < alpha and (d.interval.value > 0) == higher for i, d, p in zip(order, differences, corrected, strict=True)
    }
