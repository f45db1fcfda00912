"""What the verbs give back: models, boards and winners, objects that show themselves in a notebook."""

from __future__ import annotations

import html
import logging
import sys
from collections.abc import Iterator
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

from luthier.engine.ask_options import Progress
from luthier.engine.budget import Budget
from luthier.engine.engine import Engine, engine_given
from luthier.engine.progress import ProgressForecast, shown
from luthier.engine.report import Report
from luthier.errors import DataError, SpecError, UserError
from luthier.evaluation.across import Across
from luthier.evaluation.leaderboard import Leaderboard
from luthier.evaluation.mistakes import mistakes
from luthier.experiments.answer_tables import answers_frame
from luthier.experiments.compare import ComparedTable, MeasuredSpec
from luthier.experiments.several_tables import ComparedTables
from luthier.packaging.model import LuthierModel
from luthier.packaging.versions import Logged, log_fitted_model
from luthier.reporting.across_report import across_sections
from luthier.reporting.board_report import board_sections
from luthier.reporting.html import fragment
from luthier.reporting.table import Section
from luthier.reporting.terminal import show, text_of
from luthier.scoring.batch import BatchReport, passed_through, score_table
from luthier.spec import Fitted, Spec
from luthier.tables import count_rows, frame_of
from luthier.tasks.task import Rows
from luthier.tracking.batch_runs import batch_run, log_batch, log_batch_later
from luthier.tracking.runs import connect, no_autologging

if TYPE_CHECKING:
    import pandas as pd
    from rich.console import Console

logger = logging.getLogger(__name__)

__all__ = ["Board", "Boards", "Model", "SpecResult", "budget_of", "example_of", "logged_model"]


class SpecResult:
    """One spec of a leaderboard, ready to be packaged exactly as it was measured."""

    def __init__(self, measured: MeasuredSpec, rows: Rows) -> None:
        self._measured = measured
        self._rows = rows

    @property
    def spec(self) -> Spec:
        """The recipe."""
        return self._measured.spec

    @property
    def run_id(self) -> str:
        """MLflow run that measured it."""
        return self._measured.run_id

    def log(self, *, register: str | None = None, alias: str | None = None) -> Model:
        """Packages it as an MLflow model; see `luthier.log`."""
        return logged_model(self._measured.fitted, self.run_id, register, alias, example_of(self._rows))

    def __repr__(self) -> str:
        return f"<{self.spec.name}: {self.spec.technique}, run {self.run_id}>"


class Board:
    """A leaderboard: shows itself in a notebook, prints itself in a terminal.

    Attributes:
        comparison: everything behind it.
    """

    def __init__(self, comparison: ComparedTable) -> None:
        self.comparison = comparison

    @property
    def leaderboard(self) -> Leaderboard:
        """The plain records: entries, intervals, comparisons."""
        return self.comparison.leaderboard

    @cached_property
    def frame(self) -> pd.DataFrame:
        """One row per spec, best first: every metric with its `_low` and `_high`."""
        return self.leaderboard.frame()

    @property
    def best(self) -> SpecResult:
        """The spec in the first place."""
        return self[0]

    @property
    def run_id(self) -> str:
        """MLflow run of the comparison; its children are the specs."""
        return self.comparison.run_id

    @property
    def partial(self) -> bool:
        """Whether rows are missing for reasons that may pass; compare again to ask for them."""
        return self.leaderboard.partial

    @property
    def unanswered(self) -> dict[str, str]:
        """Specs of which no row was answered, and why the first was not; their figures say nothing."""
        return self.comparison.unanswered

    @property
    def report(self) -> Report:
        """Calls, tokens and money of this comparison, fitting included; what is spent now, and what the journal had."""
        return self.comparison.report

    @property
    def spent_usd(self) -> float | None:
        """US dollars spent now, fitting included; `None` where an answer has no known price."""
        return self.report.spent_now_usd

    def __getitem__(self, spec: Spec | str | int) -> SpecResult:
        """The spec itself or its name, or its place: 0 is the best, -1 the last.

        Raises:
            SpecError: no such spec was compared.
        """
        if isinstance(spec, int):
            places = len(self)
            if not -places <= spec < places:
                raise SpecError(f"no place {spec} on this leaderboard; it has {places}, from 0 to {places - 1}.")
            spec = self.leaderboard.entries[spec].candidate.name
        return SpecResult(self.comparison.of(spec), self.comparison.rows)

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
        measured = self.comparison.of(spec)
        return answers_frame(self.comparison.task, self.comparison.rows, measured.predictions)

    def errors(self, spec: Spec | str) -> pd.DataFrame:
        """The rows of `answers` a spec got wrong: the farthest off first, then the most confident, as in the report."""
        measured = self.comparison.of(spec)
        wrong = mistakes(self.comparison.task, self.comparison.rows, measured.predictions)
        frame = answers_frame(self.comparison.task, self.comparison.rows, measured.predictions)
        return frame.iloc[[mistake.row for mistake in wrong]].rename(
            columns={self.comparison.task.kind.value_name: "prediction", "prediction": "prediction_input"}
        )

    def to_document(self) -> dict[str, Any]:
        """The leaderboard and its run as plain JSON values."""
        return self.leaderboard.to_document() | {"run_id": self.run_id}

    def show(self, console: Console | None = None) -> None:
        """Prints it, on standard output when no console is given."""
        show(*board_sections(self.leaderboard, self.comparison.spreads), console=console)

    def _repr_html_(self) -> str:
        spending = self.report.spending if self.report.requests else ""
        return fragment(*board_sections(self.leaderboard, self.comparison.spreads, spending))

    def __repr__(self) -> str:
        return text_of(*board_sections(self.leaderboard, self.comparison.spreads))


