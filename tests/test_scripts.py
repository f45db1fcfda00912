"""scripts/register, scripts/score and scripts/deploy in a fresh copy of the repository, as somebody types them."""

from __future__ import annotations

import json
import os
import shutil
import socket
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING

import pandas as pd
import pytest

from tests.patience import PATIENCE_SECONDS

if TYPE_CHECKING:
    from mlflow import MlflowClient

pytestmark = pytest.mark.slow

REPOSITORY = Path(__file__).resolve().parent.parent


class Copy:
    """A copy of the repository with an empty store, home and cache; its prompts ask the model without weights."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder / "luthier"
        (self.folder / "models").mkdir(parents=True)
        for name in ("MLproject", "conda.yaml", "pyproject.toml"):
            shutil.copy(REPOSITORY / name, self.folder)
        for name in ("scripts", "locks"):
            shutil.copytree(REPOSITORY / name, self.folder / name)
        self._link_environment()
        for name in ("task", "stars-baseline", "stars-zero-shot"):
            text = (REPOSITORY / "models" / f"{name}.yaml").read_text()
            (self.folder / "models" / f"{name}.yaml").write_text(text.replace("smollm2-135m-instruct", "deterministic"))
        kept = {name: value for name, value in os.environ.items() if not name.startswith(("MLFLOW_", "LUTHIER_"))}
        self.environment = {
            **kept,
            "LUTHIER_HOME": str(folder / "home"),
            "LUTHIER_CACHE": str(folder / "cache"),
            "LUTHIER_LOCAL_LINGER_SECONDS": "1",
            "PATH": f"{Path(sys.prefix) / 'bin'}:{os.environ['PATH']}",
        }

    def _link_environment(self) -> None:
        """The environment of the tests as `.venv`, up to date by its marker: scripts/setup must not change it."""
        (self.folder / ".venv").mkdir()
        for entry in Path(sys.prefix).iterdir():
            if entry.name != ".made-from":
                (self.folder / ".venv" / entry.name).symlink_to(entry)
        marker = 'echo "$(cat locks/dev.txt pyproject.toml | cksum) locks/dev.txt" > .venv/.made-from'
        subprocess.run(["bash", "-c", marker], cwd=self.folder, check=True)

    def run(self, *command: str) -> subprocess.CompletedProcess[str]:
        done = subprocess.run(
            command,
            capture_output=True,
            text=True,
            cwd=self.folder,
            env=self.environment,
            timeout=PATIENCE_SECONDS,
            check=False,
        )
        assert done.returncode == 0, f"{command}\n{done.stdout}\n{done.stderr}"
        return done

    @property
    def client(self) -> MlflowClient:
        from mlflow import MlflowClient

        return MlflowClient(f"sqlite:///{self.folder}/mlflow.db")

    def versions(self) -> list[int]:
        return sorted(int(version.version) for version in self.client.search_model_versions("name='stars'"))


@pytest.fixture(scope="module")
def copy(tmp_path_factory: pytest.TempPathFactory) -> Copy:
    """A copy in which the best sample spec was registered through `mlflow run`."""
    made = Copy(tmp_path_factory.mktemp("scripts"))
    made.run("mlflow", "run", ".", "-e", "register", "--env-manager", "local")
    return made


def test_the_best_sample_spec_is_registered_by_mlflow_run(copy: Copy) -> None:
    experiment = copy.client.get_experiment_by_name("stars")
    assert experiment is not None
    measured = copy.client.search_runs([experiment.experiment_id], "tags.`luthier.kind` = 'candidate'")
    best = max(measured, key=lambda run: run.data.metrics["qwk"])
    assert {run.data.params["name"] for run in measured} == {"stars-baseline", "stars-zero-shot"}
    assert copy.client.get_model_version_by_alias("stars", "champion").tags["luthier.spec"] == best.data.params["name"]


def test_a_champion_that_is_there_is_kept(copy: Copy) -> None:
    before = copy.versions()
    assert "models:/stars@champion is there" in copy.run("scripts/register").stderr
    assert copy.versions() == before


def test_an_option_registers_another_version(copy: Copy) -> None:
    before = copy.versions()
    assert "models:/stars@challenger" in copy.run("scripts/register", "--alias", "challenger").stdout
    assert copy.versions() == [*before, before[-1] + 1]


def test_score_writes_a_row_for_each_review(copy: Copy) -> None:
    copy.run("scripts/score")
    scored = pd.read_csv(copy.folder / "data" / "scored.csv")
    assert len(scored) == len(pd.read_csv(copy.folder / "data" / "reviews.csv"))
    assert scored["state"].eq("ok").all()


def test_score_takes_tables_and_options(copy: Copy) -> None:
    copy.run("scripts/score", "data/test.csv", "data/test-scored.csv", "--dry-run")
    assert not (copy.folder / "data" / "test-scored.csv").exists()


@pytest.fixture
def port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def test_deploy_asks_the_champion_one_question_and_says_how_to_stop_it(copy: Copy, port: int) -> None:
    try:
        said = copy.run("mlflow", "run", ".", "-e", "deploy", "--env-manager", "local", "-P", f"port={port}")
        (line,) = [line for line in said.stdout.splitlines() if line.startswith('{"predictions"')]
        assert json.loads(line)["predictions"][0]["state"] == "ok"
        assert "luthier deploy stop stars" in said.stderr
    finally:
        copy.run("luthier", "deploy", "delete", "stars", "--yes")
