"""The verbs of fine-tuning, as a notebook and the command line call them: tune, attach, watch, look."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from luthier.documents import described
from luthier.errors import ModelError, UserError
from luthier.providers.endpoint import Endpoint
from luthier.spec import Spec
from luthier.tables import frame_of
from luthier.techniques.finetune import FineTune
from luthier.tracking.stores import connect
from luthier.tuning.job import Job, lost_job
from luthier.tuning.job_record import JobRecord
from luthier.tuning.job_runs import adopt_recipe, need_run, run_of_job, take_over
from luthier.tuning.submission import submit
from luthier.tuning.timing import REAL_TIME, Timing
from luthier.tuning.tuned_specs import TunedSpecFile, need_finetune
from luthier.tuning.tuners import Tuner, tuner_for
from luthier.tuning.tuners.tuner import JobNotFound, JobState
from luthier.tuning.tuning_plan import TuningPlan, plan_tuning
from luthier.tuning.watch import CostForecast, Watch
from luthier.tuning.watch_driver import WatchedJob, Watcher, attended, follow

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
    timing: Timing = REAL_TIME,
) -> Job:
    """Fine-tunes a spec's base model on labelled rows; the same call finds its job, however it was interrupted.

    Args:
        spec: a recipe of technique fine-tune.
        train: labelled rows to train on: a DataFrame, a path, or what else `compare` takes.
        validation: labelled rows the service measures on while it trains.
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
    timing: Timing = REAL_TIME,
) -> Job:
    """As `tune`, for what `plan_tuning` planned."""
    job: Job | None = None
    if plan.buys:
        plan.check_affordable(budget_usd, watched=not detach)
    with attended(lambda: None if job is None else job.id, watcher) as watcher:
        job = submit(plan, budget_usd=budget_usd, watched=not detach, timing=timing)
        return job if detach else job.watch(budget_usd=budget_usd, watcher=watcher, timing=timing)


def attach_job(
    job: str,
    *,
    spec: Spec | None = None,
    endpoint: Endpoint | None = None,
    to: str | Path | TunedSpecFile | None = None,
    tuner: Tuner | None = None,
) -> Job:
    """A job that was submitted earlier, here or elsewhere; `.watch()` goes on from where the last watch stopped.

    Args:
        job: the service's id, or the id of its run.
        spec: the recipe, for a job that the tracking store does not know; the job is taken over into a new run.
        endpoint: where the job is, if not where it was submitted (another port of the same server).
        to: file to write the tuned spec to, if not the one given when it was submitted.
        tuner: the service; the one behind the endpoint when absent.

    Raises:
        ModelError: the tracking store does not know the job and no spec was given.
        EndpointError: the service does not know it.
        UserError: `to` could not be written in the end.
    """
    if not isinstance(job, str):
        raise ModelError(f"a job is wanted, by the service's id or the id of its run; given: {described(job)}.")
    run = run_of_job(job) if spec is not None else need_run(job)
    if run is not None and spec is not None and not run.has_recipe:
        adopt_recipe(run, _fitting(need_finetune(spec).untuned(), job, run.base_model))
    recipe = need_finetune(spec).untuned() if run is None else run.spec().untuned()
    assert recipe.endpoint is not None
    target = TunedSpecFile(Path(to)) if isinstance(to, str | Path) else to
    if target is not None:
        target.check(job if run is None else run.job)
    service = tuner or tuner_for(endpoint or recipe.endpoint)
    if run is None:
        state = service.poll(job)
        run = take_over(state, service.place, _fitting(recipe, job, state.base_model), connect(recipe.task))
    elif run.job is None:
        # The service may have taken the submission although its answer was lost with the process that waited for it.
        found = service.find(run.token)
        if not found:
            raise ModelError(
                f"run {run.run_id} has no job yet: submitting was interrupted. Type the luthier tune command again."
            )
        state = found[0]
        JobRecord(run.run_id).see(state)
    else:
        try:
            state = service.poll(run.job)
        except JobNotFound as error:
            raise lost_job(run, service, error) from error
    submission = run.submission()
    if target is None and submission.get("target"):
        given = TunedSpecFile(Path(submission["target"]["path"]), submission["target"]["exact"])
        # The job may have been submitted on another machine, or the folder be gone.
        target = given if given.path.parent.is_dir() else None
    tokens = ((submission.get("preflight") or {}).get("train") or {}).get("tokens")
    return Job(run, state, service, recipe, target, tokens=tokens, budget_usd=submission.get("budget_usd"))


def _fitting(spec: FineTune, job: str, base_model: str) -> FineTune:
    if base_model != spec.base_model:
        raise UserError(
            f"job {job} trains {base_model}, and spec {spec.name!r} names {spec.base_model}; "
            "give the spec it was submitted for."
        )
    return spec


def watch_job(
    job: Job, *, budget_usd: float | None = None, watcher: Watcher | None = None, timing: Timing = REAL_TIME
) -> Job:
    """As `Job.watch`, with a line on stderr; Ctrl-C stops the watching and leaves the job alone."""
    with attended(lambda: job.id, watcher) as watcher:
        return job.watch(budget_usd=budget_usd, watcher=watcher, timing=timing)


def look_at(
    job: str,
    endpoint: Endpoint | None = None,
    *,
    tuner: Tuner | None = None,
    watcher: Watcher | None = None,
    timing: Timing = REAL_TIME,
) -> JobState:
    """Follows any job of a service to its end and writes nothing.

    Args:
        job: the service's id, or the id of its run.
        endpoint: where it is; needed for a job that the tracking store does not know.
        tuner: the service; the one behind the endpoint when absent.
        watcher: is shown each look; a line on stderr when absent.
        timing: how time passes.

    Raises:
        ModelError: no endpoint was given and the tracking store does not know the job.
        EndpointError: the service does not know the job, or refuses.
    """
    if tuner is None and endpoint is None:
        run = need_run(job)
        endpoint, job = run.spec().untuned().endpoint, run.job or job
    if tuner is None:
        assert endpoint is not None
        tuner = tuner_for(endpoint)
    watch = Watch(job, CostForecast(tuner.estimate), poll_seconds=timing.poll_seconds)
    with attended(lambda: job, watcher) as watcher:
        return follow(WatchedJob(tuner, watch, watcher=watcher), timing)