class Boards:
    """The leaderboards of several tables, and what holds across them.

    Attributes:
        comparisons: everything behind it.
    """

    def __init__(self, comparisons: ComparedTables) -> None:
        self.comparisons = comparisons

    @property
    def tables(self) -> tuple[str, ...]:
        """Names of the tables, in the order given."""
        return tuple(self.comparisons.tables)

    @property
    def across(self) -> Across:
        """The plain records: each spec's mean over the tables, its worst table, its ranks."""
        return self.comparisons.across

    @cached_property
    def frame(self) -> pd.DataFrame:
        """One row per spec, best mean first, with the ranking metric on every table."""
        return self.across.frame()

    @property
    def best(self) -> SpecResult:
        """The spec with the best mean, with its run on the first table."""
        return self[self.tables[0]][self.across.best.name]

    @property
    def run_id(self) -> str:
        """MLflow run of the whole; its children are the tables, theirs the specs."""
        return self.comparisons.run_id

    @property
    def partial(self) -> bool:
        """Whether rows are missing for reasons that may pass; compare again to ask for them."""
        return self.comparisons.partial

    @property
    def unanswered(self) -> dict[str, str]:
        """Specs of which no row was answered, and why the first was not; their figures say nothing."""
        return self.comparisons.unanswered

    @property
    def spent_usd(self) -> float | None:
        """US dollars spent now over all tables; `None` where an answer has no known price."""
        spent = [self[name].spent_usd for name in self]
        return None if None in spent else sum(usd for usd in spent if usd is not None)

    def __getitem__(self, table: str | int) -> Board:
        """The board of a table, by its name or by its place among the tables.

        Raises:
            DataError: no such table was compared on.
        """
        name = str(table)
        if isinstance(table, int) and -len(self) <= table < len(self):
            name = self.tables[table]
        if name not in self.comparisons.tables:
            raise DataError(f"no table {table!r} was compared on; there is: {', '.join(self.tables)}.")
        return Board(self.comparisons.tables[name])

    def __len__(self) -> int:
        return len(self.tables)

    def __iter__(self) -> Iterator[str]:
        return iter(self.tables)

    def to_document(self) -> dict[str, Any]:
        """Each table's leaderboard, what holds across them, and the runs, as plain JSON values."""
        return self.comparisons.to_document()

    def show(self, console: Console | None = None) -> None:
        """Prints the board of every table and what holds across them."""
        show(*self._sections, console=console)

    @property
    def _sections(self) -> tuple[Section, ...]:
        tables = self.comparisons.tables
        leaderboards = {name: comparison.leaderboard for name, comparison in tables.items()}
        return across_sections(leaderboards, self.across, {name: one.spreads for name, one in tables.items()})

    def _repr_html_(self) -> str:
        return fragment(*self._sections)

    def __repr__(self) -> str:
        return text_of(*self._sections)


