"""The vLLM that answers with adapters: one that runs already, or one that is started on this machine.

    nothing answers --> the card is free --> vllm serve --> adapters come and go --> none left: stopped

A server that was running already is never stopped.
"""

from __future__ import annotations

import json
import os
import signal
import subprocess
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from luthier.errors import EndpointError, SpecError
from luthier.processes import start_time
from luthier.providers.endpoint import Endpoint
from luthier.tuning.tuners.gpu_environment import how_to_make, vllm_program
from luthier.tuning.tuners.gpu_jobs import card_locks, cards, gpu_folder
from luthier.tuning.tuners.http_json import JsonService, ServiceRefused
from luthier.tuning.tuners.tuner import ServiceUnavailable
from luthier.tuning.tuners.waiting import look_until

__all__ = ["MOST_RANK", "Adapter", "VllmServer"]

RANKS = (8, 16, 32, 64, 128, 256, 320, 512)
"""Values of vLLM's --max-lora-rank that are used here."""

MOST_RANK = RANKS[-1]
ADAPTERS_AT_ONCE = 4

LOOPBACK = ("127.0.0.1", "localhost", "::1")
LOADED_SECONDS = 120.0
"""How long an adapter may take to be listed."""

CARD_SECONDS = 3600.0
"""How long a card that trains is waited for."""

STARTED_SECONDS = 1800.0
"""How long a server may take to answer; it may have to fetch the model first."""

STOP_SECONDS = 30.0
LOOK_SECONDS = 0.1
LOG_TAIL_BYTES = 4096

RUNTIME = "VLLM_ALLOW_RUNTIME_LORA_UPDATING"
"""The variable without which vLLM loads no adapter while it runs."""

_started: list[subprocess.Popen[bytes]] = []
"""Servers that this process started, kept because Python warns of those it forgets."""


@dataclass(frozen=True)
class Adapter:
    """An adapter and the name it is asked by.

    Attributes:
        path: its folder.
        base: the model it was trained on.
        rank: of its matrices.
    """

    name: str
    path: Path
    base: str
    rank: int


