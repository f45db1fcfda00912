"""A packaged model as a notebook has it: it scores DataFrames and files."""

from __future__ import annotations

import html
import logging
import sys
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, get_args

from luthier.engine.ask_options import Progress
from luthier.engine.engine import Engine
from luthier.engine.options import RunOptions
from luthier.engine.progress import shown
from luthier.engine.report import Report
from luthier.errors import UserError
from luthier.evaluation.population_stability import LabelMix
from luthier.packaging.folder import ModelFolder, read_model_folder
from luthier.packaging.label_mix import label_mix
from luthier.packaging.loading import FoundModel, located
from luthier.packaging.model import rows_of
from luthier.packaging.versions import Logged, log_fitted_model
from luthier.scoring.batch import FileScore
from luthier.scoring.batch_report import BatchReport
from luthier.scoring.model_server import ModelServer
from luthier.scoring.spark_job import SparkScore
from luthier.serving.settings import ServerSettings, server_settings
from luthier.spec import Fitted, Spec
from luthier.tables import frame_of, frame_of_records, free_names, utf8_frame
from luthier.tasks.task import Rows
from luthier.tracking.model_runs import batch_run, log_later, log_model_run
from luthier.tracking.stores import connect, no_autologging

if TYPE_CHECKING:
    import pandas as pd

logger = logging.getLogger(__name__)

__all__ = ["MODES", "Mode", "Model", "example_of", "log_model"]

Mode = Literal["live", "batch", "spark"]
MODES: tuple[Mode, ...] = get_args(Mode)
"""How the rows of a file are asked."""


