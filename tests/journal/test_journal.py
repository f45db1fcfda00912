from __future__ import annotations

import os
import sqlite3
import stat
import subprocess
import sys
import threading
import time
import zlib
from pathlib import Path

import pytest

from luthier.endpoints import Journal, Request, compatible
from luthier.errors import UserError
from luthier.journal.journal import JournalEntry
from luthier.journal.schema import MIGRATIONS, m001_answers, m002_snapshots
from luthier.providers.keys import answer_key, key_prefix
from tests.patience import PATIENCE_SECONDS


def entry(key: bytes = b"k", state: str = "answered", **more: object) -> JournalEntry:
    values: dict[str, object] = {"operation": "chat", "identity": "here", "model": "m", "body": b"{}", **more}
    return JournalEntry(key, state, **values)  # type: ignore[arg-type]


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "folder" / "journal.db"


def test_what_is_put_is_found_again_by_another_journal(path: Path) -> None:
    first = Journal(path)
    big = os.urandom(3000).hex().encode()
    first.put(
        [entry(b"a", cost_usd=0.5, reported_model="m-1"), entry(b"b", body=big), entry(b"c", "failed", body=None)]
    )
    first.close()
    second = Journal(path)
    found = second.lookup([b"a", b"b", b"c", b"d", *(str(n).encode() for n in range(1200))])
    assert set(found) == {b"a", b"b", b"c"}
    assert (found[b"a"].cost_usd, found[b"a"].reported_model) == (0.5, "m-1")
    assert found[b"b"].body == big
    assert time.time() - found[b"a"].created < 60
    size = second.size()
    assert (size.answers, size.failures, size.cost_usd) == (2, 1, 0.5)
    assert size.bytes > 4096
    assert second.settled([b"a", b"c"]) == {b"a"}
    second.close()


def test_nobody_else_can_read_it(path: Path) -> None:
    journal = Journal(path)
    journal.put([entry()])
    files = sorted(path.parent.iterdir())
    assert [file.name for file in files] == ["journal.db", "journal.db-shm", "journal.db-wal"]
    assert {stat.S_IMODE(file.stat().st_mode) for file in files} == {0o600}
    journal.close()


def test_a_failure_never_replaces_an_answer() -> None:
    journal = Journal.in_memory()
    journal.put([entry(body=b"1")])
    journal.put([entry(state="failed", failure="transient", body=None)])
    assert journal.lookup([b"k"])[b"k"].body == b"1"
    journal.put([entry(body=b"2")])
    assert journal.lookup([b"k"])[b"k"].body == b"2"
    journal.close()


def test_purge_forgets_and_wipes(path: Path) -> None:
    journal = Journal(path)
    journal.put([entry(b"old", body=b"SECRET-OLD", created=time.time() - 10 * 86400), entry(b"new", body=b"RECENT")])
    assert journal.purge(older_than_days=5) == 1
    assert set(journal.lookup([b"old", b"new"])) == {b"new"}
    assert journal.purge() == 1
    assert journal.size().answers == 0
    journal.close()
    assert b"SECRET-OLD" not in path.read_bytes()


def test_submitted_entries_are_committed_before_it_is_said(path: Path) -> None:
    journal, told = Journal(path), threading.Event()
    seen: list[object] = []

    def done(error: UserError | None) -> None:
        other = sqlite3.connect(path)
        seen.append((error, other.execute("SELECT count(*) FROM answers").fetchone()[0]))
        other.close()
        told.set()

    journal.submit([entry(b"1"), entry(b"2")], done)
    assert told.wait(PATIENCE_SECONDS)
    assert seen == [(None, 2)]
    journal.close()
    journal.submit([entry(b"3")], lambda error: None)
    journal.close()
    assert journal.size().answers == 3, "a closed journal opens again"
    journal.close()


