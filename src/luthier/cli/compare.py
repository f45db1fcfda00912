"""luthier compare: one leaderboard for specs on the same rows."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated

import typer

from luthier.cli.options import (
    BudgetUsd,
    DryRun,
    EndpointFile,
    Fresh,
    Json,
    Limit,
    LiveOrBatch,
    Mode,
    RetryFailed,
    Specs,
    Tests,
    Train,
    Wait,
    Yes,
)

__all__ = ["compare"]


def compare(
    specs: Specs,
    test: Tests,
    train: Train = None,
    limit: Limit = None,
    budget: BudgetUsd = None,
    endpoint: EndpointFile = None,
    rank_by: Annotated[
        str | None, typer.Option("--rank-by", metavar="METRIC", help="Metric that orders the leaderboard.")
    ] = None,
    yes: Yes = False,
    dry_run: DryRun = False,
    fresh: Fresh = False,
    retry_failed: RetryFailed = False,
    allow_leaks: Annotated[
        bool, typer.Option("--allow-leaks", help="Compare even if test rows are also in the training table.")
    ] = False,
    race: Annotated[
        bool, typer.Option("--race", help="Stop specs that will end clearly behind the best; see docs/race.md.")
    ] = False,
    mode: Mode = LiveOrBatch.live,
    wait: Wait = False,
    model: Annotated[
        list[str] | None,
        typer.Option("--model", metavar="NAME", help="Ask every spec with this model, not its own. Can be repeated."),
    ] = None,
    json: Json = False,
) -> None:
    """Measure specs on the same labelled rows. Prints a leaderboard with intervals and costs."""
    import sys

    from luthier import api
    from luthier.cli.printing import print_board, read_shown, specs_of
    from luthier.cli.spending import agree_to, agree_to_many
    from luthier.endpoints import RunOptions, default_engine, draining
    from luthier.errors import EndpointError

    chosen = specs_of(specs, endpoint)
    missing: Mapping[str, str] = {}
    if model:
        crossed = api.specs_with_models(chosen, model, endpoint=endpoint)
        chosen, missing = list(crossed.specs), crossed.missing
        for line in (*crossed.notes, *missing.values()):
            print(line, file=sys.stderr)
    names = api.table_names(test) if len(test) > 1 else [test[0].name]
    tables = {name: api.limited(read_shown(path), limit) for name, path in zip(names, test, strict=True)}
    agree_to_many(len(chosen), sum(map(len, tables.values())), yes=yes, dry_run=dry_run)
    training = read_shown(train) if train else None
    setup = api.ComparisonSetup(
        chosen, tables, training, rank_by=rank_by, allow_leaks=allow_leaks, race=race, missing=missing
    )
    if mode is LiveOrBatch.batch:
        setup.check_batches()
    options = RunOptions.within(budget, fresh=fresh, retry_failed=retry_failed)
    agree_to(setup.plan(options), by_batch=mode is LiveOrBatch.batch, yes=yes, dry_run=dry_run, json=json)
    engine = default_engine()
    with draining(engine):
        if mode is LiveOrBatch.batch:
            options = setup.ask_by_batch(options, wait=wait)
        board = setup.run(options) if len(tables) == 1 else setup.run_tables(options)
    print_board(board, engine.report, json=json)
    if board.unanswered:
        name, why = next(iter(board.unanswered.items()))
        raise EndpointError(
            f"no row of {', '.join(board.unanswered)} was answered; {name}: {why}. Their figures mean nothing. Remove "
            "the cause (luthier check SPEC helps to find it), then run the same command with --retry-failed."
        )
