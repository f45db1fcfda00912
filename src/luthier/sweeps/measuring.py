"""A trial's model measured on the selection rows, with the metrics of a comparison."""

from __future__ import annotations

import contextlib
import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import numpy as np

from luthier.engine.options import DEFAULTS, RunOptions
from luthier.engine.report import Report
from luthier.errors import DataError, EndpointError, Partial, SpecError
from luthier.evaluation.ranking import MeasuredOnce, metrics_of
from luthier.evaluation.resampling import Floats, Interval
from luthier.experiments.board import SpecResult
from luthier.experiments.fits import fit_on
from luthier.experiments.labelled_tables import LabelledTable
from luthier.experiments.spec_results import answer_rows, candidate_of, log_result
from luthier.plans import plan_rows
from luthier.providers.prices import sum_if_known
from luthier.spec import Spec
from luthier.tasks.task import Rows, Task
from luthier.techniques.finetune import FineTune, Tuned
from luthier.tracking.runs import TAGS, MlflowRun
from luthier.tuning.hosting import Host
from luthier.tuning.job import Job
from luthier.tuning.tuners import tuner_for

if TYPE_CHECKING:
    import pandas as pd

__all__ = ["SELECTION", "NotMeasured", "TrialFigures", "TrialMeasurer", "hosting_usd", "read_draws", "table_of"]

SELECTION = "selection"
"""Name of the rows that trials are measured on."""

DRAWS = "selection_draws.npz"

MEASURING = "luthier.measuring"
"""Tag of a run whose measurement was begun."""

MOST_MISSING = 0.01
"""Share of rows without an answer, for reasons that may pass, up to which a trial is judged by the others."""

OF_THE_SPEC = frozenset(
    ("parameter", "max_tokens", "logprobs", "response_format", "system_role", "embedding_settings", "every_row")
)
"""Causes of `replies.failures` for which a service refuses all that a spec asks, and would take other settings."""

HOSTED_HOURS = 1.0
"""Hours that a deployment is reckoned with while a trial is measured; services bill by the started hour."""


class NotMeasured(DataError):
    """A trial that has no figures, because of its settings: they are refused, or no row was answered.

    Attributes:
        cost_usd: what asking cost all the same; `None` when unknown, which is not 0.
    """

    def __init__(self, message: str, cost_usd: float | None) -> None:
        super().__init__(message)
        self.cost_usd = cost_usd


@dataclass(frozen=True)
class TrialFigures:
    """What a trial's model did on the selection rows.

    Attributes:
        metrics: every metric with its bounds as `NAME_low` and `NAME_high`.
        cost_usd: what answers, fitting and hosting cost; `None` when unknown, which is not 0.
    """

    metrics: Mapping[str, float]
    cost_usd: float | None

    @property
    def why_missing(self) -> str:
        """Why a metric may be absent, as the end of a sentence."""
        return (
            "its answers lack what that needs: a probability per label (answer: score gives them), or a price of the "
            "model"
        )


