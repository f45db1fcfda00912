"""Submit once: a job is bought for an order that has none, and for no other.

    no run --> intended --> sending --> submitted
                  |            |            |
                  +-- killed --+            +--> watched (see watch.py)
                        |
              typed again: is there a job with the token? --> taken over; else the order goes on where it was

The token is made of the order's digest, so that the same command finds the job from another machine, and after
the tracking store was lost, too.
"""

from __future__ import annotations

import hashlib
import json
import logging
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from typing import Any, TypeVar

from luthier.errors import EndpointError
from luthier.techniques.finetune import FineTune
from luthier.tracking.runs import TAGS
from luthier.tuning.job_runs import TUNE_TAGS, JobRecord, TuneRun, begin_tune, write_submission
from luthier.tuning.preflight import Preflight
from luthier.tuning.tuners.tuner import JobNotFound, JobState, OutcomeUnknown, ServiceUnavailable, Submission, Tuner

__all__ = ["REAL_TIME", "Timing", "SubmissionStatus", "patiently", "submission_status", "submit_once", "tune_digest"]

logger = logging.getLogger(__name__)

Result = TypeVar("Result")

VERSION = 1
TOKEN_LENGTH = 16

SETTLE_SECONDS = 30.0
"""How long after an order was sent its job may still turn up in the service's list."""

LOOKS_SECONDS = (0.0, 1.0, 2.0, 4.0, 8.0, 15.0)
"""Waits between looks for a job whose order got no answer; SETTLE_SECONDS in all."""

TRIES_SECONDS = (0.0, 1.0, 2.0, 4.0, 8.0)
"""Waits before something that did not happen is tried again."""

MAX_SUBMISSIONS = 3


@dataclass(frozen=True)
class Timing:
    """How time passes.

    Attributes:
        wait: waits so many seconds.
        clock: Unix time.
        poll_seconds: time between looks at a job; as fits the service when absent.
    """

    wait: Callable[[float], None] = time.sleep
    clock: Callable[[], float] = time.time
    poll_seconds: float | None = None


REAL_TIME = Timing()


@dataclass(frozen=True)
class SubmissionStatus:
    """How far an order has come.

    Attributes:
        run: its run; of an order without a job one that was begun and never answered, `None` where there is none.
        job: the job that serves it; `None` means that one would have to be bought.
        attempt: number of this order among those of this digest, from 1.
        spent: a run and the ended job that was found to be its own, to be written down.
        lost: a run whose job the service does not know any more, where another is wanted; to be written down.
    """

    run: TuneRun | None
    job: JobState | None
    attempt: int
    spent: tuple[TuneRun, JobState] | None = None
    lost: TuneRun | None = None


def tune_digest(spec: FineTune, check: Preflight) -> str:
    """sha256 of everything that is bought: what is trained on, of what, how, and where. Not names, not decoding."""
    facts = [
        VERSION,
        check.place,
        check.model,
        check.train.digest,
        None if check.validation is None else check.validation.digest,
        # What a later version adds is left at its default by the orders of today, and they must stay the same.
        spec.tuning.model_dump(mode="json", exclude_defaults=True),
    ]
    return hashlib.sha256(json.dumps(facts, sort_keys=True).encode()).hexdigest()


def token_of(digest: str, attempt: int) -> str:
    """What a job carries so that it is found again."""
    return f"{digest[:TOKEN_LENGTH]}-{attempt}"


