from __future__ import annotations

import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from luthier.endpoints import Journal
from luthier.engine.shared_journal import MOST_UNCOMMITTED
from luthier_local import Fault, LocalServer
from tests.journal.leasing import owners_of_leases
from tests.patience import PATIENCE_SECONDS, until

pytestmark = pytest.mark.slow

ASKER = Path(__file__).parent / "asker.py"
IN_FLIGHT = 64
MOST_REPAID = IN_FLIGHT + MOST_UNCOMMITTED


@pytest.fixture
def slow(monkeypatch: pytest.MonkeyPatch) -> Iterator[LocalServer]:
    monkeypatch.setenv("K", "sk-1")
    with LocalServer(api_key="sk-1", latency_seconds=0.05) as server:
        yield server


def start(server: LocalServer, count: int, *more: str) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [sys.executable, str(ASKER), server.base_url, str(count), *more],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


def wait_for(server: LocalServer, count: int) -> None:
    until(lambda: server.received.total >= count, lambda: f"only {server.received.total} requests came")


def hold_from(server: LocalServer, number: int) -> None:
    """Has the server answer fewer requests than this: whoever asks for more cannot end before the rule is removed."""
    server.faults.add(Fault("held", nth=range(number, 1_000_000)))


def interrupted(asker: subprocess.Popen[str], server: LocalServer, number: signal.Signals) -> list[str]:
    """Lines that a program says whose requests are held until it has noticed the signal."""
    asker.send_signal(number)
    assert asker.stderr is not None
    first = asker.stderr.readline()
    server.faults.clear()
    _, said = asker.communicate(timeout=PATIENCE_SECONDS)
    assert asker.returncode == 130
    return [first, *said.splitlines()]


def test_after_kill_9_only_what_was_in_flight_or_not_committed_is_sent_again(slow: LocalServer) -> None:
    asker = start(slow, 1000)
    wait_for(slow, 400)
    asker.kill()
    asker.communicate()
    out, err = (again := start(slow, 1000)).communicate(timeout=PATIENCE_SECONDS)
    assert again.returncode == 0, err
    answered, from_journal = map(int, out.split())
    assert answered == 1000
    sent_twice = slow.received.total - 1000
    assert 0 <= sent_twice <= MOST_REPAID
    assert from_journal >= 400 - MOST_REPAID


def test_after_kill_9_only_texts_that_are_not_in_the_journal_are_embedded_again(
    monkeypatch: pytest.MonkeyPatch, clean_home: Path
) -> None:
    monkeypatch.setenv("K", "sk-1")
    with LocalServer(api_key="sk-1", latency_seconds=0.05, record=True) as server:
        hold_from(server, 9)
        asker = start(server, 8_000, "embedding")
        journal = Journal(clean_home / "journal.db")
        until(lambda: journal.size().answers)
        asker.kill()
        asker.communicate()
        kept = journal.size().answers
        journal.close()
        server.faults.clear()
        out, err = (again := start(server, 8_000, "embedding")).communicate(timeout=PATIENCE_SECONDS)
        assert again.returncode == 0, err
        assert 0 < kept < 8_000
        assert list(map(int, out.split())) == [8_000, kept], "what was sent and not kept is sent again, nothing else"
        assert len({text for body in server.received.bodies for text in body["input"]}) == 8_000


@pytest.mark.parametrize("number", [signal.SIGINT, pytest.param(signal.SIGTERM, marks=pytest.mark.slow)])
def test_a_signal_drains_and_says_how_to_go_on(slow: LocalServer, clean_home: Path, number: signal.Signals) -> None:
    hold_from(slow, 200)
    asker = start(slow, 2000)
    wait_for(slow, 200)
    lines = interrupted(asker, slow, number)
    assert not any("Traceback" in line for line in lines)
    assert lines[0].startswith("stopping: waiting for the answers under way")
    assert "Run the same again" in lines[1]
    sent = slow.received.total
    assert sent < 2000
    journal = Journal(clean_home / "journal.db")
    assert journal.size().answers == sent, "everything that was sent is answered and kept"
    journal.close()


