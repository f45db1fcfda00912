"""Several test tables: fitted once, a run per table, and what is asked only once."""

from __future__ import annotations

from pathlib import Path

import mlflow
import pandas as pd
import pytest

import luthier as lt
from luthier.endpoints import Endpoint, default_engine
from luthier.errors import BudgetReached, DataError
from luthier.experiments.labelled_tables import table_names
from luthier.plans import Bounds
from luthier_local import LocalServer
from tests.conftest import reviews

pytestmark = pytest.mark.usefixtures("tracker")


@pytest.fixture
def few(task: lt.Task, endpoint: Endpoint) -> lt.Spec:
    return lt.Prompt(task, "Stars for: {{ text }}", answer="score", examples=2, endpoint=endpoint, name="few")


@pytest.fixture
def tables() -> dict[str, pd.DataFrame]:
    return {"a": reviews(20, seed=1), "b": reviews(30, seed=2)}


@pytest.fixture
def overlapping() -> dict[str, pd.DataFrame]:
    """Ten rows of the first stand in the second too."""
    first = reviews(20, seed=1)
    return {"a": first, "b": pd.concat([first.head(10), reviews(10, seed=2)])}


def calibrated(task: lt.Task, endpoint: Endpoint) -> lt.Spec:
    answer = {"method": "score", "calibration_rows": 10}
    return lt.Prompt(task, "Stars: {{ text }}", answer=answer, endpoint=endpoint, name="cal")


@pytest.mark.slow
def test_every_table_has_a_board_and_the_best_is_the_best_on_the_mean(
    few: lt.Spec, task: lt.Task, tables: dict[str, pd.DataFrame], train: pd.DataFrame
) -> None:
    board = lt.compare_tables([few, lt.Baseline(task, name="base")], tables, train=train)
    assert board["a"].leaderboard.rows_evaluated == 20
    assert board["b"].leaderboard.rows_evaluated == 30
    assert board.best.spec.name == board.frame["name"][0]
    assert "Across 2 tables" in repr(board)
    with pytest.raises(DataError, match="no table 'c'.*a, b"):
        board["c"]


@pytest.mark.slow
@pytest.mark.usefixtures("store")
def test_runs_lie_table_by_table_and_a_grid_is_a_tag_with_its_settings(
    few: lt.Spec, tables: dict[str, pd.DataFrame], train: pd.DataFrame
) -> None:
    specs = lt.grid(few, {"decoding.temperature": [0, 1]})
    board = lt.compare_tables(specs, tables, train=train)
    client = mlflow.MlflowClient()
    experiment = mlflow.get_experiment_by_name("stars")
    runs = client.search_runs([experiment.experiment_id])
    above = {run.info.run_id: run.data.tags.get("mlflow.parentRunId") for run in runs}
    middle = {run.info.run_name: run.info.run_id for run in runs if above[run.info.run_id] == board.run_id}
    assert set(middle) == {"a", "b"}
    leaves = [run for run in runs if above[run.info.run_id] in middle.values()]
    assert len(leaves) == 4
    assert {run.data.tags["luthier.grid"] for run in leaves} == {"few"}
    assert sorted(run.data.params["decoding.temperature"] for run in leaves) == ["0", "0", "1", "1"]
    assert {file.path for file in client.list_artifacts(board.run_id)} == {"across.json", "charts", "report.html"}
    assert {run.info.status for run in runs} == {"FINISHED"}


@pytest.mark.slow
def test_each_spec_is_fitted_once_and_a_row_in_two_tables_is_asked_once(
    task: lt.Task, endpoint: Endpoint, overlapping: dict[str, pd.DataFrame], train: pd.DataFrame, server: LocalServer
) -> None:
    spec = calibrated(task, endpoint)
    plan = lt.plan([spec], overlapping, train=train)
    lt.compare_tables(spec, overlapping, train=train)
    assert plan.requests == server.received.total == 10 + 20 + 10


