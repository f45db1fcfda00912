"""Row by row: every answer can be found in the user's own table, whatever became of it on the way."""

from __future__ import annotations

import datetime
import decimal
import json
import uuid
from pathlib import Path
from typing import Any

import mlflow
import pandas as pd
import pytest

import luthier as lt
from luthier.api import limited
from luthier.experiments.answer_tables import answers_frame, answers_table
from luthier.tasks.prediction import Prediction
from tests.conftest import reviews

pytestmark = pytest.mark.usefixtures("tracker")


@pytest.fixture
def spec(task: lt.Task) -> lt.Spec:
    return lt.Baseline(task, name="baseline")


def table(rows: int = 40) -> pd.DataFrame:
    frame = reviews(rows)
    # Some that nothing can get right.
    frame["stars"] = [stars % 5 + 1 if n % 3 == 0 else stars for n, stars in enumerate(frame["stars"])]
    frame["id"] = [f"{n:03}" for n in range(rows)]
    frame["when"] = pd.Timestamp("2026-01-31")
    frame["odd"] = pd.Series([n if n % 2 else str(n) for n in range(rows)], dtype=object)
    return frame


def answered(task: lt.Task, frame: pd.DataFrame, limit: int | None = None) -> pd.DataFrame:
    rows = task.rows(limited(frame, limit))
    return answers_frame(task, rows, [Prediction("5", "ok")] * len(rows))


def compared(spec: lt.Spec, test: Any, **settings: Any) -> lt.Board:
    board: lt.Board = lt.compare(spec, test, train=reviews(80, seed=8), **settings)
    return board


def artifact(board: lt.Board, name: str, run_id: str | None = None) -> Path:
    kept = mlflow.artifacts.download_artifacts(run_id=run_id or board.best.run_id, artifact_path=name)
    return Path(kept)


@pytest.mark.parametrize("limit", [None, 9])
def test_answers_are_found_in_the_table_by_index_and_by_row(task: lt.Task, limit: int | None) -> None:
    frame = table().set_index("id", drop=False).rename_axis("key")
    answers = answered(task, frame, limit)
    assert len(answers) == (limit or 40)
    assert answers.index.name == "key"
    for rows in (frame.loc[answers.index], frame.iloc[answers["row"] - 1]):
        assert rows["text"].tolist() == answers["text"].tolist()
        assert rows["when"].tolist() == answers["when"].tolist()
    assert answers["id"].tolist() == answers.index.tolist()


def test_a_plain_index_counts_the_rows_of_the_whole_table(task: lt.Task) -> None:
    answers = answered(task, table(), 9)
    assert answers.index.tolist() == (answers["row"] - 1).tolist() != list(range(9))


def test_an_index_of_two_levels_stays_one(task: lt.Task) -> None:
    frame = table().set_index(["id", "odd"])
    answers = answered(task, frame, 5)
    assert answers.index.names == ["id", "odd"]
    assert frame.loc[answers.index, "text"].tolist() == answers["text"].tolist()


def test_a_column_with_the_name_of_ours_is_kept_beside_it(task: lt.Task) -> None:
    answers = answered(task, table().assign(label="mine", row="mine"))
    assert set(answers["label_input"]) == set(answers["row_input"]) == {"mine"}
    assert answers.columns.is_unique


@pytest.mark.usefixtures("store")
def test_the_run_and_the_errors_know_the_rows_of_the_table(spec: lt.Spec) -> None:
    frame = table().rename_axis("key").rename(index=lambda n: f"K{n}").assign(prediction="mine")
    board = compared(spec, frame, limit=20)
    errors = board.errors(spec)
    assert len(errors) and errors.columns.is_unique
    assert frame.loc[errors.index, "id"].tolist() == errors["id"].tolist()
    kept = pd.read_parquet(artifact(board, "predictions.parquet"))
    assert kept["key"].tolist() == frame.index[kept["row"] - 1].tolist()
    assert set(kept["when"]) == {pd.Timestamp("2026-01-31")}
    assert kept["odd"].tolist() == [str(n) for n in frame["odd"].iloc[kept["row"] - 1]]
    shown = json.loads(artifact(board, "predictions.json").read_text())
    assert {"row", "key", "id", "when", "odd"} <= set(shown["columns"])
    page = artifact(board, "report.html", board.run_id).read_text(encoding="utf-8")
    worst = errors.iloc[0]
    assert f"row {worst['row']}, <bdi>key {worst.name}</bdi>, <bdi>id {worst['id']}</bdi>, " in page


