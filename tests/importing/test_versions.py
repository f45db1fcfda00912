"""Imported models in the registry: each recipe of a model is one version, also in stores that lack much."""

from __future__ import annotations

import json
import os
import socket
import subprocess
import sys
import threading
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import mlflow
import pytest

import luthier as lt
from luthier.errors import ModelError
from luthier.importing.versions import ALIAS, IMPORTED, ImportedVersion, register_imported
from luthier.techniques.finetune import Tuned
from luthier.tracking.runs import TAGS, begin_run
from luthier.tracking.stores import experiment_called
from tests.conftest import KEY
from tests.patience import PATIENCE_SECONDS

PLACE = "https://api.openai.com/v1"
MODEL = "ft:gpt:me:stars:abc"


def spec_of(task: lt.Task, template: str = "Stars for: {{ text }}", model: str = MODEL) -> lt.FineTune:
    result = Tuned(model=model, job="ftjob-1", base_model="gpt", run_id="r1")
    return lt.FineTune(task, template, answer="score", endpoint=lt.openai("gpt"), tuned=result, name="stars")


def job_run(task: lt.Task) -> str:
    return begin_run(experiment_called(task.name), "tune stars", "tune", {}).run_id


def register(spec: lt.FineTune, run: str, name: str = "stars", **given: Any) -> ImportedVersion:
    assert spec.tuned is not None
    return register_imported(spec, run, place=PLACE, model=spec.tuned.model, name=name, **given)


def versions(name: str = "stars") -> list[Any]:
    return list(mlflow.MlflowClient().search_model_versions(f"name = '{name}'"))


@pytest.mark.usefixtures("store")
def test_a_model_is_registered_once_and_comes_from_its_job(task: lt.Task) -> None:
    spec, run = spec_of(task), job_run(task)
    first = register(spec, run, tags={"luthier.job": "ftjob-1"}, alias="deployed")
    assert (first.label, first.happened, first.note) == ("stars/1", "new", "")
    (version,) = versions()
    assert version.run_id == run
    assert version.tags[IMPORTED] == f"{PLACE} {MODEL}"
    assert version.tags["luthier.job"] == "ftjob-1"
    again = register(spec, run, tags={"luthier.job": "ftjob-1"}, alias="deployed")
    assert (again.label, again.happened, again.note) == ("stars/1", "unchanged", "")
    loaded = lt.load("models:/stars@deployed")
    assert loaded.spec.digest == spec.digest
    assert len(versions()) == 1


@pytest.mark.usefixtures("store")
def test_what_is_newly_known_of_a_version_is_written_onto_it(task: lt.Task) -> None:
    spec, run = spec_of(task), job_run(task)
    register(spec, run, tags={"luthier.deployment_state": "Creating"})
    again = register(spec, run, tags={"luthier.deployment_state": "Succeeded"})
    assert (again.label, again.happened) == ("stars/1", "updated")
    assert versions()[0].tags["luthier.deployment_state"] == "Succeeded"


@pytest.mark.usefixtures("store")
def test_another_recipe_of_the_same_model_is_a_new_version_and_says_so(task: lt.Task) -> None:
    run = job_run(task)
    register(spec_of(task), run)
    again = register(spec_of(task, "Rate: {{ text }}"), run, name="renamed meanwhile")
    assert (again.label, again.happened) == ("stars/2", "new")
    assert "not that of version 1" in again.note
    back = register(spec_of(task), run)
    assert (back.label, back.happened) == ("stars/1", "unchanged")


@pytest.mark.usefixtures("store")
@pytest.mark.parametrize("model", ["it's", 'say "x"', "both ' and \"", "a\\b", "%", "ft:a:b:c:d OR 1=1"])
def test_quotes_in_a_models_name_find_that_model_and_no_other(task: lt.Task, model: str) -> None:
    run = job_run(task)
    register(spec_of(task), run)
    assert register(spec_of(task, model=model), run, name="other").happened == "new"
    assert register(spec_of(task, model=model), run, name="other").happened == "unchanged"
    assert len(versions("other")) == 1


@pytest.mark.usefixtures("store")
def test_a_recipe_that_needs_training_is_not_registered(task: lt.Task) -> None:
    few = lt.Prompt(task, "{{ text }}", examples=3, endpoint=lt.openai("gpt"))
    with pytest.raises(ModelError, match="luthier fit"):
        register_imported(few, job_run(task), place=PLACE, model="gpt", name="stars")
    with pytest.raises(lt.LuthierError, match="not tuned yet"):
        register_imported(spec_of(task).untuned(), job_run(task), place=PLACE, model="gpt", name="stars")


