"""score survives kill -9 and Ctrl-C: what was paid for is kept, the output is the uninterrupted one."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import mlflow
import pytest

import luthier as lt
from luthier.endpoints import Endpoint, Limits
from luthier.engine.shared_journal import MOST_UNCOMMITTED
from luthier_local import Fault, LocalServer, ModelCard
from tests.conftest import KEY, reviews
from tests.patience import PATIENCE_SECONDS, until

pytestmark = [pytest.mark.usefixtures("store"), pytest.mark.slow]

ROWS = 600
IN_FLIGHT = 16


@pytest.fixture
def slow_server(monkeypatch: pytest.MonkeyPatch) -> Iterator[LocalServer]:
    """A server that takes 50 ms for an answer."""
    monkeypatch.setenv("STARS_KEY", KEY)
    with LocalServer(models=[ModelCard("stars-model")], api_key=KEY, latency_seconds=0.05) as running:
        yield running


@pytest.fixture
def model(task: lt.Task, slow_server: LocalServer) -> lt.Model:
    endpoint = Endpoint(
        provider="compatible", base_url=slow_server.base_url, model="stars-model", api_key_env="STARS_KEY",
        price={"input_usd_per_million": 1, "output_usd_per_million": 1}, limits=Limits(concurrency=IN_FLIGHT),
    )  # fmt: skip
    spec = lt.Prompt(task, "Stars for: {{ text }}", answer="score", endpoint=endpoint, name="zero")
    reviews(ROWS).to_csv("in.csv", index=False)
    return lt.log(spec, register="stars", alias="champion")


def start() -> subprocess.Popen[bytes]:
    with open("score.log", "ab") as log:
        return subprocess.Popen(
            [sys.executable, "-m", "luthier.cli.main", "score", "models:/stars@champion", "in.csv", "out.csv"],
            stdout=log, stderr=log, env={**os.environ, "MLFLOW_TRACKING_URI": f"sqlite:///{Path.cwd()}/mlflow.db"},
        )  # fmt: skip


def after(server: LocalServer, requests: int, process: subprocess.Popen[bytes]) -> None:
    """Waits until the process has sent so many requests; the last of them is held, so that it cannot end before."""
    until(lambda: server.received.total >= requests or process.poll() is not None)
    assert process.poll() is None, Path("score.log").read_text()


def test_killed_in_the_middle_it_asks_again_only_what_was_not_in_the_journal(
    model: lt.Model, slow_server: LocalServer
) -> None:
    slow_server.faults.add(Fault("held", nth=range(ROWS // 3, ROWS)))
    process = start()
    after(slow_server, ROWS // 3, process)
    process.send_signal(signal.SIGKILL)
    process.wait(PATIENCE_SECONDS)
    slow_server.faults.clear()
    assert not Path("out.csv").exists()
    assert start().wait(PATIENCE_SECONDS) == 0, Path("score.log").read_text()
    assert slow_server.received.total - ROWS <= IN_FLIGHT + MOST_UNCOMMITTED
    model.score_file("in.csv", "uninterrupted.csv")
    assert Path("out.csv").read_bytes() == Path("uninterrupted.csv").read_bytes()


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_interrupted_it_drains_and_loses_nothing(
    model: lt.Model, slow_server: LocalServer, number: signal.Signals
) -> None:
    slow_server.faults.add(Fault("held", nth=range(ROWS // 3, ROWS)))
    process = start()
    after(slow_server, ROWS // 3, process)
    process.send_signal(number)
    until(lambda: "stopping" in Path("score.log").read_text())
    slow_server.faults.clear()
    assert process.wait(PATIENCE_SECONDS) == 130, Path("score.log").read_text()
    assert "Traceback" not in Path("score.log").read_text()
    assert not Path("out.csv").exists()
    (run,) = mlflow.search_runs(
        search_all_experiments=True, filter_string="tags.`luthier.kind` = 'score'", output_format="list"
    )
    assert run.info.status == "KILLED"
    assert run.data.metrics["spent_usd"] > 0
    assert start().wait(PATIENCE_SECONDS) == 0
    assert slow_server.received.total == ROWS
