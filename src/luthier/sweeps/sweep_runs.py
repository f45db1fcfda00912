"""A sweep in MLflow: a run for the whole, a child per trial with everything that is known of it."""

from __future__ import annotations

import json
import math
import time
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, Protocol

import yaml

from luthier.evaluation.resampling import plain
from luthier.reporting.markdown import listed
from luthier.spec import Spec
from luthier.sweeps.study_state import StudyState
from luthier.sweeps.sweep_report import sweep_page
from luthier.sweeps.sweep_sentences import sweep_sentences
from luthier.sweeps.trial import StudyFacts, SweepTrial, TrialStatus
from luthier.tracking.runs import MlflowRun, begin_run, spec_tags
from luthier.tracking.stores import connect
from luthier.tuning.job_figures import metric_key

if TYPE_CHECKING:
    import pandas as pd
    from mlflow import MlflowClient
    from mlflow.entities import Run as MlflowEntity

    from luthier.tuning.job import Job

__all__ = ["SWEEP_TAGS", "SweepReport", "SweepRuns"]

SWEEP_TAGS = {
    "sweep": "luthier.sweep",
    "digest": "luthier.sweep_digest",
    "trial": "luthier.trial",
    "status": "luthier.trial_status",
    "reason": "luthier.trial_reason",
    "job_run": "luthier.job_run",
    "winner": "luthier.winner",
}
"""Tag names on the runs of a sweep and its trials."""

RUN_STATUS: dict[TrialStatus, str] = {"complete": "FINISHED", "pruned": "KILLED", "failed": "FAILED"}

FIGURES = ("training_usd", "planned_usd", "planned_tokens", "trained_tokens", "duration_seconds")
"""What is logged of a trial under its own name, beside its metrics and `trial_cost_usd`."""

PARENT = "mlflow.parentRunId"
SWEEP_FILE, SWEEP_RESULT, TRIALS_TABLE = "sweep.yaml", "sweep.json", "trials.json"
LONGEST_REASON = 1000


class SweepReport(Protocol):
    """What a sweep's own run keeps of its end; a `Sweep` has it."""

    @property
    def frame(self) -> pd.DataFrame:
        """A row per trial, its number as the index."""

    @property
    def state(self) -> StudyState:
        """The trials, the best of them, the money."""

    def document(self) -> dict[str, Any]:
        """Everything as JSON values."""


