"""Specs on the same rows: answered by one engine, measured alike, kept in MLflow."""

from __future__ import annotations

import contextlib
import json
import tempfile
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

from luthier.engine.engine import Engine
from luthier.engine.progress import ProgressForecast, shown
from luthier.engine.report import Report
from luthier.errors import DataError, SpecError
from luthier.evaluation.leaderboard import Candidate, Leaderboard
from luthier.evaluation.measures import ranking_metric
from luthier.evaluation.metrics import evaluate
from luthier.evaluation.ranking import build_leaderboard
from luthier.evaluation.spread import Spread
from luthier.experiments.answer_tables import answers_table
from luthier.experiments.fits import expected_digest, fit_on, training_for
from luthier.experiments.spreads import spreads_of
from luthier.plans import Plan, plan_fit, plan_rows
from luthier.providers.exchange import Request
from luthier.reporting.board_report import board_page
from luthier.reporting.html import write_page
from luthier.reporting.live import LiveBoard, Sparing
from luthier.reporting.markdown import described
from luthier.spec import Fitted, Spec
from luthier.tasks.prediction import Prediction
from luthier.tasks.task import Rows, Task
from luthier.techniques import Prompt
from luthier.techniques.prompt.few_shot import same_text
from luthier.techniques.registry import check_comparable
from luthier.tracking.runs import (
    TAGS,
    connect,
    describe,
    find_fitted,
    known_experiment,
    log_fitted,
    log_metrics,
    log_params,
    log_settings,
    log_table_digest,
    no_autologging,
    run_of,
    spec_tags,
)

if TYPE_CHECKING:
    import pandas as pd

__all__ = ["ComparedTable", "MeasuredSpec", "compare_specs", "plan_comparison", "plan_tables", "rows_for"]

MOST_WEIGHED = 50
"""Of more specs than these what each asks is not counted first; the specs of a grid have much in common."""

MOST_TABLE_ROWS = 20_000
"""Rows of predictions shown in MLflow's table view, which a browser holds whole; the parquet has all."""


@dataclass(frozen=True)
class MeasuredSpec:
    """One spec, what it became, and what it answered; `run_id` is its MLflow run."""

    fitted: Fitted
    predictions: tuple[Prediction, ...]
    run_id: str = ""

    @property
    def spec(self) -> Spec:
        """The recipe."""
        return self.fitted.spec


