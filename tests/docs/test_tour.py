"""The tour of the README, typed as it stands there, on made-up reviews and the deterministic model."""

from __future__ import annotations

import os
import shlex
import subprocess
from pathlib import Path

import pandas as pd
import pytest

from tests.cli.conftest import Ended, Run, run  # noqa: F401  (a fixture)
from tests.docs.pages import REPOSITORY, blocks

pytestmark = pytest.mark.slow

REFUSED = 'luthier promote stars --alias champion --require "qwk >= champion"'


def typed(line: str, run: Run) -> Ended:  # noqa: F811
    """How a line ends: our own commands in this process, which has loaded MLflow, others in a shell."""
    name, *words = shlex.split(line, comments=True)
    if name == "luthier":
        return run(*words)
    environment = {key: value for key, value in os.environ.items() if not key.startswith("MLFLOW")}
    done = subprocess.run(
        ["bash", "-c", line], capture_output=True, text=True, check=False, env=environment, timeout=300
    )
    return Ended(done.returncode, done.stdout, done.stderr)


def test_the_tour_goes_as_it_is_written(quickstarted: Path, run: Run) -> None:  # noqa: F811
    for line in (
        "luthier compare models --test data/test.csv --train data/train.csv",
        "luthier log models/stars-baseline.yaml --train data/train.csv --register stars --alias champion",
    ):
        assert typed(line, run).code == 0
    lines = [line for body in blocks(REPOSITORY / "README.md", "sh tour") for line in body.splitlines() if line.strip()]
    assert len(lines) >= 9
    for line in lines:
        if line.startswith(". .venv"):
            continue
        done = typed(line, run)
        # A gate may hold: whether it does is up to the figures, not to the tour.
        allowed = (0, 5) if line == REFUSED else (0,)
        assert done.code in allowed, f"{line}\n{done.out}\n{done.err}"
        assert "Traceback" not in done.err
    assert len(pd.read_parquet("data/scored.parquet")) == len(pd.read_csv("data/scored.csv")) == 30


def test_the_fine_tuning_page_begins_as_it_is_written(quickstarted: Path, run: Run) -> None:  # noqa: F811
    """Its first spec, then its first commands: the base model is really trained."""
    page = REPOSITORY / "docs" / "tune.md"
    (quickstarted / "models" / "stars-ft.yaml").write_text(blocks(page, "yaml")[0])
    lines = blocks(page, "sh tour")[0].splitlines()
    assert [line.split()[1] for line in lines] == ["tune", "tune", "compare"]
    for line in lines:
        done = typed(line, run)
        assert done.code == 0, f"{line}\n{done.out}\n{done.err}"
    assert "stars-ft-tuned" in done.out
