"""Specs on the same rows: answered by one engine, measured the same way, kept in MLflow."""

from __future__ import annotations

import contextlib
import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from functools import partial
from typing import TYPE_CHECKING

from luthier.batches.answering import answer_by_batch
from luthier.engine.options import DEFAULTS, RunOptions
from luthier.engine.report import Report
from luthier.errors import DataError, EndpointError, UserError
from luthier.evaluation.measures import ranking_metric
from luthier.experiments.board import Board, Boards
from luthier.experiments.fits import expected_digest, fit_on, training_for
from luthier.experiments.labelled_tables import labelled_tables, leak_of
from luthier.experiments.lacking import lacking_requests
from luthier.experiments.race import RacedSpecs, RaceSetup
from luthier.experiments.spec_results import answer_rows, ask_with_or_without_temperature
from luthier.experiments.table_run import TableRun, fails_alone, in_order, showing, without_name
from luthier.plans import Plan, plan_fit, plan_rows
from luthier.reporting.across_report import across_page, across_sentences
from luthier.reporting.crossed_report import crossed_leaders
from luthier.reporting.live import LiveBoard
from luthier.reporting.markdown import listed
from luthier.spec import Fitted, Spec
from luthier.tasks.crossed_names import BETWEEN
from luthier.tracking.runs import TAGS, MlflowRun
from luthier.tracking.tracker import MlflowTracker, Tracker

if TYPE_CHECKING:
    import pandas as pd

__all__ = ["ComparisonSetup"]