def test_no_key_is_in_anything_that_was_written(
    task: lt.Task, store: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("OPENAI_API_KEY", KEY)
    register(spec_of(task), job_run(task))
    written = [path for path in tmp_path.rglob("*") if path.is_file()]
    assert len(written) > 10
    assert not [path for path in written if KEY.encode() in path.read_bytes()]


LACKS = {
    "aliases": ("/registered-models/alias",),
    "prompts": ("mlflow.prompt",),
    "logged models": ("/logged-models",),
}
"""What a request of a newer interface holds in its path or its body."""


@pytest.fixture(scope="module")
def mlflow_server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """A real tracking server with a database."""
    folder = tmp_path_factory.mktemp("served")
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    server = subprocess.Popen(
        [Path(sys.executable).parent / "mlflow", "server", "--host", "127.0.0.1", "--port", str(port), "--workers", "1",
         "--backend-store-uri", f"sqlite:///{folder}/mlflow.db", "--serve-artifacts",
         "--artifacts-destination", str(folder / "artifacts"), "--default-artifact-root", "mlflow-artifacts:/"],
        env={**os.environ, "MLFLOW_SERVER_ENABLE_JOB_EXECUTION": "false"}, cwd=folder,
        stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, start_new_session=True,
    )  # fmt: skip
    try:
        deadline = time.monotonic() + PATIENCE_SECONDS
        while True:
            try:
                with urllib.request.urlopen(f"http://127.0.0.1:{port}/health", timeout=PATIENCE_SECONDS):
                    break
            except OSError:
                assert time.monotonic() < deadline and server.poll() is None
                # Polled, because a server has no other way to say that it listens.
                time.sleep(0.2)
        yield f"http://127.0.0.1:{port}"
    finally:
        os.killpg(server.pid, 15)
        server.wait()


OF_THE_CONNECTION = ("host", "connection", "content-length", "transfer-encoding")


@contextmanager
def lacking(upstream: str, status: int, marks: tuple[str, ...]) -> Iterator[str]:
    """A server before the real one that does not know some of its interfaces."""

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def answer(self) -> None:
            body = b"".join(self.parts())
            # A file that is kept may speak of an interface; it is no request of it.
            is_file = self.path.startswith("/api/2.0/mlflow-artifacts/")
            if not is_file and any(mark in self.path or mark.encode() in body for mark in marks):
                code = "ENDPOINT_NOT_FOUND" if status == 404 else "NOT_IMPLEMENTED"
                return self.reply(status, json.dumps({"error_code": code, "message": "no such interface"}).encode())
            kept = {name: value for name, value in self.headers.items() if name.lower() not in OF_THE_CONNECTION}
            asked = urllib.request.Request(upstream + self.path, body or None, kept, method=self.command)
            try:
                with urllib.request.urlopen(asked, timeout=PATIENCE_SECONDS) as given:
                    self.reply(given.status, given.read())
            except urllib.error.HTTPError as refused:
                self.reply(refused.code, refused.read())

        def parts(self) -> Iterator[bytes]:
            if "content-length" in self.headers:
                yield self.rfile.read(int(self.headers["content-length"]))
            elif self.headers.get("transfer-encoding") == "chunked":
                while size := int(self.rfile.readline(), 16):
                    yield self.rfile.read(size)
                    self.rfile.readline()
                self.rfile.readline()

        def reply(self, status: int, body: bytes) -> None:
            self.send_response(status)
            self.send_header("content-type", "application/json")
            self.send_header("content-length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        do_GET = do_POST = do_PUT = do_PATCH = do_DELETE = answer  # noqa: N815 - the base class calls them so

        def log_message(self, format: str, *args: Any) -> None: ...  # noqa: A002 - the base class calls it so

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        thread = threading.Thread(target=server.serve_forever, args=(0.01,))
        thread.start()
        try:
            yield f"http://127.0.0.1:{server.server_port}"
        finally:
            server.shutdown()
            thread.join()


@pytest.mark.slow
@pytest.mark.parametrize(
    ("lacks", "status"),
    [(("aliases",), 404), (("prompts",), 501), (("logged models",), 404), (tuple(LACKS), 501)],
    ids=str,
)
def test_a_registry_that_lacks_something_gets_the_version_and_the_import_says_so(
    task: lt.Task, mlflow_server: str, lacks: tuple[str, ...], status: int
) -> None:
    task = lt.Task(f"stars-{'-'.join(lacks).replace(' ', '-')}-{status}", type="rating", labels=list(task.labels))
    name = task.name
    with lacking(mlflow_server, status, tuple(mark for one in lacks for mark in LACKS[one])) as uri:
        mlflow.set_tracking_uri(uri)
        spec, run = spec_of(task, model=f"ft:gpt:me::{status}{len(name)}"), job_run(task)
        first = register(spec, run, name=name, alias="deployed")
        assert (first.label, first.happened) == (f"{name}/1", "new")
        for one, said in (("aliases", "no aliases"), ("prompts", "no prompt registry"), ("logged models", "no logged")):
            assert (said in first.note) == (one in lacks)
        (version,) = versions(name)
        assert version.run_id == run
        assert version.tags.get(ALIAS) == ("deployed" if "aliases" in lacks else None)
        assert version.tags[TAGS["spec_digest"]] == spec.digest
        again = register(spec, run, name=name, alias="deployed")
        assert (again.label, again.happened) == (f"{name}/1", "unchanged")
        assert lt.load(first.model_uri).spec.digest == spec.digest
