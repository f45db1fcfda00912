"""The embedding technique from end to end: a real server, MLflow, the packaged model."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

import mlflow
import pandas as pd
import pytest

import luthier as lt
from luthier import api
from luthier.endpoints import Endpoint
from luthier.providers.endpoint import embedded
from luthier_local import LocalServer, ModelCard
from tests.conftest import KEY, reviews

pytestmark = pytest.mark.usefixtures("store")


@pytest.fixture
def server(monkeypatch: pytest.MonkeyPatch) -> Iterator[LocalServer]:
    monkeypatch.setenv("STARS_KEY", KEY)
    card = ModelCard("vectors", chat=False, completions=False, embeddings=True)
    with LocalServer(models=[card], api_key=KEY) as running:
        yield running


@pytest.fixture
def endpoint(server: LocalServer) -> Endpoint:
    return Endpoint(provider="compatible", base_url=server.base_url, model="vectors", api_key_env="STARS_KEY")


@pytest.fixture
def spec(task: lt.Task, endpoint: Endpoint) -> lt.Embedding:
    return lt.Embedding(task, endpoint=endpoint, head="ordinal", objective="qwk", name="near")


@pytest.mark.slow
def test_the_packaged_model_answers_as_it_was_compared(
    spec: lt.Embedding, table: pd.DataFrame, train: pd.DataFrame, server: LocalServer
) -> None:
    board = lt.compare(spec, table, train=train)
    asked = server.received.total
    model = board.best.log()
    theirs = mlflow.pyfunc.load_model(model.uri).predict(table[["text"]])
    ours = board.answers(spec)
    for column in ["label", "probability", "expected", *(f"p_{n}" for n in range(1, 6))]:
        assert theirs[column].tolist() == ours[column].tolist()
    assert not list(Path(mlflow.artifacts.download_artifacts(model.uri)).rglob("*.pkl"))
    assert model.score(table)["label"].tolist() == ours["label"].tolist()
    assert server.received.total > asked  # the loaded model has a journal of its own


def test_a_preview_shows_the_texts_and_sends_nothing(
    spec: lt.Embedding, table: pd.DataFrame, train: pd.DataFrame, server: LocalServer
) -> None:
    shown = str(lt.preview(spec, table.head(2), train))
    assert f"[input] {table['text'][0]}" in shown
    assert "Fitting sends 80 training texts too" in shown
    assert server.received.total == 0


def test_trials_are_a_table_and_a_curve_of_the_run(spec: lt.Embedding, train: pd.DataFrame) -> None:
    fitted, run_id = api.FitSetup(spec, train).fit_and_log()
    trials = fitted.state["trials"]
    shown = json.loads(mlflow.artifacts.load_text(f"runs:/{run_id}/trials.json"))
    assert len(shown["data"]) == len(trials)
    assert "estimator" in shown["columns"]
    curve = mlflow.MlflowClient().get_metric_history(run_id, "trials_best")
    assert [point.value for point in curve] == [trial["best"] for trial in trials]
    assert mlflow.get_run(run_id).data.params["head.method"] == "ordinal"


def test_a_text_that_was_embedded_is_never_sent_again(
    spec: lt.Embedding, train: pd.DataFrame, server: LocalServer
) -> None:
    lt.fit(spec, train)
    asked = server.received.total
    lt.fit(lt.Embedding(spec.task, endpoint=spec.endpoint, head="regression"), train)
    assert server.received.total == asked


@pytest.mark.slow
def test_automl_on_real_vectors_is_packaged_as_it_was_compared(task: lt.Task) -> None:
    head = {"method": "automl", "trials": 6}
    spec = lt.Embedding(task, endpoint=embedded("wordllama-256"), head=head, name="searched")
    board = lt.compare(spec, reviews(40), train=reviews(120, seed=8))
    theirs = mlflow.pyfunc.load_model(board.best.log().uri).predict(reviews(40)[["text"]])
    assert theirs["expected"].tolist() == board.answers(spec)["expected"].tolist()
