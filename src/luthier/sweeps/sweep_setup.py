"""A sweep in two steps: what it would cost is known before anything is sent."""

from __future__ import annotations

import asyncio
import hashlib
import json
import os
import sys
import threading
import time
from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from dataclasses import replace
from typing import TYPE_CHECKING

from luthier.engine.engine import Engine
from luthier.engine.options import DEFAULTS, RunOptions
from luthier.errors import BudgetReached, DataError, Interrupted, SpecError
from luthier.experiments.labelled_tables import labelled_tables, leak_of
from luthier.processes import queued_signals
from luthier.sweeps.driver import THREADS, SweepDriver, on_threads
from luthier.sweeps.early_stopping import EarlyStopping
from luthier.sweeps.measuring import TrialMeasurer
from luthier.sweeps.samplers import sampler_of
from luthier.sweeps.settings import SweepSettings
from luthier.sweeps.store import StoredStudy, SweepStore, quiet_study
from luthier.sweeps.study_state import WinnerFigures
from luthier.sweeps.sweep_plan import SweepPlan, TrialPrice
from luthier.sweeps.sweep_progress import SweepProgress
from luthier.sweeps.sweep_result import Sweep
from luthier.sweeps.sweep_runs import SweepRuns
from luthier.sweeps.trial import StudyFacts, SweepTrial
from luthier.sweeps.trial_run import SweepParts, measurements
from luthier.sweeps.warm_start import add_warm, warm_trials
from luthier.sweeps.winner import MOST_FINALISTS, find_winner
from luthier.tables import read_table
from luthier.techniques.finetune import FineTune
from luthier.tuning.timing import REAL_TIME, Timing
from luthier.tuning.tuners import Tuner, tuner_for
from luthier.tuning.tuners.tuner import Rules
from luthier.tuning.tuning_plan import TuningPlan, plan_tuning, replan

if TYPE_CHECKING:
    import pandas as pd

__all__ = ["TRIALS", "SweepSetup"]

TRIALS = 20
"""Trials of a sweep unless told otherwise."""

CONCURRENCY = 4

LEAST_SPLIT_ROWS = 10

DRAWN = 100
"""Points of the space whose prices are worked out for a plan."""

STOPPING = "stopping: jobs are paused or cancelled, which the service has to confirm; once more to stop at once"
GO_ON = "the sweep was interrupted. To go on: luthier sweep resume {0}   To end it: luthier sweep stop {0}"
AT_ONCE = "stopped at once; jobs may still run. Look: luthier sweep status {0}   End them: luthier sweep stop {0}"


