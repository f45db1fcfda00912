"""The real `mlflow` command on a packaged model: predict, serve, and run give what luthier gives."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import mlflow
import pandas as pd
import pytest

import luthier as lt
from luthier.endpoints import Endpoint
from luthier_local import LocalServer, ModelCard
from tests.conftest import KEY, REPOSITORY, reviews
from tests.packaging.commands import BIN, COLUMNS, environment, invoked, predicted_in_process, served

pytestmark = [pytest.mark.usefixtures("store"), pytest.mark.slow]


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
    return scored_by(model)


def scored_by(model: lt.Model) -> list[dict[str, Any]]:
    target = Path("scored.jsonl")
    target.unlink(missing_ok=True)
    model.score_file("rows.csv", target)
    lines = target.read_text(encoding="utf-8").splitlines()
    return [{name: json.loads(line)[name] for name in COLUMNS} for line in lines]


def predicted(store: str, *options: str, name: str = "stars") -> list[dict[str, Any]]:
    done = subprocess.run(
        [BIN / "mlflow", "models", "predict", "-m", f"models:/{name}@champion", "-i", "rows.csv", "-t", "csv",
         "-o", "out.json", *options],
        env=environment(store), capture_output=True, text=True, check=False, timeout=580,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr[-3000:]
    out = json.loads(Path("out.json").read_text(encoding="utf-8"), parse_constant=pytest.fail)
    return shared(out["predictions"])


def shared(rows: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """The columns that `luthier score` writes too."""
    return [{name: row[name] for name in COLUMNS} for row in rows]


def test_mlflow_models_predict_agrees(model: lt.Model, scored: list[dict[str, Any]]) -> None:
    assert shared(predicted_in_process(model.uri, "rows.csv")) == scored


def test_mlflow_models_predict_agrees_in_an_environment_of_its_own(store: str, scored: list[dict[str, Any]]) -> None:
    if shutil.which("uv", path=environment(store)["PATH"]) is None:
        pytest.fail("no uv on PATH; scripts/setup brings one into .tools")
    assert predicted(store, "--env-manager", "uv") == scored


def test_smollm2_answers_the_same_through_mlflow(
    task: lt.Task, rows: pd.DataFrame, train: pd.DataFrame, monkeypatch: pytest.MonkeyPatch
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
    ours = scored_by(model)
    assert shared(predicted_in_process(model.uri, "rows.csv")) == ours
    loaded = mlflow.pyfunc.load_model("models:/stars@champion").predict(rows.head(20)[["text"]])
    assert json.loads(loaded[COLUMNS].to_json(orient="records", double_precision=15)) == [
        {name: pytest.approx(value) for name, value in row.items()} for row in ours
    ]


def test_mlflow_models_serve_agrees_and_asks_once_what_many_clients_want(
    store: str, scored: list[dict[str, Any]], rows: pd.DataFrame, server: LocalServer
) -> None:
    starts = [*range(0, len(rows), 20)] * 2
    with served(store, "models:/stars@champion") as url, ThreadPoolExecutor(10) as pool:
        before = server.received.total
        answers = list(pool.map(lambda start: invoked(url, rows["text"][start : start + 20]), starts))
    assert shared([row for out in answers for row in out["predictions"]]) == scored * 2
    assert server.received.total - before == len(rows) - 1, "each text once; the empty one never"


def test_mlflow_run_compares(
    rows: pd.DataFrame,
    train: pd.DataFrame,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capfd: pytest.CaptureFixture[str],
) -> None:
    specs = tmp_path / "specs"
    specs.mkdir()
    (specs / "task.yaml").write_text("name: stars\ntype: rating\nlabel: stars\nlabels: [1, 2, 3, 4, 5]\n")
    (specs / "base.yaml").write_text("technique: baseline\n")
    rows.to_csv("test.csv", index=False)
    train.to_csv("train.csv", index=False)
    monkeypatch.setenv("PATH", os.pathsep.join([str(BIN), os.environ["PATH"]]))
    # What `mlflow run` calls; the command itself is typed in tests/test_scripts.py.
    given = {"specs": specs, "test": tmp_path / "test.csv", "train": tmp_path / "train.csv", "limit": 50}
    submitted = mlflow.projects.run(str(REPOSITORY), "compare", parameters=given, env_manager="local")
    assert submitted.get_status() == "FINISHED"
    assert "base" in capfd.readouterr().out


def test_every_head_of_an_embedding_predicts_as_it_scores(
    store: str, task: lt.Task, rows: pd.DataFrame, train: pd.DataFrame, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("STARS_KEY", KEY)
    rows.head(50).to_csv("rows.csv", index=False)
    heads: dict[str, Any] = {name: name for name in ("logistic", "ordinal", "regression")}
    heads["automl"] = {"method": "automl", "trials": 6}
    card = ModelCard("vectors", chat=False, completions=False, embeddings=True)
    with LocalServer(models=[card], api_key=KEY) as server:
        endpoint = lt.compatible("vectors", server.base_url, api_key_env="STARS_KEY")
        for name, head in heads.items():
            spec = lt.Embedding(task, endpoint=endpoint, head=head, objective="mse")
            model = lt.log(spec, train=train, register=f"stars-{name}", alias="champion")
            ours = scored_by(model)
            assert shared(predicted_in_process(model.uri, "rows.csv")) == ours
        # The last, whose packages are others, in a process that has not trained it.
        assert predicted(store, "--env-manager", "local", name="stars-automl") == ours
