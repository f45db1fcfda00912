"""What a comparison and a fit need of the place that keeps their runs; MLflow is that place."""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import AbstractContextManager
from typing import Protocol

from luthier.spec import Fitted
from luthier.tasks.task import Task
from luthier.tracking.runs import TAGS, MlflowRun, fitted_of_run, run_of, runs_of_fitted
from luthier.tracking.stores import connect, known_experiment
from luthier.tracking.version_descriptions import mark_outdated

__all__ = ["MlflowTracker", "Tracker"]


class Tracker(Protocol):
    """Where runs are kept, and where what was fitted earlier is found."""

    def find_fitted(self, task: Task, digest: str) -> Fitted | None:
        """What was already fitted from the same spec, rows and seed, if a run of the task holds it."""

    def mark_outdated(self, task: Task, digest: str, run_id: str) -> None:
        """Says in descriptions of registered versions with this fitted digest that a run has newer figures."""

    def run(
        self, task: Task, name: str, kind: str, tags: Mapping[str, str], parent: str | None = None
    ) -> AbstractContextManager[MlflowRun]:
        """A run that ends with the block; beneath the run with the id `parent`, where one is given."""


class MlflowTracker:
    """Keeps runs in the MLflow store that is set, in the task's experiment, which the first run makes."""

    def find_fitted(self, task: Task, digest: str) -> Fitted | None:
        """As `Tracker` says; makes neither a store nor an experiment to find out."""
        experiment_id = known_experiment(task)
        runs = [] if experiment_id is None else runs_of_fitted([experiment_id], digest)
        # An assessment measures what a model holds, and keeps no copy of it.
        holding = [run for run in runs if run.data.tags.get(TAGS["kind"]) != "rai"]
        return fitted_of_run(holding[0].info.run_id) if holding else None

    def mark_outdated(self, task: Task, digest: str, run_id: str) -> None:
        """As `Tracker` says, of those written from a run with other figures or on other rows."""
        mark_outdated(task, digest, run_id)

    def run(
        self, task: Task, name: str, kind: str, tags: Mapping[str, str], parent: str | None = None
    ) -> AbstractContextManager[MlflowRun]:
        """As `Tracker` says; it ends FINISHED, KILLED (interrupted) or FAILED."""
        return run_of(connect(task), name, kind, tags, parent=parent)
