"""luthier check: does each spec work, by one cheap call per endpoint and way of asking."""

from __future__ import annotations

import typer

from luthier.cli.options import EndpointFile, Json, Specs

__all__ = ["register"]


def check(specs: Specs, endpoint: EndpointFile = None, json: Json = False) -> None:
    """Try specs with one cheap call each. Says what works (key, model, log-probabilities, price) and what to change."""
    from luthier.cli.printing import print_json, print_staying
    from luthier.cli.spending import print_spent
    from luthier.engine.report import Report
    from luthier.experiments.checking import check_specs
    from luthier.techniques import read_endpoint, read_specs
    from luthier.terminals import visible

    overrides = read_endpoint(endpoint) if endpoint else None
    chosen = read_specs(specs, overrides)
    print_staying(chosen, overrides, endpoint)
    report = Report()
    checked = check_specs(chosen, report)
    if json:
        print_json([one.document() for one in checked])
    else:
        print(visible("\n\n".join(str(one) for one in checked)))
    print_spent(report)
    if not all(one.ok for one in checked):
        raise typer.Exit(2)


def register(app: typer.Typer) -> None:
    """Adds the verb."""
    app.command()(check)