class SweepRuns:
    """The runs of a sweep. No call of a trial takes longer as the sweep grows. May be called from several threads.

    Args:
        parent_id: the run of the whole sweep.
        facts: of the study.
        is_new: whether the run was made by this object.
    """

    def __init__(self, parent_id: str, facts: StudyFacts, *, is_new: bool = False) -> None:
        self.parent_id, self.facts, self._is_new = parent_id, facts, is_new

    @classmethod
    def begin(cls, spec: Spec, facts: StudyFacts, tables: Mapping[str, pd.DataFrame]) -> SweepRuns:
        """The run of a sweep: that of the study where this tracking store has it, else a new one.

        Args:
            spec: the spec whose settings are tried.
            facts: of the study; its `run_id` is empty for a study that is new.
            tables: the labelled tables by `train`, `validation` and `holdout`.
        """
        experiment_id = connect(spec.task)
        if facts.run_id and _found(facts.run_id) is not None:
            return cls(facts.run_id, facts)._go_on()
        tags = spec_tags(spec) | {SWEEP_TAGS["sweep"]: facts.name, SWEEP_TAGS["digest"]: facts.digest}
        run = begin_run(experiment_id, f"sweep {facts.name}", "sweep", tags)
        run.log_text(yaml.safe_dump(plain(facts.document), sort_keys=False, allow_unicode=True), SWEEP_FILE)
        run.log_params(_params_of(facts))
        contexts = {"train": "train", "validation": "validation", "holdout": "test"}
        for name, frame in tables.items():
            run.log_table(frame, name=name, context=contexts[name], targets=spec.task.label)
        return cls(run.run_id, facts, is_new=True)

    def joined(self, facts: StudyFacts) -> SweepRuns:
        """The runs of the study as its storage keeps it, which another machine may have made a moment earlier.

        A machine whose tracking store does not have that machine's run keeps a run of its own.
        """
        if facts.run_id == self.parent_id or _found(facts.run_id) is None:
            return SweepRuns(self.parent_id, facts, is_new=self._is_new)
        if self._is_new:
            self._client.delete_run(self.parent_id)
        return SweepRuns(facts.run_id, facts)._go_on()

    def child(self, spec: Spec, number: int, settings: Mapping[str, Any]) -> str:
        """The run of a trial that trains at no service; returns its id.

        Args:
            spec: the trial's own.
            number: of the trial.
            settings: what it is about.
        """
        run = begin_run(connect(spec.task), spec.name, "trial", self._tags(number) | spec_tags(spec), self.parent_id)
        run.log_spec(spec)
        self._log_settings(self._run(run.run_id), settings)
        return run.run_id

    def adopt(self, job: Job, number: int, settings: Mapping[str, Any]) -> str:
        """The run of a trial that has a job; returns its id, which is that of the job's run where that is free.

        A job that was bought outside this sweep, or for another trial with the same settings, keeps its run as it is;
        the trial then gets a run of its own, which names the other.

        Args:
            job: the trial's.
            number: of the trial.
            settings: what it is about.
        """
        run = self._run(job.run_id)
        tags = run.data.tags
        ours = tags.get(PARENT) == self.parent_id and tags.get(SWEEP_TAGS["trial"], str(number)) == str(number)
        if ours:
            MlflowRun(job.run_id).log_tags(self._tags(number))
            self._log_settings(run, settings)
            return job.run_id
        child = self.child(job.base, number, settings)
        self._client.set_tag(child, SWEEP_TAGS["job_run"], job.run_id)
        return child

    def kept(self, run_id: str | None) -> str | None:
        """The run of a trial that another process has begun; `None` where this tracking store does not have it."""
        return None if run_id is None or _found(run_id) is None else run_id

    def end(self, trial: SweepTrial) -> None:
        """Writes what a trial came to and ends its run: FINISHED, KILLED where it was stopped early, or FAILED."""
        from mlflow.entities import Metric, RunTag

        now = int(time.time() * 1000)
        if trial.run_id is not None:
            run = self._run(trial.run_id)
            found = {
                **{metric_key(name): value for name, value in trial.reported.items()},
                **trial.measured,
                **{name: value for name in FIGURES if (value := getattr(trial, name)) is not None},
                **({} if trial.cost_usd is None else {"trial_cost_usd": trial.cost_usd}),
            }
            # What the job and the measurement have written already stands there with its steps.
            new = {name: value for name, value in found.items() if name not in run.data.metrics}
            tags = {SWEEP_TAGS["status"]: trial.status, SWEEP_TAGS["reason"]: trial.reason[:LONGEST_REASON]}
            self._client.log_batch(
                trial.run_id,
                metrics=[Metric(name, value, now, 0) for name, value in new.items()],
                tags=[RunTag(name, value) for name, value in tags.items() if value],
            )
            status = RUN_STATUS.get(trial.status, "KILLED")
            if run.info.status != status:
                self._client.set_terminated(trial.run_id, status=status)
        points = zip(self.facts.objectives, trial.values, strict=False)
        # A chart of the parent shows what each trial reached.
        curve = [Metric(f"trial_{one.metric}", value, now, trial.number) for one, value in points]
        self._client.log_batch(self.parent_id, metrics=curve)

    def finish(self, report: SweepReport, *, winner_run: str | None = None) -> None:
        """Keeps the report, the table of trials, sums and the best figures, and ends the run of the sweep.

        Args:
            report: the sweep.
            winner_run: the run that measured the winner on holdout rows, with its figures and the fitted spec.
        """
        from mlflow.entities import Metric

        parent = self._keep(report)
        figures = {**report.state.sums, **_best_figures(report.state)}
        if winner_run is not None:
            parent.tag(SWEEP_TAGS["winner"], winner_run)
            measured = self._run(winner_run).data.metrics
            figures |= {f"holdout_{name}": value for name, value in measured.items()}
        now = int(time.time() * 1000)
        self._client.log_batch(self.parent_id, metrics=[Metric(name, value, now, 0) for name, value in figures.items()])
        self._client.set_terminated(self.parent_id, status="FINISHED")

    def leave(self, status: str = "KILLED", report: SweepReport | None = None) -> None:
        """Ends the run of a sweep that was interrupted or failed; the next start goes on with it.

        Args:
            status: of the run.
            report: the sweep so far, for its page; that of a later end takes its place.
        """
        self._client.set_terminated(self.parent_id, status=status)
        if report is not None:
            self._keep(report)

    def _keep(self, report: SweepReport) -> MlflowRun:
        parent = MlflowRun(self.parent_id)
        parent.log_page(sweep_page(report.state))
        parent.log_text(json.dumps(report.document(), ensure_ascii=False), SWEEP_RESULT)
        self._log_trials(report)
        parent.describe(listed(sweep_sentences(report.state)))
        return parent

    def _log_trials(self, report: SweepReport) -> None:
        """The table of trials, where MLflow's UI shows tables; that of an earlier end of the sweep is replaced."""
        import mlflow

        table = report.frame.dropna(axis="columns", how="all").reset_index()
        for name in table.columns.intersection(list(report.state.paths)):
            table[name] = [json.dumps(cell) if isinstance(cell, dict | list) else cell for cell in table[name]]
        if any(file.path == TRIALS_TABLE for file in self._client.list_artifacts(self.parent_id)):
            # `log_table` would add the rows to those that are there.
            text = table.to_json(orient="split", index=False, date_format="iso")
            MlflowRun(self.parent_id).log_text(text, TRIALS_TABLE)
        else:
            mlflow.log_table(table, TRIALS_TABLE, run_id=self.parent_id)

    def _go_on(self) -> SweepRuns:
        if self._run(self.parent_id).info.status != "RUNNING":
            self._client.update_run(self.parent_id, status="RUNNING")
        return self

    def _tags(self, number: int) -> dict[str, str]:
        return {SWEEP_TAGS["sweep"]: self.facts.name, SWEEP_TAGS["trial"]: str(number)}

    def _log_settings(self, run: MlflowEntity, settings: Mapping[str, Any]) -> None:
        """Logs the settings that the run lacks: one that is the default stands in no spec."""
        missing = {path: value for path, value in settings.items() if path not in run.data.params}
        if missing:
            MlflowRun(run.info.run_id).log_params(missing)

    def _run(self, run_id: str) -> MlflowEntity:
        return self._client.get_run(run_id)

    @property
    def _client(self) -> MlflowClient:
        import mlflow

        return mlflow.MlflowClient()


