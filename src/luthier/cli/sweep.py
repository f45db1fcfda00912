"""luthier sweep: searches the settings of a spec, and what can be done with a search."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer
from typer.core import TyperGroup

from luthier.cli.options import Alias, BudgetUsd, DryRun, Json, Register, Train, Yes

if TYPE_CHECKING:
    from luthier.api import Sweep, SweepSetup

__all__ = ["sweep"]

RUN = "run"


class _SweepFileOrCommand(TyperGroup):
    """`luthier sweep FILE ...` is `luthier sweep run FILE ...`: the verb itself takes a sweep file."""

    def parse_args(self, ctx: Any, args: list[str]) -> list[str]:
        if args and args[0] not in self.commands and args[0] not in ("-h", "--help"):
            args = [RUN, *args]
        return super().parse_args(ctx, args)


sweep = typer.Typer(
    name="sweep",
    cls=_SweepFileOrCommand,
    help="Search the settings of a spec. Type: luthier sweep FILE --train TABLE --validation TABLE --trials N.",
    rich_markup_mode=None,
    no_args_is_help=True,
)

Name = Annotated[str | None, typer.Argument(metavar="NAME", help="Name of the sweep; the newest one by default.")]
Storage = Annotated[
    str | None,
    typer.Option(
        "--storage", metavar="URL", help="Database that several machines share, as in postgresql://HOST/DATABASE."
    ),
]
Trials = Annotated[
    int | None,
    typer.Option("--trials", metavar="N", min=1, help="Most trials, on all machines together; 20 by default."),
]
Concurrency = Annotated[
    int | None,
    typer.Option("--concurrency", metavar="N", min=1, help="Most trials at a time on this machine; 4 by default."),
]


@sweep.command(RUN)
def run(
    file: Annotated[str, typer.Argument(metavar="FILE", help="A sweep file: spec, space, objective.")],
    train: Train = None,
    validation: Annotated[
        Path | None, typer.Option("--validation", metavar="TABLE", help="Labelled rows that trials are measured on.")
    ] = None,
    holdout: Annotated[
        Path | None,
        typer.Option(
            "--holdout", metavar="TABLE", help="Labelled rows for the winner; split off the validation rows by default."
        ),
    ] = None,
    trials: Trials = None,
    budget: BudgetUsd = None,
    concurrency: Concurrency = None,
    storage: Storage = None,
    warm_start: Annotated[
        str | None,
        typer.Option(
            "--warm-start",
            metavar="FILE|RUN|imported",
            help="Earlier trials: a csv file, the run of a sweep, or all imported jobs.",
        ),
    ] = None,
    yes: Yes = False,
    dry_run: DryRun = False,
    json: Json = False,
) -> None:
    """Search for the best settings. Typed again, here or on another machine, the same command goes on."""
    from luthier import api
    from luthier.cli.printing import read_shown
    from luthier.errors import DataError

    settings = api.read_sweep(file)
    if validation is None:
        raise DataError("no rows to measure trials on; add --validation TABLE.")
    paths = {"train": train, "validation": validation, "holdout": holdout}
    tables = {name: None if path is None else read_shown(path) for name, path in paths.items() if name != "validation"}
    setup = api.SweepSetup(
        settings,
        tables["train"],
        read_shown(validation),
        tables["holdout"],
        storage=storage,
        paths={name: str(path.resolve()) for name, path in paths.items() if path is not None},
    )
    _search(
        setup,
        trials=trials,
        budget_usd=budget,
        concurrency=concurrency,
        warm_start=warm_start,
        yes=yes,
        dry_run=dry_run,
        json=json,
    )


@sweep.command()
def status(name: Name = None, storage: Storage = None, json: Json = False) -> None:
    """Show how far a sweep is, and every remote job with its state and bill."""
    from luthier import api

    _print_status(api.open_sweep(name, storage), json)


@sweep.command()
def stop(name: Name = None, storage: Storage = None, json: Json = False) -> None:
    """End a sweep on every machine. Returns when its services have confirmed that no job runs."""
    from luthier import api

    _print_status(api.stop_sweep(name, storage), json)


@sweep.command()
def resume(
    name: Name = None,
    trials: Trials = None,
    budget: BudgetUsd = None,
    concurrency: Concurrency = None,
    storage: Storage = None,
    yes: Yes = False,
    dry_run: DryRun = False,
    json: Json = False,
) -> None:
    """Go on with a sweep that was interrupted or stopped, with the tables it was started with."""
    from luthier import api

    setup = api.SweepSetup.of_study(name, storage)
    _search(setup, trials=trials, budget_usd=budget, concurrency=concurrency, yes=yes, dry_run=dry_run, json=json)


@sweep.command()
def best(
    name: Name = None,
    log: Annotated[bool, typer.Option("--log", help="Package the best trial's model as an MLflow model.")] = False,
    register_as: Register = None,
    alias: Alias = None,
    storage: Storage = None,
    json: Json = False,
) -> None:
    """Print the best trial: its settings, and its figures on the rows it was chosen by and on others."""
    from dataclasses import asdict

    from luthier import api
    from luthier.cli.printing import print_end, print_json
    from luthier.errors import UserError

    if not log and (register_as is not None or alias is not None):
        raise UserError("--register and --alias are for the model that --log packages; add --log.")
    api.check_names(register_as, alias)
    found = api.open_sweep(name, storage)
    document = found.best_document()
    if not json:
        found.show_best()
    if log:
        model = api.log(f"runs:/{found.best_run_id}", register=register_as, alias=alias)
        assert model.logged is not None
        logged = model.logged
        document["logged"] = asdict(logged)
        if not json:
            print(model.uri if logged.name is None else f"{model.uri} is {logged.name} version {logged.version}")
    if json:
        print_json(document)
    print_end()


def _search(
    setup: SweepSetup,
    *,
    trials: int | None,
    budget_usd: float | None,
    concurrency: int | None,
    warm_start: str | None = None,
    yes: bool,
    dry_run: bool,
    json: bool,
) -> None:
    from luthier.cli.printing import print_end, print_json
    from luthier.cli.spending import agree_to_sweep
    from luthier.endpoints import RunOptions, default_engine
    from luthier.errors import BudgetReached

    plan = setup.plan(trials=trials, budget_usd=budget_usd, concurrency=concurrency)
    agree_to_sweep(plan, yes=yes, dry_run=dry_run, json=json)
    engine = default_engine()
    found = setup.run(plan, RunOptions.within(None), warm_start=warm_start)
    if json:
        print_json(found.document())
    else:
        found.show()
    print_end(engine.report)
    if found.ended_early is not None:
        raise BudgetReached(found.ended_early)


def _print_status(found: Sweep, json: bool) -> None:
    from luthier.cli.printing import print_end, print_json

    if json:
        print_json(found.document())
    else:
        found.show_status()
    print_end()
