"""Which output files a score may replace: those that the same score wrote, so that running it again resumes it."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path

from filelock import FileLock

from luthier.errors import DataError
from luthier.home import luthier_home
from luthier.outputs import write_file
from luthier.spec import Fitted
from luthier.tables import address_of, is_standard, table_files, target_state

__all__ = ["check_claim", "claim"]

MOST_CLAIMS = 1_000
"""Outputs remembered; the oldest are forgotten first, and then need `--overwrite`."""


def check_claim(fitted: Fitted, source: str | Path, target: str | Path) -> None:
    """Refuses to replace a file that another score, or another program, wrote.

    Raises:
        DataError: there is such a file.
    """
    state = target_state(target)
    if state is not None and _claims().get(_place(target)) != _facts(fitted, source, state):
        raise DataError(
            f"{target} exists, and this command did not write it. Add --overwrite (overwrite=True) to replace it, or "
            "name another output."
        )


def claim(fitted: Fitted, source: str | Path, target: str | Path) -> None:
    """Records that this score wrote the target as it is now; standard output is nothing to come back to."""
    state = target_state(target)
    if state is None:
        return
    name, facts = _place(target), _facts(fitted, source, state)
    # Scores of several files often run, and end, at the same time.
    with FileLock(_file().with_suffix(".lock"), mode=0o600):
        claims = _claims()
        claims.pop(name, None)
        claims[name] = facts
        write_file(_file(), json.dumps(dict(list(claims.items())[-MOST_CLAIMS:]), indent=1))


def _facts(fitted: Fitted, source: str | Path, state: list[str | int]) -> list[str | int]:
    table = _place(source)
    if is_standard(source):
        # It has no name to be known by.
        with table_files(source).parts[0].file.open("rb") as piped:
            table = hashlib.file_digest(piped, "sha256").hexdigest()
    asked = f"{fitted.digest} {table}"
    return [hashlib.sha256(asked.encode("utf-8", "surrogatepass")).hexdigest(), *state]


def _place(path: str | Path) -> str:
    return address_of(path) or str(Path(path).resolve())


def _claims() -> dict[str, list[str | int]]:
    try:
        found = json.loads(_file().read_text(encoding="utf-8"))
    except (FileNotFoundError, ValueError):
        return {}
    return found if isinstance(found, dict) else {}


def _file() -> Path:
    return luthier_home() / "scored.json"
