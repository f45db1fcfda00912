"""luthier fit: train what a technique trains itself."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from luthier.cli.options import BudgetUsd, DryRun, EndpointFile, Json, OneSpec, Train, Yes

__all__ = ["fit"]


def fit(
    spec: OneSpec,
    train: Train = None,
    to: Annotated[
        Path | None, typer.Option("--to", metavar="FOLDER", help="Also write the fitted folder here.")
    ] = None,
    budget: BudgetUsd = None,
    endpoint: EndpointFile = None,
    yes: Yes = False,
    dry_run: DryRun = False,
    json: Json = False,
) -> None:
    """Fit a spec on labelled rows. Trains weights, chooses examples or calibrates, as its technique needs."""
    from luthier import api
    from luthier.cli.printing import print_end, print_json, read_shown, spec_of
    from luthier.cli.spending import agree_to
    from luthier.endpoints import RunOptions, default_engine, draining

    if to is not None:
        # Before anything is paid.
        api.check_folder(to)
    setup = api.FitSetup(spec_of(spec, endpoint), read_shown(train) if train else None)
    options = RunOptions.within(budget)
    agree_to(setup.plan(options), yes=yes, dry_run=dry_run, json=json)
    engine = default_engine()
    with draining(engine):
        fitted, run_id = setup.fit_and_log(options)
    if to is not None:
        fitted.save(to)
    if json:
        folder = None if to is None else str(to)
        print_json({"spec": setup.spec.name, "digest": fitted.digest, "run_id": run_id, "folder": folder})
    else:
        api.show_fit(fitted)
        if to is not None:
            print(f"written to {to}")
        print(f"fitted {setup.spec.name}: digest {fitted.digest[:12]}, run {run_id}")
        print(f"package it with: luthier log runs:/{run_id} --register NAME --alias champion")
    print_end(engine.report)
