"""The real `mlflow` command on a packaged model: predict, serve, and run give what luthier gives."""

from __future__ import annotations

import json
import os
import shutil
import socket
import subprocess
import sys
import time
import urllib.request
from pathlib import Path
from typing import Any

import mlflow
import pandas as pd
import pytest

import luthier as lt
from luthier.endpoints import Endpoint
from tests.conftest import REPOSITORY, reviews

pytestmark = [pytest.mark.usefixtures("store"), pytest.mark.slow]

COLUMNS = ["label", "probability", "p_1", "p_2", "p_3", "p_4", "p_5", "expected", "state"]
BIN = Path(sys.executable).parent


@pytest.fixture
def rows() -> pd.DataFrame:
    """Two hundred reviews, one of them without text."""
    frame = reviews(200)
    frame.loc[3, "text"] = None
    return frame


@pytest.fixture
def model(task: lt.Task, endpoint: Endpoint, train: pd.DataFrame) -> lt.Model:
    spec = lt.Prompt(task, "Stars for: {{ text }}", answer="score", examples=4, endpoint=endpoint, name="few")
    return lt.log(spec, train=train, register="stars", alias="champion")


@pytest.fixture
def scored(model: lt.Model, rows: pd.DataFrame) -> list[dict[str, Any]]:
    """What `luthier score` writes for the rows."""
    rows.to_csv("rows.csv", index=False)
    model.score_file("rows.csv", "scored.jsonl")
    lines = Path("scored.jsonl").read_text(encoding="utf-8").splitlines()
    return [{name: json.loads(line)[name] for name in COLUMNS} for line in lines]


def environment(store: str) -> dict[str, str]:
    path = os.pathsep.join([str(BIN), str(REPOSITORY / ".tools" / "bin"), os.environ["PATH"]])
    return {**os.environ, "MLFLOW_TRACKING_URI": store, "PATH": path}


def predicted(store: str, *options: str) -> list[dict[str, Any]]:
    done = subprocess.run(
        [BIN / "mlflow", "models", "predict", "-m", "models:/stars@champion", "-i", "rows.csv", "-t", "csv",
         "-o", "out.json", *options],
        env=environment(store), capture_output=True, text=True, check=False, timeout=580,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr[-3000:]
    out = json.loads(Path("out.json").read_text(encoding="utf-8"), parse_constant=pytest.fail)
    return [{name: row[name] for name in COLUMNS} for row in out["predictions"]]


def test_mlflow_models_predict_agrees(store: str, scored: list[dict[str, Any]]) -> None:
    assert predicted(store, "--env-manager", "local") == scored


def test_mlflow_models_predict_agrees_in_an_environment_of_its_own(store: str, scored: list[dict[str, Any]]) -> None:
    if shutil.which("uv", path=environment(store)["PATH"]) is None:
        pytest.fail("no uv on PATH; scripts/setup brings one into .tools")
    assert predicted(store, "--env-manager", "uv") == scored


def test_smollm2_answers_the_same_through_mlflow(
    store: str, task: lt.Task, rows: pd.DataFrame, train: pd.DataFrame, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("LUTHIER_LOCAL_LINGER_SECONDS", "1")
    words = dict(zip(task.labels, ["terrible", "poor", "okay", "good", "excellent"], strict=True))
    spec = lt.Prompt(
        task,
        "Text: {{ text }}\nAnswer:",
        system="How does the writer feel? Answer with one word: {{ words | join(', ') }}.",
        answer={"method": "score", "words": words, "calibration_rows": 10},
        endpoint=lt.embedded(),
        name="smol",
    )
    model = lt.log(spec, train=train, register="stars", alias="champion")
    rows.head(20).to_csv("rows.csv", index=False)
    model.score_file("rows.csv", "scored.jsonl")
    lines = Path("scored.jsonl").read_text(encoding="utf-8").splitlines()
    ours = [{name: json.loads(line)[name] for name in COLUMNS} for line in lines]
    assert predicted(store, "--env-manager", "local") == ours
    loaded = mlflow.pyfunc.load_model("models:/stars@champion").predict(rows.head(20)[["text"]])
    assert json.loads(loaded[COLUMNS].to_json(orient="records", double_precision=15)) == [
        {name: pytest.approx(value) for name, value in row.items()} for row in ours
    ]


def test_mlflow_models_serve_agrees(store: str, scored: list[dict[str, Any]], rows: pd.DataFrame) -> None:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    with open("serve.log", "w") as log:
        server = subprocess.Popen(
            [BIN / "mlflow", "models", "serve", "-m", "models:/stars@champion", "--env-manager", "local",
             "-p", str(port), "-h", "127.0.0.1"],
            env=environment(store), stdout=log, stderr=log, start_new_session=True,
        )  # fmt: skip
    try:
        wait_for(f"http://127.0.0.1:{port}/ping", server)
        records = [{"text": text} for text in rows["text"].astype(object).where(rows["text"].notna(), None)]
        request = urllib.request.Request(
            f"http://127.0.0.1:{port}/invocations",
            json.dumps({"dataframe_records": records}).encode(),
            {"Content-Type": "application/json"},
        )
        with urllib.request.urlopen(request, timeout=120) as reply:
            out = json.loads(reply.read(), parse_constant=pytest.fail)
    finally:
        os.killpg(server.pid, 15)
        server.wait(30)
    assert [{name: row[name] for name in COLUMNS} for row in out["predictions"]] == scored


def wait_for(url: str, server: subprocess.Popen[bytes]) -> None:
    deadline = time.monotonic() + 120
    while time.monotonic() < deadline:
        assert server.poll() is None, Path("serve.log").read_text()[-3000:]
        try:
            with urllib.request.urlopen(url, timeout=5):
                return
        except OSError:
            # Polled, because a server has no other way to say that it listens.
            time.sleep(0.2)
    pytest.fail(Path("serve.log").read_text()[-3000:])


def test_mlflow_run_compares(
    store: str, model: lt.Model, rows: pd.DataFrame, train: pd.DataFrame, tmp_path: Path
) -> None:
    specs = tmp_path / "specs"
    specs.mkdir()
    (specs / "task.yaml").write_text("name: stars\ntype: rating\nlabel: stars\nlabels: [1, 2, 3, 4, 5]\n")
    (specs / "base.yaml").write_text("technique: baseline\n")
    rows.to_csv("test.csv", index=False)
    train.to_csv("train.csv", index=False)
    done = subprocess.run(
        [BIN / "mlflow", "run", str(REPOSITORY), "-e", "compare", "--env-manager", "local", "-P", f"specs={specs}",
         "-P", f"test={tmp_path}/test.csv", "-P", f"train={tmp_path}/train.csv", "-P", "limit=50"],
        env=environment(store), capture_output=True, text=True, check=False, timeout=300,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr[-3000:]
    assert "base" in done.stdout