@pytest.mark.slow
def test_a_second_signal_ends_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("K", "sk-1")
    with LocalServer(api_key="sk-1", latency_seconds=3600) as server:
        asker = start(server, 100)
        wait_for(server, 4)
        asker.send_signal(signal.SIGINT)
        assert asker.stderr is not None
        assert asker.stderr.readline().startswith("stopping")
        asker.send_signal(signal.SIGINT)
        asker.communicate(timeout=PATIENCE_SECONDS)
        assert asker.returncode == 130


def test_two_programs_with_the_same_rows_ask_once(slow: LocalServer, clean_home: Path) -> None:
    # Neither goes on before both ask.
    hold_from(slow, 5)
    both = [start(slow, 2000)]
    wait_for(slow, 5)
    both.append(start(slow, 2000))
    until(lambda: owners_of_leases(clean_home / "journal.db") == 2)
    slow.faults.clear()
    fetched = 0
    for asker in both:
        out, err = asker.communicate(timeout=PATIENCE_SECONDS)
        assert asker.returncode == 0, err
        answered, from_journal = map(int, out.split())
        assert answered == 2000
        assert from_journal > 0, "each took some from the other"
        fetched += answered - from_journal
    assert slow.received.total == fetched == 2000
    journal = Journal(clean_home / "journal.db")
    assert journal.size().answers == 2000
    journal.close()
    out, _ = start(slow, 2000).communicate(timeout=PATIENCE_SECONDS)
    assert out.split() == ["2000", "2000"]


def test_after_kill_9_of_one_the_other_finishes_all(slow: LocalServer, clean_home: Path) -> None:
    first = start(slow, 1500)
    wait_for(slow, 100)
    second = start(slow, 1500)
    wait_for(slow, 700)
    first.kill()
    first.communicate()
    out, err = second.communicate(timeout=PATIENCE_SECONDS)
    assert second.returncode == 0, err
    assert out.split()[0] == "1500"
    assert slow.received.total - 1500 <= MOST_REPAID, "only what was in flight or not committed is asked twice"


def test_a_program_that_is_interrupted_leaves_the_rest_to_the_other(slow: LocalServer) -> None:
    hold_from(slow, 700)
    first = start(slow, 1500)
    wait_for(slow, 100)
    second = start(slow, 1500)
    wait_for(slow, 700)
    interrupted(first, slow, signal.SIGINT)
    out, err = second.communicate(timeout=PATIENCE_SECONDS)
    assert second.returncode == 0, err
    assert out.split()[0] == "1500"
    assert slow.received.total == 1500


def test_a_program_that_only_looks_makes_no_thread_and_ends() -> None:
    program = (
        "from luthier.endpoints import Engine, Journal, default_engine; Engine(Journal.in_memory()); default_engine()"
    )
    ran = subprocess.run(
        [sys.executable, "-W", "error", "-c", program], capture_output=True, text=True, timeout=PATIENCE_SECONDS
    )
    assert (ran.returncode, ran.stderr) == (0, "")


@pytest.mark.slow
def test_leaving_without_a_word_is_clean(slow: LocalServer) -> None:
    program = ASKER.read_text().replace("with draining(engine):", "if True:")
    command = [sys.executable, "-W", "error", "-c", program, slow.base_url, "20"]
    ran = subprocess.run(command, capture_output=True, text=True, timeout=PATIENCE_SECONDS)
    assert ran.returncode == 0
    assert ran.stderr == ""


def test_names_are_imported_when_they_are_used() -> None:
    program = (
        "import sys, luthier.endpoints, luthier.engine.engine, luthier.engine.inspection\n"
        "heavy = {'aiohttp', 'openai', 'genai_prices', 'rich', 'azure', 'pandas', 'mlflow', 'numpy'}\n"
        "print(sorted(heavy & set(sys.modules)))\n"
        "import luthier.endpoints as room\n"
        "[getattr(room, name) for name in room.__all__]\n"
    )
    ran = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, timeout=PATIENCE_SECONDS)
    assert (ran.stdout, ran.stderr) == ("[]\n", "")
