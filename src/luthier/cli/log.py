"""luthier log: package a spec, or what a run measured, as an MLflow model."""

from __future__ import annotations

from typing import Annotated

import typer

from luthier.cli.options import Alias, BudgetUsd, EndpointFile, Json, Register, Train

__all__ = ["register"]


def log(
    what: Annotated[
        str, typer.Argument(metavar="SPEC|runs:/RUN_ID", help="A spec file, or the run of a compared spec.")
    ],
    train: Train = None,
    register_as: Register = None,
    alias: Alias = None,
    budget: BudgetUsd = None,
    endpoint: EndpointFile = None,
    json: Json = False,
) -> None:
    """Package as one MLflow model that carries its prompt and endpoint; prints the model URI."""
    from dataclasses import asdict

    from luthier import api
    from luthier.cli.printing import print_json, print_where
    from luthier.endpoints import default_engine, draining
    from luthier.tables import read_table
    from luthier.techniques import read_endpoint, read_spec

    subject = what if what.startswith("runs:/") else read_spec(what, read_endpoint(endpoint) if endpoint else None)
    with draining(default_engine()):
        training = read_table(train) if train else None
        model = api.log(subject, train=training, register=register_as, alias=alias, budget_usd=budget)
    assert model.logged is not None
    if json:
        print_json(asdict(model.logged))
        return
    print(model.uri)
    print_where()


def register(app: typer.Typer) -> None:
    """Adds the verb."""
    app.command()(log)
