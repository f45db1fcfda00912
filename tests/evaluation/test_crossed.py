"""Prompts with models over tables: which prompt and which model hold, and what a gap does to a mean."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import pytest

from luthier.errors import DataError
from luthier.evaluation.across import across_tables
from luthier.evaluation.crossed import Cell, Crossed, crossed_frame, crossed_grids
from luthier.evaluation.measures import METRICS
from luthier.evaluation.resampling import Floats, Interval, record_of
from luthier.evaluation.resampling import plain as plain_values
from luthier.reporting.crossed_report import crossed_leaders, crossed_sections
from luthier.reporting.terminal import text_of
from tests.evaluation.test_across import board

ACCURACY = METRICS["accuracy"]
SPREAD = 0.01


def cells(values: Mapping[tuple[str, str], float], tables: Mapping[str, float] | None = None) -> tuple[Crossed, ...]:
    """The grids of cells with these values, shifted on each table; draws of all cells of a table move together."""
    generator = np.random.default_rng(3)
    found: dict[Cell, Interval] = {}
    draws: dict[Cell, Floats] = {}
    for table, shift in (tables or {"may": 0.0}).items():
        common = generator.normal(0, 0.05, 400)
        for (prompt, model), value in values.items():
            cell = prompt, model, table
            found[cell] = Interval(value + shift, value - 0.1, value + 0.1)
            draws[cell] = value + shift + common + generator.normal(0, SPREAD, 400)
    return crossed_grids(found, draws, higher=True, alpha=0.05)


STEADY: dict[tuple[str, str], float] = {
    ("steady", "big"): 0.80,
    ("steady", "small"): 0.70,
    ("moody", "big"): 0.97,
    ("moody", "small"): 0.60,
    ("weak", "big"): 0.50,
    ("weak", "small"): 0.65,
}


@pytest.fixture(scope="module")
def grid() -> Crossed:
    [found] = cells(STEADY, {"may": 0.0, "june": 0.01})
    return found


def test_every_cell_weighs_the_same_and_the_best_mean_leads(grid: Crossed) -> None:
    assert [one.name for one in grid.prompts.levels] == ["moody", "steady", "weak"]
    best = grid.prompts.levels[0]
    assert best.mean is not None
    assert best.mean.value == pytest.approx((0.97 + 0.60) / 2 + 0.005)
    assert [one.name for one in grid.models.levels] == ["big", "small"]
    assert grid.models.levels[0].mean.value == pytest.approx((0.80 + 0.97 + 0.50) / 3 + 0.005)  # type: ignore[union-attr]


def test_rows_of_a_table_are_drawn_for_all_cells_at_once_so_differences_are_surer_than_means(grid: Crossed) -> None:
    best, second = grid.prompts.levels[:2]
    assert best.mean is not None
    assert best.mean.low is not None
    assert second.mean is not None
    assert best.mean.low < second.mean.value
    assert grid.prompts.pairs[0].corrected < 0.05
    assert grid.prompts.tied_with_best(0.05) == ()


def test_worst_cell_places_and_cells_where_one_leads_are_columns(grid: Crossed) -> None:
    moody, steady, _ = grid.prompts.levels
    assert moody.worst.value == pytest.approx(0.60)
    assert (moody.worst_with, moody.worst_on) == ("small", "may")
    assert (moody.leads, moody.last, moody.mean_rank) == (2, 2, 2.0)
    assert (steady.leads, steady.last, steady.mean_rank) == (2, 0, 1.5)
    frame = grid.prompts.frame()
    assert frame[["name", "leads", "cells"]].values.tolist() == [["moody", 2, 4], ["steady", 2, 4], ["weak", 0, 4]]


def test_that_mean_and_worst_cell_name_different_prompts_is_said(grid: Crossed) -> None:
    said = " ".join(crossed_leaders([grid], ACCURACY))
    assert "moody is the prompt with the best mean accuracy" in said
    assert "moody is best on average, but the worst cell of steady is better: .70 with small on may" in said
    assert "and it is never last" in said


def test_the_matrix_has_a_row_per_prompt_and_a_column_per_model(grid: Crossed) -> None:
    frame = grid.frame()
    assert frame.index.tolist() == ["moody", "steady", "weak"]
    assert frame.columns.tolist() == ["big", "small"]
    assert frame.loc["moody", "big"] == pytest.approx(0.975)
    shown = text_of(*crossed_sections([grid], ACCURACY))
    assert "Prompts across 2 models and 2 tables" in shown
    assert "Models across 3 prompts and 2 tables" in shown


def test_a_prompt_that_lacks_a_cell_has_no_mean_and_changes_no_other() -> None:
    [whole] = cells(STEADY)
    [lacking] = cells({cell: value for cell, value in STEADY.items() if cell != ("moody", "small")})
    moody = lacking.prompts.levels[-1]
    assert (moody.name, moody.mean, moody.rank, moody.missing) == ("moody", None, None, ("small",))
    kept = {one.name: one.mean.value for one in whole.prompts.levels if one.mean}
    assert {one.name: one.mean.value for one in lacking.prompts.ranked if one.mean} == pytest.approx(
        {name: kept[name] for name in ("steady", "weak")}
    )
    assert lacking.frame().isna().sum().tolist() == [0, 1]
    assert [one.name for one in lacking.models.ranked] == ["big"]
    assert "No mean for moody, as it was not measured with small" in " ".join(crossed_leaders([lacking], ACCURACY))
    assert "missing" in text_of(*crossed_sections([lacking], ACCURACY))


def test_a_model_that_answered_nothing_leaves_the_means_of_all_prompts() -> None:
    generator = np.random.default_rng(1)
    found = {(p, m, "t"): Interval(value) for (p, m), value in STEADY.items()}
    draws = {cell: one.value + generator.normal(0, SPREAD, 50) for cell, one in found.items()}
    gaps = [(prompt, "gone") for prompt in ("steady", "moody", "weak")]
    [grid] = crossed_grids(found, draws, gaps=gaps, higher=True, alpha=0.05)
    assert len(grid.prompts.ranked) == 3


def test_prompts_that_share_no_model_are_in_grids_of_their_own() -> None:
    vectors = {("near", "v1"): 0.7, ("near", "v2"): 0.8}
    first, second = cells(STEADY | vectors)
    assert [one.name for one in second.models.levels] == ["v2", "v1"]
    assert len(first.prompts.ranked) == 3
    assert crossed_frame("matrix", [first, second]).shape == (4, 4)
    assert cells({("near", "v1"): 0.7}) == ()


def test_a_lower_figure_is_better_where_the_metric_says_so() -> None:
    generator = np.random.default_rng(1)
    found = {(p, m, "t"): Interval(value) for (p, m), value in STEADY.items()}
    draws = {cell: one.value + generator.normal(0, SPREAD, 50) for cell, one in found.items()}
    [grid] = crossed_grids(found, draws, higher=False, alpha=0.05)
    assert grid.prompts.levels[0].name == "weak"
    assert grid.prompts.levels[0].worst.value == 0.65


def test_tables_and_models_go_into_one_record_that_is_read_back() -> None:
    accuracies = {"a@x": 0.9, "a@y": 0.8, "b@x": 0.6, "b@y": 0.7, "base": 0.5}
    across = across_tables({"may": board(accuracies, rows=60), "june": board(accuracies, rows=80, seed=2)})
    [grid] = across.crossed
    assert [one.name for one in grid.prompts.levels] == ["a", "b"]
    assert grid.tables == ("may", "june")
    assert record_of(Crossed, plain_values(grid)) == grid
    assert len(across.entries) == 5


def test_without_several_models_there_is_nothing_crossed() -> None:
    assert across_tables({"may": board({"a": 0.9, "b": 0.5}, rows=40)}).crossed == ()
    with pytest.raises(DataError, match="--model A --model B"):
        crossed_frame("matrix", ())
