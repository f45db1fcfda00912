"""Audits kept as MLflow runs: what a service reported about models against what was measured."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from luthier.auditing.pairs import read_pairs
from luthier.evaluation.audits import Audit, audit_of_attributions, audit_of_pairs
from luthier.evaluation.decomposition import Attribution, Condition, Reported, decompose
from luthier.evaluation.metric_names import metric_name
from luthier.reporting.audit_report import audit_page, audit_sections
from luthier.reporting.audit_sentences import audit_sentences
from luthier.reporting.html import fragment, write_page
from luthier.reporting.markdown import listed
from luthier.reporting.terminal import show, text_of
from luthier.tasks.task import Task
from luthier.tracking.runs import TAGS, run_of
from luthier.tracking.stores import connect, experiment_called

if TYPE_CHECKING:
    import pandas as pd

__all__ = ["EXPERIMENT", "AuditResult", "audit_job", "audit_jobs", "audit_pairs", "log_audit"]

EXPERIMENT = "audits"
"""Experiment of audits of tables, which name no task."""


class AuditResult:
    """An audit and its MLflow run; a notebook shows it as a report, a terminal as text.

    Attributes:
        audit: the records behind the report.
        run_id: the MLflow run that holds the page and the tables.
    """

    def __init__(self, audit: Audit, run_id: str) -> None:
        self.audit = audit
        self.run_id = run_id

    @property
    def frame(self) -> pd.DataFrame:
        """A row per metric: means, difference and limits of agreement with intervals, rank correlation."""
        return self.audit.frame()

    @property
    def pairs(self) -> pd.DataFrame:
        """A row per model and metric: reported, measured, difference."""
        return self.audit.pairs_frame()

    @property
    def parts(self) -> pd.DataFrame:
        """A row per job, metric and part of the difference; empty for a table of pairs."""
        return self.audit.parts_frame()

    def write_page(self, path: str | Path) -> Path:
        """Writes the report as one HTML file that needs no network."""
        return write_page(audit_page(self.audit), path)

    def show(self) -> None:
        """Prints it on standard output."""
        show(*audit_sections(self.audit))

    def _repr_html_(self) -> str:
        return fragment(*audit_sections(self.audit))

    def __repr__(self) -> str:
        return text_of(*audit_sections(self.audit))


def audit_pairs(
    frame: pd.DataFrame, *, pair: Sequence[str] = (), id_column: str | None = None, source: str = "the table"
) -> AuditResult:
    """Audits a table of reported and measured figures and logs a run; arguments and errors as of `read_pairs`."""
    table = read_pairs(frame, pair=pair, id_column=id_column, source=source)
    audit = audit_of_pairs(source, table.pairs, table.notes)
    run_id = log_audit(audit, experiment_called(EXPERIMENT), tables={source: frame})
    return AuditResult(audit, run_id)


def audit_job(
    name: str,
    task: Task,
    reported: Mapping[str, float],
    chain: Sequence[Condition],
    *,
    reported_rows: int | None = None,
    terms: str = "",
) -> Attribution:
    """Explains the difference between a job's reported and measured figures; sends and logs nothing.

    Args:
        name: of the job or model.
        task: names the labels.
        reported: the service's figures by its own keys, such as `classification/weighted_f1_score`; those that are not
            metrics of Luthier's are named in the notes.
        chain: the deployed model's answers, from the service's terms to the measurement that counts. The first
            condition has `changes="definition"`; every other changes exactly one of `labels`, `prompt`, `decoding`
            and `rows`.
        reported_rows: number of rows the service measured on, if known; the first condition then has the same rows.
        terms: in a sentence, how the service measured.

    Raises:
        DataError: the chain changes more than it says, or no reported metric was measured.
    """
    named = {metric_name(key): float(value) for key, value in reported.items()}
    return decompose(name, task, Reported(named, reported_rows, terms), chain)


def audit_jobs(
    task: Task,
    source: str,
    jobs: Sequence[Attribution],
    *,
    tags: Mapping[str, str] | None = None,
    tables: Mapping[str, pd.DataFrame] | None = None,
    spent_usd: float | None = None,
) -> AuditResult:
    """Logs the audit of jobs as one run in the task's experiment.

    Args:
        task: what the jobs were tuned for.
        source: name of what was audited: a job, a sweep.
        jobs: from `audit_job`; from three jobs on, agreement over models is computed too.
        tags: more tags for the run, such as the job's id.
        tables: the rows behind the figures, by name, for the run's datasets.
        spent_usd: what asking the models cost; `None` where that is not known.
    """
    audit = audit_of_attributions(source, jobs)
    own = {TAGS["task"]: task.name, TAGS["task_digest"]: task.digest, **(tags or {})}
    return AuditResult(audit, log_audit(audit, connect(task), tags=own, tables=tables, spent_usd=spent_usd))


def log_audit(
    audit: Audit,
    experiment_id: str | None,
    *,
    tags: Mapping[str, str] | None = None,
    tables: Mapping[str, pd.DataFrame] | None = None,
    spent_usd: float | None = None,
) -> str:
    """Logs an audit as a run of kind `audit`: metrics with bounds, the page, the tables; returns the run's id."""
    import mlflow

    with run_of(experiment_id, f"audit {audit.source}"[:250], "audit", tags or {}) as run:
        run.describe(listed(audit_sentences(audit)))
        for name, frame in (tables or {}).items():
            run.log_table(frame, name=name[:250], context="audit", targets=None)
        mlflow.log_metrics(audit_metrics(audit), step=0, run_id=run.run_id)
        run.log_spent(spent_usd)
        mlflow.log_dict(audit.to_document(), "audit.json", run_id=run.run_id)
        mlflow.log_table(audit.pairs_frame(), "pairs.json", run_id=run.run_id)
        if audit.attributions:
            mlflow.log_table(audit.parts_frame(), "parts.json", run_id=run.run_id)
        run.log_page(audit_page(audit))
    return run.run_id


def audit_metrics(audit: Audit) -> dict[str, float]:
    """The metrics of an audit's run."""
    out: dict[str, float | None] = {}
    for one in audit.agreements:
        for suffix, value in (("", one.difference.value), ("_low", one.difference.low), ("_high", one.difference.high)):
            out[f"{one.metric}_difference{suffix}"] = value
        out |= {
            f"{one.metric}_difference_p": one.p,
            f"{one.metric}_lower_limit": one.lower_limit.value,
            f"{one.metric}_upper_limit": one.upper_limit.value,
            f"{one.metric}_order": None if one.order is None else one.order.value,
            f"{one.metric}_lost_by_choosing": one.choice.lost,
            f"{one.metric}_pairs": float(len(one.pairs.ids)),
        }
    if len(audit.attributions) == 1:
        for found in audit.attributions[0].decompositions:
            out |= {
                f"{found.metric}_reported": found.reported,
                f"{found.metric}": found.measured.value,
                f"{found.metric}_low": found.measured.low,
                f"{found.metric}_high": found.measured.high,
                f"{found.metric}_difference": found.difference,
            }
            for part in found.parts:
                key = f"{found.metric}_from_{part.changes}"
                out[key] = (out.get(key) or 0.0) + part.share.value
    return {name: value for name, value in out.items() if value is not None}
