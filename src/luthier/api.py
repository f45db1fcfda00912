"""The library as a notebook sees it: DataFrames in and out, a few verbs, objects that show themselves.

Every command of the command line calls one of these.
"""

from __future__ import annotations

import contextlib
import logging
import os
import random
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Any, overload

from luthier.auditing.audit_result import AuditResult, audit_pairs
from luthier.auditing.job_audit import audit_chains, chains_of
from luthier.documents import described
from luthier.engine.ask_options import Progress
from luthier.engine.engine import Engine, engine_given
from luthier.engine.progress import ProgressForecast, shown
from luthier.engine.report import Report
from luthier.errors import DataError, ModelError, SpecError
from luthier.experiments.checking import Checked, check_spec
from luthier.experiments.compare import compare_specs
from luthier.experiments.fits import fit_on, training_rows
from luthier.experiments.several_tables import compare_tables
from luthier.packaging.loading import load_model
from luthier.packaging.promotion import Promotion, promote_version
from luthier.packaging.versions import check_names
from luthier.reporting.live import LiveBoard
from luthier.results import Board, Boards, Model, SpecResult, budget_of, example_of, logged_model
from luthier.spec import Fitted, Spec
from luthier.tables import frame_of, is_table, take_rows
from luthier.tasks.task import Rows
from luthier.techniques import Prompt
from luthier.tracking.runs import (
    connect,
    fitted_of_run,
    known_experiment,
    log_fitted,
    log_settings,
    log_table_digest,
    run_of,
    spec_tags,
)
from luthier.tuning.checkpoints import base_spec, checkpoint_specs
from luthier.tuning.job import Job
from luthier.tuning.verbs import attach_job, tune

if TYPE_CHECKING:
    from pathlib import Path

    import pandas as pd

    from luthier.tables import ArrowStream

    Table = pd.DataFrame | ArrowStream | str | Path | Sequence[Mapping[str, Any]] | Mapping[str, Sequence[Any]]
    """A table in any form that `luthier.tables.frame_of` takes."""

logger = logging.getLogger(__name__)

__all__ = [
    "Board",
    "Boards",
    "Job",
    "Model",
    "SpecResult",
    "attach_job",
    "audit",
    "check",
    "compare",
    "compare_checkpoints",
    "fit",
    "load",
    "log",
    "preview",
    "promote",
    "score",
    "tune",
]


@overload
def compare(
    specs: Sequence[Spec] | Spec,
    test: Table,
    *,
    train: Table | None = None,
    limit: int | None = None,
    budget_usd: float | None = None,
    rank_by: str | None = None,
    engine: Engine | None = None,
    progress: Progress | None = None,
    fresh: bool = False,
    retry_failed: bool = False,
    allow_leaks: bool = False,
    test_name: str = "the test table",
) -> Board: ...


@overload
def compare(
    specs: Sequence[Spec] | Spec,
    test: Mapping[str, pd.DataFrame] | Sequence[pd.DataFrame],
    *,
    train: Table | None = None,
    limit: int | None = None,
    budget_usd: float | None = None,
    rank_by: str | None = None,
    engine: Engine | None = None,
    progress: Progress | None = None,
    fresh: bool = False,
    retry_failed: bool = False,
    allow_leaks: bool = False,
    test_name: str = "the test table",
) -> Boards: ...