def test_the_environment_names_it(tmp_path: Path, clean_home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert Journal.from_environment().path == clean_home / "journal.db"
    assert Journal.from_environment("memory").path is None
    monkeypatch.setenv("LUTHIER_JOURNAL", str(tmp_path / "mine.db"))
    assert Journal.from_environment("memory").path == tmp_path / "mine.db"
    monkeypatch.setenv("LUTHIER_JOURNAL", ":memory:")
    assert Journal.from_environment().path is None


def test_a_newer_file_is_refused_and_left_alone(path: Path) -> None:
    path.parent.mkdir()
    connection = sqlite3.connect(path)
    connection.execute("PRAGMA user_version = 99")
    connection.close()
    with pytest.raises(UserError, match=r"schema 99.*newer luthier"):
        Journal(path).lookup([b"k"])


def test_an_older_file_is_brought_up_to_date(path: Path) -> None:
    path.parent.mkdir()
    connection = sqlite3.connect(path)
    m001_answers(connection)
    connection.execute("PRAGMA user_version = 1")
    connection.execute(
        "INSERT INTO answers (key, state, operation, identity, model, created) "
        "VALUES (x'6b', 'answered', 'chat', 'i', 'm', 1)"
    )
    connection.commit()
    connection.close()
    journal = Journal(path)
    assert journal.lookup([b"k"])[b"k"].state == "answered"
    journal.saw_snapshot("here", "m", "m-1")
    assert journal.snapshot("here", "m") == "m-1"
    journal.close()
    connection = sqlite3.connect(path)
    assert connection.execute("PRAGMA user_version").fetchone() == (len(MIGRATIONS),)
    connection.close()


def change(path: Path, statement: str, *values: object) -> None:
    connection = sqlite3.connect(path)
    connection.execute(statement, values)
    connection.commit()
    connection.close()


@pytest.mark.parametrize("size", [20, 9000])
def test_a_flipped_bit_anywhere_in_a_body_is_noticed(path: Path, size: int) -> None:
    journal = Journal(path)
    journal.put([entry(b"a", body=os.urandom(size // 2).hex().encode()), entry(b"b")])
    journal.close()
    connection = sqlite3.connect(path)
    stored = connection.execute("SELECT body FROM answers WHERE key = x'61'").fetchone()[0]
    connection.close()
    for place in range(0, len(stored), max(1, len(stored) // 20)):
        flipped = bytearray(stored)
        flipped[place] ^= 1 << (place % 8)
        change(path, "UPDATE answers SET body = ? WHERE key = x'61'", bytes(flipped))
        found = journal.lookup([b"a", b"b"])
        assert {key: each.state for key, each in found.items()} == {b"a": "damaged", b"b": "answered"}
        assert found[b"a"].body is None
        assert journal.settled([b"a", b"b"]) == {b"b"}, "a plan counts it as not answered, as the run will"
    change(path, "UPDATE answers SET body = ? WHERE key = x'61'", stored)
    assert journal.settled([b"a", b"b"]) == {b"a", b"b"}
    journal.close()


@pytest.mark.parametrize(
    "damage",
    ["cost_usd = 0", "state = 'failed'", "packed = 1", "input_tokens = 'x'", "error = CAST(x'ff' AS TEXT)", "body = 3"],
)
def test_a_change_of_any_other_column_is_noticed_too(path: Path, damage: str) -> None:
    journal = Journal(path)
    journal.put([entry(b"a", cost_usd=1, latency_seconds=2, error="Zoë \x00", status=200)])
    assert journal.lookup([b"a"])[b"a"].cost_usd == 1.0, "an integer is stored as a float and fits its checksum"
    change(path, f"UPDATE answers SET {damage}")
    assert journal.lookup([b"a"])[b"a"].state == "damaged"
    journal.close()


def test_what_is_asked_again_mends_a_damaged_row(path: Path) -> None:
    journal = Journal(path)
    journal.put([entry()])
    change(path, "UPDATE answers SET body = x'00'")
    journal.put([entry(body=b"[1]")])
    assert journal.lookup([b"k"])[b"k"].body == b"[1]"
    journal.close()


def test_rows_of_an_older_file_without_checksums_are_read(path: Path) -> None:
    path.parent.mkdir()
    connection = sqlite3.connect(path)
    m001_answers(connection)
    m002_snapshots(connection)
    rows = [(b"a", b"{}", 0), (b"b", zlib.compress(b"[]"), 1), (b"c", b"no zlib", 1)]
    connection.executemany(
        "INSERT INTO answers (key, state, operation, identity, model, body, packed, created) "
        "VALUES (?, 'answered', 'chat', 'i', 'm', ?, ?, 1)",
        rows,
    )
    connection.execute("PRAGMA user_version = 2")
    connection.commit()
    connection.close()
    journal = Journal(path)
    found = journal.lookup([b"a", b"b", b"c"])
    assert [(found[key].state, found[key].body) for key in (b"a", b"b")] == [("answered", b"{}"), ("answered", b"[]")]
    assert found[b"c"].state == "damaged", "what cannot be unpacked is no answer, with or without a checksum"
    journal.close()


@pytest.mark.parametrize("spelled", [":memory:", " :memory: ", Path(":memory:")])
def test_in_memory_makes_no_file_of_that_name_and_each_is_its_own(
    spelled: str | Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    one, other = Journal(spelled), Journal(spelled)
    one.put([entry()])
    assert (one.path, one.settled([b"k"]), other.settled([b"k"])) == (None, {b"k"}, set())
    one.close()
    other.close()
    assert list(tmp_path.iterdir()) == []


def test_a_damaged_file_says_what_to_do(path: Path) -> None:
    path.parent.mkdir()
    path.write_bytes(b"this is no database, but it is long enough to look like something " * 50)
    with pytest.raises(UserError, match=r"damaged.*mv"):
        Journal(path).put([entry()])


def test_a_folder_that_cannot_be_written_says_what_to_do(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(UserError, match="LUTHIER_JOURNAL"):
        Journal(tmp_path / "file" / "journal.db").put([entry()])
    with pytest.raises(UserError, match="LUTHIER_JOURNAL"):
        Journal(tmp_path).put([entry()])


def test_a_full_disk_says_so_and_keeps_what_was_committed(path: Path) -> None:
    journal = Journal(path)
    journal.put([entry(b"first")])
    with journal._connection() as connection:
        pages = connection.execute("PRAGMA page_count").fetchone()[0]
        connection.execute(f"PRAGMA max_page_count = {pages + 1}")
    with pytest.raises(UserError, match="disk is full"):
        journal.put([entry(str(n).encode(), body=os.urandom(2000)) for n in range(100)])
    assert set(journal.lookup([b"first", b"1"])) == {b"first"}
    journal.close()


def test_two_processes_write_at_once_and_nothing_is_lost(path: Path) -> None:
    program = (
        "import sys\n"
        "from luthier.journal.journal import JournalEntry, Journal\n"
        "journal = Journal(sys.argv[1])\n"
        "for n in range(100):\n"
        "    journal.put([JournalEntry(f'{sys.argv[2]}-{n}'.encode(), 'answered', 'chat', 'i', 'm', body=b'{}')])\n"
        "journal.close()\n"
    )
    running = [subprocess.Popen([sys.executable, "-c", program, str(path), name]) for name in "ab"]
    assert [process.wait() for process in running] == [0, 0]
    journal = Journal(path)
    assert journal.size().answers == 200
    journal.close()


@pytest.mark.filterwarnings("ignore:.*multi-threaded.*:DeprecationWarning")
def test_it_works_on_both_sides_of_a_fork(path: Path) -> None:
    journal, told = Journal(path), threading.Event()
    journal.submit([entry(b"parent")], lambda error: told.set())
    assert told.wait(PATIENCE_SECONDS)
    child = os.fork()
    if child == 0:
        done = threading.Event()
        journal.submit([entry(b"child")], lambda error: done.set())
        os._exit(0 if done.wait(PATIENCE_SECONDS) and len(journal.lookup([b"parent", b"child"])) == 2 else 1)
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0
    journal.put([entry(b"after")])
    assert journal.size().answers == 3
    journal.close()


def test_the_key_is_what_was_asked_of_whom() -> None:
    endpoint = compatible("m", "http://h/v1")
    request = Request("chat", {"messages": [{"role": "user", "content": "x"}], "max_tokens": 3})

    def key(asked: Request = request, of: str = "http://h/v1", **settings: object) -> bytes:
        return answer_key(key_prefix(compatible("m", "http://h/v1", **settings), of), asked)

    same = [
        key(Request("chat", {"max_tokens": 3, "messages": [{"content": "x", "role": "user"}]})),
        key(timeout_seconds=3, api_key_env="OTHER", limits={"concurrency": 3}),
        answer_key(key_prefix(endpoint, "http://h/v1"), request),
    ]
    assert set(same) == {key()}
    others = [
        key(Request("completion", request.body)),
        key(Request("chat", {**request.body, "max_tokens": 4})),
        key(of="http://other/v1"),
        key(extra_body={"top_k": 1}),
        answer_key(key_prefix(compatible("n", "http://h/v1"), "http://h/v1"), request),
    ]
    assert len({key(), *others}) == len(others) + 1


def test_keys_never_change_between_versions() -> None:
    """A change here would make everything paid for be paid again: raise keys.VERSION if it is meant."""
    endpoint = compatible("qwen", "http://127.0.0.1:8000/v1", extra_body={"top_k": 1})
    request = Request("chat", {"messages": [{"role": "user", "content": "Naïve ☕"}], "temperature": 0})
    found = answer_key(key_prefix(endpoint, endpoint.address), request).hex()
    assert found == "b9f75bfd2db79b374a744e46ec6f249cecb2f930a4e12f044dd158d8b7181f93"
