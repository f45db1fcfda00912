"""One table of a comparison while its specs are measured, one after the other, and kept in MLflow."""

from __future__ import annotations

import contextlib
import json
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import replace
from functools import partial
from typing import TYPE_CHECKING, Protocol

from luthier.engine.ask_options import Progress
from luthier.engine.options import RunOptions
from luthier.engine.progress import ProgressForecast, shown
from luthier.engine.report import Report
from luthier.errors import EndpointError, UnusableAnswers
from luthier.evaluation.across import crossed_of
from luthier.evaluation.leaderboard import Candidate, Leaderboard
from luthier.evaluation.ranking import MeasuredOnce, build_leaderboard, metrics_of
from luthier.evaluation.spec_race import StoppedSpec
from luthier.evaluation.spread import Spread
from luthier.experiments.board import Board, SpecResult
from luthier.experiments.fits import fit_on, follow_ups_of
from luthier.experiments.labelled_tables import LabelledTable, Leak
from luthier.experiments.race import RacedSpecs, RaceSetup
from luthier.experiments.spec_results import answer_rows, ask_with_or_without_temperature, candidate_of, log_result
from luthier.providers.exchange import Request
from luthier.reporting.board_report import board_page
from luthier.reporting.live import DisplayBudget, LiveBoard
from luthier.reporting.markdown import described
from luthier.spec import Fitted, Spec
from luthier.tasks.crossed_names import BETWEEN, prompt_and_model
from luthier.tasks.task import Rows, Task
from luthier.tracking.runs import TAGS, MlflowRun, spec_tags
from luthier.tracking.tracker import Tracker

if TYPE_CHECKING:
    import pandas as pd

__all__ = ["TableRun", "fails_alone", "in_order", "showing", "without_name"]

MOST_WEIGHED = 50
"""With more specs than this they are not ordered by how much they send; the specs of a grid send much the same."""


class Compared(Protocol):
    """What is compared: a `ComparisonSetup`."""

    specs: tuple[Spec, ...]
    tables: tuple[LabelledTable, ...]
    task: Task
    training: dict[str, Rows | None]
    train: pd.DataFrame | None
    train_labels: list[str] | None
    leaks: dict[str, Leak | None]
    rank_by: str | None
    race: RaceSetup | None
    missing: dict[str, str]

    @property
    def title(self) -> str:
        """How many specs there are, in words."""

    def raced(
        self,
        options: Sequence[RunOptions],
        tracker: Tracker,
        live: LiveBoard | None,
        fits: dict[str, Fitted],
        answered: Callable[[], object],
        missing: dict[str, str],
    ) -> RacedSpecs | None:
        """Who won a race, and who was stopped; `None` where all run to the end."""