@dataclass(frozen=True)
class ComparedTable:
    """A leaderboard and everything behind it."""

    task: Task
    rows: Rows
    leaderboard: Leaderboard
    measured: tuple[MeasuredSpec, ...]
    run_id: str
    experiment_id: str
    report: Report = field(default_factory=Report)

    @cached_property
    def spreads(self) -> tuple[Spread, ...]:
        """Per grid with several seeds of examples, how far the seeds lie apart."""
        return spreads_of([measured.spec for measured in self.measured], self.leaderboard)

    @property
    def unanswered(self) -> dict[str, str]:
        """Specs of which no row was answered, and why the first was not."""
        found: dict[str, str] = {}
        for measured in self.measured:
            asked = [prediction for prediction in measured.predictions if prediction.state != "empty"]
            if asked and all(prediction.state in ("failed", "refused") for prediction in asked):
                found[measured.spec.name] = asked[0].error or "no answer"
        return found

    def of(self, spec: Spec | str) -> MeasuredSpec:
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
    check_comparable(specs)
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
    live: LiveBoard | None = None,
    allow_leaks: bool = False,
    **settings: Any,
) -> ComparedTable:
    """Answers every test row with every spec and logs a parent run with a child per spec.

    Specs that ask no model come first, then those with the least to ask. As soon as a spec is measured it is on the
    leaderboard of `live` and has its child run, and the parent's report shows it, so that an interruption keeps what
    is done. Nothing is written before a model has answered, where one is asked: a key or an address that does not
    work leaves no run behind.

    Args:
        specs: recipes for one task, with distinct names.
        test: labelled rows.
        train: labelled rows for the specs that need them.
        engine: answers the requests.
        rank_by: metric that orders the leaderboard; the task type's own when absent.
        test_name: what the test table is called in MLflow.
        fits: what specs became, by name; used where it is there and added to, so that several tables fit once.
        beneath: gives the id of the run to stand beneath; called when the first spec has answered.
        live: shows the leaderboard while it grows.
        allow_leaks: compare although test rows stand in the training table.
        settings: budget, progress, fresh and the like, for the engine.
    """
    settings = {"asked": set(), "report": Report(), **settings}
    rows = rows_for(specs, test, test_name)
    task = specs[0].task
    ranking_metric(task, rank_by)
    training = training_for(specs, train)
    if not allow_leaks:
        check_leaks(rows, training, test_name)
    train_labels = None
    if train is not None and task.label in train.columns:
        train_labels = [label for label in map(task.canonical_label, train[task.label]) if label is not None]
    order = in_order(specs, rows, training)
    done: dict[str, MeasuredSpec] = {}
    fits = {} if fits is None else fits
    seen = seen_in_training(rows, training)
    known, parent = known_experiment(task), ""
    sparing = Sparing()

    def leaderboard() -> Leaderboard:
        measured = [done[spec.name] for spec in specs if spec.name in done]
        return build_leaderboard(
            task,
            rows,
            [candidate_of(m, seen if training[m.spec.name] is not None else 0) for m in measured],
            train_labels=train_labels,
            rank_by=rank_by,
            waiting=[spec.name for spec in order if spec.name not in done],
        )

    with contextlib.ExitStack() as stack:

        def opened() -> str:
            tags = {TAGS["task"]: task.name, TAGS["task_digest"]: task.digest, TAGS["test_digest"]: rows.digest}
            title, above = f"{counted_specs(specs)}, {len(rows):,} rows of {test_name}", None
            if beneath is not None:
                title, above = test_name, beneath()
            run_id: str = stack.enter_context(run_of(connect(task), title, "compare", tags, parent=above)).info.run_id
            log_table_digest(run_id, test, name=test_name, context="test", targets=task.label)
            if train is not None:
                log_table_digest(run_id, train, name="train", context="train", targets=task.label)
            budget = settings.get("budget")
            given = {
                "specs": ", ".join(spec.name for spec in specs),
                "test": test_name,
                "rows": len(rows),
                "train_rows": None if train is None else len(train),
                "budget_usd": None if budget is None else budget.cap_usd,
                "fresh": settings.get("fresh"),
                "retry_failed": settings.get("retry_failed"),
            }
            log_params(run_id, {key: value for key, value in given.items() if value})
            return run_id

        for spec in order:
            engine.raise_if_interrupted()
            done[spec.name] = _measure(spec, rows, training, engine, known, fits, live, settings)
            so_far = None
            if spec is not order[-1] and sparing.is_due:
                with sparing:
                    so_far = leaderboard()
                    if live is not None:
                        live.show(so_far, test_name if beneath is not None else "")
            if spec.endpoint is None and order[-1].endpoint is not None:
                continue
            parent = parent or opened()
            known = known or connect(task)
            for name in [name for name, measured in done.items() if not measured.run_id]:
                done[name] = _log_child(done[name], rows, test, test_name, parent, known)
            if so_far is not None:
                with sparing:
                    _log_parent(parent, so_far, rows, ())
        measured_all = tuple(done[spec.name] for spec in specs)
        board = leaderboard()
        _log_parent(parent, board, rows, spreads_of(specs, board))
    return ComparedTable(task, rows, board, measured_all, parent, connect(task) or "", settings["report"])


def plan_comparison(
    specs: Sequence[Spec],
    test: pd.DataFrame,
    train: pd.DataFrame | None,
    engine: Engine,
    *,
    fresh: bool = False,
    retry_failed: bool = False,
    allow_leaks: bool = False,
    rank_by: str | None = None,
    test_name: str = "the test table",
) -> Plan:
    """What `compare_specs` would send and cost; checks everything it would check, sends nothing."""
    tests = {test_name: test}
    return plan_tables(
        specs, tests, train, engine, fresh=fresh, retry_failed=retry_failed, allow_leaks=allow_leaks, rank_by=rank_by
    )


