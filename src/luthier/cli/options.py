"""Options that several verbs share, so that the same noun means the same thing everywhere."""

from __future__ import annotations

from enum import StrEnum
from pathlib import Path
from typing import Annotated

import typer


class LiveOrBatch(StrEnum):
    """How rows are asked."""

    live = "live"
    batch = "batch"


Specs = Annotated[list[str], typer.Argument(metavar="SPEC...", help="Spec files, globs or folders.")]
OneSpec = Annotated[str, typer.Argument(metavar="SPEC", help="A spec file.")]
Train = Annotated[Path | None, typer.Option("--train", metavar="TABLE", help="Labelled rows to fit on.")]
Test = Annotated[Path, typer.Option("--test", metavar="TABLE", help="Labelled rows to measure on.")]
Tests = Annotated[
    list[Path],
    typer.Option("--test", metavar="TABLE", help="Labelled rows to measure on; give several for several tables."),
]
Limit = Annotated[int | None, typer.Option("--limit", metavar="N", help="Use only N rows, drawn with a fixed seed.")]
BudgetUsd = Annotated[
    float | None,
    typer.Option("--budget", metavar="USD", min=0, help="Most that may be spent; exit code 4 when reached."),
]
EndpointFile = Annotated[
    Path | None,
    typer.Option("--endpoint", metavar="FILE", help="Endpoint file to ask instead of the endpoint each spec names."),
]
Yes = Annotated[bool, typer.Option("--yes", "-y", help="Do not ask before spending.")]
DryRun = Annotated[bool, typer.Option("--dry-run", help="Print rows, tokens and price; send nothing.")]
Fresh = Annotated[bool, typer.Option("--fresh", help="Ask again for what the journal already holds.")]
RetryFailed = Annotated[bool, typer.Option("--retry-failed", help="Also ask again for rows that failed permanently.")]
Mode = Annotated[
    LiveOrBatch, typer.Option(help="live: each row is asked now. batch: by the service's Batch API, within a day.")
]
Wait = Annotated[bool, typer.Option("--wait", help="With --mode batch: end only when the batches are answered.")]
Json = Annotated[bool, typer.Option("--json", help="Print one JSON document on stdout.")]
Register = Annotated[
    str | None, typer.Option("--register", metavar="NAME", help="Registered model to add a version to.")
]
Alias = Annotated[str | None, typer.Option("--alias", metavar="ALIAS", help="Alias for the version, such as champion.")]
