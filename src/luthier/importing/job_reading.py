"""Everything a service still has about a job: each part is asked for by itself, and one that fails is named."""

from __future__ import annotations

import hashlib
import json
import threading
from collections.abc import Callable, Sequence
from concurrent.futures import Future
from dataclasses import asdict, dataclass, field
from functools import partial
from typing import Any, TypeVar

from luthier.errors import EndpointError, UserError
from luthier.importing.records import NotImported
from luthier.tuning.timing import Timing, patiently
from luthier.tuning.tuners.tuner import (
    Checkpoint,
    JobEvent,
    JobState,
    PagedAccount,
    ServiceUnavailable,
    StoredFile,
    Tuner,
)

__all__ = ["AGAIN", "JobParts", "JobReader", "AccountFile", "why_missing"]

Result = TypeVar("Result")

AGAIN = "Type the same command again."

MOST_OUTAGES = 3
"""Jobs in a row that a service does not answer for, after which the others are left for the next import."""

MOST_READ_BYTES = 100_000_000
"""Size of a training file above which it is named and not read: its digest is not worth hours."""


@dataclass(frozen=True)
class AccountFile:
    """A file that a job was trained or measured on.

    Attributes:
        stored: its id, name and size at the service.
        digest: SHA-256 of its content; `None` where the service does not give it any more.
        lines: how many examples it has.
        learned: what was made of the content when it was read.
    """

    stored: StoredFile
    digest: str | None = None
    lines: int | None = None
    learned: Any = None


@dataclass(frozen=True)
class JobParts:
    """What belongs to a job beside its state.

    Attributes:
        events: oldest first.
        checkpoints: by step.
        results: content of its result files, by the service's ids.
        files: its training file and its validation file, as far as there are some.
        missing: what the service did not give.
        is_read: whether the service was asked at all.
    """

    events: Sequence[JobEvent] = ()
    checkpoints: Sequence[Checkpoint] = ()
    results: dict[str, bytes] = field(default_factory=dict)
    files: Sequence[AccountFile] = ()
    missing: Sequence[NotImported] = ()
    is_read: bool = True

    def digest(self, state: JobState) -> str:
        """Of all that an import writes of a job: equal digests mean that there is nothing new."""
        told = {name: value for name, value in asdict(state).items() if name != "estimated_finish"}
        document = [
            told,
            [event.id for event in self.events],
            [asdict(checkpoint) for checkpoint in self.checkpoints],
            {file: hashlib.sha256(content).hexdigest() for file, content in self.results.items()},
            [[file.stored.id, file.stored.name, file.stored.size, file.digest] for file in self.files],
        ]
        return hashlib.sha256(json.dumps(document, sort_keys=True, default=str).encode()).hexdigest()


class JobReader:
    """Reads the parts of jobs; may be asked by several threads. A file that several jobs share is read once.

    Args:
        tuner: the service.
        timing: how time passes while a part is asked for again.
        learn: makes something of the content of a training file, which is not kept itself.
    """

    def __init__(self, tuner: Tuner, timing: Timing, learn: Callable[[bytes], Any] = lambda content: None) -> None:
        self._tuner, self._timing, self._learn = tuner, timing, learn
        self._lock = threading.Lock()
        self._files: dict[str, Future[tuple[AccountFile, EndpointError | None]]] = {}
        self._outages = 0

    @property
    def is_out(self) -> bool:
        """Whether the service has not answered for several jobs in a row."""
        return self._outages >= MOST_OUTAGES

    def read(self, state: JobState) -> JobParts:
        """The parts of a job; what the service does not give is in `missing`."""
        missing: list[NotImported] = []
        tuner, job = self._tuner, state.id
        if self.is_out:
            left = NotImported("job", job, "the service stopped answering before this job was read", AGAIN, True)
            return JobParts(missing=[left], is_read=False)

        def part(what: str, ask: Callable[[], Result]) -> Result | None:
            try:
                return patiently(self._timing, ask)
            except EndpointError as error:
                missing.append(why_missing(job, what, error))
                return None

        events = part("its events", partial(tuner.events, job)) or []
        checkpoints = part("its checkpoints", partial(tuner.checkpoints, job)) or []
        results: dict[str, bytes] = {}
        for file in state.result_files:
            content = part(f"its result file {file}", partial(tuner.result, file))
            if content is not None:
                results[file] = content
        files = []
        for table, file in zip(("training", "validation"), state.files, strict=False):
            read, error = self._file(file)
            files.append(read)
            if error is not None:
                missing.append(why_missing(job, f"its {table} file {file}", error))
        self._count(missing)
        return JobParts(events, checkpoints, results, files, missing)

    def _file(self, file: str) -> tuple[AccountFile, EndpointError | None]:
        with self._lock:
            mine = file not in self._files
            asked = self._files.setdefault(file, Future())
        if mine:
            try:
                asked.set_result(self._read_file(file))
            except BaseException as error:
                asked.set_exception(error)
        return asked.result()

    def _read_file(self, file: str) -> tuple[AccountFile, EndpointError | None]:
        stored = StoredFile(file, file)
        tuner = self._tuner
        if not isinstance(tuner, PagedAccount):
            return AccountFile(stored), None
        try:
            stored = patiently(self._timing, partial(tuner.stored_file, file))
            if stored.size is not None and stored.size > MOST_READ_BYTES:
                return AccountFile(stored), None
            content = patiently(self._timing, partial(tuner.result, file))
        except EndpointError as error:
            return AccountFile(stored), error
        lines = sum(1 for line in content.splitlines() if line.strip())
        return AccountFile(stored, hashlib.sha256(content).hexdigest(), lines, self._learn(content)), None

    def _count(self, missing: Sequence[NotImported]) -> None:
        with self._lock:
            self._outages = self._outages + 1 if missing and all(one.passes for one in missing) else 0


def why_missing(job: str, what: str, error: UserError) -> NotImported:
    """Why a part of a job was not given, and what to do about it."""
    status = getattr(error.__cause__, "status_code", None)
    if isinstance(error, ServiceUnavailable):
        return NotImported("job", job, f"{what}: {error}", AGAIN, passes=True)
    if status in (404, 410):
        return NotImported("job", job, f"{what}: deleted at the service, or expired")
    if status == 403:
        return NotImported("job", job, f"{what}: {error}", f"Give the key the right to read it. {AGAIN}")
    return NotImported("job", job, f"{what}: {error}")
