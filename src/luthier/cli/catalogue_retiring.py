"""luthier catalogue retiring: what asks a model that retires, and what could replace it."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from luthier.cli.options import BudgetUsd, DryRun, Json, Limit, Train, Yes

if TYPE_CHECKING:
    from luthier.api import ProposedReplacements, RetiringModels

__all__ = ["retiring"]


def retiring(
    model: Annotated[
        str | None, typer.Argument(metavar="[MODEL]", help="NAME, NAME@ALIAS or NAME/VERSION; all when absent.")
    ] = None,
    within: Annotated[int, typer.Option("--within", metavar="DAYS", min=0, help="How far ahead is looked.")] = 180,
    task: Annotated[str | None, typer.Option("--task", metavar="NAME", help="Models of this task only.")] = None,
    check: Annotated[
        bool, typer.Option("--check", help="Exit code 5 if something in use stops answering within the days.")
    ] = False,
    replace: Annotated[
        bool, typer.Option("--replace", help="Measure what could replace the versions in use, and propose one model.")
    ] = False,
    test: Annotated[
        Path | None, typer.Option("--test", metavar="TABLE", help="With --replace: labelled rows to measure on.")
    ] = None,
    train: Train = None,
    models: Annotated[
        list[str] | None,
        typer.Option("--model", metavar="NAME", help="With --replace: a further model to try. Can be repeated."),
    ] = None,
    most: Annotated[
        int, typer.Option("--most", metavar="N", min=0, help="With --replace: most models of the catalogue to try.")
    ] = 4,
    folder: Annotated[
        Path, typer.Option("--folder", metavar="FOLDER", help="With --replace: where the proposed spec is written.")
    ] = Path("models"),
    limit: Limit = None,
    budget: BudgetUsd = None,
    yes: Yes = False,
    dry_run: DryRun = False,
    json: Json = False,
) -> None:
    """Tell which registered versions and deployments ask a model that retires, and when. Asks no service by itself."""
    from luthier import api
    from luthier.cli.printing import print_json
    from luthier.errors import UserError

    if replace and test is None:
        raise UserError("--replace measures on labelled rows; add --test TABLE.")
    if not replace and (test is not None or models):
        raise UserError("--test and --model are for --replace; add it, or leave them out.")
    found = api.retiring(within, model=model, task=task)
    if not json:
        found.show()
    if replace:
        assert test is not None
        proposed = _replaced(found, test, train, models or [], most, limit, budget, yes, dry_run, json).write(folder)
        if json:
            print_json(found.document() | {"replacements": proposed.document()})
        else:
            proposed.show()
    elif json:
        print_json(found.document())
    if check:
        found.check()


def _replaced(
    found: RetiringModels,
    test: Path,
    train: Path | None,
    models: list[str],
    most: int,
    limit: int | None,
    budget: float | None,
    yes: bool,
    dry_run: bool,
    json: bool,
) -> ProposedReplacements:
    from luthier import api
    from luthier.cli.printing import print_end, read_shown
    from luthier.cli.spending import agree_to
    from luthier.endpoints import RunOptions, default_engine, draining

    table = api.limited(read_shown(test), limit)
    training = read_shown(train) if train else None
    setup = found.setup({test.name: table}, training, models=models, most=most)
    options = RunOptions.within(budget)
    agree_to(setup.plan(options), yes=yes, dry_run=dry_run, json=json)
    engine = default_engine()
    with draining(engine):
        proposed = api.ProposedReplacements(setup.run(options))
    print_end(engine.report)
    return proposed
