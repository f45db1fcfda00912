"""What every verb prints the same way: JSON for machines, and where to look."""

from __future__ import annotations

import json
import sys
from typing import Any

__all__ = ["print_json", "print_where"]


def print_json(document: Any) -> None:
    """One JSON document on stdout; NaN, which JSON does not have, is refused."""
    print(json.dumps(document, ensure_ascii=False, indent=1, allow_nan=False, default=str))


def print_where() -> None:
    """The line every command ends with, on stderr."""
    from luthier.experiments.tracking import where_to_look

    print(where_to_look(), file=sys.stderr)
