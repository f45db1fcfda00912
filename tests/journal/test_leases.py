from __future__ import annotations

import asyncio
import os
import signal
import sqlite3
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import closing
from pathlib import Path

import pytest

from luthier.endpoints import Budget, Endpoint, Engine, Journal, Price, Report
from luthier.journal.journal import JournalEntry
from luthier_local import Fault, LocalServer, ModelCard
from tests.journal.leasing import owners_of_leases
from tests.patience import until
from tests.questions import question, questions

KEYS = [bytes([number]) * 32 for number in range(4)]


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "j.db"


@pytest.fixture
def two(path: Path) -> Iterator[tuple[Engine, Engine]]:
    """Engines with a journal each on one file, as two programs have."""
    both = Engine(Journal(path)), Engine(Journal(path))
    yield both
    for engine in both:
        engine.close()


@pytest.fixture
def server(monkeypatch: pytest.MonkeyPatch) -> Iterator[LocalServer]:
    monkeypatch.setenv("STARS_KEY", "sk-1")
    with LocalServer(models=[ModelCard("stars-model", context_tokens=200)], api_key="sk-1") as running:
        yield running


@pytest.fixture
def endpoint(server: LocalServer) -> Endpoint:
    return Endpoint(
        provider="compatible",
        model="stars-model",
        base_url=server.base_url,
        api_key_env="STARS_KEY",
        price=Price(input_usd_per_million=1, output_usd_per_million=2),
    )


def until_no_leases_are_left(path: Path) -> None:
    with closing(sqlite3.connect(path)) as connection:
        until(lambda: connection.execute("SELECT count(*) FROM leases").fetchone() == (0,))


async def so(fact: Callable[[], object]) -> None:
    """Waits until something is so, while the engines go on."""
    await asyncio.to_thread(until, fact)


def answer(key: bytes) -> JournalEntry:
    return JournalEntry(key, "answered", "chat", "here", "m", body=b"{}")


def test_a_key_is_leased_to_one_owner_until_its_answer_is_there(path: Path) -> None:
    one, other = Journal(path), Journal(path)
    mine = one.lease(KEYS[:3], None)
    theirs = other.lease(KEYS[1:], None)
    assert mine.held == set()
    assert theirs.held == set(KEYS[1:3])
    assert one.lease(KEYS[:3], mine.owner).held == set(), "one's own lease is no obstacle"
    one.put([answer(KEYS[1])], [(mine.owner, KEYS[1])])
    again = other.lease(KEYS[1:3], theirs.owner)
    assert (set(again.found), again.held) == ({KEYS[1]}, {KEYS[2]})
    one.put([], [(theirs.owner, KEYS[2])])
    assert other.lease([KEYS[2]], theirs.owner).held == {KEYS[2]}, "nobody ends another's lease"
    one.leave(mine.owner)
    assert other.lease(KEYS, theirs.owner).held == set()
    one.close()
    other.close()


