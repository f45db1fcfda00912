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

import logging
from collections.abc import Callable
from dataclasses import replace
from functools import partial

from luthier.errors import EndpointError, LuthierError
from luthier.replies.late_listing import LISTED_SECONDS, listed_by
from luthier.tracking.runs import TAGS, MlflowRun
from luthier.tracking.stores import known_experiment
from luthier.tuning.job import Job
from luthier.tuning.job_record import JobRecord
from luthier.tuning.job_runs import TUNE_TAGS, TuneRun, begin_tune, runs_of_digest, write_submission
from luthier.tuning.preflight import Preflight, log_preflight
from luthier.tuning.submission_status import TOKEN_LENGTH, SubmissionStatus, submission_status, token_of
from luthier.tuning.timing import REAL_TIME, TRIES_SECONDS, Timing, patiently
from luthier.tuning.tuners.tuner import JobState, OutcomeUnknown, Quotes, ServiceUnavailable, Submission, Tuner
from luthier.tuning.tuning_plan import TuningPlan

__all__ = ["submit"]

logger = logging.getLogger(__name__)

MAX_SUBMISSIONS = 3


def submit(
    plan: TuningPlan,
    *,
    budget_usd: float | None = None,
    watched: bool = True,
    timing: Timing = REAL_TIME,
    reserve: Callable[[float | None], None] | None = None,
    parent: str | None = None,
) -> Job:
    """The job of a plan: the existing one, else one that is bought now.

    Args:
        plan: from `plan_tuning`.
        budget_usd: most the job may cost; kept with the run, so that a later watch holds it too.
        watched: whether the job will be watched; see `TuningPlan.check_affordable`.
        timing: how time passes.
        reserve: called with the price, `None` when unknown, just before a job is bought; what it raises stops that.
        parent: MLflow run that a run made now is put beneath, such as that of a sweep.

    Raises:
        BudgetReached: the job would cost more; nothing was bought.
        EndpointError: the service refuses; nothing was bought.
        OutcomeUnknown: the submission was sent and no answer came; the same command finds out.
    """
    from filelock import FileLock

    from luthier.home import luthier_home

    spec, check, tuner, digest = plan.spec, plan.check, plan.tuner, plan.digest
    folder = luthier_home() / "tuning"
    folder.mkdir(exist_ok=True)
    # One process of this machine at a time submits the same; the next finds its job.
    with FileLock(folder / f"{digest[:TOKEN_LENGTH]}.lock", mode=0o600):
        runs = runs_of_digest(known_experiment(spec.task), digest)
        now = submission_status(tuner, runs, digest, again=plan.again, timing=timing)
        _close(tuner, now)
        run, job = now.run, now.job
        if job is None and run is None:
            # A job that the plan counted on may be gone by now, and then its tables and price were not checked.
            plan.check_affordable(budget_usd, watched=watched)
            # Before there is a run, so that an account that may not fine-tune leaves none behind.
            patiently(timing, lambda: tuner.admit(check.model))
        document = {
            "target": None if plan.target is None else plan.target.document(),
            "budget_usd": budget_usd,
            "preflight": check.document(),
        }
        if run is None:
            run = begin_tune(spec, _tags(check, digest, now.attempt), document, parent)
        elif job is None:
            # Its process may have died before writing all of it, and the result may be wanted elsewhere now.
            write_submission(run.run_id, spec, document)
        record = JobRecord(run.run_id)
        if job is None:
            log_preflight(run.run_id, check)
            for name, frame in plan.frames.items():
                MlflowRun(run.run_id).log_table(frame, name=name, context=name, targets=spec.task.label)
            record.params({f"sent.{name}": value for name, value in spec.tuning.model_dump(exclude_none=True).items()})
            job = _buy(plan, run, record, timing, budget_usd, reserve)
        record.see(job)
    run = replace(run, quoted_usd=record.quoted_usd)
    return Job(run, job, tuner, spec, plan.target, bought=now.job is None, tokens=check.train.tokens)


def _buy(
    plan: TuningPlan,
    run: TuneRun,
    record: JobRecord,
    timing: Timing,
    budget_usd: float | None,
    reserve: Callable[[float | None], None] | None,
) -> JobState:
    spec, check, tuner = plan.spec, plan.check, plan.tuner
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
        late = _look_for(tuner, run.token, timing, until=run.sent + LISTED_SECONDS)
        if late is not None:
            return late
    try:
        quoted_usd = None
        if isinstance(tuner, Quotes):
            quoted_usd = patiently(timing, partial(tuner.quote, submission))
        if quoted_usd is not None:
            record.quote(quoted_usd)
        price_usd = plan.check_price(quoted_usd, budget_usd)
        if reserve is not None:
            reserve(price_usd)
    except ServiceUnavailable:
        raise
    except LuthierError as error:
        record.fail("refused", error)
        raise
    for left in reversed(range(MAX_SUBMISSIONS)):
        record.tag(sent=repr(timing.clock()))
        try:
            job = tuner.submit(submission)
        except OutcomeUnknown as error:
            found = _look_for(tuner, run.token, timing, until=timing.clock() + LISTED_SECONDS)
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
    try:
        found = listed_by(until, lambda: tuner.find(token), clock=timing.clock, wait=timing.wait)
    except ServiceUnavailable as error:
        raise _unsure(token, error) from error
    return _only_one(tuner, token, found[0]) if found else None


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
