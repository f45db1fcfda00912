"""luthier preview: what would be sent, without sending it."""

from __future__ import annotations

from typing import Annotated

import typer

from luthier.cli.options import EndpointFile, OneSpec, Test, Train

__all__ = ["preview"]


def preview(
    spec: OneSpec,
    test: Test,
    train: Train = None,
    rows: Annotated[int, typer.Option("--rows", metavar="N", min=1, help="How many rows to show.")] = 3,
    endpoint: EndpointFile = None,
) -> None:
    """Show prompts as they would be sent. Says tokens and price; sends nothing."""
    from luthier import api
    from luthier.cli.printing import read_shown, spec_of

    print(api.preview(spec_of(spec, endpoint), read_shown(test).head(rows), read_shown(train) if train else None))
