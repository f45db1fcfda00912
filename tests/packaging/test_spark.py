"""A packaged model in a real Spark; `.ci/run` installs it from locks/spark.txt, and the test is skipped without it."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pandas as pd
import pytest

import luthier as lt

sql = pytest.importorskip("pyspark.sql")

pytestmark = [pytest.mark.slow, pytest.mark.filterwarnings("ignore")]


@pytest.fixture
def spark(monkeypatch: pytest.MonkeyPatch) -> Iterator[Any]:
    monkeypatch.setenv("PYSPARK_PYTHON", sys.executable)
    session = sql.SparkSession.builder.master("local[1]").config("spark.ui.enabled", "false").getOrCreate()
    yield session
    session.stop()


def test_null_labels_are_null_in_spark(spark: Any, store: str, tmp_path: Path) -> None:
    import mlflow

    task = lt.Task("mood", labels=["bad", "good"])
    table = pd.DataFrame({"text": ["good day", "bad day"] * 4, "label": ["good", "bad"] * 4})
    model = lt.log(lt.Baseline(task), train=table)
    rows = spark.createDataFrame([("good day",), (None,), ("bad day",), ("  ",)], "text string").coalesce(1)
    predict = mlflow.pyfunc.spark_udf(spark, model.uri, env_manager="local")
    found = rows.withColumn("out", predict("text")).select("out.*").collect()
    assert [row["label"] for row in found] == ["good", None, "bad", None]
    assert [row["state"] for row in found] == ["ok", "empty", "ok", "empty"]
    assert [row["probability"] is None for row in found] == [False, True, False, True]
    assert [row["error"] for row in found] == [None] * 4
