"""luthier rai: what is printed, written and asked, and how the command ends."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

import luthier as lt
from luthier.endpoints import Endpoint
from luthier.tasks.task import Task
from luthier_local import LocalServer
from tests.cli.conftest import Run
from tests.conftest import reviews
from tests.responsible_ai.conftest import isolated_python

__all__ = ["isolated_python"]

pytestmark = [pytest.mark.usefixtures("store"), pytest.mark.slow]

ALONE = "--no-dashboard"


@pytest.fixture
def uri(task: Task, endpoint: Endpoint) -> str:
    """A model of the server, and rows.csv beside it."""
    reviews(40).assign(region=["north", "south"] * 20).to_csv("rows.csv", index=False)
    spec = lt.Prompt(
        task, "Stars for: {{ text }}", answer="score", endpoint=endpoint, name="zero", gates=["accuracy >= 0.01"]
    )
    return lt.log(spec, register="stars", alias="champion").uri


def test_the_scorecard_is_printed_and_written(run: Run, uri: str) -> None:
    ended = run("rai", uri, "--test", "rows.csv", "--sensitive", "region", "--html", "card.html", ALONE)
    assert ended.code == 0, ended.err
    for said in ("Scorecard: stars/1", "Right on", "Groups of region", "accuracy >= 0.01"):
        assert said in ended.out
    assert "card.html" in ended.err and "mlflow ui" in ended.err
    assert "Scorecard: stars/1" in Path("card.html").read_text(encoding="utf-8")


def test_for_machines_the_scorecard_is_one_document(run: Run, uri: str) -> None:
    ended = run("rai", uri, "--test", "rows.csv", "--json", ALONE)
    told = json.loads(ended.out)
    assert told["data"]["rows"] == 40 and told["passed"] is True and told["run_id"]


def test_a_dry_run_prices_every_option_and_sends_nothing(run: Run, uri: str, server: LocalServer) -> None:
    ended = run("rai", uri, "--test", "rows.csv", "--perturb", "10", "--explain", "4", "--dry-run", ALONE)
    assert ended.code == 0
    for said in ("zero: 40 rows, 40 calls", "zero, perturbed:", "zero, explained:", "nothing was sent"):
        assert said in " ".join(ended.err.split())
    assert server.received.total == 0


def test_a_missed_requirement_is_exit_5_after_the_scorecard(run: Run, uri: str) -> None:
    assert run("rai", uri, "--test", "rows.csv", "--gate", ALONE).code == 0
    ended = run("rai", uri, "--test", "rows.csv", "--require", "accuracy_low >= 0.999", ALONE)
    assert ended.code == 5
    assert "Right on" in ended.out
    assert "does not meet: accuracy_low >= 0.999" in ended.err and "accuracy >= 0.01" not in ended.err


def test_a_file_that_is_no_page_is_named_before_anything_is_asked(run: Run, uri: str, server: LocalServer) -> None:
    Path("mine.html").write_text("<p>my own</p>")
    ended = run("rai", uri, "--test", "rows.csv", "--html", "mine.html", ALONE)
    assert ended.code == 2 and "not a page written by Luthier" in ended.err
    assert server.received.total == 0 and Path("mine.html").read_text() == "<p>my own</p>"


def test_a_gate_without_requirements_is_said(run: Run, uri: str, task: Task, endpoint: Endpoint) -> None:
    bare = lt.log(lt.Prompt(task, "{{ text }}", answer="score", endpoint=endpoint, name="bare")).uri
    ended = run("rai", bare, "--test", "rows.csv", "--gate", ALONE)
    assert ended.code == 2 and "--require" in ended.err


def test_options_that_contradict_each_other_are_said(run: Run, uri: str) -> None:
    assert "--serve" in run("rai", uri, "--test", "rows.csv", "--port", "8000").err
    ended = run("rai", uri, "--test", "rows.csv", "--serve", ALONE)
    assert ended.code == 2 and "--no-dashboard" in ended.err
    ended = run("rai", uri, "--test", "rows.csv", "--sensitive", "regoin", ALONE)
    assert ended.code == 2 and "region" in ended.err


def test_nothing_is_fetched_without_a_yes(run: Run, uri: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("LUTHIER_CACHE", str(tmp_path / "cache"))
    ended = run("rai", uri, "--test", "rows.csv")
    assert ended.code == 0
    assert "Right on" in ended.out
    assert "no dashboards" in ended.err
    assert not (tmp_path / "cache" / "rai").exists()
    ended = run("rai", uri, "--test", "rows.csv", "--serve")
    assert ended.code == 2


def test_a_command_that_is_terminated_leaves_no_texts_behind(
    store: str, task: Task, isolated_python: Path, tmp_path: Path
) -> None:
    reviews(60).to_csv("rows.csv", index=False)
    lt.log(lt.Baseline(task, name="base"), train=reviews(80, seed=8), register="stars", alias="champion")
    scratch = tmp_path / "scratch"
    scratch.mkdir()
    command = [sys.executable, "-m", "luthier", "rai", "models:/stars@champion", "--test", "rows.csv", "--yes"]
    variables = {**os.environ, "TMPDIR": str(scratch), "MLFLOW_TRACKING_URI": store}
    with subprocess.Popen(command, env=variables, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL) as process:
        while not (made := list(scratch.glob("luthier-rai-*/input/rows.parquet"))):
            with pytest.raises(subprocess.TimeoutExpired):  # it runs
                process.wait(0.1)
        assert made[0].parents[1].stat().st_mode & 0o77 == 0
        process.terminate()
    assert process.returncode == 143
    assert not list(scratch.glob("luthier-rai-*"))
