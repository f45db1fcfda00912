"""An emulator nobody here wrote takes our files, orders, looks and cancellations: we speak the protocol."""

from __future__ import annotations

import shutil
import socket
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path

import pandas as pd
import pytest

import luthier as lt
from luthier.endpoints import Endpoint
from luthier.tuning.timing import Timing
from luthier.tuning.tuners import tuner_for
from tests.conftest import reviews
from tests.patience import PATIENCE_SECONDS

pytestmark = [pytest.mark.usefixtures("store"), pytest.mark.slow]

PACKAGE = "@copilotkit/aimock@1.43.0"


@pytest.fixture(scope="module")
def program(tmp_path_factory: pytest.TempPathFactory) -> Path:
    npm, node = shutil.which("npm"), shutil.which("node")
    if npm is None or node is None:
        pytest.skip("npm is not here")
    folder = tmp_path_factory.mktemp("aimock")
    (folder / "package.json").write_text('{"private": true}')
    done = subprocess.run(
        [npm, "install", "--no-audit", "--no-fund", PACKAGE], cwd=folder, capture_output=True, text=True, check=False
    )
    if done.returncode:
        pytest.skip(f"npm could not install it: {done.stderr[-300:]}")
    return folder / "node_modules" / "@copilotkit" / "aimock"


@pytest.fixture
def emulator(program: Path) -> Iterator[str]:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    process = subprocess.Popen(
        ["node", str(program / "dist" / "cli.js"), "-p", str(port), "-f", str(program / "fixtures")],
        stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
    )  # fmt: skip
    deadline = time.monotonic() + PATIENCE_SECONDS
    while True:
        with socket.socket() as probe:
            if probe.connect_ex(("127.0.0.1", port)) == 0:
                break
        assert process.poll() is None, process.stdout and process.stdout.read()
        assert time.monotonic() < deadline
        time.sleep(0.05)
    yield f"http://127.0.0.1:{port}/v1"
    process.terminate()
    process.communicate(timeout=PATIENCE_SECONDS)


@pytest.fixture
def spec(task: lt.Task, emulator: str, monkeypatch: pytest.MonkeyPatch) -> lt.FineTune:
    monkeypatch.setenv("STARS_KEY", "sk-anything-goes-here")
    endpoint = Endpoint(provider="compatible", base_url=emulator, model="gpt-4o-mini", api_key_env="STARS_KEY")
    return lt.FineTune(
        task, "Stars for: {{ text }}", answer="score", endpoint=endpoint, name="aimock", tuning={"epochs": 2}
    )


@pytest.fixture
def timing() -> Timing:
    return Timing(wait=lambda seconds: time.sleep(min(seconds, 0.01)), poll_seconds=0.01)


def test_it_takes_our_order_and_tells_us_how_it_goes(spec: lt.FineTune, train: pd.DataFrame, timing: Timing) -> None:
    job = lt.tune(spec, train, reviews(20, seed=9), timing=timing)
    assert job.state.status == "succeeded"
    assert job.state.tuned_model
    assert job.state.token is not None
    assert lt.tune(spec, train, reviews(20, seed=9), timing=timing).id == job.id
    assert spec.endpoint is not None
    tuner = tuner_for(spec.endpoint)
    assert [found.id for found in tuner.find(job.state.token)] == [job.id]
    assert tuner.events(job.id)[0].message.startswith("Job created")


def test_it_confirms_our_cancellation(spec: lt.FineTune, train: pd.DataFrame, timing: Timing) -> None:
    job = lt.tune(spec, train, detach=True, timing=timing)
    assert job.cancel(timing=timing).state.status == "cancelled"
