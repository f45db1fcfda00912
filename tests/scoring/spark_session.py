"""A real Spark on this machine, for the tests that need one; `.ci/run` installs it from locks/spark.txt."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import pytest

from tests.conftest import KEY


@contextmanager
def local_spark(warehouse: str) -> Iterator[Any]:
    """A session with two cores that keeps its tables in this folder.

    Its tasks have the environment of its start. Each is a process of its own with an empty journal.
    """
    sql = pytest.importorskip("pyspark.sql")
    with pytest.MonkeyPatch.context() as here:
        here.setenv("PYSPARK_PYTHON", sys.executable)
        here.setenv("STARS_KEY", KEY)
        here.setenv("LUTHIER_JOURNAL", ":memory:")
        session = (
            sql.SparkSession.builder.master("local[2]")
            .config("spark.ui.enabled", "false")
            .config("spark.python.worker.reuse", "false")
            .config("spark.driver.host", "127.0.0.1")
            .config("spark.driver.bindAddress", "127.0.0.1")
            .config("spark.sql.shuffle.partitions", "2")
            .config("spark.sql.warehouse.dir", warehouse)
            .getOrCreate()
        )
        session.sparkContext.setLogLevel("ERROR")
        yield session
        session.stop()
