"""The packaged model: what it carries, what it answers, and what it leaves behind."""

from __future__ import annotations

import json
from pathlib import Path

import mlflow
import pandas as pd
import pytest
import yaml

import luthier as lt
from luthier.endpoints import Endpoint
from luthier.errors import GateFailed, ModelError
from luthier_local import LocalServer, ModelCard

pytestmark = pytest.mark.usefixtures("store")


@pytest.fixture
def spec(task: lt.Task, endpoint: Endpoint) -> lt.Prompt:
    return lt.Prompt(task, "Stars for: {{ text }}", answer="score", examples=4, endpoint=endpoint, name="few")


def folder_of(uri: str) -> Path:
    return Path(mlflow.artifacts.download_artifacts(uri))


def test_pyfunc_and_luthier_agree_to_the_last_digit(model: lt.Model, table: pd.DataFrame) -> None:
    ours = model.score(table)
    theirs = mlflow.pyfunc.load_model(model.uri).predict(table[["text"]])
    assert theirs["label"].tolist() == ours["label"].tolist()
    for column in [*(f"p_{n}" for n in range(1, 6)), "probability", "expected"]:
        assert theirs[column].tolist() == ours[column].tolist()


def test_the_artifact_holds_no_pickle_and_says_its_schema(spec: lt.Prompt, train: pd.DataFrame) -> None:
    # One of its own: Python keeps bytecode beside the loader of a model that was loaded.
    folder = folder_of(lt.log(spec, train=train).uri)
    assert not [p for p in folder.rglob("*") if p.suffix in (".pkl", ".pickle", ".joblib", ".pyc")]
    document = yaml.safe_load((folder / "data" / "luthier" / "spec.yaml").read_text(encoding="utf-8"))
    assert document["schema"] == 1
    assert document["prompt"]["template"] == "Stars for: {{ text }}"


def test_the_examples_travel_with_the_model(model: lt.Model, train: pd.DataFrame) -> None:
    facts = json.loads((folder_of(model.uri) / "data" / "luthier" / "fitted.json").read_text(encoding="utf-8"))
    shown = [example["inputs"]["text"] for example in facts["state"]["examples"]]
    assert len(shown) == 4
    assert set(shown) <= set(train["text"])


