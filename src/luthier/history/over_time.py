"""Comparisons of one task over time: what each spec reached on which rows, and what changed between two of them."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise

from luthier.evaluation.resampling import Interval
from luthier.history.runs import LoggedRun
from luthier.tasks.types import Measure
from luthier.tracking.runs import tag_of

__all__ = ["ComparedOnce", "CompareHistory", "SpecFigure", "compares_over_time"]

SAME = 1e-9
"""Difference up to which two figures are the same; sums of floating-point numbers differ by less."""


@dataclass(frozen=True, slots=True)
class SpecFigure:
    """What a spec reached in one comparison.

    Attributes:
        name: of the spec.
        fitted_digest: of the recipe and its training rows; equal digests are the same model.
        value: in the metric of the history, with its interval.
        run_id: of the spec's own run.
    """

    name: str
    fitted_digest: str
    value: Interval
    run_id: str


@dataclass(frozen=True, slots=True)
class ComparedOnce:
    """A comparison on one table.

    Attributes:
        run_id: MLflow's id of it.
        name: what MLflow shows.
        when: Unix time of its start.
        test_digest: equal digests mean the same labelled rows.
        rows: number of rows that were evaluated; `None` where the run does not say.
        figures: the specs, the best first.
        partial: whether rows have no answer for a reason that may pass.
    """

    run_id: str
    name: str
    when: float
    test_digest: str
    rows: int | None
    figures: tuple[SpecFigure, ...]
    partial: bool = False

    @property
    def best(self) -> SpecFigure:
        """The first spec."""
        return self.figures[0]


@dataclass(frozen=True)
class CompareHistory:
    """The comparisons of a task, the oldest first, in one metric."""

    metric: str
    measure: Measure
    compares: tuple[ComparedOnce, ...]

    @property
    def specs(self) -> tuple[str, ...]:
        """Names of the specs: those that were measured most often first, then those of the newest comparison."""
        counts = Counter(one.name for compare in self.compares for one in compare.figures)
        newest = {one.name: place for place, compare in enumerate(self.compares) for one in compare.figures}
        return tuple(sorted(counts, key=lambda name: (-counts[name], -newest[name], name)))

    @property
    def by_rows(self) -> Mapping[str, tuple[ComparedOnce, ...]]:
        """The comparisons by digest of their rows, in the order in which the rows were first used."""
        found: dict[str, list[ComparedOnce]] = {}
        for compare in self.compares:
            found.setdefault(compare.test_digest, []).append(compare)
        return {digest: tuple(compares) for digest, compares in found.items()}

    @property
    def drifted(self) -> tuple[tuple[ComparedOnce, ComparedOnce, SpecFigure, SpecFigure], ...]:
        """Two comparisons in a row, on the same rows, between which the figure of the same model changed."""
        return tuple(self._drifted())

    def _drifted(self) -> Iterator[tuple[ComparedOnce, ComparedOnce, SpecFigure, SpecFigure]]:
        for compares in self.by_rows.values():
            whole = [compare for compare in compares if not compare.partial]
            for before, after in pairwise(whole):
                known = {one.fitted_digest: one for one in before.figures if one.fitted_digest}
                for one in after.figures:
                    earlier = known.get(one.fitted_digest)
                    if earlier is not None and abs(earlier.value.value - one.value.value) > SAME:
                        yield before, after, earlier, one


def compares_over_time(runs: Sequence[LoggedRun], metric: str, measure: Measure) -> CompareHistory:
    """The comparisons among these runs. Those of which no spec has the metric are left out.

    Args:
        runs: every run of the task, in any order.
        metric: name of the metric.
        measure: what it is.
    """
    specs: dict[str, dict[str, SpecFigure]] = {}
    for run in sorted(runs, key=lambda run: run.started):
        value = run.figures.get(metric)
        if run.kind == "candidate" and run.parent is not None and run.spec is not None and value is not None:
            # Of a spec that was measured twice beneath one comparison, the last counts.
            specs.setdefault(run.parent, {})[run.spec] = SpecFigure(
                run.spec, tag_of(run.tags, "fitted_digest") or "", value, run.run_id
            )
    sign = -1 if measure.better == "higher" else 1
    found = []
    for run in sorted(runs, key=lambda run: run.started):
        digest, measured = run.test_digest, specs.get(run.run_id, {})
        if run.kind != "compare" or digest is None or not measured:
            continue
        rows = run.metrics.get("rows_evaluated")
        ordered = sorted(measured.values(), key=lambda one: (sign * one.value.value, one.name))
        count = None if rows is None else round(rows)
        found.append(ComparedOnce(run.run_id, run.name, run.started, digest, count, tuple(ordered), run.partial))
    return CompareHistory(metric, measure, tuple(found))
