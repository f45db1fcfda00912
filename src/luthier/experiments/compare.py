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
from luthier.engine.progress import ProgressForecast, shown
from luthier.engine.report import Report
from luthier.errors import DataError
from luthier.evaluation.leaderboard import Candidate, Leaderboard
from luthier.evaluation.measures import ranking_metric
from luthier.evaluation.ranking import MeasuredOnce, build_leaderboard, metrics_of
from luthier.evaluation.spread import Spread
from luthier.experiments.board import Board, Boards, SpecResult
from luthier.experiments.fits import expected_digest, fit_on, follow_ups_of, training_for
from luthier.experiments.labelled_tables import LabelledTable, labelled_tables, leak_of
from luthier.experiments.lacking import lacking_requests
from luthier.experiments.spec_results import answer_rows, candidate_of, log_result
from luthier.plans import Plan, plan_fit, plan_rows
from luthier.providers.exchange import Request
from luthier.reporting.across_report import across_page, across_sentences
from luthier.reporting.board_report import board_page
from luthier.reporting.live import DisplayBudget, LiveBoard
from luthier.reporting.markdown import described, listed
from luthier.spec import Fitted, Spec
from luthier.tasks.task import Rows
from luthier.tracking.runs import TAGS, MlflowRun, spec_tags
from luthier.tracking.tracker import MlflowTracker, Tracker

if TYPE_CHECKING:
    import pandas as pd

__all__ = ["ComparisonSetup"]

MOST_WEIGHED = 50
"""With more specs than this they are not ordered by how much they send; the specs of a grid send much the same."""


class ComparisonSetup:
    """Specs, test tables and training rows, read once and checked: what comparing would cost, and the comparison.

    Args:
        specs: recipes for one task, with distinct names.
        tests: labelled rows, by the name of their table.
        train: labelled rows for the specs that need them.
        rank_by: metric that orders the leaderboard; the task type's own when absent.
        allow_leaks: compare even if test rows are also in the training table.
        fits: what specs became already, by their names; these need no training rows and are not fitted again.

    Raises:
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
    ) -> None:
        self.specs = tuple(specs)
        self.fits = dict(fits or {})
        self.tables = labelled_tables(specs, tests)
        self.task = specs[0].task
        ranking_metric(self.task, rank_by)
        self.rank_by = rank_by
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
            rows = Rows(rows.inputs + table.rows.inputs, rows.labels + table.rows.labels, rows.text)
        counted: set[bytes] = set()
        as_it_is = RunOptions(engine=options.engine)
        planned = []
        for spec in self.specs:
            train, fitted = self.training[spec.name], self.fits.get(spec.name)
            if not options.fresh and train is not None and plan_fit(spec, train, as_it_is).asks:
                # What a run keeps is not fitted again, even where this journal does not know what it asked.
                fitted = tracker.find_fitted(self.task, expected_digest(spec, train))
            planned.append(plan_rows(spec, rows, train, options, fitted=fitted, counted=counted))
        return Plan(tuple(planned), options.budget_usd)

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
            UserError: answers of the journal were to be asked again.
        """
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
            return _TableRun(self, table, options, tracker or MlflowTracker(), shown_on, known).run()

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

            for table in self.tables:
                own = replace(options, report=Report())
                boards[table.name] = _TableRun(self, table, own, tracker, shown_on, fits, parent).run()
            found = Boards(boards, parent())
            _log_across(opened[0], found)
        return found

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


