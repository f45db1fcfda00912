"""Who holds leases of a journal, or waits for those of another."""

from __future__ import annotations

import sqlite3
from contextlib import closing
from pathlib import Path


def owners_of_leases(path: Path) -> int:
    """How many engines have leased keys of a journal, or tried to."""
    with closing(sqlite3.connect(path)) as connection:
        return int(connection.execute("SELECT count(*) FROM lease_owners").fetchone()[0])
