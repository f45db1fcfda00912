from __future__ import annotations

import logging
import pickle
import time
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path

import psycopg
import pytest

from luthier.errors import BudgetReached, SpecError, UserError
from luthier.home import luthier_home
from luthier.sweeps.store import SweepStore
from tests.patience import PATIENCE_SECONDS, until
from tests.sweeps.driving import claimed, drive, joined, start, suggest
from tests.sweeps.postgresql import PostgresqlServer
from tests.sweeps.studies import facts
from tests.sweeps.test_leases import LONG_AGO, change_row

pytestmark = pytest.mark.slow


def everything_in(url: str) -> str:
    """Every row of every table, as text."""
    with psycopg.connect(url) as connection:
        tables = connection.execute("SELECT tablename FROM pg_tables WHERE schemaname = 'public'").fetchall()
        return "".join(repr(connection.execute(f'SELECT * FROM "{name}"'.encode()).fetchall()) for (name,) in tables)


def test_a_study_is_kept_as_in_a_file(postgresql: str, tmp_path: Path) -> None:
    first, second = (joined(postgresql, facts(trials=3, budget_usd=1.2)) for _ in range(2))
    drive(first, claimed(first), tmp_path)
    one, two = claimed(first), claimed(second)
    assert (one.number, two.number) == (1, 2) and second.claim(suggest) is None
    first.reserve(one, 0.5)
    with pytest.raises(BudgetReached):
        second.reserve(two, 0.3)
    first.note(one, job_status="half " + chr(0xD83D) + "\0")
    first.release(one, "interrupted", "Ctrl-C \0")
    assert claimed(second).number == 1 and first.renew([one]) == [one]
    assert [trial.status for trial in first.trials()] == ["complete", "running", "running"]
    with pytest.raises(SpecError, match="about something else"):
        joined(postgresql, replace(facts(space={}), digest="1"))


def test_the_password_is_shown_and_kept_nowhere(
    postgresql: str,
    postgresql_server: PostgresqlServer,
    tmp_path: Path,
    caplog: pytest.LogCaptureFixture,
    capfd: pytest.CaptureFixture[str],
) -> None:
    password = postgresql_server.password
    assert password in postgresql
    with caplog.at_level(logging.DEBUG):
        for name in ("sqlalchemy.engine", "sqlalchemy.pool", "optuna", "alembic", "psycopg"):
            logging.getLogger(name).setLevel(logging.DEBUG)
        try:
            store = SweepStore(postgresql)
            study = joined(postgresql)
            drive(study, claimed(study), tmp_path)
            with pytest.raises(UserError, match="cannot be used") as refused:
                SweepStore(postgresql.replace("study", "missing"))
        finally:
            for name in ("sqlalchemy.engine", "sqlalchemy.pool", "alembic", "psycopg"):
                logging.getLogger(name).setLevel(logging.NOTSET)
            logging.getLogger("optuna").setLevel(logging.INFO)
    assert store.shown.startswith("postgresql://luthier@/study")
    shown = [str(refused.value), store.shown, repr(study.study), repr(vars(study.study._storage._backend))]  # type: ignore[attr-defined]
    shown += [caplog.text, *capfd.readouterr(), everything_in(postgresql), postgresql_server.log]
    assert caplog.text and not any(password in text for text in shown)
    assert password not in pickle.dumps(study.study._storage._backend.url).decode("latin-1")  # type: ignore[attr-defined]
    assert not any(password.encode() in file.read_bytes() for file in luthier_home().rglob("*") if file.is_file())


def test_leases_that_ran_out_while_the_database_was_away_are_not_taken(
    postgresql: str, postgresql_server: PostgresqlServer, capfd: pytest.CaptureFixture[str]
) -> None:
    mine, other = joined(postgresql), joined(postgresql)
    theirs = claimed(other)
    change_row(other, place="elsewhere")
    postgresql_server.stop()
    said = ""

    def waits() -> bool:
        nonlocal said
        said += capfd.readouterr().err
        return "waiting for the storage" in said

    with ThreadPoolExecutor(1) as thread:
        # Also what asks Optuna alone, such as a pruner, waits.
        waiting = thread.submit(lambda: len(mine.study.trials))
        until(waits)
        postgresql_server.start()
        assert waiting.result(PATIENCE_SECONDS) == 1
    change_row(mine, expires=LONG_AGO)
    assert claimed(mine).number == theirs.number + 1
    assert mine.live_elsewhere() == 2
    first, second = (said + capfd.readouterr().err).splitlines()
    assert first.startswith("waiting for the storage") and "answers again" in second
    assert other.renew([theirs]) == [] and claimed(joined(postgresql)).number == theirs.number + 2


def test_three_processes_go_on_when_one_is_killed_and_the_database_comes_back(
    postgresql: str, postgresql_server: PostgresqlServer, tmp_path: Path
) -> None:
    study = joined(postgresql, facts(trials=20, budget_usd=10.0))
    processes = [start(postgresql, tmp_path, work_seconds=0.1) for _ in range(3)]

    def wait_for(complete: int) -> None:
        until(lambda: sum(trial.status == "complete" for trial in study.trials()) >= complete)

    try:
        wait_for(5)
        postgresql_server.stop()
        time.sleep(1.0)
        postgresql_server.start()
        wait_for(10)
        processes[0].kill()
        processes[0].wait()
        for process in processes[1:]:
            _, said = process.communicate(timeout=PATIENCE_SECONDS)
            assert process.returncode == 0, said
            assert [line[:11] for line in said.splitlines()] == [b"waiting for", b"the storage"], said
            assert postgresql_server.password.encode() not in said
    finally:
        for process in processes:
            process.kill()
            process.communicate()
    trials = study.trials()
    assert [trial.number for trial in trials] == list(range(20))
    assert {trial.status for trial in trials} == {"complete"}
    assert len(study.study.trials) == 20 and study.spent_usd() == 10.0 and study.reserved_usd() == 0.0
    assert not (tmp_path / "driven-twice").exists()
