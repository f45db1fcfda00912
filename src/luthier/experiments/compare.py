"""Specs on the same rows: answered by one engine, measured alike, kept in MLflow."""

from __future__ import annotations

import json
import tempfile
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

from luthier.endpoints import Engine
from luthier.endpoints.progress import Ahead, shown
from luthier.errors import DataError, SpecError
from luthier.evaluation.leaderboard import Candidate, Leaderboard, build_leaderboard
from luthier.evaluation.measures import ranking_metric
from luthier.evaluation.metrics import evaluate
from luthier.evaluation.records import Interval, Prediction, prediction_frame
from luthier.evaluation.spread import Spread
from luthier.experiments.costs import Plan, plan_fit, plan_rows
from luthier.experiments.fitting import expected_digest, fit_on, training_for
from luthier.experiments.spreads import spreads_of
from luthier.experiments.tracking import (
    TAGS,
    connect,
    describe,
    find_fitted,
    known_experiment,
    log_fitted,
    log_table_digest,
    run_of,
    spec_tags,
)
from luthier.reporting.markdown import described
from luthier.reporting.page import write_page
from luthier.spec import Fitted, Spec
from luthier.task import Rows, Task
from luthier.techniques.examples import same_text
from luthier.techniques.registry import check_together

if TYPE_CHECKING:
    import pandas as pd

__all__ = ["Comparison", "Measured", "compare_specs", "plan_comparison", "plan_tables", "rows_for"]

LONGEST_PARAM = 500
"""Characters of a spec's setting shown as an MLflow parameter; the whole spec is an artifact."""

MOST_TABLE_ROWS = 20_000
"""Rows of predictions shown in MLflow's table view, which a browser holds whole; the parquet has all."""


@dataclass(frozen=True)
class Measured:
    """One spec, what it became, and what it answered; `run_id` is its MLflow run."""

    fitted: Fitted
    predictions: tuple[Prediction, ...]
    run_id: str = ""

    @property
    def spec(self) -> Spec:
        """The recipe."""
        return self.fitted.spec


@dataclass(frozen=True)
class Comparison:
    """A leaderboard and everything behind it."""

    task: Task
    rows: Rows
    leaderboard: Leaderboard
    measured: tuple[Measured, ...]
    run_id: str
    experiment_id: str

    @cached_property
    def spreads(self) -> tuple[Spread, ...]:
        """Per grid with several seeds of examples, how far the seeds lie apart."""
        return spreads_of([measured.spec for measured in self.measured], self.leaderboard)

    def of(self, spec: Spec | str) -> Measured:
        """What was measured for a spec, given itself or by name.

        Raises:
            SpecError: the spec was not compared.
        """
        name = spec if isinstance(spec, str) else spec.name
        for measured in self.measured:
            if measured.spec.name == name:
                return measured
        raise SpecError(
            f"no spec {name!r} on this leaderboard; there are: {', '.join(m.spec.name for m in self.measured)}."
        )


def rows_for(specs: Sequence[Spec], test: pd.DataFrame, source: str = "the test table") -> Rows:
    """The test rows, checked against every spec before anything is asked.

    Raises:
        SpecError: there is no spec, or specs do not belong on one leaderboard.
        DataError: a column is missing or a label is wrong.
        EndpointError: a key's variable is not set.
    """
    if not specs:
        raise SpecError("no spec to compare; give at least one.")
    check_together(specs)
    task = specs[0].task
    rows = task.rows(test, labelled=True, source=source)
    missing = [column for column in task.raters if column not in test.columns]
    if missing and len(missing) < len(task.raters):
        raise DataError(f"{source} has no rater column {', '.join(missing)}; correct `raters:` in the task.")
    if not any(text is not None for text in rows.texts):
        raise DataError(f"{source} has no row with a text in {task.text!r}.")
    for spec in specs:
        spec.check_columns(test.columns, source)
        for endpoint in spec.endpoints:
            endpoint.key()
    return rows