def test_the_spelling_of_the_path_does_not_matter(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(path.parent)
    one, other = Journal(path), Journal("j.db")
    one.lease(KEYS, None)
    assert other.lease(KEYS, None).held == set(KEYS)
    one.close()
    assert other.lease(KEYS, None).held == set(), "closing a journal ends its leases"
    other.close()


def owned_by(path: Path, **columns: object) -> None:
    """Makes the first owner in the file another."""
    connection = sqlite3.connect(path)
    for name, value in columns.items():
        connection.execute(f"UPDATE lease_owners SET {name} = ? WHERE id = 1", (value,))
    connection.commit()
    connection.close()


def test_an_owner_on_another_machine_is_trusted_until_its_time_is_up(path: Path) -> None:
    journal = Journal(path)
    journal.lease(KEYS, None)
    owned_by(path, place="elsewhere", expires=time.time() + 30)
    other = journal.lease(KEYS, None)
    assert other.held == set(KEYS)
    owned_by(path, expires=time.time() - 1)
    assert journal.lease(KEYS, other.owner).held == set()
    journal.close()


@pytest.mark.skipif(not Path("/proc/self/stat").exists(), reason="the system does not show its processes")
def test_an_owner_on_this_machine_is_known_by_number_and_start(path: Path) -> None:
    journal = Journal(path)
    child = subprocess.Popen([sys.executable, "-c", "input()"], stdin=subprocess.PIPE)
    started = Path(f"/proc/{child.pid}/stat").read_text().rpartition(")")[2].split()[19]
    journal.lease(KEYS, None)
    owned_by(path, pid=child.pid, started=started, expires=time.time() - 1)
    other = journal.lease(KEYS, None)
    assert other.held == set(KEYS), "alive, even if the machine slept for an hour"
    os.kill(child.pid, signal.SIGSTOP)
    os.waitid(os.P_PID, child.pid, os.WSTOPPED | os.WNOWAIT)
    owned_by(path, expires=time.time() + 30)
    assert journal.lease(KEYS, other.owner).held == set(KEYS), "stopped, but not for long"
    owned_by(path, expires=time.time() - 1)
    assert journal.lease(KEYS[:1], other.owner).held == set(), "stopped for good, as far as can be seen"
    child.kill()
    child.communicate()
    journal.leave(other.owner)
    journal.close()


@pytest.mark.skipif(not Path("/proc/self/stat").exists(), reason="the system does not show its processes")
@pytest.mark.parametrize("dead", ["no process", "another process", "an engine of this process"])
def test_a_dead_owner_has_no_leases(path: Path, dead: str) -> None:
    journal = Journal(path)
    journal.lease(KEYS, None)
    if dead == "no process":
        child = subprocess.Popen([sys.executable, "-c", ""])
        child.wait()
        owned_by(path, pid=child.pid)
    elif dead == "another process":
        owned_by(path, started="1")
    else:
        # As after a crash of the program whose number this one has now, at the same tick of the clock.
        owned_by(path, id=77)
    assert journal.lease(KEYS, None).held == set()
    journal.close()


@pytest.mark.slow
def test_two_engines_on_one_file_ask_once(
    server: LocalServer, endpoint: Endpoint, two: tuple[Engine, Engine], path: Path
) -> None:
    reports = Report(), Report()
    server.faults.add(Fault("held"))

    async def both() -> None:
        runs = [
            asyncio.ensure_future(engine.arun(questions(500), endpoint, report=report))
            for engine, report in zip(two, reports, strict=True)
        ]
        await so(lambda: server.received.total and owners_of_leases(path) == 2)
        server.faults.clear()
        await asyncio.gather(*runs)

    asyncio.run(both())
    assert server.received.total == 500
    assert [report.answered for report in reports] == [500, 500]
    assert sum(report.from_journal for report in reports) == 500
    until_no_leases_are_left(path)


def test_the_one_who_waits_pays_nothing(
    server: LocalServer, endpoint: Endpoint, two: tuple[Engine, Engine], path: Path
) -> None:
    asks, waits = two
    budget, report = Budget(1.0), Report()
    server.faults.add(Fault("held"))

    async def both() -> None:
        first = asyncio.ensure_future(asks.arun(questions(20), endpoint))
        await so(lambda: server.received.total)
        second = asyncio.ensure_future(waits.arun(questions(20), endpoint, budget=budget, report=report))
        await so(lambda: owners_of_leases(path) == 2)
        server.faults.clear()
        answers = await second
        assert all(answer.from_journal for answer in answers)
        assert [answer.text for answer in answers] == [answer.text for answer in await first]

    asyncio.run(both())
    assert (budget.spent_usd, report.sent, report.spent_usd) == (0.0, 0, 0.0)


def test_what_failed_for_good_elsewhere_is_not_asked_again_and_what_passes_is(
    server: LocalServer, endpoint: Endpoint, two: tuple[Engine, Engine], path: Path
) -> None:
    server.faults.add(Fault("held"))
    asked = [*questions(3), question("too long " * 400)]

    async def both() -> None:
        first = asyncio.ensure_future(two[0].arun(asked, endpoint))
        await so(lambda: server.received.total == 4)
        second = asyncio.ensure_future(two[1].arun(asked, endpoint, retry_failed=True))
        await so(lambda: owners_of_leases(path) == 2)
        server.faults.clear()
        assert [answer.failure for answer in await second] == [None] * 3 + ["permanent"]
        assert [answer.failure for answer in await first] == [None] * 3 + ["permanent"]

    asyncio.run(both())
    assert server.received.total == 4


def test_who_wants_it_fresh_asks_itself(
    server: LocalServer, endpoint: Endpoint, two: tuple[Engine, Engine], path: Path
) -> None:
    server.faults.add(Fault("held"))

    async def both() -> None:
        first = asyncio.ensure_future(two[0].arun(questions(4), endpoint))
        await so(lambda: server.received.total == 4)
        asking = asyncio.ensure_future(two[1].arun(questions(4), endpoint, fresh=True))
        await so(lambda: server.received.total == 8)
        server.faults.clear()
        second = await asking
        assert not any(answer.from_journal for answer in (*second, *await first))

    asyncio.run(both())
    assert server.received.total == 8
    until_no_leases_are_left(path)


@pytest.mark.slow
def test_a_stop_leaves_the_rest_to_the_other_engine(
    server: LocalServer, endpoint: Endpoint, two: tuple[Engine, Engine], path: Path
) -> None:
    server.faults.add(Fault("held", nth=range(40, 1_000)))

    async def both() -> None:
        first = asyncio.ensure_future(two[0].arun(questions(400), endpoint))
        await so(lambda: server.received.total >= 40)
        second = asyncio.ensure_future(two[1].arun(questions(400), endpoint))
        await so(lambda: owners_of_leases(path) == 2)
        two[0].stop()
        server.faults.clear()
        assert any(answer.failure == "stopped" for answer in await first)
        assert all(answer.failure is None for answer in await second)

    asyncio.run(both())
    assert server.received.total == 400
    until_no_leases_are_left(path)


def test_who_waits_can_be_stopped_too(
    server: LocalServer, endpoint: Endpoint, two: tuple[Engine, Engine], path: Path
) -> None:
    server.faults.add(Fault("held"))

    async def both() -> None:
        first = asyncio.ensure_future(two[0].arun(questions(4), endpoint))
        await so(lambda: server.received.total == 4)
        second = asyncio.ensure_future(two[1].arun(questions(4), endpoint))
        await so(lambda: owners_of_leases(path) == 2)
        two[1].stop()
        assert [answer.failure for answer in await second] == ["stopped"] * 4
        server.faults.clear()
        assert all(answer.failure is None for answer in await first)

    asyncio.run(both())
    assert server.received.total == 4


def test_a_journal_in_memory_is_nobody_elses(server: LocalServer, endpoint: Endpoint) -> None:
    engines = [Engine(Journal(":memory:")) for _ in range(2)]
    for engine in engines:
        assert not any(answer.from_journal for answer in engine.run(questions(3), endpoint))
        engine.close()
    assert server.received.total == 6
