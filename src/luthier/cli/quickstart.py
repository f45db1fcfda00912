"""luthier quickstart: the whole way on the embedded default."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

__all__ = ["quickstart"]


def quickstart(
    folder: Annotated[Path, typer.Option("--folder", help="Where data/ and models/ go.")] = Path(),
) -> None:
    """Run the whole way on sample reviews. Compares, packages, scores; needs no key and no GPU; takes minutes."""
    from luthier.endpoints import default_engine, draining
    from luthier.starting.quickstart import run_quickstart

    with draining(default_engine()):
        run_quickstart(folder)
