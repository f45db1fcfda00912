"""The driver of watches: asks the services, does what `Watch.step` says, and waits until the next job is due."""

from __future__ import annotations

import heapq
import itertools
import signal
import sys
import threading
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from types import FrameType
from typing import TYPE_CHECKING, Protocol, TextIO

from luthier.errors import EndpointError, Interrupted, Partial
from luthier.processes import ending_signals
from luthier.tuning.job_record import JobRecord
from luthier.tuning.timing import REAL_TIME, Timing
from luthier.tuning.tuners.tuner import JobEvent, JobState, ServiceUnavailable, Tuner
from luthier.tuning.watch import (
    Accepted,
    Ask,
    Change,
    Finish,
    JobProgress,
    JobRequest,
    Keep,
    Looked,
    Refused,
    Show,
    TrainingBill,
    Watch,
    WatchEvent,
    WatchState,
)
from luthier.tuning.watch_lock import WatchLock

if TYPE_CHECKING:
    from rich.status import Status

__all__ = ["JobLine", "WatchDriver", "WatchedJob", "Watcher", "attended", "follow", "take_turn"]


class Watcher(Protocol):
    """Is shown each look at a job."""

    def show(self, progress: JobProgress) -> None:
        """The job now."""


@dataclass
class WatchedJob:
    """A job that a driver watches; without a record nothing is kept of it.

    Once the watch is finished, `error` says why, unless the job has reached what was waited for.
    """

    tuner: Tuner
    watch: Watch
    record: JobRecord | None = None
    watcher: Watcher | None = None
    state: WatchState = field(default_factory=WatchState)
    error: Exception | None = None
    _requests: deque[JobRequest] = field(default_factory=deque)
    _lock: WatchLock | None = None

    def hold(self) -> None:
        """Says to other processes that this one writes the job's run; until `release`, or the end of the process."""
        if self.record is not None and self._lock is None:
            self._lock = WatchLock(self.record.run_id)
            self._lock.take()

    def release(self) -> None:
        """Says that it is written no longer."""
        if self._lock is not None:
            self._lock.release()
            self._lock = None

    @property
    def bill(self) -> TrainingBill:
        """What the job is paid for, as far as it is known."""
        return self.watch.bill(self.state)

    def request(self, event: JobRequest) -> None:
        """Has the next look ask the service for it. May be called from any thread, and while a look is made."""
        self._requests.append(event)

    def requested(self) -> list[JobRequest]:
        """The requests since the last call, oldest first."""
        # One at a time: another thread may add to them meanwhile.
        return [self._requests.popleft() for _ in range(len(self._requests))]


class WatchDriver:
    """Watches any number of jobs, each at its own pace: the one that is due first is looked at first.

    Args:
        timing: how time passes.
    """

    def __init__(self, timing: Timing = REAL_TIME) -> None:
        self._timing = timing
        self._due: list[tuple[float, int, WatchedJob]] = []
        self._numbers = itertools.count()

    def add(self, job: WatchedJob) -> None:
        """Watches one more job; allowed also while `ended` is iterated."""
        self._schedule(self._timing.clock(), job)

    def ended(self) -> Iterator[WatchedJob]:
        """Yields each job when its watch has finished, until none is left."""
        while self._due:
            due, _, job = heapq.heappop(self._due)
            pause = due - self._timing.clock()
            if pause > 0:
                self._timing.wait(pause)
            due_next = take_turn(job, self._timing)
            if due_next is None:
                yield job
            else:
                self._schedule(due_next, job)

    def _schedule(self, due: float, job: WatchedJob) -> None:
        heapq.heappush(self._due, (due, next(self._numbers), job))


def take_turn(job: WatchedJob, timing: Timing = REAL_TIME) -> float | None:
    """One look at a job and all that follows from it, without waiting.

    Requests that were queued before it are part of it. A caller that has just queued one need not wait for the time
    that an earlier turn returned.

    Returns:
        When the next turn is due, on the clock of `timing`; `None` when the watch is finished.
    """
    job.hold()
    events: list[WatchEvent] = [*job.requested(), _look(job)]
    due: float | None = None
    while events:
        job.state, actions, due = job.watch.step(job.state, events, timing.clock())
        events = []
        for action in actions:
            match action:
                case Keep(state, said) if job.record is not None:
                    try:
                        _keep(job.record, job.tuner, state, said)
                    except Partial as error:
                        # The tracking store failed: this watch ends, others go on.
                        job.error = error
                        return None
                case Show(progress) if job.watcher is not None:
                    job.watcher.show(progress)
                case Ask(change):
                    events += _ask(job, change)
                case Finish(error):
                    job.error = error
    return due


