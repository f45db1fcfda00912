"""The verbs of sweeps: search the settings of a spec, and look at, stop or continue a search."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from luthier.engine.engine import Engine
from luthier.engine.options import RunOptions
from luthier.spec import Spec
from luthier.sweeps.settings import SweepSettings
from luthier.sweeps.stopping import stop_study
from luthier.sweeps.store import StoredStudy, SweepStore
from luthier.sweeps.study_state import WinnerFigures
from luthier.sweeps.sweep_result import Sweep
from luthier.sweeps.sweep_setup import SweepSetup
from luthier.tables import frame_of

if TYPE_CHECKING:
    from luthier.api.verbs import Table

__all__ = ["open_sweep", "stop_sweep", "sweep"]


def sweep(
    spec: Spec,
    space: Mapping[str, Any],
    train: Table | None,
    validation: Table,
    *,
    holdout: Table | None = None,
    trials: int | None = None,
    objective: str | Sequence[str] | None = None,
    sampler: str = "tpe",
    early_stopping: Mapping[str, Any] | str | None = None,
    budget_usd: float | None = None,
    concurrency: int | None = None,
    name: str | None = None,
    storage: str | None = None,
    warm_start: str | Path | None = None,
    seed: int = 7,
    engine: Engine | None = None,
) -> Sweep:
    """Searches the settings of a spec for the best ones, and measures the winner on rows that the search never saw.

    The same call, typed again after an interruption or on another machine with the same `storage`, goes on with the
    study: no trial is lost, and none is paid for twice.

    Args:
        spec: the recipe whose settings are searched. Of technique fine-tune, each trial is a job.
        space: values by the dotted path of a setting, as in
            `{"tuning.epochs": {"int": [1, 20]}, "tuning.batch_size": [4, 8, 16]}`.
        train: labelled rows that trials learn from.
        validation: labelled rows that trials are measured on.
        holdout: labelled rows for the winner; 40 in 100 of the validation rows when absent.
        trials: most trials of the study; 20 when absent.
        objective: a metric of the task's type, or several for a front; the one that ranks a leaderboard when absent.
        sampler: `tpe`, `random`, `qmc` or `grid`.
        early_stopping: as in a sweep file: `{"pruner": "median"}`.
        budget_usd: most that the whole study may cost.
        concurrency: most trials at a time in this process; 4 when absent.
        name: of the study; the spec's name and `-sweep` when absent.
        storage: URL of a database that several machines share, as in `postgresql://host/sweeps`.
        warm_start: trials that are known already: a csv file, the run of an earlier sweep, or `imported`: all
            imported jobs that were measured on the validation rows.
        seed: of what the sampler draws.
        engine: asks the models; the process's own when absent.

    Returns:
        The sweep: `frame` has every figure of every trial, `best` the winner, `study` is the Optuna study.

    Raises:
        SpecError: the space does not fit the spec or its service, or the storage has another study of that name.
        BudgetReached: the budget does not reach for one trial.
        Interrupted: jobs are paused or cancelled; the same call goes on.
    """
    given = {"name": name, "objective": objective, "early_stopping": early_stopping}
    document = {key: value for key, value in given.items() if value is not None}
    settings = SweepSettings.make(document | {"spec": spec, "space": space, "sampler": sampler, "seed": seed})
    setup = SweepSetup(
        settings,
        None if train is None else frame_of(train, "the training table"),
        frame_of(validation, "the validation table"),
        None if holdout is None else frame_of(holdout, "the holdout table"),
        storage=storage,
    )
    plan = setup.plan(trials=trials, budget_usd=budget_usd, concurrency=concurrency)
    return setup.run(
        plan, RunOptions.within(None, engine=engine), warm_start=None if warm_start is None else str(warm_start)
    )


def open_sweep(name: str | None = None, storage: str | None = None) -> Sweep:
    """A sweep as its storage has it: what is done, under way, and found.

    Args:
        name: of the study; the newest when absent.
        storage: URL of the database; this user's own file when absent.

    Raises:
        ModelError: there is no such study.
    """
    store = SweepStore(storage, make=False)
    return _as_stored(store, store.open(name))


def stop_sweep(name: str | None = None, storage: str | None = None) -> Sweep:
    """Ends a sweep on every machine: no trial is started any more, and every job of it is cancelled.

    Returns when each service has confirmed that its jobs have ended. `resume` goes on with what was under way.

    Args:
        name: of the study; the newest when absent.
        storage: URL of the database; this user's own file when absent.

    Raises:
        ModelError: there is no such study.
        Partial: a service did not confirm; the message names the jobs.
    """
    store = SweepStore(storage, make=False)
    study = store.open(name)
    stop_study(study)
    return _as_stored(store, study)


def _as_stored(store: SweepStore, study: StoredStudy) -> Sweep:
    kept = study.winner
    winner = None if kept is None else WinnerFigures.of_document(kept["figures"])
    return Sweep(study, storage=store.shown, winner=winner)
