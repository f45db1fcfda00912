"""Imported jobs as trials: settings as the service resolved them, figures as measured on the sweep's rows."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from luthier.errors import SpecError
from luthier.tracking.runs import TAGS, tag_of
from luthier.tracking.store_file import missing_store
from luthier.tracking.stores import connect
from luthier.tuning.job_runs import TUNE_TAGS

__all__ = ["IMPORTED", "ImportedTrials", "imported_trials"]

IMPORTED = "imported"
"""What `--warm-start` is given for all imported jobs."""

RESOLVED = "resolved."
RUNS_A_PAGE = 1000


@dataclass(frozen=True)
class ImportedTrials:
    """The imported jobs that succeeded.

    Attributes:
        lines: settings, figures, job and base model of each that was measured on the rows.
        unmeasured: how many were not.
        command: what measures those; empty where all were.
    """

    lines: Sequence[Mapping[str, Any]]
    unmeasured: int
    command: str = ""


def imported_trials(rows: Collection[str], table: str | None = None) -> ImportedTrials:
    """The imported jobs of the tracking store as trials.

    What a service reported is not taken: it measures other rows by definitions of its own.

    Args:
        rows: digests of the labelled rows on which a measurement counts.
        table: file of these rows, for the command.

    Raises:
        SpecError: no job was imported, or none was measured on the rows.
    """
    jobs = [run for run in _runs(f"tags.`{TUNE_TAGS['imported']}` != ''") if _succeeded(run)]
    if not jobs:
        raise SpecError(
            "the tracking store has no imported job that succeeded. Import some: luthier import openai --task FILE"
        )
    measured: dict[str, Mapping[str, float]] = {}
    for digest in rows:
        where = f"tags.`{TAGS['kind']}` = 'candidate' AND tags.`{TAGS['test_digest']}` = '{digest}'"
        for run in _runs(where):
            # A job that got its recipe later has no digest; its model says which it is.
            for made in (tag_of(run.data.tags, "fitted_digest"), run.data.params.get("tuned.model")):
                if made is not None:
                    # Newest first, and the first rows are the nearest to those of trials.
                    measured.setdefault(made, run.data.metrics)
    lines = []
    for job in jobs:
        names = (tag_of(job.data.tags, "fitted_digest"), job.data.tags.get(TUNE_TAGS["tuned_model"]))
        figures = next((measured[name] for name in names if name in measured), None)
        if figures is not None:
            lines.append(_line(job, figures))
    command = f"luthier compare models/imported/*.yaml --test {table or 'VALIDATION'}"
    if not lines:
        raise SpecError(
            f"none of {len(jobs):,} imported jobs was measured on the validation rows of this sweep, so none of them "
            f"can be a trial. Measure them: {command}"
        )
    unmeasured = len(jobs) - len(lines)
    return ImportedTrials(lines, unmeasured, command if unmeasured else "")


def _line(job: Any, figures: Mapping[str, float]) -> dict[str, Any]:
    settings = {
        name.removeprefix(RESOLVED): value for name, value in job.data.params.items() if name.startswith(RESOLVED)
    }
    # The cost of a measurement is not that of the trial, which is the job's.
    told = {name: value for name, value in figures.items() if name != "cost_usd"}
    cost = {"cost_usd": job.data.metrics["cost_usd"]} if "cost_usd" in job.data.metrics else {}
    tags = job.data.tags
    base, job_id = tags.get(TAGS["base_model"]), tags.get(TUNE_TAGS["job"])
    return {**settings, **told, **cost, "model": base, "status": "complete", "job": job_id}


def _succeeded(run: Any) -> bool:
    return bool(run.data.tags.get(TUNE_TAGS["job_status"]) == "succeeded")


def _runs(condition: str) -> Iterator[Any]:
    """Runs of all experiments, newest first."""
    if missing_store() is not None:
        return
    import mlflow

    connect()
    client = mlflow.MlflowClient()
    experiments = [one.experiment_id for one in mlflow.search_experiments()]
    token: str | None = ""
    while token is not None:
        page = client.search_runs(
            experiments,
            condition,
            order_by=["attributes.start_time DESC"],
            max_results=RUNS_A_PAGE,
            page_token=token or None,
        )
        yield from page
        token = page.token or None
