"""luthier serve: one process that answers HTTP with a packaged model, in the foreground."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import typer

from luthier.cli.options import EndpointFile, Yes

__all__ = [
    "DEFAULT_PORT",
    "Budget",
    "Host",
    "Keys",
    "ModelUri",
    "NoKey",
    "Rows",
    "Timeout",
    "Trust",
    "agreed_endpoint",
    "serve",
]

DEFAULT_PORT = 8080

ModelUri = Annotated[
    str, typer.Argument(metavar="MODEL_URI", help="models:/NAME@ALIAS, models:/NAME/VERSION, a folder.")
]
Host = Annotated[str, typer.Option("--host", metavar="ADDRESS", help="Address to listen on.")]
Keys = Annotated[
    Path | None, typer.Option("--keys", metavar="FILE", help="API keys to let in, as `luthier keys add` writes them.")
]
NoKey = Annotated[bool, typer.Option("--no-key", help="Let every program on this machine in, without a key.")]
BUDGET_HELP = (
    "Most that may be spent in a day, UTC. What was spent is kept by the model's name in LUTHIER_HOME/spending.db: a "
    "restart does not begin again, and servers of one model share the day's budget."
)
Timeout = Annotated[
    float, typer.Option("--timeout", metavar="SECONDS", min=0.1, help="Longest that a request may take.")
]
Rows = Annotated[int, typer.Option("--most-rows", metavar="N", min=1, help="Most rows in one request.")]
Budget = Annotated[float | None, typer.Option("--budget-per-day", metavar="USD", min=0, help=BUDGET_HELP)]
Trust = Annotated[
    bool, typer.Option("--trust", help="Let a model that Luthier did not log run the code it brings along.")
]


def serve(
    model_uri: ModelUri,
    host: Host = "127.0.0.1",
    port: Annotated[
        int, typer.Option("--port", metavar="PORT", min=0, max=65535, help="Port; 0 takes a free one.")
    ] = DEFAULT_PORT,
    keys: Keys = None,
    no_key: NoKey = False,
    timeout: Timeout = 60.0,
    most_rows: Rows = 10_000,
    budget_per_day: Budget = None,
    endpoint: EndpointFile = None,
    yes: Yes = False,
    trust: Trust = False,
    known_as: Annotated[
        str | None,
        typer.Option(
            "--known-as", metavar="URI", help="What the server calls the model, where MODEL_URI is a copy of that."
        ),
    ] = None,
) -> None:
    """Answer HTTP with a packaged model.

    It speaks MLflow's scoring protocol, and answers until Ctrl-C. Without --keys and --no-key, a key for this run is
    made and printed.
    """
    from luthier import api

    settings = api.ServerSettings(
        host=host,
        port=port,
        keys_file=keys,
        without_key=no_key,
        timeout_seconds=timeout,
        most_rows=most_rows,
        budget_usd_per_day=budget_per_day,
    )
    moved = agreed_endpoint(model_uri, endpoint, yes=yes, trust=trust)
    api.serve(model_uri, settings, endpoint=moved, trust=trust, known_as=known_as)


def agreed_endpoint(model_uri: str, endpoint: Path | None, *, yes: bool, trust: bool) -> dict[str, Any] | None:
    """The settings of an endpoint file for a model, and a question where the model sends a key to a strange address."""
    from luthier import api
    from luthier.cli.spending import agree_to_address

    if trust and endpoint is None:
        return None
    found, moved = api.find_model(model_uri, trust=trust), None
    if endpoint is not None:
        moved = api.read_endpoint_for(endpoint, found.fitted.spec)
        found = api.find_model(model_uri, moved, trust=trust)
    agree_to_address(found.sends_key, yes=yes or trust)
    return moved
