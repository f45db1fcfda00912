"""luthier deploy, as it is typed: what it would do, what it does, and what it says of mistakes."""

from __future__ import annotations

import json
import socket
import sys
from collections.abc import Iterator
from pathlib import Path

import mlflow
import pytest

from luthier.deployments import supervision
from luthier.home import luthier_home
from luthier.serving.scoring_client import predictions_for
from luthier.tracking.model_runs import write_kept_runs
from tests.cli.conftest import Run
from tests.deployments.conftest import mood_store, moods  # noqa: F401

pytestmark = pytest.mark.skipif(sys.platform == "win32", reason="deployments need unix sockets")


@pytest.fixture
def port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


@pytest.fixture
def controller() -> Iterator[None]:
    yield
    supervision.stop()


@pytest.mark.usefixtures("mood_store")
def test_a_dry_run_says_every_step_and_makes_nothing(run: Run, port: int) -> None:
    done = run("deploy", "models:/mood@champion", "--target", "local", "--port", port, "--dry-run")
    assert done.code == 0, done.err
    assert f"127.0.0.1:{port}" in done.out
    assert "version 1" in done.out
    assert "nothing was changed or sent" in done.err
    assert not (luthier_home() / "deployments" / "mood").exists()


@pytest.mark.usefixtures("mood_store")
@pytest.mark.parametrize(
    ("typed", "said"),
    [
        (("models:/mood@champion", "--target", "local", "--name", "My Stars"), "small letters"),
        (("models:/mood/9", "--target", "local"), "models:/mood/9"),
        (("models:/mood@champion", "--target", "local", "--config", "patience"), "KEY=VALUE"),
        (("models:/mood@champion", "--target", "local", "--config", "patience=3"), "patience"),
        (("models:/mood@champion", "--target", "local", "--host", "0.0.0.0", "--no-key"), "luthier keys add"),
        (("models:/mood@champion", "--target", "moon"), "'moon'"),
        (("status", "moods"), "no deployment"),
        (("rollback", "moods"), "no deployment"),
    ],
)
def test_a_mistake_says_what_to_type(run: Run, typed: tuple[str, ...], said: str) -> None:
    done = run("deploy", *typed)
    assert done.code == 2
    assert said in done.err
    assert "Traceback" not in done.err


@pytest.mark.slow
@pytest.mark.usefixtures("mood_store", "controller")
def test_a_deployment_from_its_first_answer_to_its_end(run: Run, port: int, tmp_path: Path) -> None:
    row = [{"text": "a lovely place, visit 3"}]
    done = run("deploy", "models:/mood@champion", "--target", "local", "--port", port)
    assert done.code == 0, done.err
    key = next(word for word in done.out.split() if word.startswith("lk_"))
    assert predictions_for(f"http://127.0.0.1:{port}", row, key=key)[0]["label"] == "good"

    shown = json.loads(run("deploy", "status", "mood", "--json").out)[0]
    assert (shown["status"], shown["version"], shown["ready"]) == ("serving", "1", True)
    assert "lovely" not in run("deploy", "logs", "mood").out

    updated = run("deploy", "models:/mood/2", "--target", "local", "--name", "mood", "--config", "watch_seconds=1")
    assert updated.code == 0, updated.err
    assert predictions_for(f"http://127.0.0.1:{port}", row, key=key)[0]["label"] == "bad"

    back = json.loads(run("deploy", "rollback", "mood", "--json").out)
    assert (back["status"], back["revision"]) == ("serving", 1)
    assert predictions_for(f"http://127.0.0.1:{port}", row, key=key)[0]["label"] == "good"

    assert write_kept_runs() == 0
    client = mlflow.MlflowClient()
    experiments = [one.experiment_id for one in client.search_experiments()]
    second, first = client.search_runs(experiments, "tags.`luthier.kind` = 'deploy'", order_by=["start_time DESC"])
    assert first.data.params == {
        **{"deployment": "mood", "target": "local", "url": f"http://127.0.0.1:{port}", "revision": "1"},
    }
    assert (second.data.params["revision"], second.data.params["config.watch_seconds"]) == ("2", "1")
    for number, one in ((1, first), (2, second)):
        assert one.data.tags["luthier.model_version"] == f"mood/{number}"
        linked = [model.model_id for model in client.get_run(one.info.run_id).inputs.model_inputs]
        assert [f"models:/{model_id}" for model_id in linked] == [client.get_model_version("mood", str(number)).source]

    assert "stopped" in run("deploy", "stop", "mood").out
    assert run("deploy", "delete", "mood", "--yes").code == 0
    assert supervision.state().controller_pid is None
    assert "no deployments" in run("deploy", "status").out
