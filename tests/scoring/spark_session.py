"""A real Spark on this machine, for the tests that need one; `.ci/run` installs it from locks/spark.txt."""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from tests.conftest import KEY


@contextmanager
def local_spark(warehouse: str) -> Iterator[Any]:
    """A session with two cores that keeps its tables in this folder, and tries a task that failed once more.

    Its tasks have the environment of its start. Each is a process of its own with an empty journal.
    """
    sql = pytest.importorskip("pyspark.sql")
    with pytest.MonkeyPatch.context() as here:
        here.setenv("PYSPARK_PYTHON", sys.executable)
        here.setenv("STARS_KEY", KEY)
        here.setenv("LUTHIER_JOURNAL", ":memory:")
        session = (
            sql.SparkSession.builder.master("local[2,2]")
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


def task_processes() -> list[int]:
    """The Python processes that tasks of this process's Spark run in at this moment."""
    parents: dict[int, int] = {}
    daemons: set[int] = set()
    for folder in Path("/proc").glob("[0-9]*"):
        try:
            parents[int(folder.name)] = int((folder / "stat").read_text().rpartition(")")[2].split()[1])
            if b"pyspark.daemon" in (folder / "cmdline").read_bytes():
                daemons.add(int(folder.name))
        except OSError:
            continue  # it has ended meanwhile

    def is_ours(pid: int) -> bool:
        while pid > 1 and pid != os.getpid():
            pid = parents.get(pid, 0)
        return pid == os.getpid()

    return [pid for pid in daemons if parents[pid] in daemons and is_ours(pid)]
