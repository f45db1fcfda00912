"""luthier score: score a table with a packaged model."""

from __future__ import annotations

import os
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from luthier.cli.options import BudgetUsd, DryRun, EndpointFile, Json, RetryFailed, Yes

if TYPE_CHECKING:
    from luthier.api import FileScore, SparkScore, SubmittedScore

__all__ = ["Mode", "score"]


class Mode(StrEnum):
    """How rows are asked."""

    live = "live"
    batch = "batch"
    spark = "spark"


def score(
    model_uri: Annotated[
        str | None, typer.Argument(metavar="MODEL_URI", help="models:/NAME@ALIAS, models:/NAME/VERSION, a folder.")
    ] = None,
    source: Annotated[
        str | None,
        typer.Argument(
            metavar="INPUT", help="csv, tsv, jsonl, parquet or xlsx; a folder or a 'pattern' of them; - for stdin."
        ),
    ] = None,
    target: Annotated[
        str | None,
        typer.Argument(metavar="OUTPUT", help="csv, tsv, jsonl or parquet, a text also .gz or .zst; - for stdout."),
    ] = None,
    mode: Annotated[
        Mode,
        typer.Option(
            help="live: each row is asked now. batch: by the service's Batch API, within a day. spark: by Spark."
        ),
    ] = Mode.live,
    budget: BudgetUsd = None,
    endpoint: EndpointFile = None,
    yes: Yes = False,
    dry_run: DryRun = False,
    retry_failed: RetryFailed = False,
    overwrite: Annotated[
        bool, typer.Option("--overwrite", help="Replace an OUTPUT that this command did not write.")
    ] = False,
    trust: Annotated[
        bool, typer.Option("--trust", help="Let a model that Luthier did not log run the code it brings along.")
    ] = False,
    attach: Annotated[
        bool, typer.Option("--attach", help="Go on with the scores whose batches were submitted earlier.")
    ] = False,
    wait: Annotated[
        bool,
        typer.Option("--wait", help="End only when batches are answered and the MLflow run is written."),
    ] = False,
    escape_formulas: Annotated[
        bool,
        typer.Option(
            "--escape-formulas", help="Put ' before cells of a csv that a spreadsheet would run as a formula."
        ),
    ] = False,
    json: Json = False,
) -> None:
    """Score a table with a packaged model. The same command goes on where an interrupted one stopped.

    Blank rows stay rows (state `empty`); `mlflow models predict -t csv` drops them.
    """
    from luthier import api
    from luthier.errors import UserError

    if attach:
        if model_uri is not None:
            raise UserError("--attach goes on with what was submitted, and takes no MODEL_URI, INPUT or OUTPUT.")
        _attach(wait=wait, json=json)
        return
    if model_uri is None or source is None or target is None:
        raise UserError(
            "a model, a table and an output are needed: luthier score MODEL_URI INPUT OUTPUT. What was submitted "
            "earlier with --mode batch goes on with: luthier score --attach"
        )
    given = api.SubmittedScore(
        model_uri=model_uri,
        digest="",
        source=source,
        target=target,
        folder=str(Path.cwd()),
        endpoint=None if endpoint is None else str(endpoint),
        budget_usd=budget,
        overwrite=overwrite,
        trust=trust,
        escape_formulas=escape_formulas,
        submitted_at=time.time(),
    )
    _score(given, mode, yes=yes, dry_run=dry_run, retry_failed=retry_failed, wait=wait, json=json)


def _score(
    given: SubmittedScore,
    mode: Mode,
    *,
    yes: bool,
    dry_run: bool = False,
    retry_failed: bool = False,
    wait: bool,
    json: bool,
) -> None:
    from luthier import api
    from luthier.cli.printing import print_end, print_json, print_saved
    from luthier.cli.spending import agree_to, agree_to_address
    from luthier.endpoints import RunOptions, default_engine, draining
    from luthier.errors import EndpointError, ModelError, Partial
    from luthier.terminals import visible

    source, target, trust = given.source, given.target, given.trust
    if api.is_standard(target):
        api.keep_standard_output()
    model = api.load(given.model_uri, trust=trust)
    if given.endpoint:
        model = api.load(given.model_uri, api.read_endpoint_for(Path(given.endpoint), model.spec), trust=trust)
    if given.digest and given.digest != model.fitted.digest:
        raise ModelError(
            f"{given.model_uri} is not the model any more that {source} was submitted for. Type the score again to "
            f"ask this one: luthier score {given.model_uri} {source} {target} --mode batch"
        )
    file: FileScore | SparkScore
    if mode is Mode.spark:
        file = model.spark_score(source, target, overwrite=given.overwrite)
    else:
        print_saved(source)
        file = model.file_score(source, target, overwrite=given.overwrite)
    options = RunOptions.within(given.budget_usd, retry_failed=retry_failed)
    agree_to(file.plan(options), by_batch=mode is Mode.batch, yes=yes, dry_run=dry_run, json=json)
    agree_to_address(model.sends_key, yes=yes or trust)
    engine = default_engine()
    named = not (api.is_standard(source) or api.is_standard(target))
    if mode is Mode.batch and named:
        api.remember_score(given.of_model(model))
    with draining(engine), collected_later(mode is Mode.batch and named):
        report = model.score_file(
            file,
            budget_usd=given.budget_usd,
            retry_failed=retry_failed,
            wait=wait,
            escape_formulas=given.escape_formulas,
            mode=mode.value,
        )
    if named:
        api.forget_score(target, given.folder)
    if json:
        print_json(report.to_document())
    else:
        print(visible(str(report)))
    print_end(engine.report)
    if report.transient:
        raise Partial(f"{report.transient:,} rows have no answer yet; run the same command again to ask for them.")
    failed = report.states["failed"] + report.states["refused"]
    if failed and failed == report.rows - report.states["empty"]:
        raise EndpointError(
            f"no row was answered; the column `error` of {target} says why. Remove the cause, then run the same "
            "with --retry-failed."
        )


@contextmanager
def collected_later(submitted: bool) -> Iterator[None]:
    """Says of batches that still run how their answers are collected from any folder."""
    from luthier.errors import Partial

    try:
        yield
    except Partial as error:
        if not submitted:
            raise
        raise Partial(f"{error} From any folder: luthier score --attach") from error


def _attach(*, wait: bool, json: bool) -> None:
    """Goes on with every score that was submitted; one that cannot be finished does not stop the others."""
    from luthier import api
    from luthier.errors import LuthierError, Partial, UserError

    waiting = api.submitted_scores()
    if not waiting:
        raise UserError("no score waits for batches. Submit one: luthier score MODEL_URI INPUT OUTPUT --mode batch")
    unfinished: list[LuthierError] = []
    for submitted in waiting:
        print(submitted, file=sys.stderr)
        try:
            # Its paths, its tracking store and its model are found from where it was typed.
            os.chdir(submitted.folder)
            _score(submitted, Mode.batch, yes=True, wait=wait, json=json)
            continue
        except OSError as error:
            unfinished.append(UserError(f"{submitted.folder} cannot be opened ({error.strerror})."))
        except LuthierError as error:
            unfinished.append(error)
        if len(waiting) > 1:
            print(unfinished[-1], file=sys.stderr)
    if unfinished:
        done = f"{len(waiting) - len(unfinished):,} of {len(waiting):,} scores are finished; "
        worst = next((error for error in unfinished if not isinstance(error, Partial)), unfinished[0])
        raise worst if len(waiting) == 1 else type(worst)(done + str(worst))
