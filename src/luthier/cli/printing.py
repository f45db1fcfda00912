"""What every verb prints the same way: JSON for machines, and where to look."""

from __future__ import annotations

import json
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from luthier.spec import Spec

__all__ = ["print_json", "print_staying", "print_where"]


def print_json(document: Any) -> None:
    """One JSON document on stdout; NaN, which JSON does not have, is refused."""
    print(json.dumps(document, ensure_ascii=False, indent=1, allow_nan=False, default=str))


def print_where() -> None:
    """The line every command ends with, on stderr."""
    from luthier.experiments.tracking import where_to_look

    print(where_to_look(), file=sys.stderr)


def print_staying(specs: Sequence[Spec], overrides: Mapping[str, Any] | None, endpoint: Path | None) -> None:
    """Which specs an endpoint file leaves where they are, on stderr."""
    from luthier.techniques import staying, stays

    if overrides is not None and endpoint is not None:
        for spec in staying(specs, overrides):
            print(stays(spec, endpoint), file=sys.stderr)
