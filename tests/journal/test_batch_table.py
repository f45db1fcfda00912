"""Which requests are in which batch, so that each is bought once."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from luthier.errors import UserError
from luthier.journal.batch_table import BatchTable
from luthier.journal.journal import Journal, JournalEntry
from luthier.journal.stored_batches import StoredBatch

KEYS = [bytes([number]) for number in range(6)]


@pytest.fixture
def journal(tmp_path: Path) -> Iterator[Journal]:
    made = Journal(tmp_path / "journal.db")
    yield made
    made.close()


def begin(table: BatchTable, token: str) -> StoredBatch:
    named = {"operation": "chat", "identity": "here", "model": "m", "address": "http://here/v1", "endpoint": "{}"}
    return table.begin(token=token, purpose="test", **named)


def test_a_request_is_in_one_open_batch(journal: Journal) -> None:
    table = BatchTable(journal)
    first, second = begin(table, "a"), begin(table, "b")
    assert table.claim(first, KEYS[:3], most_attempts=3).taken == set(KEYS[:3])
    claimed = table.claim(second, KEYS[1:4], most_attempts=3)
    assert claimed.taken == {KEYS[3]} and claimed.waiting == dict.fromkeys(KEYS[1:3], first.number)


def test_what_is_answered_or_asked_live_goes_into_no_batch(journal: Journal) -> None:
    journal.put([JournalEntry(KEYS[0], "answered", "chat", "here", "m", body=b"{}")])
    journal.put([JournalEntry(KEYS[1], "failed", "chat", "here", "m", failure="content")])
    journal.lease([KEYS[2]], None)
    table = BatchTable(journal)
    claimed = table.claim(begin(table, "a"), KEYS[:4], most_attempts=3, final=("content",))
    assert (claimed.settled, claimed.elsewhere, claimed.taken) == (set(KEYS[:2]), {KEYS[2]}, {KEYS[3]})


def test_what_is_in_an_open_batch_is_not_leased(journal: Journal) -> None:
    table = BatchTable(journal)
    batch = begin(table, "token-a")
    table.claim(batch, KEYS[:1], most_attempts=3)
    with pytest.raises(UserError, match=r"test; token-a at http://here/v1.*luthier batches cancel token-a"):
        journal.lease(KEYS[:2], None)
    table.discard(batch)
    assert journal.lease(KEYS[:2], None).held == set()


def test_requests_without_an_answer_remember_how_often_they_were_tried(journal: Journal) -> None:
    table = BatchTable(journal)
    for token in "ab":
        batch = begin(table, token)
        assert table.claim(batch, KEYS[:2], most_attempts=2).taken
        table.release(batch, KEYS[:1], counts=True)
        journal.put([JournalEntry(KEYS[0], "answered", "chat", "here", "m", body=b"{}")])
    last = begin(table, "c")
    assert table.claim(last, KEYS[1:2], most_attempts=2).spent == {KEYS[1]}
    table.forget_attempts([KEYS[1]])
    assert table.claim(last, KEYS[1:2], most_attempts=2).taken == {KEYS[1]}


def test_a_purge_forgets_tries_and_leaves_what_is_open(journal: Journal) -> None:
    table = BatchTable(journal)
    tried, running = begin(table, "a"), begin(table, "b")
    table.claim(tried, KEYS[:1], most_attempts=1)
    table.advance(table.release(tried, (), counts=True), "closed")
    table.claim(running, KEYS[1:2], most_attempts=1)
    journal.purge()
    assert [batch.token for batch in table.open()] == ["b"] and table.keys(running) == {KEYS[1]}
    assert table.claim(running, KEYS[:1], most_attempts=1).taken == {KEYS[0]}


def test_a_batch_that_was_never_begun_does_not_count_as_a_try(journal: Journal) -> None:
    table = BatchTable(journal)
    for token in "abc":
        batch = begin(table, token)
        assert table.claim(batch, KEYS[:1], most_attempts=1).taken
        table.release(batch, (), counts=False)


def test_another_connection_sees_the_state_a_batch_is_in(journal: Journal) -> None:
    table = BatchTable(journal)
    batch = table.advance(begin(table, "a"), "created", batch_id="batch_1", status="validating")
    other = Journal(journal.path)
    assert BatchTable(other).open() == [batch]
    BatchTable(other).advance(batch, "closed")
    assert table.open() == []
    other.close()
