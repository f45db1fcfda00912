"""The client's side of the embedded server: finds the one that runs, or starts it, and leases it.

The server is another process and is reached by HTTP only; `luthier_local/service.py` draws its states.
"""

from __future__ import annotations

import contextlib
import http.client
import importlib.util
import json
import os
import subprocess
import sys
import time
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from urllib.parse import quote

from luthier.errors import EndpointError, MissingPart
from luthier.home import local_folder

__all__ = ["LocalService", "attach", "ensure_weights", "run_local_program"]

_START_SECONDS = 60.0
_LOAD_SECONDS = 300.0
_POLL_SECONDS = 0.02
_LARGEST_LOG = 1 << 20
_PROGRAM = (sys.executable, "-P", "-m", "luthier_local")


@dataclass(frozen=True)
class LocalService:
    """A running embedded server that this process leases until it ends, or calls `release`."""

    port: int
    token: str = field(repr=False)
    pid: int

    @property
    def base_url(self) -> str:
        """Base URL for an OpenAI client."""
        return f"http://127.0.0.1:{self.port}/v1"

    def digest_of(self, model: str) -> str:
        """Identity of the weights behind a served model.

        Raises:
            EndpointError: The model is not served, or the server has gone.
        """
        status, body = self._ask("GET", f"/v1/models/{quote(model, safe='')}")
        if status == 404:
            raise EndpointError(_said(body))
        if status != 200:
            raise EndpointError(f"the embedded server answered {status}: {_said(body)}")
        return str(body["digest"])

    def release(self) -> None:
        """Gives the lease back before this process ends; a server that has gone is none to give back to."""
        with contextlib.suppress(OSError, http.client.HTTPException, EndpointError):
            self._ask("DELETE", f"/_luthier/leases/{os.getpid()}")

    def _ask(
        self, method: str, path: str, body: dict[str, Any] | None = None, timeout: float = 10.0
    ) -> tuple[int, dict[str, Any]]:
        # Straight to loopback, past any proxy that the environment names.
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=timeout)
        try:
            sent = json.dumps(body).encode() if body is not None else None
            connection.request(method, path, sent, {"Authorization": f"Bearer {self.token}"})
            response = connection.getresponse()
            answer = json.loads(response.read())
            return response.status, answer if isinstance(answer, dict) else {}
        except ValueError as error:
            raise EndpointError(f"port {self.port} answered something else than the embedded server") from error
        finally:
            connection.close()


def attach(model: str | None = None) -> LocalService:
    """Leases the user's embedded server to this process, starting it where none runs.

    Args:
        model: Is made ready to answer too: its weights are fetched, with a progress bar on stderr, and loaded.

    Raises:
        MissingPart: The weights cannot be fetched, or a package is missing.
        EndpointError: The server does not start, or does not serve the model.
    """
    if importlib.util.find_spec("luthier_local") is None:
        raise MissingPart(
            "an endpoint with `provider: local` needs the embedded server, the package luthier_local, which is not "
            'here; type: pip install "luthier[local]"'
        )
    for _ in range(3):
        service = _leased() or _started()
        if service is not None:
            if model is not None:
                _load(service, model)
            return service
    raise EndpointError(f"the embedded server ended as soon as it had started. {_log_tail()}")


def _leased() -> LocalService | None:
    """The announced server, leased; `None` if there is none, it is another build's, or it is leaving."""
    from luthier.processes import build_of_luthier, start_time

    try:
        announced = json.loads((local_folder() / "server.json").read_text())
        service = LocalService(int(announced["port"]), str(announced["token"]), int(announced["pid"]))
        if announced["build"] != build_of_luthier() or start_time(service.pid) != announced["started"]:
            return None
        mine = {"pid": os.getpid(), "started": start_time(os.getpid())}
        status, body = service._ask("POST", "/_luthier/leases", mine)
    except (OSError, ValueError, KeyError, TypeError, http.client.HTTPException):
        return None
    if status not in (200, 409):
        raise EndpointError(f"the embedded server refused a lease with {status}: {_said(body)}")
    return service if status == 200 else None


def _started() -> LocalService | None:
    """Starts a server and leases it, unless another process has done so meanwhile."""
    from filelock import FileLock

    folder = local_folder()
    with FileLock(folder / "lock", mode=0o600):
        service = _leased()
        if service is not None:
            return service
        (folder / "server.json").unlink(missing_ok=True)
        log = folder / "server.log"
        if log.exists() and log.stat().st_size > _LARGEST_LOG:
            log.unlink()
        pid = _spawn(folder, log)
        _wait_until_announced(folder, pid)
        return _leased()


