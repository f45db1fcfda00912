"""luthier report: what was measured, as one page."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Annotated, TextIO

import typer

from luthier.cli.options import Json

__all__ = ["report"]

PAGE = "luthier-report.html"


def report(
    run: Annotated[
        str | None,
        typer.Argument(
            metavar="[RUN]",
            help="Id of a run, or a registered model (models:/NAME@ALIAS). Everything of the task by default.",
        ),
    ] = None,
    trials: Annotated[
        Path | None,
        typer.Option("--trials", metavar="TABLE", help="A table of trials from anywhere, a line each, instead."),
    ] = None,
    metric: Annotated[
        str | None,
        typer.Option("--metric", metavar="COLUMN", help="Column that says how good a trial is; found by its name."),
    ] = None,
    task: Annotated[
        str | None, typer.Option("--task", metavar="NAME", help="The task, where the store has several.")
    ] = None,
    to: Annotated[
        Path | None, typer.Option("--to", metavar="FILE", help=f"The page to write; {PAGE} by default.")
    ] = None,
    open_: Annotated[bool, typer.Option("--open", help="Open the page in the browser.")] = False,
    json: Json = False,
) -> None:
    """Write one page of what was measured. Opens from disk, prints, and needs no network."""
    from luthier import api
    from luthier.cli.printing import print_end, print_json, print_saved
    from luthier.errors import UserError

    if json and open_ and to is None:
        raise UserError("--json prints the data and writes no page; add --to FILE, or leave --open out.")
    file = None if json and to is None else api.check_page(to or Path(PAGE))
    if trials is not None:
        print_saved(trials)
    page = api.report(run, task=task, trials=trials, metric=metric)
    if json:
        print_json(page.document())
    else:
        page.show()
    if file is not None:
        written = page.write_page(file)
        size = written.stat().st_size / 1000
        print(f"\nreport: {written} ({size:,.0f} kB)", file=_beside(json))
        if open_:
            _open(written)
    if trials is None:
        print_end()


def _beside(json: bool) -> TextIO:
    """Where words go: beside the data where that is on standard output."""
    return sys.stderr if json else sys.stdout


def _open(file: Path) -> None:
    import webbrowser

    if not webbrowser.open(file.resolve().as_uri()):
        print(f"no browser could be started; open {file} yourself.", file=sys.stderr)
