"""score survives kill -9 and Ctrl-C: what was paid for is kept, the output is the uninterrupted one."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import mlflow
import pytest

import luthier as lt
from luthier.endpoints import Endpoint, Limits
from luthier.engine.shared_journal import MOST_UNCOMMITTED
from luthier_local import LocalServer, ModelCard
from tests.conftest import KEY, reviews
from tests.patience import PATIENCE_SECONDS

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
    deadline = time.monotonic() + PATIENCE_SECONDS
    while server.received.total < requests:
        assert process.poll() is None, Path("score.log").read_text()
        assert time.monotonic() < deadline
        time.sleep(0.01)


def test_killed_in_the_middle_it_asks_again_only_what_was_not_in_the_journal(
    model: lt.Model, slow_server: LocalServer
) -> None:
    process = start()
    after(slow_server, ROWS // 3, process)
    process.send_signal(signal.SIGKILL)
    process.wait(PATIENCE_SECONDS)
    assert not Path("out.csv").exists()
    assert start().wait(PATIENCE_SECONDS) == 0, Path("score.log").read_text()
    assert slow_server.received.total - ROWS <= IN_FLIGHT + MOST_UNCOMMITTED
    model.score_file("in.csv", "uninterrupted.csv")
    assert Path("out.csv").read_bytes() == Path("uninterrupted.csv").read_bytes()


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_interrupted_it_drains_and_loses_nothing(
    model: lt.Model, slow_server: LocalServer, number: signal.Signals
) -> None:
    process = start()
    after(slow_server, ROWS // 3, process)
    process.send_signal(number)
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