def ensure_weights(model: str) -> None:
    """Fetches what a model of the embedded server needs, with a progress bar on stderr; nothing if it is there.

    Raises:
        MissingPart: The weights cannot be fetched.
    """
    run_local_program("--fetch", model)


def run_local_program(*arguments: str) -> None:
    """Runs `python -m luthier_local` with these arguments to its end; it shows its progress on stderr.

    Raises:
        MissingPart: What the program says a user can correct.
    """
    done = subprocess.run(
        [*_PROGRAM, *arguments], stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, text=True, check=False,
        env=_environment(),
    )  # fmt: skip
    if done.returncode == MissingPart.exit_code:
        raise MissingPart(done.stdout.strip())
    done.check_returncode()


def _environment() -> dict[str, str]:
    environment = dict(os.environ)
    source = Path(__file__).resolve().parents[2]
    if source.name not in ("site-packages", "dist-packages"):
        # Run from a checkout, or from the code a model carries: the program must find it too.
        known = environment.get("PYTHONPATH")
        environment["PYTHONPATH"] = f"{source}{os.pathsep}{known}" if known else str(source)
    return environment


def _spawn(folder: Path, log: Path) -> int:
    # Away from the terminal's Ctrl-C, and from a folder that may be deleted.
    apart: dict[str, Any] = (
        {"creationflags": 0x00000008 | 0x00000200} if sys.platform == "win32" else {"start_new_session": True}
    )
    descriptor = os.open(log, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)
    with os.fdopen(descriptor, "ab") as errors:
        starter = subprocess.Popen(
            [*_PROGRAM, "--service", "--log", str(log)],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=errors,
            cwd=folder,
            env=_environment(),
            **apart,
        )
    assert starter.stdout is not None
    with starter.stdout:
        said = starter.stdout.readline().strip()
    if sys.platform != "win32":
        # On POSIX the starter forks the server and ends at once.
        starter.wait()
    if not said.isdigit():
        raise _start_failure()
    return int(said)


def _wait_until_announced(folder: Path, pid: int) -> None:
    from luthier.processes import start_time

    deadline = time.monotonic() + _START_SECONDS
    while not (folder / "server.json").exists():
        if start_time(pid) is None:
            raise _start_failure()
        if time.monotonic() > deadline:
            waited = f"has not begun to listen within {_START_SECONDS:.0f} s"
            raise EndpointError(f"the embedded server (pid {pid}) {waited}. {_log_tail()}")
        time.sleep(_POLL_SECONDS)


def _load(service: LocalService, model: str) -> None:
    status, body = _asked_to_load(service, model)
    if body.get("error", {}).get("code") == "weights_missing":
        # Not by the server: its terminal is a log, which shows no progress.
        ensure_weights(model)
        status, body = _asked_to_load(service, model)
    if status == 200:
        return
    code = body.get("error", {}).get("code")
    if code == "model_not_found" and model.startswith("ft:"):
        raise EndpointError(
            f"the embedded server here has no tuned model {model}: such a model stays with the LUTHIER_HOME it was "
            "tuned in. Tune it here, too: luthier tune SPEC --train TABLE --validation TABLE"
        )
    raise (MissingPart if code == "missing_part" else EndpointError)(_said(body))


def _asked_to_load(service: LocalService, model: str) -> tuple[int, dict[str, Any]]:
    try:
        return service._ask("POST", "/_luthier/load", {"model": model}, _LOAD_SECONDS)
    except (OSError, http.client.HTTPException) as error:
        raise EndpointError(
            f"the embedded server ended while it loaded {model} ({type(error).__name__}). {_log_tail()}"
        ) from error


def _start_failure() -> EndpointError:
    return EndpointError(f"the embedded server did not start. {_log_tail()}")


def _log_tail() -> str:
    folder = local_folder()
    log = folder / "server.log"
    try:
        lines = log.read_text(errors="replace").splitlines()
    except OSError:
        return f"There is no log in {folder}."
    return f"Its log ({log}) ends with:\n" + "\n".join(lines[-8:])


def _said(body: dict[str, Any]) -> str:
    error = body.get("error")
    return str(error.get("message")) if isinstance(error, dict) else "no message"
