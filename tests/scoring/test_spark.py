"""score by Spark: shard by shard, nothing asked twice, every row there whatever came of it."""

from __future__ import annotations

import os
import pickle
import signal
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pandas as pd
import pytest

import luthier as lt
from luthier.api.spark_verbs import spark_scorer
from luthier.endpoints import Answer, Endpoint, Engine, RunOptions
from luthier.errors import DataError, EndpointError, Interrupted, UserError
from luthier.scoring.spark_job import SparkScore
from luthier_local import Fault, LocalServer
from tests.patience import until
from tests.scoring.spark_session import local_spark, task_processes
from tests.scripted_server import chat_reply, serving
from tests.tasks.test_hostile_answers import right_json
from tests.tasks.type_samples import SAMPLES

pytest.importorskip("pyspark")

pytestmark = [pytest.mark.slow, pytest.mark.filterwarnings("ignore"), pytest.mark.usefixtures("store")]


class StopAtFirstShard:
    """A person who presses Ctrl-C when the first shard is there."""

    def __init__(self, engine: Engine) -> None:
        self.engine = engine

    def expect(self, requests: int) -> None: ...

    def completed(self, answer: Answer) -> None: ...

    def retried(self, wait_seconds: float) -> None: ...

    def working(self, what: str, done: float, total: float | None, said: str) -> None:
        if done:
            self.engine.stop(interrupted=True)


@pytest.fixture(scope="module")
def spark(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Any]:
    with local_spark(str(tmp_path_factory.mktemp("warehouse"))) as session:
        yield session


@pytest.fixture
def fitted(task: lt.Task, endpoint: Endpoint) -> lt.Fitted:
    return lt.fit(lt.Prompt(task, "Stars for: {{ text }}", answer="score", endpoint=endpoint, name="zero"))


@pytest.fixture
def rows(table: pd.DataFrame) -> pd.DataFrame:
    """Forty rows with an id that looks like a number, a null text and a null number."""
    few = pd.DataFrame({"id": [f"{n:03}" for n in range(40)], "text": table["text"].head(40).tolist()})
    few["year"] = [2024 + n % 2 for n in range(40)]
    few["votes"] = pd.array([None if n == 4 else n for n in range(40)], dtype="Int64")
    few.loc[[3, 8], "text"] = [None, "  "]
    return few


def test_every_row_comes_back_with_its_types_nulls_and_folders(
    spark: Any, fitted: lt.Fitted, rows: pd.DataFrame
) -> None:
    rows.assign(code=["001", "02"] * 20).to_parquet("in.parquet", index=False, partition_cols=["code"])
    report = SparkScore(fitted, "in.parquet", "out.parquet", session=spark, shard_rows=20).run()
    assert report.rows == 40
    assert dict(report.states) == {"ok": 38, "empty": 2}
    assert sorted(path.name for path in Path("out.parquet").glob("code=*")) == ["code=001", "code=02"]
    out = pd.read_parquet("out.parquet").sort_values("id", ignore_index=True)
    assert out["id"].tolist() == rows["id"].tolist()
    assert out["votes"].isna().tolist() == rows["votes"].isna().tolist()
    assert out["text"].isna().tolist() == rows["text"].isna().tolist()
    assert out["label"].isna().tolist() == [n in (3, 8) for n in range(40)]
    assert not Path("out.parquet.shards").exists()


@pytest.mark.parametrize("name", ["several labels", "similarity", "spans", "fields"])
def test_a_task_of_any_type_is_scored_as_its_model_predicts(spark: Any, name: str) -> None:
    [sample] = [one for one in SAMPLES if one.name == name]
    rows = pd.DataFrame([{column: f"{n}: {cell}" for column, cell in sample.row.items()} for n in range(6)])
    rows.to_parquet("in.parquet", index=False)
    with serving(200, lambda asked: chat_reply(right_json(sample))) as address:
        endpoint = Endpoint(provider="compatible", base_url=address, model="m")
        model = lt.log(lt.Prompt(sample.task, sample.template, answer="json", endpoint=endpoint))
        expected = model.predict(rows)
        report = model.score_file(model.spark_score("in.parquet", "out.parquet", session=spark))
    out = pd.read_parquet("out.parquet").sort_values("text", ignore_index=True)
    assert report.states["ok"] == 6
    columns = list(sample.task.kind.columns)
    assert out[columns].astype(str).to_dict("list") == expected[columns].astype(str).to_dict("list")