def _look(job: WatchedJob) -> WatchEvent:
    try:
        # Events are read after the state: once that says that the job has ended, no event is missing.
        state = job.tuner.poll(job.watch.job)
        return Looked(state, job.tuner.events(job.watch.job, job.state.known))
    except EndpointError as error:
        return error


def _keep(record: JobRecord, tuner: Tuner, state: JobState, events: Sequence[JobEvent]) -> None:
    def write() -> None:
        record.see(state)
        if any("checkpoint" in event.message.lower() for event in record.hear(events)):
            # Where this fails: they are read once more when the job has ended.
            with suppress(EndpointError):
                record.checkpoints(tuner.checkpoints(state.id))

    record.settle(write)


def _ask(job: WatchedJob, change: Change) -> list[WatchEvent]:
    try:
        match change:
            case "cancel":
                job.tuner.cancel(job.watch.job)
            case "pause":
                job.tuner.pause(job.watch.job)
            case "resume":
                job.tuner.resume(job.watch.job)
    except ServiceUnavailable:
        # The next look leads to another try: the job costs money meanwhile.
        return []
    except EndpointError as error:
        return [Refused(change, error)]
    return [Accepted(change)]


class JobLine:
    """One line about a job on standard error; where that is no terminal, a new line when something has changed."""

    def __init__(self, stream: TextIO | None = None) -> None:
        self._stream = stream or sys.stderr
        self._last = ""
        self._status: Status | None = None

    def show(self, progress: JobProgress) -> None:
        """Writes the line."""
        text = f"{progress.job.id}: {progress}"
        if not self._stream.isatty():
            # Progress by the tenth is enough for a log.
            tenth = 10 * (progress.step or 0) // progress.steps if progress.steps else progress.step
            mark = f"{progress.job.status} {tenth} {progress.news}"
            if mark != self._last:
                self._last = mark
                print(text, file=self._stream, flush=True)
            return
        if self._status is None:
            from rich.console import Console

            self._status = Console(file=self._stream).status(text)
            self._status.start()
        self._status.update(text)
        self._last = text

    def close(self) -> None:
        """Leaves the last state on the screen."""
        if self._status is not None:
            self._status.stop()
            self._status = None
            print(self._last, file=self._stream)


def follow(job: WatchedJob, timing: Timing = REAL_TIME) -> JobState:
    """Watches one job until its watch has finished.

    Raises:
        Partial: the service was unavailable for an hour, or the tracking store cannot be written to.
        EndpointError: the service refuses, as with a key that has expired.
    """
    driver = WatchDriver(timing)
    driver.add(job)
    try:
        (ended,) = driver.ended()
    finally:
        job.release()
    if ended.error is not None:
        raise ended.error
    assert ended.state.job is not None
    return ended.state.job


@contextmanager
def attended(job: Callable[[], str | None], watcher: Watcher | None = None) -> Iterator[Watcher]:
    """While inside, a line on stderr shows the job, and Ctrl-C, SIGTERM and SIGHUP stop the watching, not the job.

    Args:
        job: the job's id, as soon as there is one.
        watcher: in place of the line.

    Raises:
        Interrupted: says how to go on and how to cancel.
    """

    def stop(number: int, frame: FrameType | None) -> None:
        raise KeyboardInterrupt

    main = threading.current_thread() is threading.main_thread()
    before = {number: signal.signal(number, stop) for number in ending_signals()} if main else {}
    line = JobLine()
    try:
        yield watcher or line
    except KeyboardInterrupt as error:
        known = job()
        if known is None:
            raise Interrupted(
                "interrupted before the service confirmed a job. Type the same command again: it goes on where it was, "
                "and if a job was submitted it is found, not bought twice."
            ) from error
        raise Interrupted(
            f"stopped watching; job {known} goes on. Go on watching: luthier tune attach {known}   "
            f"End it: luthier tune cancel {known}"
        ) from error
    finally:
        line.close()
        for number, handler in before.items():
            signal.signal(number, handler)
