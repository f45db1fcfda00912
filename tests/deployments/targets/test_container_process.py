"""What the image would run, run as a plain process from the same files: no container engine is where the tests are."""

from __future__ import annotations

import json
import os
import re
import shutil
import signal
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request
from pathlib import Path
from typing import Any

import pytest

import luthier as lt
from luthier.deployments.deployment_setup import DeploymentSetup
from luthier.deployments.targets.kubernetes import IN_FLIGHT_METRIC
from luthier.endpoints import Endpoint
from luthier_local import LocalServer
from tests.conftest import KEY, REPOSITORY, reviews, stars
from tests.patience import PATIENCE_SECONDS

pytestmark = pytest.mark.slow

ON_THE_HOST = "host.docker.internal"


class Image:
    """The folders of an image, below a folder of the test's own instead of `/`."""

    def __init__(self, built: Path, root: Path) -> None:
        self.root = root
        self.dockerfile = (built / "Dockerfile").read_text(encoding="utf-8")
        for folder in ("opt", "etc/luthier", "run/luthier", "tmp"):
            (root / folder).mkdir(parents=True)
        uv = shutil.which("uv", path=os.pathsep.join([str(REPOSITORY / ".tools" / "bin"), os.environ["PATH"]]))
        assert uv is not None, "no uv on PATH; scripts/setup brings one into .tools"
        self.python = root / "opt/luthier/bin/python"
        for command in (
            [uv, "venv", "--quiet", "--python", sys.executable, root / "opt/luthier"],
            [uv, "pip", "sync", "--quiet", "--python", self.python, "--require-hashes", built / "requirements.lock"],
            [uv, "pip", "install", "--quiet", "--python", self.python, "--no-deps", next(built.glob("*.whl"))],
        ):
            subprocess.run([str(word) for word in command], check=True, timeout=300)
        shutil.copytree(built / "model", root / "model")
        # The engine's name for the machine, which has another one where no engine runs.
        endpoint = (built / "endpoint.yaml").read_text(encoding="utf-8").replace(ON_THE_HOST, "127.0.0.1")
        (root / "etc/luthier/endpoint.yaml").write_text(endpoint, encoding="utf-8")

    def command(self, port: int) -> list[str]:
        """ENTRYPOINT and CMD, word for word but for where the folders are, and the address of the server."""
        words = [*self._exec_form("ENTRYPOINT"), *self._exec_form("CMD")]
        assert words[0] == "luthier"
        words = [str(self.python.parent / "luthier"), *(self._inside(word) for word in words[1:])]
        for option, value in (("--host", "127.0.0.1"), ("--port", str(port))):
            words[words.index(option) + 1] = value
        return words

    def healthcheck(self, port: int) -> list[str]:
        words = self._exec_form("    CMD")
        return [str(self.python), *(word.replace("8080", str(port)) for word in words[1:])]

    def environment(self) -> dict[str, str]:
        """The variables that ENV sets, and no others."""
        block = re.search(r"^ENV ((?:.*\\\n)*.*)$", self.dockerfile, re.M)
        assert block is not None
        given = dict(pair.split("=", 1) for pair in block[1].replace("\\\n", " ").split())
        assert given.pop("PATH") == "/opt/luthier/bin:$PATH"
        return {"PATH": str(self.python.parent)} | {name: self._inside(value) for name, value in given.items()}

    def files(self) -> dict[str, int]:
        """When each file outside of /tmp was written."""
        found = [file for file in self.root.rglob("*") if not file.is_relative_to(self.root / "tmp")]
        return {str(file): file.lstat().st_mtime_ns for file in found}

    def _exec_form(self, word: str) -> list[str]:
        found = re.search(rf"^{word} (\[.*\])$", self.dockerfile, re.M)
        assert found is not None
        words: list[str] = json.loads(found[1])
        return words

    def _inside(self, value: str) -> str:
        return f"{self.root}{value}" if value.startswith("/") else value


