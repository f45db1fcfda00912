"""The server that a user's processes share: its leases, and when it ends.

Its states: starting (listens, not yet announced) -> serving -> leaving. It is announced in
`$LUTHIER_HOME/local/server.json` by itself, while the process that started it holds `local/lock`.
A lease is a pid and that process's start time; leases of ended processes are dropped. It leaves when
there has been no lease, no request in flight and no unfinished job for the linger time; from then on
leases are refused and the announcement is gone, so that the next client starts another one.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import secrets
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from aiohttp import web
from filelock import FileLock

from luthier.errors import EndpointError
from luthier.home import local_folder
from luthier.processes import build_of_luthier, start_time
from luthier_local.api_errors import ApiError, invalid_value
from luthier_local.app import Application
from luthier_local.jobs.job_service import JobSettings
from luthier_local.json_bodies import decode_body, json_response
from luthier_local.model_card import ModelCard
from luthier_local.server import host, leave_on_signal, listen_on
from luthier_local.weights import weights_cached

__all__ = ["LINGER_VARIABLE", "Leases", "jobs_folder", "run_service", "service_models"]

LINGER_VARIABLE = "LUTHIER_LOCAL_LINGER_SECONDS"


def service_models() -> list[ModelCard]:
    """What the shared server serves."""
    return [
        ModelCard("smollm2-135m-instruct", backend="llama", context_tokens=4096),
        ModelCard("wordllama-256", backend="wordllama", chat=False, completions=False, embeddings=True),
        ModelCard("wordllama-tunable", backend="tunable", completions=False),
        ModelCard("deterministic", embeddings=True),
    ]


def jobs_folder() -> Path:
    """Folder of the files, jobs and tuned models that a user's servers share."""
    return local_folder() / "jobs"


class Leases:
    """The processes that use the server, and since when there is none.

    Args:
        linger_seconds: How long the server stays without any.
        clock: Seconds that only grow.
        started: When a pid's process started, `None` if it has ended.
    """

    def __init__(
        self,
        linger_seconds: float,
        clock: Callable[[], float] = time.monotonic,
        started: Callable[[int], str | None] = start_time,
    ) -> None:
        self._linger = linger_seconds
        self._clock = clock
        self._started = started
        self._held: dict[int, str] = {}
        self._idle_since = clock()
        self.leaving = False

    def __len__(self) -> int:
        return len(self._held)

    def take(self, pid: int, started: str) -> None:
        """Records that a process uses the server.

        Raises:
            ApiError: The server is leaving, or there is no such process.
        """
        if self.leaving:
            raise ApiError(409, "This server is leaving; start another one.", code="leaving")
        if self._started(pid) != started:
            raise ApiError(400, f"No process {pid} started at {started}.", code="no_such_process")
        self._held[pid] = started

    def give_back(self, pid: int) -> None:
        """Records that a process no longer uses the server."""
        self._held.pop(pid, None)
        self._idle_since = self._clock()

    def should_leave(self, busy: bool) -> bool:
        """Drops the leases of ended processes; returns whether the server has been unused for the linger time."""
        now = self._clock()
        for pid, started in list(self._held.items()):
            if self._started(pid) != started:
                del self._held[pid]
                self._idle_since = now
        if self._held or busy:
            self._idle_since = now
        elif now - self._idle_since >= self._linger:
            self.leaving = True
        return self.leaving


def run_service() -> None:
    """Serves until no process needs it; announces itself once it listens. Called by `--service`."""
    linger = float(os.environ.get(LINGER_VARIABLE, "60"))
    folder = local_folder()
    token = secrets.token_hex(24)
    application = Application(service_models(), token, jobs=JobSettings(jobs_folder()))
    leases = Leases(linger)
    _add_routes(application, leases)
    listener = listen_on(0)
    mine = {
        "pid": os.getpid(),
        "started": start_time(os.getpid()),
        "port": listener.getsockname()[1],
        "token": token,
        "build": build_of_luthier(),
    }

    async def main() -> None:
        leave = leave_on_signal()
        watching = asyncio.create_task(_watch(application, leases, leave, min(1.0, linger / 4 + 0.05)))
        await host(application, listener, leave, lambda: _announce(folder, mine), grace_seconds=2.0)
        leases.leaving = True
        watching.cancel()

    try:
        asyncio.run(main())
    finally:
        _withdraw(folder, token)


async def _watch(application: Application, leases: Leases, leave: asyncio.Event, every: float) -> None:
    # Once it leaves, for whatever reason, the store must not be read: it is being closed.
    while not leave.is_set() and not leases.should_leave(busy=application.busy):
        await asyncio.sleep(every)
    leave.set()


def _add_routes(application: Application, leases: Leases) -> None:
    async def take(request: web.Request) -> web.StreamResponse:
        body = decode_body(await request.read())
        pid, started = body.get("pid"), body.get("started")
        if not isinstance(pid, int) or not isinstance(started, str):
            raise invalid_value("pid", "expected a pid and `started`, its process's start time.")
        leases.take(pid, started)
        return json_response({"leases": len(leases)})

    async def give_back(request: web.Request) -> web.StreamResponse:
        leases.give_back(int(request.match_info["pid"]))
        return json_response({"leases": len(leases)})

    async def load(request: web.Request) -> web.StreamResponse:
        body = decode_body(await request.read())
        card = application.registry.named(body.get("model"))
        if not weights_cached(card.id):
            raise ApiError(409, f"The weights of {card.id} are not here yet; fetch them first.", code="weights_missing")
        await application.registry.backend(card)
        return json_response({"model": card.id, "digest": application.registry.digest(card)})

    application.router.add_control("POST", "/_luthier/leases", take)
    application.router.add_control("DELETE", "/_luthier/leases/{pid:[0-9]+}", give_back)
    application.router.add_control("POST", "/_luthier/load", load)


def _announce(folder: Path, mine: dict[str, Any]) -> None:
    # mkstemp makes it 0600: the token opens the server.
    descriptor, name = tempfile.mkstemp(prefix=".server-", dir=folder)
    with os.fdopen(descriptor, "w") as file:
        json.dump(mine, file)
    Path(name).replace(folder / "server.json")


def _withdraw(folder: Path, token: str) -> None:
    announced = folder / "server.json"
    with contextlib.suppress(OSError, ValueError, EndpointError):
        if not _is_of(announced, token):
            # It could not start: the process that waits for it holds the lock, and has to learn of it now.
            return
        with FileLock(folder / "lock", mode=0o600):
            # By now it may be a successor's.
            if _is_of(announced, token):
                announced.unlink()


def _is_of(announced: Path, token: str) -> bool:
    return bool(json.loads(announced.read_text()).get("token") == token)
