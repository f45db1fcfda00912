"""The audit of jobs as a notebook and the command line call it."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from luthier.auditing.audit_result import AuditResult, audit_jobs
from luthier.auditing.conditions import ConditionChain, attribution_of, chain_of, reported_by
from luthier.engine.engine import Engine
from luthier.errors import UserError
from luthier.spec import Spec
from luthier.tuning.job import Job
from luthier.tuning.job_runs import TUNE_TAGS
from luthier.tuning.tuned_specs import need_finetune
from luthier.tuning.verbs import attach_job

if TYPE_CHECKING:
    import pandas as pd

__all__ = ["audit_chains", "chains_of"]


def chains_of(
    jobs: Sequence[Job | str] | Job | str,
    test: pd.DataFrame | None,
    *,
    validation: pd.DataFrame | None = None,
    train: pd.DataFrame | None = None,
    serving: Spec | None = None,
) -> list[ConditionChain]:
    """What has to be asked to audit some jobs; asks nothing yet, and finds out what cannot be audited.

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
        job.need_result()
        reported_by(job)
    return [chain_of(job, test, validation=validation, train=train, serving=recipe) for job in owned]


def audit_chains(
    chains: Sequence[ConditionChain],
    *,
    engine: Engine,
    tables: Mapping[str, pd.DataFrame] | None = None,
    **settings: Any,
) -> AuditResult:
    """Asks everything and keeps the audit as one run in the task's experiment.

    Args:
        chains: from `chains_of`.
        engine: answers the requests.
        tables: what the chains were made of, by name, for the run's datasets.
        settings: budget, progress and the like, for the engine.
    """
    found = [attribution_of(chain, engine, **settings) for chain in chains]
    jobs = [chain.job.id for chain in chains]
    source = jobs[0] if len(jobs) == 1 else f"{len(jobs)} jobs"
    tags = {TUNE_TAGS["job"]: ", ".join(jobs)}
    return audit_jobs(chains[0].conditions[0].spec.task, source, found, tags=tags, tables=tables)