def compare(
    specs: Sequence[Spec] | Spec,
    test: Table | Mapping[str, pd.DataFrame] | Sequence[pd.DataFrame],
    *,
    train: Table | None = None,
    limit: int | None = None,
    budget_usd: float | None = None,
    rank_by: str | None = None,
    engine: Engine | None = None,
    progress: Progress | None = None,
    fresh: bool = False,
    retry_failed: bool = False,
    allow_leaks: bool = False,
    test_name: str = "the test table",
) -> Board | Boards:
    """Answers the same rows with every spec and measures them alike.

    Args:
        specs: recipes for one task.
        test: labelled rows, as a DataFrame (pandas or polars), a path, a list of dicts, a dict of lists or an Arrow
            table; or several such tables, by name or in a list, with a board for each.
        train: labelled rows, likewise, for the specs that learn from some.
        limit: only so many test rows of each table, drawn with a fixed seed.
        budget_usd: most that may be spent over all specs and tables.
        rank_by: metric that orders the board; by default the task type's own.
        engine: the process's own when absent.
        progress: told of every answer; when absent, a bar and the leaderboard so far are shown, on stderr or in the
            notebook.
        fresh: ask again for what the journal already holds.
        retry_failed: ask again for rows that failed for good.
        allow_leaks: compare although test rows stand in `train`; the board then says so.
        test_name: what the table is called in MLflow.

    Returns:
        A board; `board.frame` is a DataFrame, `board.errors(spec)` the rows it got wrong. For several tables
        `Boards`: `boards["a"]` is the board of one, `boards.across` what holds across them.

    Raises:
        DataError: a table lacks a column, or a label is not one of the task's.
        SpecError: specs do not belong together, or need training rows that are not there.
        EndpointError: a model, key or server cannot be used.
        BudgetReached: the money given is spent; the same call continues where it was.
    """
    chosen = specs_given(specs)
    settings: dict[str, Any] = {
        "engine": engine_given(engine),
        "rank_by": rank_by,
        "budget": budget_of(budget_usd),
        "progress": progress,
        "fresh": fresh,
        "retry_failed": retry_failed,
        "allow_leaks": allow_leaks,
    }
    with LiveBoard() if progress is None else contextlib.nullcontext() as live:
        settings["live"] = live
        training = given_table(train, "the training table")
        if is_table(test):
            table = limited(frame_of(test, test_name), limit)
            return Board(compare_specs(chosen, table, training, test_name=test_name, **settings))
        several: Any = test
        named = several if isinstance(test, Mapping) else {f"table-{n}": one for n, one in enumerate(several, start=1)}
        tables = {str(name): limited(frame_of(one, str(name)), limit) for name, one in named.items()}
        return Boards(compare_tables(chosen, tables, training, **settings))


def specs_given(specs: Any) -> list[Spec]:
    """The specs, of one or of several.

    Raises:
        SpecError: something else was given.
    """
    several = [specs] if isinstance(specs, Spec | str) or not isinstance(specs, Iterable) else list(specs)
    return [spec_given(spec) for spec in several]


def spec_given(spec: Any) -> Spec:
    """The spec.

    Raises:
        SpecError: something else was given.
    """
    if isinstance(spec, Spec):
        return spec
    cure = f" luthier.read_spec({spec!r}) reads one from a file." if isinstance(spec, str) else ""
    raise SpecError(f"a spec is wanted, such as luthier.Prompt(...); given: {described(spec)}.{cure}")


def given_table(table: Any, source: str) -> pd.DataFrame | None:
    """A table in any form `luthier.tables.frame_of` takes, `None` where none is given."""
    return None if table is None else frame_of(table, source)


def limited(frame: pd.DataFrame, limit: int | None) -> pd.DataFrame:
    """At most `limit` rows, drawn with a fixed seed, in their order; they still know their numbers in the table."""
    if limit is not None and (isinstance(limit, bool) or not isinstance(limit, int) or limit < 1):
        raise DataError(f"limit {limit!r}: give a whole number of rows, 1 or more.")
    if limit is None or limit >= len(frame):
        return frame
    kept = sorted(random.Random(7).sample(range(len(frame)), limit))
    return take_rows(frame, kept)


def fit(
    spec: Spec,
    train: Table | None = None,
    *,
    budget_usd: float | None = None,
    engine: Engine | None = None,
    progress: Progress | None = None,
) -> Fitted:
    """Trains what a technique trains itself: a baseline's weights, chosen examples, calibration."""
    return _fitted(
        spec_given(spec),
        training_rows(spec, given_table(train, "the training table")),
        None,
        engine,
        budget_usd,
        progress,
    )


