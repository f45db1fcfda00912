"""Whether there is a job already for what is to be bought; asks the service and buys nothing."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial

from luthier.techniques.finetune import FineTune
from luthier.tuning.job_runs import TuneRun
from luthier.tuning.preflight import Preflight
from luthier.tuning.timing import REAL_TIME, Timing, patiently
from luthier.tuning.tuners.tuner import JobNotFound, JobState, Tuner

__all__ = ["TOKEN_LENGTH", "SubmissionStatus", "submission_status", "token_of", "tune_digest"]

VERSION = 1
TOKEN_LENGTH = 16


@dataclass(frozen=True)
class SubmissionStatus:
    """Whether there is a job for what is to be bought.

    Attributes:
        run: the run of the job; without a job, a run that was begun and whose submission is open, if there is one.
        job: a job that is alive or has succeeded; `None` means that one has to be bought.
        spent: a run with an open submission, and its job, which has ended; to be written into the run.
        lost: a run whose job the service does not know any more; to be ended.
    """

    run: TuneRun | None
    job: JobState | None
    attempt: int
    spent: tuple[TuneRun, JobState] | None = None
    lost: TuneRun | None = None


def tune_digest(spec: FineTune, check: Preflight) -> str:
    """sha256 of everything that is bought: the training lines, the base model, the settings, the service. Not names."""
    facts = [
        VERSION,
        check.place,
        check.model,
        check.train.digest,
        None if check.validation is None else check.validation.digest,
        # Settings at their defaults are left out, so that a setting added later does not change today's digests.
        spec.tuning.model_dump(mode="json", exclude_defaults=True),
    ]
    return hashlib.sha256(json.dumps(facts, sort_keys=True).encode()).hexdigest()


def token_of(digest: str, attempt: int) -> str:
    """What a job carries at the service so that it can be found again."""
    return f"{digest[:TOKEN_LENGTH]}-{attempt}"


def submission_status(
    tuner: Tuner, runs: Sequence[TuneRun], digest: str, *, again: bool = False, timing: Timing = REAL_TIME
) -> SubmissionStatus:
    """Whether there is a job for a digest that serves: one that is alive, or that has succeeded. Buys nothing.

    Args:
        tuner: the service, which is asked.
        runs: the runs of this digest, oldest first.
        digest: of what is to be bought.
        again: whether another job is wanted although one has succeeded. One that is alive always serves.
        timing: how time passes.

    Raises:
        JobNotFound: the service does not know the job that would serve, and no other was asked for.
    """

    def serves(job: JobState) -> bool:
        return not job.ended or (job.status == "succeeded" and not again)

    latest = runs[-1] if runs else None
    attempt = 1 if latest is None else latest.attempt
    pending = latest if latest is not None and latest.pending else None
    lost = None
    if latest is not None and pending is None:
        try:
            job = None if latest.job is None else patiently(timing, partial(tuner.poll, latest.job))
        except JobNotFound as error:
            if not again and latest.job_status not in ("failed", "cancelled"):
                # With another account's key the service gives this very answer: do not buy twice on a guess.
                raise JobNotFound(
                    f"{error} It is the job of this very submission (run {latest.run_id}). If the key is another "
                    "account's or project's, set the right one. If the job was deleted, add --again (again=True) to "
                    "buy another."
                ) from error
            job = None
            lost = latest if latest.status == "RUNNING" else None
        if job is not None and serves(job):
            return SubmissionStatus(latest, job, attempt)
        if latest.job is not None:
            attempt += 1
    spent = None
    while True:
        found = patiently(timing, partial(tuner.find, token_of(digest, attempt)))
        serving = next((job for job in found if serves(job)), None)
        if not found and latest is not None and pending is None and latest.attempt == attempt:
            # The last try was refused; an earlier one could have been accepted all the same, hence the look.
            attempt += 1
            continue
        if serving is not None or not found:
            return SubmissionStatus(pending, serving, attempt, spent, lost)
        if pending is not None:
            spent, pending = (pending, found[0]), None
        attempt += 1
