"""Everything that the tracking store knows of a task, gathered once for its page."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from itertools import islice
from typing import TypeVar

from luthier.errors import UserError
from luthier.evaluation.audits import Audit
from luthier.evaluation.measures import METRICS
from luthier.history.artifacts import KeptBoard, audit_of, board_of, sweep_of
from luthier.history.over_time import CompareHistory, compares_over_time
from luthier.history.runs import LoggedRun, experiment_of_task, runs_of_experiment
from luthier.history.spending import TaskSpending, spending_of
from luthier.history.versions import RegisteredVersion, versions_of_task
from luthier.sweeps.study_state import StudyState
from luthier.tasks.types import Measure

__all__ = ["TaskHistory", "history_of_task"]

MOST_TRIED = 5
"""Runs of a kind that are looked at, the newest first, until one keeps its result."""

T = TypeVar("T")


@dataclass(frozen=True)
class TaskHistory:
    """Everything that the tracking store knows of a task.

    Attributes:
        task: its name.
        runs: every run of Luthier in its experiment, the newest first.
        newest: the newest comparison that keeps its leaderboard, with its run; `None` where there is none.
        sweep: the newest sweep that has ended, with its run; `None` where there is none.
        audit: the newest audit of the task's jobs, with its run; `None` where there is none.
        compares: every comparison; `None` where none measured anything.
        versions: registered, the newest first.
        spending: what the runs have cost.
    """

    task: str
    runs: tuple[LoggedRun, ...]
    newest: tuple[LoggedRun, KeptBoard] | None
    sweep: tuple[LoggedRun, StudyState] | None
    audit: tuple[LoggedRun, Audit] | None
    compares: CompareHistory | None
    versions: tuple[RegisteredVersion, ...]
    spending: TaskSpending

    def of_kind(self, *kinds: str) -> tuple[LoggedRun, ...]:
        """The runs of these kinds, the newest first."""
        return tuple(run for run in self.runs if run.kind in kinds)


def history_of_task(task: str | None = None) -> TaskHistory:
    """What the tracking store knows of a task.

    Args:
        task: its name; when absent, the one task that the store has.

    Raises:
        DataError: there is no such task, or several and none was named; the message has the names.
        UserError: the store cannot be reached.
    """
    experiment_id, name = experiment_of_task(task)
    runs = runs_of_experiment(experiment_id)
    newest = _newest_board(runs)
    compares = None
    metric = next((run.params["ranked_by"] for run in runs if "ranked_by" in run.params), None)
    if newest is not None:
        metric, measure = newest[1].board.ranked_by, newest[1].board.measure
        compares = compares_over_time(runs, metric, measure)
    elif metric is not None:
        compares = compares_over_time(runs, metric, METRICS.get(metric) or Measure(metric, "higher", "number", metric))
    if compares is not None and not compares.compares:
        compares = None
    versions = versions_of_task(name, runs)
    audit = _first_kept((run for run in runs if run.kind == "audit"), audit_of)
    return TaskHistory(name, runs, newest, _newest_sweep(runs), audit, compares, versions, spending_of(runs))


def _newest_board(runs: Sequence[LoggedRun]) -> tuple[LoggedRun, KeptBoard] | None:
    return _first_kept(
        (run for run in runs if run.kind == "compare" and run.test_digest is not None and "best" in run.params),
        board_of,
    )


def _newest_sweep(runs: Sequence[LoggedRun]) -> tuple[LoggedRun, StudyState] | None:
    return _first_kept((run for run in runs if run.kind == "sweep" and run.status == "FINISHED"), sweep_of)


def _first_kept(runs: Iterable[LoggedRun], read: Callable[[LoggedRun], T]) -> tuple[LoggedRun, T] | None:
    """The first of these runs whose files can be read, with what they hold."""
    for run in islice(runs, MOST_TRIED):
        try:
            return run, read(run)
        except UserError:
            # Its files are gone, a later Luthier wrote them, or its task type is not here; an older run may be read.
            continue
    return None
