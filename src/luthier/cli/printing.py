"""What every verb prints the same way: JSON for machines, and where to look."""

from __future__ import annotations

import json
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import pandas as pd

    from luthier.spec import Spec

__all__ = ["print_json", "print_saved", "print_staying", "print_where", "read_shown"]


def print_json(document: Any) -> None:
    """One JSON document on stdout; NaN, which JSON does not have, is refused."""
    print(json.dumps(document, ensure_ascii=False, indent=1, allow_nan=False, default=str))


def print_where() -> None:
    """The line every command ends with, on stderr."""
    from luthier.tracking.runs import where_to_look

    print(where_to_look(), file=sys.stderr)


def read_shown(path: Path) -> pd.DataFrame:
    """A table from a file; how it was saved is said on stderr where that is unusual, so that a wrong guess is seen."""
    from luthier.tables import read_table

    print_saved(path)
    return read_table(path)


def print_saved(path: Path) -> None:
    """How a table was saved, on stderr, where that is unusual."""
    from luthier.tables import how_saved

    saved = how_saved(path)
    if saved:
        print(f"{path}: {saved}", file=sys.stderr)


def print_staying(specs: Sequence[Spec], overrides: Mapping[str, Any] | None, endpoint: Path | None) -> None:
    """Which specs an endpoint file leaves where they are, on stderr."""
    from luthier.techniques import unmoved, why_unmoved

    if overrides is not None and endpoint is not None:
        for spec in unmoved(specs, overrides):
            print(why_unmoved(spec, endpoint), file=sys.stderr)