class Model:
    """A packaged model: scores DataFrames and files.

    Attributes:
        uri: what `mlflow models` and `luthier score` take.
        logged: where it is in MLflow; `None` for a model that was loaded.
        report: calls, tokens and money of everything it has scored and predicted; `report.spending` in a sentence.
    """

    def __init__(self, uri: str, model: LuthierModel, logged: Logged | None = None) -> None:
        self.uri = uri
        self.logged = logged
        self.report = Report()
        self._model = model

    @property
    def packaged(self) -> LuthierModel:
        """What MLflow loads: the object behind the pyfunc model."""
        return self._model

    @property
    def spec(self) -> Spec:
        """The recipe inside."""
        return self._model.fitted.spec

    @property
    def spent_usd(self) -> float | None:
        """US dollars that `score`, `predict` and `score_file` have spent; `None` where an answer has no known price."""
        return self.report.spent_now_usd

    def score(
        self,
        rows: Any,
        *,
        budget_usd: float | None = None,
        engine: Engine | None = None,
        progress: Progress | None = None,
        retry_failed: bool = False,
    ) -> pd.DataFrame:
        """The rows with the prediction columns behind their own.

        Args:
            rows: a table with the columns the model reads, or texts alone: a DataFrame (pandas or polars), a list of
                dicts or of texts, a Series, a dict of lists, an Arrow table, a path.
            budget_usd: most that may be spent; what was paid for stays in the journal.
            engine: the process's own when absent.
            progress: told of every answer; a bar on stderr when absent.
            retry_failed: also ask again for rows that failed for good.

        Raises:
            DataError: the rows are something else, lack a column, or hold a text that is none.
        """
        import pandas as pd

        frame = frame_of(rows, "the input", text=self._model.task.text)
        names = passed_through(list(frame.columns), self._model.task)
        answers = self.predict(
            frame, budget_usd=budget_usd, engine=engine, progress=progress, retry_failed=retry_failed
        )
        return pd.concat([frame.rename(columns=names), answers], axis="columns")

    def predict(
        self,
        rows: Any,
        *,
        budget_usd: float | None = None,
        engine: Engine | None = None,
        progress: Progress | None = None,
        retry_failed: bool = False,
    ) -> pd.DataFrame:
        """The prediction columns alone, as `mlflow.pyfunc` gives them; arguments and errors are those of `score`."""
        frame = frame_of(rows, "the input", text=self._model.task.text)
        self.spec.check_columns(frame.columns, "the input")
        table = self._model.rows(frame)
        engine = engine_given(engine)
        with shown(progress, "scoring") as showing, no_autologging():
            predictions = engine.drive(
                self._model.fitted.predict(table),
                self.spec.endpoint,
                budget=budget_of(budget_usd),
                progress=showing,
                retry_failed=retry_failed,
                report=self.report,
            )
        answers = self._model.task.kind.frame(predictions)
        answers.index = frame.index
        return answers

    def score_file(
        self,
        source: str | Path,
        target: str | Path,
        *,
        budget_usd: float | None = None,
        engine: Engine | None = None,
        progress: Progress | None = None,
        retry_failed: bool = False,
        overwrite: bool = False,
        wait: bool = True,
        escape_formulas: bool = False,
    ) -> BatchReport:
        """Scores a csv, jsonl or parquet file into another and logs a run; see `luthier.scoring`.

        Args:
            source: table with the columns the model reads.
            target: table to write.
            budget_usd: most that may be spent.
            engine: the process's own when absent.
            progress: told of every answer; a bar on stderr when absent.
            retry_failed: also ask again for rows that failed for good.
            overwrite: replace a target that another score, or another program, wrote.
            escape_formulas: put `'` before texts in a csv that a spreadsheet would run as a formula.
            wait: whether the MLflow run is written when this returns. Without, a process in the background writes
                it, for a model that calls no endpoint, in a process that has not loaded MLflow.
        """
        wait = wait or self.spec.endpoint is not None or "mlflow" in sys.modules
        if wait:
            # A store that cannot be reached is found out before the first row, not after the last one was paid.
            connect(self.spec.task)
        with shown(progress, "scoring") as showing, no_autologging():
            report = score_table(
                self._model,
                source,
                target,
                engine=engine_given(engine),
                budget=budget_of(budget_usd),
                progress=ProgressForecast(showing, count_rows(source) if self.spec.endpoint is not None else 0),
                retry_failed=retry_failed,
                overwrite=overwrite,
                escape_formulas=escape_formulas,
                report=self.report,
            )
        run = batch_run(self.uri, self._model.model_id, self.spec, report.metrics(), source, target)
        if not wait:
            log_batch_later(run)
            return report
        try:
            log_batch(run)
        except UserError as error:
            logger.warning("%s is written, but no run says so: %s", target, error)
        return report

    def __repr__(self) -> str:
        return f"<{self._called}: {self.spec.name}, {self.spec.technique}>"

    def _repr_html_(self) -> str:
        return f"<code>{html.escape(self._called)}</code>: {html.escape(self.spec.name)} ({self.spec.technique})"

    @property
    def _called(self) -> str:
        logged = self.logged
        if logged is None or logged.name is None:
            return self.uri
        return f"{self.uri} is {logged.name} version {logged.version}"


def budget_of(usd: float | None) -> Budget | None:
    """A budget of so many US dollars."""
    return None if usd is None else Budget(usd)


def example_of(rows: Rows) -> pd.DataFrame:
    """A few rows as a packaged model shows what it takes."""
    import pandas as pd

    return pd.DataFrame.from_records(list(rows.inputs[:3]))


def logged_model(
    fitted: Fitted, run_id: str | None, register: str | None, alias: str | None, example: pd.DataFrame | None
) -> Model:
    """Packages what was fitted."""
    logged = log_fitted_model(fitted, run_id=run_id, register=register, alias=alias, input_example=example)
    return Model(logged.model_uri, LuthierModel(fitted, logged.model_id), logged)