def fit_and_keep(
    spec: Spec,
    train: Table | None = None,
    *,
    budget_usd: float | None = None,
    engine: Engine | None = None,
    progress: Progress | None = None,
) -> tuple[Fitted, str]:
    """As `fit`, kept in an MLflow run whose id is returned too; what a run already holds is not fitted again."""
    for endpoint in spec.endpoints:
        endpoint.key()
    table = given_table(train, "the training table")
    rows = training_rows(spec, table)
    fitted = _fitted(spec, rows, known_experiment(spec.task), engine, budget_usd, progress)
    with run_of(connect(spec.task), f"fit {spec.name}", "fit", spec_tags(spec)) as run:
        log_fitted(run.info.run_id, fitted)
        log_settings(run.info.run_id, spec)
        if table is not None and rows is not None:
            log_table_digest(run.info.run_id, table, name="train", context="train", targets=spec.task.label)
    return fitted, run.info.run_id


def check(spec: Spec) -> Checked:
    """Whether a spec works: key, model, parameters, log-probabilities and price, by one cheap call."""
    return check_spec(spec_given(spec))


def preview(spec: Spec, rows: Table, train: Table | None = None) -> Any:
    """What would be sent for these rows, with tokens and price; sends nothing."""
    return spec_given(spec).preview(frame_of(rows, text=spec.task.text), given_table(train, "the training table"))


def log(
    what: Spec | Fitted | SpecResult | str,
    *,
    train: Table | None = None,
    register: str | None = None,
    alias: str | None = None,
    budget_usd: float | None = None,
    engine: Engine | None = None,
    progress: Progress | None = None,
) -> Model:
    """Packages a spec, what was fitted, or what a run measured as an MLflow model.

    Args:
        what: a spec (fitted on `train`, or taken from the run that already fitted it), something fitted,
            a place on a leaderboard, or `runs:/RUN_ID` of a compared spec.
        train: labelled rows, for a spec that learns from some.
        register: registered model to add a version to.
        alias: alias for that version, such as `champion`.
        budget_usd: most that fitting may spend.
        engine: the process's own when absent.
        progress: told of every answer while fitting.

    Returns:
        The model; `model.uri` is what every MLflow tool takes.
    """
    check_names(register, alias)
    if isinstance(what, SpecResult):
        return what.log(register=register, alias=alias)
    if isinstance(what, str):
        if not what.startswith("runs:/"):
            raise ModelError(f"{what!r} is no run; give runs:/RUN_ID of a compared spec, or a spec.")
        connect()
        run_id = what.removeprefix("runs:/").split("/")[0]
        return logged_model(fitted_of_run(run_id), run_id, register, alias, None)
    if isinstance(what, Fitted):
        return logged_model(what, None, register, alias, None)
    what = spec_given(what)
    for asked in what.endpoints:
        asked.key()
    rows = training_rows(what, given_table(train, "the training table"))
    fitted = _fitted(what, rows, known_experiment(what.task), engine, budget_usd, progress)
    return logged_model(fitted, None, register, alias, None if rows is None else example_of(rows))


def load(model_uri: str, endpoint: Mapping[str, Any] | None = None, *, trust: bool = False) -> Model:
    """The packaged model at a URI; nothing that came with it is run.

    Args:
        model_uri: `models:/NAME@ALIAS`, `models:/NAME/VERSION`, `models:/m-ID` or a folder.
        endpoint: settings that point it elsewhere, such as `{"base_url": ..., "model": ...}`; what is not
            given stays as it was logged.
        trust: let a model that Luthier did not log run the code it brings along.
    """
    if not isinstance(model_uri, str | os.PathLike):
        raise ModelError(
            f"a model is wanted, as models:/NAME@ALIAS, models:/NAME/VERSION or a folder; "
            f"given: {described(model_uri)}."
        )
    if endpoint is not None and not isinstance(endpoint, Mapping):
        raise ModelError(f"endpoint= is {described(endpoint)}; give settings, as in {{'model': ..., 'base_url': ...}}")
    model_uri = str(model_uri)
    settings = dict(endpoint or {})
    settings |= settings.pop("limits", {})
    return Model(model_uri, load_model(model_uri, settings, trust=trust))


def score(model: Model | str, rows: pd.DataFrame, *, trust: bool = False, **settings: Any) -> pd.DataFrame:
    """The rows with the prediction columns behind their own; see `load` and `Model.score`."""
    chosen = model if isinstance(model, Model) else load(model, trust=trust)
    return chosen.score(rows, **settings)


