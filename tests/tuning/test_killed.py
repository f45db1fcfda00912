"""tune survives kill -9 at every point between: one job at the service, no gap in its figures."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import mlflow
import pandas as pd
import pytest

import luthier as lt
from luthier.tuning.job_runs import tune_runs
from luthier.tuning.timing import Timing
from luthier_local import Fault, LocalServer, ModelCard
from tests.conftest import KEY, REPOSITORY
from tests.patience import PATIENCE_SECONDS
from tests.tuning.conftest import BASE

pytestmark = [pytest.mark.usefixtures("store"), pytest.mark.slow]

ORDERS = '"method"'
COMMAND = ("tune", "ft.yaml", "--train", "train.csv", "--yes")


MODEL = ModelCard(BASE, backend="tunable-hashed", completions=False)


@pytest.fixture
def server(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Iterator[LocalServer]:
    """Its 200 training steps take a minute, so that every machine meets it in the middle; see `hurried`."""
    monkeypatch.setenv("STARS_KEY", KEY)
    folder = tmp_path / "service"
    with LocalServer(models=[MODEL], api_key=KEY, folder=folder, training_step_seconds=0.3) as running:
        yield running


@pytest.fixture(autouse=True)
def interruptible() -> Iterator[None]:
    """Tests that run in the background of a shell ignore SIGINT, and so would the commands they start."""
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    yield
    signal.signal(signal.SIGINT, before)


@contextmanager
def hurried(server: LocalServer, tmp_path: Path) -> Iterator[LocalServer]:
    """A later server in its place, that goes on with its jobs at full speed."""
    port = server.port
    server.stop()
    with LocalServer(models=[MODEL], api_key=KEY, folder=tmp_path / "service", port=port) as quick:
        yield quick


@pytest.fixture
def files(server: LocalServer, train: pd.DataFrame) -> None:
    Path("task.yaml").write_text("name: stars\ntype: rating\nlabel: stars\nlabels: [1, 2, 3, 4, 5]\n")
    Path("ft.yaml").write_text(
        'technique: fine-tune\nprompt: {template: "Stars for: {{ text }}"}\nanswer: score\n'
        f"endpoint: {{provider: compatible, base_url: '{server.base_url}', model: {BASE}, api_key_env: STARS_KEY}}\n"
        "tuning: {epochs: 5, batch_size: 2}\n"
    )
    train.to_csv("train.csv", index=False)


def start() -> subprocess.Popen[bytes]:
    with open("tune.log", "ab") as log:
        return subprocess.Popen(
            [sys.executable, "-m", "luthier.cli.main", *COMMAND],
            stdout=log, stderr=log, env={
                **os.environ,
                "MLFLOW_TRACKING_URI": f"sqlite:///{Path.cwd()}/mlflow.db",
                # The very code that is tested here: of another version the same order may have another digest.
                "PYTHONPATH": str(REPOSITORY / "src"),
            },
        )  # fmt: skip


def kill_when(reached: Callable[[], bool], number: int = signal.SIGKILL) -> int:
    process = start()
    deadline = time.monotonic() + PATIENCE_SECONDS
    while not reached():
        assert process.poll() is None, Path("tune.log").read_text()
        assert time.monotonic() < deadline
        time.sleep(0.01)
    process.send_signal(number)
    try:
        return process.wait(PATIENCE_SECONDS)
    finally:
        process.kill()
        process.wait()


def jobs(server: LocalServer) -> list[str]:
    import openai

    with openai.OpenAI(base_url=server.base_url, api_key=KEY) as client:
        return [job.id for job in client.fine_tuning.jobs.list()]


def go_on() -> lt.Job:
    """The same order, typed again."""
    timing = Timing(wait=lambda seconds: time.sleep(min(seconds, 0.02)))
    return lt.tune(lt.read_spec("ft.yaml"), lt.read_table("train.csv"), timing=timing)


@pytest.mark.usefixtures("files")
@pytest.mark.parametrize(
    ("fault", "jobs_then"),
    [
        (Fault("timeout", path="files", method="POST", times=1), 0),
        (Fault("timeout", path="fine_tuning/jobs", contains=ORDERS, times=1), 0),
        (Fault("done_timeout", path="fine_tuning/jobs", contains=ORDERS, times=1), 1),
    ],
    ids=["in the upload", "before the order is taken", "before its answer is stored"],
)
def test_killed_before_the_job_is_known_the_same_command_goes_on(
    server: LocalServer, fault: Fault, jobs_then: int, tmp_path: Path
) -> None:
    server.faults.add(fault)
    kill_when(lambda: fault.fired == 1)
    deadline = time.monotonic() + PATIENCE_SECONDS
    while len(jobs(server)) < jobs_then:
        assert time.monotonic() < deadline
    (before,) = tune_runs()
    assert before.pending
    with hurried(server, tmp_path) as quick:
        job = go_on()
        assert jobs(quick) == [job.id]
    assert job.run_id == before.run_id
    assert job.state.status == "succeeded"


@pytest.mark.usefixtures("files")
def test_killed_while_watching_the_same_command_goes_on_without_a_gap(server: LocalServer, tmp_path: Path) -> None:
    def some_steps_are_kept() -> bool:
        return any("train_loss" in mlflow.get_run(run.run_id).data.metrics for run in tune_runs())

    kill_when(some_steps_are_kept)
    (before,) = tune_runs()
    assert before.status == "RUNNING"
    with hurried(server, tmp_path) as quick:
        job = go_on()
        assert jobs(quick) == [job.id]
    assert (job.id, job.bought) == (before.job, False)
    points = mlflow.MlflowClient().get_metric_history(job.run_id, "train_loss")
    steps = [point.step for point in points]
    assert steps == list(range(steps[0], 201, steps[0]))


@pytest.mark.usefixtures("files")
@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_interrupted_it_says_how_to_go_on_and_how_to_end_it(
    server: LocalServer, number: signal.Signals, tmp_path: Path
) -> None:
    def some_steps_are_kept() -> bool:
        return any("train_loss" in mlflow.get_run(run.run_id).data.metrics for run in tune_runs())

    assert kill_when(some_steps_are_kept, number) == 130
    said = Path("tune.log").read_text()
    (job,) = jobs(server)
    assert f"luthier tune attach {job}" in said
    assert f"luthier tune cancel {job}" in said
    assert "Traceback" not in said
    with hurried(server, tmp_path):
        assert go_on().id == job
