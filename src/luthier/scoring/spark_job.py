"""Scores a table with Spark: shard by shard, each committed when it is answered, so that a second run goes on.

The rows are first written once in shards of at most 10,000, beside the target. Each shard is a Spark job of one task;
as many run at once as Spark has cores. At the end the shards are written to the target together, and deleted.
"""

from __future__ import annotations

import hashlib
import json
import os
import time
from collections import Counter
from collections.abc import Sequence
from concurrent.futures import FIRST_COMPLETED, Future, ThreadPoolExecutor, wait
from dataclasses import dataclass, field
from importlib import metadata
from typing import Any

import luthier.errors
from luthier.engine.options import DEFAULTS, RunOptions
from luthier.errors import DataError, EndpointError, LuthierError, MissingPart, UserError
from luthier.evaluation.population_stability import LabelMix
from luthier.plans import Plan, plan_rows
from luthier.scoring.batch import plain_rows
from luthier.scoring.batch_report import BatchReport
from luthier.scoring.spark_scorer import CALL_COLUMNS, SparkScorer
from luthier.scoring.spark_tables import (
    COMPRESSED,
    SparkTable,
    delete,
    exists,
    folders_in,
    partition_columns,
    spark_errors,
    spark_session,
    states_of,
)
from luthier.spec import Fitted

__all__ = ["SHARD_ROWS", "SparkScore"]

SHARD_ROWS = 10_000
"""Rows that are answered, and committed, together."""

JUDGED_ROWS = 2_000
"""Rows that a plan is judged by."""

LOOK_SECONDS = 0.5
"""How soon a signal is seen."""

MOST_DATED_FILES = 1_000
"""Files of a table whose sizes and times tell whether it is still the same table."""

SHARD = "luthier_shard"


