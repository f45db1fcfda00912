"""Fine-tuning jobs: those of the tracking store, those of a service, and those that no run owns."""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any

from luthier.providers.endpoint import Endpoint
from luthier.tuning.job_record import JobRecord
from luthier.tuning.job_runs import TuneRun, tune_runs
from luthier.tuning.tuners import tuner_for
from luthier.tuning.tuners.tuner import ENDED, JobState, Tuner

__all__ = ["ListedJob", "jobs", "lines_of", "list_jobs"]

GONE = "gone from the service"
"""Status of a job that was alive when last heard of, and that its service does not list any more."""


@dataclass(frozen=True)
class ListedJob:
    """One job.

    Attributes:
        job: the service's id; `None` for a submission without a job.
        status: the service's word, now or as last heard.
        base_model: what is trained.
        tuned_model: the result.
        created: Unix time.
        place: where it is.
        spec: name of the spec, if a run has it.
        run_id: the run that owns it, if any.
        owner: `run` (a run of this tracking store), `luthier` (submitted with another store), `nobody`.
    """

    job: str | None
    status: str
    base_model: str
    tuned_model: str | None
    created: float | None
    place: str
    spec: str | None = None
    run_id: str | None = None
    owner: str = "run"

    def document(self) -> dict[str, Any]:
        """The fields as JSON values."""
        return asdict(self)


def jobs(endpoint: Endpoint | None = None) -> list[ListedJob]:
    """Fine-tuning jobs of the tracking store, newest first; with an endpoint also all jobs of its service."""
    return list_jobs(None if endpoint is None else tuner_for(endpoint))


def list_jobs(tuner: Tuner | None = None) -> list[ListedJob]:
    """The jobs of the tracking store, newest first; with a service also all of its jobs, with their status now.

    A job whose submission was interrupted before the answer came is recognised by its token and written into its run.

    Args:
        tuner: the service to ask; none is asked when absent.
    """
    runs = tune_runs()
    if tuner is None:
        return [_of_run(run) for run in runs]
    states = {state.id: state for state in tuner.listed()}
    # Listed newest first, so that the oldest job of a token, which is the one that counts, is kept.
    carried = {state.token: state for state in states.values() if state.token is not None}
    owned = {run.job for run in runs}
    found = []
    for run in runs:
        now = states.get(run.job or "")
        if run.pending and run.place == tuner.place and run.token in carried:
            now = carried[run.token]
            JobRecord(run.run_id).see(now)
            owned.add(now.id)
        missing = now is None and run.job is not None and run.place == tuner.place
        found.append(_of_run(run, now, GONE if missing and run.job_status not in ENDED else None))
    found += [_unowned(state, tuner.place) for state in states.values() if state.id not in owned]
    return sorted(found, key=lambda job: -(job.created or 0.0))


def _of_run(run: TuneRun, now: JobState | None = None, instead: str | None = None) -> ListedJob:
    last = instead or run.job_status or ("submission interrupted" if run.pending else "not submitted")
    job, status, tuned = (run.job, last, run.tuned_model) if now is None else (now.id, now.status, now.tuned_model)
    return ListedJob(job, status, run.base_model, tuned, run.started, run.place, run.name, run.run_id)


def _unowned(state: JobState, place: str) -> ListedJob:
    owner = "nobody" if state.token is None else "luthier"
    return ListedJob(state.id, state.status, state.base_model, state.tuned_model, state.created, place, owner=owner)


OWNERS = {
    "nobody": "not submitted from here; take it over: luthier tune attach JOB --spec SPEC",
    "luthier": "submitted with another tracking store; take it over: luthier tune attach JOB --spec SPEC",
}


def lines_of(jobs: Sequence[ListedJob], *, asked: bool = True) -> list[str]:
    """The jobs as a table of text.

    Args:
        jobs: from `list_jobs`.
        asked: whether a service was asked; if not, a line says that statuses are as last heard.
    """
    if not jobs:
        return ["no jobs yet; luthier tune SPEC --train TABLE --validation TABLE submits one"]
    head = ("JOB", "STATUS", "BASE MODEL", "SPEC", "SINCE", "OWNED BY")
    rows = [head] + [
        (
            job.job or "-",
            job.status,
            job.base_model,
            job.spec or "-",
            "-" if job.created is None else time.strftime("%Y-%m-%d %H:%M", time.localtime(job.created)),
            f"run {job.run_id}" if job.owner == "run" else OWNERS[job.owner].split(";")[0],
        )
        for job in jobs
    ]
    widths = [max(len(row[column]) for row in rows) for column in range(len(head))]
    lines = ["  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip() for row in rows]
    strays = sorted({job.owner for job in jobs} - {"run"})
    lines += [OWNERS[owner].split("; ")[1] for owner in strays[:1]]
    if not asked and any(job.job is not None and job.status not in ENDED for job in jobs):
        lines.append("statuses are as last heard; to ask the service for them now: luthier tune list SPEC")
    return lines