class _TableRun:
    """One table of a comparison while its specs are measured, one after the other."""

    def __init__(
        self,
        setup: ComparisonSetup,
        table: LabelledTable,
        options: RunOptions,
        tracker: Tracker,
        live: LiveBoard | None,
        fits: dict[str, Fitted] | None = None,
        open_above: Callable[[], str] | None = None,
    ) -> None:
        self._setup, self._table, self._options, self._tracker = setup, table, options, tracker
        self._live, self._open_above = live, open_above
        # What specs became, by name; several tables share it, so that each spec is fitted once.
        self._fits = {} if fits is None else fits
        self._engine = options.asking_engine()
        self._order = in_order(setup.specs, table.rows, setup.training, self._fits)
        self._done: dict[str, SpecResult] = {}
        self._measured = MeasuredOnce()
        self._display_budget = DisplayBudget()

    def run(self) -> Board:
        setup, order = self._setup, self._order
        parent: MlflowRun | None = None
        with contextlib.ExitStack() as stack:
            for spec in order:
                self._engine.raise_if_interrupted()
                self._done[spec.name] = self._answer(spec)
                so_far = None
                if spec is not order[-1] and self._display_budget.is_due:
                    with self._display_budget:
                        so_far = self._leaderboard()
                        if self._live is not None:
                            self._live.show(so_far, self._table.name if self._open_above is not None else "")
                if spec.endpoint is None and order[-1].endpoint is not None:
                    continue
                if parent is None:
                    parent = stack.enter_context(self._open())
                    # Also of a comparison that is interrupted.
                    stack.callback(self._log_spent, parent)
                    self._log_inputs(parent)
                for name in [name for name, result in self._done.items() if not result.run_id]:
                    self._done[name] = self._log_child(self._done[name], parent.run_id)
                if so_far is not None:
                    with self._display_budget:
                        self._log_board(parent, so_far, ())
            assert parent is not None
            leaderboard = self._leaderboard()
            results = [self._done[spec.name] for spec in setup.specs]
            board = Board(leaderboard, results, parent.run_id, self._options.report or Report())
            self._log_board(parent, leaderboard, board.spreads)
        return board

    def _answer(self, spec: Spec) -> SpecResult:
        rows = self._table.rows
        with contextlib.ExitStack() as stack:
            progress = self._live.turn_to(spec.name) if self._live is not None else None
            if progress is None:
                progress = stack.enter_context(shown(self._options.progress, spec.name))
            known = self._fits.get(spec.name)
            train = self._setup.training[spec.name] if known is None else None
            fitting, per_row = first_asked(spec, rows, train, known)
            with_text = sum(text is not None for text in rows.texts)
            ahead = ProgressForecast(
                progress,
                round(with_text * len(per_row)),
                fitting=len(fitting),
                follow_ups=follow_ups_of(spec),
            )
            options = replace(self._options, progress=ahead)
            fitted = known or fit_on(spec, train, options, tracker=self._tracker)
            self._fits[spec.name] = fitted
            ahead.answer_rows()
            return answer_rows(fitted, rows, options)

    def _leaderboard(self) -> Leaderboard:
        specs = self._setup.specs
        return build_leaderboard(
            self._setup.task,
            self._table.rows,
            [self._candidate(self._done[spec.name]) for spec in specs if spec.name in self._done],
            train_labels=self._setup.train_labels,
            rank_by=self._setup.rank_by,
            waiting=[spec.name for spec in self._order if spec.name not in self._done],
            measured=self._measured,
        )

    def _candidate(self, result: SpecResult) -> Candidate:
        trained = self._setup.training[result.spec.name] is not None
        return candidate_of(result, self._setup.leaks[self._table.name] if trained else None)

    def _open(self) -> contextlib.AbstractContextManager[MlflowRun]:
        setup, table = self._setup, self._table
        tags = {TAGS["task"]: setup.task.name, TAGS["task_digest"]: setup.task.digest}
        tags[TAGS["test_digest"]] = table.rows.digest
        title, above = f"{setup.title}, {len(table.rows):,} rows of {table.name}", None
        if self._open_above is not None:
            title, above = table.name, self._open_above()
        return self._tracker.run(setup.task, title, "compare", tags, parent=above)

    def _log_inputs(self, run: MlflowRun) -> None:
        setup, table = self._setup, self._table
        run.log_table(table.frame, name=table.name, context="test", targets=setup.task.label)
        if setup.train is not None:
            run.log_table(setup.train, name="train", context="train", targets=setup.task.label)
        given = {
            "specs": ", ".join(spec.name for spec in setup.specs),
            "test": table.name,
            "rows": len(table.rows),
            "train_rows": None if setup.train is None else len(setup.train),
            "budget_usd": self._options.budget_usd,
            "fresh": self._options.fresh,
            "retry_failed": self._options.retry_failed,
        }
        run.log_params({key: value for key, value in given.items() if value})

    def _log_child(self, result: SpecResult, parent: str) -> SpecResult:
        spec, table = result.spec, self._table
        tags = spec_tags(spec) | {TAGS["test_digest"]: table.rows.digest}
        with self._tracker.run(spec.task, spec.name, "candidate", tags, parent=parent) as run:
            run.log_spec(spec)
            metrics = metrics_of(spec.task, table.rows, self._candidate(result), measured=self._measured)
            partial = log_result(run, result, table, metrics)
        if not partial:
            self._tracker.mark_outdated(spec.task, result.fitted.digest, run.run_id)
        return replace(result, run_id=run.run_id)

    def _log_spent(self, run: MlflowRun) -> None:
        if self._options.report is not None:
            run.log_spent(self._options.report.spent_now_usd)

    def _log_board(self, run: MlflowRun, board: Leaderboard, spreads: Sequence[Spread]) -> None:
        if not board.waiting:
            # In one line: indented, a leaderboard of 500 specs takes several times the room.
            text = json.dumps(board.to_document(), ensure_ascii=False, separators=(",", ":"))
            run.log_text(text, "leaderboard.json")
            run.log_params({"best": board.best.candidate.name, "ranked_by": board.ranked_by})
            run.log_metrics(board.best.metrics, board.rows_evaluated)
        run.tag(TAGS["partial"], str(board.partial or bool(board.waiting)).lower())
        run.describe(described(board))
        rows = self._table.rows
        run.log_page(board_page(board, rows, spreads=spreads), figures=not board.waiting)


