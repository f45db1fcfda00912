"""Commands that only read, in an empty folder: they make nothing there, and say what to type first."""

from __future__ import annotations

from pathlib import Path

import mlflow
import pytest

import luthier as lt
from tests.cli.conftest import Run


@pytest.fixture(autouse=True)
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty working folder, whose store no test before has named."""
    mlflow.set_tracking_uri(None)
    made = tmp_path / "work"
    made.mkdir()
    monkeypatch.chdir(made)
    return made


@pytest.mark.parametrize(
    ("words", "lacks", "first"),
    [
        ("report", "no run of a task", "luthier compare"),
        ("report abc", "no run 'abc'", "luthier compare"),
        ("report models:/stars@champion", "no registered model models:/stars@champion", "luthier compare"),
        ("prompts", "no run of a task", "luthier compare"),
        ("prompts --task stars", "no task 'stars'", "luthier compare"),
        ("judge abc --judge judge.yaml", "no run", "luthier compare"),
        ("promote stars --alias champion", "no registered model 'stars'", "luthier compare"),
        ("log runs:/abc", "no run runs:/abc", "luthier compare"),
        ("score models:/stars@champion in.csv out.csv", "no model at models:/stars@champion", "luthier compare"),
        ("serve models:/stars@champion --no-key", "no model at models:/stars@champion", "luthier compare"),
        ("import mlflow models:/stars/1", "no model at models:/stars/1", "luthier compare"),
        ("import mlflow prompts:/stars/1", "no prompt prompts:/stars/1", "luthier compare"),
        ("tune watch ftjob-1", "no job 'ftjob-1'", "luthier tune attach"),
        ("sweep status", "no sweep", "luthier sweep FILE"),
        ("sweep best --storage sqlite:///mine.db", "mine.db", "luthier sweep FILE"),
    ],
)
def test_a_command_that_only_reads_names_what_comes_first_and_makes_nothing(
    run: Run, folder: Path, words: str, lacks: str, first: str
) -> None:
    ended = run(*words.split())
    assert ended.code == 2, ended.out
    assert lacks in ended.err
    assert first in ended.err
    assert list(folder.iterdir()) == []


@pytest.mark.parametrize(
    ("words", "says"),
    [
        ("catalogue retiring", "No model is registered"),
        ("tune list", "no jobs yet"),
        ("batches list", "no batch is open"),
        ("journal size", "0 answers"),
        ("deploy status", "no deployments"),
    ],
)
def test_an_empty_list_is_said_to_be_empty_and_makes_nothing(run: Run, folder: Path, words: str, says: str) -> None:
    ended = run(*words.split())
    assert ended.code == 0, ended.err
    assert says in ended.out
    assert list(folder.iterdir()) == []


def test_a_store_that_is_named_is_not_made_by_reading(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MLFLOW_TRACKING_URI", f"sqlite:///{folder}/other.db")
    with pytest.raises(lt.ModelError, match=r"other\.db.*MLFLOW_TRACKING_URI"):
        lt.report()
    assert list(folder.iterdir()) == []
