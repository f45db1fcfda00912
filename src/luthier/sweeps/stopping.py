"""Ending a sweep from outside: every job of it is cancelled, and the service has confirmed that."""

from __future__ import annotations

import logging

from luthier.errors import EndpointError, LuthierError, Partial
from luthier.providers.prices import sum_if_known
from luthier.sweeps.driver import STOPPED
from luthier.sweeps.store import StoredStudy
from luthier.sweeps.trial import SweepTrial
from luthier.tuning.job import Job
from luthier.tuning.timing import REAL_TIME, Timing, patiently
from luthier.tuning.tune import attach_job
from luthier.tuning.tuners.tuner import ENDED
from luthier.tuning.watch_driver import take_turn

__all__ = ["stop_study"]

logger = logging.getLogger(__name__)

PATIENCE_SECONDS = 120.0
"""How long other processes have to leave their trials: they look every 15 seconds, and a lease lasts a minute."""

LOOK_SECONDS = 1.0


def stop_study(study: StoredStudy, timing: Timing = REAL_TIME) -> None:
    """Has every machine start no further trial, and cancels the jobs of those under way.

    Raises:
        Partial: a job could not be cancelled, or its service did not confirm it; the message names each.
    """
    study.request_stop()
    deadline = timing.clock() + PATIENCE_SECONDS
    while True:
        _cancel_jobs(study, timing)
        # A process that was submitting a job just then cancels it itself, once it has looked for the request.
        running = [trial for trial in study.trials() if trial.status == "running"]
        if not running:
            return
        if timing.clock() > deadline:
            numbers = ", ".join(str(trial.number) for trial in running)
            raise Partial(
                f"other processes still drive trials {numbers} of {study.facts.name}. "
                f"Type again: luthier sweep stop {study.facts.name}"
            )
        timing.wait(LOOK_SECONDS)


def _cancel_jobs(study: StoredStudy, timing: Timing) -> None:
    jobs: list[tuple[SweepTrial, Job]] = []
    left: list[str] = []
    for trial in study.trials():
        settled = trial.status != "running" and trial.job_status in ENDED
        if trial.status in ("running", "paused", "interrupted") and trial.job is not None and not settled:
            try:
                job = attach_job(trial.job)
                if not job.state.ended:
                    # All are asked before the first is waited for: each minute of a job costs.
                    patiently(timing, lambda job=job: job.tuner.cancel(job.id))  # type: ignore[misc]
                jobs.append((trial, job))
            except EndpointError as error:
                left.append(f"{trial.job} ({error})")
    for trial, job in jobs:
        try:
            if not job.state.ended:
                job.cancel(timing=timing)
        except LuthierError as error:
            if not job.state.ended:
                left.append(f"{job.id} ({error})")
                continue
        _give_back(study, trial, job, timing)
    if left:
        raise Partial(
            f"{len(left)} jobs of {study.facts.name} may still run and cost: {'; '.join(left)}. "
            f"Type again: luthier sweep stop {study.facts.name}"
        )


def _give_back(study: StoredStudy, trial: SweepTrial, job: Job, timing: Timing) -> None:
    """Leaves the trial for `resume`, unless the process that drives it does so itself."""
    claim = study.claim_of(trial.number)
    if claim is None:
        logger.info("trial %d is driven by %s, which gives it back", trial.number, trial.owner)
        return
    study.note(claim, job_status=job.state.status)
    if job.state.status == "cancelled":
        # `resume` buys the job again; what this one cost stays part of what the trial cost.
        watched = job.watched(timing=timing)
        take_turn(watched, timing)
        notes = study.notes(trial.number)
        spent = [notes.get("earlier_usd", 0.0), notes.get("checkpoints_usd", 0.0), job.bill(watched.state).cost_usd]
        study.note(claim, earlier_usd=sum_if_known(spent), training_usd=0.0, checkpoints_usd=0.0)
    study.release(claim, "interrupted", STOPPED)
