"""MLflow's own client and its traps: settings as texts, frames that pandas read, names that are not there."""

from __future__ import annotations

import sys
from io import StringIO
from typing import Any

import pandas as pd
import pytest
from mlflow.deployments import PredictionsResponse, get_deploy_client
from mlflow.exceptions import MlflowException

import luthier as lt
from luthier.deployments.mlflow_plugin import _read_config, target_help
from luthier.serving.settings import ServerSettings
from tests.deployments.deployed import deployed
from tests.measured_models import MeasuredModels

pytestmark = [pytest.mark.slow, pytest.mark.skipif(sys.platform == "win32", reason="deployments need unix sockets")]

SETTINGS = ServerSettings(port=0, without_key=True)
TEXTS = ["a great place", "bad food"]


@pytest.fixture
def client() -> Any:
    return get_deploy_client("luthier-local")


def test_predictions_are_those_of_invocations_and_can_be_written(
    measured: MeasuredModels, client: Any, tmp_path: Any
) -> None:
    model = lt.load(str(measured.folders["plain"]))
    with deployed("stars", measured.folders["plain"], SETTINGS):
        found = client.predict("stars", pd.DataFrame({"text": TEXTS}))
    assert isinstance(found, PredictionsResponse)
    assert found.get_predictions()["label"].tolist() == model.predict(TEXTS)["label"].tolist()
    found.to_json(tmp_path / "out.json")
    assert "predictions" in (tmp_path / "out.json").read_text()


@pytest.mark.parametrize(
    "body",
    [
        '[{"text": "a great place"}, {"text": "bad food"}]',
        '{"dataframe_split": {"columns": ["text"], "data": [["a great place"], ["bad food"]]}}',
        '{"dataframe_records": [{"text": "a great place"}, {"text": "bad food"}]}',
        '{"instances": [{"text": "a great place"}, {"text": "bad food"}]}',
        '{"inputs": {"text": ["a great place", "bad food"]}}',
    ],
)
def test_a_file_of_any_form_is_read_as_the_command_reads_it(measured: MeasuredModels, client: Any, body: str) -> None:
    with deployed("stars", measured.folders["plain"], SETTINGS):
        rows = client.predict("stars", pd.DataFrame({"text": TEXTS}))
        assert client.predict("stars", pd.read_json(StringIO(body))) == rows


def test_deployments_are_listed_and_described(measured: MeasuredModels, client: Any) -> None:
    assert client.list_deployments() == []
    with deployed("stars", measured.folders["plain"], SETTINGS) as found:
        (one,) = client.list_deployments()
        assert one == client.get_deployment("stars")
        assert (one["name"], one["flavor"], one["url"]) == ("stars", "luthier", found.url)


@pytest.mark.parametrize("verb", ["get_deployment", "update_deployment", "predict"])
def test_a_name_that_is_not_there_is_refused_in_words(client: Any, verb: str) -> None:
    with pytest.raises(MlflowException, match="no deployment 'moon'") as refused:
        getattr(client, verb)("moon")
    assert refused.value.error_code == "RESOURCE_DOES_NOT_EXIST"


def test_deleting_what_is_not_there_is_no_error(client: Any) -> None:
    client.delete_deployment("moon")


def test_a_deployment_is_not_made_twice(measured: MeasuredModels, client: Any) -> None:
    with (
        deployed("stars", measured.folders["plain"], SETTINGS),
        pytest.raises(MlflowException, match="already"),
    ):
        client.create_deployment("stars", "models:/plain/1")


def test_settings_come_as_texts() -> None:
    given = {
        **{"port": "8000", "timeout_seconds": "5", "without_key": "yes", "budget_usd_per_day": "2.5"},
        **{"endpoint.model": "other", "endpoint.timeout_seconds": "7", "trust": "no", "watch_seconds": "3"},
    }
    settings, endpoint, trust, bounds = _read_config(given, ServerSettings())
    assert settings == ServerSettings(port=8000, timeout_seconds=5.0, without_key=True, budget_usd_per_day=2.5)
    assert (endpoint, trust, bounds) == ({"model": "other", "timeout_seconds": 7}, False, {"watch_seconds": "3"})


@pytest.mark.parametrize(
    ("config", "said"),
    [
        ({"prot": "1"}, "no setting 'prot'"),
        ({"port": "web"}, "port is 'web'"),
        ({"without_key": "maybe"}, "give yes or no"),
        ({"endpoint.modle": "x"}, "no setting 'endpoint.modle'"),
        ({"port": "99999"}, "port 99999"),
    ],
)
def test_a_wrong_setting_is_refused_in_words(client: Any, config: dict[str, str], said: str) -> None:
    with pytest.raises(MlflowException, match=said):
        client.create_deployment("stars", "models:/plain/1", config=config)


def test_another_flavor_an_endpoint_and_a_target_address_are_refused(client: Any) -> None:
    with pytest.raises(MlflowException, match="flavor 'keras'"):
        client.create_deployment("stars", "models:/plain/1", flavor="keras")
    with pytest.raises(MlflowException, match="no endpoints"):
        client.get_deployment("stars", endpoint="e")
    with pytest.raises(MlflowException, match="luthier-local:/there"):
        get_deploy_client("luthier-local:/there")


def test_the_help_names_every_setting() -> None:
    shown = target_help()
    assert all(name in shown for name in ServerSettings.__slots__)
    assert "endpoint.NAME" in shown
