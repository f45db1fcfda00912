"""The page of a run, whatever its kind."""

from __future__ import annotations

import json

import mlflow

from luthier.history.run_report import run_page
from luthier.history.runs import run_with_id
from luthier.reporting.html import page_text
from luthier.reporting.table import Page
from tests.history.conftest import Past


def titles(page: Page) -> set[str]:
    return {section.title for section in page.sections}


def test_a_comparison_has_its_leaderboard_and_its_worst_rows(past: Past) -> None:
    page = run_page(past.first.run_id)
    assert page.title == "Leaderboard: stars"
    assert {"Leaderboard", "Wrong answers"} <= titles(page)
    text = page_text(page)
    assert "made without the rows" not in text
    assert past.first.run_id in text


def test_a_comparison_on_several_tables_has_what_holds_across_them(past: Past) -> None:
    assert {"Table a", "Table b", "Across the tables"} <= titles(run_page(past.tables.run_id))


def test_a_spec_has_a_page_of_its_own_that_names_the_comparison(past: Past) -> None:
    page = run_page(past.first["zero"].run_id)
    assert page.title == "zero: stars"
    assert f"luthier report {past.first.run_id}" in page.lead


def test_a_comparison_without_its_leaderboard_shows_settings_and_figures_and_says_why(past: Past) -> None:
    run = run_with_id(past.first.run_id)
    made = mlflow.MlflowClient().create_run(run.experiment_id, tags=dict(run.tags))
    page = run_page(made.info.run_id)
    assert "leaderboard.json" in page.said[0]
    assert titles(page) == {"Run"}


def test_a_batch_has_a_page_of_its_settings_and_figures(past: Past) -> None:
    run = run_with_id(past.first.run_id)
    tags = {"luthier.kind": "score", "luthier.task": "stars"}
    made = mlflow.MlflowClient().create_run(run.experiment_id, run_name="score <b>x</b>.csv", tags=tags)
    mlflow.log_metrics({"rows": 12, "spent_usd": 0.5}, run_id=made.info.run_id)
    page = run_page(made.info.run_id)
    assert titles(page) == {"Run", "Figures"}
    text = page_text(page)
    assert "$0.50" in text
    assert "<b>x</b>" not in text


def test_a_task_type_that_is_not_here_leaves_settings_and_figures(past: Past) -> None:
    document = past.first.leaderboard.to_document()
    document["task"]["type"] = "not_here_any_more:Kind"
    mlflow.MlflowClient().log_text(past.first.run_id, json.dumps(document), "leaderboard.json")
    page = run_page(past.first.run_id)
    assert "not_here_any_more" in page.said[0]
    assert {"Run", "Figures", "Parts"} == titles(page)
