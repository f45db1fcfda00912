"""luthier batches: which batches run at services, and how one is given up."""

from __future__ import annotations

from typing import Annotated

import typer

from luthier.cli.options import Json

__all__ = ["batches"]

batches = typer.Typer(
    name="batches",
    help="Show or cancel what was submitted with --mode batch.",
    rich_markup_mode=None,
    no_args_is_help=True,
)


@batches.command("list")
def show(json: Json = False) -> None:
    """Print the batches whose answers are still to come, as they were when they were last looked at."""
    from luthier.cli.printing import print_json
    from luthier.endpoints import open_batches
    from luthier.terminals import visible

    found = open_batches()
    if json:
        print_json([batch.document() for batch in found])
        return
    for batch in found:
        print(visible(f"{batch.token}  {batch.purpose}: {batch.summary}"))
    if not found:
        print("no batch is open")


@batches.command()
def cancel(
    token: Annotated[str, typer.Argument(help="As `luthier batches list` prints it, or the service's name for it.")],
    forget: Annotated[
        bool, typer.Option("--forget", help="Do not ask the service; what it has answered is lost.")
    ] = False,
    json: Json = False,
) -> None:
    """Cancel a batch. What the service has answered until then is billed, and is kept."""
    from luthier.cli.printing import print_json
    from luthier.endpoints import cancel_batch
    from luthier.errors import Partial
    from luthier.terminals import visible

    batch = cancel_batch(token, forget=forget)
    if json:
        print_json(batch.document())
    else:
        print(visible(batch.summary))
    if batch.is_open:
        raise Partial("the service is still ending it. Type the same again in some minutes to collect its answers.")
