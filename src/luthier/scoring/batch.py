"""Scores a table in a file: streams it in chunks through a model, resumes from the journal, writes atomically."""

from __future__ import annotations

import asyncio
import contextlib
import time
from collections import Counter
from collections.abc import AsyncGenerator, Iterator, Mapping, Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path

from luthier.batches.answering import answer_by_batch
from luthier.engine.engine import Engine
from luthier.engine.loop import wait_for
from luthier.engine.options import DEFAULTS, RunOptions
from luthier.engine.progress import ProgressForecast
from luthier.engine.report import Report
from luthier.engine.rounds import with_endpoints
from luthier.errors import BudgetReached, DataError, Interrupted, LuthierError
from luthier.evaluation.population_stability import LabelMix
from luthier.evaluation.score_summary import Ending, Expected
from luthier.plans import MOST_RENDERED, Plan, PlannedSpec, plan_rows
from luthier.providers.endpoint import Endpoint
from luthier.providers.exchange import Request
from luthier.scoring.batch_report import BatchReport, expected_of
from luthier.scoring.notable_rows import NotableRows
from luthier.scoring.score_watch import ScoreWatch
from luthier.scoring.written_files import check_claim, claim
from luthier.spec import Fitted, Spec
from luthier.tables import (
    Record,
    RowsDigest,
    TableWriter,
    check_target,
    columns_of,
    count_rows,
    free_names,
    is_standard,
    open_writer,
    read_chunks,
    refuse_overlap,
)
from luthier.tasks.prediction import Prediction
from luthier.tasks.task import Rows, Task, check_cell

__all__ = ["FileScore"]

CHUNK_ROWS = 1_000
"""Rows read, answered and written together; memory holds a few chunks, never the table."""

CHUNKS_AHEAD = 3
"""Chunks in flight at once: the last slow answers of one do not leave the endpoint idle."""