class ComparisonSetup:
    """Specs, test tables and training rows, read once and checked: what comparing would cost, and the comparison.

    Args:
        specs: recipes for one task, with distinct names.
        tests: labelled rows, by the name of their table.
        train: labelled rows for the specs that need them.
        rank_by: metric that orders the leaderboard; the task type's own when absent.
        allow_leaks: compare even if test rows are also in the training table.
        fits: what specs became already, by their names; these need no training rows and are not fitted again.
        race: ask block by block, and stop specs that will end clearly behind the best.
        missing: specs that cannot be asked with a model, by the names they would have, and why.

    Raises:
        UserError: there is nothing to race.
        SpecError: there is no spec, specs do not belong on one leaderboard, or one needs training rows.
        DataError: a table is missing or given twice, a column is missing, a label is wrong, or test rows were trained
            on.
        EndpointError: a key's variable is not set.
    """

    def __init__(
        self,
        specs: Sequence[Spec],
        tests: Mapping[str, pd.DataFrame],
        train: pd.DataFrame | None = None,
        *,
        rank_by: str | None = None,
        allow_leaks: bool = False,
        fits: Mapping[str, Fitted] | None = None,
        race: bool = False,
        missing: Mapping[str, str] | None = None,
    ) -> None:
        self.specs = tuple(specs)
        self.missing = dict(missing or {})
        self.fits = dict(fits or {})
        self.tables = labelled_tables(specs, tests)
        self.task = specs[0].task
        metric = ranking_metric(self.task, rank_by)
        self.rank_by = rank_by
        self.race = RaceSetup(self.specs, self.tables, metric) if race else None
        self.train = train
        unfitted = [spec for spec in specs if spec.name not in self.fits]
        self.training = dict.fromkeys(self.fits) | training_for(unfitted, train)
        learned = next((rows for rows in self.training.values() if rows is not None), None)
        self.leaks = {table.name: leak_of(table.rows, learned) for table in self.tables}
        if not allow_leaks:
            self._refuse_leaks()
        self.train_labels: list[str] | None = None
        if train is not None and self.task.label in train.columns:
            labels = learned.labels if learned is not None else map(self.task.canonical_label, train[self.task.label])
            self.train_labels = [label for label in labels if label is not None]

    def plan(self, options: RunOptions = DEFAULTS, *, tracker: Tracker | None = None) -> Plan:
        """What the comparison would send and cost; sends nothing.

        Each spec is fitted once, and what several tables or specs ask is asked once.

        Args:
            options: whether the journal's answers are used, and the engine that holds journal and prices.
            tracker: where to look for what was fitted earlier; MLflow when absent.
        """
        tracker = tracker or MlflowTracker()
        rows = self.tables[0].rows
        for table in self.tables[1:]:
            rows = self.task.rows_of(rows.inputs + table.rows.inputs, rows.labels + table.rows.labels)
        counted: set[bytes] = set()
        as_it_is = RunOptions(engine=options.engine)
        planned = []
        for spec in self.specs:
            train, fitted = self.training[spec.name], self.fits.get(spec.name)
            if not options.fresh and train is not None and plan_fit(spec, train, as_it_is).asks:
                # What a run keeps is not fitted again, even where this journal does not know what it asked.
                fitted = tracker.find_fitted(self.task, expected_digest(spec, train))
            whole = plan_rows(spec, rows, train, options, fitted=fitted, counted=counted)
            if self.race is not None and spec.endpoint is not None:
                whole = whole.at_least(plan_rows(spec, self.race.first_rows(), train, options, fitted=fitted))
            planned.append(whole)
        return Plan(tuple(planned), options.budget_usd, "" if self.race is None else self.race.said)

    def check_batches(self) -> None:
        """Refuses to ask by batch where specs race.

        Raises:
            UserError: they do.
        """
        if self.race is not None:
            raise UserError(
                "a race needs the answers of a block before it asks the next, and a batch answers within a day: leave "
                "out --mode batch (mode='batch') or --race (race=True)."
            )

    def ask_by_batch(
        self, options: RunOptions = DEFAULTS, *, wait: bool = True, tracker: Tracker | None = None
    ) -> RunOptions:
        """Asks what the journal lacks by the services' Batch APIs: cheaper, and answered within a day.

        Args:
            options: on what terms models are asked; `fresh` and `retry_failed` are not possible.
            wait: whether it returns only when everything is answered.
            tracker: where to look for what was fitted earlier; MLflow when absent.

        Returns:
            The options for `run` or `run_tables`, which send nothing then.

        Raises:
            Partial: batches still run, and `wait` is false; the same call goes on with them.
            UserError: answers of the journal were to be asked again, or specs are to race.
        """
        self.check_batches()
        tracker = tracker or MlflowTracker()
        options = options.for_command()
        rows = [table.rows for table in self.tables]
        lacking = partial(lacking_requests, self.specs, rows, self.training, options, tracker)
        answer_by_batch(lacking, options, wait=wait, purpose=f"compare {self.title}")
        return replace(options, journal_only=True)

    def run(
        self,
        options: RunOptions = DEFAULTS,
        *,
        live: LiveBoard | None = None,
        tracker: Tracker | None = None,
        fits: Mapping[str, Fitted] | None = None,
    ) -> Board:
        """Answers every row of the one table with every spec and logs a parent run with a child per spec.

        Specs that call no model come first, then those that send least. A measured spec is at once on the leaderboard
        of `live`, in its child run and in the parent's report, so that an interruption keeps what is done. If models
        are called, nothing is written before one has answered: a wrong key or address leaves no run behind.

        Args:
            options: on what terms models are asked.
            live: shows the leaderboard while it grows; made when absent, unless the options have a progress.
            tracker: where the runs are kept; MLflow when absent.
            fits: what specs became already, by their names; they are not fitted again.
        """
        [table] = self.tables
        options = options.for_command()
        with _shown(options, live) as shown_on:
            known = self.fits | dict(fits or {})
            return TableRun(self, table, options, tracker or MlflowTracker(), shown_on, known).run()

    def run_tables(
        self, options: RunOptions = DEFAULTS, *, live: LiveBoard | None = None, tracker: Tracker | None = None
    ) -> Boards:
        """As `run` for every table: one run for all, with a child per table, each with a child per spec.

        Tables are measured one after another, so that an interruption keeps the finished ones. Each spec is fitted
        once, and a budget is for all tables together.
        """
        tracker = tracker or MlflowTracker()
        options = options.for_command()
        fits = dict(self.fits)
        boards: dict[str, Board] = {}
        tags = {TAGS["task"]: self.task.name, TAGS["task_digest"]: self.task.digest}
        title = f"{self.title} on {len(self.tables)} tables"
        with contextlib.ExitStack() as stack:
            opened: list[MlflowRun] = []
            shown_on = stack.enter_context(_shown(options, live))

            def parent() -> str:
                # Opened by the first spec that has answered: a wrong key leaves no run behind.
                if not opened:
                    opened.append(stack.enter_context(tracker.run(self.task, title, "compare", tags)))
                return opened[0].run_id

            each = [replace(options, report=Report()) for _ in self.tables]
            missing = dict(self.missing)
            raced = self.raced(each, tracker, shown_on, fits, parent, missing)
            for table, own in zip(self.tables, each, strict=True):
                run = TableRun(self, table, own, tracker, shown_on, fits, parent, raced, missing)
                boards[table.name] = run.run()
            found = Boards(boards, parent(), () if raced is None else raced.outcome.foreseen)
            _log_across(opened[0], found)
        return found

    def raced(
        self,
        options: Sequence[RunOptions],
        tracker: Tracker,
        live: LiveBoard | None,
        fits: dict[str, Fitted],
        answered: Callable[[], object],
        missing: dict[str, str],
    ) -> RacedSpecs | None:
        """Who won a race, and who was stopped; what specs became is added to `fits`. `None` where all run to the end.

        Args:
            options: of each table.
            tracker: where to look for what was fitted earlier.
            live: shows how far it is.
            fits: what specs became already.
            answered: called when the first spec that calls a model has answered.
            missing: specs that cannot be asked with a model are added.
        """
        if self.race is None:
            return None
        running: list[Spec] = []
        refused: list[EndpointError] = []
        for spec in in_order(self.specs, self.tables[0].rows, self.training, fits):
            options[0].asking_engine().raise_if_interrupted()
            try:
                with showing(options[0], live, f"{spec.name}: fitting") as progress:
                    own = replace(options[0], progress=progress)
                    begin = partial(self._begin, fits=fits, options=own, tracker=tracker)
                    ask_with_or_without_temperature(spec, fits, begin)
            except EndpointError as error:
                if not fails_alone(spec, error):
                    raise
                refused.append(error)
                missing[spec.name] = without_name(spec, error)
                continue
            running.append(spec)
        if refused and not any(spec.endpoint for spec in running):
            raise refused[0]
        race = self.race if not refused else self.race.without(missing)
        return race.run(fits, options, partial(showing, options[0], live), answered)

    def _begin(self, spec: Spec, fits: dict[str, Fitted], options: RunOptions, tracker: Tracker) -> None:
        """Fits a spec for a race; a model in place of its own is asked a row, to find out whether it takes part."""
        assert self.race is not None
        fits[spec.name] = fits.get(spec.name) or fit_on(spec, self.training[spec.name], options, tracker=tracker)
        if BETWEEN in spec.name:
            answer_rows(fits[spec.name], self.race.first_rows().take([0]), options)

    @property
    def title(self) -> str:
        """How many specs there are, in words."""
        return "1 spec" if len(self.specs) == 1 else f"{len(self.specs)} specs"

    def _refuse_leaks(self) -> None:
        for table in self.tables:
            leak = self.leaks[table.name]
            if leak is not None:
                raise DataError(
                    f"{leak.rows:,} of {len(table.rows):,} rows of {table.name} are also in the training table (the "
                    f"first: test row {leak.test_row}, training row {leak.train_row}), so figures measured on them "
                    "would be too good. Take them out of one of the tables, or add --allow-leaks (allow_leaks=True) to "
                    "compare all the same; the leaderboard then says so."
                )


def _shown(options: RunOptions, live: LiveBoard | None) -> contextlib.AbstractContextManager[LiveBoard | None]:
    return LiveBoard() if live is None and options.progress is None else contextlib.nullcontext(live)


def _log_across(run: MlflowRun, found: Boards) -> None:
    across = found.across
    run.log_text(json.dumps(across.to_document(), ensure_ascii=False, indent=2), "across.json")
    run.tag(TAGS["partial"], str(found.partial).lower())
    run.log_params({"best": across.best.name, "ranked_by": across.metric, "tables": ", ".join(found.tables)})
    run.log_metrics({f"{across.metric}_mean": across.best.mean}, sum(across.rows.values()))
    run.describe(listed([*crossed_leaders(across.crossed, across.measure), *across_sentences(across)]))
    leaderboards = {name: board.leaderboard for name, board in found.boards.items()}
    spreads = {name: board.spreads for name, board in found.boards.items()}
    run.log_page(across_page(leaderboards, across, spreads=spreads))
