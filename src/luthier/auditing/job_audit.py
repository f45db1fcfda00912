"""The audit of finished jobs: the tuned model is asked as the service measured it, then step by step as it is served.

a job --> chain of conditions --> predictions of each --> what each change makes of reported minus measured
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

from luthier.auditing.audit_result import AuditResult, audit_job, audit_jobs
from luthier.engine.options import DEFAULTS, RunOptions
from luthier.engine.progress import shown
from luthier.errors import DataError, ModelError, Partial, SpecError, UserError
from luthier.evaluation.decomposition import Condition
from luthier.evaluation.measures import METRICS
from luthier.evaluation.metric_names import metric_name
from luthier.experiments.fits import fit_on, training_for
from luthier.plans import Plan, plan_rows
from luthier.spec import Spec
from luthier.tasks.task import Rows
from luthier.techniques.finetune import FineTune
from luthier.techniques.prompt.settings import AnswerFormat, Decoding
from luthier.tuning.job import Job
from luthier.tuning.job_runs import TUNE_TAGS, tune_runs
from luthier.tuning.row_checks import without_leaks
from luthier.tuning.tune import attach_job
from luthier.tuning.tuned_specs import need_finetune

if TYPE_CHECKING:
    import pandas as pd

__all__ = [
    "ConditionChain",
    "PlannedCondition",
    "audit_chains",
    "chain_of",
    "chains_of",
    "jobs_of_sweep",
    "plan_chains",
]


@dataclass(frozen=True)
class PlannedCondition:
    """A `Condition` before its requests are sent."""

    name: str
    changes: str
    spec: FineTune
    rows: Rows


@dataclass(frozen=True)
class ConditionChain:
    """A job and everything that has to be asked to audit it.

    Attributes:
        conditions: from the service's terms to the measurement that counts.
        train: rows that the serving spec is fitted on, if it needs any.
        reported_rows: number of rows the service measured on, if its table was given.
    """

    job: Job
    conditions: tuple[PlannedCondition, ...]
    train: Rows | None
    reported_rows: int | None


def jobs_of_sweep(run_id: str) -> list[str]:
    """Ids of the succeeded jobs whose runs are children of a run.

    Raises:
        ModelError: there are none.
    """
    import mlflow

    beneath = [
        run.job
        for run in tune_runs()
        if run.job is not None
        and run.job_status == "succeeded"
        and mlflow.get_run(run.run_id).data.tags.get("mlflow.parentRunId") == run_id
    ]
    if not beneath:
        raise ModelError(
            f"no succeeded job has its run beneath run {run_id}; name the jobs: luthier audit JOB JOB --test TABLE"
        )
    return beneath


def reported_by(job: Job) -> dict[str, float]:
    """The last figures that the service reported for a job, by its own keys: those that are metrics of answers.

    Raises:
        ModelError: there are none, as at services that report losses and token accuracy only.
    """
    import mlflow

    figures: Mapping[str, float] = mlflow.get_run(job.run_id).data.metrics
    found = {name: value for name, value in figures.items() if metric_name(name) in METRICS}
    if not found and job.run.status == "RUNNING":
        raise ModelError(
            f"job {job.id} {job.state.said}, but it was not watched to its end, so its run lacks what the service "
            f"reported. Fetch it, then audit again: luthier tune attach {job.id}"
        )
    if not found:
        has = ", ".join(sorted(figures)) or "none"
        raise ModelError(
            f"the service reported no accuracy, F1 or the like for job {job.id}, so there is nothing to compare with "
            f"what is measured; it reported: {has}. Measure the job itself with: "
            f"luthier tune checkpoints {job.id} --test TABLE"
        )
    return found


def chain_of(
    job: Job,
    test: pd.DataFrame,
    *,
    validation: pd.DataFrame | None = None,
    train: pd.DataFrame | None = None,
    serving: FineTune | None = None,
) -> ConditionChain:
    """What has to be asked to explain the difference between a job's reported and measured figures.

    Args:
        job: a job that succeeded.
        test: the rows of the measurement that counts.
        validation: the rows the job was given to measure on; without them the effects of chance and of other rows
            cannot be separated from the service's definition.
        train: rows the serving spec is calibrated on, if it is.
        serving: how the model is asked in production; as it was trained when absent.

    Raises:
        ModelError: the job has no result.
        SpecError: `serving` asks another job's model, or needs training rows that are not there.
        DataError: a table lacks a column, or the validation rows are not those of the job.
    """
    trained = job.spec
    served = trained if serving is None else _of_the_same_job(serving, job)
    test_rows = _labelled(served, test, "the test table")
    rows, counted = test_rows, None
    where = "the test rows"
    if validation is not None:
        rows = _measured_rows(job, _labelled(trained, validation, "the validation table"), test_rows)
        # A row without a text was never sent to the service.
        counted, where = sum(text is not None for text in rows.texts), "the service's rows"
    # The endpoint is where the model answers, at the service or as a deployment: no change of asking.
    specs = _stages(_with(trained, endpoint=served.endpoint, seed=served.seed), served)
    planned = [PlannedCondition(f"{where}: {name}", changes, spec, rows) for name, changes, spec in specs]
    if validation is not None and test_rows.digest != rows.digest:
        planned.append(PlannedCondition("the test rows", "rows", served, test_rows))
    return ConditionChain(job, tuple(planned), training_for([served], train)[served.name], counted)


def chains_of(
    jobs: Sequence[Job | str] | Job | str,
    test: pd.DataFrame | None,
    *,
    validation: pd.DataFrame | None = None,
    train: pd.DataFrame | None = None,
    serving: Spec | None = None,
) -> list[ConditionChain]:
    """What has to be asked to audit jobs; sends nothing, and refuses what cannot be audited.

    Raises:
        UserError: there is no job or no test table, or a serving spec for several jobs.
        ModelError: a job has no result, or its service reported nothing to compare.
    """
    given = list(jobs) if isinstance(jobs, Iterable) and not isinstance(jobs, Job | str) else [jobs]
    if not given:
        raise UserError(
            "nothing to audit: give jobs (luthier audit JOB --test TABLE), or a table of reported and measured values "
            "(luthier audit --pairs TABLE)."
        )
    if test is None:
        raise UserError("no rows to measure on; add --test TABLE (test=).")
    if serving is not None and len(given) > 1:
        raise UserError(f"a serving spec is of one job, and {len(given)} were given; audit them one by one.")
    recipe = None if serving is None else need_finetune(serving)
    owned = [job if isinstance(job, Job) else attach_job(job) for job in given]
    for job in owned:
        task = job.spec.task
        if not task.labels:
            raise SpecError(
                f"an audit compares how single labels are asked for and read, and an answer of task {task.name!r} "
                f"({task.type}) is none. Measure the tuned model with: luthier compare SPEC --test TABLE"
            )
        job.need_result()
        reported_by(job)
    return [chain_of(job, test, validation=validation, train=train, serving=recipe) for job in owned]


def plan_chains(chains: Sequence[ConditionChain], options: RunOptions = DEFAULTS) -> Plan:
    """What the chains would send and cost."""
    planned = []
    counted: set[bytes] = set()
    for chain in chains:
        for step in chain.conditions:
            found = plan_rows(step.spec, step.rows, chain.train, options, counted=counted)
            planned.append(replace(found, name=f"{chain.job.id}, {step.name}"))
    return Plan(tuple(planned), options.budget_usd)


def audit_chains(
    chains: Sequence[ConditionChain],
    options: RunOptions = DEFAULTS,
    *,
    tables: Mapping[str, pd.DataFrame] | None = None,
) -> AuditResult:
    """Asks the tuned models under every condition and keeps the audit as one run in the task's experiment.

    Args:
        chains: from `chains_of`.
        options: on what terms the models are asked; a budget is for all jobs together.
        tables: what the chains were made of, by name, for the run's datasets.

    Raises:
        ModelError: a service reported nothing to compare with.
        Partial: rows have no answer yet for a reason that may pass.
    """
    task, jobs = chains[0].conditions[0].spec.task, [chain.job.id for chain in chains]
    found = []
    options = options.for_command()
    for chain in chains:
        reported, conditions = reported_by(chain.job), _measured(chain, options)
        found.append(audit_job(chain.job.id, task, reported, conditions, reported_rows=chain.reported_rows))
    source = jobs[0] if len(jobs) == 1 else f"{len(jobs)} jobs"
    spent_usd = None if options.report is None else options.report.spent_now_usd
    tags = {TUNE_TAGS["job"]: ", ".join(jobs)}
    return audit_jobs(task, source, found, tags=tags, tables=tables, spent_usd=spent_usd)


def _measured(chain: ConditionChain, options: RunOptions) -> list[Condition]:
    conditions = []
    with (
        chain.job.hosted([planned.spec for planned in chain.conditions]) as specs,
        shown(options.progress, f"auditing {chain.job.id}") as progress,
    ):
        options = replace(options, progress=progress)
        for planned, spec in zip(chain.conditions, specs, strict=True):
            fitted = fit_on(spec, chain.train if spec.needs_training else None, options)
            predictions = tuple(options.asking_engine().drive(fitted.predict(planned.rows), spec.endpoint, options))
            waiting = sum(prediction.transient for prediction in predictions)
            if waiting:
                raise Partial(
                    f"{planned.name}: {waiting} of {len(predictions)} rows have no answer yet. Run the same command "
                    "again; answers so far are kept."
                )
            conditions.append(Condition(planned.name, planned.changes, planned.rows, predictions))
    return conditions


def _stages(trained: FineTune, served: FineTune) -> list[tuple[str, str, FineTune]]:
    """Name, change and spec of each condition on the same rows, from the service's terms to the serving ones."""
    plain = AnswerFormat(method="score", words=trained.answer.words)
    now = _with(trained, answer=plain, decoding=Decoding(), objective=None)
    name = "the likeliest label, asked as in training"
    if now.answer_mode not in ("first", trained.answer_mode):
        # Scoring would ask in another form than the training lines have, with letters for instance.
        now = _with(trained, answer=trained.answer.model_copy(update={"calibration_rows": 0}), objective=None)
        name = "asked as in training"
    stages = [(name, "definition", now)]

    def change(name: str, changes: str, **fields: Any) -> None:
        nonlocal now
        after = _with(now, **fields)
        if after.digest != now.digest:
            now = after
            stages.append((name, changes, now))

    change("answers read as they are when serving", "labels", answer=served.answer, objective=served.objective)
    change("the serving prompt", "prompt", prompt=served.prompt)
    change("the serving decoding", "decoding", decoding=served.decoding)
    return stages


