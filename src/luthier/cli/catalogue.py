"""luthier catalogue: which models could be used, and all that is known of one."""

from __future__ import annotations

import sys
from collections.abc import Callable
from pathlib import Path
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

SHOWN_MODELS = 40
"""Models that the table shows unless told otherwise."""

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
            help="classification, rating, extraction, similarity, generation or embedding; or a task.yaml.",
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
        bool, typer.Option("--everything", help="Also those known by a price only, or not offered to your account.")
    ] = False,
    refresh: Annotated[
        bool, typer.Option("--refresh", help="First ask the accounts of this folder for the models they are offered.")
    ] = False,
    endpoint: Annotated[
        Path | None, typer.Option("--endpoint", metavar="FILE", help="With --refresh: ask this account only.")
    ] = None,
    first: Annotated[
        int, typer.Option("--first", metavar="N", min=0, help="How many the table shows; 0 is all.")
    ] = SHOWN_MODELS,
    json: Json = False,
) -> None:
    """List models, cheapest first, and where what is said of them is from. Asks no service without --refresh."""
    from luthier import api

    if refresh or endpoint is not None:
        ask_accounts(provider, endpoint)
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
        found.show(first=first or None)


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


def ask_accounts(provider: str | None, endpoint: Path | None) -> None:
    """Asks accounts for their models; what came of each is printed on stderr."""
    from luthier import api
    from luthier.endpoints import Endpoint
    from luthier.terminals import visible

    given = None if endpoint is None else Endpoint.model_validate(api.read_endpoint(endpoint)["endpoint"])
    for one in api.refresh_catalogue(provider, endpoint=given):
        place = one.account.where if not one.address else f"{one.account.where} ({one.address})"
        came = "not asked" if one.kept is None else f"{len(one.kept.models)} models, kept"
        print(visible(f"{place}: {came}{f': {one.why}' if one.why else ''}"), file=sys.stderr)


MORE: tuple[Callable[..., None], ...] = (rank, retiring)
"""Commands of the group with files of their own."""

for verb in MORE:
    catalogue.command()(verb)
