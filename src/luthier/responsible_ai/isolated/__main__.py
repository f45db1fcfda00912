"""Makes the dashboards of some rows, or serves them.

    python -m isolated build INPUT OUTPUT
    python -m isolated serve INPUT --port N

Standard output has one JSON object a line: {"step": ..., "done": n, "of": m} while it works, {"error": ...} for what
the user can correct, {"serving": URL} once the served page answers. Everything else goes to standard error.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import os
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, TextIO

if TYPE_CHECKING:
    from isolated.page import Dashboard


Tell = Callable[[dict[str, object]], None]

FEWEST_ROWS = 5
"""With a label; an error tree of fewer says nothing, and of one cannot be made."""


def main() -> None:
    """Runs what the command line names."""
    parser = argparse.ArgumentParser(prog="isolated")
    commands = parser.add_subparsers(dest="command", required=True)
    build = commands.add_parser("build")
    build.add_argument("input", type=Path)
    build.add_argument("output", type=Path)
    serve = commands.add_parser("serve")
    serve.add_argument("input", type=Path)
    serve.add_argument("--port", type=int, default=0)
    given = parser.parse_args()
    with messages() as stream:

        def tell(message: dict[str, object]) -> None:
            stream.write(json.dumps(message) + "\n")
            stream.flush()

        if given.command == "build":
            build_parts(given.input, given.output, tell)
        else:
            serve_pages(given.input, given.port, tell)


def build_parts(given: Path, output: Path, tell: Tell) -> None:
    """Writes the parts of the saved page."""
    dashboards, notes = make_dashboards(given, tell, saved=True)
    from isolated.page import write_parts

    write_parts(dashboards, notes, output)


def serve_pages(given: Path, port: int, tell: Tell) -> None:
    """Serves the dashboards until the process is ended."""
    dashboards, notes = make_dashboards(given, tell, saved=False)
    from isolated.served import serve

    serve(dashboards, notes, given, port, lambda address: tell({"serving": address}))


def make_dashboards(folder: Path, tell: Tell, *, saved: bool) -> tuple[list[Dashboard], tuple[str, ...]]:
    """The dashboards that can be made of the rows, and why one is left out."""
    tell({"step": "loading responsibleai"})
    from isolated.inputs import read_rows
    from isolated.tabular import tabular_dashboard

    rows = read_rows(folder)
    made, notes = [], []
    labelled = rows.labelled()
    if len(labelled.frame) >= FEWEST_ROWS:
        made.append(
            tabular_dashboard(labelled, lambda step, done, of: tell({"step": step, "done": done, "of": of}), saved)
        )
    else:
        notes.append(
            f"There is no dashboard of errors: it needs {FEWEST_ROWS} rows with a label, "
            f"and {len(labelled.frame)} have one."
        )
    explained = read_rows(folder, "explained.parquet")
    if len(explained.frame):
        tell({"step": "explained rows"})
        from isolated.text_dashboard import text_dashboard

        made.append(text_dashboard(explained, folder / "explanations.jsonl"))
    return made, tuple(notes)


@contextlib.contextmanager
def messages() -> Iterator[TextIO]:
    """The real standard output; what packages print, from C as well, goes to standard error meanwhile."""
    sys.stdout.flush()
    own = os.dup(1)
    os.dup2(2, 1)
    try:
        with os.fdopen(os.dup(own), "w", encoding="utf-8") as stream:
            yield stream
    finally:
        sys.stdout.flush()
        os.dup2(own, 1)
        os.close(own)


if __name__ == "__main__":
    main()
