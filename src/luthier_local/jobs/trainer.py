"""The thread that trains fine-tuning jobs, one at a time.

A thread and not a process: it ends with the server, however the server ends, and numpy leaves the
interpreter free between two steps and during most of them. The state to continue from is on disk after every epoch.

A full disk fails no job: the one in training is retried from its last state, with growing pauses, until its state
can be written.
"""

from __future__ import annotations

import logging
import sqlite3
import threading
import time
from collections.abc import Callable
from typing import TYPE_CHECKING

from filelock import FileLock

from luthier.errors import LuthierError
from luthier_local.jobs.chat_examples import JobError, read_files
from luthier_local.jobs.job_requests import resolved
from luthier_local.jobs.job_store import JobStore, passes, take_lock
from luthier_local.jobs.stored_job import UNFINISHED, StoredJob

if TYPE_CHECKING:
    from luthier_local.jobs.training_run import TrainingRun

__all__ = ["Trainer"]

_log = logging.getLogger(__name__)

_POLL_SECONDS = 0.1
_IDLE_SECONDS = 0.5
_LONGEST_PAUSE_SECONDS = 30.0


class _Stopped(Exception):
    """The server stops; a later one continues the job."""


class Trainer:
    """Trains the jobs of a store until it is stopped.

    Args:
        store: Where jobs are.
        step_seconds: Pause after every step, for tests that interfere.
    """

    def __init__(self, store: JobStore, step_seconds: float = 0.0) -> None:
        self._store = store
        self._step_seconds = step_seconds
        self._stopping = False
        self._nudged = threading.Event()
        self._looked = 0.0
        self._held_up: str | None = None
        self.trouble: str | None = None
        """Why jobs are held up; kept in memory, as the disk may be the reason."""
        self._thread = threading.Thread(target=self._run, name="luthier-trainer", daemon=True)

    def start(self) -> None:
        """Starts the thread."""
        self._thread.start()

    def nudge(self) -> None:
        """Has the thread look for a job, or for a request to cancel or pause one, at once."""
        self._nudged.set()

    def stop(self) -> None:
        """Stops after the current step, and waits for that."""
        self._stopping = True
        self._nudged.set()
        self._thread.join()

    def _run(self) -> None:
        lock = FileLock(self._store.folder / "trainer.lock", mode=0o600)
        pause = _IDLE_SECONDS
        try:
            while not self._stopping:
                self._nudged.clear()
                try:
                    # Held by another server of this folder while it trains; this one takes over afterwards.
                    if not lock.is_locked and take_lock(lock):
                        self._store.sweep()
                    trained = lock.is_locked and self._train_next()
                except Exception as error:
                    # Every job waits for this thread, so no error may end it.
                    if self.trouble is None:
                        _log.exception("fine-tuning jobs cannot be trained")
                    self.trouble = _said(error)
                    self._nudged.wait(pause)
                    pause = min(2 * pause, _LONGEST_PAUSE_SECONDS)
                else:
                    pause, self.trouble = _IDLE_SECONDS, None
                    if not trained:
                        self._nudged.wait(_IDLE_SECONDS)
        finally:
            lock.release()

    def _train_next(self) -> bool:
        """Trains one job; returns whether there was one."""
        self._validate_waiting()
        found = self._store.row(
            "select id from jobs where status in ('queued', 'running', 'pausing') "
            "order by status = 'queued', number limit 1"
        )
        if found is not None:
            self._guarded(StoredJob(self._store, found["id"]), self._train)
        return found is not None

    def _validate_waiting(self) -> None:
        for row in self._store.rows("select id from jobs where status = 'validating_files' order by number"):
            self._guarded(StoredJob(self._store, row["id"]), self._validate)

    def _validate(self, job: StoredJob) -> None:
        training, _ = read_files(job.work)
        if job.move("queued", ["validating_files"], **resolved(job.record, len(training))):
            job.say("Files validated, moving job to queued state", "validated")

    def _guarded(self, job: StoredJob, work: Callable[[StoredJob], None]) -> None:
        """Calls `work` with the job; an error fails this job and no other.

        Raises:
            OSError: There is no room at the moment; the job did not cause it.
            sqlite3.Error: Likewise.
        """
        try:
            work(job)
        except _Stopped:
            pass
        except (OSError, sqlite3.Error) as error:
            if passes(error):
                self._held_up = job.id
                raise
            job.fail("server_error", f"The embedded server cannot use its folder: {error}.", None)
        except JobError as error:
            job.fail(error.code, str(error), error.param)
        except LuthierError as error:
            job.fail("server_error", str(error), None)
        except Exception as error:
            # A bug here must not stop the jobs behind this one.
            _log.exception("fine-tuning job %s", job.id)
            job.fail("server_error", f"{type(error).__name__} in the embedded server: {error}", None)

    def _train(self, job: StoredJob) -> None:
        if job.row()["wish"] == "cancel" and job.cancel(UNFINISHED):
            return
        again = not job.move("running", ["queued"])
        if again and job.row()["status"] not in ("running", "pausing"):
            return
        # Loads numpy, which a server that trains nothing does without.
        from luthier_local.jobs.training_run import TrainingRun

        run = TrainingRun.prepare(job)
        job.say("Fine-tuning job started", "started")
        if again:
            held_up = self._held_up == job.id
            why = "It could not be written down" if held_up else "The server was started anew"
            # One event per step it is held up at, not one per attempt.
            name = f"held-up-{run.step}" if held_up else None
            job.say(f"{why}; training goes on after step {run.step}", name, "warn")
        elif run.step:
            job.say(f"Training resumed after step {run.step}")
        run.run(self._between)

    def _between(self, run: TrainingRun) -> bool:
        """Called after every step: whether to stop training, because the job was cancelled or paused.

        Raises:
            _Stopped: The server stops.
        """
        if self._step_seconds:
            self._nudged.wait(self._step_seconds)
        else:
            # Lets threads that wait for the interpreter run, such as the one that answers requests.
            time.sleep(0)
        if self._stopping:
            raise _Stopped
        if run.saved:
            self.trouble = None
        now = time.monotonic()
        if not self._nudged.is_set() and now - self._looked < _POLL_SECONDS:
            return False
        self._nudged.clear()
        self._looked = now
        self._validate_waiting()
        wish = run.job.row()["wish"]
        if wish is None:
            return False
        run.flush()
        if wish == "cancel":
            return run.job.cancel(UNFINISHED)
        run.keep()
        return run.job.move("paused", ["running", "pausing"], estimated_finish=None)


def _said(error: Exception) -> str:
    if passes(error):
        return f"The embedded server cannot write to its folder: {error}. Jobs wait, and go on when there is room."
    return f"{type(error).__name__} in the embedded server: {error}. It is tried again."