@dataclass(frozen=True, eq=False, repr=False)
class Model:
    """A packaged model: scores DataFrames and files.

    Attributes:
        uri: what `mlflow models` and `luthier score` take.
        fitted: the recipe inside with its chosen examples, calibration and weights.
        logged: where it is in MLflow; `None` for a model that was loaded.
        model_id: MLflow's id of the logged model, where it has one.
        sends_key: of a model that does not come from the tracking store that is set, what it sends with a key to
            which address, where that is not the key's own provider; `None` if there is no such thing.
        report: calls, tokens and money of everything it has scored and predicted; `report.spending` in a sentence.
        folder: the packaged model's files; `None` for a model that was logged here and not loaded.
    """

    uri: str
    fitted: Fitted
    logged: Logged | None = None
    model_id: str | None = None
    sends_key: str | None = None
    report: Report = field(default_factory=Report)
    folder: ModelFolder | None = None

    @property
    def spec(self) -> Spec:
        """The recipe inside."""
        return self.fitted.spec

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
            progress: a `Progress` that is told of every answer; a bar on stderr when absent.
            retry_failed: also ask again for rows that failed permanently.

        Raises:
            DataError: the rows are something else, lack a column, or hold a text that is none.
        """
        import pandas as pd

        frame = frame_of(rows, "the input", text=self.spec.task.text)
        names = free_names(list(frame.columns), self.spec.task.kind.columns)
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
        frame = frame_of(rows, "the input", text=self.spec.task.text)
        table = rows_of(self.spec, frame)
        with shown(progress, "scoring") as showing, no_autologging():
            options = RunOptions.within(
                budget_usd, engine=engine, progress=showing, retry_failed=retry_failed, report=self.report
            )
            predictions = options.asking_engine().drive(self.fitted.predict(table), self.spec.endpoint, options)
        answers = self.spec.task.kind.frame(predictions)
        answers.index = frame.index
        return answers

    def file_score(self, source: str | Path, target: str | Path, *, overwrite: bool = False) -> FileScore:
        """A file that is to be scored, checked: `.plan()` says what that sends and costs.

        Args:
            source: table with the columns the model reads: a file, a folder or a pattern of files, an address such as
                `s3://bucket/t.csv`, or `-` for standard input.
            target: table to write: a file, an address, or `-` for standard output.
            overwrite: replace a target that another score, or another program, wrote.

        Raises:
            DataError: a file is missing, lacks a column, is both input and output, or would be replaced.
            EndpointError: the key's variable is not set.
        """
        return FileScore(self.fitted, source, target, overwrite=overwrite, model_uri=self.uri, mix=self._label_mix)

    def score_file(
        self,
        source: str | Path | FileScore | SparkScore,
        target: str | Path | None = None,
        *,
        budget_usd: float | None = None,
        engine: Engine | None = None,
        progress: Progress | None = None,
        retry_failed: bool = False,
        overwrite: bool = False,
        wait: bool = True,
        escape_formulas: bool = False,
        mode: Mode = "live",
    ) -> BatchReport:
        """Scores a csv, jsonl or parquet file into another and logs a run; see `luthier.scoring`.

        Args:
            source: table with the columns the model reads, as `file_score` takes it.
            target: table to write, likewise.
            budget_usd: most that may be spent.
            engine: the process's own when absent.
            progress: a `Progress` that is told of every answer; a bar on stderr when absent.
            retry_failed: also ask again for rows that failed permanently.
            overwrite: replace a target that another score, or another program, wrote.
            escape_formulas: put `'` before texts in a csv that a spreadsheet would run as a formula.
            wait: whether everything is done when this returns. Without, batches that still run raise `Partial`, and
                the same call goes on with them later; and for a model that calls no endpoint, in a process that has
                not loaded MLflow, a process in the background writes the MLflow run.
            mode: `live` asks each row now; `batch` asks by the service's Batch API, for less money, within a day;
                `spark` reads, asks and writes with Spark, and takes paths, URLs, `delta:PATH` and `table:NAME`.

        Raises:
            Partial: batches still run, and `wait` is false.
        """
        if mode not in MODES:
            raise UserError(f"mode is one of {', '.join(MODES)}; given: {mode!r}.")
        to = "" if target is None else str(target)
        if mode == "spark" and not isinstance(source, FileScore | SparkScore):
            source = self.spark_score(str(source), to, overwrite=overwrite)
        if isinstance(source, SparkScore):
            return self._score_by_spark(source, RunOptions.within(budget_usd, progress=progress))
        come_back = not wait
        wait = wait or self.spec.endpoint is not None or "mlflow" in sys.modules
        if wait:
            # A store that cannot be reached is found out before the first row, not after the last one was paid.
            connect(self.spec.task)
        if not isinstance(source, FileScore):
            source = self.file_score(source, to, overwrite=overwrite)
        with shown(progress, "scoring") as showing, no_autologging():
            options = RunOptions.within(
                budget_usd, engine=engine, progress=showing, retry_failed=retry_failed, report=self.report
            )
            try:
                if mode == "batch" and self.spec.endpoints:
                    report = source.run_by_batch(options, wait=not come_back, escape_formulas=escape_formulas)
                else:
                    report = source.run(options, escape_formulas=escape_formulas)
            except BaseException:
                # What was paid is told of in a run too, also where no table came of it.
                if source.report is not None and source.report.watch.fetched.answers:
                    self._log(source.report, wait=wait)
                raise
        self._log(report, wait=wait)
        return report

    def spark_score(self, source: str, target: str, *, overwrite: bool = False, session: Any = None) -> SparkScore:
        """A table that Spark is to score, checked; `.run()` scores it.

        Args:
            source: path or URL of a file or folder that Spark reads, `delta:PATH` or `table:NAME`.
            target: where the scored rows go, in the same words.
            overwrite: replace what is there.
            session: Spark's session; the one that runs when absent.

        Raises:
            DataError: the table cannot be read, lacks a column, or something is at the target.
            EndpointError: the key's variable is not set, here or where the tasks run.
            MissingPart: PySpark or Java is not there.
        """
        return SparkScore(
            self.fitted, source, target, overwrite=overwrite, session=session, model_uri=self.uri, mix=self._label_mix
        )

    def _score_by_spark(self, job: SparkScore, options: RunOptions) -> BatchReport:
        connect(self.spec.task)
        with shown(options.progress, "scoring") as showing, no_autologging():
            report = job.run(replace(options, progress=showing))
        self._log(report, wait=True)
        return report

    def _log(self, report: BatchReport, *, wait: bool) -> None:
        """Writes the run of a score, at once or by a process in the background."""
        run = batch_run(self.uri, self.model_id, self.spec, report.metrics(), report.summary())
        if not wait:
            log_later(run)
            return
        try:
            log_model_run(run)
        except UserError as error:
            wrote = f"{report.target} is written" if report.ending == "finished" else "answers are paid for"
            logger.warning("%s, but no run says so: %s", wrote, error)

    @property
    def _label_mix(self) -> LabelMix | None:
        """The labels of its training rows, or of those it was measured on, which scored files are compared with."""
        return label_mix(self.fitted, self.folder or read_model_folder(located(self.uri), self.uri))

    def serve(
        self,
        *,
        port: int = 0,
        keys_file: str | Path | None = None,
        without_key: bool = False,
        settings: ServerSettings | None = None,
    ) -> ModelServer:
        """Answers HTTP beside this process, as `luthier serve` does in the foreground.

        Args:
            port: a free one by default.
            keys_file: API keys that it lets in; it makes one of its own when absent.
            without_key: lets every program on this machine in.
            settings: what else a server is told.

        Raises:
            GateFailed: the model does not give the answers that it recorded.
            UserError: the port is taken, or a setting is none.
        """
        folder = read_model_folder(located(self.uri), self.uri)
        found = FoundModel(self.uri, self.fitted, folder)
        return ModelServer(found, server_settings(settings, port, keys_file, without_key))

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


def example_of(rows: Rows) -> pd.DataFrame:
    """A few rows as a packaged model shows what it takes."""
    return utf8_frame(frame_of_records(rows.inputs[:3]))


def log_model(
    fitted: Fitted,
    *,
    run_id: str | None = None,
    register: str | None = None,
    alias: str | None = None,
    input_example: pd.DataFrame | None = None,
    engine: Engine | None = None,
) -> Model:
    """Packages what was fitted; see `luthier.packaging.versions.log_fitted_model`."""
    logged = log_fitted_model(
        fitted, run_id=run_id, register=register, alias=alias, input_example=input_example, engine=engine
    )
    return Model(logged.model_uri, fitted, logged, logged.model_id)