def plan_tables(
    specs: Sequence[Spec],
    tests: Mapping[str, pd.DataFrame],
    train: pd.DataFrame | None,
    engine: Engine,
    *,
    fresh: bool = False,
    retry_failed: bool = False,
    allow_leaks: bool = False,
    rank_by: str | None = None,
) -> Plan:
    """As `plan_comparison`, over several tables: each spec is fitted once, and what several ask is asked once."""
    tables = [rows_for(specs, test, name) for name, test in tests.items()]
    rows = tables[0]
    for more in tables[1:]:
        rows = Rows(rows.inputs + more.inputs, rows.labels + more.labels, rows.text)
    ranking_metric(specs[0].task, rank_by)
    training = training_for(specs, train)
    if not allow_leaks:
        for name, table in zip(tests, tables, strict=True):
            check_leaks(table, training, name)
    experiment_id = None if fresh else known_experiment(specs[0].task)
    counted: set[bytes] = set()
    planned = []
    for spec in specs:
        train_rows = training[spec.name]
        fitted = None
        if experiment_id is not None and train_rows is not None and plan_fit(spec, train_rows, engine).asks:
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


def check_leaks(rows: Rows, training: Mapping[str, Rows | None], source: str) -> None:
    """Refuses test rows whose text a spec is fitted on: its figures would be too good.

    Raises:
        DataError: says how many rows, and which is the first.
    """
    known = next((train for train in training.values() if train is not None), None)
    if known is None:
        return
    places: dict[str, int] = {}
    for place, text in enumerate(known.texts, start=1):
        if text is not None:
            places.setdefault(same_text(text), place)
    leaked = [n for n, text in enumerate(rows.texts, start=1) if text is not None and same_text(text) in places]
    if leaked:
        first = leaked[0]
        there = places[same_text(rows.texts[first - 1])]
        raise DataError(
            f"{len(leaked):,} of {len(rows):,} rows of {source} also stand in the training table (the first: test row "
            f"{rows.number(first - 1)}, training row {known.number(there - 1)}), so figures measured on them would be "
            "too good. Take them out of one of "
            "the tables, or add --allow-leaks (allow_leaks=True) to compare all the same; the leaderboard then says so."
        )


def seen_in_training(rows: Rows, training: Mapping[str, Rows | None]) -> int:
    """How many test rows have a text that also stands in the training rows."""
    known = next((train for train in training.values() if train is not None), None)
    if known is None:
        return 0
    texts = {same_text(text) for text in known.texts if text is not None}
    return sum(text is not None and same_text(text) in texts for text in rows.texts)


def candidate_of(measured: MeasuredSpec, seen: int = 0) -> Candidate:
    """The plain record of a measured spec, for the leaderboard.

    Args:
        measured: the spec and its predictions.
        seen: test rows it may have learned the answer of.
    """
    notes = (*measured.spec.notes(), *measured.fitted.state.get("notes", ()))
    if seen:
        notes = (*notes, f"{seen:,} test rows also stand in its training rows, so its figures may be too good.")
    guessed = sum(found.call.cost_estimated for found in measured.predictions)
    if guessed:
        notes = (
            *notes,
            f"The cost of {guessed:,} rows is estimated from the lengths of their texts, as the service did not count "
            "all tokens.",
        )
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
    live: LiveBoard | None,
    settings: dict[str, Any],
) -> MeasuredSpec:
    with contextlib.ExitStack() as stack:
        progress = live.turn_to(spec.name) if live is not None else None
        if progress is None:
            progress = stack.enter_context(shown(settings.get("progress"), spec.name))
        train = None if spec.name in fits else training[spec.name]
        fitting, per_row = first_asked(spec, rows, train, fits.get(spec.name))
        with_text = sum(text is not None for text in rows.texts)
        ahead = ProgressForecast(
            progress,
            round(with_text * len(per_row)),
            fitting=len(fitting),
            follow_ups=spec.follow_ups if isinstance(spec, Prompt) else None,
        )
        asked = settings | {"progress": ahead}
        if spec.name not in fits:
            fits[spec.name] = fit_on(spec, train, engine, experiment_id=experiment_id, **asked)
        fitted = fits[spec.name]
        ahead.answer_rows()
        with no_autologging():
            predictions = engine.drive(fitted.predict(rows), spec.endpoint, **asked)
    return MeasuredSpec(fitted, tuple(predictions))


