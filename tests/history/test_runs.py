"""The runs of a task, as MLflow has them."""

from __future__ import annotations

import mlflow
import pytest

import luthier as lt
from luthier.errors import DataError, ModelError
from luthier.history import runs
from luthier.history.runs import experiment_of_task, run_with_id, runs_beneath, runs_of_experiment
from tests.history.conftest import Past


def test_every_run_of_the_task_is_found_on_pages_of_any_size(past: Past, monkeypatch: pytest.MonkeyPatch) -> None:
    place, task = experiment_of_task()
    whole = runs_of_experiment(place)
    monkeypatch.setattr(runs, "PAGE_SIZE", 2)
    assert task == "stars"
    assert [run.run_id for run in runs_of_experiment(place)] == [run.run_id for run in whole]
    assert {past.first.run_id, past.tables.run_id, past.log_run} < {run.run_id for run in whole}


def test_a_run_of_another_tool_is_no_run_of_the_task(past: Past) -> None:
    with mlflow.start_run(experiment_id=experiment_of_task()[0], run_name="theirs") as theirs:
        pass
    assert theirs.info.run_id not in {run.run_id for run in runs_of_experiment(theirs.info.experiment_id)}
    with pytest.raises(ModelError, match=r"theirs.*not made by Luthier"):
        run_with_id(theirs.info.run_id)


def test_an_unknown_run_is_refused_with_the_store_that_was_asked(past: Past) -> None:
    with pytest.raises(ModelError, match=r"no run 'nope' in the MLflow store sqlite"):
        run_with_id("nope")


def test_a_deleted_run_is_refused_with_the_command_that_restores_it(past: Past) -> None:
    mlflow.delete_run(past.first.run_id)
    with pytest.raises(ModelError, match=f"mlflow runs restore --run-id {past.first.run_id}"):
        run_with_id(past.first.run_id)


def test_a_store_with_two_tasks_asks_for_one_by_name(past: Past) -> None:
    mood = lt.Task("mood", text="text", label="mood", labels=["good", "bad"])
    table = [{"text": f"{word} {number}", "mood": word} for number in range(10) for word in ("good", "bad")]
    lt.compare([lt.Baseline(mood)], table, train=table, allow_leaks=True)
    with pytest.raises(DataError, match="several tasks: mood, stars"):
        experiment_of_task()
    assert experiment_of_task("mood")[1] == "mood"
    with pytest.raises(DataError, match="no task 'star' .* there is: mood, stars"):
        experiment_of_task("star")


def test_a_store_without_runs_says_what_makes_the_first(store: str) -> None:
    with pytest.raises(DataError, match="luthier compare"):
        experiment_of_task()


def test_a_comparison_keeps_what_it_spent_and_the_journal_is_free(past: Past) -> None:
    first, again = run_with_id(past.first.run_id), run_with_id(past.again.run_id)
    assert first.spent_usd == pytest.approx(past.first.spent_usd)
    assert first.spent_usd
    assert again.spent_usd == 0


def test_what_a_comparison_of_tables_spent_is_counted_with_its_tables(past: Past) -> None:
    whole = run_with_id(past.tables.run_id)
    assert not whole.is_priced
    parts = [part.spent_usd for part in runs_beneath(whole) if part.kind == "compare"]
    assert sum(usd for usd in parts if usd is not None) == pytest.approx(past.tables.spent_usd)


def test_spending_that_was_not_kept_is_unknown(past: Past) -> None:
    run = run_with_id(past.first.run_id)
    older = {name: value for name, value in run.metrics.items() if name != "spent_usd"}
    assert runs.LoggedRun("r", "1", "compare", "older", "FINISHED", 0, 1, None, older, {}, run.tags).spent_usd is None
