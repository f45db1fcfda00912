"""score: every row in, every row out, whatever happens to some of them."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import pandas as pd
import pytest

import luthier as lt
from luthier.endpoints import Endpoint, Engine, RunOptions
from luthier.errors import BudgetReached, DataError
from luthier_local import Fault, LocalServer

pytestmark = pytest.mark.usefixtures("store")


def test_a_frame_comes_back_with_the_prediction_columns_behind_its_own(model: lt.Model, table: pd.DataFrame) -> None:
    out = model.score(table)
    assert list(out.columns[:4]) == ["id", "text", "stars", "label"]
    assert out["id"].tolist() == table["id"].tolist()
    assert (out["state"] == "ok").all()
    assert out[[f"p_{n}" for n in range(1, 6)]].sum(axis=1).round(9).eq(1).all()


@pytest.mark.slow
@pytest.mark.parametrize("target", ["out.csv", "out.jsonl", "out.parquet"])
@pytest.mark.parametrize("source", ["in.csv", "in.jsonl", "in.parquet"])
def test_every_format_in_and_out_gives_the_same_predictions(
    model: lt.Model, table: pd.DataFrame, source: str, target: str
) -> None:
    small = table.head(12)
    if source.endswith("csv"):
        small.to_csv(source, index=False)
    elif source.endswith("jsonl"):
        small.to_json(source, orient="records", lines=True)
    else:
        small.to_parquet(source, index=False)
    report = model.score_file(source, target)
    assert report.rows == 12
    out = lt.read_table(target)
    expected = model.score(small)
    assert out["label"].tolist() == expected["label"].tolist()
    assert out["p_5"].astype(float).tolist() == expected["p_5"].tolist()
    assert out["id"].tolist() == small["id"].tolist()


def test_one_bad_row_loses_no_other(
    task: lt.Task, endpoint: Endpoint, server: LocalServer, table: pd.DataFrame
) -> None:
    server.faults.add(Fault("status", status=400, contains="POISON"))
    rows = pd.concat([table, table.head(3)], ignore_index=True)
    rows.loc[5, "text"] = "POISON"
    rows.loc[6, "text"] = None
    rows.loc[7, "text"] = "🙂🙂"
    rows.loc[8, "text"] = "   "
    spec = lt.Prompt(task, "Stars for: {{ text }}", answer="score", endpoint=endpoint, name="zero")
    out = lt.log(spec).score(rows)
    assert out["state"].tolist()[5:9] == ["failed", "empty", "ok", "empty"]
    others = out.drop(index=[5, 6, 7, 8])
    assert (others["state"] == "ok").all()
    assert out.loc[5, "error"]


def test_nothing_is_ever_sent_as_the_text_nan(
    task: lt.Task, endpoint: Endpoint, monkeypatch: pytest.MonkeyPatch
) -> None:
    from luthier_local import ModelCard

    with LocalServer(models=[ModelCard("stars-model")], api_key="k", record=True) as recording:
        monkeypatch.setenv("STARS_KEY", "k")
        spec = lt.Prompt(
            task,
            "{{ city }}: {{ text }}",
            answer="score",
            endpoint=endpoint.model_copy(update={"base_url": recording.base_url}),
            name="x",
        )
        rows = pd.DataFrame({"text": ["good", None, float("nan"), ""], "city": [None, "Rome", "Rome", "Rome"]})
        out = lt.log(spec).score(rows)
        assert out["state"].tolist() == ["ok", "empty", "empty", "empty"], out["error"][0]
        assert len(recording.received.bodies) == 1
        assert "nan" not in json.dumps(recording.received.bodies[0]).lower()
        assert "none" not in json.dumps(recording.received.bodies[0]["messages"]).lower()


def test_a_column_called_like_a_prediction_is_kept_under_another_name(model: lt.Model, table: pd.DataFrame) -> None:
    out = model.score(table.rename(columns={"stars": "label"}))
    assert out["label_input"].tolist() == table["stars"].tolist()


def test_scoring_again_sends_nothing_and_writes_the_same_file(
    model: lt.Model, table: pd.DataFrame, standing_server: LocalServer
) -> None:
    table.to_csv("in.csv", index=False)
    model.score_file("in.csv", "a.csv")
    before = standing_server.received.total
    report = model.score_file("in.csv", "b.csv")
    assert standing_server.received.total == before
    assert Path("a.csv").read_bytes() == Path("b.csv").read_bytes()
    assert report.spent_usd == 0


def test_equal_texts_are_sent_once(model: lt.Model, table: pd.DataFrame, standing_server: LocalServer) -> None:
    before = standing_server.received.total
    model.score(pd.concat([table.head(5)] * 8, ignore_index=True))
    assert standing_server.received.total - before == 5


def test_a_budget_leaves_no_half_table_and_the_next_call_finishes(
    model: lt.Model, table: pd.DataFrame, standing_server: LocalServer
) -> None:
    table.to_csv("in.csv", index=False)
    with pytest.raises(BudgetReached):
        model.score_file("in.csv", "out.csv", budget_usd=0.0003)
    assert not Path("out.csv").exists()
    model.score_file("in.csv", "out.csv")
    assert len(lt.read_table("out.csv")) == 60


def test_the_report_is_a_run_linked_to_the_model(model: lt.Model, table: pd.DataFrame) -> None:
    import mlflow

    table.to_csv("in.csv", index=False)
    model.score_file("in.csv", "out.csv")
    experiment = mlflow.get_experiment_by_name("stars")
    runs = mlflow.search_runs([experiment.experiment_id], "tags.`luthier.kind` = 'score'")
    assert runs["metrics.rows_ok"].tolist() == [60]
    assert runs["tags.luthier.model_version"].tolist() == ["stars/1"]
    run = mlflow.get_run(runs["run_id"][0])
    assert len(run.inputs.model_inputs) == 1


def test_input_and_output_may_not_be_one_file(model: lt.Model, table: pd.DataFrame) -> None:
    table.to_csv("in.csv", index=False)
    with pytest.raises(DataError, match="same file"):
        model.score_file("in.csv", "./in.csv")


@pytest.mark.slow
def test_a_table_of_many_chunks_keeps_its_order(model: lt.Model, standing_server: LocalServer) -> None:
    from tests.conftest import reviews

    many = reviews(230)
    many.to_csv("in.csv", index=False)
    report = model.file_score("in.csv", "out.csv").run(chunk_rows=50)
    assert lt.read_table("out.csv")["id"].tolist() == many["id"].tolist()
    assert report.rows == 230


@pytest.mark.slow
def test_a_resumed_batch_is_planned_by_what_is_left(model: lt.Model, table: pd.DataFrame) -> None:
    from tests.conftest import reviews

    many = reviews(3000)
    many.to_csv("in.csv", index=False)
    model.score(many.head(1500))
    plan = model.file_score("in.csv", "out.csv").plan()
    assert plan.requests == pytest.approx(1500, abs=60)


def test_no_rows_come_back_for_no_rows(model: lt.Model) -> None:
    out = model.score(pd.DataFrame({"text": []}))
    assert list(out.columns)[:2] == ["text", "label"]
    assert len(out) == 0


def test_a_batch_that_asks_no_model_can_be_interrupted_too(
    task: lt.Task, table: pd.DataFrame, train: pd.DataFrame
) -> None:
    from luthier.endpoints import Engine, Journal, RunOptions

    model = lt.log(lt.Baseline(task, name="b"), train=train)
    table.to_csv("in.csv", index=False)
    engine = Engine(Journal.in_memory())
    engine.stop(interrupted=True)
    with pytest.raises(lt.Interrupted):
        model.file_score("in.csv", "out.csv").run(RunOptions(engine=engine), chunk_rows=20)
    assert not Path("out.csv").exists()


def test_the_report_adds_up_to_what_was_spent(model: lt.Model, table: pd.DataFrame) -> None:
    from luthier.endpoints import Report, RunOptions

    model.score(table.head(20))
    pd.concat([table, table]).to_csv("in.csv", index=False)
    told = Report()
    report = model.file_score("in.csv", "out.csv").run(RunOptions(report=told))
    assert report.rows == 120
    assert report.spent_usd == pytest.approx(told.spent_usd)
    assert report.from_journal == 80
    assert repr(report).startswith("120 rows written to out.csv in ")


def test_a_renamed_column_keeps_its_type(model: lt.Model, table: pd.DataFrame) -> None:
    import pyarrow.parquet as pq

    table.assign(label=range(60), label_input=0.5).to_parquet("in.parquet", index=False)
    model.score_file("in.parquet", "out.parquet")
    schema = pq.read_schema("out.parquet")
    assert str(schema.field("label_input_input").type) == "int64"
    assert str(schema.field("label_input").type) == "double"


def test_a_file_is_replaced_only_by_the_score_that_wrote_it(model: lt.Model, table: pd.DataFrame) -> None:
    table.to_csv("in.csv", index=False)
    Path("out.csv").write_text("mine\n")
    with pytest.raises(DataError, match="--overwrite"):
        model.score_file("in.csv", "out.csv")
    assert Path("out.csv").read_text() == "mine\n"
    model.score_file("in.csv", "out.csv", overwrite=True)
    first = Path("out.csv").read_text()
    model.score_file("in.csv", "out.csv")
    assert Path("out.csv").read_text() == first
    table.head(5).to_csv("other.csv", index=False)
    with pytest.raises(DataError, match="did not write it"):
        model.score_file("other.csv", "out.csv")
    Path("out.csv").write_text(first + "edited\n")
    with pytest.raises(DataError, match="did not write it"):
        model.score_file("in.csv", "out.csv")


def test_a_text_that_is_a_list_is_refused_before_anything_is_sent(tmp_path: Path) -> None:
    from luthier.scoring.batch import spaced_records

    source = tmp_path / "t.jsonl"
    source.write_text('{"text": "fine"}\n{"text": ["one", "two"]}\n')
    with pytest.raises(DataError, match="row 2: 'text' holds list"):
        spaced_records(source, 10, ["text"])


def test_what_a_file_lacks_can_be_asked_by_other_means(
    model: lt.Model, table: pd.DataFrame, engine: Engine, standing_server: LocalServer
) -> None:
    table.head(12).to_csv("in.csv", index=False)
    file = model.file_score("in.csv", "out.csv")
    options = RunOptions(engine=engine)
    missing = list(file.lacking(options))
    assert len(missing) == table.head(12)["text"].nunique()
    for request, endpoint in missing:
        engine.run([request], endpoint)
    assert not list(file.lacking(options))
    sent = standing_server.received.total
    report = file.run(replace(options, journal_only=True))
    assert standing_server.received.total == sent
    assert report.states["ok"] == 12
