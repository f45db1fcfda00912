"""What a comparison and a fit need of the place that keeps them; MLflow is that place."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from contextlib import AbstractContextManager
from pathlib import Path
from typing import TYPE_CHECKING, Protocol

from luthier.evaluation.resampling import Interval
from luthier.spec import Fitted, Spec
from luthier.tasks.task import Task
from luthier.tracking.runs import fitted_of_run, run_of, runs_of_fitted
from luthier.tracking.stores import connect, known_experiment

if TYPE_CHECKING:
    import pandas as pd

__all__ = ["MlflowTracker", "TrackedRun", "Tracker"]


class TrackedRun(Protocol):
    """A run that is written to; `luthier.tracking.runs.MlflowRun` says what each of these keeps."""

    @property
    def run_id(self) -> str:
        """What the run is known by."""
        ...

    def log_table(self, frame: pd.DataFrame, *, name: str, context: str, targets: str | None) -> None:
        """Names a table among the run's datasets."""

    def log_params(self, values: Mapping[str, object]) -> None:
        """Settings."""

    def log_metrics(self, found: Mapping[str, Interval], rows: int) -> None:
        """Metrics with their intervals, and the rows behind them."""

    def log_spec(self, spec: Spec) -> None:
        """The spec's settings."""

    def log_fitted(self, fitted: Fitted) -> None:
        """What was measured."""

    def log_answers(self, frame: pd.DataFrame) -> None:
        """Row by row what was answered."""

    def log_text(self, text: str, name: str) -> None:
        """A text as an artifact."""

    def log_file(self, name: str, write: Callable[[Path], object]) -> None:
        """An artifact that `write` writes to the path it is given."""

    def tag(self, name: str, value: str) -> None:
        """Sets a tag."""

    def describe(self, markdown: str) -> None:
        """What was found, in Markdown."""


class Tracker(Protocol):
    """Where runs are kept, and where what was fitted earlier is found."""

    def find_fitted(self, task: Task, digest: str) -> Fitted | None:
        """What was already fitted from the same spec, rows and seed, if a run of the task holds it."""

    def run(
        self, task: Task, name: str, kind: str, tags: Mapping[str, str], parent: str | None = None
    ) -> AbstractContextManager[TrackedRun]:
        """A run that ends with the block; beneath the run with the id `parent`, where one is given."""


class MlflowTracker:
    """Keeps runs in the MLflow store that is set, in the task's experiment, which the first run makes."""

    def find_fitted(self, task: Task, digest: str) -> Fitted | None:
        """As `Tracker` says; makes neither a store nor an experiment to find out."""
        experiment_id = known_experiment(task)
        runs = [] if experiment_id is None else runs_of_fitted([experiment_id], digest, most=1)
        return fitted_of_run(runs[0].info.run_id) if runs else None

    def run(
        self, task: Task, name: str, kind: str, tags: Mapping[str, str], parent: str | None = None
    ) -> AbstractContextManager[TrackedRun]:
        """As `Tracker` says; it ends FINISHED, KILLED (interrupted) or FAILED."""
        return run_of(connect(task), name, kind, tags, parent=parent)