class SparkScore:
    """A table that Spark is to score, checked: `run` scores it.

    Args:
        fitted: what answers.
        source: path or URL of a file or folder that Spark reads, `delta:PATH` or `table:NAME`.
        target: where the scored rows go, in the same words; a folder of files.
        overwrite: replace what is there.
        session: Spark's session; the one that runs when absent.
        shard_rows: rows that are answered, and committed, together.
        model_uri: the model, for the report.
        mix: the labels of its training rows, for the report.

    Raises:
        DataError: the table cannot be read, lacks a column, or something is at the target.
        EndpointError: the key's variable is not set, here or where the tasks run.
        MissingPart: PySpark or Java is not there.
    """

    def __init__(
        self,
        fitted: Fitted,
        source: str,
        target: str,
        *,
        overwrite: bool = False,
        session: Any = None,
        shard_rows: int = SHARD_ROWS,
        model_uri: str = "",
        mix: LabelMix | None = None,
    ) -> None:
        self.fitted, self.source, self.target = fitted, source, target
        self._model_uri, self._mix = model_uri, mix
        self.session = spark_session(session)
        for endpoint in fitted.spec.all_endpoints:
            endpoint.key()
        compressed = next(filter(target.lower().endswith, COMPRESSED), None)
        if compressed is not None:
            raise DataError(
                f"{target}: Spark writes a folder of files, which it compresses by its own settings. Name it without "
                f"{compressed}."
            )
        self._from = SparkTable.of(source, self.session)
        self._to = SparkTable.of(target, self.session)
        if self._from.place == self._to.place:
            raise DataError(f"input and output are the same table {source}; name another output.")
        self._rows = self._from.read(self.session)
        self._shards = _Shards(self.session, self._place(), self._facts(shard_rows), shard_rows)
        if self._to.is_there(self.session) and not (overwrite or self._shards.are_ours):
            raise DataError(
                f"{target} exists, and no unfinished score of this table by this model is to go there. Add --overwrite "
                "(overwrite=True) to replace it, or name another output."
            )
        self.tasks = max(1, int(self.session.sparkContext.defaultParallelism))
        self._scorer = SparkScorer(fitted, self._rows.schema, tasks=self.tasks, with_calls=True)
        self._check_workers()

    def plan(self, options: RunOptions = DEFAULTS) -> Plan:
        """What `run` would send and cost, judged by some of the rows; what the workers' journals have is not known.

        Raises:
            DataError: the table has no rows.
        """
        spec, total = self.fitted.spec, int(self._rows.count())
        if total == 0:
            raise DataError(f"{self.source} has no rows.")
        some = self._rows.select(*(self._rows[name] for name in spec.columns))
        if total > JUDGED_ROWS:
            some = some.sample(fraction=JUDGED_ROWS / total, seed=spec.seed)
        records = [row.asDict() for row in some.limit(2 * JUDGED_ROWS).collect()]
        planned = plan_rows(spec, plain_rows(records, spec), None, options, total_rows=total, fitted=self.fitted)
        return Plan((planned,), options.budget_usd)

    def run(self, options: RunOptions = DEFAULTS) -> BatchReport:
        """Scores what is not committed yet, and writes the target.

        A shard with rows that failed for a passing reason is written, but not committed: the same call asks it again.

        Raises:
            EndpointError: no row can be answered.
            DataError: Spark cannot read the rows or write them.
            Interrupted: a signal came; shards that are committed are kept.
            UserError: a budget was given; tasks on several machines do not share one.
        """
        if options.budget is not None:
            raise UserError(
                "a budget is kept by one process, and Spark has many. Leave --budget out; luthier score --dry-run "
                "--mode live says what the table costs."
            )
        started = time.monotonic()
        self._shards.write_input(self._rows)
        names = self._shards.all()
        if not names:
            raise DataError(f"{self.source} has no rows.")
        left = [name for name in names if not self._shards.is_committed(name)]
        self._scorer.tasks = max(1, min(self.tasks, len(left)))
        self._score(left, options, len(names))
        scored = self._shards.scored(names)
        report = self._report(scored, left)
        report.renamed = {old: new for old, new in self._scorer.names.items() if old != new}
        partitions = [self._scorer.names[name] for name in partition_columns(self._rows)]
        self._to.write(scored.drop(*CALL_COLUMNS, SHARD), partitions)
        report.elapsed_seconds = time.monotonic() - started
        if report.transient:
            self._shards.reopen(self._unfinished(scored))
        else:
            self._shards.delete()
        return report

    def _score(self, left: Sequence[str], options: RunOptions, total: int) -> None:
        """One job a shard, as many at once as there are cores."""
        engine, progress, done = options.asking_engine(), options.progress, total - len(left)
        with ThreadPoolExecutor(self.tasks, "luthier-spark") as pool:
            running: set[Future[None]] = {pool.submit(self._shards.score, name, self._scorer) for name in left}
            try:
                while running:
                    engine.raise_if_interrupted()
                    ended, running = wait(running, LOOK_SECONDS, FIRST_COMPLETED)
                    for each in ended:
                        each.result()
                    done += len(ended)
                    if progress is not None:
                        progress.working("shards", done, total, "")
            except BaseException as error:
                for each in running:
                    each.cancel()
                self.session.sparkContext.cancelJobGroup(self._shards.place)
                if (said := _raised_in_task(error)) is not None:
                    raise said from error
                raise

    def _report(self, scored: Any, left: Sequence[str]) -> BatchReport:
        from pyspark.sql import functions

        task = self.fitted.spec.task
        found = scored.groupBy("state").count().collect()
        report = BatchReport(
            labels=Counter(dict.fromkeys(task.labels, 0)),
            target=self.target,
            source=self.source,
            spec=self.fitted.spec,
            model_uri=self._model_uri,
            mix=self._mix,
        )
        report.states.update({row["state"]: row["count"] for row in found})
        report.rows = sum(report.states.values())
        if task.labels:
            labels = scored.where("label is not null").groupBy("label").count().collect()
            report.labels.update({row["label"]: row["count"] for row in labels})
        now = functions.col(SHARD).isin(list(left))
        asked = functions.col("luthier_latency_seconds").isNotNull()
        new = now & asked & ~functions.col("luthier_from_journal")
        sums = scored.agg(
            functions.sum("luthier_input_tokens").alias("input_tokens"),
            functions.sum("luthier_output_tokens").alias("output_tokens"),
            functions.sum("luthier_cost_usd").alias("cost_usd"),
            functions.sum(functions.when(now, functions.col("luthier_spent_usd"))).alias("spent_usd"),
            functions.sum((asked & functions.col("luthier_cost_usd").isNull()).cast("int")).alias("unpriced"),
            functions.sum((asked & ~new).cast("int")).alias("from_journal"),
            functions.sum(functions.col("luthier_transient").cast("int")).alias("transient"),
            functions.sum(functions.col("luthier_estimated").cast("int")).alias("estimated"),
            functions.percentile_approx(
                functions.when(new, functions.col("luthier_latency_seconds")), [n / 200 for n in range(201)], 1_000
            ).alias("latencies"),
        ).collect()[0]
        report.input_tokens, report.output_tokens = sums["input_tokens"] or 0, sums["output_tokens"] or 0
        report.cost_usd = None if sums["unpriced"] else sums["cost_usd"] or 0.0
        report.spent_usd = None if sums["unpriced"] else sums["spent_usd"] or 0.0
        report.from_journal, report.transient = sums["from_journal"] or 0, sums["transient"] or 0
        report.estimated = sums["estimated"] or 0
        for seconds in sums["latencies"] or ():
            report.latencies.add(seconds)
        return report

    def _unfinished(self, scored: Any) -> list[str]:
        from pyspark.sql import functions

        return [
            row[SHARD] for row in scored.where(functions.col("luthier_transient")).select(SHARD).distinct().collect()
        ]

    def _check_workers(self) -> None:
        """Refuses to begin where a task would find no key, or another Luthier."""
        variables = [name for each in self.fitted.spec.all_endpoints if (name := each.key_variable) is not None]

        def look(_: int) -> list[tuple[str, str]]:
            try:
                found = metadata.version("luthier")
            except metadata.PackageNotFoundError:
                found = ""
            lacking = [name for name in variables if not os.environ.get(name, "").strip()]
            return [("version", found), *(("lacks", name) for name in lacking)]

        context, here = self.session.sparkContext, metadata.version("luthier")
        told = context.parallelize(range(self.tasks), self.tasks).flatMap(look).distinct().collect()
        for found in (found for what, found in told if what == "version" and found != here):
            there = f"is {found}" if found else "is not installed"
            raise MissingPart(
                f"Luthier {there} where Spark's tasks run, and {here} here. Install the same on the executors: "
                f"pip install luthier=={here}"
            )
        for name in (name for what, name in told if what == "lacks"):
            raise EndpointError(
                f"the environment variable {name}, which holds the key, is not set where Spark's tasks run. Set it "
                f"on the executors: spark.executorEnv.{name}, or a secret of the cluster under that name."
            )

    def _place(self) -> str:
        """The folder of the shards: beside the target, on the same file system."""
        if self._to.format != "table":
            return f"{self._to.place.rstrip('/')}.shards"
        warehouse = str(self.session.conf.get("spark.sql.warehouse.dir")).rstrip("/")
        return f"{warehouse}/{self._to.place}.shards"

    def _facts(self, shard_rows: int) -> str:
        """What a table, a model and the size of the shards come to, so that shards of another are never taken."""
        files = sorted(self._rows.inputFiles())
        dated = states_of(self.session, files[:MOST_DATED_FILES])
        facts = [shard_rows, self.fitted.digest, self.source, files, dated, self._rows.schema.json()]
        return hashlib.sha256(json.dumps(facts).encode("utf-8", "surrogatepass")).hexdigest()