class TableRun:
    """One table of a comparison while its specs are measured, one after the other."""

    def __init__(
        self,
        setup: Compared,
        table: LabelledTable,
        options: RunOptions,
        tracker: Tracker,
        live: LiveBoard | None,
        fits: dict[str, Fitted] | None = None,
        open_above: Callable[[], str] | None = None,
        raced: RacedSpecs | None = None,
        missing: dict[str, str] | None = None,
    ) -> None:
        self._setup, self._table, self._options, self._tracker = setup, table, options, tracker
        self._live, self._open_above, self._raced = live, open_above, raced
        self._parent: MlflowRun | None = None
        # What specs became, by name; several tables share it, so that each spec is fitted once.
        self._fits = {} if fits is None else fits
        self._engine = options.asking_engine()
        # As long as others can be asked, a spec that a model refuses is a gap; on further tables it is not asked again.
        self._missing = dict(setup.missing) if missing is None else missing
        asked = [spec for spec in setup.specs if spec.name not in self._missing]
        self._order = in_order(asked, table.rows, setup.training, self._fits)
        self._done: dict[str, SpecResult] = {}
        self._measured = MeasuredOnce()
        self._display_budget = DisplayBudget()

    def run(self) -> Board:
        """Measures the specs; see `ComparisonSetup.run`."""
        setup = self._setup
        with contextlib.ExitStack() as stack:
            if self._raced is None:
                opened = partial(self._opened, stack)
                self._raced = setup.raced([self._options], self._tracker, self._live, self._fits, opened, self._missing)
            raced = self._raced
            order = [spec for spec in self._order if raced is None or spec.name in raced.survivors]
            refused: EndpointError | None = None
            for spec in order:
                self._engine.raise_if_interrupted()
                try:
                    if raced is None:
                        result = ask_with_or_without_temperature(spec, self._fits, self._answer)
                    else:
                        result = raced.result(spec.name, self._place)
                    if BETWEEN in spec.name and result.unanswered:
                        raise EndpointError(result.unanswered)
                except EndpointError as error:
                    if not fails_alone(spec, error):
                        raise
                    refused = refused or error
                    self._missing[spec.name] = without_name(spec, error)
                    continue
                self._done[spec.name] = result
                so_far = None
                if raced is None and spec is not order[-1] and self._display_budget.is_due:
                    with self._display_budget:
                        so_far = self._leaderboard()
                        if self._live is not None:
                            self._live.show(so_far, self._table.name if self._open_above is not None else "")
                if spec.endpoint is None and order[-1].endpoint is not None:
                    continue
                parent = self._opened(stack)
                self._log_children(parent.run_id)
                if so_far is not None:
                    with self._display_budget:
                        self._log_board(parent, so_far, ())
            answered = any(result.spec.endpoint for result in self._done.values())
            if refused and not answered and not (self._done and isinstance(refused, UnusableAnswers)):
                raise refused
            parent = self._opened(stack)
            self._log_children(parent.run_id)
            leaderboard = self._leaderboard()
            stopped: list[SpecResult] = []
            if raced is not None:
                race = raced.record(leaderboard, self._place)
                stopped = [self._log_stopped(raced, one, parent.run_id) for one in race.stopped]
                leaderboard = replace(leaderboard, race=race)
            leaderboard = replace(leaderboard, crossed=crossed_of({self._table.name: leaderboard}))
            results = [self._done[spec.name] for spec in setup.specs if spec.name in self._done]
            board = Board(leaderboard, results, parent.run_id, self._options.report or Report(), stopped)
            self._log_board(parent, leaderboard, board.spreads)
        return board

    @property
    def _place(self) -> int:
        return self._setup.tables.index(self._table)

    def _opened(self, stack: contextlib.ExitStack) -> MlflowRun:
        """The run of the table, opened when the first spec that calls a model has answered."""
        if self._parent is None:
            self._parent = stack.enter_context(self._open())
            # Also of a comparison that is interrupted.
            stack.callback(self._log_spent, self._parent)
            self._log_inputs(self._parent)
        return self._parent

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
        left = [spec.name for spec in self._order if spec.name not in self._done | self._missing]
        board = build_leaderboard(
            self._setup.task,
            self._table.rows,
            [self._candidate(self._done[spec.name]) for spec in specs if spec.name in self._done],
            train_labels=self._setup.train_labels,
            rank_by=self._setup.rank_by,
            waiting=left if self._raced is None else (),
            measured=self._measured,
            foreseen=() if self._raced is None else self._raced.foreseen,
        )
        return replace(board, missing=dict(self._missing))

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
            "race": setup.race is not None,
        }
        run.log_params({key: value for key, value in given.items() if value})

    def _log_children(self, parent: str) -> None:
        """A child run for each measured spec that has none yet."""
        for name in [name for name, result in self._done.items() if not result.run_id]:
            self._done[name] = self._log_child(self._done[name], parent)

    def _log_child(self, result: SpecResult, parent: str) -> SpecResult:
        spec, table = result.spec, self._table
        tags = spec_tags(spec) | {TAGS["test_digest"]: table.rows.digest}
        with self._tracker.run(spec.task, spec.name, "candidate", tags, parent=parent) as run:
            run.log_spec(spec)
            _log_names(run, spec)
            metrics = metrics_of(spec.task, table.rows, self._candidate(result), measured=self._measured)
            partial = log_result(run, result, table, metrics)
        if not partial:
            self._tracker.mark_outdated(spec.task, result.fitted.digest, run.run_id)
        return replace(result, run_id=run.run_id)

    def _log_stopped(self, raced: RacedSpecs, stopped: StoppedSpec, parent: str) -> SpecResult:
        """Keeps what a spec answered before it was stopped; its rows are others than those of the leaderboard."""
        result = raced.result(stopped.name, self._place)
        spec, table = result.spec, self._table
        tags = spec_tags(spec) | {TAGS["test_digest"]: result.rows.digest, TAGS["stopped_after"]: str(stopped.rows)}
        places = raced.places(stopped.name, self._place)
        seen = LabelledTable(f"{table.name}, rows of the race", table.frame.iloc[places], result.rows)
        with self._tracker.run(spec.task, spec.name, "candidate", tags, parent=parent) as run:
            run.log_spec(spec)
            _log_names(run, spec)
            log_result(run, result, seen, stopped.metrics)
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
            if board.race is not None:
                race = board.race
                run.log_params({"stopped": len(race.stopped), "answers_saved": race.full_answers - race.answers})
            run.log_metrics(board.best.metrics, board.rows_evaluated)
        run.tag(TAGS["partial"], str(board.partial or bool(board.waiting)).lower())
        run.describe(described(board))
        rows = self._table.rows
        run.log_page(board_page(board, rows, spreads=spreads), figures=not board.waiting)


def without_name(spec: Spec, error: EndpointError) -> str:
    """The words of an error of a spec, for a place that names the spec."""
    return str(error).removeprefix(f"spec {spec.name!r}: ")


def fails_alone(spec: Spec, error: EndpointError) -> bool:
    """Whether an error is of one spec, so that the others are measured all the same."""
    return BETWEEN in spec.name or isinstance(error, UnusableAnswers)


def _log_names(run: MlflowRun, spec: Spec) -> None:
    """Prompt and model as parameters of their own, by which MLflow groups runs and draws charts."""
    prompt, model = prompt_and_model(spec.name)
    run.log_params({"prompt_name": prompt, "model_name": model or spec.base_model})


@contextlib.contextmanager
def showing(options: RunOptions, live: LiveBoard | None, what: str, answers: int = 0) -> Iterator[Progress | None]:
    """A display for some calls of several specs."""
    if live is None:
        with shown(options.progress, what) as progress:
            yield progress and ProgressForecast(progress, answers)
    else:
        yield ProgressForecast(live.turn_to(what), answers)


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
