"""Whoever asks a deployment gets what `luthier score` gives, row for row: MLflow's commands and clients, and curl."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import mlflow
import pandas as pd
import pytest
from mlflow.deployments import get_deploy_client
from mlflow.pyfunc.scoring_server.client import ScoringServerClient

import luthier as lt
from luthier.deployments import supervision
from luthier.deployments.deployment import deployment, list_deployments
from luthier.serving.settings import ServerSettings
from tests.conftest import KEY, reviews
from tests.deployments.deployed import deployed
from tests.measured_models import TECHNIQUES, MeasuredModels
from tests.patience import PATIENCE_SECONDS

pytestmark = [pytest.mark.slow, pytest.mark.skipif(sys.platform == "win32", reason="deployments need unix sockets")]

ROWS = 12
SETTINGS = ServerSettings(port=0, without_key=True)
TARGET = ["-t", "luthier-local"]

# The command imports MLflow for ten seconds; one process runs it several times.
COMMANDS = """
import json, sys
from mlflow.cli import cli
for arguments in json.loads(sys.argv[1]):
    cli(["deployments", *arguments], standalone_mode=False)
"""


def run_commands(*commands: list[str]) -> str:
    done = subprocess.run(
        [sys.executable, "-c", COMMANDS, json.dumps(commands)],
        capture_output=True,
        text=True,
        timeout=PATIENCE_SECONDS,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


@pytest.fixture(autouse=True)
def key(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("STARS_KEY", KEY)


def test_mlflows_command_its_client_and_curl_get_what_luthier_score_gives(
    measured: MeasuredModels, tmp_path: Path
) -> None:
    table = reviews(ROWS, seed=11)[["text"]]
    rows = tmp_path / "rows.json"
    table.to_json(rows, orient="records")
    with ExitStack() as running:
        found = {name: running.enter_context(deployed(name, measured.folders[name], SETTINGS)) for name in TECHNIQUES}
        run_commands(
            *(["predict", *TARGET, "--name", name, "-I", str(rows), "-O", str(tmp_path / name)] for name in TECHNIQUES)
        )
        for name, one in found.items():
            port = int(one.url.rpartition(":")[2])
            written = json.loads((tmp_path / name).read_text(encoding="utf-8"))["predictions"]
            answers = {
                "mlflow deployments predict": pd.DataFrame(written),
                "MLflow's client": ScoringServerClient("127.0.0.1", port).invoke(table).get_predictions(),
                "curl": pd.DataFrame(curl(one.url, {"dataframe_split": table.to_dict("split", index=False)})),
            }
            scored = lt.load(str(measured.folders[name])).score(table)
            expected = scored.drop(columns="text").astype(object).where(scored.drop(columns="text").notna(), None)
            for who, answer in answers.items():
                pd.testing.assert_frame_equal(
                    answer.astype(object), expected, check_exact=False, rtol=1e-9, obj=f"{name} by {who}"
                )


@pytest.fixture
def controller(measured: MeasuredModels, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """The controller that a deployment starts ends with the test."""
    monkeypatch.setenv("MLFLOW_TRACKING_URI", f"sqlite:///{measured.store}")
    yield
    if any(one.name == "plain" for one in list_deployments()):
        deployment("plain").delete()
    supervision.stop()


@pytest.mark.usefixtures("controller")
def test_mlflows_commands_make_update_and_delete_a_deployment(measured: MeasuredModels) -> None:
    began = int(time.time() * 1000)
    name = ["--name", "plain"]
    settings = ["-C", "port=0", "-C", "without_key=yes", "-C", "watch_seconds=0"]
    said = run_commands(
        ["create", *TARGET, *name, "-m", "models:/plain/1", *settings],
        ["update", *TARGET, *name, "-m", "models:/plain/1", "-C", "timeout_seconds=9", "-C", "watch_seconds=0"],
        ["list", *TARGET],
        ["get", *TARGET, *name],
    )
    assert "luthier deployment plain is created" in said
    assert "Deployment plain is updated (with flavor luthier)" in said
    assert "'status': 'serving'" in said
    assert "revision: 2" in said
    assert "20 of 20 recorded answers replayed; live 20 of 20 alike" in deployment("plain").description
    client = mlflow.MlflowClient(f"sqlite:///{measured.store}")
    experiments = [one.experiment_id for one in client.search_experiments()]
    runs = client.search_runs(experiments, f"tags.`luthier.kind` = 'deploy' and start_time >= {began}")
    assert sorted(run.data.params["revision"] for run in runs) == ["1", "2"]
    assert get_deploy_client("luthier-local").delete_deployment("plain") is None
    assert list_deployments() == []


def curl(url: str, body: dict[str, Any]) -> Any:
    if shutil.which("curl") is None:
        pytest.skip("there is no curl")
    done = subprocess.run(
        ["curl", "-sS", "-H", "Content-Type: application/json", "-d", json.dumps(body), f"{url}/invocations"],
        capture_output=True,
        text=True,
        timeout=PATIENCE_SECONDS,
        check=True,
    )
    return json.loads(done.stdout)["predictions"]
