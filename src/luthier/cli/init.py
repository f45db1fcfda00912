"""luthier init: a task and specs for your own table."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from luthier.cli.options import EndpointFile

__all__ = ["init"]


def init(
    data: Annotated[
        Path, typer.Option("--data", metavar="TABLE", help="A labelled table: csv, jsonl, parquet or xlsx.")
    ],
    text: Annotated[
        str | None, typer.Option("--text", metavar="COLUMN", help="Column that is read; guessed and shown when absent.")
    ] = None,
    label: Annotated[
        str | None,
        typer.Option("--label", metavar="COLUMN", help="Column that holds the truth; guessed and shown when absent."),
    ] = None,
    type_name: Annotated[
        str | None,
        typer.Option(
            "--type",
            metavar="TYPE",
            help="What is asked: a type of docs/tasks.md, or module:NAME; rating or classification by default.",
        ),
    ] = None,
    name: Annotated[str | None, typer.Option("--name", help="Name of the task; the label column's by default.")] = None,
    labels: Annotated[
        str | None, typer.Option("--labels", metavar="A,B,C", help="The labels in order, where the guess is wrong.")
    ] = None,
    folder: Annotated[Path, typer.Option("--folder", help="Where the files go.")] = Path("models"),
    endpoint: EndpointFile = None,
    split: Annotated[
        bool, typer.Option("--split", help="Also write train.csv, validation.csv and test.csv (60/20/20) beside TABLE.")
    ] = False,
    force: Annotated[bool, typer.Option("--force", help="Overwrite existing files.")] = False,
) -> None:
    """Write a task and specs for your own table. What is in the table is guessed and shown."""
    from luthier import api
    from luthier.starting.init import init_from_table
    from luthier.terminals import visible

    started = init_from_table(
        data,
        text=text,
        label=label,
        name=name,
        type_name=type_name,
        labels=[part.strip() for part in labels.split(",")] if labels else None,
        folder=folder,
        overrides=api.read_endpoint(endpoint) if endpoint else None,
        split=split,
        replace=force,
    )
    print(visible(str(started)))
