"""The page of a task: everything of it."""

from __future__ import annotations

import json
from pathlib import Path

import mlflow
import pytest

from luthier.errors import DataError
from luthier.history.run_report import run_page
from luthier.history.task_history import history_of_task
from luthier.history.task_report import task_page, task_page_of
from luthier.reporting.html import page_text, write_page
from luthier.reporting.markdown import page_markdown
from luthier.reporting.table import Page
from tests.browser import browser_page
from tests.history.conftest import Past
from tests.reporting.test_audit_report import made
from tests.sweeps.studies import many, state


def titles(page: Page) -> list[str]:
    return [section.title for section in page.sections]


def test_the_page_says_how_many_prompts_were_measured_and_what_shows_them(past: Past) -> None:
    [section] = [one for one in task_page_of().sections if one.title == "Prompts"]
    assert "1 prompt measured" in str(section.blocks[0])
    assert "luthier prompts --task stars --html prompts.html" in str(section.blocks[0])


def test_the_page_has_the_newest_comparison_the_course_the_versions_and_the_money(past: Past) -> None:
    page = task_page_of()
    assert titles(page) == [
        "Comparisons over time",
        "Newest comparison",
        "Registered versions",
        "Prompts",
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


def test_the_newest_audit_of_the_task_is_on_the_page_with_its_figures(past: Past) -> None:
    client, place = mlflow.MlflowClient(), mlflow.get_run(past.first.run_id).info.experiment_id
    tags = {"luthier.kind": "audit", "luthier.task": "stars"}
    run_id = client.create_run(place, run_name="audit of jobs", tags=tags).info.run_id
    client.log_text(run_id, json.dumps(made().to_document()), "audit.json")
    client.set_terminated(run_id)
    page = task_page_of()
    assert "Newest audit" in titles(page)
    assert any(one.title.endswith("measured against reported") for one in page.figures())


def test_the_newest_sweep_that_ended_is_on_the_page_and_one_that_goes_on_is_listed(past: Past) -> None:
    client, place = mlflow.MlflowClient(), mlflow.get_run(past.first.run_id).info.experiment_id
    tags = {"luthier.kind": "sweep", "luthier.task": "stars"}
    ended = client.create_run(place, run_name="sweep of epochs", tags=tags).info.run_id
    client.log_text(ended, json.dumps(state(many(12)).document()), "sweep.json")
    client.set_terminated(ended)
    client.create_run(place, run_name="sweep that goes on", tags=tags)
    page = task_page_of()
    assert {"Newest sweep", "Sweeps"} <= set(titles(page))
    assert any(said.startswith("Newest sweep (sweep of epochs") for said in page.said)
    assert "sweep that goes on" in page_markdown(page)


@pytest.mark.slow
async def test_a_task_fits_a_telephone_whatever_its_runs_are_called(past: Past, tmp_path: Path) -> None:
    client, place = mlflow.MlflowClient(), mlflow.get_run(past.first.run_id).info.experiment_id
    tags = {"luthier.kind": "audit", "luthier.task": "stars"}
    run_id = client.create_run(place, run_name="audit-of-" + "many_jobs" * 20, tags=tags).info.run_id
    client.log_text(run_id, json.dumps(made().to_document()), "audit.json")
    client.set_terminated(run_id)
    file = write_page(task_page_of(), tmp_path / "task.html")
    async with browser_page(tmp_path) as page:
        for width in (390, 320):
            await page.open(file.as_uri(), width=width)
            assert await page.value("document.documentElement.scrollWidth") <= width


def test_names_that_strangers_gave_stay_text(past: Past) -> None:
    client, place = mlflow.MlflowClient(), mlflow.get_run(past.first.run_id).info.experiment_id
    hostile = "</script><script>alert(1)</script><img src=x onerror=alert(2)>"
    tags = {"luthier.kind": "score", "luthier.task": "stars", "luthier.spec": hostile}
    run_id = client.create_run(place, run_name=hostile, tags=tags).info.run_id
    client.log_param(run_id, "input", hostile)
    for page in (task_page_of(), run_page(run_id)):
        text = page_text(page)
        assert "alert(1)" in text
        assert "<script>alert" not in text
        assert "<img src=x" not in text


def test_the_data_behind_the_page_are_json(past: Past) -> None:
    assert json.loads(json.dumps(task_page_of().document(), allow_nan=False))["title"] == "Task: stars"
