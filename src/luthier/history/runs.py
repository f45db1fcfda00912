"""The runs of a task in MLflow, as plain records: what each was about, how it ended, what it measured and spent."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from luthier.errors import DataError, ModelError
from luthier.evaluation.resampling import Interval
from luthier.tracking.runs import TAGS, tag_of
from luthier.tracking.stores import connect_to_read
from luthier.tracking.version_descriptions import intervals_of
from luthier.tuning.job_runs import TUNE_TAGS

if TYPE_CHECKING:
    from mlflow.entities import Run

__all__ = ["LoggedRun", "experiment_of_task", "is_task", "run_with_id", "runs_beneath", "runs_of_experiment"]

PAGE_SIZE = 500
"""Runs that are asked for at a time; a server refuses more than 50,000, and a database is quick with less."""

PARENT = "mlflow.parentRunId"

SPENDING_KINDS = frozenset({"compare", "fit", "improve", "judge", "tune", "trial", "score", "rai", "audit"})
"""Kinds of runs that ask a service for answers or training. What a candidate cost is part of its comparison."""


@dataclass(frozen=True)
class LoggedRun:
    """A run that Luthier wrote.

    Attributes:
        run_id: MLflow's id of it.
        experiment_id: of the experiment that holds it.
        kind: `compare`, `candidate`, `sweep`, `trial`, `tune`, `audit`, `rai`, `score`, `log`, ...
        name: as MLflow shows it.
        status: MLflow's word: `RUNNING`, `FINISHED`, `FAILED`, `KILLED`.
        started: Unix time.
        ended: Unix time; `None` while it runs.
        parent: id of the run that it is a part of.
        metrics: the last value of each.
        params: settings as text.
        tags: every tag.
    """

    run_id: str
    experiment_id: str
    kind: str
    name: str
    status: str
    started: float
    ended: float | None
    parent: str | None = None
    metrics: Mapping[str, float] = field(default_factory=dict, repr=False)
    params: Mapping[str, str] = field(default_factory=dict, repr=False)
    tags: Mapping[str, str] = field(default_factory=dict, repr=False)

    @property
    def task(self) -> str | None:
        """Name of its task; `None` for an audit of a table, which has none."""
        return tag_of(self.tags, "task")

    @property
    def spec(self) -> str | None:
        """Name of the spec it is about, where it is about one."""
        return tag_of(self.tags, "spec")

    @property
    def test_digest(self) -> str | None:
        """Of the labelled rows that it measured on; equal digests mean the same rows."""
        return tag_of(self.tags, "test_digest")

    @property
    def partial(self) -> bool:
        """Whether rows have no answer for a reason that may pass."""
        return tag_of(self.tags, "partial") == "true"

    @property
    def figures(self) -> dict[str, Interval]:
        """The metrics with their bounds, where they have some."""
        return intervals_of(self.metrics)

    @property
    def is_priced(self) -> bool:
        """Whether it may have cost something of its own: an ended or running job, comparison, batch or assessment."""
        # The tables of a comparison on several have runs of their own; an audit of a table of figures asks no model.
        asks = {"compare": self.test_digest, "audit": self.task}.get(self.kind, self.kind)
        return self.kind in SPENDING_KINDS and asks is not None

    @property
    def spent_usd(self) -> float | None:
        """US dollars that it cost by itself, its children aside; `None` where that is not known, which is not 0."""
        if not self.is_priced:
            return 0.0
        # A trial's cost has its job's in it.
        for name in ("trial_cost_usd", "spent_usd"):
            if name in self.metrics:
                return self.metrics[name]
        if self.kind in ("tune", "trial") and self.tags.get(TUNE_TAGS["cost"]) != "unknown":
            return self.metrics.get("cost_usd")
        return None


def experiment_of_task(task: str | None = None) -> tuple[str, str]:
    """Id of a task's experiment, and the task's name.

    Args:
        task: its name; when absent, the one task that the store has.

    Raises:
        DataError: there is no such task, or several and none was named; the message has the names.
        ModelError: nothing was written to the store yet.
        UserError: the store cannot be reached.
    """
    connect_to_read("no run of a task" if task is None else f"no task {task!r}")
    import mlflow

    client = mlflow.MlflowClient()
    known: dict[str, str] = {}
    token = None
    while True:
        found = client.search_experiments(max_results=PAGE_SIZE, page_token=token)
        known |= {one.name: one.experiment_id for one in found}
        token = found.token
        if not token:
            break
    if task in known and _has_task(known[task]):
        return known[task], task
    with_runs = {name: place for name, place in known.items() if _has_task(place)}
    uri = mlflow.get_tracking_uri()
    if task is not None:
        names = f"; there is: {', '.join(sorted(with_runs))}" if with_runs else ""
        raise DataError(f"no task {task!r} in the MLflow store {uri}{names}.")
    if not with_runs:
        raise DataError(
            f"the MLflow store {uri} has no run of a task yet. luthier compare makes the first; MLFLOW_TRACKING_URI "
            "names another store. A run without a task, such as the audit of a table, has its page by its id: "
            "luthier report RUN"
        )
    if len(with_runs) > 1:
        raise DataError(
            f"the MLflow store {uri} has runs of several tasks: {', '.join(sorted(with_runs))}. Name one of "
            "them with --task NAME."
        )
    ((name, place),) = with_runs.items()
    return place, name


def is_task(name: str | None = None) -> bool:
    """Whether the store has a task of this name; without a name, whether it has exactly one.

    Raises:
        UserError: the store cannot be reached.
    """
    try:
        experiment_of_task(name)
    except (DataError, ModelError):
        return False
    return True


def runs_of_experiment(experiment_id: str) -> tuple[LoggedRun, ...]:
    """Every run of Luthier in an experiment, the newest first."""
    return tuple(_search(experiment_id, f"tags.`{TAGS['kind']}` LIKE '%'"))


def runs_beneath(run: LoggedRun) -> tuple[LoggedRun, ...]:
    """The runs that are part of a run, the newest first; of a part that was made twice both are there."""
    return tuple(_search(run.experiment_id, f"tags.`{PARENT}` = '{run.run_id}' AND tags.`{TAGS['kind']}` LIKE '%'"))


def run_with_id(run_id: str) -> LoggedRun:
    """The run of this id.

    Raises:
        ModelError: there is none, it was deleted, or another tool wrote it.
        UserError: the store cannot be reached.
    """
    connect_to_read(f"no run {run_id!r}")
    import mlflow
    from mlflow.exceptions import MlflowException

    uri = mlflow.get_tracking_uri()
    try:
        found = mlflow.MlflowClient().get_run(run_id)
    except MlflowException as error:
        raise ModelError(
            f"no run {run_id!r} in the MLflow store {uri}. A run's id has 32 characters; luthier report shows those of "
            "the task."
        ) from error
    if found.info.lifecycle_stage != "active":
        raise ModelError(f"run {run_id} is deleted; restore it with: mlflow runs restore --run-id {run_id}")
    if TAGS["kind"] not in found.data.tags:
        source = found.data.tags.get("mlflow.source.name", "")
        by = f", written by {source}" if source else ""
        raise ModelError(
            f"run {run_id} ({found.info.run_name}{by}) was not made by Luthier: it has no tag {TAGS['kind']}. Give the "
            "id of a run of luthier compare, sweep, tune, audit, rai, score or log."
        )
    return _record(found)


def _has_task(experiment_id: str) -> bool:
    import mlflow

    condition = f"tags.`{TAGS['task']}` LIKE '%'"
    return bool(mlflow.MlflowClient().search_runs([experiment_id], condition, max_results=1))


def _search(experiment_id: str, condition: str) -> Iterator[LoggedRun]:
    import mlflow

    client, token = mlflow.MlflowClient(), None
    while True:
        found: Sequence[Run] = client.search_runs(
            [experiment_id], condition, order_by=["attributes.start_time DESC"], max_results=PAGE_SIZE, page_token=token
        )
        yield from map(_record, found)
        token = found.token  # type: ignore[attr-defined]
        if not token:
            return


def _record(run: Run) -> LoggedRun:
    ended = run.info.end_time
    return LoggedRun(
        run_id=run.info.run_id,
        experiment_id=run.info.experiment_id,
        kind=run.data.tags[TAGS["kind"]],
        name=run.info.run_name or run.info.run_id,
        status=run.info.status,
        started=run.info.start_time / 1000,
        ended=None if not ended else ended / 1000,
        parent=run.data.tags.get(PARENT),
        metrics=dict(run.data.metrics),
        params=dict(run.data.params),
        tags=dict(run.data.tags),
    )