def promote(name: str, *, alias: str, version: str | int | None = None, require: Sequence[str] = ()) -> Promotion:
    """Moves an alias to a version of a registered model, if every requirement holds; see `luthier.packaging`."""
    return promote_version(name, alias, None if version is None else str(version), require)


def audit(
    jobs: Sequence[Job | str] | Job | str = (),
    test: Table | None = None,
    *,
    validation: Table | None = None,
    train: Table | None = None,
    serving: Spec | None = None,
    budget_usd: float | None = None,
    engine: Engine | None = None,
    progress: Progress | None = None,
    pairs: Table | None = None,
    pair: Sequence[str] = (),
    id_column: str | None = None,
    source: str = "pairs",
) -> AuditResult:
    """Compares what a service reported with what is measured, says why they differ, and keeps an MLflow run of it.

    Either jobs, whose models are asked, or a table of numbers that exist already.

    Args:
        jobs: fine-tuning jobs that succeeded, or their ids; three or more are compared over models too.
        test: labelled rows of the measurement that counts.
        validation: the rows the jobs were given to measure on; tells other rows from another definition.
        train: rows a calibrated serving spec is fitted on.
        serving: how the model is really asked; as it was trained when absent. For one job.
        budget_usd: most that may be spent over all jobs.
        engine: the process's own when absent.
        progress: told of every answer; a bar on stderr when absent.
        pairs: a line per model, with reported and measured values of the same metrics.
        pair: `REPORTED=MEASURED` per metric, by column names; guessed when absent (`classification/accuracy` or
            `reported_accuracy` with `test_accuracy` or `measured_accuracy`).
        id_column: column that names the models; guessed when absent.
        source: what the table is called on the report.

    Returns:
        An audit; `audit.frame` has a line per metric, `audit.pairs` one per model, `audit.parts` one per reason,
        `audit.write_page` writes the report.

    Raises:
        DataError: no columns belong together, a cell is no number, or the rows are not those of the job.
        ModelError: a job has no result, or its service reported nothing to compare.
    """
    if pairs is not None:
        return audit_pairs(frame_of(pairs, source), pair=pair, id_column=id_column, source=source)
    given = {
        name: frame_of(table, name) for name, table in (("test", test), ("validation", validation)) if table is not None
    }
    training = given_table(train, "the training table")
    chains = chains_of(jobs, given.get("test"), validation=given.get("validation"), train=training, serving=serving)
    return audit_chains(
        chains, engine=engine_given(engine), tables=given, budget=budget_of(budget_usd), progress=progress
    )


def compare_checkpoints(job: Job | str, test: pd.DataFrame, *, base: bool = True, **settings: Any) -> Board:
    """Measures every model a job kept, and the base where it answers, on the same rows.

    Args:
        job: the job, or its id.
        test: labelled rows.
        base: whether the base model is asked too.
        settings: as `compare` takes them.
    """
    owned = job if isinstance(job, Job) else attach_job(job)
    with owned.hosted(specs_of_job(owned, base=base)) as specs:
        return compare(specs, test, **settings)


def specs_of_job(job: Job, *, base: bool = True) -> list[Spec]:
    """A spec per checkpoint and one for the result, and the same words to the base model where it answers."""
    kept = checkpoint_specs(job)
    # Asking the base costs a call, so a job without a result is refused before.
    before = base_spec(job) if base else None
    return [*kept, *([] if before is None else [before])]


def _fitted(
    spec: Spec,
    rows: Rows | None,
    experiment_id: str | None,
    engine: Engine | None,
    budget_usd: float | None,
    progress: Progress | None,
) -> Fitted:
    with shown(progress, "fitting") as showing:
        asked = [] if rows is None else spec.first_requests(rows.take(()), rows)[0]
        ahead = ProgressForecast(
            showing, 0, fitting=len(asked), follow_ups=spec.follow_ups if isinstance(spec, Prompt) else None
        )
        report = Report()
        fitted = fit_on(
            spec,
            rows,
            engine_given(engine),
            experiment_id=experiment_id,
            budget=budget_of(budget_usd),
            progress=ahead,
            report=report,
        )
    return replace(fitted, report=report)
