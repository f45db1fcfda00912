"""luthier catalogue: which models could be used, and all that is known of one."""

from __future__ import annotations

from collections.abc import Callable
from typing import Annotated

import typer

from luthier.cli.catalogue_rank import rank
from luthier.cli.catalogue_retiring import retiring
from luthier.cli.options import Json

__all__ = ["catalogue"]

catalogue = typer.Typer(
    name="catalogue",
    help="Choose a base model: by task, price, limits, fine-tuning and retirement. Works offline.",
    rich_markup_mode=None,
    no_args_is_help=True,
)

Provider = Annotated[
    str | None, typer.Option("--provider", metavar="NAME", help="One provider, or all those of the price list.")
]


@catalogue.command("list")
def list_(
    task: Annotated[
        str | None,
        typer.Option(
            "--task",
            metavar="TASK",
            help="classification, rating, extraction, similarity, generation or embedding.",
        ),
    ] = None,
    provider: Provider = None,
    fine_tunable: Annotated[bool, typer.Option("--fine-tunable", help="Those that can be fine-tuned today.")] = False,
    logprobs: Annotated[bool, typer.Option("--logprobs", help="Those that give log-probabilities.")] = False,
    json_mode: Annotated[bool, typer.Option("--json-mode", help="Those with a JSON mode.")] = False,
    decisions: Annotated[
        bool, typer.Option("--decisions", help="Those that answer typed questions with probabilities.")
    ] = False,
    batch: Annotated[bool, typer.Option("--batch", help="Those that a Batch API makes cheaper.")] = False,
    most_usd: Annotated[
        float | None, typer.Option("--most-usd", metavar="USD", min=0, help="Most for a million input tokens.")
    ] = None,
    least_context: Annotated[
        int | None, typer.Option("--least-context", metavar="TOKENS", min=1, help="Fewest tokens of context.")
    ] = None,
    retired: Annotated[bool, typer.Option("--retired", help="Also those that have retired.")] = False,
    everything: Annotated[
        bool, typer.Option("--everything", help="Also those of which the price list has a price and nothing else.")
    ] = False,
    json: Json = False,
) -> None:
    """List models, cheapest first, and where what is said of them is from. Asks no service."""
    from luthier import api

    found = api.catalogue(
        task,
        provider,
        fine_tunable=fine_tunable,
        log_probabilities=logprobs,
        json_mode=json_mode,
        decisions=decisions,
        batch=batch,
        most_usd=most_usd,
        least_context=least_context,
        retired=retired,
        everything=everything,
    )
    if json:
        from luthier.cli.printing import print_json

        print_json(found.document())
    else:
        found.show()


@catalogue.command()
def show(
    name: Annotated[str, typer.Argument(metavar="MODEL", help="In the spelling of any provider.")],
    provider: Provider = None,
    json: Json = False,
) -> None:
    """Print all that is known of a model at each provider, each fact with its source, and how it is asked."""
    from luthier import api

    found = api.describe_model(name, provider)
    if json:
        from luthier.cli.printing import print_json

        print_json(found.document())
    else:
        found.show()


MORE: tuple[Callable[..., None], ...] = (rank, retiring)
"""Commands of the group with files of their own."""

for verb in MORE:
    catalogue.command()(verb)
