"""luthier keys: the file of API keys that a server lets in."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Annotated

import typer

from luthier.cli.options import Json

__all__ = ["keys"]

keys = typer.Typer(
    name="keys",
    help="Make and revoke the API keys of a server. The file holds their hashes; servers notice a change by "
    "themselves.",
    rich_markup_mode=None,
    no_args_is_help=True,
)

File = Annotated[Path, typer.Argument(metavar="FILE", help="The file of keys.")]
Label = Annotated[str, typer.Argument(metavar="LABEL", help="Whose key it is; the server's log names it.")]


@keys.command()
def add(file: File, label: Label, json: Json = False) -> None:
    """Make a key and print it once. The file keeps only its hash."""
    from luthier import api
    from luthier.cli.printing import print_json

    key = api.KeyFile(file).add(label)
    if json:
        print_json({"file": str(file), "label": label, "key": key})
    else:
        print(key)
    print(
        f"Only its hash is in {file}: hand the key over now. Clients send it as header Authorization: Bearer KEY.\n"
        f"A server that reads the file lets it in within a second; start one with: luthier serve MODEL_URI --keys "
        f"{file}",
        file=sys.stderr,
    )


@keys.command("list")
def list_keys(file: File, json: Json = False) -> None:
    """Print the label of each key, and when it was made."""
    from luthier import api
    from luthier.cli.printing import print_json

    lines = api.KeyFile(file).lines()
    if json:
        print_json([{"label": line.label, "created": line.created} for line in lines])
        return
    for line in lines:
        print(f"{line.created}  {line.label}")


@keys.command()
def revoke(file: File, label: Label, json: Json = False) -> None:
    """Take a key out of the file. Servers refuse it within a second."""
    from luthier import api
    from luthier.cli.printing import print_json

    keyring = api.KeyFile(file)
    keyring.revoke(label)
    left = keyring.labels()
    if json:
        print_json({"file": str(file), "revoked": label, "left": left})
    said = f"the file lets in: {', '.join(left)}" if left else "no key is left, so servers that read it accept no key"
    print(f"{label} is revoked; {said}", file=sys.stderr)
