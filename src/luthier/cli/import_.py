"""luthier import: what already exists at a service, brought into MLflow."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Annotated, Any

import typer

from luthier.cli.import_mlflow import import_mlflow
from luthier.cli.options import Json, Register

__all__ = ["import_"]

import_ = typer.Typer(
    name="import",
    help="Bring what exists at a service into MLflow. Type: luthier import openai --dry-run.",
    rich_markup_mode=None,
    no_args_is_help=True,
)

ACCOUNTS = {
    "openai": "The jobs of an OpenAI account.",
    "azure": "The jobs of an Azure OpenAI resource.",
    "compatible": "The jobs of another server of the protocol.",
    "local": "The jobs of the embedded server.",
}
"""Commands by provider."""

EACH = "Each becomes an MLflow run with its own times. Typed again, it brings what is new or has changed."

Account = Annotated[
    Path | None, typer.Option("--endpoint", metavar="FILE", help="Endpoint file of the account; its model is not used.")
]
TaskFile = Annotated[
    Path | None, typer.Option("--task", metavar="FILE", help="What the jobs were trained for: a task file.")
]
Since = Annotated[
    str | None, typer.Option("--since", metavar="DATE", help="Leave out what was created before this day (UTC).")
]
Names = Annotated[
    list[str] | None,
    typer.Option(
        "--name",
        metavar="GLOB",
        help="Only jobs whose id, suffix or model fits, as 'stars*'. Can be repeated.",
    ),
]
Folder = Annotated[
    Path | None,
    typer.Option("--folder", metavar="FOLDER", help="Where spec files are written; models/imported by default."),
]
Reads = Annotated[bool, typer.Option("--dry-run", help="Read everything and write nothing.")]


def _command(provider: str) -> Callable[..., None]:
    def bring(
        endpoint: Account = None,
        task: TaskFile = None,
        since: Since = None,
        name: Names = None,
        folder: Folder = None,
        register: Register = None,
        dry_run: Reads = False,
        json: Json = False,
    ) -> None:
        given = {"task": task, "since": since, "name": name, "folder": folder, "register": register}
        chosen = {option: value for option, value in given.items() if value is not None}
        _bring(provider, endpoint, chosen, dry_run=dry_run, json=json)

    return bring


for provider, said in ACCOUNTS.items():
    import_.command(provider, help=f"{said} {EACH}", short_help=said)(_command(provider))

import_.command("mlflow")(import_mlflow)


def _bring(provider: str, endpoint: Path | None, chosen: dict[str, Any], *, dry_run: bool, json: bool) -> None:
    from luthier import api
    from luthier.cli.printing import print_end, print_json
    from luthier.errors import Partial

    account = api.account_endpoint(provider, endpoint)
    report = api.import_from(account, **chosen, dry_run=dry_run)
    if json:
        print_json(report.document())
    else:
        report.show()
    print_end()
    if not report.complete:
        later = "the same command may bring some of it later" if any(one.passes for one in report.missing) else ""
        what = f"{report.pending:,} of the account's items could not be brought yet, or not whole"
        raise Partial("; ".join(filter(None, [what, later])) + ".")
