"""The verbs as a notebook calls them: DataFrames in and out, objects that show themselves."""

from __future__ import annotations

import random
from collections.abc import Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, Any, Literal

from luthier.api.arguments import is_by_batch, need_texts
from luthier.documents import described
from luthier.engine.ask_options import Progress
from luthier.engine.engine import Engine
from luthier.engine.options import RunOptions
from luthier.errors import DataError, ModelError, SpecError
from luthier.experiments.board import Board, Boards, SpecResult
from luthier.experiments.checking import Checked, check_specs
from luthier.experiments.compare import ComparisonSetup
from luthier.experiments.fits import FitSetup
from luthier.model_choice.spec_models import specs_with_models
from luthier.packaging.versions import check_names
from luthier.plans import Plan
from luthier.reporting.fit_report import fit_sections
from luthier.reporting.terminal import show
from luthier.responsible_ai.assessment import AssessmentSetup
from luthier.responsible_ai.rai_report import RaiReport
from luthier.scoring.loading import load
from luthier.scoring.scored_model import Model, example_of, log_model
from luthier.spec import Fitted, Spec
from luthier.tables import frame_of, is_table, take_rows
from luthier.tracking.runs import fitted_of_run
from luthier.tracking.stores import connect_to_read
from luthier.tracking.tracker import MlflowTracker

if TYPE_CHECKING:
    from pathlib import Path

    import pandas as pd

    from luthier.tables import ArrowStream

    Table = pd.DataFrame | ArrowStream | str | Path | Sequence[Mapping[str, Any]] | Mapping[str, Sequence[Any]]
    """A table in any form that `luthier.tables.frame_of` takes."""

    Tables = Mapping[str, Table] | Sequence[Table]
    """Several of them, by name or in a list."""

__all__ = [
    "check",
    "compare",
    "compare_tables",
    "fit",
    "limited",
    "log",
    "plan",
    "preview",
    "rai",
    "score",
    "show_fit",
]


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
    race: bool = False,
    test_name: str = "the test table",
    mode: Literal["live", "batch"] = "live",
    wait: bool = True,
    models: Sequence[str] = (),
) -> Board:
    """Answers the same rows with every spec and measures all specs the same way.

    Args:
        specs: recipes for one task.
        test: labelled rows, as a DataFrame (pandas or polars), a path, a list of dicts, a dict of lists or an Arrow
            table. `compare_tables` takes several.
        train: labelled rows in any of these forms, for specs that learn from rows.
        limit: use at most this many test rows, drawn with a fixed seed.
        budget_usd: most that may be spent over all specs.
        rank_by: metric that orders the board; by default the task type's own.
        engine: the process's own when absent.
        progress: a `Progress` that is told of every answer; when absent, a bar and the leaderboard so far are shown,
            on stderr or in the notebook.
        fresh: ask again even where the journal has the answer.
        retry_failed: ask again for rows that failed permanently.
        allow_leaks: compare even if test rows are also in `train`; the board then says so.
        race: ask block by block and stop specs that will end clearly behind the best; `board.stopped` has them.
        test_name: what the table is called in MLflow.
        mode: `live` asks each row now; `batch` asks by the services' Batch APIs, for less money, within a day.
        wait: whether batches are waited for; without, `Partial` says that they run, and the same call goes on with
            them later.
        models: names in any spelling; every spec that can be asked with another model is measured with each of them
            in place of its own, as `NAME@MODEL`.

    Returns:
        A board; `board.frame` is a DataFrame, `board.errors(spec)` the rows it got wrong.

    Raises:
        DataError: several tables were given, one lacks a column, or a label is not one of the task's.
        SpecError: specs do not belong together, or need training rows that are not there.
        EndpointError: a model, key or server cannot be used.
        UserError: no service here has one of `models`.
        BudgetReached: the budget is spent; the same call continues from there.
        Partial: batches still run, and `wait` is false.
    """
    if isinstance(test, Mapping | list | tuple) and test and not is_table(test):
        raise DataError(
            f"compare measures on one table, and several were given: {described(test)}. compare_tables takes several."
        )
    setup = _setup(
        specs, {test_name: test}, train, models, limit=limit, rank_by=rank_by, allow_leaks=allow_leaks, race=race
    )
    options = RunOptions.within(budget_usd, engine=engine, progress=progress, fresh=fresh, retry_failed=retry_failed)
    return setup.run(_asked(setup, options, mode, wait))


def compare_tables(
    specs: Sequence[Spec] | Spec,
    tests: Tables,
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
    race: bool = False,
    mode: Literal["live", "batch"] = "live",
    wait: bool = True,
    models: Sequence[str] = (),
) -> Boards:
    """As `compare`, on several tables: each spec is fitted once, and what tables have in common is asked once.

    `tests` are tables as `compare` takes one, by name or in a list. `limit` is for each of them, `budget_usd` for all
    together; the other arguments and the errors are those of `compare`.

    Returns:
        `boards["a"]` is the board of one table, `boards.across` what holds across them.

    Raises:
        DataError: one table was given, or two that hold the same rows.
    """
    setup = _setup(
        specs, _named(tests), train, models, limit=limit, rank_by=rank_by, allow_leaks=allow_leaks, race=race
    )
    options = RunOptions.within(budget_usd, engine=engine, progress=progress, fresh=fresh, retry_failed=retry_failed)
    return setup.run_tables(_asked(setup, options, mode, wait))