def _with(spec: FineTune, **fields: Any) -> FineTune:
    return FineTune.model_validate({**spec._fields(), **fields})


def _labelled(spec: FineTune, table: pd.DataFrame, source: str) -> Rows:
    spec.check_columns(table.columns, source)
    rows = spec.task.rows(table, labelled=True, source=source)
    if not any(text is not None for text in rows.texts):
        raise DataError(f"{source} has no row with a text in {spec.task.text!r}.")
    return rows


def _of_the_same_job(serving: FineTune, job: Job) -> FineTune:
    if serving.tuned is None or serving.tuned.job != job.id:
        of = "is not tuned yet" if serving.tuned is None else f"asks the model of job {serving.tuned.job}"
        raise SpecError(
            f"spec {serving.name!r} {of}, and the audit is of job {job.id}; give the spec that serves this job's "
            "model, or leave --spec out to audit it as it was trained."
        )
    return serving


def _measured_rows(job: Job, rows: Rows, test: Rows) -> Rows:
    """The validation rows that the job was given: all of the table, or what `--drop-leaked` left of it."""
    import mlflow

    run = mlflow.get_run(job.run_id)
    known = run.data.tags.get(TUNE_TAGS["validation_digest"])
    file = run.data.tags.get(TUNE_TAGS["validation_file"])
    if known is None and file is not None:
        return _as_many_as(run.data.params.get("validation_file.rows"), rows, job, file)
    if known is None:
        raise DataError(
            f"job {job.id} was submitted without validation rows, so the service measured on none of these; "
            "leave --validation out."
        )
    kept = rows.take(without_leaks({"validation": rows, "test": test})["validation"])
    for given in (rows, kept):
        if given.digest_of(job.base.columns) == known:
            return given
    raise DataError(
        f"these are not the validation rows of job {job.id}, or not in the order it was given them; give the table "
        "it was tuned with, or leave --validation out."
    )


def _as_many_as(known: str | None, rows: Rows, job: Job, file: str) -> Rows:
    """The rows, if an imported job's validation file has as many; more cannot be checked, as the file is the service's.

    Raises:
        DataError: it has not.
    """
    given = sum(text is not None for text in rows.texts)
    if known is not None and int(known) != given:
        raise DataError(
            f"job {job.id} was imported, and its validation file {file} has {int(known):,} rows, not {given:,}; give "
            "the table that was uploaded, or leave --validation out."
        )
    return rows
