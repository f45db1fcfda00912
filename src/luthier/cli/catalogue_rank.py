"""luthier catalogue rank: models measured on one's own rows."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from luthier.cli.options import BudgetUsd, DryRun, Json, Test, Train, Yes

__all__ = ["rank"]


def rank(
    test: Test,
    task: Annotated[
        Path | None, typer.Option("--task", metavar="FILE", help="The task; models/task.yaml by default.")
    ] = None,
    spec: Annotated[
        str | None,
        typer.Option("--spec", metavar="SPEC", help="What every model is asked with; the plainest prompt by default."),
    ] = None,
    train: Train = None,
    endpoint: Annotated[
        list[Path] | None,
        typer.Option(
            "--endpoint",
            metavar="FILE",
            help="Where models are asked. Can be repeated; by default models/endpoints/ as far as keys are set.",
        ),
    ] = None,
    model: Annotated[
        list[str] | None,
        typer.Option("--model", metavar="NAME", help="Measure this model. Can be repeated; any provider's spelling."),
    ] = None,
    provider: Annotated[
        str | None, typer.Option("--provider", metavar="NAME", help="Of the endpoint files, those of this provider.")
    ] = None,
    most: Annotated[int, typer.Option("--most", metavar="N", min=1, help="At most so many models.")] = 6,
    most_usd: Annotated[
        float | None, typer.Option("--most-usd", metavar="USD", min=0, help="Most for a million input tokens.")
    ] = None,
    limit: Annotated[
        int, typer.Option("--limit", metavar="N", min=1, help="Use only N rows, drawn with a fixed seed.")
    ] = 50,
    budget: BudgetUsd = None,
    rank_by: Annotated[
        str | None, typer.Option("--rank-by", metavar="METRIC", help="Metric that orders the models.")
    ] = None,
    yes: Yes = False,
    dry_run: DryRun = False,
    json: Json = False,
) -> None:
    """Measure models on your own rows, within a budget. Models that cannot be told apart share a place."""
    import sys

    from luthier import api
    from luthier.cli.printing import print_end, print_json, read_shown
    from luthier.cli.spending import agree_to
    from luthier.endpoints import RunOptions, default_engine, draining
    from luthier.errors import Partial

    recipe = None if spec is None else api.read_spec(spec)
    there = api.askable_places(endpoint or (), provider)
    setup = api.RankSetup(
        recipe.task if recipe is not None and task is None else api.task_here(task),
        api.limited(read_shown(test), limit),
        there.places,
        listed=there.listed,
        left_out=there.left_out,
        recipe=recipe,
        train=None if train is None else read_shown(train),
        models=model or (),
        most=most,
        most_usd=most_usd,
        rank_by=rank_by,
        test_name=test.name,
    )
    options = RunOptions.within(budget)
    asked = len(setup.models), setup.rows
    plan = setup.plan(options)
    if (len(setup.models), setup.rows) != asked:
        print(
            f"the budget pays for {len(setup.models)} models on {setup.rows} rows, of {asked[0]} on {asked[1]}.",
            file=sys.stderr,
        )
    agree_to(plan, yes=yes, dry_run=dry_run, json=json)
    engine = default_engine()
    with draining(engine):
        shortlist = setup.run(options)
    if json:
        print_json(shortlist.document())
    else:
        shortlist.show()
    print_end(engine.report)
    if shortlist.board.partial:
        raise Partial("some rows have no answer yet; run the same command again to ask for them.")
