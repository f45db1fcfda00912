"""What every verb reads and prints the same way: the files an option names, JSON for machines, and where to look."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

from luthier.terminals import visible_json

if TYPE_CHECKING:
    import pandas as pd

    from luthier.api import Board, Boards, Spec
    from luthier.endpoints import Report

__all__ = ["print_board", "print_end", "print_json", "print_saved", "read_shown", "spec_of", "specs_of"]


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


def print_saved(path: str | Path) -> None:
    """How a table was saved, on stderr, where that is unusual."""
    from luthier import api

    saved = api.how_saved(path)
    if saved:
        print(f"{path}: {saved}", file=sys.stderr)


def print_json(document: Any) -> None:
    """One JSON document on stdout; NaN, which JSON does not have, is refused."""
    print(visible_json(json.dumps(document, ensure_ascii=False, indent=1, allow_nan=False, default=str)))


def print_board(board: Board | Boards, report: Report, *, json: bool) -> None:
    """What was measured, and the lines a command ends with.

    Raises:
        Partial: some rows have no answer yet.
    """
    from luthier.errors import Partial

    if json:
        print_json(board.to_document())
    else:
        board.show()
    print_end(report)
    if board.partial:
        raise Partial("some rows have no answer yet; run the same command again to ask for them.")


def print_end(report: Report | None = None) -> None:
    """The lines a command ends with, on stderr: what was spent now where models were asked, and where runs are seen."""
    from luthier import api

    if report is not None and report.requests:
        print(report.spending, file=sys.stderr)
    print(api.where_to_look(), file=sys.stderr)
