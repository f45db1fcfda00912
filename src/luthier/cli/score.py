"""luthier score: score a table with a packaged model."""

from __future__ import annotations

from enum import StrEnum
from typing import Annotated

import typer

from luthier.cli.options import BudgetUsd, DryRun, EndpointFile, Json, RetryFailed, Yes

__all__ = ["score"]


class Mode(StrEnum):
    """How rows are asked."""

    live = "live"


def score(
    model_uri: Annotated[
        str, typer.Argument(metavar="MODEL_URI", help="models:/NAME@ALIAS, models:/NAME/VERSION, a folder.")
    ],
    source: Annotated[
        str,
        typer.Argument(
            metavar="INPUT", help="csv, tsv, jsonl, parquet or xlsx; a folder or a 'pattern' of them; - for stdin."
        ),
    ],
    target: Annotated[
        str, typer.Argument(metavar="OUTPUT", help="csv, tsv, jsonl or parquet, a text also .gz or .zst; - for stdout.")
    ],
    mode: Annotated[Mode, typer.Option(help="live: each row is asked now.")] = Mode.live,
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
    wait: Annotated[
        bool,
        typer.Option("--wait", help="End only when the MLflow run is written."),
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
    from luthier.cli.printing import print_end, print_json, print_saved
    from luthier.cli.spending import agree_to, agree_to_address
    from luthier.endpoints import RunOptions, default_engine, draining
    from luthier.errors import EndpointError, Partial
    from luthier.terminals import visible

    del mode
    if api.is_standard(target):
        api.keep_standard_output()
    model = api.load(model_uri, trust=trust)
    if endpoint:
        model = api.load(model_uri, api.read_endpoint_for(endpoint, model.spec), trust=trust)
    print_saved(source)
    file = model.file_score(source, target, overwrite=overwrite)
    agree_to(file.plan(RunOptions.within(budget, retry_failed=retry_failed)), yes=yes, dry_run=dry_run, json=json)
    agree_to_address(model.sends_key, yes=yes or trust)
    engine = default_engine()
    with draining(engine):
        report = model.score_file(
            file, budget_usd=budget, retry_failed=retry_failed, wait=wait, escape_formulas=escape_formulas
        )
    if json:
        print_json(report.metrics())
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
