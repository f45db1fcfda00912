"""The controller with real servers: updates under load, rollbacks, kill -9 of everything, and what is left then."""

from __future__ import annotations

import http.client
import json
import os
import shutil
import signal
import subprocess
import sys
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any
from urllib.parse import urlparse

import pytest

from luthier.deployments.fetching import resolved_model
from luthier.deployments.plan import DeploymentRequest
from luthier.deployments.records import DeploymentRecord, deployment_folder, revision_folder
from luthier.deployments.store import DeploymentStore
from luthier.packaging.folder import DATA
from luthier.packaging.loading import located
from luthier.packaging.recorded_answers import FILE
from luthier.processes import start_time
from luthier.serving.server_file import ServerFile
from luthier.serving.settings import ServerSettings
from tests.patience import PATIENCE_SECONDS, until

pytestmark = [pytest.mark.slow, pytest.mark.skipif(sys.platform == "win32", reason="deployments need unix sockets")]

WATCH_SECONDS = 1
PAUSE_SECONDS = 0.01
"""Between two requests of a client: servers that start need the processor too."""
BODY = json.dumps({"dataframe_split": {"columns": ["text"], "data": [["a lovely place, visit 3"]]}})
ANSWERS = {"1": "good", "2": "bad"}
"""What each version answers."""


class Scene:
    """A store of deployments with a controller that looks after it."""

    def __init__(self) -> None:
        self.store = DeploymentStore()
        self.start_controller()

    def start_controller(self) -> None:
        program = "import sys; from luthier.deployments.controller import main; sys.exit(main(alias_seconds=0.5))"
        self.controller = subprocess.Popen([sys.executable, "-P", "-c", program])
        until(lambda: (found := self.store.controller()) is not None and found.pid == self.controller.pid)

    def deploy(self, uri: str, name: str = "mood", **config: str) -> int:
        request = DeploymentRequest(
            name=name,
            model_uri=uri,
            settings=ServerSettings(port=0, without_key=True, timeout_seconds=20),
            # How soon a server answers says nothing of it on a busy machine.
            config={"watch_seconds": str(WATCH_SECONDS), "latency_factor": "1000", **config},
        )
        return self.store.add_revision(request, resolved_model(uri))

    def wait(self, test: Callable[[DeploymentRecord], object], name: str = "mood") -> float:
        """Waits until a deployment is as it should be; returns the seconds."""
        begun = time.monotonic()
        while not test(found := self.store.one(name)):
            if time.monotonic() - begun > PATIENCE_SECONDS:
                said = "\n".join(one.words for one in self.store.events(name))
                raise AssertionError(f"it is {found}\n{said}")
            time.sleep(0.02)
        return time.monotonic() - begun

    def serving(self, number: int, name: str = "mood") -> float:
        def serves(found: DeploymentRecord) -> bool:
            revision = found.revision(number)
            assert revision is None or revision.state != "failed", revision
            return found.serving is not None and found.serving.number == number

        return self.wait(serves, name)

    def pid(self) -> int:
        serving = self.store.one("mood").serving
        assert serving is not None and serving.process is not None
        return serving.process.pid

    def ask(self) -> tuple[int, str | None, str]:
        """Status, revision and label of one request on a connection of its own."""
        with connection(self.store.one("mood").url) as made:
            return asked(made)

    def close(self) -> None:
        for one in self.store.deployments():
            self.store.delete(one.name)
        if self.controller.poll() is not None:
            self.start_controller()
        with suppress(AssertionError):
            until(lambda: not self.store.deployments())
        self.controller.terminate()
        self.controller.wait(PATIENCE_SECONDS)
        left = [one.process for found in self.store.deployments() for one in found.revisions if one.process]
        for process in left:
            if start_time(process.pid) == process.start_time:
                os.kill(process.pid, signal.SIGKILL)
        self.store.close()
        assert not left


@contextmanager
def connection(url: str) -> Iterator[http.client.HTTPConnection]:
    made = http.client.HTTPConnection(urlparse(url).netloc, timeout=PATIENCE_SECONDS)
    try:
        yield made
    finally:
        made.close()


def asked(made: http.client.HTTPConnection) -> tuple[int, str | None, str]:
    made.request("POST", "/invocations", BODY, {"Content-Type": "application/json"})
    reply = made.getresponse()
    document: Any = json.loads(reply.read())
    label = document["predictions"][0]["label"] if reply.status == 200 else str(document)
    return reply.status, reply.getheader("X-Luthier-Revision"), label


@pytest.fixture
def scene(mood_store: str, clean_home: Path) -> Iterator[Scene]:
    made = Scene()
    yield made
    made.close()


