"""Decisions asked of the embedded server, through every command."""

from __future__ import annotations

import json
from pathlib import Path

import mlflow
import pandas as pd
import pytest

import luthier as lt
from luthier.endpoints import Endpoint
from luthier.errors import EndpointError
from luthier_local import Fault, LocalServer
from tests.cli.conftest import Run, run

pytestmark = pytest.mark.usefixtures("store")

__all__ = ["run"]

TASK = "name: stars\ntype: rating\nlabel: stars\nlabels: [1, 2, 3, 4, 5]\n"
NOT_OFFERED = Fault("status", status=404, message="Invalid URL (POST /v1/decisions)", path="decisions")
PROBABILITIES = [f"p_{star}" for star in range(1, 6)]


@pytest.fixture
def spec(task: lt.Task, endpoint: Endpoint) -> lt.Decision:
    return lt.Decision(task, endpoint=endpoint, objective="qwk", calibration_rows=20, name="decided")


@pytest.fixture
def files(tmp_path: Path, server: LocalServer, table: pd.DataFrame, train: pd.DataFrame) -> Path:
    """A task, a prompt and a decision of it, and tables, in the working folder."""
    endpoint = (
        f"endpoint: {{provider: compatible, base_url: '{server.base_url}', model: stars-model, api_key_env: STARS_KEY, "
        "price: {input_usd_per_million: 1, output_usd_per_million: 2}}\n"
    )
    (tmp_path / "task.yaml").write_text(TASK)
    (tmp_path / "decided.yaml").write_text(
        "technique: decision\nquestion: How many stars does the writer give?\n"
        f'descriptions: {{"1": terrible, "5": perfect}}\n{endpoint}'
    )
    (tmp_path / "asked.yaml").write_text(
        f'technique: prompt\nprompt: {{template: "Stars for: {{{{ text }}}}"}}\nanswer: score\n{endpoint}'
    )
    table.to_csv(tmp_path / "test.csv", index=False)
    train.to_csv(tmp_path / "train.csv", index=False)
    return tmp_path


@pytest.mark.slow
def test_the_packaged_model_answers_as_it_was_measured(
    spec: lt.Decision, table: pd.DataFrame, train: pd.DataFrame, server: LocalServer
) -> None:
    board = lt.compare([spec], table, train=train)
    assert board.frame["qwk"][0] > 0.8
    assert server.received.by_path == {"decisions": 60 + 20}
    calibrate = board.answers(spec)
    model = board.best.log()
    packaged = mlflow.pyfunc.load_model(model.uri).predict(table[["text"]])
    for column in ("label", *PROBABILITIES, "expected"):
        assert packaged[column].tolist() == calibrate[column].tolist()
    assert model.score(table)["label"].tolist() == calibrate["label"].tolist()


def test_a_refused_row_is_refused_everywhere_and_the_others_are_answered(
    spec: lt.Decision, table: pd.DataFrame, train: pd.DataFrame, server: LocalServer
) -> None:
    server.faults.add(Fault("refusal", contains=table.text[3], path="decisions"))
    board = lt.compare([spec], table, train=train)
    states = board.answers(spec)["state"].tolist()
    assert [position for position, state in enumerate(states) if state == "refused"] == [3]
    assert board.answers(spec)["error"].tolist()[3] == "The model declined to answer this question."


@pytest.mark.slow
def test_every_command_knows_it(run: Run, files: Path, server: LocalServer) -> None:
    checked = run("check", "decided.yaml")
    assert checked.code == 0, checked.out
    assert "decision" in checked.out
    shown = run("preview", "decided.yaml", "--test", "test.csv")
    assert "- 1: terrible\n- 2\n" in shown.out, shown.err
    before = server.received.total
    assert before == 1
    compared = run("compare", "decided.yaml", "asked.yaml", "--test", "test.csv")
    assert compared.code == 0, compared.err
    logged = run("log", "decided.yaml", "--register", "stars", "--alias", "champion")
    assert logged.code == 0, logged.err
    scored = run("score", "models:/stars@champion", "test.csv", "out.csv")
    assert scored.code == 0, scored.err
    assert pd.read_csv(files / "out.csv")["state"].tolist() == ["ok"] * 60
    # The table is asked about once by each spec; scoring it again is answered by the journal.
    assert server.received.total == before + 2 * 60


@pytest.mark.parametrize(
    "words",
    [
        ["compare", "decided.yaml", "--test", "test.csv"],
        ["compare", "asked.yaml", "decided.yaml", "--test", "test.csv"],
        ["fit", "calibrated.yaml", "--train", "train.csv"],
    ],
)
def test_an_endpoint_without_decisions_stops_before_anything_is_paid(
    run: Run, files: Path, server: LocalServer, words: list[str]
) -> None:
    calibrated = (files / "decided.yaml").read_text() + "calibration_rows: 20\n"
    if "calibrated.yaml" in words:
        (files / "calibrated.yaml").write_text(calibrated)
    server.faults.add(NOT_OFFERED)
    ended = run(*words)
    assert ended.code == 2
    assert "Traceback" not in ended.err
    assert "stars-model at http://127.0.0.1" in ended.err
    assert "does not offer decisions" in " ".join(ended.err.split())
    assert "technique: prompt with `answer: {method: score}`" in " ".join(ended.err.split())
    assert server.received.by_status.get(200) is None
    assert mlflow.get_experiment_by_name("stars") is None


def test_check_says_that_decisions_are_not_offered(run: Run, files: Path, server: LocalServer) -> None:
    server.faults.add(NOT_OFFERED)
    ended = run("check", "decided.yaml", "--json")
    assert ended.code == 2
    (found,) = json.loads(ended.out)
    failed = [finding for finding in found["findings"] if finding["ok"] is False]
    assert [finding["what"] for finding in failed] == ["decision"]
    assert "technique: prompt with `answer: {method: score}`" in failed[0]["cure"]


def test_settings_of_an_endpoint_file_for_prompts_do_not_disturb_it(files: Path) -> None:
    (files / "elsewhere.yaml").write_text(
        "endpoint: {provider: openai, model: other}\nanswer: {method: text}\ndecoding: {temperature: null}\n"
    )
    moved = lt.read_spec(files / "decided.yaml", lt.techniques.read_endpoint(files / "elsewhere.yaml"))
    assert moved.base_model == "other"


def test_a_model_that_only_embeds_is_named(task: lt.Task, table: pd.DataFrame, server: LocalServer) -> None:
    from luthier_local import ModelCard

    server.put_model(ModelCard("vectors", chat=False, completions=False, embeddings=True))
    endpoint = lt.compatible("vectors", server.base_url, api_key_env="STARS_KEY")
    with pytest.raises(EndpointError, match="vectors at .* does not offer decisions"):
        lt.compare([lt.Decision(task, endpoint=endpoint)], table)


@pytest.mark.slow
def test_smollm2_decides_and_its_package_agrees(
    task: lt.Task, table: pd.DataFrame, train: pd.DataFrame, request: pytest.FixtureRequest
) -> None:
    pytest.importorskip("xllamacpp")
    spec = lt.Decision(task, endpoint=lt.embedded(), calibration_rows=10, name="embedded")
    board = lt.compare([spec], table.head(6), train=train)
    calibrate = board.answers(spec)
    assert calibrate["state"].tolist() == ["ok"] * 6
    packaged = mlflow.pyfunc.load_model(board.best.log().uri).predict(table[["text"]].head(6))
    for column in ("label", *PROBABILITIES):
        assert packaged[column].tolist() == calibrate[column].tolist()
