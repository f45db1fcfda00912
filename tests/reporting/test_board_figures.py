"""The figures of a leaderboard hold its numbers, and their sentences say what the numbers mean."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace

import pytest

from luthier.evaluation.calibration_bins import confidence_bins
from luthier.evaluation.leaderboard import Leaderboard
from luthier.evaluation.resampling import Interval
from luthier.evaluation.spread import spread_of
from luthier.reporting.board_figures import (
    calibration_chart,
    confusion,
    cost_chart,
    interval_strips,
    spread_strips,
    without_chart,
)
from luthier.reporting.charts.chart import Band, Curve, Dots
from luthier.tasks.task import Rows, Task
from luthier.tasks.types import CalibrationBin

Boards = Callable[..., tuple[Leaderboard, Rows]]


def priced(board: Leaderboard, costs: Sequence[float | None]) -> Leaderboard:
    entries = []
    for entry, cost in zip(board.entries, costs, strict=True):
        metrics = {name: found for name, found in entry.metrics.items() if name != "cost_per_1000_rows_usd"}
        if cost is not None:
            metrics["cost_per_1000_rows_usd"] = Interval(cost)
        entries.append(replace(entry, metrics=metrics))
    return replace(board, entries=tuple(entries))


def test_intervals_are_those_of_the_leaderboard_and_what_is_tied_with_the_best_looks_like_it(
    board: Leaderboard,
) -> None:
    drawn = interval_strips(board, board.entries)
    tied = {board.best.name, *board.tied_with(board.best.name)}
    for strip, entry in zip(drawn.strips, board.entries, strict=True):
        assert strip.interval == entry.metrics["qwk"]
        assert strip.looks == ((0,) if entry.name in tied else (1,))
    assert "2 of 3 others cannot be told apart from" in drawn.said


def test_a_constant_answer_far_off_is_said_and_does_not_press_the_intervals_together(board: Leaderboard) -> None:
    specs = board.entries[:3]
    drawn = interval_strips(replace(board, entries=specs), specs)
    assert drawn.axis.range is not None
    width = max(one.metrics["qwk"].high or 1 for one in specs) - min(one.metrics["qwk"].low or 0 for one in specs)
    assert drawn.axis.range[1] - drawn.axis.range[0] < 2 * width
    assert board.majority.metrics["qwk"].value < drawn.axis.range[0]
    assert f"“{board.majority.name}” has .00." in drawn.said


def test_the_line_of_cost_and_quality_joins_the_specs_that_no_other_beats_in_both(board: Leaderboard) -> None:
    first, second, third, last = (entry.metrics["qwk"].value for entry in board.entries)
    chart = cost_chart(priced(board, (9.0, 2.0, 5.0, 1.0)))
    assert chart is not None
    line = next(mark for mark in chart.marks if isinstance(mark, Curve))
    assert (line.x, line.y) == ((1.0, 2.0, 9.0), (last, second, first))
    off = next(mark for mark in chart.marks if isinstance(mark, Dots) and "no better" in mark.name)
    assert (off.x, off.y) == ((5.0,), (third,))
    assert off.low == (board.entries[2].metrics["qwk"].low,)


def test_the_cheapest_spec_that_is_as_good_as_the_best_is_named(board: Leaderboard) -> None:
    chart = cost_chart(priced(board, (9.0, 2.0, 5.0, 1.0)))
    assert chart is not None
    second = board.entries[1].name
    assert f"{second} cannot be told apart from {board.best.name}" in chart.said
    assert "takes $2.00 per 1,000 rows instead of $9.00 per 1,000 rows" in chart.said


def test_a_spec_without_a_known_cost_is_left_out_and_said(board: Leaderboard) -> None:
    chart = cost_chart(priced(board, (None, 2.0, 5.0, 1.0)))
    assert chart is not None
    assert "1 without a known cost left out" in chart.said
    assert not any(isinstance(mark, Dots) and mark.name == board.best.name for mark in chart.marks)


def test_time_stands_in_where_no_cost_is_known_and_nothing_where_no_time_is(boards: Boards, stars: Task) -> None:
    board = boards(stars, [f"t{i}" for i in range(50)], cost_usd=None)[0]
    chart = cost_chart(board)
    assert chart is not None and chart.x.unit == "seconds"
    assert cost_chart(boards(stars, ["a", "b"], cost_usd=None, latency_seconds=None)[0]) is None
    assert cost_chart(replace(board, entries=board.entries[:1])) is None


def test_calibration_has_a_band_and_says_where_a_model_is_overconfident() -> None:
    bins = [CalibrationBin(20, 0.5 + 0.05 * place, 0.5) for place in range(10)]
    chart = calibration_chart(bins, "few-shot")
    assert chart is not None
    band = next(mark for mark in chart.marks if isinstance(mark, Band))
    assert [len(band.x), min(one.rows for one in confidence_bins(bins))] == [3, 60]
    assert all(low < 0.5 < high for low, high in zip(band.low, band.high, strict=True))
    assert chart.said.startswith("few-shot is overconfident: where it says 88%, 50%")


def test_too_few_rows_are_a_sentence_and_no_chart() -> None:
    bins = [CalibrationBin(10, 0.6, 0.5), CalibrationBin(10, 0.9, 0.7)]
    assert calibration_chart(bins, "few-shot") is None
    assert without_chart(bins, "few-shot") == (
        "20 rows are too few to show calibration by confidence. Over all rows few-shot states a confidence of 75% and "
        "is right on 60% (39%–78%)."
    )
    assert "nearly the same confidence" in without_chart([CalibrationBin(200, 0.6, 0.5)], "few-shot")


def test_the_most_frequent_mistake_is_said_with_the_confusion_matrix() -> None:
    drawn = confusion(["bad", "good"], ((8, 2, 0), (5, 5, 0)))
    assert "Most often “good” was answered with “bad”: 5 rows, 50% of that label." in drawn.said


@pytest.mark.parametrize("count", [1, 4])
def test_a_spread_has_a_dot_for_every_draw(count: int) -> None:
    values = [0.1 * place for place in range(count)]
    drawn = spread_strips(spread_of({"count 1": values, "count 4": values}, "qwk"))
    assert [list(strip.values) for strip in drawn.strips] == [values, values]
