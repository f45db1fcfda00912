"""What a comparison does once: its tables are read once, its specs are measured once."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pandas as pd
import pytest

import luthier as lt
from luthier.endpoints import RunOptions
from luthier.evaluation.metrics import measure
from luthier.experiments.compare import ComparisonSetup
from tests.cli.conftest import Run, run
from tests.conftest import reviews
from tests.memory_tracker import MemoryTracker

__all__ = ["run"]


@pytest.fixture
def read(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Names of the tables that become rows of a task, one for each time."""
    tables: list[str] = []
    rows = lt.Task.rows

    def counted(self: lt.Task, table: Any, *, labelled: bool = False, source: str = "the table") -> Any:
        tables.append(source)
        return rows(self, table, labelled=labelled, source=source)

    monkeypatch.setattr(lt.Task, "rows", counted)
    return tables


@pytest.mark.usefixtures("store")
def test_a_command_reads_each_of_its_tables_once(run: Run, read: list[str], tmp_path: Path) -> None:
    for name, seed in (("train", 1), ("may", 2), ("june", 3)):
        reviews(40, seed=seed).to_csv(tmp_path / f"{name}.csv", index=False)
    task = "task: {name: stars, type: rating, text: text, label: stars, labels: [1, 2, 3, 4, 5]}\n"
    for seed in (1, 2):
        (tmp_path / f"spec{seed}.yaml").write_text(f"{task}technique: baseline\nseed: {seed}\n")
    specs = [tmp_path / "spec1.yaml", tmp_path / "spec2.yaml"]
    tests = ["--test", tmp_path / "may.csv", "--test", tmp_path / "june.csv"]
    assert run("compare", *specs, *tests, "--train", tmp_path / "train.csv").code == 0
    assert sorted(read) == ["june", "may", "the training table"]


def test_each_spec_is_measured_once_however_often_the_board_is_shown(
    task: lt.Task, table: pd.DataFrame, train: pd.DataFrame, monkeypatch: pytest.MonkeyPatch
) -> None:
    measured: list[int] = []

    def counted(readings: Any, **settings: Any) -> Any:
        measured.append(len(readings))
        return measure(readings, **settings)

    monkeypatch.setattr("luthier.evaluation.ranking.measure", counted)
    specs = [lt.Baseline(task, name=f"b{seed}", seed=seed) for seed in range(4)]
    tracker = MemoryTracker()
    board = ComparisonSetup(specs, {"test": table}, train).run(RunOptions(), tracker=tracker)
    # Four specs and what always answers the most frequent label.
    assert sum(measured) == 5
    children = tracker.of_kind("candidate")
    assert [run.metrics["qwk"] for run in children] == [
        board.leaderboard.entry(run.name).metrics["qwk"] for run in children
    ]


def test_a_plan_and_the_comparison_after_it_read_the_tables_once(
    task: lt.Task, table: pd.DataFrame, train: pd.DataFrame, read: list[str]
) -> None:
    setup = ComparisonSetup([lt.Baseline(task, name="b")], {"test": table}, train)
    tracker = MemoryTracker()
    assert str(setup.plan(tracker=tracker)) == ""
    board = setup.run(tracker=tracker)
    assert sorted(read) == ["test", "the training table"]
    assert [run.kind for run in tracker.runs] == ["compare", "candidate"]
    assert all(run.ended for run in tracker.runs)
    assert board.run_id == tracker.runs[0].run_id
    assert tracker.runs[1].parent == board.run_id
    assert tracker.runs[0].files.keys() == {"leaderboard.json", "report.html"}
