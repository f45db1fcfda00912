"""luthier quickstart: the whole way on the embedded default."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

__all__ = ["quickstart"]


def quickstart(
    folder: Annotated[Path, typer.Option("--folder", help="Where data/ and models/ go.")] = Path(),
    type_name: Annotated[
        str | None,
        typer.Option("--type", metavar="TYPE", help="On the example table of a task type of docs/tasks.md."),
    ] = None,
    example: Annotated[
        str | None, typer.Option("--example", metavar="NAME", help="On this example table; an unknown NAME lists them.")
    ] = None,
) -> None:
    """Run the whole way on sample reviews. Compares, packages, scores; needs no key and no GPU; takes minutes."""
    from luthier.endpoints import default_engine, draining
    from luthier.starting.example_tables import example_table
    from luthier.starting.quickstart import REVIEWS, run_example, run_quickstart

    with draining(default_engine()):
        if example is None and type_name in (None, REVIEWS):
            run_quickstart(folder)
        else:
            run_example(example_table(type_name, example), folder)