@contextmanager
def load(scene: Scene) -> Iterator[Counter[tuple[int, str | None, str] | str]]:
    """Clients that ask again and again: two that keep their connection, two with a new one for each request."""
    seen: Counter[tuple[int, str | None, str] | str] = Counter()
    stopping, url = threading.Event(), scene.store.one("mood").url

    def client(keeps: bool) -> None:
        while not stopping.wait(PAUSE_SECONDS):
            with connection(url) as made:
                try:
                    seen[asked(made)] += 1
                    while keeps and not stopping.wait(PAUSE_SECONDS):
                        seen[asked(made)] += 1
                except (OSError, http.client.HTTPException) as error:
                    seen[repr(error)] += 1

    threads = [threading.Thread(target=client, args=(keeps,)) for keeps in (True, True, False, False)]
    for thread in threads:
        thread.start()
    yield seen
    stopping.set()
    for thread in threads:
        thread.join(PATIENCE_SECONDS)


def test_an_update_and_a_rollback_under_load_fail_no_request(scene: Scene) -> None:
    scene.deploy("models:/mood/1")
    scene.serving(1)
    assert scene.ask() == (200, "1", "good")
    with load(scene) as seen:
        warm = scene.pid()
        scene.deploy("models:/mood/2")
        scene.serving(2)
        scene.wait(lambda _: seen[200, "2", "bad"] > 10)
        assert scene.store.rollback("mood") == 1
        scene.serving(1)
        assert scene.pid() == warm
        before = seen[200, "1", "good"]
        scene.wait(lambda _: seen[200, "1", "good"] > before + 10)
    assert set(seen) == {(200, "1", "good"), (200, "2", "bad")}
    assert min(seen.values()) > 10
    assert scene.ask() == (200, "1", "good")


def test_a_tampered_model_is_refused_and_what_serves_goes_on(scene: Scene, tmp_path: Path) -> None:
    scene.deploy("models:/mood/1")
    scene.serving(1)
    # The weights of version 2 with the answers that were recorded of version 1.
    tampered = shutil.copytree(located("models:/mood/2"), tmp_path / "tampered")
    shutil.copy(located("models:/mood/1") / DATA / FILE, tampered / DATA / FILE)
    scene.deploy(str(tampered))
    scene.deploy(str(tampered))
    with load(scene) as seen:
        scene.wait(lambda found: [one.state for one in found.revisions] == ["serving", "drained", "failed"])
    found = scene.store.one("mood")
    refused = found.revisions[-1]
    assert refused.is_refused and refused.reason is not None and "recorded" in refused.reason
    assert found.serving is not None and found.serving.number == 1
    assert set(seen) == {(200, "1", "good")}


def test_a_killed_controller_and_a_killed_server_have_successors(scene: Scene) -> None:
    scene.deploy("models:/mood/1")
    scene.serving(1)
    pid = scene.pid()
    assert ServerFile.read(revision_folder("mood", 1)).settings.budget_file == deployment_folder("mood") / "spending.db"
    with load(scene) as seen:
        scene.controller.kill()
        scene.controller.wait()
        # As if it had been killed before it wrote down which server it had started.
        scene.store.set_process("mood", 1, None)
        answered = seen.total()
        scene.wait(lambda _: seen.total() > answered + 10)
        scene.start_controller()
        scene.wait(lambda _: any("took over" in one.words for one in scene.store.events("mood")))
    assert scene.pid() == pid
    assert set(seen) == {(200, "1", "good")}
    # It has the listening socket from that server: requests wait although no server is there.
    os.kill(pid, signal.SIGKILL)
    assert scene.ask() == (200, "1", "good")
    second = scene.pid()
    assert second != pid
    os.kill(second, signal.SIGKILL)
    assert scene.ask() == (200, "1", "good")
    assert any("signal 9" in one.words for one in scene.store.events("mood"))


def test_a_moved_alias_is_an_update_and_a_stopped_or_deleted_deployment_leaves_nothing(
    scene: Scene, mood_store: str
) -> None:
    import mlflow

    scene.deploy("models:/mood@champion")
    scene.serving(1)
    mlflow.MlflowClient(mood_store).set_registered_model_alias("mood", "champion", "2")
    scene.serving(2)
    assert scene.ask() == (200, "2", "bad")
    scene.store.stop("mood")
    scene.wait(lambda found: all(one.process is None for one in found.revisions))
    with pytest.raises(ConnectionRefusedError):
        scene.ask()
    assert scene.store.one("mood").serving is None
    scene.store.delete("mood")
    until(lambda: not scene.store.deployments())
    assert not deployment_folder("mood").exists()


def test_a_second_controller_of_a_user_ends_at_once(scene: Scene) -> None:
    done = subprocess.run(
        [sys.executable, "-P", "-m", "luthier.deployments.controller"],
        capture_output=True,
        text=True,
        timeout=PATIENCE_SECONDS,
        check=False,
    )
    assert done.returncode == 2
    assert "another controller" in done.stderr
