"""Comparisons over time, in one metric."""

from __future__ import annotations

from luthier.evaluation.measures import METRICS
from luthier.history.over_time import CompareHistory, compares_over_time
from luthier.history.runs import LoggedRun
from tests.history.pasts import compared


def history(*compares: list[LoggedRun], metric: str = "qwk") -> CompareHistory:
    return compares_over_time([run for runs in compares for run in reversed(runs)], metric, METRICS[metric])


def test_comparisons_are_in_the_order_of_time_each_with_its_best_spec_first() -> None:
    found = history(compared(5, "a", {"zero": 0.5, "few": 0.7}), compared(1, "a", {"zero": 0.6, "few": 0.4}))
    assert [(one.run_id, one.best.name) for one in found.compares] == [("c1", "zero"), ("c5", "few")]
    assert found.compares[1].best.value.low == 0.7 - 0.1


def test_of_an_error_the_smallest_is_the_best() -> None:
    runs = compared(0, "a", {"zero": 0.5, "few": 0.7})
    named = [
        LoggedRun(one.run_id, "1", one.kind, one.name, one.status, one.started, one.ended, one.parent,
                  {name.replace("qwk", "mae"): value for name, value in one.metrics.items()}, one.params, one.tags)
        for one in runs
    ]  # fmt: skip
    assert history(named, metric="mae").compares[0].best.name == "zero"


def test_comparisons_are_grouped_by_their_rows() -> None:
    found = history(compared(0, "a", {"x": 0.1}), compared(1, "b", {"x": 0.2}), compared(2, "a", {"x": 0.3}))
    assert {digest: [one.run_id for one in compares] for digest, compares in found.by_rows.items()} == {
        "a": ["c0", "c2"],
        "b": ["c1"],
    }


def test_the_same_model_with_another_figure_on_the_same_rows_has_drifted() -> None:
    found = history(
        compared(0, "a", {"x": 0.5, "y": 0.5}), compared(1, "b", {"x": 0.9}), compared(2, "a", {"x": 0.4, "y": 0.5})
    )
    assert [(before.run_id, after.run_id, one.name) for before, after, one, _ in found.drifted] == [("c0", "c2", "x")]


def test_a_changed_spec_and_missing_rows_are_no_drift() -> None:
    changed = history(compared(0, "a", {"x": 0.5}), compared(1, "a", {"x": 0.6}, fitted="new"))
    missing = history(compared(0, "a", {"x": 0.5}, partial=True), compared(1, "a", {"x": 0.6}))
    assert changed.drifted == missing.drifted == ()


def test_specs_measured_most_often_come_first() -> None:
    found = history(
        compared(0, "a", {"old": 0.5, "steady": 0.4}), compared(1, "a", {"new": 0.5, "steady": 0.4, "old": 0.5})
    )
    assert found.specs == ("old", "steady", "new")


def test_a_comparison_without_the_metric_is_left_out() -> None:
    found = history(compared(0, "a", {"x": 0.5}), [compared(1, "a", {})[0]])
    assert [one.run_id for one in found.compares] == ["c0"]
