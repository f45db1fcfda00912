"""The page of a table of trials: what it says, what its figures hold, and trials of which little is known."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any, Literal

import pytest

from luthier.evaluation.resampling import Interval, plain
from luthier.evaluation.setting_importance import ImportanceOfSettings, SettingImportance
from luthier.evaluation.trials import TrialRow, TrialTable
from luthier.experiments.trial_files import trials_of_table
from luthier.reporting.charts.chart import Bars, Chart, Curve, Dots, Figure, Parallel, Rule, Strips
from luthier.reporting.html import page_text
from luthier.reporting.markdown import page_markdown
from luthier.reporting.table import Page
from luthier.reporting.trials_figures import (
    distribution_chart,
    frontier_chart,
    importance_strips,
    parallel_chart,
    setting_charts,
)
from luthier.reporting.trials_report import trials_page, trials_sentences
from tests.conftest import REPOSITORY

FINDINGS = REPOSITORY.parent / "shared" / "data" / "findings" / "fine_tune_trials.csv"


def trials_of(
    values: list[float],
    better: Literal["higher", "lower"] = "higher",
    costs: list[float] | None = None,
    **settings: list[Any],
) -> TrialTable:
    rows = tuple(
        TrialRow(
            f"trial-{place}",
            {name: given[place] for name, given in settings.items()},
            Interval(value),
            cost_usd=None if costs is None else costs[place],
        )
        for place, value in enumerate(values)
    )
    model = "model" if "model" in settings else None
    return TrialTable("a search", "accuracy", better, tuple(settings), rows, model_setting=model)


def figures(page: Page) -> Iterator[Figure]:
    for section in page.sections:
        for block in section.blocks:
            for one in block if isinstance(block, tuple) else (block,):
                if isinstance(one, Chart | Strips | Parallel):
                    yield one


@pytest.mark.skipif(not FINDINGS.exists(), reason="the findings are not here")
def test_the_findings_are_said_at_a_glance() -> None:
    page = trials_page(trials_of_table(FINDINGS))
    said = " ".join(page.said)
    assert "Lowest .250, median .426, highest .604 over 175 trials" in said
    assert "All of the best 18 have model babbage, n_epochs 10, batch_size 4" in said
    assert "103 of the 175 trials" in said
    assert len(page_text(page).encode()) < 700_000
    assert [type(one).__name__ for one in figures(page)] == [*["Chart"] * 5, "Parallel", "Strips", "Chart"]


def test_the_bars_hold_every_trial_and_the_lines_mark_lowest_median_and_best() -> None:
    chart = distribution_chart(trials_of([0.1, 0.2, 0.2, 0.4, 0.9], model=[*"abbab"]))
    assert chart is not None
    bars = [mark for mark in chart.marks if isinstance(mark, Bars)]
    assert {one.name: sum(one.heights) for one in bars} == {"a": 2, "b": 3}
    assert [mark.text for mark in chart.marks if isinstance(mark, Rule)] == ["lowest .100", "median .200", "best .900"]


def test_the_best_of_a_loss_is_the_lowest() -> None:
    chart = distribution_chart(trials_of([0.1, 0.2, 0.9], better="lower"))
    assert chart is not None
    assert [mark.text for mark in chart.marks if isinstance(mark, Rule)] == ["highest .900", "median .200", "best .100"]


def test_each_setting_that_differs_has_a_point_per_trial_by_base_model() -> None:
    model, epochs = setting_charts(
        trials_of([0.1, 0.2, 0.3, 0.4], model=["ada", "ada", "curie", "ada"], epochs=[5, 10, 5, 10], seed=[1] * 4)
    )
    assert (model.title, epochs.title) == ("model", "epochs")
    dots = [mark for mark in epochs.marks if isinstance(mark, Dots)]
    assert {one.name: len(one.x) for one in dots} == {"ada": 3, "curie": 1}
    assert epochs.x.categories == ("5", "10")
    assert "Median accuracy: .200 at 5 (2 trials), .300 at 10 (2)" in epochs.said


def test_points_of_one_choice_are_spread_and_stay_nearest_to_it() -> None:
    chart = setting_charts(trials_of([place / 60 for place in range(60)], epochs=[5] * 50 + [10] * 10))[0]
    dots = next(mark for mark in chart.marks if isinstance(mark, Dots))
    assert len(set(dots.x[:50])) > 40
    assert all(round(x) == (1 if value > 10 / 60 * 5 else 0) for x, value in zip(dots.x, dots.y, strict=True))


def test_strokes_lie_at_the_medians() -> None:
    chart = setting_charts(trials_of([0.1, 0.3, 0.6, 0.8], epochs=[5, 5, 10, 10]))[0]
    stroke = next(mark for mark in chart.marks if isinstance(mark, Curve))
    assert [stroke.y[0], stroke.y[3]] == pytest.approx([0.2, 0.7])


def test_parallel_lines_end_with_the_best() -> None:
    found = parallel_chart(trials_of([0.1, 0.9, 0.5], rate=[0.01, 0.1, 0.05], model=["a", "b", "a"]))
    assert found is not None
    assert [one.places[-1] for one in found.lines] == [0.0, pytest.approx(0.5), 1.0]
    assert found.lines[-1].told.startswith("trial-1")


def test_the_frontier_joins_what_no_trial_beats_in_both() -> None:
    chart = frontier_chart(trials_of([0.5, 0.7, 0.6, 0.9], costs=[1.0, 2.0, 3.0, 4.0]))
    assert chart is not None
    line = next(mark for mark in chart.marks if isinstance(mark, Curve))
    assert (line.x, line.y) == ((1.0, 2.0, 4.0), (0.5, 0.7, 0.9))
    assert frontier_chart(trials_of([0.5, 0.7])) is None


def test_importance_that_may_be_chance_is_said_to_be() -> None:
    settings = (SettingImportance("rate", Interval(0.02, -0.1, 0.1)),)
    strips = importance_strips(ImportanceOfSettings(Interval(-0.1, -0.3, 0.05), settings, 40))
    assert strips is not None
    assert "no better than their mean" in strips.said
    certain = (SettingImportance("rate", Interval(0.4, 0.2, 0.5)), SettingImportance("seed", Interval(0.0, -0.1, 0.1)))
    strips = importance_strips(ImportanceOfSettings(Interval(0.5, 0.3, 0.6), certain, 40))
    assert strips is not None
    assert "rate: 40% (20%–50%) depends on it" in strips.said
    assert "Not told from chance: seed" in strips.said


@pytest.mark.parametrize(
    "table",
    [
        trials_of([0.5, 0.5]),
        trials_of([0.5, 0.5, 0.5], rate=[0.1, 0.2, 0.3]),
        trials_of([0.1, 0.2], model=["ada", None]),
        trials_of([float(place) for place in range(30)], rate=[place / 30 for place in range(30)]),
        trials_of([place / 30 for place in range(30)], model=[f"model {place}" for place in range(30)]),
        TrialTable("nothing yet", "accuracy", "higher", ("x",), (TrialRow("a", {"x": 1}, None, state="running"),)),
    ],
    ids=["no settings", "all equal", "null", "one number", "thirty models", "no result"],
)
def test_tables_of_which_little_is_known_have_a_page(table: TrialTable) -> None:
    page = trials_page(table)
    assert "<h1" in page_text(page)
    assert page_markdown(page).startswith("# Trials")
    json.dumps([plain(one) for one in figures(page)], allow_nan=False)


def test_names_settings_and_values_run_no_script() -> None:
    evil = "<script>alert(1)</script>"
    trials = tuple(
        TrialRow(f"{evil}{n}", {evil: f"{evil}{n % 2}", "model": evil * (n % 3)}, Interval(n)) for n in range(9)
    )
    table = TrialTable(evil, evil, "higher", (evil, "model"), trials, model_setting="model", notes=(evil,))
    assert "<script>alert" not in page_text(trials_page(table))


def test_most_of_the_trials_in_one_cell_is_said_with_what_chance_would_do() -> None:
    values = [place / 100 for place in range(100)]
    said = " ".join(trials_sentences(trials_of(values, model=["ada"] * 50 + ["curie"] * 50)))
    assert "All of the best 10 have model curie" in said
    assert "50 of the 100 trials were (50%), so chance alone would put about 5 of the best there" in said
