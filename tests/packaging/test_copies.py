"""Code that travels: what a model carries for environments without luthier, and what the wheel holds."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import sysconfig
import zipfile
from pathlib import Path

import mlflow
import pytest

import luthier as lt
from luthier.endpoints import Endpoint
from tests.conftest import REPOSITORY
from tests.patience import PATIENCE_SECONDS

pytestmark = [pytest.mark.usefixtures("store"), pytest.mark.slow]

ANSWER = """
import importlib.util, json, sys
assert importlib.util.find_spec("luthier") is None
import mlflow, pandas
*_, model = [mlflow.pyfunc.load_model(folder) for folder in sys.argv[1:]]
found = model.predict(pandas.DataFrame({"text": ["a lovely day", "an awful day"]}))
import luthier
print(json.dumps({"labels": found["label"].tolist(), "luthier": luthier.__file__}))
"""


def logged(task: lt.Task, endpoint: Endpoint) -> Path:
    spec = lt.Prompt(task, "Stars for: {{ text }}", answer="score", endpoint=endpoint, name="zero")
    return Path(mlflow.artifacts.download_artifacts(lt.log(spec).uri))


def answer_without_luthier(*folders: Path, cwd: Path) -> subprocess.CompletedProcess[str]:
    """Loads the models one after the other in one process and asks the last."""
    # -S: the development install of luthier is not found, only what lies in the environment's folder itself.
    return subprocess.run(
        [sys.executable, "-S", "-c", ANSWER, *map(str, folders)],
        env={**os.environ, "PYTHONPATH": sysconfig.get_path("purelib")},
        cwd=cwd, capture_output=True, text=True, check=False, timeout=PATIENCE_SECONDS,
    )  # fmt: skip


def test_a_model_with_a_remote_endpoint_carries_no_embedded_server(task: lt.Task, endpoint: Endpoint) -> None:
    copies = logged(task, endpoint) / "code" / "luthier_copy"
    assert [folder.name for folder in copies.iterdir()] == ["luthier"]


def test_a_model_carries_nothing_of_the_dashboards_environment(task: lt.Task, endpoint: Endpoint) -> None:
    assert not list((logged(task, endpoint) / "code").rglob("requirements.txt"))


def test_a_model_carries_nothing_that_only_finds_trains_or_deploys_models(task: lt.Task, endpoint: Endpoint) -> None:
    copy = logged(task, endpoint) / "code" / "luthier_copy" / "luthier"
    rooms = {folder.name for folder in copy.iterdir() if folder.is_dir()}
    assert not rooms & {"serving", "deployments", "sweeps", "importing", "model_choice", "model_catalogue"}
    assert {"packaging", "engine", "techniques", "model_names"} <= rooms


def test_a_local_model_answers_from_the_code_it_carries(
    task: lt.Task, clean_home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("LUTHIER_LOCAL_LINGER_SECONDS", "0.3")
    folder = logged(task, lt.embedded("deterministic"))
    done = answer_without_luthier(folder, cwd=clean_home)
    assert done.returncode == 0, done.stderr[-3000:]
    said = json.loads(done.stdout.splitlines()[-1])
    assert Path(said["luthier"]).is_relative_to(folder)
    assert set(said["labels"]) <= set(task.labels)
    log = (clean_home / "local" / "server.log").read_text()
    assert "Traceback" not in log


def test_a_local_model_answers_after_one_that_carries_no_embedded_server(
    task: lt.Task, endpoint: Endpoint, clean_home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("LUTHIER_LOCAL_LINGER_SECONDS", "0.3")
    folders = logged(task, endpoint), logged(task, lt.embedded("deterministic"))
    done = answer_without_luthier(*folders, cwd=clean_home)
    assert done.returncode == 0, done.stderr[-3000:]


def test_the_wheel_holds_both_packages(tmp_path: Path) -> None:
    uv = REPOSITORY / ".tools" / "bin" / "uv"
    command = [str(uv) if uv.exists() else "uv", "build", "--quiet", "--wheel", "--out-dir", str(tmp_path)]
    subprocess.run([*command, str(REPOSITORY)], check=True)
    (wheel,) = tmp_path.glob("*.whl")
    names = zipfile.ZipFile(wheel).namelist()
    assert {"luthier/__init__.py", "luthier/__main__.py", "luthier_local/__main__.py"} <= set(names)
    assert not [name for name in names if "test" in name.split("/")[0]]
    # Files without which no dashboard is made.
    program = "luthier/responsible_ai/isolated"
    assert {f"{program}/launch.py", f"{program}/requirements.txt"} <= set(names)