def _found(run_id: str) -> MlflowEntity | None:
    """A run of the tracking store that is set; `None` where it has none of this id, or it was deleted."""
    import mlflow
    from mlflow.exceptions import MlflowException
    from mlflow.protos.databricks_pb2 import RESOURCE_DOES_NOT_EXIST, ErrorCode

    try:
        run = mlflow.MlflowClient().get_run(run_id)
    except MlflowException as error:
        if error.error_code == ErrorCode.Name(RESOURCE_DOES_NOT_EXIST):
            return None
        raise
    return run if run.info.lifecycle_stage == "active" else None


def _best_figures(state: StudyState) -> dict[str, float]:
    """Every figure of the best trial on the selection rows, as `best_NAME`; so that sweeps can be compared."""
    best = state.best
    if best is None:
        return {}
    values = dict(zip((one.metric for one in state.facts.objectives), best.values, strict=False))
    return {f"best_{name}": value for name, value in {**values, **best.measured}.items() if math.isfinite(value)}


def _params_of(facts: StudyFacts) -> dict[str, object]:
    """What a sweep was asked for; the space has a parameter per setting."""
    document = facts.document
    params: dict[str, object] = {
        "objective": ", ".join(f"{one.metric} ({one.direction})" for one in facts.objectives),
        "trials": facts.trials,
        "budget_usd": facts.budget_usd,
        **{name: document.get(name) for name in ("sampler", "seed", "early_stopping")},
        **{f"space.{path}": json.dumps(plain(rule)) for path, rule in dict(document.get("space") or {}).items()},
        **{f"{table}_rows": kept.get("rows") for table, kept in facts.tables.items()},
    }
    return {name: value for name, value in params.items() if value is not None}
