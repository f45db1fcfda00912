"""Submitting once: a job is bought for a submission that has none, and for no other.

    no run --> written --> sending --> submitted
                  |           |            |
                  +-- killed -+            +--> watched (see watch.py)
                        |
              typed again: is there a job with the token? --> taken over; else the submission is continued

The token is made of the digest of what is bought, so that the same command finds the job also from another machine, and
after the tracking store was lost.
"""

from __future__ import annotations

import hashlib
import json
import logging
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any, TypeVar

from luthier.errors import EndpointError
from luthier.techniques.finetune import FineTune
from luthier.tracking.runs import TAGS
from luthier.tuning.job_runs import TUNE_TAGS, JobRecord, TuneRun, begin_tune, write_submission
from luthier.tuning.preflight import Preflight
from luthier.tuning.tuners.tuner import JobNotFound, JobState, OutcomeUnknown, ServiceUnavailable, Submission, Tuner

__all__ = ["REAL_TIME", "SubmissionStatus", "Timing", "patiently", "submission_status", "submit_once", "tune_digest"]

logger = logging.getLogger(__name__)

Result = TypeVar("Result")

VERSION = 1
TOKEN_LENGTH = 16

SETTLE_SECONDS = 30.0
"""How long after a submission its job may still turn up in the service's list."""

LOOKS_SECONDS = (0.0, 1.0, 2.0, 4.0, 8.0, 15.0)
"""Waits between looks for a job whose submission got no answer; SETTLE_SECONDS in all."""

TRIES_SECONDS = (0.0, 1.0, 2.0, 4.0, 8.0)
"""Waits before another try of what did not happen because the service was unavailable."""

MAX_SUBMISSIONS = 3


@dataclass(frozen=True)
class Timing:
    """How time passes.

    Attributes:
        wait: waits so many seconds.
        clock: Unix time.
        poll_seconds: time between looks at a job; starts small and grows when absent.
    """

    wait: Callable[[float], None] = time.sleep
    clock: Callable[[], float] = time.time
    poll_seconds: float | None = None


REAL_TIME = Timing()


