"""luthier fit: train what a technique trains itself."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from luthier.cli.options import BudgetUsd, DryRun, EndpointFile, OneSpec, Train, Yes

__all__ = ["register"]


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
) -> None:
    """Fit a spec on labelled rows. Trains weights, chooses examples or calibrates, as its technique needs."""
    from luthier import api
    from luthier.cli.printing import print_where, read_shown
    from luthier.cli.spending import agree_to, print_spent
    from luthier.engine.engine import default_engine
    from luthier.engine.interrupts import draining
    from luthier.experiments.fits import training_rows
    from luthier.outputs import check_folder
    from luthier.plans import plan_fit
    from luthier.reporting.fit_report import fit_sections
    from luthier.reporting.terminal import show
    from luthier.techniques import read_endpoint, read_spec

    if to is not None:
        # Before anything is paid.
        check_folder(to)
    chosen = read_spec(spec, read_endpoint(endpoint) if endpoint else None)
    table = read_shown(train) if train else None
    engine = default_engine()
    agree_to(plan_fit(chosen, training_rows(chosen, table), engine), budget_usd=budget, yes=yes, dry_run=dry_run)
    with draining(engine):
        fitted, run_id = api.fit_and_keep(chosen, table, budget_usd=budget)
    show(*fit_sections(chosen.tables(fitted), fitted.state.get("notes", ())))
    if to is not None:
        fitted.save(to)
        print(f"written to {to}")
    print(f"fitted {chosen.name}: digest {fitted.digest[:12]}, run {run_id}")
    print(f"package it with: luthier log runs:/{run_id} --register NAME --alias champion")
    print_spent(engine.report)
    print_where()


def register(app: typer.Typer) -> None:
    """Adds the verb."""
    app.command()(fit)