@pytest.mark.slow
def test_fresh_asks_a_row_in_two_tables_and_of_two_specs_once(
    task: lt.Task, endpoint: Endpoint, overlapping: dict[str, pd.DataFrame], train: pd.DataFrame, server: LocalServer
) -> None:
    spec = calibrated(task, endpoint)
    twin = lt.Prompt(task, "Stars: {{ text }}", answer="score", endpoint=endpoint, name="bare")
    lt.compare_tables([spec, twin], overlapping, train=train)
    server.received.clear()
    plan = lt.plan([spec, twin], overlapping, train=train, fresh=True)
    assert [(planned.calls, planned.shared) for planned in plan.specs] == [(Bounds(40, 40), 0), (Bounds(0, 0), 30)]
    lt.compare_tables([spec, twin], overlapping, train=train, fresh=True)
    assert server.received.total == plan.requests == 40


@pytest.mark.slow
def test_what_a_run_keeps_is_not_planned_to_be_fitted_again(
    task: lt.Task, endpoint: Endpoint, train: pd.DataFrame, server: LocalServer
) -> None:
    tables = {"a": reviews(20, seed=1), "b": reviews(10, seed=2)}
    spec = calibrated(task, endpoint)
    lt.compare_tables(spec, tables, train=train)
    default_engine().journal.purge()
    server.received.clear()
    plan = lt.plan([spec], tables, train=train)
    lt.compare_tables(spec, tables, train=train)
    assert plan.requests == server.received.total == 30


@pytest.mark.usefixtures("store")
def test_the_same_rows_twice_are_refused_before_anything_is_sent(
    few: lt.Spec, table: pd.DataFrame, train: pd.DataFrame, server: LocalServer
) -> None:
    with pytest.raises(DataError, match="'x' and 'y' hold the same labelled rows"):
        lt.compare_tables(few, {"x": table, "y": table.copy()}, train=train)
    with pytest.raises(DataError, match="y.*stars"):
        lt.compare_tables(few, {"x": table, "y": table.drop(columns="stars")}, train=train)
    with pytest.raises(DataError, match="6"):
        lt.compare_tables(few, {"x": table, "y": table.assign(stars=6)}, train=train)
    with pytest.raises(DataError, match="no test table"):
        lt.compare_tables(few, {}, train=train)
    assert server.received.total == 0
    assert mlflow.get_experiment_by_name("stars") is None


def test_a_limit_is_for_each_table_and_a_list_has_names(
    few: lt.Spec, tables: dict[str, pd.DataFrame], train: pd.DataFrame
) -> None:
    board = lt.compare_tables(few, list(tables.values()), train=train, limit=5)
    assert board.tables == ("table-1", "table-2")
    assert board.across.rows == {"table-1": 5, "table-2": 5}


@pytest.mark.slow
@pytest.mark.usefixtures("store")
def test_a_budget_that_ends_on_the_second_table_keeps_the_first(
    few: lt.Spec, tables: dict[str, pd.DataFrame], train: pd.DataFrame
) -> None:
    one = lt.compare(few, tables["a"], train=train)
    spent = one.answers("few")["cost_usd"].sum()
    default_engine().journal.purge()
    with pytest.raises(BudgetReached):
        lt.compare_tables(few, tables, train=train, budget_usd=spent * 1.5)
    runs = mlflow.search_runs(
        [mlflow.get_run(one.run_id).info.experiment_id], filter_string="attributes.run_name = 'a'"
    )
    assert runs["status"].tolist() == ["FINISHED"]


@pytest.mark.slow
@pytest.mark.usefixtures("store")
def test_the_seeds_of_a_grid_are_shown_as_a_spread(few: lt.Spec, table: pd.DataFrame, train: pd.DataFrame) -> None:
    specs = lt.grid(few, {"prompt.examples.count": [1, 4], "prompt.examples.seed": [1, 2, 3]})
    board = lt.compare(specs, table, train=train)
    [spread] = board.spreads
    assert [(group.name, group.draws) for group in spread.groups] == [("count 1", 3), ("count 4", 3)]
    assert "Spread of QWK over draws" in repr(board)
    assert "Spread of QWK over draws" in board._repr_html_()


def test_tables_are_named_by_what_tells_them_apart() -> None:
    assert table_names([Path("x/a.csv"), Path("x/a.parquet")]) == ["a.csv", "a.parquet"]
    assert table_names([Path("x/t.csv"), Path("y/t.csv"), Path("y/u.csv")]) == ["x/t", "y/t", "y/u"]
    with pytest.raises(DataError, match="given twice"):
        table_names([Path("x/a.csv"), Path("x/../x/a.csv")])