class FileScore:
    """A file that is to be scored into another, as `Model.file_score` makes it.

    Everything that can be wrong before the first row is read is refused when this is made. Columns that the model does
    not read pass through.
    """

    def __init__(
        self,
        fitted: Fitted,
        source: str | Path,
        target: str | Path,
        *,
        overwrite: bool = False,
        model_uri: str = "",
        mix: LabelMix | None = None,
    ) -> None:
        self.fitted, self.source, self.target = fitted, source, target
        self.report: BatchReport | None = None
        """Of the run that was begun last, also where it did not finish."""
        self._model_uri, self._mix = model_uri, mix
        self._rows: int | None = None
        self._plan: Plan | None = None
        self._expected: Expected | None = None
        check_target(target)
        self._columns = columns_of(source)
        fitted.spec.check_columns(self._columns, str(source))
        refuse_overlap(source, target)
        if not overwrite:
            check_claim(fitted, source, target)
        for endpoint in fitted.spec.all_endpoints:
            endpoint.key()

    def plan(self, options: RunOptions = DEFAULTS) -> Plan:
        """What `run` would send and cost, judged by rows evenly spaced in the table.

        Raises:
            DataError: the table is broken or has no rows.
        """
        spec = self.fitted.spec
        if spec.endpoint is None:
            return Plan((PlannedSpec(spec.name, 0),), options.budget_usd)
        self._rows, shown = spaced_records(self.source, MOST_RENDERED, spec.task.text_columns)
        if self._rows == 0:
            raise DataError(f"{self.source} has no rows.")
        rows = plain_rows(shown, spec)
        plan = Plan(
            (plan_rows(spec, rows, None, options, total_rows=self._rows, fitted=self.fitted),), options.budget_usd
        )
        self._plan, self._expected = plan, expected_of(plan)
        return plan

    def run_by_batch(
        self, options: RunOptions = DEFAULTS, *, wait: bool = True, escape_formulas: bool = False
    ) -> BatchReport:
        """As `run`, asked by the service's Batch API: cheaper, and answered within a day.

        What is submitted is kept before anything else happens: the same call, from any process, goes on with it.

        Args:
            options: on what terms models are asked; `fresh` and `retry_failed` are not possible.
            wait: whether it returns only when everything is answered.
            escape_formulas: as for `run`.

        Raises:
            Partial: batches still run, and `wait` is false.
            UserError: answers of the journal were to be asked again; other errors are those of `run`.
        """
        options, began = options.for_command(), time.monotonic()
        purpose = f"score {self.source} by {self.fitted.spec.name}"
        answer_by_batch(partial(self.lacking, options), options, wait=wait, purpose=purpose)
        if self._plan is not None:
            self._expected = expected_of(self._plan, by_batch=True)
        report = self.run(replace(options, journal_only=True), escape_formulas=escape_formulas)
        report.elapsed_seconds = time.monotonic() - began
        return report

    def lacking(self, options: RunOptions = DEFAULTS) -> Iterator[tuple[Request, Endpoint]]:
        """What the journal has no answer to, as far as its answers take the technique; sends nothing.

        Equal requests of one chunk of rows are one; those of several chunks may come several times.
        """
        spec, engine = self.fitted.spec, options.asking_engine()
        for records in read_chunks(self.source, CHUNK_ROWS):
            recalled = engine.recall(self.fitted.predict(plain_rows(records, spec)), spec.endpoint, options)
            yield from with_endpoints(recalled.missing, spec.endpoint)

    def run(
        self, options: RunOptions = DEFAULTS, *, chunk_rows: int = CHUNK_ROWS, escape_formulas: bool = False
    ) -> BatchReport:
        """Scores the file; the target appears whole or not at all.

        Everything answered is in the engine's journal: after a crash or an interruption the same call
        continues where it was and writes the table an uninterrupted one would have written.

        Raises:
            DataError: the input is broken or empty, or the target cannot be written.
            BudgetReached: the money given is spent.
            Interrupted: a signal came before the last row.
        """
        spec, engine = self.fitted.spec, options.asking_engine()
        showing = options.progress
        if showing is not None:
            ahead = 0
            if spec.endpoint is not None:
                ahead = count_rows(self.source) if self._rows is None else self._rows
            showing = ProgressForecast(showing, ahead)
        watch = ScoreWatch(showing)
        counts = options.report or Report()
        limited_before, answered_before, fetched_before = counts.rate_limited, counts.answered_by.copy(), counts.fetched
        options = replace(options, progress=watch, report=counts)
        names = free_names(self._columns, spec.task.kind.columns)
        kinds = {name: "string" if kind == "text" else "float64" for name, kind in spec.task.kind.columns.items()}
        report = self.report = BatchReport(
            labels=Counter(dict.fromkeys(spec.task.kind.counted, 0)),
            renamed={old: new for old, new in names.items() if old != new},
            target="standard output" if is_standard(self.target) else str(self.target),
            source="standard input" if is_standard(self.source) else str(self.source),
            spec=spec,
            model_uri=self._model_uri,
            mix=self._mix,
            expected=self._expected,
            watch=watch,
            notable=NotableRows(spec.task.text_columns),
        )
        read, wrote = RowsDigest(), RowsDigest()
        written = open_writer(
            self.target,
            [*names.values(), *kinds],
            kinds,
            like=self.source,
            renamed=names,
            escape_formulas=escape_formulas,
        )

        def write(writer: TableWriter, records: list[Record], predictions: list[Prediction]) -> None:
            rows = merged(records, predictions, spec.task, names)
            writer.write(rows)
            read.update(records)
            wrote.update(rows)

        async def write_answers() -> None:
            with written as writer:
                chunks = read_chunks(self.source, chunk_rows)
                # Closed at once when the writer fails: nothing more is asked for a table that cannot be written.
                async with contextlib.aclosing(_answered(self.fitted, chunks, engine, options)) as answered:
                    async for records, predictions in answered:
                        engine.raise_if_interrupted()
                        report.add(predictions, records)
                        await asyncio.to_thread(write, writer, records, predictions)
                if report.rows == 0:
                    raise DataError(f"{self.source} has no rows.")

        try:
            wait_for(write_answers())
            claim(self.fitted, self.source, self.target)
        except BaseException as error:
            report.ending, report.reason = ending_of(error), str(error)
            raise
        finally:
            report.elapsed_seconds = watch.elapsed_seconds
            report.limiter = watch.limiter_changes(counts.history)
            report.rate_limited = counts.rate_limited - limited_before
            report.fetched = counts.fetched - fetched_before
            report.answered_by = counts.answered_by - answered_before
            if report.ending == "finished":
                report.input_digest, report.output_digest = read.hexdigest, wrote.hexdigest
        return report


