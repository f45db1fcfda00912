"""luthier import mlflow: a model of MLflow's own openai flavor, or a registered prompt, as a spec."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from luthier.cli.options import EndpointFile, Json, Register

__all__ = ["import_mlflow"]


def import_mlflow(
    uri: Annotated[
        str,
        typer.Argument(
            metavar="URI",
            help="models:/NAME/VERSION, runs:/RUN_ID/NAME, a folder, or prompts:/NAME/VERSION; or @ALIAS.",
        ),
    ],
    task: Annotated[
        Path | None,
        typer.Option("--task", metavar="FILE", help="What it answers: a task file; models/task.yaml by default."),
    ] = None,
    endpoint: EndpointFile = None,
    to: Annotated[
        Path | None, typer.Option("--to", metavar="FILE", help="Write the spec here; printed when absent.")
    ] = None,
    register_as: Register = None,
    json: Json = False,
) -> None:
    """Make a spec of a model of MLflow's openai flavor, or of a prompt in its registry. Sends nothing."""
    import sys

    from luthier import api
    from luthier.cli.printing import print_end, print_json
    from luthier.terminals import visible

    adopted = api.adopt_spec(uri, task=task, endpoint=endpoint, name=None if to is None else to.stem)
    if to is not None:
        adopted = api.write_adopted(adopted, to, task)
    if register_as is not None:
        adopted = api.register_adopted(adopted, register_as)
    if json:
        print_json(adopted.document())
        return
    if to is None and register_as is None:
        print(visible(api.spec_text(adopted, task=task)), end="")
        return
    for note in adopted.notes:
        print(visible(note), file=sys.stderr)
    print(visible(adopted.outcome))
    if adopted.logged is not None:
        print_end()
