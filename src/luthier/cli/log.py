"""luthier log: package a spec, or what a run measured, as an MLflow model."""

from __future__ import annotations

from typing import Annotated

import typer

from luthier.cli.options import Alias, BudgetUsd, DryRun, EndpointFile, Json, Register, Train, Yes

__all__ = ["log"]


def log(
    what: Annotated[
        str, typer.Argument(metavar="SPEC|runs:/RUN_ID", help="A spec file, or the run of a compared spec.")
    ],
    train: Train = None,
    register_as: Register = None,
    alias: Alias = None,
    budget: BudgetUsd = None,
    endpoint: EndpointFile = None,
    yes: Yes = False,
    dry_run: DryRun = False,
    json: Json = False,
) -> None:
    """Package a spec as an MLflow model. It carries its prompt and endpoint; the model URI is printed."""
    from dataclasses import asdict

    from luthier import api
    from luthier.cli.printing import print_end, print_json, read_shown, spec_of
    from luthier.cli.spending import agree_to
    from luthier.endpoints import RunOptions, default_engine, draining

    api.check_names(register_as, alias)
    subject: str | api.FitSetup = what
    if not what.startswith("runs:/"):
        subject = api.FitSetup(spec_of(what, endpoint), read_shown(train) if train else None)
        agree_to(subject.plan(RunOptions.within(budget)), yes=yes, dry_run=dry_run, json=json)
    engine = default_engine()
    with draining(engine):
        model = api.log(subject, register=register_as, alias=alias, budget_usd=budget)
    assert model.logged is not None
    if json:
        print_json(asdict(model.logged))
    else:
        logged = model.logged
        print(model.uri if logged.name is None else f"{model.uri} is {logged.name} version {logged.version}")
    print_end(engine.report)