def ending_of(error: BaseException) -> Ending:
    """How a score ended that an error stopped."""
    if isinstance(error, BudgetReached):
        return "budget"
    return "interrupted" if isinstance(error, Interrupted | KeyboardInterrupt) else "failed"


async def _answered(
    fitted: Fitted, chunks: Iterator[list[Record]], engine: Engine, options: RunOptions
) -> AsyncGenerator[tuple[list[Record], list[Prediction]]]:
    """Chunks with their predictions, in order, a few of them answered at once."""
    waiting: list[tuple[list[Record], asyncio.Task[list[Prediction]]]] = []
    exhausted = False
    try:
        while waiting or not exhausted:
            while not exhausted and len(waiting) < CHUNKS_AHEAD:
                chunk = await asyncio.to_thread(next, chunks, None)
                if chunk is None:
                    exhausted = True
                    break
                conversation = fitted.predict(plain_rows(chunk, fitted.spec))
                waiting.append(
                    (chunk, asyncio.ensure_future(engine.adrive(conversation, fitted.spec.endpoint, options)))
                )
            if waiting:
                chunk, answering = waiting[0]
                predictions = await answering
                waiting.pop(0)
                yield chunk, predictions
    finally:
        # One chunk, or the writer, stopped the run. What the others paid for is journaled.
        for _, answering in waiting:
            answering.cancel()
        outcomes = await asyncio.gather(*(answering for _, answering in waiting), return_exceptions=True)
        for outcome in outcomes:
            if isinstance(outcome, Exception) and not isinstance(outcome, LuthierError):
                raise outcome


def plain_rows(records: Sequence[Record], spec: Spec) -> Rows:
    """Records of a file as the technique's rows; NaN cells, and keys a jsonl line lacks, count as missing."""
    absent = dict.fromkeys(spec.columns)
    for record in records:
        for column in spec.task.text_columns:
            check_cell(record.get(column), column, "a row of the input")
    inputs = tuple(
        absent | {key: None if value != value else value for key, value in record.items()} for record in records
    )
    return spec.task.rows_of(inputs)


def merged(
    records: Sequence[Record], predictions: Sequence[Prediction], task: Task, names: Mapping[str, str]
) -> list[Record]:
    """Input columns under their output names, with the prediction columns behind them."""
    out = []
    for record, p in zip(records, predictions, strict=True):
        row = {new: record.get(old) for old, new in names.items()}
        out.append(row | task.kind.record(p))
    return out


def spaced_records(source: str | Path, least: int, texts: Sequence[str]) -> tuple[int, list[Record]]:
    """Rows of a table, and evenly spaced records of it, in one pass: all of a short one, else `least` to twice that.

    From the whole table: after an interruption its first rows are the answered ones.
    """
    total, step = 0, 1
    kept: list[Record] = []
    for chunk in read_chunks(source, CHUNK_ROWS):
        for record in chunk:
            for text in texts:
                check_cell(record.get(text), text, f"{source}, row {total + 1}")
            if total % step == 0:
                kept.append(record)
            total += 1
        if len(kept) > 2 * least:
            kept, step = kept[::2], step * 2
    return total, kept
