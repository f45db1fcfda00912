"""Any MLflow model behind a server."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import mlflow
import pyarrow as pa
import pytest
from mlflow.models import ModelSignature
from mlflow.types.schema import ColSpec, DataType, ParamSchema, ParamSpec, Schema

from luthier.engine.loop import wait_for
from luthier.errors import ModelError
from luthier.serving.models import open_model
from luthier.serving.pyfunc_served import PyfuncServed
from luthier.serving.refusals import Refusal
from luthier.serving.served_model import ScoringRequest
from luthier.serving.settings import ServerSettings
from tests.patience import PATIENCE_SECONDS, until

SETTINGS = ServerSettings(port=0, without_key=True)

CODE = """
import os, time
import numpy as np

class Doubler:
    def predict(self, frame, params=None):
        while os.path.exists("hang"):
            time.sleep(0.01)
        if (frame["x"] == 13).any():
            raise RuntimeError("a bug")
        doubled = frame["x"].astype("float32") * (params or {}).get("times", 2)
        return frame[["name"]].assign(doubled=doubled.where(frame["x"] > 0, np.nan))

def _load_pyfunc(path):
    return Doubler()
"""


pytestmark = pytest.mark.filterwarnings("ignore:.*input example:UserWarning", "ignore:.*requirement:UserWarning")


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "doubling_model.py").write_text(CODE)
    signature = ModelSignature(
        inputs=Schema([ColSpec(DataType.double, "x"), ColSpec(DataType.string, "name")]),
        params=ParamSchema([ParamSpec("times", DataType.double, 2.0)]),
    )
    mlflow.pyfunc.save_model(
        str(tmp_path / "model"),
        loader_module="doubling_model",
        code_paths=[str(tmp_path / "doubling_model.py")],
        signature=signature,
        pip_requirements=[],
    )
    return tmp_path / "model"


@pytest.fixture
def model(folder: Path) -> Iterator[PyfuncServed]:
    opened = open_model(str(folder), SETTINGS, trust=True)
    assert isinstance(opened, PyfuncServed)
    found = PyfuncServed(opened.model, opened.facts, SETTINGS, threads=2)
    wait_for(found.start())
    yield found
    wait_for(found.close())


def asked(model: PyfuncServed, form: Any, data: Any, seconds: float = PATIENCE_SECONDS, **params: Any) -> Any:
    return wait_for(model.answer(ScoringRequest(form, data, params), seconds)).predictions


def test_it_is_loaded_only_when_it_is_trusted(folder: Path) -> None:
    with pytest.raises(ModelError, match="doubling_model.*--trust"):
        open_model(str(folder), SETTINGS)


def test_it_answers_by_its_signature_in_every_form(model: PyfuncServed) -> None:
    assert model.facts.columns == {"x": "double", "name": "string"}
    assert model.facts.params == {"times": "double"}
    expected = [{"name": "a", "doubled": 3.0}, {"name": "b", "doubled": None}]
    records = [{"x": 1.5, "name": "a"}, {"x": -1.0, "name": "b"}]
    assert asked(model, "dataframe_records", records) == expected
    assert asked(model, "dataframe_split", {"columns": ["name", "x"], "data": [["a", 1.5], ["b", -1.0]]}) == expected
    assert asked(model, "inputs", {"x": [1.5, -1.0], "name": ["a", "b"]}) == expected
    assert asked(model, "table", pa.table({"x": ["1.5", "-1"], "name": ["a", "b"]})) == expected
    assert asked(model, "table", pa.table({"x": [1.5, -1.0], "name": ["a", "b"]})) == expected
    assert asked(model, "dataframe_records", records[:1], times=3.0) == [{"name": "a", "doubled": 4.5}]


def test_rows_that_do_not_fit_are_refused_without_a_cell_of_theirs(model: PyfuncServed) -> None:
    for data, named in (([{"x": 1.0}], "'name' is missing"), ([{"x": "secret", "name": "secret"}], "'x' (double)")):
        with pytest.raises(Refusal) as refused:
            asked(model, "dataframe_records", data)
        assert refused.value.status == 400
        assert named in refused.value.message
        assert "secret" not in refused.value.message


def test_a_bug_in_the_model_is_no_fault_of_the_rows(model: PyfuncServed) -> None:
    with pytest.raises(RuntimeError, match="a bug"):
        asked(model, "dataframe_records", [{"x": 13.0, "name": "a"}])


def test_threads_that_hang_are_counted_until_they_return(model: PyfuncServed) -> None:
    rows = [{"x": 1.0, "name": "a"}]
    Path("hang").touch()
    for _ in range(2):
        with pytest.raises(Refusal) as refused:
            asked(model, "dataframe_records", rows, seconds=0.05)
        assert refused.value.status == 504
    assert "2 of 2 calls" in (model.readiness().checks["capacity"] or "")
    with pytest.raises(Refusal) as refused:
        asked(model, "dataframe_records", rows)
    assert refused.value.status == 503
    Path("hang").unlink()
    until(lambda: model.readiness().is_ready)
    assert asked(model, "dataframe_records", rows) == [{"name": "a", "doubled": 2.0}]
