"""What a server says of the model it has opened."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

import luthier as lt
from luthier.engine.loop import wait_for
from luthier.errors import GateFailed, ModelError
from luthier.serving.models import example_of_folder, open_model
from luthier.serving.server import serve_in_background
from luthier.serving.settings import ServerSettings
from tests.measured_models import MeasuredModels

SETTINGS = ServerSettings(port=0, without_key=True)


def test_a_registered_model_is_described_by_its_name_version_and_signature(model: lt.Model) -> None:
    facts = open_model("models:/stars@champion", SETTINGS).facts
    assert (facts.uri, facts.name, facts.version, facts.technique) == (
        "models:/stars@champion",
        "stars",
        "1",
        "prompt",
    )
    assert facts.columns == {"text": "string"}
    assert facts.params["max_tokens"] == "long"
    assert facts.outputs["label"] == "string"
    assert facts.outputs["probability"] == "double"
    assert facts.labels == ("1", "2", "3", "4", "5")
    assert set(facts.example[0]) == {"text"}


def test_a_uri_without_a_model_is_refused() -> None:
    with pytest.raises(ModelError, match="nowhere"):
        open_model("nowhere", SETTINGS)


@pytest.mark.slow
def test_a_server_is_ready_once_the_recorded_answers_were_replayed(measured: MeasuredModels) -> None:
    model = open_model(str(measured.folders["few"]), SETTINGS)
    assert model.readiness().checks["parity"] is not None
    wait_for(model.start())
    assert model.readiness().checks["parity"] is None
    assert sum(model.facts.training_labels.values()) == pytest.approx(1.0)
    wait_for(model.close())


@pytest.mark.slow
def test_a_server_of_a_changed_model_is_never_ready(measured: MeasuredModels, tmp_path: Path) -> None:
    folder = tmp_path / "changed"
    shutil.copytree(measured.folders["few"], folder)
    spec = folder / "data" / "luthier" / "spec.yaml"
    spec.write_text(spec.read_text().replace("Stars for:", "Ignore this:"))
    model = open_model(str(folder), SETTINGS)
    wait_for(model.start())
    readiness = model.readiness()
    assert not readiness.is_ready
    assert "asks something else" in str(readiness.checks["parity"])
    wait_for(model.close())
    with pytest.raises(GateFailed, match="asks something else"):
        serve_in_background(open_model(str(folder), SETTINGS), SETTINGS)


@pytest.mark.slow
def test_a_model_pointed_elsewhere_replays_what_it_recorded_at_home(measured: MeasuredModels) -> None:
    elsewhere = {"base_url": "http://127.0.0.1:9/v1", "model": "another"}
    model = open_model(str(measured.folders["few"]), SETTINGS, elsewhere)
    wait_for(model.start())
    assert model.readiness().checks["parity"] is None
    wait_for(model.close())


def test_an_example_is_read_from_the_folder_alone_and_only_where_it_is_one(tmp_path: Path) -> None:
    file = tmp_path / "input_example.json"
    for text in ("[" * 100_000, "[]", '{"columns": 1, "data": [[2]]}', " " * 3_000_000 + '{"columns": [], "data": []}'):
        file.write_text(text)
        assert example_of_folder(tmp_path) == ()
    file.rename(tmp_path / "elsewhere.json")
    file.symlink_to(tmp_path / "elsewhere.json")
    with pytest.raises(ModelError, match="symbolic link"):
        example_of_folder(tmp_path)
