"""The server that a person's processes share: found, started once, leased, left."""

from __future__ import annotations

import contextlib
import json
import os
import signal
import stat
import subprocess
import sys
import urllib.request
from collections.abc import Iterator
from pathlib import Path

import openai
import pytest

from luthier.errors import EndpointError, MissingPart
from luthier.processes import start_time
from luthier.providers.local_service import attach
from luthier_local.api_errors import ApiError
from luthier_local.service import Leases
from tests.patience import PATIENCE_SECONDS, until

pytestmark = pytest.mark.slow

ATTACH = "from luthier.providers.local_service import attach; s = attach('deterministic'); print(s.pid, s.port)"


def announced(home: Path) -> dict[str, object]:
    found: dict[str, object] = json.loads((home / "local" / "server.json").read_text())
    return found


@pytest.fixture
def home(clean_home: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """A home whose server, if a test starts one, does not outlive the test."""
    monkeypatch.setenv("LUTHIER_LOCAL_LINGER_SECONDS", "0.3")
    yield clean_home
    try:
        pid = int(str(announced(clean_home)["pid"]))
    except OSError:
        return
    # It may be leaving by itself.
    with contextlib.suppress(ProcessLookupError):
        os.kill(pid, signal.SIGTERM)
    until(lambda: start_time(pid) is None)


def test_attach_starts_a_server_that_answers(home: Path) -> None:
    service = attach("deterministic")
    with openai.OpenAI(base_url=service.base_url, api_key=service.token) as client:
        assert client.completions.create(model="deterministic", prompt="x").choices
        assert {model.id for model in client.models.list()} == {
            "deterministic",
            "smollm2-135m-instruct",
            "wordllama-256",
            "wordllama-tunable",
        }
    assert service.digest_of("deterministic").startswith("sha256:")


def test_the_second_attach_finds_the_first_ones_server(home: Path) -> None:
    assert attach() == attach("deterministic")


def test_processes_that_race_start_one_server(home: Path) -> None:
    # Each keeps its lease until all have one.
    command = [sys.executable, "-c", f"{ATTACH}; print(flush=True); input()"]
    racing = [
        subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, bufsize=1) for _ in range(4)
    ]
    said = {process.stdout.readline().strip() for process in racing if process.stdout is not None}
    for process in racing:
        process.communicate("\n", timeout=PATIENCE_SECONDS)
    assert len(said) == 1
    assert "" not in said


def test_after_kill_9_another_one_is_started(home: Path) -> None:
    first = attach()
    os.kill(first.pid, signal.SIGKILL)
    second = attach("deterministic")
    assert second.pid != first.pid
    assert second.digest_of("deterministic")


def test_a_pid_that_is_somebody_elses_by_now_is_not_trusted(home: Path) -> None:
    service = attach()
    file = home / "local" / "server.json"
    file.write_text(json.dumps({**announced(home), "pid": os.getpid(), "started": "long ago"}))
    other = attach()
    assert other.pid != service.pid
    os.kill(service.pid, signal.SIGTERM)


def test_it_leaves_when_the_last_lease_is_gone(home: Path) -> None:
    done = subprocess.run([sys.executable, "-c", ATTACH], stdout=subprocess.PIPE, text=True, check=True)
    pid = int(done.stdout.split()[0])
    until(lambda: start_time(pid) is None)
    assert not (home / "local" / "server.json").exists()


def test_a_lease_given_back_lets_it_leave_too(home: Path) -> None:
    service = attach()
    service.release()
    until(lambda: start_time(service.pid) is None)


def test_sigterm_ends_it_and_takes_the_announcement_away(home: Path) -> None:
    service = attach()
    os.kill(service.pid, signal.SIGTERM)
    until(lambda: start_time(service.pid) is None)
    assert not (home / "local" / "server.json").exists()


def test_only_its_owner_may_read_the_token(home: Path) -> None:
    service = attach()
    file = home / "local" / "server.json"
    assert stat.S_IMODE(file.stat().st_mode) == 0o600
    assert stat.S_IMODE(file.parent.stat().st_mode) == 0o700
    assert service.token not in repr(service)
    assert service.token not in (home / "local" / "server.log").read_text()


def test_an_unknown_model_is_named_with_what_is_served(home: Path) -> None:
    with pytest.raises(EndpointError, match=r"`gpt-9`.*smollm2-135m-instruct"):
        attach("gpt-9")
    with pytest.raises(EndpointError, match="gpt-9"):
        attach().digest_of("gpt-9")


def test_weights_that_cannot_be_fetched_are_named_with_the_cure(
    home: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("LUTHIER_CACHE", str(tmp_path / "cache"))
    monkeypatch.setenv("PIP_NO_INDEX", "1")
    with pytest.raises(MissingPart, match="WordLlama.*could not be fetched"):
        attach("wordllama-256")


def test_a_server_that_cannot_start_says_why(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("LUTHIER_LOCAL_LINGER_SECONDS", "soon")
    with pytest.raises(EndpointError, match="soon"):
        attach()
    assert not (home / "local" / "server.json").exists()


def test_a_server_whose_store_is_damaged_says_so(home: Path) -> None:
    jobs = home / "local" / "jobs"
    jobs.mkdir(parents=True)
    (jobs / "jobs.db").write_bytes(b"no database" * 100)
    with pytest.raises(EndpointError, match="not a database.*move it away") as said:
        attach()
    # It used to wait for the lock of its starter, until that gave up.
    assert "not begun to listen" not in str(said.value)


def test_leases_of_ended_processes_are_dropped() -> None:
    now = [0.0]
    running = {7: "a", 8: "b"}
    leases = Leases(60, clock=lambda: now[0], started=running.get)
    leases.take(7, "a")
    with pytest.raises(ApiError):
        leases.take(8, "older")
    now[0] = 1000
    assert not leases.should_leave(busy=False)
    del running[7]
    assert not leases.should_leave(busy=False)
    assert len(leases) == 0
    now[0] += 59
    assert not leases.should_leave(busy=False)
    now[0] += 1
    assert not leases.should_leave(busy=True)
    now[0] += 60
    assert leases.should_leave(busy=False)
    with pytest.raises(ApiError) as caught:
        leases.take(8, "b")
    assert caught.value.status == 409


def test_the_foreground_server_says_where_it_is_and_ends_at_sigterm(clean_home: Path) -> None:
    running = subprocess.Popen(
        [sys.executable, "-W", "error", "-m", "luthier_local"],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env={**os.environ, "PYTHONUNBUFFERED": "1"},
    )
    assert running.stdout is not None
    said = [running.stdout.readline() for _ in range(6)]
    base_url = said[0].split()[-1]
    key = (clean_home / "local" / "key").read_text()
    assert key not in "".join(said)
    assert stat.S_IMODE((clean_home / "local" / "key").stat().st_mode) == 0o600
    request = urllib.request.Request(base_url + "/models", headers={"Authorization": f"Bearer {key}"})
    with urllib.request.urlopen(request) as response:
        assert response.status == 200
    running.send_signal(signal.SIGTERM)
    _, errors = running.communicate(timeout=PATIENCE_SECONDS)
    assert (running.returncode, errors) == (0, "")


def test_a_missing_gguf_is_named(clean_home: Path) -> None:
    done = subprocess.run(
        [sys.executable, "-m", "luthier_local", "--gguf", "nowhere.gguf"], capture_output=True, text=True, check=False
    )
    assert done.returncode == 2
    assert "nowhere.gguf" in done.stderr
    assert "Traceback" not in done.stderr
