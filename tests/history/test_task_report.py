"""The page of a task: everything of it."""

from __future__ import annotations

import mlflow
import pytest

from luthier.errors import DataError
from luthier.history.task_history import history_of_task
from luthier.history.task_report import task_page, task_page_of
from luthier.reporting.html import page_text
from luthier.reporting.markdown import page_markdown
from luthier.reporting.table import Page
from tests.history.conftest import Past


def titles(page: Page) -> list[str]:
    return [section.title for section in page.sections]


def test_the_page_has_the_newest_comparison_the_course_the_versions_and_the_money(past: Past) -> None:
    page = task_page_of()
    assert titles(page) == [
        "Comparisons over time",
        "Newest comparison",
        "Registered versions",
        "What was spent",
        "All runs",
    ]
    text = page_text(page)
    assert past.first.run_id in text
    assert "stars version 1 (champion)" in text
    assert "made without the rows" not in text


def test_the_newest_comparison_is_read_with_its_answers(past: Past) -> None:
    history = history_of_task("stars")
    assert history.newest is not None
    run, kept = history.newest
    assert run.parent == past.tables.run_id
    assert kept.rows is not None
    assert past.tables.run_id in page_markdown(task_page(history))


def test_comparisons_on_the_same_rows_are_found_again(past: Past) -> None:
    history = history_of_task()
    assert history.compares is not None
    same = history.compares.by_rows[past.first.leaderboard.test_digest]
    assert [one.run_id for one in same] == [past.first.run_id, past.again.run_id]
    assert history.compares.drifted == ()


def test_a_version_has_its_alias_and_what_its_run_measured(past: Past) -> None:
    (version,) = history_of_task().versions
    assert (version.model, version.version, version.aliases, version.spec) == ("stars", 1, ("champion",), "zero")
    assert version.figures["qwk"].value == pytest.approx(past.first.leaderboard.entry("zero").metrics["qwk"].value)
    assert version.rows == past.first.leaderboard.rows_evaluated


def test_what_was_spent_is_what_the_comparisons_spent(past: Past) -> None:
    boards = [past.first, past.again, past.others, *past.tables.boards.values()]
    assert history_of_task().spending.known_usd == pytest.approx(sum(board.spent_usd or 0 for board in boards))


def test_a_task_whose_newest_comparison_lost_its_files_shows_an_older_one(past: Past) -> None:
    run = mlflow.get_run(past.first.run_id)
    tags = {name: value for name, value in run.data.tags.items() if name.startswith("luthier.")}
    newer = mlflow.MlflowClient().create_run(run.info.experiment_id, tags=tags)
    mlflow.MlflowClient().log_param(newer.info.run_id, "best", "zero")
    history = history_of_task()
    assert history.runs[0].run_id == newer.info.run_id
    assert history.newest is not None
    assert history.newest[0].parent == past.tables.run_id


def test_an_unknown_task_is_refused_with_the_names_there_are(past: Past) -> None:
    with pytest.raises(DataError, match="there is: stars"):
        task_page_of("moods")