def test_cells_of_any_kind_pass_into_a_file(task: lt.Task, tmp_path: Path) -> None:
    odd: list[Any] = [[1, "a"], {"a": 1}, b"\xff", decimal.Decimal("1.1"), uuid.UUID(int=7), datetime.date(2026, 1, 31)]
    frame = table(12)
    frame["mixed"] = pd.Series(odd * 2, dtype=object)
    frame["lists"] = pd.Series([["a"], []] * 6, dtype=object)
    rows = task.rows(frame)
    answers_table(task, rows, [Prediction("5", "ok")] * 12).to_parquet(tmp_path / "t.parquet", index=False)
    kept = pd.read_parquet(tmp_path / "t.parquet")
    assert kept["mixed"].tolist()[:3] == ['[1, "a"]', '{"a": 1}', "/w=="]
    assert [list(cell) for cell in kept["lists"][:2]] == [["a"], []]


def test_a_board_is_a_sequence_of_its_specs(spec: lt.Spec, task: lt.Task) -> None:
    board = compared([spec, lt.Baseline(task, name="other", seed=8)], table())  # type: ignore[arg-type]
    names = board.frame["name"].tolist()
    assert len(board) == 2
    assert [winner.spec.name for winner in board] == [winner.spec.name for winner in list(board)] == names
    assert (board[0].spec.name, board[-1].spec.name, board[names[1]].spec.name) == (names[0], names[1], names[1])
    with pytest.raises(lt.SpecError, match="from 0 to 1"):
        board[2]


@pytest.mark.parametrize("kind", ["path", "records"])
def test_a_table_of_any_kind_is_compared_on(spec: lt.Spec, tmp_path: Path, kind: str) -> None:
    frame = reviews(20)
    frame.to_csv(tmp_path / "t.csv", index=False)
    given: Any = {"path": str(tmp_path / "t.csv"), "records": frame.to_dict("records")}[kind]
    assert compared(spec, given).answers(spec)["text"].tolist() == frame["text"].tolist()


def test_several_paths_are_several_tables(spec: lt.Spec, tmp_path: Path) -> None:
    for name, seed in (("may", 1), ("june", 2)):
        reviews(20, seed=seed).to_csv(tmp_path / f"{name}.csv", index=False)
    given: Any = {name: tmp_path / f"{name}.csv" for name in ("may", "june")}
    boards = lt.compare_tables(spec, given, train=reviews(80, seed=8))
    assert boards.tables == ("may", "june")
    assert boards[0].run_id == boards["may"].run_id
    with pytest.raises(lt.UserError, match="compare_tables"):
        lt.compare(spec, given, train=reviews(80, seed=8))


@pytest.mark.parametrize("given", [None, 7, "a text", ["a", "b"], [], {}], ids=str)
def test_what_is_no_table_is_refused_with_what_to_pass(spec: lt.Spec, given: Any) -> None:
    with pytest.raises(lt.DataError):
        lt.compare(spec, given, train=reviews(20))
    if given is not None:
        with pytest.raises(lt.DataError):
            lt.fit(spec, given)


@pytest.mark.parametrize(
    "given", [["good soup", "bad soup"], pd.Series(["good soup", "bad soup"], index=[7, 9])], ids=["list", "Series"]
)
def test_a_model_predicts_for_texts_alone(spec: lt.Spec, given: Any) -> None:
    model = lt.Model("unlogged", lt.fit(spec, reviews(80)))
    answers = model.predict(given)
    assert answers["state"].tolist() == ["ok", "ok"]
    assert answers.index.tolist() == (given.index.tolist() if isinstance(given, pd.Series) else [0, 1])
    assert model.score(given).columns[0] == "text"
    with pytest.raises(lt.DataError, match="a single text is given in a list"):
        model.predict("good soup")
