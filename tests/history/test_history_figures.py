"""A task's past as figures."""

from __future__ import annotations

from luthier.evaluation.measures import METRICS
from luthier.history.history_figures import (
    MOST_BARRED,
    MOST_BARS,
    MOST_SPECS,
    over_time_chart,
    over_time_sentences,
    spending_chart,
    spending_sentence,
)
from luthier.history.over_time import CompareHistory, compares_over_time
from luthier.history.runs import LoggedRun
from luthier.history.spending import spending_of
from luthier.reporting.charts.chart import Band, Bars, Chart, Dots, Rule
from luthier.reporting.charts.draw import figure_html
from tests.history.pasts import DAY, START, compared, ran


def history(*compares: list[LoggedRun]) -> CompareHistory:
    return compares_over_time([run for runs in compares for run in runs], "qwk", METRICS["qwk"])


def chart(*compares: list[LoggedRun]) -> Chart:
    found = over_time_chart(history(*compares))
    assert found is not None
    return found


def test_each_spec_has_a_point_with_its_interval_in_each_comparison() -> None:
    drawn = chart(compared(0, "a", {"x": 0.5, "y": 0.6}), compared(1, "a", {"x": 0.7}))
    dots = {mark.name: mark for mark in drawn.marks if isinstance(mark, Dots)}
    assert {name: one.y for name, one in dots.items()} == {"x": (0.5, 0.7), "y": (0.6,)}
    assert dots["x"].low == (0.4, 0.6)
    assert "2026-11-19" in dots["x"].told[1]
    assert "<svg" in figure_html(drawn)


def test_where_other_rows_begin_is_marked_once() -> None:
    drawn = chart(compared(0, "a", {"x": 0.5}), compared(1, "b", {"x": 0.6}), compared(2, "b", {"x": 0.6}))
    assert [mark.value for mark in drawn.marks if isinstance(mark, Rule)] == [START + DAY]
    assert "Other rows were used once" in drawn.said


def test_more_specs_than_can_be_told_apart_are_counted() -> None:
    many = {f"s{number}": 0.5 for number in range(MOST_SPECS + 3)}
    drawn = chart(compared(0, "a", many), compared(1, "a", many))
    assert sum(isinstance(mark, Dots) for mark in drawn.marks) == MOST_SPECS
    assert "3 others are not" in drawn.said


def test_intervals_of_many_comparisons_are_a_band() -> None:
    drawn = chart(*(compared(number, "a", {"x": 0.5}) for number in range(MOST_BARRED + 1)))
    (dots,) = (mark for mark in drawn.marks if isinstance(mark, Dots))
    (band,) = (mark for mark in drawn.marks if isinstance(mark, Band))
    assert dots.low == dots.high == ()
    assert set(band.low) == {0.4}
    assert "<svg" in figure_html(drawn)


def test_one_comparison_is_no_course() -> None:
    assert over_time_chart(history(compared(0, "a", {"x": 0.5}))) is None


def test_what_got_better_and_what_drifted_is_said() -> None:
    said = over_time_sentences(
        history(compared(0, "a", {"x": 0.5}), compared(3, "a", {"x": 0.44, "new": 0.75}), compared(4, "b", {"x": 0.9}))
    )
    assert "the same 100 rows" in said[0]
    assert ".50 (.40–.55) (x" in said[0]
    assert ".75 (.65–.80) (new" in said[0]
    assert "x went from .50 to .44" in said[1]


def test_comparisons_on_rows_of_their_own_are_not_held_against_each_other() -> None:
    said = over_time_sentences(history(compared(0, "a", {"x": 0.5}), compared(1, "b", {"x": 0.9})))
    assert "rows of its own" in said[0]


def test_spending_is_stacked_by_purpose_on_its_day() -> None:
    spending = spending_of([ran("score", 0, spent_usd=1.0), ran("rai", 0, spent_usd=3.0), ran("rai", 2, spent_usd=0.5)])
    drawn = spending_chart(spending)
    assert drawn is not None
    dear, cheap = (mark for mark in drawn.marks if isinstance(mark, Bars))
    assert (dear.name, dear.heights) == ("assessments", (3.0, 0.0, 0.5))
    assert (cheap.name, cheap.heights, cheap.base) == ("scored tables", (1.0, 0.0, 0.0), (3.0, 0.0, 0.5))


def test_two_years_have_bars_of_several_days() -> None:
    spending = spending_of([ran("score", day, spent_usd=1.0) for day in range(0, 730, 10)])
    drawn = spending_chart(spending)
    assert drawn is not None
    (bars,) = (mark for mark in drawn.marks if isinstance(mark, Bars))
    assert len(bars.heights) <= MOST_BARS
    assert sum(bars.heights) == 73.0


def test_an_unknown_cost_is_said_beside_what_is_known() -> None:
    said = spending_sentence(spending_of([ran("score", 0, spent_usd=1.0), ran("tune", 0), ran("tune", 1)]))
    assert "$1.00 are known" in said
    assert "2 more runs is not known (2 of fine-tuning)" in said
