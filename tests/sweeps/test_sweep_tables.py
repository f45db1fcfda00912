"""The tables of a sweep."""

from __future__ import annotations

from luthier.reporting.table import Table
from luthier.sweeps.sweep_tables import jobs_table, trials_table, unmeasured_table
from luthier.sweeps.trial import SweepTrial
from tests.sweeps.studies import complete, failed, many, running, state, stopped

TRIALS = [complete(0, 0.58), complete(1, 0.583), stopped(2), stopped(3), failed(4), running(5)]


def heads(table: Table) -> list[str]:
    """The titles of the columns."""
    return [column.title for column in table.columns]


def test_every_setting_and_figure_is_in_the_table_the_best_trial_first() -> None:
    table = trials_table(state(TRIALS))
    assert {"epochs", "batch_size", "learning_rate_multiplier", "template"} <= set(heads(table))
    assert {"weighted F1", "accuracy", "QWK", "MSE", "reported valid_loss"} <= set(heads(table))
    assert {"tokens", "cost $", "time"} <= set(heads(table))
    assert [row.cells[0] for row in table.rows] == ["1", "0"]
    assert table.rows[0].style == "first"


def test_what_was_stopped_failed_or_runs_stands_apart_with_the_reason() -> None:
    table = unmeasured_table(state(TRIALS))
    assert [row.cells[0] for row in table.rows] == ["2", "3", "4", "5"]
    said = [dict(zip(heads(table), row.cells, strict=True)) for row in table.rows]
    assert [one["state"] for one in said] == ["stopped at 25%", "stopped at 25%", "failed", "running"]
    assert str(said[0]["why"]).startswith("median: after 25 % of the training")


def test_more_trials_than_are_shown_are_counted() -> None:
    assert trials_table(state(many(60)), 5).notes == (
        f"The best 5 of {len(state(many(60)).complete)} complete trials.",
    )


def test_bills_that_follow_from_the_last_step_are_named() -> None:
    found = state([complete(0, 0.5), stopped(1, tokens_estimated=True)])
    (note,) = jobs_table(found).notes
    assert "trial 1" in note


def test_a_trial_that_was_imported_stands_back_and_says_where_it_is_from() -> None:
    imported = SweepTrial(0, {"tuning.epochs": 3}, "complete", values=(0.9,), source="trials.csv")
    table = trials_table(state([imported, complete(1, 0.5)]))
    assert table.rows[0].style == "reference"
    assert "imported: trials.csv" in table.rows[0].cells
    assert table.rows[1].style == "first"
