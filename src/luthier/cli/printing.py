"""What every verb reads and prints the same way: the files an option names, JSON for machines, and where to look."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import pandas as pd

    from luthier.api import Spec

__all__ = ["print_json", "print_saved", "print_where", "read_shown", "spec_of", "specs_of"]


def spec_of(file: str, endpoint: Path | None) -> Spec:
    """The spec in a file, with the endpoint of another file where one is given."""
    from luthier import api

    return api.read_spec(file, None if endpoint is None else api.read_endpoint(endpoint))


def specs_of(files: list[str], endpoint: Path | None) -> list[Spec]:
    """The specs in files, as `spec_of`; specs that the endpoint file does not move are named on stderr."""
    from luthier import api

    if endpoint is None:
        return api.read_specs(files)
    overrides = api.read_endpoint(endpoint)
    specs = api.read_specs(files, overrides)
    for spec in api.unmoved(specs, overrides):
        print(api.why_unmoved(spec, endpoint), file=sys.stderr)
    return specs


def read_shown(path: Path) -> pd.DataFrame:
    """A table from a file; how it was saved is said on stderr where that is unusual, so that a wrong guess is seen."""
    from luthier import api

    print_saved(path)
    return api.read_table(path)


def print_saved(path: Path) -> None:
    """How a table was saved, on stderr, where that is unusual."""
    from luthier import api

    saved = api.how_saved(path)
    if saved:
        print(f"{path}: {saved}", file=sys.stderr)


def print_json(document: Any) -> None:
    """One JSON document on stdout; NaN, which JSON does not have, is refused."""
    print(json.dumps(document, ensure_ascii=False, indent=1, allow_nan=False, default=str))


def print_where() -> None:
    """The line every command ends with, on stderr."""
    from luthier import api

    print(api.where_to_look(), file=sys.stderr)