def _shown(options: RunOptions, live: LiveBoard | None) -> contextlib.AbstractContextManager[LiveBoard | None]:
    return LiveBoard() if live is None and options.progress is None else contextlib.nullcontext(live)


def _log_across(run: MlflowRun, found: Boards) -> None:
    across = found.across
    run.log_text(json.dumps(across.to_document(), ensure_ascii=False, indent=2), "across.json")
    run.tag(TAGS["partial"], str(found.partial).lower())
    run.log_params({"best": across.best.name, "ranked_by": across.metric, "tables": ", ".join(found.tables)})
    run.log_metrics({f"{across.metric}_mean": across.best.mean}, sum(across.rows.values()))
    run.describe(listed(across_sentences(across)))
    leaderboards = {name: board.leaderboard for name, board in found.boards.items()}
    spreads = {name: board.spreads for name, board in found.boards.items()}
    run.log_page(across_page(leaderboards, across, spreads=spreads))


def first_asked(
    spec: Spec, rows: Rows, train: Rows | None, fitted: Fitted | None = None
) -> tuple[Sequence[Request], Sequence[Request]]:
    """The first requests of fitting, and those of one test row of median length as an example of all rows."""
    if spec.endpoint is None:
        return (), ()
    lengths = sorted((len(str(text)), place) for place, text in enumerate(rows.texts) if text is not None)
    ordinary = rows.take([lengths[len(lengths) // 2][1]]) if lengths else rows
    return spec.first_requests(ordinary, train, fitted)


def in_order(
    specs: Sequence[Spec],
    rows: Rows,
    training: Mapping[str, Rows | None],
    fits: Mapping[str, Fitted] | None = None,
) -> list[Spec]:
    """The order in which specs are measured: first those that call no model, then by how much they send.

    Among those that call one, specs whose call an endpoint may not offer come first, so that nothing is paid when it
    does not. Specs that send equally much stay in the order given.
    """

    def length(spec: Spec) -> int:
        if len(specs) > MOST_WEIGHED:
            return 0
        fitting, per_row = first_asked(spec, rows, training[spec.name], (fits or {}).get(spec.name))
        once, each = (sum(len(json.dumps(r.body, default=str)) for r in asked) for asked in (fitting, per_row))
        return once + each * len(rows)

    def few_offer_it(spec: Spec) -> bool:
        return any(probe.operation not in ("chat", "completion") for probe in spec.probes())

    return sorted(specs, key=lambda spec: (spec.endpoint is not None, not few_offer_it(spec), length(spec)))
