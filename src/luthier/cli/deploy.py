"""luthier deploy: a release that answers HTTP, and what becomes of it."""

from __future__ import annotations

import sys
from collections.abc import Callable
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer
from typer.core import TyperGroup

from luthier.cli.options import EndpointFile, Json, Yes
from luthier.cli.serve import DEFAULT_PORT, Budget, Host, Keys, ModelUri, NoKey, Rows, Timeout, Trust, agreed_endpoint

if TYPE_CHECKING:
    from luthier.api import Deployment

__all__ = ["deploy"]

START = "start"


class _ModelOrCommand(TyperGroup):
    """`luthier deploy MODEL_URI ...` is `luthier deploy start MODEL_URI ...`: the verb itself takes a model."""

    def parse_args(self, ctx: Any, args: list[str]) -> list[str]:
        if args and args[0] not in self.commands and args[0] not in ("-h", "--help"):
            args = [START, *args]
        return super().parse_args(ctx, args)


deploy = typer.Typer(
    name="deploy",
    cls=_ModelOrCommand,
    help="Deploy a packaged model. Type: luthier deploy MODEL_URI --target TARGET --name NAME. Its options: luthier "
    "deploy start --help.",
    rich_markup_mode=None,
    no_args_is_help=True,
)

Name = Annotated[str, typer.Argument(metavar="NAME", help="Name of a deployment, as `luthier deploy status` lists it.")]


class TargetName(StrEnum):
    """Where a deployment runs."""

    local = "local"
    container = "container"
    kubernetes = "kubernetes"
    azure_ml = "azure-ml"
    azure_openai = "azure-openai"


@deploy.command(START)
def start(
    model_uri: ModelUri,
    target: Annotated[
        TargetName, typer.Option("--target", help="local: this machine, supervised. The others: docs/deploy.md.")
    ],
    name: Annotated[
        str | None, typer.Option("--name", metavar="NAME", help="Name of the deployment; that of the model by default.")
    ] = None,
    host: Host = "127.0.0.1",
    port: Annotated[int, typer.Option("--port", metavar="PORT", min=1, max=65535, help="Port.")] = DEFAULT_PORT,
    keys: Keys = None,
    no_key: NoKey = False,
    timeout: Timeout = 60.0,
    most_rows: Rows = 10_000,
    budget_per_day: Budget = None,
    to: Annotated[
        Path | None, typer.Option("--to", metavar="FOLDER", help="Folder for the files that are made.")
    ] = None,
    config: Annotated[
        list[str] | None,
        typer.Option("--config", metavar="KEY=VALUE", help="A setting of the target. Can be repeated."),
    ] = None,
    endpoint: EndpointFile = None,
    yes: Yes = False,
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="Print every step, file and request; change and send nothing.")
    ] = False,
    trust: Trust = False,
    json: Json = False,
) -> None:
    """Deploy or update; `start` need not be typed.

    An update is checked before it takes over from the model that answers so far.
    """
    from luthier import api
    from luthier.cli.printing import print_end, print_json
    from luthier.cli.spending import agree_to_hosting
    from luthier.terminals import visible

    # A tuned model is given by its spec as well, and is asked where its job says.
    is_tuned = target is TargetName.azure_openai
    moved = None if is_tuned else agreed_endpoint(model_uri, endpoint, yes=yes, trust=trust)
    setup = api.DeploymentSetup(
        model_uri,
        target.value,
        name=name,
        settings=api.ServerSettings(
            host=host,
            port=port,
            keys_file=keys,
            without_key=no_key,
            timeout_seconds=timeout,
            most_rows=most_rows,
            budget_usd_per_day=budget_per_day,
        ),
        endpoint=moved or {},
        trust=trust,
        to=to,
        config=api.settings_of(config or []),
    )
    plan = setup.plan()
    if dry_run:
        if json:
            print_json(plan.to_document())
        else:
            print(visible(str(plan)))
        print("dry run: nothing was changed or sent.", file=sys.stderr)
        raise typer.Exit
    print(visible("\n".join(plan.steps)), file=sys.stderr)
    if plan.usd_per_hour != 0:
        ended_by = f"luthier deploy {model_uri} --target {target.value} --name {plan.request.name} ... operation=delete"
        agree_to_hosting(plan.usd_per_hour, yes=yes, ended_by=ended_by)
    deployed = setup.run()
    if json:
        print_json(deployed.to_document())
    else:
        print(visible(str(deployed)))
    print_end()


@deploy.command()
def status(
    name: Annotated[
        str | None, typer.Argument(metavar="[NAME]", help="Only this one, with what happened to it.")
    ] = None,
    json: Json = False,
) -> None:
    """Show deployments of this machine.

    Where they answer, with which version, and how they are.
    """
    from luthier import api
    from luthier.cli.printing import print_json
    from luthier.terminals import visible

    if api.keep_running():
        print("the controller of the deployments did not run; it was started.", file=sys.stderr)
    found = api.list_deployments() if name is None else [api.deployment(name)]
    if json:
        print_json([one.to_document() for one in found])
    elif name is None:
        print(visible(api.deployments_table(found)))
    else:
        print(visible(found[0].description))


@deploy.command()
def logs(
    name: Name,
    follow: Annotated[bool, typer.Option("--follow", "-f", help="Go on with what is written from now on.")] = False,
    lines: Annotated[int, typer.Option("--lines", "-n", metavar="N", min=0, help="Last lines to begin with.")] = 40,
) -> None:
    """Print the log of a deployment. It holds no texts."""
    from luthier import api
    from luthier.terminals import visible

    for line in api.deployment(name).log_lines(lines, follow=follow):
        print(visible(line))


@deploy.command()
def rollback(
    name: Name,
    to: Annotated[
        int | None, typer.Option("--to", metavar="REVISION", help="Revision to go back to; the one before by default.")
    ] = None,
    json: Json = False,
) -> None:
    """Go back to an earlier revision of a deployment."""
    _change(name, lambda found: found.rollback(to), json)


@deploy.command()
def stop(name: Name, json: Json = False) -> None:
    """Stop a deployment, and keep it.

    The requests it is answering are finished. `luthier deploy MODEL_URI` starts it again.
    """
    _change(name, lambda found: found.stop(), json)


@deploy.command()
def delete(
    name: Name, yes: Annotated[bool, typer.Option("--yes", "-y", help="Do not ask before deleting.")] = False
) -> None:
    """Remove a deployment, its keys and its log."""
    from luthier import api
    from luthier.cli.spending import agree

    agree(f"Delete {name} with its revisions, keys and log?", yes=yes)
    print(api.deployment(name).delete())


def _change(name: str, act: Callable[[Deployment], str], json: bool) -> None:
    from luthier import api
    from luthier.cli.printing import print_json

    found = api.deployment(name)
    said = act(found)
    if json:
        print_json(found.to_document())
    else:
        print(said)