class VllmServer:
    """The server at an endpoint's address.

    Args:
        endpoint: whose address and key are used.
        wait: waits so many seconds.
        clock: Unix time.
    """

    def __init__(
        self,
        endpoint: Endpoint,
        *,
        wait: Callable[[float], None] = time.sleep,
        clock: Callable[[], float] = time.time,
    ) -> None:
        self._endpoint, self._wait, self._clock = endpoint, wait, clock
        self.address = endpoint.address
        self._service = JsonService(endpoint, self.address)

    def check_name(self, adapter: Adapter) -> None:
        """Refuses a name that is another model's.

        Raises:
            SpecError: says which.
        """
        known = (self._models() or {}).get(adapter.name)
        if known is not None and known.get("root") != str(adapter.path):
            raise SpecError(
                f"vLLM at {self.address} answers by the name {adapter.name!r} with {known.get('root')}; choose another "
                "name, or unload that one first."
            )

    def has(self, name: str) -> bool:
        """Whether an adapter of this name is loaded; of a server that does not answer, none is."""
        return "parent" in (self._models() or {}).get(name, {})

    def load(self, adapter: Adapter) -> None:
        """Loads an adapter, into a server that is started if none answers; returns when it is listed.

        Raises:
            EndpointError: the server cannot be started, has another base model, or refuses the adapter.
            ServiceUnavailable: the card is not free in time, or the adapter is not listed in time.
        """
        with self._alone():
            models = self._models()
            if models is not None and self._is_too_small(adapter, models):
                self._stop()
                models = None
            if models is None:
                self._start(adapter)
            self._until_loaded(adapter)

    def unload(self, name: str) -> None:
        """Unloads an adapter, and stops a server of Luthier's own that has none left."""
        with self._alone():
            if self.has(name):
                self._post("/unload_lora_adapter", f"unloading {name}", {"lora_name": name})
                gone = f"vLLM at {self.address} still answers by the name {name}"
                self._look_until(lambda: None if self.has(name) else True, gone, LOADED_SECONDS)
            if self._pid() is not None and not any("parent" in one for one in (self._models() or {}).values()):
                self._stop()

    def _models(self) -> dict[str, dict[str, Any]] | None:
        """What the server answers with, by name; adapters have a `parent`. `None` where no server answers."""
        try:
            listed = self._service.get("/models", "asking what it serves").get("data") or ()
        except ServiceUnavailable:
            return None
        return {
            str(one["id"]): {name: one[name] for name in ("root", "parent") if one.get(name) is not None}
            for one in listed
        }

    def _until_loaded(self, adapter: Adapter) -> None:
        doing = f"loading {adapter.name}"

        def look() -> bool | None:
            models = self._models()
            if models is None:
                return None
            if adapter.name in models:
                return True
            served = {name for name, one in models.items() if "parent" not in one} | {
                one.get("root") for one in models.values()
            }
            if adapter.base not in served:
                raise EndpointError(
                    f"vLLM at {self.address} serves {', '.join(sorted(filter(None, served)))}, and the adapter "
                    f"{adapter.name} was trained on {adapter.base}. Start it with that model, or stop it: Luthier "
                    "starts one itself where none answers."
                )
            self._post("/load_lora_adapter", doing, {"lora_name": adapter.name, "lora_path": str(adapter.path)})
            return True if adapter.name in (self._models() or {}) else None

        late = f"vLLM at {self.address} has not loaded {adapter.name} within {LOADED_SECONDS:.0f} s"
        self._look_until(look, late, LOADED_SECONDS)

    def _post(self, path: str, doing: str, body: dict[str, str]) -> None:
        try:
            self._service.ask("POST", path, doing, body=body, changes=False)
        except ServiceRefused as refused:
            if refused.status == 404 and "adapter" not in refused.said.lower():
                raise EndpointError(
                    f"vLLM at {self.address} does not load adapters while it runs ({refused.said}). Start it with "
                    f"{RUNTIME}=1 and --enable-lora."
                ) from refused
            raise
        except ServiceUnavailable:
            # Where it succeeds vLLM answers with a sentence, not JSON; its list of models tells what has happened.
            return

    def _is_too_small(self, adapter: Adapter, models: dict[str, dict[str, Any]]) -> bool:
        """Whether a server of Luthier's own has to be started anew for an adapter.

        Raises:
            EndpointError: it has to, and has other adapters.
        """
        if self._pid() is None:
            return False
        known = self._known()
        if adapter.name in models or (known["model"] == adapter.base and known["rank"] >= adapter.rank):
            return False
        loaded = [name for name, one in models.items() if "parent" in one]
        if loaded:
            raise EndpointError(
                f"the vLLM that Luthier started at {self.address} serves {known['model']} with ranks up to "
                f"{known['rank']}, too little for {adapter.base} with rank {adapter.rank}, and still answers with "
                f"{', '.join(loaded)}. Unload those first: luthier tune undeploy JOB"
            )
        return True

    def _start(self, adapter: Adapter) -> None:
        parts = urlsplit(self.address)
        if parts.hostname not in LOOPBACK:
            raise EndpointError(
                f"no vLLM answers at {self.address}, and Luthier starts one on this machine alone: base_url: "
                "http://127.0.0.1:8000/v1"
            )
        key = self._endpoint.key()
        if key is None:
            raise EndpointError(
                f"no vLLM answers at {self.address}, and Luthier starts none without a key, as every user of this "
                "machine could use it. Name a variable in the endpoint, and put any long secret into it: "
                "api_key_env: VLLM_API_KEY"
            )
        rank = next(rank for rank in RANKS if rank >= adapter.rank)
        command = [
            *(str(vllm_program()), "serve", adapter.base, "--host", "127.0.0.1", "--port", str(parts.port or 80)),
            *("--enable-lora", "--max-lora-rank", str(rank), "--max-loras", str(ADAPTERS_AT_ONCE)),
        ]
        variables = {name: value for name, value in os.environ.items() if name not in ("PYTHONPATH", "PYTHONHOME")}
        # Not on the command line, which every user of the machine can read.
        variables |= {RUNTIME: "1", "VLLM_API_KEY": key, "CUDA_VISIBLE_DEVICES": cards()}
        with self._cards() as held, self._log.open("wb") as log:
            try:
                process = subprocess.Popen(
                    command,
                    stdin=subprocess.DEVNULL,
                    stdout=log,
                    stderr=log,
                    env=variables,
                    # They keep the card for as long as the server runs.
                    pass_fds=held,
                    start_new_session=True,
                )
            except OSError as error:
                raise EndpointError(
                    f"vLLM cannot be started: {command[0]} cannot be run ({error.strerror}). {how_to_make()}"
                ) from error
        _started.append(process)
        known = {"pid": process.pid, "started": start_time(process.pid), "model": adapter.base, "rank": rank}
        self._record.write_text(json.dumps(known), encoding="utf-8")
        late = f"vLLM has not answered at {self.address} within half an hour; see {self._log}"
        try:
            self._look_until(self._has_started, late, STARTED_SECONDS)
        except BaseException:
            # Not left behind, as it would keep the card.
            self._stop()
            raise

    def _has_started(self) -> bool | None:
        if self._models() is not None:
            return True
        if self._pid() is None:
            lines = self._log.read_bytes()[-LOG_TAIL_BYTES:].decode("utf-8", "replace").splitlines()
            said = next((line.strip() for line in reversed(lines) if line.strip()), "nothing")
            raise EndpointError(f"vLLM ended before it answered, and said: {said}\nAll it said is in {self._log}.")
        return None

    def _stop(self) -> None:
        for number, seconds in ((signal.SIGTERM, STOP_SECONDS), (signal.SIGKILL, STOP_SECONDS)):
            pid = self._pid()
            if pid is not None:
                with suppress(ProcessLookupError):
                    # vLLM ends its own processes; killed, it cannot.
                    os.kill(pid, number) if number == signal.SIGTERM else os.killpg(pid, number)
            for _ in range(round(seconds / LOOK_SECONDS)):
                for process in _started:
                    process.poll()
                if self._pid() is None:
                    self._record.unlink(missing_ok=True)
                    return
                self._wait(LOOK_SECONDS)
        raise EndpointError(f"vLLM (process {self._pid()}) does not end, not even by SIGKILL; see {self._log}.")

    def _pid(self) -> int | None:
        """The process of the server that Luthier started here; `None` where it started none, or it has ended."""
        known = self._known()
        pid: int | None = known.get("pid")
        # One that had ended before its start time was read has none.
        return pid if pid is not None and known["started"] and start_time(pid) == known["started"] else None

    def _known(self) -> dict[str, Any]:
        try:
            found: dict[str, Any] = json.loads(self._record.read_text(encoding="utf-8"))
        except (FileNotFoundError, ValueError):
            return {}
        return found

    @property
    def _record(self) -> Path:
        return gpu_folder() / f"server-{urlsplit(self.address).port}.json"

    @property
    def _log(self) -> Path:
        return self._record.with_suffix(".log")

    def _look_until(self, look: Callable[[], bool | None], late: str, seconds: float) -> None:
        look_until(look, late, wait=self._wait, clock=self._clock, patience_seconds=seconds)

    @contextmanager
    def _cards(self) -> Iterator[list[int]]:
        """The locks of the cards, taken; waits for a job that has one."""
        import fcntl

        held: list[int] = []
        try:
            for lock in card_locks():
                held.append(os.open(lock, os.O_RDWR | os.O_CREAT, 0o600))

                def look(descriptor: int = held[-1]) -> bool | None:
                    try:
                        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
                    except BlockingIOError:
                        return None
                    return True

                late = "the card has been training for an hour, and vLLM needs it; pause the job or wait for its end"
                self._look_until(look, late, CARD_SECONDS)
            yield held
        finally:
            for descriptor in held:
                os.close(descriptor)

    @contextmanager
    def _alone(self) -> Iterator[None]:
        """No other process starts, loads or stops here meanwhile."""
        from filelock import FileLock

        with FileLock(self._record.with_suffix(".lock"), mode=0o600):
            yield