def test_csv_in_and_out_keeps_what_looks_like_a_number(spark: Any, fitted: lt.Fitted, rows: pd.DataFrame) -> None:
    rows.head(6).to_csv("in.csv", index=False)
    SparkScore(fitted, "in.csv", "out.csv", session=spark).run()
    out = pd.concat(pd.read_csv(file, dtype=str) for file in Path("out.csv").glob("*.csv"))
    assert sorted(out["id"]) == ["000", "001", "002", "003", "004", "005"]


def test_what_is_committed_is_not_asked_again(
    spark: Any, fitted: lt.Fitted, rows: pd.DataFrame, server: LocalServer
) -> None:
    rows.assign(text=[f"{n} soups" for n in range(40)]).to_parquet("in.parquet", index=False)
    server.faults.add(Fault("status", status=401, nth=range(25, 500)))
    with pytest.raises(EndpointError, match="STARS_KEY"):
        SparkScore(fitted, "in.parquet", "out.parquet", session=spark, shard_rows=10).run()
    assert not Path("out.parquet").exists()
    committed = len(list(Path("out.parquet.shards").glob("*/scored/*/_SUCCESS")))
    assert 0 < committed < 4
    server.faults.clear()
    sent = server.received.total
    report = SparkScore(fitted, "in.parquet", "out.parquet", session=spark, shard_rows=10).run()
    assert report.states["ok"] == 40
    assert server.received.total - sent == 40 - 10 * committed


def test_a_task_that_is_killed_pays_again_for_its_shard_at_most(
    spark: Any, fitted: lt.Fitted, rows: pd.DataFrame, server: LocalServer
) -> None:
    rows.assign(text=[f"{n} soups" for n in range(40)]).to_parquet("in.parquet", index=False)
    slow = server.faults.add(Fault("slow", delay_seconds=0.5))
    job = SparkScore(fitted, "in.parquet", "out.parquet", session=spark, shard_rows=20)
    with ThreadPoolExecutor() as beside:
        running = beside.submit(job.run)
        until(lambda: server.received.total > 4 and len(task_processes()) > 0)
        os.kill(task_processes()[0], signal.SIGKILL)
        slow.delay_seconds = 0.0
        report = running.result()
    assert report.states["ok"] == 40
    assert 40 < server.received.total <= 60