def test_the_endpoint_can_be_pointed_elsewhere_at_load_time(
    model: lt.Model, table: pd.DataFrame, standing_server: LocalServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("OTHER_KEY", "other")
    with LocalServer(models=[ModelCard("other-model")], api_key="other") as other:
        moved = mlflow.pyfunc.load_model(
            model.uri,
            model_config={"base_url": other.base_url, "model": "other-model", "api_key_env": "OTHER_KEY"},
        )
        before = standing_server.received.total
        moved.predict(table[["text"]].head(3))
        assert (other.received.total, standing_server.received.total) == (3, before)


def test_an_unknown_setting_at_load_time_says_what_is_allowed(model: lt.Model) -> None:
    with pytest.raises(ModelError, match="base_urll; allowed: provider"):
        lt.load(model.uri, endpoint={"base_urll": "http://127.0.0.1:1/v1"})


def test_params_change_one_call_only(model: lt.Model, table: pd.DataFrame, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OTHER_KEY", "other")
    with LocalServer(models=[ModelCard("stars-model")], api_key="other", record=True) as other:
        loaded = mlflow.pyfunc.load_model(
            model.uri, model_config={"base_url": other.base_url, "api_key_env": "OTHER_KEY"}
        )
        one = table[["text"]].head(1)
        loaded.predict(one, params={"temperature": 0.5})
        loaded.predict(one)
        assert [body["temperature"] for body in other.received.bodies] == [0.5, 0.0]


def test_the_signature_has_inputs_outputs_and_params(model: lt.Model) -> None:
    signature = mlflow.models.get_model_info(model.uri).signature
    assert signature.inputs.input_names() == ["text"]
    assert signature.outputs.input_names()[:3] == ["label", "probability", "p_1"]
    assert "temperature" in [param.name for param in signature.params.params]


def test_null_numbers_and_odd_columns_are_accepted(model: lt.Model) -> None:
    loaded = mlflow.pyfunc.load_model(model.uri)
    out = loaded.predict(pd.DataFrame({"text": [None, "good", float("nan")], "more": [1, 2, 3]}))
    assert out["state"].tolist() == ["empty", "ok", "empty"]
    assert out["label"].tolist()[0] is None


def test_the_answer_is_json_without_nan(model: lt.Model) -> None:
    from io import StringIO

    from mlflow.pyfunc.scoring_server import predictions_to_json

    out = mlflow.pyfunc.load_model(model.uri).predict(pd.DataFrame({"text": [None, "good"]}))
    written = StringIO()
    predictions_to_json(out, written)
    assert json.loads(written.getvalue(), parse_constant=pytest.fail)["predictions"][0]["label"] is None


def test_the_scoring_server_takes_csv_too(model: lt.Model) -> None:
    from mlflow.pyfunc.scoring_server import invocations

    loaded = mlflow.pyfunc.load_model(model.uri)
    reply = invocations('text\n"good food"\n007\n', "text/csv", loaded, loaded.metadata.get_input_schema())
    assert reply.status == 200
    assert [row["state"] for row in json.loads(reply.response)["predictions"]] == ["ok", "ok"]


def test_a_server_asks_the_raw_model_without_blocking(model: lt.Model, table: pd.DataFrame) -> None:
    import asyncio

    raw = mlflow.pyfunc.load_model(model.uri).get_raw_model()
    out = asyncio.run(raw.predict_async(table[["text"]].head(5)))
    assert out["state"].tolist() == ["ok"] * 5


def test_a_loaded_model_leaves_no_journal_behind(model: lt.Model, table: pd.DataFrame, clean_home: Path) -> None:
    journal = clean_home / "journal.db"
    before = journal.stat().st_size if journal.exists() else None
    mlflow.pyfunc.load_model(model.uri).predict(table[["text"]].tail(5))
    assert (journal.stat().st_size if journal.exists() else None) == before


def test_requirements_are_pinned_and_leave_out_what_serving_does_not_need(model: lt.Model) -> None:
    lines = (folder_of(model.uri) / "requirements.txt").read_text(encoding="utf-8").splitlines()
    assert all("==" in line for line in lines)
    assert not {"typer", "plotly", "optuna", "pytest"} & {line.split("==")[0] for line in lines}


def test_the_version_is_tagged_with_where_it_comes_from(model: lt.Model, train: pd.DataFrame, task: lt.Task) -> None:
    version = mlflow.MlflowClient().get_model_version_by_alias("stars", "champion")
    assert version.tags["luthier.task"] == "stars"
    assert version.tags["luthier.technique"] == "prompt"
    assert version.tags["luthier.base_model"] == "stars-model"
    assert version.tags["luthier.model_key"] == "stars-model"
    assert version.tags["luthier.digest.train"] == task.rows(train).digest_of(["text"])


def test_the_run_of_a_logged_spec_names_its_settings(model: lt.Model) -> None:
    version = mlflow.MlflowClient().get_model_version_by_alias("stars", "champion")
    params = mlflow.get_run(version.run_id).data.params
    assert (params["name"], params["prompt.examples.count"]) == ("few", "4")


@pytest.mark.slow
def test_the_prompt_is_in_the_registry_once(spec: lt.Prompt, train: pd.DataFrame) -> None:
    lt.log(spec, train=train)
    lt.log(spec, train=train)
    assert mlflow.genai.load_prompt("prompts:/stars.few@latest").version == 1


@pytest.mark.slow
def test_a_run_is_packaged_exactly_as_it_was_measured(
    spec: lt.Prompt, table: pd.DataFrame, train: pd.DataFrame
) -> None:
    board = lt.compare(spec, table, train=train)
    model = lt.log(f"runs:/{board['few'].run_id}")
    assert model.score(table)["label"].tolist() == board.answers("few")["label"].tolist()
    assert mlflow.models.get_model_info(model.uri).run_id == board["few"].run_id


@pytest.mark.slow
def test_promotion_holds_figures_of_the_same_rows_against_each_other(
    task: lt.Task, spec: lt.Prompt, table: pd.DataFrame, train: pd.DataFrame
) -> None:
    board = lt.compare([spec, lt.Baseline(task, name="baseline")], table, train=train)
    order = [entry.candidate.name for entry in board.leaderboard.entries]
    board[order[0]].log(register="stars", alias="champion")
    board[order[1]].log(register="stars")
    with pytest.raises(GateFailed, match="qwk > champion"):
        lt.promote("stars", alias="champion", require=["qwk > champion"])
    moved = lt.promote("stars", alias="champion", version=2, require=["qwk > -1"])
    assert (moved.version, moved.previous) == ("2", "1")


@pytest.mark.slow
def test_figures_of_different_rows_are_not_held_against_each_other(
    task: lt.Task, spec: lt.Prompt, table: pd.DataFrame, train: pd.DataFrame
) -> None:
    lt.compare(spec, table.head(30), train=train)["few"].log(register="stars", alias="champion")
    lt.compare(lt.Baseline(task, name="b"), table.tail(30), train=train)["b"].log(register="stars")
    with pytest.raises(ModelError, match="different rows"):
        lt.promote("stars", alias="champion", require=["qwk >= champion"])


def test_a_version_that_was_never_measured_is_not_promoted_on_a_figure(model: lt.Model) -> None:
    with pytest.raises(ModelError, match="never measured.*luthier compare"):
        lt.promote("stars", alias="prod", require=["qwk >= 0"])


@pytest.mark.parametrize(
    "uri", ["models:/nothing@champion", "models:/stars/99", "models:/m-0", "runs:/0/x", "no-folder"]
)
def test_a_uri_with_nothing_behind_it_is_a_clear_message(model: lt.Model, uri: str) -> None:
    with pytest.raises(ModelError, match="no model|is no model"):
        lt.load(uri)


def test_somebody_elses_model_is_named_as_such(tmp_path: Path) -> None:
    code = tmp_path / "echo.py"
    code.write_text(
        "class Echo:\n    predict = staticmethod(lambda frame: frame)\ndef _load_pyfunc(path):\n    return Echo\n",
        encoding="utf-8",
    )
    example = pd.DataFrame({"text": ["a"]})
    mlflow.pyfunc.save_model(
        tmp_path / "echo", loader_module="echo", code_paths=[str(code)], pip_requirements=["mlflow"],
        input_example=example, signature=mlflow.models.infer_signature(example),
    )  # fmt: skip
    with pytest.raises(ModelError, match="mlflow models predict"):
        lt.load(str(tmp_path / "echo"))


def test_a_relocated_model_is_asked_in_the_words_it_was_measured_with(task: lt.Task, tmp_path: Path) -> None:
    spec = lt.Prompt(task, "{{ text }}", answer="score", endpoint=lt.embedded("deterministic"), name="x")
    assert spec.style == "completion"
    moved = spec.with_endpoint(lt.compatible("m", "http://127.0.0.1:9/v1"))
    assert moved.style == "completion"


def test_a_relocated_model_is_not_answered_from_the_old_places_journal(task: lt.Task, endpoint: Endpoint) -> None:
    from luthier.packaging.model import endpoint_settings, relocated

    named = endpoint.model_copy(update={"identity": "prod", "priced_as": "gpt-4o"})
    moved = relocated(named, endpoint_settings(named) | {"base_url": "http://127.0.0.1:9/v1"})
    assert moved is not None
    assert (moved.identity, moved.priced_as, moved.price) == (None, None, None)


def test_a_calibration_of_another_model_is_warned_about(
    task: lt.Task, endpoint: Endpoint, train: pd.DataFrame, caplog: pytest.LogCaptureFixture
) -> None:
    spec = lt.Prompt(
        task, "{{ text }}", answer={"method": "score", "calibration_rows": 5}, endpoint=endpoint, name="cal"
    )
    model = lt.log(spec, train=train)
    lt.load(model.uri, endpoint={"model": "another"})
    assert "calibrated on stars-model" in caplog.text


@pytest.mark.slow
def test_a_gate_on_a_number_takes_the_measurement_on_the_most_rows(
    spec: lt.Prompt, table: pd.DataFrame, train: pd.DataFrame
) -> None:
    board = lt.compare(spec, table, train=train)
    board["few"].log(register="stars")
    lt.compare(spec, table, train=train, limit=2)
    moved = lt.promote("stars", alias="champion", require=["accuracy >= 0", "accuracy_low >= 0"])
    assert moved.gates[0].rows == 60
    value, low = (gate.measured for gate in moved.gates)
    assert low is not None and value is not None
    assert low < value
    with pytest.raises(GateFailed, match="accuracy_low"):
        lt.promote("stars", alias="prod", require=[f"accuracy_low >= {value}"])