@dataclass(frozen=True)
class SubmissionStatus:
    """Whether there is a job for what is to be bought.

    Attributes:
        run: the run of the job; without a job, a run that was begun and whose submission is open, if there is one.
        job: a job that is alive or has succeeded; `None` means that one has to be bought.
        attempt: number of this submission among those of its digest, from 1.
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


def submit_once(
    spec: FineTune,
    check: Preflight,
    tuner: Tuner,
    runs: Callable[[], Sequence[TuneRun]],
    *,
    again: bool = False,
    facts: Mapping[str, Any] | None = None,
    timing: Timing = REAL_TIME,
    agree: Callable[[], None] = lambda: None,
    began: Callable[[str], None] = lambda run_id: None,
) -> tuple[TuneRun, JobState, bool]:
    """The run and the job of a submission: the existing ones, else ones that are made and bought now.

    Args:
        spec: the recipe, untuned.
        check: its training lines and price.
        tuner: the service.
        runs: reads the runs of this digest.
        again: see `submission_status`.
        facts: further things to be kept with the submission.
        timing: how time passes.
        agree: called before anything is bought; raises to prevent it.
        began: called with the run's id before anything is uploaded.

    Returns:
        The run, the job, and whether the job was bought just now.

    Raises:
        EndpointError: the service refuses; nothing was bought.
        OutcomeUnknown: the submission was sent and no answer came; the same command finds out.
    """
    from filelock import FileLock

    from luthier.home import luthier_home

    digest = tune_digest(spec, check)
    folder = luthier_home() / "tuning"
    folder.mkdir(exist_ok=True)
    # One process of this machine at a time submits the same; the next finds its job.
    with FileLock(folder / f"{digest[:TOKEN_LENGTH]}.lock", mode=0o600):
        now = submission_status(tuner, runs(), digest, again=again, timing=timing)
        _close(tuner, now)
        run = now.run
        if now.job is None and run is None:
            agree()
            # Before there is a run, so that an account that may not fine-tune leaves none behind.
            patiently(timing, lambda: tuner.admit(check.model))
        document = {**(facts or {}), "preflight": check.document()}
        if run is None:
            run = begin_tune(spec, _tags(check, digest, now.attempt), document)
        elif now.job is None:
            # Its process may have died before writing all of it, and the result may be wanted elsewhere now.
            write_submission(run.run_id, spec, document)
        record = JobRecord(run.run_id)
        job = now.job
        if job is None:
            began(run.run_id)
            record.params({f"sent.{name}": value for name, value in spec.tuning.model_dump(exclude_none=True).items()})
            job = _buy(spec, check, tuner, run, record, timing)
        record.see(job)
        return run, job, now.job is None


def patiently(timing: Timing, act: Callable[[], Result]) -> Result:
    """Does what may be done twice, and tries again while the service is unavailable: four times, over 15 seconds."""
    for wait in TRIES_SECONDS[1:]:
        try:
            return act()
        except ServiceUnavailable:
            timing.wait(wait)
    return act()


def _buy(spec: FineTune, check: Preflight, tuner: Tuner, run: TuneRun, record: JobRecord, timing: Timing) -> JobState:
    try:
        files = {}
        for table, file in check.files.items():
            files[table] = patiently(timing, partial(tuner.upload, file.name, file.content))
    except ServiceUnavailable:
        raise
    except EndpointError as error:
        if run.sent is None:
            record.fail("refused", error)
        raise
    submission = Submission(
        model=check.model,
        training_file=files["train"],
        validation_file=files.get("validation"),
        hyperparameters=spec.tuning.hyperparameters,
        seed=spec.tuning.seed,
        suffix=spec.tuning.suffix,
        token=run.token,
        training_type=spec.tuning.training_type,
    )
    if run.sent is not None:
        # The process died while a submission was under way; its job may turn up late.
        late = _look_for(tuner, run.token, timing, until=run.sent + SETTLE_SECONDS)
        if late is not None:
            return late
    for left in reversed(range(MAX_SUBMISSIONS)):
        record.tag(sent=repr(timing.clock()))
        try:
            job = tuner.submit(submission)
        except OutcomeUnknown as error:
            found = _look_for(tuner, run.token, timing, until=timing.clock() + SETTLE_SECONDS)
            if found is not None:
                return found
            if not left:
                raise _unsure(run.token, error) from error
        except ServiceUnavailable:
            if not left:
                raise
            timing.wait(TRIES_SECONDS[MAX_SUBMISSIONS - left])
        except EndpointError as error:
            record.fail("refused", error)
            raise
        else:
            # Written before the service is asked anything else: from here on the job is known.
            record.see(job)
            return _only_one(tuner, run.token, job)
    raise AssertionError("the last submission either returns or raises")


def _look_for(tuner: Tuner, token: str, timing: Timing, until: float) -> JobState | None:
    """The job with this token as soon as the service lists it; `None` if it has not until then.

    Raises:
        OutcomeUnknown: the service could not say, so that nothing may be submitted.
    """
    unavailable: ServiceUnavailable | None = None
    for wait in LOOKS_SECONDS:
        left = until - timing.clock()
        if wait and left <= 0:
            break
        timing.wait(min(wait, max(0.0, left)))
        try:
            found = tuner.find(token)
        except ServiceUnavailable as error:
            unavailable = error
            continue
        unavailable = None
        if found:
            return _only_one(tuner, token, found[0])
    if unavailable is not None:
        raise _unsure(token, unavailable) from unavailable
    return None


def _unsure(token: str, error: ServiceUnavailable) -> OutcomeUnknown:
    return OutcomeUnknown(
        f"{error}. Whether the job was accepted is not known: none with token {token} has turned up. "
        "Type the same command again: it looks for the job first and submits only if there is none."
    )


def _only_one(tuner: Tuner, token: str, job: JobState) -> JobState:
    """The oldest job with a token; younger ones are cancelled.

    There are several when another machine submitted the same at the same moment, or when a submission that seemed lost
    was accepted after all.
    """
    try:
        known = {one.id: one for one in (*tuner.find(token), job)}
    except EndpointError:
        # The job exists and is written down; whether it is the only one, `tune list` shows.
        return job
    serving = [one for one in known.values() if not one.ended or one.status == "succeeded"]
    oldest, *others = sorted(serving, key=lambda one: one.created or 0.0) or [job]
    for other in others:
        if not other.ended:
            try:
                tuner.cancel(other.id)
            except EndpointError as error:
                logger.warning("a second job of this kind runs: %s. Type: luthier tune cancel %s", error, other.id)
    return oldest


def _close(tuner: Tuner, status: SubmissionStatus) -> None:
    """Writes into earlier runs of the same digest what became of their jobs."""
    if status.spent is not None:
        run, job = status.spent
        record = JobRecord(run.run_id)
        record.see(job)
        # A job that succeeded has a result that is still to be kept: attaching to it does that, and ends its run.
        if job.status != "succeeded":
            record.end(job.status)
    if status.lost is not None:
        JobRecord(status.lost.run_id).fail("gone", f"{tuner.place} does not know job {status.lost.job} any more")


def _tags(check: Preflight, digest: str, attempt: int) -> dict[str, str]:
    tags = {"digest": digest, "token": token_of(digest, attempt), "attempt": str(attempt), "place": check.place}
    if check.validation is not None:
        tags["validation_digest"] = check.validation.rows_digest
    return {TUNE_TAGS[name]: value for name, value in tags.items()} | {TAGS["train_digest"]: check.train.rows_digest}
