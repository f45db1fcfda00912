"""A sweep survives kill -9 at every point, and Ctrl-C: no trial is lost, no job is bought twice or left running."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path

import openai
import pytest

from luthier.api.sweep_verbs import open_sweep, stop_sweep
from luthier.history.run_report import run_page
from luthier_local import LocalServer, ModelCard
from tests.conftest import KEY, REPOSITORY, reviews
from tests.patience import PATIENCE_SECONDS
from tests.tuning.conftest import BASE

pytestmark = [pytest.mark.usefixtures("store"), pytest.mark.slow]

MODEL = ModelCard(BASE, backend="tunable-hashed", completions=False)
TRIALS = 4


@pytest.fixture
def server(monkeypatch: pytest.MonkeyPatch) -> Iterator[LocalServer]:
    """Takes some seconds for a job, so that a kill meets some that run."""
    monkeypatch.setenv("STARS_KEY", KEY)
    with LocalServer(models=[MODEL], api_key=KEY, training_step_seconds=0.04) as running:
        yield running


@pytest.fixture(autouse=True)
def interruptible() -> Iterator[None]:
    """Tests that run in the background of a shell ignore SIGINT, and so would the commands they start."""
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    yield
    signal.signal(signal.SIGINT, before)


@pytest.fixture(autouse=True)
def files(server: LocalServer) -> None:
    Path("task.yaml").write_text("name: stars\ntype: rating\nlabel: stars\nlabels: [1, 2, 3, 4, 5]\n")
    Path("ft.yaml").write_text(
        'name: ft\ntask: task.yaml\ntechnique: fine-tune\nprompt: {template: "Stars for: {{ text }}"}\nanswer: score\n'
        f"endpoint: {{provider: compatible, base_url: '{server.base_url}', model: {BASE}, api_key_env: STARS_KEY,\n"
        "  price: {input_usd_per_million: 1, output_usd_per_million: 1, training_usd_per_million: 1}}\n"
    )
    Path("sweep.yaml").write_text(
        "spec: ft.yaml\nspace:\n  tuning.epochs: {int: [2, 5]}\n  tuning.batch_size: [4, 8]\n"
        "  tuning.learning_rate_multiplier: {log_uniform: [0.05, 2]}\nearly_stopping: none\n"
    )
    reviews(60, seed=8).to_csv("train.csv", index=False)
    reviews(60, seed=9).to_csv("validation.csv", index=False)


def start() -> subprocess.Popen[bytes]:
    command = ["sweep", "sweep.yaml", "--train", "train.csv", "--validation", "validation.csv"]
    command += ["--trials", str(TRIALS), "--concurrency", "2", "--yes"]
    environment = {
        **os.environ,
        "MLFLOW_TRACKING_URI": f"sqlite:///{Path.cwd()}/mlflow.db",
        "PYTHONPATH": str(REPOSITORY / "src"),
    }
    with open("sweep.log", "ab") as log:
        return subprocess.Popen(
            [sys.executable, "-m", "luthier.cli.main", *command], stdout=log, stderr=log, env=environment
        )


def end_when(reached: Callable[[], bool], number: int) -> int:
    """Sends a signal once something is reached; returns how the command ended."""
    process = start()
    deadline = time.monotonic() + PATIENCE_SECONDS
    try:
        while not reached():
            assert process.poll() is None, Path("sweep.log").read_text()
            assert time.monotonic() < deadline, Path("sweep.log").read_text()
            time.sleep(0.02)
        process.send_signal(number)
        return process.wait(PATIENCE_SECONDS)
    finally:
        process.kill()
        process.wait()


def jobs(server: LocalServer) -> dict[str, str]:
    """Status of every job the service has taken."""
    with openai.OpenAI(base_url=server.base_url, api_key=KEY) as client:
        return {job.id: str(job.status) for job in client.fine_tuning.jobs.list()}


def finish() -> None:
    process = start()
    assert process.wait(PATIENCE_SECONDS) == 0, Path("sweep.log").read_text()


def test_killed_at_three_moments_it_loses_no_trial_and_buys_none_twice(server: LocalServer) -> None:
    def count(status: str) -> int:
        return Counter(jobs(server).values())[status]

    moments: list[Callable[[], bool]] = [
        lambda: len(jobs(server)) >= 1,
        lambda: count("succeeded") >= 1,
        lambda: len(jobs(server)) >= TRIALS,
    ]
    for reached in moments:
        assert end_when(reached, signal.SIGKILL) == -signal.SIGKILL
    finish()
    assert Counter(jobs(server).values()) == {"succeeded": TRIALS}
    found = open_sweep("sweep")
    assert [trial.status for trial in found.trials] == ["complete"] * TRIALS
    assert sorted(trial.job or "" for trial in found.trials) == sorted(jobs(server))


def test_interrupted_it_leaves_no_job_running_and_goes_on_where_it_was(server: LocalServer) -> None:
    code = end_when(lambda: "running" in jobs(server).values(), signal.SIGINT)
    assert code == 130, Path("sweep.log").read_text()
    left = Counter(jobs(server).values())
    assert not left.keys() - {"paused", "succeeded", "cancelled"}, left
    assert "luthier sweep resume" in Path("sweep.log").read_text()
    begun = open_sweep("sweep")
    page = run_page(begun.state.facts.run_id)
    assert any("under way" in section.title for section in page.sections), "what there is so far has its page"
    finish()
    assert Counter(jobs(server).values())["succeeded"] == TRIALS
    # A paused job goes on: what was trained is not paid for again.
    assert len(jobs(server)) == TRIALS + left["cancelled"]


def test_a_sweep_that_is_stopped_cancels_its_jobs_and_can_be_resumed(server: LocalServer) -> None:
    process = start()
    try:
        deadline = time.monotonic() + PATIENCE_SECONDS
        while "running" not in jobs(server).values():
            assert process.poll() is None and time.monotonic() < deadline, Path("sweep.log").read_text()
            time.sleep(0.02)
        stop_sweep("sweep")
        assert not Counter(jobs(server).values()).keys() - {"cancelled", "succeeded"}
        assert process.wait(PATIENCE_SECONDS) == 130
    finally:
        process.kill()
        process.wait()
    finish()
    assert [trial.status for trial in open_sweep().trials] == ["complete"] * TRIALS