def compare_specs(
    specs: Sequence[Spec],
    test: pd.DataFrame,
    train: pd.DataFrame | None = None,
    *,
    engine: Engine,
    rank_by: str | None = None,
    test_name: str = "the test table",
    fits: dict[str, Fitted] | None = None,
    beneath: Callable[[], str] | None = None,
    **settings: Any,
) -> Comparison:
    """Answers every test row with every spec and logs a parent run with a child per spec.

    A child run is written as soon as its spec is measured, so that an interruption keeps what is done.

    Args:
        specs: recipes for one task, with distinct names.
        test: labelled rows.
        train: labelled rows for the specs that need them.
        engine: answers the requests.
        rank_by: metric that orders the leaderboard; the task type's own when absent.
        test_name: what the test table is called in MLflow.
        fits: what specs became, by name; used where it is there and added to, so that several tables fit once.
        beneath: gives the id of the run to stand beneath; called when the first spec has answered.
        settings: budget, progress, fresh and the like, for the engine.
    """
    settings = {"asked": set(), **settings}
    rows = rows_for(specs, test, test_name)
    task = specs[0].task
    ranking_metric(task, rank_by)
    training = training_for(specs, train)
    train_labels = None
    if train is not None and task.label in train.columns:
        train_labels = [label for label in map(task.canonical_label, train[task.label]) if label is not None]
    # Specs that call a model go first: a key or an address that does not work stops us before anything is written.
    # Among them those whose call an endpoint may not offer, so that nothing is paid when it does not.
    order = sorted(specs, key=lambda spec: (spec.endpoint is None, not _asks_what_few_offer(spec)))
    done: dict[str, Measured] = {}
    fits = {} if fits is None else fits
    first = _measure(order[0], rows, training, engine, known_experiment(task), fits, settings)
    experiment_id = connect(task)
    assert experiment_id is not None
    tags = {TAGS["task"]: task.name, TAGS["task_digest"]: task.digest, TAGS["test_digest"]: rows.digest}
    title, above = (f"compare {counted_specs(specs)}", None) if beneath is None else (test_name, beneath())
    with run_of(experiment_id, title, "compare", tags, parent=above) as parent:
        log_table_digest(parent.info.run_id, test, name=test_name, context="test", targets=task.label)
        if train is not None:
            log_table_digest(parent.info.run_id, train, name="train", context="train", targets=task.label)
        for spec in order:
            engine.raise_if_interrupted()
            measured = first
            if spec is not order[0]:
                measured = _measure(spec, rows, training, engine, experiment_id, fits, settings)
            done[spec.name] = _log_child(measured, rows, test, test_name, parent.info.run_id, experiment_id)
        measured_all = tuple(done[spec.name] for spec in specs)
        seen = seen_in_training(rows, training)
        board = build_leaderboard(
            task,
            rows,
            [candidate_of(m, seen if training[m.spec.name] is not None else 0) for m in measured_all],
            train_labels=train_labels,
            rank_by=rank_by,
        )
        _log_parent(parent.info.run_id, board, rows, spreads_of(specs, board))
    return Comparison(task, rows, board, measured_all, parent.info.run_id, experiment_id)


def plan_comparison(
    specs: Sequence[Spec],
    test: pd.DataFrame,
    train: pd.DataFrame | None,
    engine: Engine,
    *,
    fresh: bool = False,
    retry_failed: bool = False,
    rank_by: str | None = None,
    test_name: str = "the test table",
) -> Plan:
    """What `compare_specs` would send and cost; checks everything it would check, sends nothing."""
    tests = {test_name: test}
    return plan_tables(specs, tests, train, engine, fresh=fresh, retry_failed=retry_failed, rank_by=rank_by)


