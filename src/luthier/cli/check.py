"""luthier check: does each spec work, by one cheap call per endpoint and way of asking."""

from __future__ import annotations

import sys

import typer

from luthier.cli.options import EndpointFile, Json, Specs

__all__ = ["check"]


def check(specs: Specs, endpoint: EndpointFile = None, json: Json = False) -> None:
    """Try specs with one cheap call each. Says what works (key, model, log-probabilities, price) and what to change."""
    from luthier import api
    from luthier.cli.printing import print_json, specs_of
    from luthier.endpoints import Report
    from luthier.terminals import visible

    report = Report()
    checked = api.check_specs(specs_of(specs, endpoint), report)
    if json:
        print_json([one.document() for one in checked])
    else:
        print(visible("\n\n".join(str(one) for one in checked)))
    if report.requests:
        print(report.spending, file=sys.stderr)
    if not all(one.ok for one in checked):
        raise typer.Exit(2)