def submission_status(
    tuner: Tuner, runs: Sequence[TuneRun], digest: str, *, again: bool = False, timing: Timing = REAL_TIME
) -> SubmissionStatus:
    """Whether an order has a job that serves: one that is alive, or has succeeded.

    Args:
        tuner: the service; it is asked, nothing is bought.
        runs: the runs of this digest, oldest first.
        digest: of the order.
        again: whether another job is wanted although one has succeeded. One that is alive always serves.
        timing: how time passes.

    Raises:
        JobNotFound: the service does not know the job that serves it, and no other is wanted.
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
                # Somebody else's key would see just this: what was paid for is not bought once more on a guess.
                raise JobNotFound(
                    f"{error} It serves this very order (run {latest.run_id}). If the key is another account's or "
                    "project's, set the right one. If the job was deleted, add --again (again=True) to buy another."
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
            # It was refused. An earlier try of the same order may have been taken all the same, so it was looked for.
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
    """The run and the job of an order: those there are, else bought now.

    Args:
        spec: the recipe, untuned.
        check: its lines and price.
        tuner: the service.
        runs: reads the runs of this order.
        again: see `submission_status`.
        facts: further things to be written down with the document.
        timing: how time passes.
        agree: called before anything is bought; raises where it is not to be.
        began: told of the run before anything is uploaded.

    Returns:
        The run, the job, and whether it was bought just now.

    Raises:
        EndpointError: the service refuses; nothing was bought.
        OutcomeUnknown: the order was sent and no answer came; the same command finds out.
    """
    digest = tune_digest(spec, check)
    with _alone(digest):
        now = submission_status(tuner, runs(), digest, again=again, timing=timing)
        if now.spent is not None:
            _close(*now.spent)
        if now.lost is not None:
            JobRecord(now.lost.run_id).lost(f"{tuner.place} does not know job {now.lost.job} any more")
        run = now.run
        if now.job is None and run is None:
            agree()
            # Before there is a run, so that an account that may not leaves nothing behind.
            patiently(timing, lambda: tuner.admit(check.model))
        document = {**(facts or {}), "preflight": check.document()}
        if run is None:
            run = begin_tune(spec, _tags(check, digest, now.attempt), document)
        elif now.job is None:
            # Its process may have died before it had written all of it, and the result may be wanted elsewhere now.
            write_submission(run.run_id, spec, document)
        record = JobRecord(run.run_id)
        job = now.job
        if job is None:
            began(run.run_id)
            record.params({f"sent.{name}": value for name, value in spec.tuning.model_dump(exclude_none=True).items()})
            job = _buy(spec, check, tuner, run, record, timing)
        record.see(job)
        return run, job, now.job is None


def _buy(spec: FineTune, check: Preflight, tuner: Tuner, run: TuneRun, record: JobRecord, timing: Timing) -> JobState:
    lines = check.validation
    try:
        train = patiently(timing, lambda: tuner.upload(check.train.name, check.train.content))
        held_out = None if lines is None else patiently(timing, lambda: tuner.upload(lines.name, lines.content))
    except ServiceUnavailable:
        raise
    except EndpointError as error:
        if run.sent is None:
            record.refused(error)
        raise
    submission = Submission(
        model=check.model,
        training_file=train,
        validation_file=held_out,
        hyperparameters=spec.tuning.hyperparameters,
        seed=spec.tuning.seed,
        suffix=spec.tuning.suffix,
        token=run.token,
        training_type=spec.tuning.training_type,
    )
    if run.sent is not None:
        # An order was under way when its process died; its job may turn up late.
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
            record.refused(error)
            raise
        else:
            # Before anything else is asked: from here on it is known.
            record.see(job)
            return _only_one(tuner, run.token, job)
    raise AssertionError("the last submission either returns or raises")


def _look_for(tuner: Tuner, token: str, timing: Timing, until: float) -> JobState | None:
    """The job with this token as soon as the service lists it; `None` if it has not by then.

    Raises:
        OutcomeUnknown: the service could not say, so that nothing may be ordered.
    """
    away: ServiceUnavailable | None = None
    for wait in LOOKS_SECONDS:
        left = until - timing.clock()
        if wait and left <= 0:
            break
        timing.wait(min(wait, max(0.0, left)))
        try:
            found = tuner.find(token)
        except ServiceUnavailable as error:
            away = error
            continue
        away = None
        if found:
            return _only_one(tuner, token, found[0])
    if away is not None:
        raise _unsure(token, away) from away
    return None


def _unsure(token: str, error: ServiceUnavailable) -> OutcomeUnknown:
    return OutcomeUnknown(
        f"{error}. Whether the job was taken is not known: none with token {token} has turned up. "
        "Type the same command again: it looks for the job first and submits only if there is none."
    )


def _only_one(tuner: Tuner, token: str, job: JobState) -> JobState:
    """The oldest job of an order; others are ended.

    There are others when another machine sent the same order at the same moment, or when one that was given up for
    lost turned up after all.
    """
    try:
        known = {one.id: one for one in (*tuner.find(token), job)}
    except EndpointError:
        # It is there and written down; whether it is alone can be seen by `tune list`.
        return job
    serving = [one for one in known.values() if not one.ended or one.status == "succeeded"]
    if not serving:
        return job
    oldest, *others = sorted(serving, key=lambda one: one.created or 0.0)
    for other in others:
        if other.ended:
            continue
        try:
            tuner.cancel(other.id)
        except EndpointError as error:
            logger.warning("a second job of this order runs: %s. Type: luthier tune cancel %s", error, other.id)
    return oldest


def patiently(timing: Timing, act: Callable[[], Result]) -> Result:
    """What is asked of a service, though it may be away for a moment."""
    for wait in TRIES_SECONDS[1:]:
        try:
            return act()
        except ServiceUnavailable:
            timing.wait(wait)
    return act()


def _close(run: TuneRun, job: JobState) -> None:
    record = JobRecord(run.run_id)
    record.see(job)
    # One that succeeded has a result that is still to be kept: whoever attaches to it does, and ends its run.
    if job.status != "succeeded":
        record.end(job.status)


def _tags(check: Preflight, digest: str, attempt: int) -> dict[str, str]:
    tags = {
        TUNE_TAGS["digest"]: digest,
        TUNE_TAGS["token"]: token_of(digest, attempt),
        TUNE_TAGS["attempt"]: str(attempt),
        TUNE_TAGS["place"]: check.place,
        TAGS["train_digest"]: check.train.rows_digest,
    }
    if check.validation is not None:
        tags[TUNE_TAGS["validation_digest"]] = check.validation.rows_digest
    return tags


@contextmanager
def _alone(digest: str) -> Iterator[None]:
    """One process of this machine at a time submits the same order; the next finds its job."""
    from filelock import FileLock

    from luthier.home import luthier_home

    folder = luthier_home() / "tuning"
    folder.mkdir(exist_ok=True)
    with FileLock(folder / f"{digest[:TOKEN_LENGTH]}.lock", mode=0o600):
        yield
