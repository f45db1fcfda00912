"""The tour of the README, typed as it stands there, on made-up reviews and the deterministic model."""

from __future__ import annotations

import os
import subprocess
from pathlib import Path

import pandas as pd
import pytest

from tests.docs.pages import REPOSITORY, blocks

pytestmark = pytest.mark.slow

REFUSED = 'luthier promote stars --alias champion --require "qwk >= champion"'


def typed(line: str, environment: dict[str, str]) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        ["bash", "-c", line], capture_output=True, text=True, check=False, env=environment, timeout=300
    )


def test_the_tour_goes_as_it_is_written(quickstarted: Path) -> None:
    environment = {key: value for key, value in os.environ.items() if not key.startswith("MLFLOW")}
    started = typed(
        "luthier compare models --test data/test.csv --train data/train.csv && "
        "luthier log models/stars-baseline.yaml --train data/train.csv --register stars --alias champion",
        environment,
    )
    assert started.returncode == 0, started.stderr
    lines = [line for body in blocks(REPOSITORY / "README.md", "sh tour") for line in body.splitlines() if line.strip()]
    assert len(lines) >= 9
    for line in lines:
        if line.startswith(". .venv"):
            continue
        done = typed(line, environment)
        # A gate may hold: whether it does is up to the figures, not to the tour.
        allowed = (0, 5) if line == REFUSED else (0,)
        assert done.returncode in allowed, f"{line}\n{done.stdout}\n{done.stderr}"
        assert "Traceback" not in done.stderr
    assert len(pd.read_parquet("data/scored.parquet")) == len(pd.read_csv("data/scored.csv")) == 30


def test_the_fine_tuning_page_begins_as_it_is_written(quickstarted: Path) -> None:
    """Its first spec, then its first commands: the base model is really trained."""
    page = REPOSITORY / "docs" / "tune.md"
    environment = {key: value for key, value in os.environ.items() if not key.startswith("MLFLOW")}
    (quickstarted / "models" / "stars-ft.yaml").write_text(blocks(page, "yaml")[0])
    lines = blocks(page, "sh tour")[0].splitlines()
    assert [line.split()[1] for line in lines] == ["tune", "tune", "compare"]
    for line in lines:
        done = typed(line, environment)
        assert done.returncode == 0, f"{line}\n{done.stdout}\n{done.stderr}"
    assert "stars-ft-tuned" in done.stdout
