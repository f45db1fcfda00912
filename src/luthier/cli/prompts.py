"""luthier prompts: every prompt that was measured."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Annotated

import typer

from luthier.cli.options import Json

__all__ = ["prompts"]


def prompts(
    spec: Annotated[
        str | None,
        typer.Argument(
            metavar="[SPEC]",
            help="A spec's file or name, or one prompt as '#12'; with what it was made from. All prompts by default.",
        ),
    ] = None,
    task: Annotated[
        str | None, typer.Option("--task", metavar="NAME", help="The task, where the store has several.")
    ] = None,
    metric: Annotated[
        str | None, typer.Option("--metric", metavar="METRIC", help="Shown instead of what comparisons rank by.")
    ] = None,
    diff: Annotated[bool, typer.Option("--diff", help="Show what changed from prompt to prompt.")] = False,
    limit: Annotated[
        int, typer.Option("--limit", metavar="N", min=1, help="Most figures of a table, and most diffs.")
    ] = 20,
    html: Annotated[
        Path | None, typer.Option("--html", metavar="FILE", help="Write a page with all texts, changes and costs.")
    ] = None,
    json: Json = False,
) -> None:
    """List every prompt that was measured. Shows figures, what changed, what it was made from and what it cost."""
    from luthier import api
    from luthier.cli.printing import print_end, print_json

    file = None if html is None else api.check_page(html)
    found = api.prompts(spec, task=task, metric=metric, limit=limit)
    if json:
        print_json(found.document())
    else:
        found.show(diff=diff)
    if file is not None:
        written = found.write_page(file)
        print(f"\npage: {written} ({written.stat().st_size / 1000:,.0f} kB)", file=sys.stderr if json else sys.stdout)
    print_end()