def test_a_key_that_is_missing_where_tasks_run_is_said_before_a_row_is_asked(
    spark: Any, fitted: lt.Fitted, rows: pd.DataFrame, server: LocalServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    rows.to_parquet("in.parquet", index=False)
    monkeypatch.delenv("STARS_KEY")
    with pytest.raises(EndpointError, match="STARS_KEY"):
        SparkScore(fitted, "in.parquet", "out.parquet", session=spark)
    assert server.received.total == 0


def test_what_another_program_wrote_is_not_replaced(spark: Any, fitted: lt.Fitted, rows: pd.DataFrame) -> None:
    rows.to_parquet("in.parquet", index=False)
    rows.to_parquet("out.parquet", index=False)
    with pytest.raises(DataError, match="--overwrite"):
        SparkScore(fitted, "in.parquet", "out.parquet", session=spark)


def test_the_function_for_ones_own_jobs_answers_as_the_model_does(
    spark: Any, model: lt.Model, rows: pd.DataFrame
) -> None:
    frame = spark.createDataFrame(
        rows.astype(object).where(rows.notna(), None), "id string, text string, year long, votes long"
    )
    frame = frame.coalesce(1)
    scorer = spark_scorer(model, frame.schema, tasks=2)
    expected = model.predict(rows)["label"].tolist()
    for scored in (frame.mapInPandas(scorer, scorer.schema), frame.mapInArrow(scorer, scorer.schema)):
        found = {row["id"]: row["label"] for row in scored.collect()}
        assert [found[each] for each in rows["id"]] == [None if pd.isna(label) else label for label in expected]


def test_a_scorer_says_what_it_needs(model: lt.Model) -> None:
    with pytest.raises(DataError, match="'text'"):
        spark_scorer(model, ["id", "review"])
    with pytest.raises(UserError, match="tasks"):
        spark_scorer(model, ["id", "text"], tasks=0)


def test_a_model_scores_by_spark_what_it_scores_live(
    spark: Any, model: lt.Model, rows: pd.DataFrame, standing_server: LocalServer
) -> None:
    rows.to_parquet("in.parquet", index=False)
    job = model.spark_score("in.parquet", "out.parquet", session=spark)
    assert job.plan().calls.high == 38
    report = model.score_file(job)
    assert report.rows == 40
    assert report.spent_usd
    out = pd.read_parquet("out.parquet").sort_values("id")
    expected = model.predict(rows)
    assert out["label"].fillna("").tolist() == expected["label"].fillna("").tolist()


def test_a_table_that_changed_is_not_scored_from_older_shards(
    spark: Any, fitted: lt.Fitted, rows: pd.DataFrame, server: LocalServer
) -> None:
    rows.assign(text="good soup").to_csv("in.csv", index=False)
    server.faults.add(Fault("status", status=401))
    with pytest.raises(EndpointError):
        SparkScore(fitted, "in.csv", "out.parquet", session=spark).run()
    server.faults.clear()
    rows.head(7).assign(text="bad soup").to_csv("in.csv", index=False)
    report = SparkScore(fitted, "in.csv", "out.parquet", session=spark).run()
    assert report.rows == 7
    assert set(pd.read_parquet("out.parquet")["text"]) == {"bad soup"}


def test_a_signal_stops_between_shards_and_keeps_them(
    spark: Any, fitted: lt.Fitted, rows: pd.DataFrame, engine: Engine
) -> None:
    rows.to_parquet("in.parquet", index=False)
    options = RunOptions(engine=engine, progress=StopAtFirstShard(engine))
    with pytest.raises(Interrupted):
        SparkScore(fitted, "in.parquet", "out.parquet", session=spark, shard_rows=10).run(options)
    assert not Path("out.parquet").exists()
    committed = list(Path("out.parquet.shards").glob("*/scored/*/_SUCCESS"))
    assert 0 < len(committed) < 4


def test_what_spark_cannot_do_is_said_in_a_line(spark: Any, fitted: lt.Fitted, rows: pd.DataFrame) -> None:
    rows.to_parquet("in.parquet", index=False)
    Path("file").touch()
    for source, target, said in (
        ("absent.parquet", "out.parquet", "PATH_NOT_FOUND"),
        ("in.parquet", "file/out.parquet", "write"),
        ("delta:in", "out.parquet", "delta-spark"),
        ("table:absent", "out.parquet", "absent"),
        ("in.parquet", "out", "format cannot be told"),
        ("in.parquet", "out.csv.gz", "without .gz"),
    ):
        with pytest.raises(DataError, match=said) as error:
            SparkScore(fitted, source, target, session=spark).run()
        assert "\n" not in str(error.value)


def test_tables_by_name_are_read_and_written(spark: Any, fitted: lt.Fitted, rows: pd.DataFrame) -> None:
    spark.createDataFrame([(n, f"{n} soups") for n in range(5)], "id int, text string").write.saveAsTable("reviews")
    report = SparkScore(fitted, "table:reviews", "table:scored", session=spark).run()
    assert report.states["ok"] == 5
    assert spark.table("scored").where("label is not null").count() == 5


def test_a_scorer_carries_the_name_of_a_key_and_not_the_key(model: lt.Model) -> None:
    packed = pickle.dumps(spark_scorer(model, ["id", "text"]))
    assert os.environ["STARS_KEY"].encode() not in packed
