"""The tracking store when commands share it."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import mlflow
import pandas as pd
import pytest

from luthier import api
from luthier.tasks.task import Task
from luthier.techniques import Baseline
from tests.patience import PATIENCE_SECONDS


@pytest.mark.slow
def test_first_commands_at_once_share_the_store_they_make(train: pd.DataFrame) -> None:
    train.to_csv("train.csv", index=False)
    commands = []
    for number in range(3):
        Path(f"spec{number}.yaml").write_text(
            "task: {name: stars, type: rating, text: text, label: stars, labels: [1, 2, 3, 4, 5]}\n"
            f"name: baseline{number}\ntechnique: baseline\n"
        )
        commands.append(
            subprocess.Popen(
                [sys.executable, "-m", "luthier.cli.main", "fit", f"spec{number}.yaml", "--train", "train.csv"],
                stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True,
            )
        )  # fmt: skip
    for command in commands:
        said, _ = command.communicate(timeout=PATIENCE_SECONDS)
        assert command.returncode == 0, said
    mlflow.set_tracking_uri(f"sqlite:///{Path.cwd()}/mlflow.db")
    runs = mlflow.search_runs(experiment_names=["stars"])
    assert set(runs["tags.mlflow.runName"]) == {"fit baseline0", "fit baseline1", "fit baseline2"}


@pytest.mark.usefixtures("store")
def test_what_was_fitted_once_is_not_fitted_again(task: Task, train: pd.DataFrame) -> None:
    first, _ = api.FitSetup(Baseline(task), train).fit_and_log()
    again, _ = api.FitSetup(Baseline(task, name="renamed"), train).fit_and_log()
    assert again.digest == first.digest
    assert again.spec.name == "renamed"
