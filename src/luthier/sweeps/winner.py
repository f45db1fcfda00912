"""The winner of a sweep on rows that selection never saw.

The best of many trials owes part of its figure on the selection rows to chance. So it is measured once more on holdout
rows, beside the trials that it cannot be told from. It stays the winner whatever comes out, unless one of them is told
apart from it as better there: a winner that is not chosen by the holdout rows has an unbiased figure on them.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from contextlib import AbstractContextManager, ExitStack
from dataclasses import dataclass, replace
from math import isfinite
from typing import TYPE_CHECKING

from luthier.engine.options import DEFAULTS, RunOptions
from luthier.engine.report import Report
from luthier.errors import ModelError
from luthier.evaluation.measures import rankable
from luthier.evaluation.resampling import Floats, Interval
from luthier.evaluation.statistics import ALPHA, paired_difference
from luthier.experiments.board import Board, SpecResult
from luthier.experiments.compare import ComparisonSetup
from luthier.providers.prices import sum_if_known
from luthier.spec import Fitted
from luthier.sweeps.measuring import hosting_usd, read_draws
from luthier.sweeps.study_state import FinalistFigures, WinnerFigures
from luthier.sweeps.trial import StudyFacts, SweepObjective, SweepTrial
from luthier.tasks.task import Task
from luthier.techniques.finetune import FineTune
from luthier.tracking.runs import MlflowRun, fitted_of_run
from luthier.tracking.tracker import MlflowTracker
from luthier.tuning.hosting import Host
from luthier.tuning.job import Job
from luthier.tuning.tune import attach_job
from luthier.tuning.tuners import Tuner, tuner_for

if TYPE_CHECKING:
    import pandas as pd

__all__ = ["MOST_FINALISTS", "SweepWinner", "find_winner"]

MOST_FINALISTS = 5
"""Trials that are measured on holdout rows: the winner, and the best of those it cannot be told from."""

MOST_COMPARED = 25
"""Trials next to the best that are compared with it on the selection rows."""

HOLDOUT = "holdout"


@dataclass(frozen=True)
class SweepWinner:
    """The winner of a sweep, and the leaderboard on holdout rows that it stands on.

    Attributes:
        figures: both figures of each finalist, and how the winner was chosen.
        board: the finalists on the holdout rows.
        cost_usd: what measuring them cost, hosting included; `None` when unknown, which is not 0.
    """

    figures: WinnerFigures
    board: Board
    cost_usd: float | None

    @property
    def result(self) -> SpecResult:
        """The winner with its answers to the holdout rows, ready to be packaged."""
        run_id = self.figures.run_id
        return next(result for result in self.board.results if result.run_id == run_id)


@dataclass(frozen=True)
class _Finalist:
    trial: SweepTrial
    fitted: Fitted
    selection: Interval


def find_winner(
    task: Task,
    facts: StudyFacts,
    trials: Sequence[SweepTrial],
    holdout: pd.DataFrame,
    options: RunOptions = DEFAULTS,
    *,
    train: pd.DataFrame | None = None,
    parent: str | None = None,
    tuner: Tuner | None = None,
) -> SweepWinner | None:
    """Measures the best trial, and those it cannot be told from, on rows that selection never saw.

    Two trials cannot be told from each other where the paired bootstrap on the selection rows says so, corrected for
    as many comparisons as there are other trials.

    Args:
        task: of the spec.
        facts: of the study.
        trials: all there are; imported ones and those without a value are left out.
        holdout: labelled rows.
        options: on what terms models are asked.
        train: labelled rows, for specs that learn from some; what a trial has learned is taken from its run.
        parent: MLflow run of the sweep, beneath which the comparison gets its own.
        tuner: the service that trained the models; the one behind their endpoint when absent.

    Returns:
        `None` where no trial is complete, or the objectives hold no metric of quality.

    Raises:
        ModelError: the run of the best trial is not in this tracking store.
        BudgetReached: the budget of the options does not reach; answers so far are kept.
    """
    objective = next((one for one in facts.objectives if one.metric in rankable(task)), None)
    ranked = [] if objective is None else _ranked(facts, objective, trials)
    if objective is None or not ranked:
        return None
    finalists, unmeasured = _finalists(objective.metric, ranked)
    fits = {one.fitted.spec.name: one.fitted for one in finalists}
    jobs = {name: job for name, fitted in fits.items() if (job := _hosted_job(fitted, tuner)) is not None}
    before = [hosting_usd(job) for job in jobs.values()]
    asked = dict(fits)
    with ExitStack() as stack:
        for name, job in jobs.items():
            (moved,) = stack.enter_context(job.hosted([fits[name].spec]))
            asked[name] = replace(fits[name], spec=moved)
        specs = [fitted.spec for fitted in asked.values()]
        setup = ComparisonSetup(specs, {HOLDOUT: holdout}, train, rank_by=objective.metric)
        board = setup.run(replace(options, report=Report()), tracker=_Beneath(parent), fits=asked)
    for name in jobs:
        # Packaged from here, it must not name a deployment that is gone.
        MlflowRun(board[name].run_id).log_fitted(fits[name])
    board = replace(board, results=[replace(result, fitted=fits[result.spec.name]) for result in board.results])
    hosting = [None if one is None else -one for one in before] + [hosting_usd(job) for job in jobs.values()]
    figures = _figures(facts, objective.metric, finalists, board, unmeasured)
    return SweepWinner(figures, board, sum_if_known([board.spent_usd, *hosting]))


def _ranked(facts: StudyFacts, objective: SweepObjective, trials: Sequence[SweepTrial]) -> list[SweepTrial]:
    """The complete trials of this sweep, the best first; of equal ones the earlier."""
    place = facts.objectives.index(objective)
    sign = -1 if objective.direction == "maximize" else 1
    own = [one for one in trials if one.source is None and one.status == "complete" and one.run_id is not None]
    return sorted(
        (one for one in own if len(one.values) > place and isfinite(one.values[place])),
        key=lambda one: (sign * one.values[place], one.number),
    )


def _finalists(metric: str, ranked: Sequence[SweepTrial]) -> tuple[list[_Finalist], int]:
    """The best trial and those it cannot be told from; and how many more of those there are, which are not measured."""
    best = _finalist(ranked[0], metric)
    draws, found, more = _draws(ranked[0], metric), [best], 0
    seen = {best.fitted.digest}
    for trial in ranked[1 : MOST_COMPARED + 1]:
        one = _finalist(trial, metric)
        others = _draws(trial, metric)
        if draws is not None and others is not None and draws.shape == others.shape:
            p = paired_difference(best.selection.value, one.selection.value, draws, others).p
            # Bonferroni over every other trial: Holm's correction would need all of them, and keeps fewer.
            if p * (len(ranked) - 1) < ALPHA:
                continue
        if one.fitted.digest in seen:
            # The same settings, tried twice.
            continue
        seen.add(one.fitted.digest)
        if len(found) < MOST_FINALISTS:
            found.append(one)
        else:
            more += 1
    return found, more


def _finalist(trial: SweepTrial, metric: str) -> _Finalist:
    assert trial.run_id is not None
    try:
        fitted = fitted_of_run(trial.run_id)
    except ModelError as error:
        raise ModelError(
            f"trial {trial.number} is among the best, and its model cannot be measured: {error} Where several machines "
            "share a study, let them share a tracking store too (MLFLOW_TRACKING_URI)."
        ) from error
    value = trial.measured[metric]
    return _Finalist(
        trial, fitted, Interval(value, trial.measured.get(f"{metric}_low"), trial.measured.get(f"{metric}_high"))
    )


def _draws(trial: SweepTrial, metric: str) -> Floats | None:
    assert trial.run_id is not None
    return read_draws(trial.run_id).get(metric)


def _hosted_job(fitted: Fitted, tuner: Tuner | None) -> Job | None:
    """The job whose model needs a deployment to answer; `None` for everything else."""
    spec = fitted.spec
    if not isinstance(spec, FineTune) or spec.tuned is None:
        return None
    before = spec.untuned().endpoint
    assert before is not None
    service = tuner or tuner_for(before)
    return attach_job(spec.tuned.job, tuner=service) if isinstance(service, Host) else None


def _figures(
    facts: StudyFacts, metric: str, finalists: Sequence[_Finalist], board: Board, unmeasured: int
) -> WinnerFigures:
    numbers = {one.fitted.spec.name: one.trial.number for one in finalists}
    first = finalists[0].fitted.spec.name
    better = [pair.first for pair in board.leaderboard.pairs if pair.second == first and pair.corrected < ALPHA]
    # Entries are in order, so that of several the best one wins.
    winner = next((entry.name for entry in board.leaderboard.entries if entry.name in better), first)
    found = [
        FinalistFigures(
            one.trial.number,
            one.selection,
            board.leaderboard.entry(one.fitted.spec.name).metrics[metric],
        )
        for one in sorted(finalists, key=lambda one: one.fitted.spec.name != winner)
    ]
    said = []
    if winner != first:
        said.append(
            f"Trial {numbers[first]} was the best on the selection rows. On the holdout rows trial {numbers[winner]} "
            "is told apart from it as better, and wins. Its figure there was chosen by too, so it may be a little high."
        )
    if unmeasured:
        more = "1 more trial" if unmeasured == 1 else f"{unmeasured:,} more trials"
        said.append(f"On the selection rows the best cannot be told from {more}, not measured on the holdout rows.")
    if board.partial:
        said.append("Some holdout rows have no answer yet, for reasons that may pass.")
    return WinnerFigures(
        number=numbers[winner],
        metric=metric,
        finalists=tuple(found),
        selection_rows=facts.tables["validation"]["rows"],
        holdout_rows=board.leaderboard.rows_evaluated,
        said=" ".join(said),
        run_id=board[winner].run_id,
    )


class _Beneath(MlflowTracker):
    """Puts what has no parent of its own beneath a run."""

    def __init__(self, parent: str | None) -> None:
        self._parent = parent

    def run(
        self, task: Task, name: str, kind: str, tags: Mapping[str, str], parent: str | None = None
    ) -> AbstractContextManager[MlflowRun]:
        """As `Tracker` says."""
        return super().run(task, name, kind, tags, parent=parent or self._parent)