def asked(url: str, body: Any = None, key: str | None = None) -> tuple[int, Any]:
    headers = {"Content-Type": "application/json"} | ({} if key is None else {"Authorization": f"Bearer {key}"})
    request = urllib.request.Request(url, None if body is None else json.dumps(body).encode(), headers)
    try:
        with urllib.request.urlopen(request, timeout=PATIENCE_SECONDS) as reply:
            return reply.status, json.loads(reply.read() or b"null")
    except urllib.error.HTTPError as error:
        return error.code, None


def wait_until_ready(url: str, server: subprocess.Popen[str]) -> None:
    deadline = time.monotonic() + PATIENCE_SECONDS
    while True:
        try:
            if asked(f"{url}/ready")[0] == 200:
                return
        except OSError:
            pass
        assert server.poll() is None and time.monotonic() < deadline, "the server does not get ready"
        # Polled, because a process has no other way to say that it listens.
        time.sleep(0.1)


@pytest.fixture
def measured(store: str, endpoint: Endpoint) -> lt.Model:
    """A registered model with recorded answers, which a server replays when it starts."""
    spec = lt.Prompt(stars(), "Stars for: {{ text }}", answer="score", examples=4, endpoint=endpoint, name="few")
    board = lt.compare([spec], reviews(20), train=reviews(80, seed=8))
    return board.best.log(register="stars", alias="champion")


def test_the_command_of_the_image_answers_gets_ready_writes_nothing_and_ends_on_sigterm(
    measured: lt.Model, server: LocalServer, tmp_path: Path
) -> None:
    port_asked = server.base_url.rpartition(":")[2]
    DeploymentSetup(
        "models:/stars@champion", "container", name="stars", to=tmp_path / "build",
        endpoint={"base_url": f"http://{ON_THE_HOST}:{port_asked}"},
    ).run()  # fmt: skip
    image = Image(tmp_path / "build", tmp_path / "image")
    made = subprocess.run(
        [image.python.parent / "luthier", "keys", "add", image.root / "run/luthier/keys", "test"],
        env=image.environment(), cwd=image.root / "tmp", capture_output=True, text=True, check=True,
        timeout=PATIENCE_SECONDS,
    )  # fmt: skip
    key = re.search(r"lk_[A-Za-z0-9_-]+", made.stdout)
    assert key is not None
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    url, before = f"http://127.0.0.1:{port}", image.files()
    rows = reviews(3).drop(columns="stars")
    with (tmp_path / "log").open("w+") as log:
        process = subprocess.Popen(
            image.command(port), env={**image.environment(), "STARS_KEY": KEY}, cwd=image.root / "tmp",
            stdin=subprocess.DEVNULL, stdout=log, stderr=log, text=True,
        )  # fmt: skip
        try:
            wait_until_ready(url, process)
            _, readiness = asked(f"{url}/ready")
            body = {"dataframe_records": [{"text": text} for text in rows["text"]]}
            status, answer = asked(f"{url}/invocations", body, key[0])
            healthy = subprocess.run(
                image.healthcheck(port), env=image.environment(), check=False, timeout=PATIENCE_SECONDS
            )
            refused, _ = asked(f"{url}/invocations", body)
            with urllib.request.urlopen(f"{url}/ping", timeout=PATIENCE_SECONDS) as reply:
                version = reply.headers["X-Luthier-Model-Version"]
            with urllib.request.urlopen(f"{url}/metrics", timeout=PATIENCE_SECONDS) as reply:
                metrics = reply.read().decode()
            process.send_signal(signal.SIGTERM)
            code = process.wait(PATIENCE_SECONDS)
        finally:
            process.kill()
            process.wait(PATIENCE_SECONDS)
            log.seek(0)
            said = log.read()
            print(said[-3000:])
    expected = measured.score(rows)
    assert status == 200 and [row["label"] for row in answer["predictions"]] == list(expected["label"])
    assert (healthy.returncode, refused, version, code) == (0, 401, "1", 0)
    assert "20 of 20 recorded answers replayed" in said and readiness["ready"] is True
    # What the autoscaler of a cluster looks at.
    assert f"\n{IN_FLIGHT_METRIC} " in metrics
    assert image.files() == before
    assert KEY not in said and key[0] not in said