@dataclass
class _Shards:
    """The shards of one table for one model: written once, then scored and committed one by one."""

    session: Any
    place: str
    facts: str
    shard_rows: int
    _rows: str = field(init=False)
    _scored: str = field(init=False)

    def __post_init__(self) -> None:
        self._rows = f"{self.place}/{self.facts[:16]}/rows"
        self._scored = f"{self.place}/{self.facts[:16]}/scored"

    @property
    def are_ours(self) -> bool:
        """Whether an earlier run of the same score has written shards."""
        return exists(self.session, f"{self._rows}/_SUCCESS")

    def write_input(self, rows: Any) -> None:
        """Writes the rows in shards, unless an earlier run has."""
        if self.are_ours:
            return
        from pyspark.sql import functions

        # The number of a row within its partition is known without moving any row: the low 33 bits of this id.
        number = functions.monotonically_increasing_id()
        part, row = functions.shiftright(number, 33), number.bitwiseAND(functions.lit((1 << 33) - 1))
        shard = functions.format_string("%06d-%06d", part, functions.floor(row / self.shard_rows))
        with spark_errors(f"write {self.place}"):
            rows.withColumn(SHARD, shard).write.mode("overwrite").partitionBy(SHARD).parquet(self._rows)

    def all(self) -> list[str]:
        """The names of the shards."""
        return [name.partition("=")[2] for name in folders_in(self.session, self._rows) if "=" in name]

    def is_committed(self, name: str) -> bool:
        """Whether every row of a shard is answered and written."""
        return exists(self.session, f"{self._of(name)}/_SUCCESS")

    def score(self, name: str, scorer: SparkScorer) -> None:
        """Answers one shard and commits it; as one task, in the order of its rows."""
        self.session.sparkContext.setJobGroup(self.place, f"shard {name}", True)
        rows = self.session.read.parquet(f"{self._rows}/{SHARD}={name}").coalesce(1)
        rows.mapInArrow(scorer, scorer.schema).write.mode("overwrite").parquet(self._of(name))

    def scored(self, names: Sequence[str]) -> Any:
        """All rows of these shards, with the name of the shard."""
        return self.session.read.option("basePath", self._scored).parquet(*(self._of(name) for name in names))

    def reopen(self, names: Sequence[str]) -> None:
        """Takes the commit of shards back: some of their rows are to be asked again."""
        for name in names:
            delete(self.session, f"{self._of(name)}/_SUCCESS")

    def delete(self) -> None:
        """Deletes the shards."""
        delete(self.session, self.place)

    def _of(self, name: str) -> str:
        return f"{self._scored}/{SHARD}={name}"


def _raised_in_task(error: BaseException) -> LuthierError | None:
    """The error that a task raised on purpose, which Spark wraps in one of its own."""
    text = str(error)
    for name in luthier.errors.__all__:
        _, found, said = text.partition(f"luthier.errors.{name}: ")
        kind = getattr(luthier.errors, name)
        if found and issubclass(kind, LuthierError):
            return kind(said.strip().partition("\n")[0])  # type: ignore[no-any-return]
    return None
