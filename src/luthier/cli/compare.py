"""luthier compare: one leaderboard for specs on the same rows."""

from __future__ import annotations

from typing import Annotated

import typer

from luthier.cli.options import (
    BudgetUsd,
    DryRun,
    EndpointFile,
    Fresh,
    Json,
    Limit,
    RetryFailed,
    Specs,
    Tests,
    Train,
    Yes,
)

__all__ = ["register"]


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
    json: Json = False,
) -> None:
    """Measure specs on the same labelled rows. Prints a leaderboard with intervals and costs."""
    from luthier import api
    from luthier.cli.printing import print_json, print_staying, print_where, read_shown
    from luthier.cli.spending import agree_to, agree_to_many, print_spent
    from luthier.engine.engine import default_engine
    from luthier.engine.interrupts import draining
    from luthier.errors import EndpointError, Partial
    from luthier.experiments.compare import plan_tables
    from luthier.experiments.several_tables import check_tables, table_names
    from luthier.techniques import read_endpoint, read_specs

    overrides = read_endpoint(endpoint) if endpoint else None
    chosen = read_specs(specs, overrides)
    names = table_names(test) if len(test) > 1 else [test[0].name]
    tables = {name: api.limited(read_shown(path), limit) for name, path in zip(names, test, strict=True)}
    agree_to_many(len(chosen), sum(map(len, tables.values())), yes=yes, dry_run=dry_run)
    print_staying(chosen, overrides, endpoint)
    training = read_shown(train) if train else None
    engine = default_engine()
    check_tables(chosen, tables)
    plan = plan_tables(
        chosen,
        tables,
        training,
        engine,
        fresh=fresh,
        retry_failed=retry_failed,
        allow_leaks=allow_leaks,
        rank_by=rank_by,
    )
    agree_to(plan, budget_usd=budget, yes=yes, dry_run=dry_run, json=json)
    one = len(tables) == 1
    with draining(engine):
        board = api.compare(
            chosen,
            tables[names[0]] if one else tables,
            train=training,
            budget_usd=budget,
            rank_by=rank_by,
            fresh=fresh,
            retry_failed=retry_failed,
            allow_leaks=allow_leaks,
            test_name=names[0],
        )
    if json:
        print_json(board.to_document())
    else:
        board.show()
    print_spent(engine.report)
    print_where()
    if board.partial:
        raise Partial("some rows have no answer yet; run the same command again to ask for them.")
    if board.unanswered:
        name, why = next(iter(board.unanswered.items()))
        raise EndpointError(
            f"no row of {', '.join(board.unanswered)} was answered; {name}: {why}. Their figures mean nothing. Remove "
            "the cause (luthier check SPEC helps to find it), then run the same command with --retry-failed."
        )


def register(app: typer.Typer) -> None:
    """Adds the verb."""
    app.command()(compare)
