"""luthier promote: move an alias, if the figures say so."""

from __future__ import annotations

from typing import Annotated

import typer

from luthier.cli.options import Json

__all__ = ["promote"]


def promote(
    name: Annotated[
        str, typer.Argument(metavar="NAME[/VERSION]", help="Registered model; its newest version by default.")
    ],
    alias: Annotated[str, typer.Option("--alias", metavar="ALIAS", help="Alias to move, such as champion.")],
    require: Annotated[
        list[str] | None,
        typer.Option(
            "--require", metavar="'METRIC >= ALIAS|NUMBER'", help="Exit code 5 if it does not hold. Can be repeated."
        ),
    ] = None,
    json: Json = False,
) -> None:
    """Move an alias to a version of a model. Every requirement must hold on the same rows."""
    from dataclasses import asdict

    from luthier import api
    from luthier.cli.printing import print_end, print_json

    model, _, version = name.partition("/")
    moved = api.promote(model, alias=alias, version=version or None, require=require or [])
    if json:
        print_json(asdict(moved))
        return
    for gate in moved.gates:
        print(f"met: {gate}")
    before = f" (was version {moved.previous})" if moved.previous else ""
    print(f"models:/{moved.name}@{moved.alias} is version {moved.version}{before}")
    print_end()