def plan_tables(
    specs: Sequence[Spec],
    tests: Mapping[str, pd.DataFrame],
    train: pd.DataFrame | None,
    engine: Engine,
    *,
    fresh: bool = False,
    retry_failed: bool = False,
    rank_by: str | None = None,
) -> Plan:
    """As `plan_comparison`, over several tables: each spec is fitted once, and what several ask is asked once."""
    tables = [rows_for(specs, test, name) for name, test in tests.items()]
    rows = tables[0]
    for more in tables[1:]:
        rows = Rows(rows.inputs + more.inputs, rows.labels + more.labels, rows.text)
    ranking_metric(specs[0].task, rank_by)
    training = training_for(specs, train)
    experiment_id = None if fresh else known_experiment(specs[0].task)
    counted: set[bytes] = set()
    planned = []
    for spec in specs:
        train_rows = training[spec.name]
        fitted = None
        if experiment_id is not None and train_rows is not None and plan_fit(spec, train_rows, engine).requests:
            # What a run keeps is not fitted again, even where this journal does not know what it asked.
            fitted = find_fitted(experiment_id, expected_digest(spec, train_rows))
        planned.append(
            plan_rows(
                spec, rows, train_rows, engine, fresh=fresh, retry_failed=retry_failed, fitted=fitted, counted=counted
            )
        )
    return Plan(tuple(planned))


def counted_specs(specs: Sequence[Spec]) -> str:
    """How many there are, in words of a title."""
    return "1 spec" if len(specs) == 1 else f"{len(specs)} specs"


def seen_in_training(rows: Rows, training: Mapping[str, Rows | None]) -> int:
    """How many test rows have a text that also stands in the training rows."""
    known = next((train for train in training.values() if train is not None), None)
    if known is None:
        return 0
    texts = {same_text(text) for text in known.texts if text is not None}
    return sum(text is not None and same_text(text) in texts for text in rows.texts)


def candidate_of(measured: Measured, seen: int = 0) -> Candidate:
    """The plain record of a measured spec, for the leaderboard.

    Args:
        measured: the spec and its predictions.
        seen: test rows it may have learned the answer of.
    """
    notes = (*measured.spec.notes(), *measured.fitted.state.get("notes", ()))
    if seen:
        notes = (*notes, f"{seen:,} test rows also stand in its training rows, so its figures may be too good.")
    return Candidate(
        name=measured.spec.name,
        technique=measured.spec.technique,
        model=measured.spec.base_model,
        spec_digest=measured.spec.digest,
        fitted_digest=measured.fitted.digest,
        predictions=measured.predictions,
        notes=notes,
    )


def _asks_what_few_offer(spec: Spec) -> bool:
    return any(probe.operation not in ("chat", "completion") for probe in spec.probes())


def _measure(
    spec: Spec,
    rows: Rows,
    training: dict[str, Rows | None],
    engine: Engine,
    experiment_id: str | None,
    fits: dict[str, Fitted],
    settings: dict[str, Any],
) -> Measured:
    with shown(settings.get("progress"), spec.name) as progress:
        # What fitting asks comes before the rows; a bar that knew only the first would be full half way.
        with_text = sum(text is not None for text in rows.texts)
        answering = Ahead(progress, with_text if spec.endpoint is not None else 0)
        asked = settings | {"progress": progress}
        if spec.name not in fits:
            fits[spec.name] = fit_on(spec, training[spec.name], engine, experiment_id=experiment_id, **asked)
        fitted = fits[spec.name]
        predictions = engine.drive(fitted.predict(rows), spec.endpoint, **asked | {"progress": answering})
    return Measured(fitted, tuple(predictions))


def _log_child(
    measured: Measured, rows: Rows, test: pd.DataFrame, test_name: str, parent: str, experiment_id: str
) -> Measured:
    import mlflow

    client = mlflow.MlflowClient()
    spec = measured.spec
    tags = spec_tags(spec) | {TAGS["test_digest"]: rows.digest}
    with run_of(experiment_id, spec.name, "candidate", tags, parent=parent) as run:
        run_id = run.info.run_id
        log_fitted(run_id, measured.fitted)
        log_settings(run_id, spec)
        truths = [label for label in rows.labels if label is not None]
        log_metrics(run_id, evaluate(spec.task, truths, measured.predictions), measured.predictions)
        log_table_digest(run_id, test, name=test_name, context="test", targets=spec.task.label)
        frame = answers_frame(measured, rows)
        mlflow.log_table(frame.head(MOST_TABLE_ROWS), "predictions.json", run_id=run_id)
        with tempfile.TemporaryDirectory() as scratch:
            file = Path(scratch) / "predictions.parquet"
            frame.to_parquet(file, index=False)
            client.log_artifact(run_id, str(file))
        if any(p.transient for p in measured.predictions):
            client.set_tag(run_id, TAGS["partial"], "true")
    return Measured(measured.fitted, measured.predictions, run_id)