class SweepSetup:
    """A sweep and its tables, read once and checked: what it would cost, and the sweep.

    Args:
        settings: what is searched, where and how.
        train: labelled rows that trials learn from; `None` for a spec that learns from none.
        validation: labelled rows that trials are measured on, and that a service measures on while it trains.
        holdout: labelled rows that selection never sees; 40 in 100 of the validation rows when absent.
        storage: URL of the database with the study, for many machines; a file of this user's when absent.
        paths: where the tables were read from, by `train`, `validation` and `holdout`, so that `resume` finds them.
        tuner: the service; the one behind the spec's endpoint when absent.

    Raises:
        SpecError: the space does not fit the spec or the service.
        DataError: a table is not what it should be, or rows of one are in another.
    """

    def __init__(
        self,
        settings: SweepSettings,
        train: pd.DataFrame | None,
        validation: pd.DataFrame,
        holdout: pd.DataFrame | None = None,
        *,
        storage: str | None = None,
        paths: Mapping[str, str] | None = None,
        tuner: Tuner | None = None,
    ) -> None:
        self.settings, self.spec, self.space = settings, settings.spec, settings.space
        self.train, self._validation = train, validation
        self.holdout_split = holdout is None
        self._refuse_leaks(validation, holdout)
        if holdout is None:
            if len(validation) < LEAST_SPLIT_ROWS:
                raise DataError(
                    f"the validation table has {len(validation):,} rows, too few to split holdout rows off; give at "
                    f"least {LEAST_SPLIT_ROWS}, or a table of their own: --holdout TABLE (holdout=...)."
                )
            # The larger part chooses: among many trials, its noise decides more than that of one figure in the end.
            self.selection, *others = self.spec.task.split(validation, seed=settings.seed)
            import pandas as pd

            self.holdout = pd.concat(others, ignore_index=True)
        else:
            self.selection, self.holdout = validation, holdout
        self.store = SweepStore(storage)
        self._storage, self._paths = storage, dict(paths or {})
        self.base: TuningPlan | None = None
        if isinstance(self.spec, FineTune):
            if train is None:
                raise DataError("no rows to train on; add --train TABLE (train=...).")
            assert self.spec.endpoint is not None
            service = tuner or tuner_for(self.spec.endpoint)
            self.base = plan_tuning(self.spec, train, self.selection, self.holdout, tuner=service, ask=False)
            self.base.check.need_clean()
        self.space.check(self.spec, self.tuner)
        if self.rules is not None:
            settings.early_stopping.check(self.space.paths, self.rules)
        self._digests = self._rows_digests()

    @classmethod
    def of_study(cls, name: str | None = None, storage: str | None = None) -> SweepSetup:
        """A sweep as it was started before, with the tables that it was given then.

        Args:
            name: of the study; the newest when absent.
            storage: URL of the database; this user's own file when absent.

        Raises:
            ModelError: there is no such study.
            DataError: its tables were no files, or cannot be read any more.
        """
        facts = SweepStore(storage, make=False).open(name).facts
        paths = {table: kept["path"] for table, kept in facts.tables.items() if kept["path"] is not None}
        missing = [table for table in ("train", "validation") if table in facts.tables and table not in paths]
        if missing:
            raise DataError(
                f"sweep {facts.name!r} was given a DataFrame for {', '.join(missing)}, which no file keeps. "
                "Call luthier.sweep(...) again with the same arguments: it goes on with the study."
            )
        frames = {table: read_table(path) for table, path in paths.items()}
        settings = SweepSettings.of_document(facts.document)
        return cls(
            settings, frames.get("train"), frames["validation"], frames.get("holdout"), storage=storage, paths=paths
        )

    def facts(self, trials: int | None, budget_usd: float | None, run_id: str = "") -> StudyFacts:
        """What the study is about; every machine that joins must agree on its digest."""
        settings = self.settings
        document = settings.document()
        comparable = [
            self.spec.task.digest,
            self.spec.digest,
            self.spec.document().get("tuning"),
            self.space.document(),
            [one.metric for one in settings.objective],
            self._digests,
        ]
        sizes = {"train": self.train, "validation": self.selection, "holdout": self.holdout}
        tables = {
            name: {"path": self._paths.get(name), "digest": self._digests[name], "rows": len(frame)}
            for name, frame in sizes.items()
            if frame is not None
        }
        if self.holdout_split and "validation" in self._paths:
            tables["holdout"]["path"] = None
        size = self.space.size
        wanted = TRIALS if trials is None else trials
        return StudyFacts(
            name=settings.name,
            digest=hashlib.sha256(json.dumps(comparable, sort_keys=True, default=str).encode()).hexdigest(),
            objectives=settings.objective,
            document=document,
            tables=tables,
            run_id=run_id,
            created=time.time(),
            trials=wanted if size is None else min(wanted, size),
            budget_usd=budget_usd,
        )

    def plan(
        self, *, trials: int | None = None, budget_usd: float | None = None, concurrency: int | None = None
    ) -> SweepPlan:
        """What the sweep would buy and cost; sends nothing.

        Args:
            trials: most trials of the study, those of all machines together; 20, or as before, when absent.
            budget_usd: most that it may cost, all machines together; as before when absent.
            concurrency: most trials at a time here; 4 when absent, and never more than the service allows.
        """
        facts = self.facts(trials, budget_usd)
        known = self.store.find(facts)
        spent = 0.0
        if known is not None:
            spent = known.spent_usd()
            facts = replace(
                facts,
                trials=known.facts.trials if trials is None else max(facts.trials, known.facts.trials),
                budget_usd=known.facts.budget_usd if budget_usd is None else budget_usd,
            )
        price, winner = self._price()
        limit = None if self.rules is None else self.rules.parallel_jobs
        return SweepPlan(
            name=facts.name,
            spec=self.spec.name,
            place=None if self.tuner is None else self.tuner.place,
            objectives=facts.objectives,
            sampler=self.settings.sampler,
            pruner=self.settings.early_stopping.pruner,
            trials=facts.trials,
            known=0 if known is None else known.own_trials(),
            points=self.space.size,
            price=price,
            winner_usd=winner,
            selection_rows=len(self.selection),
            holdout_rows=len(self.holdout),
            holdout_split=self.holdout_split,
            concurrency=min(concurrency or CONCURRENCY, limit or concurrency or CONCURRENCY),
            spent_usd=spent,
            budget_usd=facts.budget_usd,
            storage=self.store.shown,
        )

    @property
    def tuner(self) -> Tuner | None:
        """The service; `None` for a spec that trains at none."""
        return None if self.base is None else self.base.tuner

    @property
    def rules(self) -> Rules | None:
        """What the service accepts for the base model; `None` for a spec that trains at none."""
        return None if self.base is None else self.base.tuner.rules(self.base.check.model)

    def _called(self, name: str) -> str:
        """How a further command names the study."""
        return name if self._storage is None else f"{name} --storage {self.store.shown}"

    def _stopping(self) -> EarlyStopping | None:
        settings = self.settings
        # The settings of a front, and of a spec that trains at no service, have it off.
        on = settings.early_stopping.is_on
        return EarlyStopping(settings.early_stopping, settings.objective[0]) if on else None

    def run(
        self,
        plan: SweepPlan,
        options: RunOptions = DEFAULTS,
        *,
        warm_start: str | None = None,
        progress: SweepProgress | None = None,
        timing: Timing = REAL_TIME,
    ) -> Sweep:
        """Drives the trials that are left, those that another process left behind first; then measures the winner.

        Args:
            plan: from `plan`.
            options: on what terms models are asked.
            warm_start: trials that are known already: a csv file, the run of an earlier sweep, or `imported`.
            progress: is told of every trial; a table on stderr when absent.
            timing: how time passes.

        Raises:
            Interrupted: a signal came; jobs are paused or cancelled, and the same command goes on.
            BudgetReached: the budget does not reach for one trial. Where it does not reach for all of them, the sweep
                that comes back says so: `ended_early`.
            EndpointError: the service refuses, or every trial fails.
        """
        plan.check_affordable()
        if self.base is not None and plan.left:
            self.base.tuner.admit(self.base.check.model)
        warm = [] if warm_start is None else self._warm(warm_start)
        study, runs = self._join(plan)
        if warm:
            # One machine at a time: each would add them.
            with study.alone("warm start"):
                add_warm(study.study, warm, self.space)
        shown = progress or SweepProgress()
        options = options.for_command()
        engine = options.asking_engine()
        with ThreadPoolExecutor(THREADS, thread_name_prefix="luthier-sweep") as threads:
            parts = SweepParts(
                study=study,
                spec=self.spec,
                space=self.space,
                plan=self.base,
                measurer=TrialMeasurer(
                    self.spec.task,
                    self.selection,
                    self.train,
                    options,
                    compared=[one.metric for one in plan.objectives],
                ),
                runs=runs,
                stopping=self._stopping(),
                objectives=plan.objectives,
                timing=timing,
                progress=shown,
                act=on_threads(threads),
                keep_usd=plan.winner_usd or 0.0,
            )
            driver = SweepDriver(parts, plan.concurrency)
            try:
                with shown.open(plan.trials, plan.budget_usd, plan.objectives, study.trials()):
                    spent = _drive(driver, engine, self._called(plan.name))
            except Interrupted:
                runs.leave("KILLED", Sweep(study, storage=self.store.shown) if study.trials() else None)
                raise
            except BaseException:
                runs.leave("FAILED")
                raise
        ended_early = None if spent is None else str(spent)
        winner = None
        try:
            with study.alone("winner"):
                winner = self._winner(study, runs, options)
        except BudgetReached as error:
            ended_early = f"{error} The winner is not measured on holdout rows."
        sweep = Sweep(study, storage=self.store.shown, winner=winner, ended_early=ended_early)
        runs.finish(sweep, winner_run=None if winner is None else winner.run_id)
        return sweep

    def _warm(self, source: str) -> list[SweepTrial]:
        """Known trials. Of imported jobs those that were measured on the rows that choose, or on the whole table."""
        whole = self.spec.task.rows(self._validation, labelled=True, source="the validation table").digest
        rows = dict.fromkeys((self._digests["validation"], whole))
        table = self._paths.get("validation")
        return warm_trials(source, self.space, self.settings.objective, self.spec, rows=rows, table=table)

    def _winner(self, study: StoredStudy, runs: SweepRuns, options: RunOptions) -> WinnerFigures | None:
        """The winner on holdout rows; measured once for the same trials, whichever machine comes first."""
        trials = study.trials()
        complete = sum(trial.status == "complete" for trial in trials)
        kept = study.winner
        if kept is not None and kept["complete_trials"] == complete:
            return WinnerFigures.of_document(kept["figures"])
        found = find_winner(
            self.spec.task,
            study.facts,
            trials,
            self.holdout,
            replace(options, budget=study.budget()),
            train=self.train,
            parent=runs.parent_id,
            tuner=self.tuner,
        )
        if found is None:
            return None
        document = {"complete_trials": complete, "figures": found.figures.document()}
        study.keep_winner(document, found.cost_usd or 0.0)
        return found.figures

    def _join(self, plan: SweepPlan) -> tuple[StoredStudy, SweepRuns]:
        known = self.store.find(self.facts(plan.trials, plan.budget_usd))
        facts = self.facts(plan.trials, plan.budget_usd, "" if known is None else known.facts.run_id)
        frames = {"train": self.train, "validation": self.selection, "holdout": self.holdout}
        given = {name: frame for name, frame in frames.items() if frame is not None}
        runs = SweepRuns.begin(self.spec, facts, given)
        settings = self.settings
        sampler = sampler_of(settings.sampler, settings.seed, facts.objectives, self.space.distributions())
        study = self.store.join(replace(facts, run_id=runs.parent_id), sampler)
        return study, runs.joined(study.facts)

    def _price(self) -> tuple[TrialPrice, float | None]:
        """The price of trials, by points drawn at random; and the most that measuring the winner costs."""
        import optuna

        drawn = quiet_study(sampler=optuna.samplers.RandomSampler(seed=self.settings.seed))
        measurer = TrialMeasurer(self.spec.task, self.selection, self.train, DEFAULTS)
        final = TrialMeasurer(self.spec.task, self.holdout, self.train, DEFAULTS)
        stopping = self._stopping()
        likely: list[float | None] = []
        high: list[float | None] = []
        tokens: list[int | None] = []
        winners: list[float | None] = []
        for number in range(DRAWN if self.base is not None else DRAWN // 10):
            try:
                spec = self.space.spec_for(self.spec, self.space.suggest(drawn.ask()), number)
            except SpecError:
                continue
            answers = measurer.bound_usd(spec)
            winners.append(final.bound_usd(spec))
            if self.base is None or not isinstance(spec, FineTune):
                likely.append(answers)
                high.append(answers)
                continue
            check = replan(self.base, spec).check
            tokens.append(check.trained_tokens)
            if answers is not None:
                answers *= measurements(stopping, check.epochs)
            likely.append(None if check.cost_usd is None or answers is None else check.cost_usd + answers)
            high.append(None if check.cost_usd_high is None or answers is None else check.cost_usd_high + answers)
        if not high:
            raise SpecError("no point of the space makes a valid spec; loosen it, or correct the spec.")
        known = [one for one in winners if one is not None]
        winner = max(known) * MOST_FINALISTS if len(known) == len(winners) else None
        return TrialPrice.of(likely, high, tokens), winner

    def _refuse_leaks(self, validation: pd.DataFrame, holdout: pd.DataFrame | None) -> None:
        """Refuses rows that are in two of the tables, by their places in the tables as they were given."""
        given = {"validation": validation} | ({} if holdout is None else {"holdout": holdout})
        read = {table.name: table.rows for table in labelled_tables([self.spec], given)}
        if self.train is not None:
            read["training"] = self.spec.task.rows(self.train, labelled=True, source="the training table")
        for name, other in (("validation", "training"), ("holdout", "training"), ("holdout", "validation")):
            leak = leak_of(read[name], read.get(other)) if name in read else None
            if leak is not None:
                raise DataError(
                    f"{leak.rows:,} of {len(read[name]):,} {name} rows are also in the {other} table (the first: row "
                    f"{leak.test_row}, there row {leak.train_row}), so figures would be too good. Take them out of "
                    "one of the tables."
                )

    def _rows_digests(self) -> dict[str, str]:
        frames = {"train": self.train, "validation": self.selection, "holdout": self.holdout}
        return {
            name: self.spec.task.rows(frame, labelled=True, source=f"the {name} table").digest
            for name, frame in frames.items()
            if frame is not None
        }


def _drive(driver: SweepDriver, engine: Engine, name: str) -> BudgetReached | None:
    """Runs the driver on a loop of its own, on a thread: a notebook has one already, and signals come to this one."""
    found: list[BudgetReached | None] = []
    failed: list[BaseException] = []
    loop = asyncio.new_event_loop()

    def work() -> None:
        try:
            found.append(loop.run_until_complete(driver.run()))
        except BaseException as error:
            failed.append(error)
        finally:
            loop.close()

    thread = threading.Thread(target=work, name="luthier-sweep-driver", daemon=True)
    with queued_signals() as came:
        thread.start()
        signals = 0
        while thread.is_alive():
            thread.join(0.1)
            while not came.empty():
                came.get()
                signals += 1
                if signals > 1:
                    print(AT_ONCE.format(name), file=sys.stderr, flush=True)
                    os._exit(130)
                print(STOPPING, file=sys.stderr, flush=True)
                engine.stop(interrupted=True)
                with suppress(RuntimeError):  # the driver has just ended, and closed its loop
                    loop.call_soon_threadsafe(driver.interrupt, Interrupted(GO_ON.format(name)))
        if signals:
            engine.resume()
    if failed:
        raise failed[0]
    return found[0]
