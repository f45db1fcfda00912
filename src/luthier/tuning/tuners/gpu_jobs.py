"""Jobs on this machine's GPU: a folder each, named by its token, and a process that outlives the one that started it.

    folder made whole --> process started --> waits for the card --> trains --> exit.json
                                 |                                      |
                                 +------------- paused <----------------+  SIGTERM: goes on from its checkpoint

The folder appears at once with everything in it, so a job cannot be made twice, and one whose maker died before it
started the process is started by the next look. A process is known by its pid and its start time.
"""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from luthier.errors import EndpointError
from luthier.home import luthier_home
from luthier.processes import start_time
from luthier.tuning.tuners.gpu_environment import how_to_make, training_program, training_python
from luthier.tuning.tuners.tuner import PAUSED, Checkpoint, JobEvent, JobNotFound, JobState

__all__ = ["GpuJob", "card_locks", "cards", "gpu_folder"]

STOP_SECONDS = 10.0
"""How long a cancelled process may take to end by itself before it is killed."""

KILLED_SECONDS = 10.0
"""How long a killed process may take to be gone; the driver has to give back its memory."""

LOOK_SECONDS = 0.05
HOUR = 3600.0
LOG_TAIL_BYTES = 4096

_started: list[subprocess.Popen[bytes]] = []
"""Processes that this one started: it need not wait for them, and Python would warn of those it forgets."""


