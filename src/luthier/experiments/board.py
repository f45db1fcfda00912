"""What a comparison gives back: leaderboards that show themselves, and each spec ready to be packaged."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING, Any

from luthier.engine.report import Report
from luthier.errors import DataError, SpecError
from luthier.evaluation.across import Across, across_tables
from luthier.evaluation.crossed import crossed_frame
from luthier.evaluation.leaderboard import Leaderboard
from luthier.evaluation.mistakes import mistakes
from luthier.evaluation.spec_race import SpecRace
from luthier.evaluation.spread import Spread
from luthier.experiments.answer_tables import answers_frame
from luthier.experiments.spreads import spreads_of
from luthier.reporting.across_report import across_sections
from luthier.reporting.board_report import board_sections
from luthier.reporting.html import fragment
from luthier.reporting.table import Section
from luthier.reporting.terminal import show, text_of
from luthier.scoring.scored_model import Model, example_of, log_model
from luthier.spec import Fitted, Spec
from luthier.tasks.prediction import Prediction
from luthier.tasks.task import Rows

if TYPE_CHECKING:
    import pandas as pd
    from rich.console import Console

__all__ = ["Board", "Boards", "SpecResult"]


@dataclass(frozen=True, repr=False)
class SpecResult:
    """One spec of a leaderboard, ready to be packaged exactly as it was measured.

    Attributes:
        fitted: the recipe and what it became on training rows.
        predictions: one per test row.
        rows: the test rows.
        run_id: MLflow run that measured it.
    """

    fitted: Fitted
    predictions: tuple[Prediction, ...]
    rows: Rows
    run_id: str = ""

    @property
    def spec(self) -> Spec:
        """The recipe."""
        return self.fitted.spec

    @property
    def unanswered(self) -> str:
        """Why no row was answered, and none will be when it is asked again; empty where one was."""
        asked = [one for one in self.predictions if one.state != "empty"]
        lost = all(one.state in ("failed", "refused") and not one.transient for one in asked)
        return (asked[0].error or "no answer") if asked and lost else ""

    def answers(self) -> pd.DataFrame:
        """Row by row what it answered; see `Board.answers`."""
        return answers_frame(self.spec.task, self.rows, self.predictions)

    def log(self, *, register: str | None = None, alias: str | None = None) -> Model:
        """Packages it as an MLflow model; see `luthier.log`."""
        return log_model(
            self.fitted, run_id=self.run_id, register=register, alias=alias, input_example=example_of(self.rows)
        )

    def __repr__(self) -> str:
        return f"<{self.spec.name}: {self.spec.technique}, run {self.run_id}>"


@dataclass(frozen=True, eq=False, repr=False)
class Board:
    """A leaderboard: shows itself in a notebook, prints itself in a terminal.

    Attributes:
        leaderboard: the plain records: entries, intervals, comparisons.
        results: what each spec became and answered, in the order given.
        run_id: MLflow run of the comparison; its children are the specs.
        report: calls, tokens and money of this comparison, fitting included; what is spent now, and what the journal
            had.
        stopped_results: of a race, the stopped specs and what they answered before, the longest asked first.
    """

    leaderboard: Leaderboard
    results: Sequence[SpecResult]
    run_id: str
    report: Report
    stopped_results: Sequence[SpecResult] = ()

    @cached_property
    def frame(self) -> pd.DataFrame:
        """One row per spec, best first: every metric with its `_low` and `_high`."""
        return self.leaderboard.frame()

    @cached_property
    def stopped(self) -> pd.DataFrame:
        """One row per spec that a race has stopped: after how many rows, its metrics on them, how far behind."""
        race = self.leaderboard.race
        frame = SpecRace(0, 0.0, (), 0, 0, ()).frame() if race is None else race.frame()
        return frame.assign(run_id=[result.run_id for result in self.stopped_results])

    @cached_property
    def spreads(self) -> tuple[Spread, ...]:
        """Per grid with several seeds of examples, how far the seeds lie apart."""
        return spreads_of([result.spec for result in self.results], self.leaderboard)

    @property
    def prompts(self) -> pd.DataFrame:
        """With several models: a row per prompt, its mean over the models, its worst cell, how often it leads."""
        return crossed_frame("prompts", self.leaderboard.crossed)

    @property
    def models(self) -> pd.DataFrame:
        """With several models: a row per model, its mean over the prompts, its worst cell, how often it leads."""
        return crossed_frame("models", self.leaderboard.crossed)

    @property
    def matrix(self) -> pd.DataFrame:
        """With several models: a row per prompt, a column per model, the metric that ranks in each cell."""
        return crossed_frame("matrix", self.leaderboard.crossed)

    @property
    def best(self) -> SpecResult:
        """The spec in the first place."""
        return self[0]

    @property
    def partial(self) -> bool:
        """Whether rows are missing for reasons that may pass; compare again to ask for them."""
        return self.leaderboard.partial

    @property
    def unanswered(self) -> dict[str, str]:
        """Specs of which no row was answered, and why the first was not; their figures say nothing."""
        found: dict[str, str] = {}
        for result in (*self.results, *self.stopped_results):
            asked = [prediction for prediction in result.predictions if prediction.state != "empty"]
            if asked and all(prediction.state in ("failed", "refused") for prediction in asked):
                found[result.spec.name] = asked[0].error or "no answer"
        return found

    @property
    def spent_usd(self) -> float | None:
        """US dollars spent now, fitting included; `None` where an answer has no known price."""
        return self.report.spent_now_usd

    def __getitem__(self, spec: Spec | str | int) -> SpecResult:
        """The spec itself or its name, or its place: 0 is the best, -1 the last; by name also one that was stopped.

        Raises:
            SpecError: no such spec was compared.
        """
        if isinstance(spec, int):
            places = len(self)
            if not -places <= spec < places:
                raise SpecError(f"no place {spec} on this leaderboard; it has {places}, from 0 to {places - 1}.")
            spec = self.leaderboard.entries[spec].candidate.name
        name = spec if isinstance(spec, str) else spec.name
        for result in (*self.results, *self.stopped_results):
            if result.spec.name == name:
                return result
        known = ", ".join(result.spec.name for result in self.results)
        raise SpecError(f"no spec {name!r} on this leaderboard; there are: {known}.")

    def __len__(self) -> int:
        return len(self.leaderboard.entries)

    def __iter__(self) -> Iterator[SpecResult]:
        """The specs, best first."""
        return (self[place] for place in range(len(self)))

    def answers(self, spec: Spec | str) -> pd.DataFrame:
        """Row by row what a spec answered: text, truth, the prediction columns, raw answer, cost, latency.

        `row` is the number in the table as it was given, from 1, also with a limit; the index is that table's, and its
        other columns come last.
        """
        return self[spec].answers()

    def errors(self, spec: Spec | str) -> pd.DataFrame:
        """The rows of `answers` a spec got wrong: the farthest off first, then the most confident, as in the report."""
        result = self[spec]
        wrong = mistakes(result.spec.task, result.rows, result.predictions)
        return (
            result.answers()
            .iloc[[mistake.row for mistake in wrong]]
            .rename(columns={result.spec.task.kind.value_name: "prediction", "prediction": "prediction_input"})
        )

    def to_document(self) -> dict[str, Any]:
        """The leaderboard and its run as plain JSON values."""
        return self.leaderboard.to_document() | {"run_id": self.run_id}

    def show(self, console: Console | None = None) -> None:
        """Prints it, on standard output when no console is given."""
        show(*board_sections(self.leaderboard, self.spreads), console=console)

    def _repr_html_(self) -> str:
        spending = self.report.spending if self.report.requests else ""
        return fragment(*board_sections(self.leaderboard, self.spreads, spending))

    def __repr__(self) -> str:
        return text_of(*board_sections(self.leaderboard, self.spreads))


@dataclass(frozen=True, eq=False, repr=False)
class Boards:
    """The leaderboards of several tables, and what holds across them.

    Attributes:
        boards: the board of each table, by the table's name, in the order given.
        run_id: MLflow run of the whole; its children are the tables, theirs the specs.
        foreseen: of a race, p-values of pairs with a stopped spec, for which the others are corrected too.
    """

    boards: Mapping[str, Board]
    run_id: str
    foreseen: tuple[float, ...] = ()

    @property
    def tables(self) -> tuple[str, ...]:
        """Names of the tables, in the order given."""
        return tuple(self.boards)

    @cached_property
    def across(self) -> Across:
        """The plain records: each spec's mean over the tables, its worst table, its ranks."""
        boards = {name: board.leaderboard for name, board in self.boards.items()}
        return across_tables(boards, foreseen=self.foreseen)

    @cached_property
    def frame(self) -> pd.DataFrame:
        """One row per spec, best mean first, with the ranking metric on every table."""
        return self.across.frame()

    @property
    def prompts(self) -> pd.DataFrame:
        """With several models: a row per prompt, its mean over models and tables, its worst cell, where it leads."""
        return crossed_frame("prompts", self.across.crossed)

    @property
    def models(self) -> pd.DataFrame:
        """With several models: a row per model, its mean over prompts and tables, its worst cell, where it leads."""
        return crossed_frame("models", self.across.crossed)

    @property
    def matrix(self) -> pd.DataFrame:
        """With several models: a row per prompt, a column per model, in each cell the mean over the tables."""
        return crossed_frame("matrix", self.across.crossed)

    @property
    def best(self) -> SpecResult:
        """The spec with the best mean, with its run on the first table."""
        return self[0][self.across.best.name]

    @property
    def partial(self) -> bool:
        """Whether rows are missing for reasons that may pass; compare again to ask for them."""
        return any(board.partial for board in self.boards.values())

    @property
    def unanswered(self) -> dict[str, str]:
        """Specs of which a table has no row that was answered, and why the first was not."""
        return {name: why for board in self.boards.values() for name, why in board.unanswered.items()}

    @property
    def spent_usd(self) -> float | None:
        """US dollars spent now over all tables; `None` where an answer has no known price."""
        spent = [board.spent_usd for board in self.boards.values()]
        return None if None in spent else sum(usd for usd in spent if usd is not None)

    def __getitem__(self, table: str | int) -> Board:
        """The board of a table, by its name or by its place among the tables.

        Raises:
            DataError: no such table was compared on.
        """
        name = str(table)
        if isinstance(table, int) and -len(self) <= table < len(self):
            name = self.tables[table]
        if name not in self.boards:
            raise DataError(f"no table {table!r} was compared on; there is: {', '.join(self.tables)}.")
        return self.boards[name]

    def __len__(self) -> int:
        return len(self.boards)

    def __iter__(self) -> Iterator[str]:
        return iter(self.boards)

    def to_document(self) -> dict[str, Any]:
        """Each table's leaderboard, what holds across them, and the runs, as plain JSON values."""
        tables = {name: board.to_document() for name, board in self.boards.items()}
        return {"tables": tables, "across": self.across.to_document(), "run_id": self.run_id}

    def show(self, console: Console | None = None) -> None:
        """Prints the board of every table and what holds across them."""
        show(*self._sections, console=console)

    @property
    def _sections(self) -> tuple[Section, ...]:
        leaderboards = {name: board.leaderboard for name, board in self.boards.items()}
        return across_sections(leaderboards, self.across, {name: board.spreads for name, board in self.boards.items()})

    def _repr_html_(self) -> str:
        return fragment(*self._sections)

    def __repr__(self) -> str:
        return text_of(*self._sections)
