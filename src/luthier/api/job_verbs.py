"""The verbs about fine-tuning jobs: measure what a job kept, and audit what its service reported."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from luthier.api.verbs import compare, training_table
from luthier.auditing.audit_result import AuditResult, audit_pairs
from luthier.auditing.job_audit import audit_chains, chains_of
from luthier.engine.ask_options import Progress
from luthier.engine.engine import Engine
from luthier.engine.options import RunOptions
from luthier.experiments.board import Board
from luthier.spec import Spec
from luthier.tables import frame_of
from luthier.tuning.checkpoints import base_spec, checkpoint_specs
from luthier.tuning.job import Job
from luthier.tuning.tune import attach_job

if TYPE_CHECKING:
    from luthier.api.verbs import Table

__all__ = ["audit", "compare_checkpoints", "specs_of_job"]


def audit(
    jobs: Sequence[Job | str] | Job | str = (),
    test: Table | None = None,
    *,
    validation: Table | None = None,
    train: Table | None = None,
    serving: Spec | None = None,
    budget_usd: float | None = None,
    engine: Engine | None = None,
    progress: Progress | None = None,
    pairs: Table | None = None,
    pair: Sequence[str] = (),
    id_column: str | None = None,
    source: str = "pairs",
) -> AuditResult:
    """Compares what a service reported with what is measured, says why they differ, and keeps an MLflow run of it.

    Either jobs, whose models are asked, or a table of numbers that exist already.

    Args:
        jobs: fine-tuning jobs that succeeded, or their ids; three or more are compared over models too.
        test: labelled rows of the measurement that counts.
        validation: the rows the jobs were given to measure on; tells other rows from another definition.
        train: rows a calibrated serving spec is fitted on.
        serving: how the model is really asked; as it was trained when absent. For one job.
        budget_usd: most that may be spent over all jobs.
        engine: the process's own when absent.
        progress: a `Progress` that is told of every answer; a bar on stderr when absent.
        pairs: a line per model, with reported and measured values of the same metrics.
        pair: `REPORTED=MEASURED` per metric, by column names; guessed when absent (`classification/accuracy` or
            `reported_accuracy` with `test_accuracy` or `measured_accuracy`).
        id_column: column that names the models; guessed when absent.
        source: what the table is called on the report.

    Returns:
        An audit; `audit.frame` has a line per metric, `audit.pairs` one per model, `audit.parts` one per reason,
        `audit.write_page` writes the report.

    Raises:
        DataError: no columns belong together, a cell is no number, or the rows are not those of the job.
        ModelError: a job has no result, or its service reported nothing to compare.
    """
    if pairs is not None:
        return audit_pairs(frame_of(pairs, source), pair=pair, id_column=id_column, source=source)
    given = {
        name: frame_of(table, name) for name, table in (("test", test), ("validation", validation)) if table is not None
    }
    training = training_table(train)
    chains = chains_of(jobs, given.get("test"), validation=given.get("validation"), train=training, serving=serving)
    return audit_chains(chains, RunOptions.within(budget_usd, engine=engine, progress=progress), tables=given)


def compare_checkpoints(
    job: Job | str,
    test: Table,
    *,
    base: bool = True,
    limit: int | None = None,
    budget_usd: float | None = None,
    rank_by: str | None = None,
    engine: Engine | None = None,
    progress: Progress | None = None,
    fresh: bool = False,
    retry_failed: bool = False,
    test_name: str = "the test table",
) -> Board:
    """Measures every model a job kept, and the base where it answers, on the same rows.

    `job` may be its id. With `base=False` the base model is not asked. The other arguments are those of `compare`.
    """
    owned = job if isinstance(job, Job) else attach_job(job)
    with owned.hosted(specs_of_job(owned, base=base)) as specs:
        return compare(
            specs,
            test,
            limit=limit,
            budget_usd=budget_usd,
            rank_by=rank_by,
            engine=engine,
            progress=progress,
            fresh=fresh,
            retry_failed=retry_failed,
            test_name=test_name,
        )


def specs_of_job(job: Job, *, base: bool = True) -> list[Spec]:
    """A spec per checkpoint and one for the result, and the same words to the base model where it answers."""
    kept = checkpoint_specs(job)
    # Asking the base costs a call, so a job without a result is refused before.
    before = base_spec(job) if base else None
    return [*kept, *([] if before is None else [before])]