def _log_parent(run_id: str, board: Leaderboard, rows: Rows, spreads: Sequence[Spread]) -> None:
    import mlflow

    client = mlflow.MlflowClient()
    # In one line: indented, a leaderboard of 500 specs takes several times the room.
    text = json.dumps(board.to_document(), ensure_ascii=False, separators=(",", ":"))
    client.log_text(run_id, text, "leaderboard.json")
    client.set_tag(run_id, TAGS["partial"], str(board.partial).lower())
    describe(run_id, described(board))
    with tempfile.TemporaryDirectory() as scratch:
        page = Path(scratch) / "report.html"
        write_page(board, page, rows, spreads=spreads)
        client.log_artifact(run_id, str(page))


def log_settings(run_id: str, spec: Spec) -> None:
    """The spec's settings as MLflow parameters, dotted names, short values only."""
    import mlflow
    from mlflow.entities import Param

    flat: dict[str, str] = {}

    def walk(prefix: str, value: Any) -> None:
        if isinstance(value, dict):
            for key, inner in value.items():
                walk(f"{prefix}.{key}" if prefix else str(key), inner)
        else:
            flat[prefix] = str(value)[:LONGEST_PARAM]

    document = spec.document()
    for key in ("schema", "task"):
        document.pop(key)
    walk("", document)
    if spec.grid_point is not None:
        # A value that is the default is not in the document, and is what the grid is to be plotted by.
        for path, value in spec.grid_point.settings.items():
            walk(path, value)
    mlflow.MlflowClient().log_batch(run_id, params=[Param(key[:250], value) for key, value in flat.items()])


def log_metrics(run_id: str, found: Mapping[str, Interval], predictions: Sequence[Prediction]) -> None:
    """Every metric with the bounds of its interval as `NAME_low` and `NAME_high`, and the rows behind them."""
    import time

    import mlflow
    from mlflow.entities import Metric

    now = int(time.time() * 1000)
    rows = sum(prediction.state != "empty" for prediction in predictions)
    metrics = [Metric("rows_evaluated", rows, now, 0)]
    for name, interval in found.items():
        for suffix, value in (("", interval.value), ("_low", interval.low), ("_high", interval.high)):
            if value is not None:
                metrics.append(Metric(name + suffix, value, now, 0))
    mlflow.MlflowClient().log_batch(run_id, metrics=metrics)


def answers_frame(measured: Measured, rows: Rows) -> pd.DataFrame:
    """Row by row: text, truth, the prediction columns, the raw answer, cost and latency."""
    import pandas as pd

    task = measured.spec.task
    left = pd.DataFrame(
        {
            "row": range(1, len(rows) + 1),
            "text": pd.Series(list(rows.texts), dtype="string"),
            "truth": pd.Series(list(rows.labels), dtype="string"),
        }
    )
    right = pd.DataFrame(
        {
            "raw": pd.Series([p.raw for p in measured.predictions], dtype="string"),
            "cost_usd": pd.Series([p.cost_usd for p in measured.predictions], dtype="float64"),
            "latency_seconds": pd.Series([p.latency_seconds for p in measured.predictions], dtype="float64"),
            "input_tokens": [p.input_tokens for p in measured.predictions],
            "output_tokens": [p.output_tokens for p in measured.predictions],
        }
    )
    return pd.concat([left, prediction_frame(task, measured.predictions), right], axis="columns")
