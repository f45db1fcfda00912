"""luthier improve: a better prompt within a budget."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from luthier.cli.options import BudgetUsd, DryRun, EndpointFile, Json, OneSpec, Yes

__all__ = ["improve"]


def improve(
    spec: OneSpec,
    train: Annotated[Path, typer.Option("--train", metavar="TABLE", help="Labelled rows that prompts are chosen on.")],
    validation: Annotated[
        Path, typer.Option("--validation", metavar="TABLE", help="Other labelled rows, for the last measurement.")
    ],
    budget: BudgetUsd = None,
    writer: Annotated[
        str | None,
        typer.Option(
            "--writer",
            metavar="NAME|FILE",
            help="Model that writes instructions: a name or an endpoint file; the spec's own by default.",
        ),
    ] = None,
    by: Annotated[
        list[str] | None,
        typer.Option("--by", metavar="NAME", help="How prompts are proposed: rewrite, examples. Can be repeated."),
    ] = None,
    rounds: Annotated[
        int, typer.Option("--rounds", metavar="N", min=1, help="End after N rounds without a better prompt.")
    ] = 3,
    rows: Annotated[int, typer.Option("--rows", metavar="N", min=1, help="Ask at most N training rows.")] = 200,
    endpoint: EndpointFile = None,
    rank_by: Annotated[
        str | None, typer.Option("--rank-by", metavar="METRIC", help="Metric that prompts are chosen by.")
    ] = None,
    seed: Annotated[int, typer.Option("--seed", metavar="N", help="Seed of everything that is drawn.")] = 7,
    save: Annotated[
        Path | None, typer.Option("--save", metavar="FILE", help="Write the winner here; beside SPEC by default.")
    ] = None,
    yes: Yes = False,
    dry_run: DryRun = False,
    json: Json = False,
) -> None:
    """Look for a better prompt within a budget, and measure it on rows that the choice never saw."""
    import sys

    from luthier import api
    from luthier.cli.printing import print_end, print_json, read_shown, spec_of
    from luthier.cli.spending import agree_to
    from luthier.endpoints import RunOptions, default_engine, draining
    from luthier.errors import Interrupted

    first = spec_of(spec, endpoint)
    target = api.check_target(save) if save is not None else api.improved_file(spec)
    setup = api.ImproveSetup(
        first,
        read_shown(train),
        read_shown(validation),
        writer=api.writer_endpoint(writer),
        by=by or (),
        rounds=rounds,
        rows=rows,
        rank_by=rank_by,
        seed=seed,
        validation_name=validation.name,
    )
    options = RunOptions.within(budget)
    agree_to(setup.plan(options), yes=yes, dry_run=dry_run, json=json)
    engine = default_engine()
    try:
        with draining(engine):
            found = setup.run(options, told=lambda line: print(line, file=sys.stderr)).write(target)
    except Interrupted:
        print(f"stopped here: {setup.said_so_far()}", file=sys.stderr)
        raise
    if json:
        print_json(found.document())
    else:
        found.show()
    print_end(engine.report)