class TrialMeasurer:
    """Measures trials on the same selection rows, read once. May be called from several threads.

    Args:
        task: of the spec.
        selection: labelled rows that trials are measured on.
        train: labelled rows that specs are fitted on; `None` where none needs any.
        options: on what terms models are asked.
        compared: metrics by which trials will be compared row by row; the task's own ranking metric when empty.

    Raises:
        DataError: a column is missing or a label is wrong.
    """

    def __init__(
        self,
        task: Task,
        selection: pd.DataFrame,
        train: pd.DataFrame | None = None,
        options: RunOptions = DEFAULTS,
        *,
        compared: Sequence[str] = (),
    ) -> None:
        self.task, self.options = task, options
        self.table = table_of(task, selection, SELECTION)
        self._train_frame = train
        self._train = None if train is None else task.rows(train, labelled=True, source="the training table")
        self._compared = tuple(compared) or (task.kind.ranking(),)
        self._bounds: dict[str, float | None] = {}

    def bound_usd(self, spec: Spec) -> float | None:
        """Most that measuring a trial can cost, fitting and hosting included; `None` when unknown. Sends nothing.

        Args:
            spec: the trial's own; one that is to be fine-tuned is priced as if it were.
        """
        asked = _as_tuned(spec) if isinstance(spec, FineTune) else spec
        if asked.digest not in self._bounds:
            self._bounds[asked.digest] = self._bound(asked)
        return self._bounds[asked.digest]

    def _bound(self, spec: Spec) -> float | None:
        # What the journal has is not subtracted: another trial may have asked it in a study of another machine.
        found = plan_rows(spec, self.table.rows, self._training(spec), replace(self.options, fresh=True)).cost_usd_high
        if not isinstance(spec, FineTune) or found is None:
            return found
        assert spec.endpoint is not None
        if not isinstance(tuner_for(spec.untuned().endpoint or spec.endpoint), Host):
            return found
        price = spec.endpoint.price
        rate = None if price is None else price.hosting_usd_per_hour
        return None if rate is None else found + rate * HOSTED_HOURS

    def measure(self, spec: Spec, run_id: str | None, job: Job | None = None) -> TrialFigures:
        """Fits the spec where it needs that, asks it for every selection row, and keeps all of it with the run.

        What was asked before is in the journal and is not paid again.

        Args:
            spec: that answers: of a job, the tuned one.
            run_id: of the trial in MLflow; `None` keeps nothing.
            job: that made the model; where its service needs a deployment, one is made and is gone afterwards.

        Raises:
            SpecError: the spec cannot answer before it is tuned.
            NotMeasured: its settings are refused, no row was answered, or it needs training rows and there are none.
            Partial: rows are missing for reasons that may pass; measuring again asks only for those.
            BudgetReached: the budget of the options does not reach.
            EndpointError: nothing can be asked there.
        """
        spec.check_ready()
        run = None if run_id is None else MlflowRun(run_id)
        resumed = run is not None and run.read_tags().get(MEASURING) is not None
        if run is not None and not resumed:
            run.log_tags({MEASURING: "true", TAGS["test_digest"]: self.table.rows.digest})
        report, hosting_before = Report(), 0.0 if resumed else hosting_usd(job)
        options = replace(self.options, report=report, asked=set())

        def cost_usd() -> float | None:
            # Which answers an earlier process paid for is not known: all are counted.
            answers = [report.now.cost_usd, report.recorded.cost_usd if resumed else 0.0]
            return sum_if_known([*answers, hosting_usd(job), None if hosting_before is None else -hosting_before])

        try:
            with _hosted(job, spec) as (asked,):
                result = self._answered(asked, options)
            _check_answered(result)
        except (SpecError, DataError) as error:
            raise NotMeasured(str(error), cost_usd()) from error
        # Packaged from here, it must not name a deployment that is gone.
        result = replace(result, fitted=replace(result.fitted, spec=spec))
        once = MeasuredOnce()
        metrics = metrics_of(self.task, self.table.rows, candidate_of(result), measured=once)
        if run is not None:
            log_result(run, result, self.table, metrics)
            draws = {name: found for name, found in once.draws(spec.name).items() if name in self._compared}
            run.log_file(DRAWS, lambda file: np.savez_compressed(file, allow_pickle=False, **draws))
        return TrialFigures(_flat(metrics), cost_usd())

    def _answered(self, spec: Spec, options: RunOptions) -> SpecResult:
        try:
            return answer_rows(fit_on(spec, self._training(spec), options), self.table.rows, options)
        except EndpointError as error:
            if error.cause in OF_THE_SPEC:
                raise SpecError(str(error)) from error
            raise

    def _training(self, spec: Spec) -> Rows | None:
        if not spec.needs_training:
            return None
        if self._train is None or self._train_frame is None:
            raise SpecError(f"spec {spec.name!r} ({spec.technique}) needs training rows; add --train TABLE (train=).")
        spec.check_columns(self._train_frame.columns, "the training table")
        return self._train


def table_of(task: Task, frame: pd.DataFrame, name: str) -> LabelledTable:
    """A labelled table, read under the task.

    Raises:
        DataError: a column is missing or a label is wrong.
    """
    return LabelledTable(name, frame, task.rows(frame, labelled=True, source=f"the {name} table"))


def read_draws(run_id: str) -> dict[str, Floats]:
    """Metrics of a measured trial on every bootstrap sample of the selection rows; empty where its run has none.

    Equal rows are drawn for every trial, so that two trials can be compared in pairs, sample by sample.
    """
    import mlflow

    client = mlflow.MlflowClient()
    if all(file.path != DRAWS for file in client.list_artifacts(run_id)):
        return {}
    with tempfile.TemporaryDirectory() as scratch, np.load(client.download_artifacts(run_id, DRAWS, scratch)) as kept:
        return {name: kept[name] for name in kept.files}


def _as_tuned(spec: FineTune) -> FineTune:
    """The spec as it asks once it is tuned; the model's name is made up, in the form that says what it is made from."""
    if spec.tuned is not None:
        return spec
    base = spec.base_model
    assert spec.endpoint is not None
    name = f"{base}.ft-0" if spec.endpoint.provider == "azure" else f"ft:{base}:luthier:trial:0"
    return spec.with_tuned(Tuned(model=name, job="none", base_model=base))


def _hosted(job: Job | None, spec: Spec) -> contextlib.AbstractContextManager[Sequence[Spec]]:
    return contextlib.nullcontext([spec]) if job is None else job.hosted([spec])


def hosting_usd(job: Job | None) -> float | None:
    """What the deployments of a job have cost so far; `None` when unknown, 0 where there are none."""
    hosting = None if job is None else job.hosting()
    return 0.0 if hosting is None else hosting.cost_usd()


def _check_answered(result: SpecResult) -> None:
    asked = [prediction for prediction in result.predictions if prediction.state != "empty"]
    waiting = [prediction for prediction in asked if prediction.transient]
    if len(waiting) > MOST_MISSING * len(asked):
        raise Partial(
            f"{len(waiting):,} of {len(asked):,} selection rows have no answer yet ({waiting[0].error}). Answers "
            "so far are kept, and measuring again asks only for the rest."
        )
    if asked and all(prediction.state in ("failed", "refused") for prediction in asked):
        raise DataError(f"no selection row was answered: {asked[0].error or 'the model refused each'}")


def _flat(metrics: Mapping[str, Interval]) -> dict[str, float]:
    """Metrics as a run keeps them, bounds beside values."""
    found = {}
    for name, interval in metrics.items():
        for bound, value in (("", interval.value), ("_low", interval.low), ("_high", interval.high)):
            if value is not None:
                found[name + bound] = value
    return found
