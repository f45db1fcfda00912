"""The verbs of fine-tuning: tune, attach, watch, as a notebook and the command line call them."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from luthier.documents import described
from luthier.errors import ModelError
from luthier.providers.endpoint import Endpoint
from luthier.spec import Spec
from luthier.tables import frame_of
from luthier.tuning.job import Job, attach, service_of, submit
from luthier.tuning.submission import Timing
from luthier.tuning.tuned_specs import TunedSpecFile
from luthier.tuning.tuners import Tuner
from luthier.tuning.tuners.tuner import JobState
from luthier.tuning.tuning_plan import TuningPlan, plan_tuning
from luthier.tuning.watch import JobLine, Watcher, follow, stoppable

__all__ = ["attach_job", "look_at", "tune", "tune_planned", "watch_job"]


def tune(
    spec: Spec,
    train: Any,
    validation: Any = None,
    *,
    test: Any = None,
    to: str | Path | None = None,
    budget_usd: float | None = None,
    again: bool = False,
    drop_leaked: bool = False,
    detach: bool = False,
    tuner: Tuner | None = None,
    watcher: Watcher | None = None,
    timing: Timing | None = None,
) -> Job:
    """Fine-tunes a spec's base model on labelled rows; the same call finds its job, however it was interrupted.

    Args:
        spec: a recipe of technique fine-tune.
        train: labelled rows to train on: a DataFrame, a path, or what else `compare` takes.
        validation: labelled rows the service measures on meanwhile.
        test: labelled rows the result will be measured on, which must not be among the others.
        to: file to write the tuned spec to.
        budget_usd: most that training may cost.
        again: submit another job although one has succeeded.
        drop_leaked: leave out rows whose text also stands in a table they would be measured by.
        detach: return as soon as the job is submitted.
        tuner: the service; the one behind the spec's endpoint when absent.
        watcher: is shown each look at the job; a line on stderr when absent.
        timing: how time passes.

    Returns:
        The job; `job.spec` is the tuned recipe, `job.run_id` its MLflow run.

    Raises:
        SpecError: the spec cannot be tuned, or a hyperparameter is out of bounds.
        EndpointError: the service refuses, or the job failed.
        BudgetReached: training would cost more; nothing was uploaded.
        Interrupted: watching was stopped; the job goes on.
    """
    target = None if to is None else TunedSpecFile(Path(to))
    learned = frame_of(train, "the training table")
    validation, test = (
        None if table is None else frame_of(table, f"the {name} table")
        for name, table in (("validation", validation), ("test", test))
    )
    plan = plan_tuning(spec, learned, validation, test, to=target, again=again, tuner=tuner, drop_leaked=drop_leaked)
    return tune_planned(plan, budget_usd=budget_usd, detach=detach, watcher=watcher, timing=timing)


def tune_planned(
    plan: TuningPlan,
    *,
    budget_usd: float | None = None,
    detach: bool = False,
    watcher: Watcher | None = None,
    timing: Timing | None = None,
) -> Job:
    """As `tune`, for what `plan_tuning` planned."""
    found: list[str] = []
    plan.check_clean()
    plan.check_budget(budget_usd, watched=not detach)

    def agree() -> None:
        # A job the plan counted on may be gone by now, and its tables were not held against it.
        plan.check.need_clean()
        plan.check_budget(budget_usd, watched=not detach)

    with stoppable(lambda: found[0] if found else None):
        job = submit(plan, budget_usd=budget_usd, timing=timing, agree=agree)
        found.append(job.id)
        return job if detach else watch_job(job, budget_usd=budget_usd, watcher=watcher, timing=timing)


def attach_job(
    job: str,
    *,
    spec: Spec | None = None,
    endpoint: Endpoint | None = None,
    to: str | Path | None = None,
    tuner: Tuner | None = None,
) -> Job:
    """A job that was submitted earlier; `.watch()` goes on from where the last watch left off.

    Args:
        job: the service's id, or the id of its run.
        spec: the recipe, for a job that the tracking store does not know; it gets a run of its own.
        endpoint: where the job is, if not where it was submitted.
        to: file to write the tuned spec to.
        tuner: the service; the one behind the endpoint when absent.

    Raises:
        ModelError: the tracking store does not know the job and no spec was given.
        EndpointError: the service does not know it.
        UserError: `to` could not be written in the end.
    """
    if not isinstance(job, str):
        raise ModelError(f"a job is wanted, by the service's id or the id of its run; given: {described(job)}.")
    return attach(job, spec=spec, endpoint=endpoint, to=None if to is None else TunedSpecFile(Path(to)), tuner=tuner)


def watch_job(
    job: Job, *, budget_usd: float | None = None, watcher: Watcher | None = None, timing: Timing | None = None
) -> Job:
    """Follows a job with a line on stderr; Ctrl-C leaves the job alone."""
    line = JobLine()
    try:
        with stoppable(lambda: job.id):
            return job.watch(budget_usd=budget_usd, watcher=watcher or line, timing=timing)
    finally:
        line.close()


def look_at(
    job: str,
    endpoint: Endpoint | None = None,
    *,
    tuner: Tuner | None = None,
    watcher: Watcher | None = None,
    timing: Timing | None = None,
) -> JobState:
    """Follows any job of a service to its end and writes nothing down.

    Args:
        job: the service's id, or the id of its run.
        endpoint: where it is; needed for a job that the tracking store does not know.
        tuner: the service; the one behind the endpoint when absent.
        watcher: is shown each look; a line on stderr when absent.
        timing: how time passes.
    """
    service, name = service_of(job, endpoint, tuner)
    line = JobLine()
    try:
        with stoppable(lambda: name):
            return follow(service, None, name, timing=timing, watcher=watcher or line)
    finally:
        line.close()
