"""The jobs there are: those the tracking store knows, those the service knows, and those that no run owns."""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any

from luthier.tuning.job_runs import JobRecord, TuneRun, tune_runs
from luthier.tuning.tuners.tuner import ENDED, JobState, Tuner

__all__ = ["ListedJob", "lines_of", "list_jobs"]

GONE = "gone from the service"
"""Status of a job that was alive when it was last heard of, and that its service does not list any more."""


@dataclass(frozen=True)
class ListedJob:
    """One job.

    Attributes:
        job: the service's id; `None` for an order without one.
        status: the service's word, now or as last heard.
        base_model: what is trained.
        tuned_model: the result.
        created: Unix time.
        place: where it is.
        spec: name of the spec, if a run has it.
        run_id: the run that owns it.
        owner: `run` (this tracking store), `luthier` (submitted by Luthier, with another store), `nobody`.
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
        """As JSON has it."""
        return asdict(self)


def list_jobs(tuner: Tuner | None = None) -> list[ListedJob]:
    """Jobs of the tracking store, newest first; with a service also all of its own, with their status now.

    A job whose order was interrupted before the answer came is known by its token, and written into its run.

    Args:
        tuner: the service to ask; nothing is asked when absent.
    """
    runs = tune_runs()
    if tuner is None:
        return [_of_run(run) for run in runs]
    states = {state.id: state for state in tuner.listed()}
    # The newest come first, and an order is served by its oldest job.
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
    status = instead or run.job_status or ("order interrupted" if run.pending else "not submitted")
    return ListedJob(
        job=run.job if now is None else now.id,
        status=status if now is None else now.status,
        base_model=run.base_model,
        tuned_model=run.tuned_model if now is None else now.tuned_model,
        created=run.started,
        place=run.place,
        spec=run.name,
        run_id=run.run_id,
    )


def _unowned(state: JobState, place: str) -> ListedJob:
    return ListedJob(
        job=state.id,
        status=state.status,
        base_model=state.base_model,
        tuned_model=state.tuned_model,
        created=state.created,
        place=place,
        owner="nobody" if state.token is None else "luthier",
    )


OWNERS = {
    "nobody": "not submitted from here; take it over: luthier tune attach JOB --spec SPEC",
    "luthier": "submitted with another tracking store; take it over: luthier tune attach JOB --spec SPEC",
}


def lines_of(jobs: Sequence[ListedJob], *, asked: bool = True) -> list[str]:
    """The jobs as a table of text.

    Args:
        jobs: from `list_jobs`.
        asked: whether a service said what they are now; else a job that has not ended is as it was last heard of.
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