def plan(
    specs: Sequence[Spec] | Spec,
    test: Table | Tables,
    *,
    train: Table | None = None,
    limit: int | None = None,
    budget_usd: float | None = None,
    rank_by: str | None = None,
    engine: Engine | None = None,
    fresh: bool = False,
    retry_failed: bool = False,
    allow_leaks: bool = False,
    race: bool = False,
    test_name: str = "the test table",
    models: Sequence[str] = (),
) -> Plan:
    """What `compare`, or for several tables `compare_tables`, would send and cost; sends nothing.

    `luthier compare --dry-run` prints the same. Arguments are those of `compare` and `compare_tables`, and what they
    would refuse is refused here too.

    Returns:
        A plan; `plan.frame` has a row per spec, `plan.cost_usd_high` is the most it can cost.
    """
    tests = {test_name: test} if is_table(test) else _named(test)
    setup = _setup(specs, tests, train, models, race, limit=limit, rank_by=rank_by, allow_leaks=allow_leaks)
    return setup.plan(RunOptions.within(budget_usd, engine=engine, fresh=fresh, retry_failed=retry_failed))


def fit(
    spec: Spec,
    train: Table | None = None,
    *,
    budget_usd: float | None = None,
    engine: Engine | None = None,
    progress: Progress | None = None,
) -> Fitted:
    """Trains what a technique trains itself: a baseline's weights, chosen examples, calibration.

    Args:
        spec: the recipe.
        train: labelled rows, as `compare` takes them; a spec that learns from none needs none.
        budget_usd: most that may be spent.
        engine: the process's own when absent.
        progress: a `Progress` that is told of every answer; a bar on stderr when absent.
    """
    setup = FitSetup(spec_given(spec), training_table(train))
    return setup.fit(RunOptions.within(budget_usd, engine=engine, progress=progress))


def show_fit(fitted: Fitted) -> None:
    """Prints what fitting tried and found: the best rows of each table, and the notes."""
    show(*fit_sections(fitted.spec.tables(fitted), fitted.state.get("notes", ())))


def check(spec: Spec) -> Checked:
    """Whether a spec works: key, model, parameters, log-probabilities and price, by one cheap call."""
    (found,) = check_specs([spec_given(spec)])
    return found


def preview(spec: Spec, rows: Table, train: Table | None = None) -> Any:
    """What would be sent for these rows, with tokens and price; sends nothing."""
    return spec_given(spec).preview(frame_of(rows, text=spec.task.text), training_table(train))


