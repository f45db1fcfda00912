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
    Test,
    Train,
    Yes,
)

__all__ = ["register"]


def compare(
    specs: Specs,
    test: Test,
    train: Train = None,
    limit: Limit = None,
    budget: BudgetUsd = None,
    endpoint: EndpointFile = None,
    rank_by: Annotated[str | None, typer.Option("--rank-by", metavar="METRIC", help="Order the board by this.")] = None,
    yes: Yes = False,
    dry_run: DryRun = False,
    fresh: Fresh = False,
    retry_failed: RetryFailed = False,
    json: Json = False,
) -> None:
    """Answer the same labelled rows with every spec and measure them alike."""
    from luthier import api
    from luthier.cli.printing import print_json, print_where
    from luthier.cli.spending import agree_to
    from luthier.endpoints import default_engine, draining
    from luthier.errors import Partial
    from luthier.experiments.compare import plan_comparison
    from luthier.reporting.terminal import print_leaderboard
    from luthier.tables import read_table
    from luthier.techniques import read_endpoint, read_specs

    chosen = read_specs(specs, read_endpoint(endpoint) if endpoint else None)
    table = api.limited(read_table(test), limit)
    training = read_table(train) if train else None
    engine = default_engine()
    plan = plan_comparison(chosen, table, training, engine, fresh=fresh, rank_by=rank_by, test_name=test.name)
    agree_to(plan, budget_usd=budget, yes=yes, dry_run=dry_run)
    with draining(engine):
        board = api.compare(
            chosen,
            table,
            train=training,
            budget_usd=budget,
            rank_by=rank_by,
            fresh=fresh,
            retry_failed=retry_failed,
            test_name=test.name,
        )
    if json:
        print_json(board.leaderboard.to_document() | {"run_id": board.run_id})
    else:
        print_leaderboard(board.leaderboard)
    print_where()
    if board.partial:
        raise Partial("some rows have no answer yet; run the same command again to ask for them.")


def register(app: typer.Typer) -> None:
    """Adds the verb."""
    app.command()(compare)
