"""luthier audit: what a service reported against what was measured."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from luthier.cli.options import BudgetUsd, DryRun, Json, Limit, Train, Yes

__all__ = ["audit"]


def audit(
    jobs: Annotated[
        list[str] | None,
        typer.Argument(
            metavar="[JOB...]", help="Fine-tuning jobs that succeeded: ids of the service, or of their runs."
        ),
    ] = None,
    test: Annotated[
        Path | None, typer.Option("--test", metavar="TABLE", help="Labelled rows of the measurement that counts.")
    ] = None,
    validation: Annotated[
        Path | None, typer.Option("--validation", metavar="TABLE", help="The rows the jobs were given to measure on.")
    ] = None,
    train: Train = None,
    spec: Annotated[
        str | None,
        typer.Option("--spec", metavar="SPEC", help="How the model is really asked; as it was trained by default."),
    ] = None,
    sweep: Annotated[
        str | None, typer.Option("--sweep", metavar="RUN", help="Audit every job whose run is below this run.")
    ] = None,
    limit: Limit = None,
    budget: BudgetUsd = None,
    yes: Yes = False,
    dry_run: DryRun = False,
    pairs: Annotated[
        Path | None,
        typer.Option("--pairs", metavar="TABLE", help="A line per model, with reported and measured values."),
    ] = None,
    pair: Annotated[
        list[str] | None,
        typer.Option(
            "--pair",
            metavar="REPORTED=MEASURED",
            help="Two columns of the table that belong together. Can be repeated; guessed from their names.",
        ),
    ] = None,
    id_column: Annotated[
        str | None, typer.Option("--id", metavar="COLUMN", help="Column that names the models; guessed when absent.")
    ] = None,
    json: Json = False,
) -> None:
    """Compare reported with measured figures. Says why those of a service differ from yours."""
    from luthier import api
    from luthier.cli.printing import print_end, print_json, read_shown
    from luthier.cli.spending import agree_to
    from luthier.endpoints import RunOptions, default_engine, draining
    from luthier.errors import UserError

    named = list(jobs or [])
    if sweep:
        named += [job for job in api.jobs_of_sweep(sweep) if job not in named]
    if pairs is None and (pair or id_column):
        raise UserError("--pair and --id name columns of a table of numbers; add --pairs TABLE.")
    if pairs is not None:
        if named:
            raise UserError("give either jobs or --pairs TABLE, not both.")
        asking = {"--test": test, "--validation": validation, "--train": train, "--spec": spec, "--limit": limit}
        given = [name for name, value in (asking | {"--budget": budget}).items() if value is not None]
        given += ["--dry-run"] if dry_run else []
        if given:
            raise UserError(f"--pairs TABLE asks no model and costs nothing; leave {', '.join(given)} out.")
        audited = api.audit(pairs=read_shown(pairs), pair=pair or [], id_column=id_column, source=pairs.name)
    else:
        engine = default_engine()
        tables = {}
        if test is not None:
            tables["test"] = api.limited(read_shown(test), limit)
        if validation is not None:
            tables["validation"] = read_shown(validation)
        chains = api.chains_of(
            named,
            tables.get("test"),
            validation=tables.get("validation"),
            train=None if train is None else read_shown(train),
            serving=None if spec is None else api.read_spec(spec),
        )
        options = RunOptions.within(budget)
        agree_to(api.plan_chains(chains, options), yes=yes, dry_run=dry_run, json=json)
        with draining(engine):
            audited = api.audit_chains(chains, options, tables=tables)
    if json:
        print_json(audited.audit.to_document() | {"run_id": audited.run_id})
    else:
        audited.show()
    print_end(engine.report if pairs is None else None)