@dataclass(frozen=True)
class GpuJob:
    """A job and its folder.

    Attributes:
        folder: its name is the job's id and token.
        clock: Unix time.
        wait: waits so many seconds.
    """

    folder: Path
    clock: Callable[[], float] = time.time
    wait: Callable[[float], None] = time.sleep

    @property
    def id(self) -> str:
        """The job's id, which is its token."""
        return self.folder.name

    def create(self, document: Mapping[str, Any]) -> None:
        """Makes the folder, unless there is one."""
        self.folder.parent.mkdir(parents=True, exist_ok=True)
        scratch = Path(tempfile.mkdtemp(prefix="making-", dir=self.folder.parent))
        try:
            (scratch / "job.json").write_text(json.dumps(document, indent=2), encoding="utf-8")
            # Refused where there is one already, as that is not empty.
            with suppress(OSError):
                scratch.rename(self.folder)
        finally:
            shutil.rmtree(scratch, ignore_errors=True)
        self.document()

    def exists(self) -> bool:
        """Whether there is such a job."""
        return (self.folder / "job.json").exists()

    def document(self) -> dict[str, Any]:
        """What was submitted.

        Raises:
            JobNotFound: nothing was, or it was deleted.
        """
        try:
            found: dict[str, Any] = json.loads((self.folder / "job.json").read_text(encoding="utf-8"))
        except FileNotFoundError as error:
            raise JobNotFound(
                f"this machine has no job {self.id!r} in {self.folder.parent}. Jobs are listed by: "
                "luthier tune list SPEC"
            ) from error
        return found

    def start(self) -> None:
        """Starts its process unless it runs or has ended."""
        with self._alone():
            ended = self._ended()
            if self.pid() is not None or (ended is not None and ended["status"] != "not begun"):
                return
            killed = ended is None and (self.folder / "process.json").exists()
            if not killed and not self._read("wanted"):
                self._spawn()

    def state(self, usd_per_hour: float | None = None) -> JobState:
        """The job now.

        Args:
            usd_per_hour: price of the card; `None` when unknown.
        """
        document = self.document()
        # In this order: a process that has ended has written how before.
        alive = self.pid() is not None
        ended, wanted = self._ended(), self._read("wanted")
        events = self.events()
        status, error = self._status(alive, ended, wanted)
        tokens = [round(event.metrics["elapsed_tokens"]) for event in events if "elapsed_tokens" in event.metrics]
        over = status in ("succeeded", "failed", "cancelled")
        return JobState(
            id=self.id,
            status=status,
            base_model=document["model"],
            tuned_model=document["name"] if status == "succeeded" else None,
            hyperparameters=document["settings"],
            trained_tokens=(tokens[-1] if tokens else 0) if over else None,
            error=error,
            created=document["created"],
            token=document["token"],
            files=tuple(document[name] for name in ("train", "validation") if document[name]),
            seed=document["settings"]["seed"],
            billed_usd=None if usd_per_hour is None or not over else self.card_seconds() / HOUR * usd_per_hour,
        )

    def events(self) -> list[JobEvent]:
        """Every event so far, numbered by its line."""
        return [
            JobEvent(
                id=f"{self.id}-{number}",
                created=line["created"],
                message=line["message"],
                step=line.get("step"),
                metrics=line.get("metrics") or {},
                total_steps=line.get("total_steps"),
            )
            for number, line in self._lines()
        ]

    def card_seconds(self) -> float:
        """How long it has had the card, all its processes together."""
        seconds, since, last = 0.0, None, 0.0
        for _, line in self._lines():
            if "card" in line:  # a process begins to wait for it, or has it now
                seconds += 0.0 if since is None else last - since
                since = line["created"] if line["card"] else None
            last = line["created"]
        return seconds + (0.0 if since is None else last - since)

    def checkpoints(self) -> list[Checkpoint]:
        """The checkpoints it has saved, each with the figures of its step."""
        figures: dict[int, dict[str, float]] = {}
        for event in self.events():
            if event.step is not None:
                figures.setdefault(event.step, {}).update(event.metrics)
        name = self.document()["name"]
        steps = sorted(
            # Written last, so that it is whole.
            int(path.parent.name.rpartition("-")[2])
            for path in self.folder.glob("checkpoints/checkpoint-*/trainer_state.json")
        )
        return [Checkpoint(step, f"{name}-step-{step}", figures.get(step, {})) for step in steps]

    def adapter(self, step: int | None) -> Path:
        """The folder of an adapter: of a checkpoint, or of the result.

        Raises:
            EndpointError: there is none.
        """
        if step is not None:
            found = self.folder / "checkpoints" / f"checkpoint-{step}"
        else:
            found = self.folder / ((self._ended() or {}).get("adapter") or "adapter")
        if not (found / "adapter_config.json").exists():
            raise EndpointError(f"job {self.id} has no adapter at {found}; it was deleted, or never written.")
        return found

    def cancel(self) -> None:
        """Ends it; returns when its process is gone.

        Raises:
            EndpointError: the process does not end.
        """
        with self._alone():
            if (ended := self._ended()) is not None and ended["status"] in ("succeeded", "failed", "cancelled"):
                return
            self._write("wanted", "cancel")
            for number, seconds in ((signal.SIGTERM, STOP_SECONDS), (signal.SIGKILL, KILLED_SECONDS)):
                self._signal(number)
                if self._is_gone(seconds):
                    return
        raise EndpointError(
            f"process {self.pid()} of job {self.id} does not end, not even by SIGKILL; see its log.txt."
        )

    def pause(self) -> None:
        """Asks it to save a checkpoint and to end.

        Raises:
            EndpointError: it has ended.
        """
        with self._alone():
            state = self.state()
            if state.ended:
                raise EndpointError(f"job {self.id} {state.said} and can no longer be paused.")
            if state.status != PAUSED:
                self._write("wanted", "pause")
                self._signal(signal.SIGTERM)

    def resume(self) -> None:
        """Starts it again from its last checkpoint.

        Raises:
            EndpointError: it is not paused.
        """
        with self._alone():
            state = self.state()
            if state.status != PAUSED:
                raise EndpointError(f"job {self.id} {state.said}; only a paused job can be resumed.")
            (self.folder / "wanted").unlink(missing_ok=True)
            self._spawn()

    def pid(self) -> int | None:
        """Its process; `None` where it has none that runs."""
        process = self._read("process.json")
        if not process:
            return None
        known = json.loads(process)
        # One that had ended before its start time was read has none.
        return known["pid"] if known["started"] and start_time(known["pid"]) == known["started"] else None

    def _status(self, alive: bool, ended: Mapping[str, Any] | None, wanted: str) -> tuple[str, str | None]:
        if alive:
            doing = {"cancel": "cancelling", "pause": "pausing"}.get(wanted)
            return doing or self._read("status") or "queued", None
        if wanted == "cancel" and (ended is None or ended["status"] not in ("succeeded", "failed")):
            return "cancelled", None
        if ended is not None and ended["status"] != "not begun":
            unasked = "its process was asked to end, by a shutdown for instance" if not wanted else None
            return ended["status"], ended.get("error") or (unasked if ended["status"] == PAUSED else None)
        if wanted == "pause":
            return PAUSED, None
        if ended is None and (self.folder / "process.json").exists():
            return "failed", (
                "its process is gone and has not said why: it was killed, memory ran out or the machine went down. "
                f"The end of {self.folder / 'log.txt'}: {self._log_end()}"
            )
        return "queued", None

    def _spawn(self) -> None:
        self._write("status", "queued")
        (self.folder / "exit.json").unlink(missing_ok=True)
        variables = {name: value for name, value in os.environ.items() if name not in ("PYTHONPATH", "PYTHONHOME")}
        variables["CUDA_VISIBLE_DEVICES"] = self.document()["cards"]
        with (self.folder / "log.txt").open("ab") as log:
            try:
                process = subprocess.Popen(
                    [training_python(), "-I", "-u", training_program(), self.folder],
                    stdin=subprocess.PIPE,
                    stdout=log,
                    stderr=log,
                    cwd=self.folder,
                    env=variables,
                    start_new_session=True,
                )
            except OSError as error:
                raise EndpointError(
                    f"job {self.id} was not started, as {training_python()} cannot be run ({error.strerror}). "
                    + how_to_make()
                ) from error
        _started.append(process)
        self._write("process.json", json.dumps({"pid": process.pid, "started": start_time(process.pid)}))
        assert process.stdin is not None
        # Only now may it begin: a process that looks from here on knows which one it is.
        with suppress(BrokenPipeError), process.stdin as gate:
            gate.write(b"go\n")

    def _signal(self, number: signal.Signals) -> None:
        if (pid := self.pid()) is not None:
            with suppress(ProcessLookupError):
                os.killpg(pid, number)

    def _is_gone(self, seconds: float) -> bool:
        for _ in range(round(seconds / LOOK_SECONDS)):
            for process in _started:
                process.poll()
            if self.pid() is None:
                return True
            self.wait(LOOK_SECONDS)
        return False

    def _ended(self) -> dict[str, Any] | None:
        """How its process ended; `None` where it runs or was killed."""
        text = self._read("exit.json")
        return json.loads(text) if text else None

    def _lines(self) -> Iterator[tuple[int, dict[str, Any]]]:
        try:
            lines = (self.folder / "events.jsonl").read_bytes().splitlines()
        except FileNotFoundError:
            return
        for number, line in enumerate(lines):
            # One may be half written, now or when its process was killed.
            with suppress(ValueError):
                yield number, json.loads(line)

    def _log_end(self) -> str:
        lines = (self.folder / "log.txt").read_bytes()[-LOG_TAIL_BYTES:].decode("utf-8", "replace").split("\n")
        return next((line.strip() for line in reversed(lines) if line.strip()), "it is empty")

    def _read(self, name: str) -> str:
        try:
            return (self.folder / name).read_text(encoding="utf-8")
        except FileNotFoundError:
            return ""

    def _write(self, name: str, text: str) -> None:
        new = self.folder / f"{name}.new"
        new.write_text(text, encoding="utf-8")
        new.replace(self.folder / name)

    @contextmanager
    def _alone(self) -> Iterator[None]:
        """No other process starts or stops this job meanwhile."""
        from filelock import FileLock

        self.document()
        with FileLock(self.folder / "lock", mode=0o600):
            yield


def gpu_folder() -> Path:
    """Where jobs, files and the server's records are; mode 0700."""
    folder = luthier_home() / "gpu"
    folder.mkdir(mode=0o700, exist_ok=True)
    return folder


def cards() -> str:
    """The cards a job trains on: what CUDA_VISIBLE_DEVICES says, else the first."""
    return os.environ.get("CUDA_VISIBLE_DEVICES", "").strip() or "0"


def card_locks() -> list[Path]:
    """A lock for each card, in an order in which two jobs cannot wait for each other."""
    return [gpu_folder() / f"card-{card.strip()}.lock" for card in sorted(set(cards().split(",")))]