def first_asked(
    spec: Spec, rows: Rows, train: Rows | None, fitted: Fitted | None = None
) -> tuple[Sequence[Request], Sequence[Request]]:
    """The first requests of fitting and of one test row of ordinary length, which stands for the others."""
    if spec.endpoint is None:
        return (), ()
    lengths = sorted((len(str(text)), place) for place, text in enumerate(rows.texts) if text is not None)
    ordinary = rows.take([lengths[len(lengths) // 2][1]]) if lengths else rows
    return spec.first_requests(ordinary, train, fitted)


def in_order(specs: Sequence[Spec], rows: Rows, training: Mapping[str, Rows | None]) -> list[Spec]:
    """The specs as they are measured: those that call no model, then those with the least to ask, as given if alike.

    Among those that ask, specs whose call an endpoint may not offer come first, so that nothing is paid when it
    does not.
    """

    def length(spec: Spec) -> int:
        if len(specs) > MOST_WEIGHED:
            return 0
        fitting, per_row = first_asked(spec, rows, training[spec.name])
        once, each = (sum(len(json.dumps(r.body, default=str)) for r in asked) for asked in (fitting, per_row))
        return once + each * len(rows)

    return sorted(specs, key=lambda spec: (spec.endpoint is not None, not _asks_what_few_offer(spec), length(spec)))


def _log_child(
    measured: MeasuredSpec, rows: Rows, test: pd.DataFrame, test_name: str, parent: str, experiment_id: str | None
) -> MeasuredSpec:
    import mlflow

    client = mlflow.MlflowClient()
    spec = measured.spec
    tags = spec_tags(spec) | {TAGS["test_digest"]: rows.digest}
    with run_of(experiment_id, spec.name, "candidate", tags, parent=parent) as run:
        run_id = run.info.run_id
        log_fitted(run_id, measured.fitted)
        log_settings(run_id, spec)
        truths = [label for label in rows.labels if label is not None]
        log_table_digest(run_id, test, name=test_name, context="test", targets=spec.task.label)
        evaluated = sum(prediction.state != "empty" for prediction in measured.predictions)
        log_metrics(run_id, evaluate(spec.task, truths, measured.predictions), evaluated)
        frame = answers_table(spec.task, rows, measured.predictions)
        mlflow.log_table(frame.head(MOST_TABLE_ROWS), "predictions.json", run_id=run_id)
        with tempfile.TemporaryDirectory() as scratch:
            file = Path(scratch) / "predictions.parquet"
            frame.to_parquet(file, index=False)
            client.log_artifact(run_id, str(file))
        if any(p.transient for p in measured.predictions):
            client.set_tag(run_id, TAGS["partial"], "true")
    return MeasuredSpec(measured.fitted, measured.predictions, run_id)


def _log_parent(run_id: str, board: Leaderboard, rows: Rows, spreads: Sequence[Spread]) -> None:
    import mlflow

    client = mlflow.MlflowClient()
    if not board.waiting:
        # In one line: indented, a leaderboard of 500 specs takes several times the room.
        text = json.dumps(board.to_document(), ensure_ascii=False, separators=(",", ":"))
        client.log_text(run_id, text, "leaderboard.json")
        log_params(run_id, {"best": board.best.candidate.name, "ranked_by": board.ranked_by})
        log_metrics(run_id, board.best.metrics, board.rows_evaluated)
    client.set_tag(run_id, TAGS["partial"], str(board.partial or bool(board.waiting)).lower())
    describe(run_id, described(board))
    with tempfile.TemporaryDirectory() as scratch:
        page = Path(scratch) / "report.html"
        write_page(board_page(board, rows, spreads=spreads), page)
        client.log_artifact(run_id, str(page))
