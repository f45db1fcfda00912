"""Databases in Luthier's home keep what is written, whoever else opens them."""

from __future__ import annotations

import contextlib
import sqlite3
import stat
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from luthier.deployments.records import ControllerProcess
from luthier.deployments.store import DeploymentStore
from luthier.errors import UserError
from luthier.home import luthier_home, make_database, migrate_database
from luthier.journal.journal import Journal
from luthier.serving.daily_budget import DailyBudget
from tests.patience import PATIENCE_SECONDS

LOOK = """
import sqlite3, sys
database = sqlite3.connect(sys.argv[1])
print(*database.iterdump())
database.close()
"""


def look(path: Path) -> bytes:
    """What another process reads in the file, before it closes it."""
    asked = [sys.executable, "-c", LOOK, str(path)]
    return subprocess.run(asked, stdout=subprocess.PIPE, check=True, timeout=PATIENCE_SECONDS).stdout


def test_a_database_is_made_for_its_owner_alone(tmp_path: Path) -> None:
    make_database(tmp_path / "new.db")
    assert stat.S_IMODE((tmp_path / "new.db").stat().st_mode) == 0o600 or sys.platform == "win32"


def test_a_home_that_cannot_be_made_names_its_variable(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "file").write_text("")
    monkeypatch.setenv("LUTHIER_HOME", str(tmp_path / "file"))
    with pytest.raises(UserError, match=r"LUTHIER_HOME: .*file cannot be made"):
        luthier_home()


def test_a_migration_on_a_full_disk_says_that_the_disk_is_full(tmp_path: Path) -> None:
    def fill(connection: sqlite3.Connection) -> None:
        connection.execute("CREATE TABLE large (text)")
        connection.executemany("INSERT INTO large VALUES (?)", [("x" * 4000,)] * 100)

    with contextlib.closing(sqlite3.connect(tmp_path / "new.db", isolation_level=None)) as connection:
        connection.execute("PRAGMA max_page_count = 10")
        with pytest.raises(sqlite3.OperationalError, match="full"):
            migrate_database(connection, [fill], lambda version: ValueError(version))


@pytest.mark.parametrize(
    ("opened", "write"),
    [
        (Journal, lambda one, name: one.saw_snapshot(name, "small", "small-1")),
        (DeploymentStore, lambda one, name: one.set_controller(ControllerProcess(1, "", name, frozenset()))),
        (lambda path: DailyBudget(1.0, path, path.name), lambda one, _: one.spend(0.5)),
    ],
    ids=["journal", "deployments", "budget"],
)
def test_what_is_written_stays_when_a_file_is_opened_twice_and_another_process_closes_it(
    tmp_path: Path, opened: Callable[[Path], Any], write: Callable[[Any, str], object]
) -> None:
    first, second = (opened(tmp_path / "some.db") for _ in range(2))
    for one in (first, second):
        write(one, "before")
    before = look(tmp_path / "some.db")
    write(first, "after")
    assert look(tmp_path / "some.db") != before
    for one in (first, second):
        one.close()
