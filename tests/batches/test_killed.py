"""Killed with SIGKILL at every state of a batch, the next process goes on, and nothing is bought twice."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import openai
import pytest

from luthier.endpoints import Endpoint, Engine
from luthier.journal.batch_table import BatchTable
from luthier_local import Fault, LocalServer
from tests.batches.asker import ask, requests
from tests.conftest import KEY, REPOSITORY
from tests.patience import PATIENCE_SECONDS, until

pytestmark = pytest.mark.slow

LINES = "batches/chat/completions"
ROWS = 24


def kill_when(
    happened: Callable[[], bool], what: str, endpoint: Endpoint, rows: int = ROWS, more: tuple[str, ...] = ()
) -> None:
    """Starts a process that asks by batch, and kills it as soon as something has happened."""
    given = endpoint.model_dump_json(exclude_defaults=True), str(rows), *more
    program = [sys.executable, "-m", "tests.batches.killed", *given]
    with subprocess.Popen(program, cwd=REPOSITORY, env=os.environ | {"PYTHONPATH": str(REPOSITORY)}) as process:
        try:
            until(lambda: happened() or process.poll() is not None, lambda: f"waited in vain for {what}")
            assert process.poll() is None, f"it ended before {what}"
        finally:
            process.kill()


def came(server: LocalServer, route: str) -> Callable[[], bool]:
    return lambda: bool(server.received.by_path.get(route))


def bought(server: LocalServer) -> int:
    client = openai.OpenAI(base_url=server.base_url, api_key=KEY)
    return len(list(client.batches.list()))


def goes_on(engine: Engine, endpoint: Endpoint, server: LocalServer, rows: int = ROWS) -> None:
    server.faults.clear()
    outcome = ask(engine, requests(rows), endpoint)
    assert outcome.complete
    assert server.received.by_path[LINES] == rows and bought(server) == 1
    assert all(answer.from_journal for answer in engine.run(requests(rows), endpoint))
    assert BatchTable(engine.journal).open() == []


@pytest.mark.parametrize(
    ("fault", "route"),
    [
        (Fault("timeout", path="files", method="POST", times=1), "files"),
        (Fault("done_timeout", path="files", method="POST", times=1), "files"),
        (Fault("timeout", path="batches", method="POST", times=1), "batches"),
        (Fault("done_timeout", path="batches", method="POST", times=1), "batches"),
        (Fault("slow", path="chat/completions", times=8, delay_seconds=2), LINES),
        (Fault("timeout", path="content", method="GET", times=1), "GET files/{id}/content"),
        (Fault("timeout", method="DELETE", times=1), "DELETE files/{id}"),
    ],
    ids=["before_upload", "uploaded", "before_create", "created", "running", "downloading", "collected"],
)
def test_nothing_is_bought_twice(
    fault: Fault, route: str, engine: Engine, endpoint: Endpoint, server: LocalServer
) -> None:
    server.faults.add(fault)
    kill_when(came(server, route), route, endpoint)
    goes_on(engine, endpoint, server)


def test_a_batch_that_was_being_written_is_written_anew(
    engine: Engine, endpoint: Endpoint, server: LocalServer, clean_home: Path
) -> None:
    def written() -> bool:
        return any(part.stat().st_size for part in clean_home.glob("batches/*/*.part"))

    kill_when(written, "lines in a file", endpoint, rows=600, more=("unending",))
    assert "files" not in server.received.by_path
    goes_on(engine, endpoint, server, rows=600)


def test_two_processes_at_once_order_each_request_once(endpoint: Endpoint, server: LocalServer, engine: Engine) -> None:
    program = [sys.executable, "-m", "tests.batches.killed", endpoint.model_dump_json(exclude_defaults=True), str(ROWS)]
    environment = os.environ | {"PYTHONPATH": str(REPOSITORY)}
    both = [subprocess.Popen(program, cwd=REPOSITORY, env=environment) for _ in range(2)]
    assert [process.wait(PATIENCE_SECONDS) for process in both] == [0, 0]
    assert bought(server) == 1 and server.received.by_path[LINES] == ROWS
    assert all(answer.from_journal for answer in engine.run(requests(ROWS), endpoint))