def log(
    what: Spec | Fitted | FitSetup | SpecResult | str,
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
        progress: a `Progress` that is told of every answer while fitting; a bar on stderr when absent.

    Returns:
        The model; `model.uri` is what every MLflow tool takes.
    """
    check_names(register, alias)
    if isinstance(what, SpecResult):
        return what.log(register=register, alias=alias)
    if isinstance(what, str):
        if not what.startswith("runs:/"):
            raise ModelError(f"{what!r} is no run; give runs:/RUN_ID of a compared spec, or a spec.")
        connect_to_read(f"no run {what}")
        run_id = what.removeprefix("runs:/").split("/")[0]
        return log_model(fitted_of_run(run_id), run_id=run_id, register=register, alias=alias, engine=engine)
    if isinstance(what, Fitted):
        return log_model(what, register=register, alias=alias, engine=engine)
    setup = what if isinstance(what, FitSetup) else FitSetup(spec_given(what), training_table(train))
    options = RunOptions.within(budget_usd, engine=engine, progress=progress)
    fitted = setup.fit(options, tracker=MlflowTracker())
    example = None if setup.rows is None else example_of(setup.rows)
    return log_model(fitted, register=register, alias=alias, input_example=example, engine=engine)


def score(
    model: Model | str,
    rows: Any,
    *,
    trust: bool = False,
    budget_usd: float | None = None,
    engine: Engine | None = None,
    progress: Progress | None = None,
    retry_failed: bool = False,
) -> pd.DataFrame:
    """The rows with the prediction columns behind their own; arguments are those of `load` and `Model.score`."""
    chosen = model if isinstance(model, Model) else load(model, trust=trust)
    return chosen.score(rows, budget_usd=budget_usd, engine=engine, progress=progress, retry_failed=retry_failed)


def rai(
    model: Model | str,
    test: Table,
    *,
    sensitive: Sequence[str] | str = (),
    explain: int = 0,
    perturb: int = 0,
    require: Sequence[str] = (),
    limit: int | None = None,
    budget_usd: float | None = None,
    engine: Engine | None = None,
    progress: Progress | None = None,
    fresh: bool = False,
    retry_failed: bool = False,
    trust: bool = False,
    test_name: str = "the test table",
) -> RaiReport:
    """Assesses a packaged model on test rows, and keeps an MLflow run of it, linked to the model.

    At most one call a row, none for what the journal has; `explain` and `perturb` cost more.

    Args:
        model: a model, or the URI of one.
        test: rows with the columns the model reads; without labels the scorecard says what can be said without.
        sensitive: columns whose groups are compared.
        explain: most rows whose answer is explained passage by passage, for up to 14 further calls each.
        perturb: most rows that are asked again with typos, noise or an injected instruction, a call per kind each.
        require: requirements beside the `gates:` of the spec, as in `accuracy_low >= 0.8`.
        limit: take only so many rows, always the same ones.
        budget_usd: most that may be spent; what was paid for stays in the journal.
        engine: the process's own when absent.
        progress: a `Progress` that is told of every answer; a bar on stderr when absent.
        fresh: ask again for what the journal holds.
        retry_failed: also ask again for rows that failed permanently.
        trust: let a model that Luthier did not log run the code it brings along.
        test_name: what the table is called on the report.

    Returns:
        A report that shows the scorecard; `report.frame` has a row per metric, `report.cohorts` one per cohort,
        `report.dashboard()` the dashboards, and `report.passed` says whether every requirement is met.

    Raises:
        DataError: a column is missing, a label is wrong, or no row has a text.
        ModelError: nothing is at the URI, or the model does not choose among labels.
        EndpointError: the endpoint cannot be asked, and the journal has no answer to any row.
    """
    chosen = model if isinstance(model, Model) else load(model, trust=trust)
    setup = AssessmentSetup(
        chosen,
        limited(frame_of(test, test_name), limit),
        name=test_name,
        sensitive=[sensitive] if isinstance(sensitive, str) else sensitive,
        explain=explain,
        perturb=perturb,
        require=require,
        gate=bool(require),
    )
    return setup.run(
        RunOptions.within(budget_usd, engine=engine, progress=progress, fresh=fresh, retry_failed=retry_failed)
    )


def specs_given(specs: Any) -> list[Spec]:
    """The specs, of one or of several; anything else is refused."""
    several = [specs] if isinstance(specs, Spec | str) or not isinstance(specs, Iterable) else list(specs)
    return [spec_given(spec) for spec in several]


def spec_given(spec: Any) -> Spec:
    """The spec; anything else is refused."""
    if isinstance(spec, Spec):
        return spec
    cure = f" luthier.read_spec({spec!r}) reads one from a file." if isinstance(spec, str) else ""
    raise SpecError(f"a spec is wanted, such as luthier.Prompt(...); given: {described(spec)}.{cure}")


def training_table(table: Any) -> pd.DataFrame | None:
    """Training rows in any form `luthier.tables.frame_of` takes, `None` where none are given."""
    return None if table is None else frame_of(table, "the training table")


def limited(frame: pd.DataFrame, limit: int | None) -> pd.DataFrame:
    """At most `limit` rows, drawn with a fixed seed, in their order; they still know their numbers in the table."""
    if limit is not None and (isinstance(limit, bool) or not isinstance(limit, int) or limit < 1):
        raise DataError(f"limit {limit!r}: give a whole number of rows, 1 or more.")
    if limit is None or limit >= len(frame):
        return frame
    kept = sorted(random.Random(7).sample(range(len(frame)), limit))
    return take_rows(frame, kept)


def _setup(
    specs: Sequence[Spec] | Spec,
    tests: Mapping[str, Any],
    train: Table | None,
    models: Sequence[str],
    race: bool,
    *,
    limit: int | None,
    rank_by: str | None,
    allow_leaks: bool,
) -> ComparisonSetup:
    chosen: Sequence[Spec] = specs_given(specs)
    missing: Mapping[str, str] = {}
    if named := need_texts("models", models):
        crossed = specs_with_models(chosen, named)
        chosen, missing = crossed.specs, crossed.missing
    learned = training_table(train)
    frames = {name: limited(frame_of(test, name), limit) for name, test in tests.items()}
    return ComparisonSetup(
        chosen, frames, learned, rank_by=rank_by, allow_leaks=allow_leaks, race=race, missing=missing
    )


def _asked(setup: ComparisonSetup, options: RunOptions, mode: Any, wait: bool) -> RunOptions:
    """The options to run a comparison with, once its batches are answered where it asks by batch."""
    return setup.ask_by_batch(options, wait=wait) if is_by_batch(mode) else options


def _named(tests: Any) -> dict[str, Any]:
    """The tables by name, numbered where they have none; one table alone is refused."""
    if is_table(tests):
        raise DataError(f"compare_tables measures on several tables; given: {described(tests)}. compare takes one.")
    if isinstance(tests, Mapping):
        return {str(name): test for name, test in tests.items()}
    return {f"table-{number}": test for number, test in enumerate(tests, start=1)}
