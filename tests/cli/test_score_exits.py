"""How `score` ends where not every row was answered."""

from __future__ import annotations

from pathlib import Path

import pytest

import luthier as lt
from luthier.endpoints import Endpoint, Journal
from luthier.tasks.task import Task
from luthier_local import Fault, LocalServer, ModelCard
from tests.cli.conftest import Run
from tests.conftest import KEY, priced, reviews

pytestmark = [pytest.mark.usefixtures("store"), pytest.mark.slow]


@pytest.fixture
def table() -> Path:
    reviews(8).to_csv("rows.csv", index=False)
    return Path("rows.csv")


def logged(task: Task, endpoint: Endpoint) -> str:
    spec = lt.Prompt(task, "Stars for: {{ text }}", answer="score", endpoint=endpoint, name="zero")
    return lt.log(spec).uri


def test_no_row_answered_is_exit_2_and_says_where_to_look(
    run: Run, task: Task, endpoint: Endpoint, server: LocalServer, table: Path
) -> None:
    uri = logged(task, endpoint)
    server.faults.add(Fault("status", status=400, code="content_filter", message="filtered"))
    ended = run("score", uri, table, "out.csv", "--yes")
    assert ended.code == 2
    assert "the column `error` of out.csv" in ended.err
    assert set(lt.read_table("out.csv")["state"]) == {"refused"}
    server.faults.clear()
    again = run("score", uri, table, "out.csv", "--yes", "--retry-failed")
    assert again.code == 0, again.err
    assert set(lt.read_table("out.csv")["state"]) == {"ok"}


def test_one_row_answered_is_exit_0(run: Run, task: Task, endpoint: Endpoint, server: LocalServer, table: Path) -> None:
    uri = logged(task, endpoint)
    server.faults.add(Fault("status", status=400, code="content_filter", message="filtered", times=7))
    assert run("score", uri, table, "out.csv", "--yes").code == 0


def test_an_outage_with_half_the_rows_in_the_journal_is_exit_3_and_writes_them(
    run: Run, task: Task, table: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setenv("STARS_KEY", KEY)
    with LocalServer(models=[ModelCard("stars-model")], api_key=KEY) as server:
        uri = logged(task, priced(server))
        # By an engine of its own: the command then meets a server that it has never reached.
        engine = lt.Engine(Journal.from_environment("disk"))
        lt.load(uri).score(reviews(8).head(4), engine=engine)
        engine.close()
    ended = run("score", uri, table, "out.csv", "--yes")
    assert ended.code == 3, ended.err
    assert "cannot be reached" in caplog.text
    assert "run the same command again" in ended.err
    assert lt.read_table("out.csv")["state"].tolist() == ["ok"] * 4 + ["failed"] * 4
