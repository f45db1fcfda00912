"""score: a folder, compressed files and the standard streams give what one plain file gives."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pandas as pd
import pytest

import luthier as lt
from luthier.errors import DataError
from tests.patience import PATIENCE_SECONDS

pytestmark = pytest.mark.usefixtures("store")


def test_a_folder_of_compressed_files_is_scored_as_one_file_is(model: lt.Model, table: pd.DataFrame) -> None:
    table.to_csv("whole.csv", index=False)
    for number, name in enumerate(["in/half=1/a.csv.gz", "in/half=2/b.csv.gz"]):
        Path(name).parent.mkdir(parents=True)
        table.iloc[number * 30 : number * 30 + 30].to_csv(name, index=False)
    model.score_file("whole.csv", "whole-out.csv")
    report = model.score_file("in", "out.jsonl.zst")
    out = lt.read_table("out.jsonl.zst")
    assert report.rows == 60
    assert out["half"].tolist() == ["1"] * 30 + ["2"] * 30
    expected = lt.read_table("whole-out.csv")
    assert out["label"].tolist() == expected["label"].tolist()
    assert out["id"].tolist() == expected["id"].tolist()


def test_the_output_of_a_pattern_may_be_replaced_by_the_same_score_only(model: lt.Model, table: pd.DataFrame) -> None:
    table.head(3).to_csv("may-1.csv", index=False)
    table.head(3).to_csv("june-1.csv", index=False)
    model.score_file("may-*.csv", "out.csv")
    model.score_file("may-*.csv", "out.csv")
    with pytest.raises(DataError, match="--overwrite"):
        model.score_file("june-*.csv", "out.csv")


def scored(uri: str, source: str, target: str, given: bytes | None = None) -> subprocess.CompletedProcess[bytes]:
    return subprocess.run(
        [sys.executable, "-m", "luthier", "score", uri, source, target, "--yes"],
        input=given, capture_output=True, timeout=PATIENCE_SECONDS, check=True,
        env={**os.environ, "MLFLOW_TRACKING_URI": f"sqlite:///{Path.cwd()}/mlflow.db"},
    )  # fmt: skip


@pytest.mark.slow
def test_a_table_goes_through_the_standard_streams_and_nothing_else_does(model: lt.Model, table: pd.DataFrame) -> None:
    lines = table.head(5).to_json(orient="records", lines=True)
    done = scored(model.uri, "-", "-", lines.encode())
    assert [json.loads(line)["id"] for line in done.stdout.decode().splitlines()] == table.head(5)["id"].tolist()
    assert b"5 rows written to standard output" in done.stderr
