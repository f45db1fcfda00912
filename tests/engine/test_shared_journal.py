from __future__ import annotations

import asyncio
import sqlite3
import threading
from collections.abc import Sequence
from pathlib import Path

import pytest

from luthier.endpoints import Answer, Journal
from luthier.engine.estimates import Pricing
from luthier.engine.shared_journal import SharedJournal
from luthier.journal.journal import JournalEntry
from luthier.providers.prices import PriceBook
from tests.patience import PATIENCE_SECONDS

KEYS = [bytes([number]) * 32 for number in range(4)]


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "j.db"


def leased(path: Path) -> set[bytes]:
    connection = sqlite3.connect(path)
    found = {row[0] for row in connection.execute("SELECT key FROM leases")}
    connection.close()
    return found


def shared_on(journal: Journal) -> SharedJournal:
    pricing = Pricing(PriceBook())
    return SharedJournal(
        journal, asyncio.get_running_loop(), pricing, lambda *_: True, lambda *_: None, lambda *_: None
    )


async def test_a_key_that_is_released_and_claimed_at_once_stays_leased(path: Path) -> None:
    journal = Journal(path)
    shared = shared_on(journal)
    for _ in range(3):
        await shared.claim(KEYS)
        shared.release(KEYS)
        await shared.claim(KEYS[:2])
        await shared.committed()
        assert leased(path) == set(KEYS[:2])
        shared.release(KEYS[:2])
    shared.close()
    await shared.committed()
    journal.close()


async def test_leases_whose_call_was_cancelled_meanwhile_are_given_back(path: Path) -> None:
    journal = Journal(path)
    shared = shared_on(journal)
    claiming = asyncio.create_task(shared.claim(KEYS))
    await asyncio.sleep(0)
    claiming.cancel()
    with pytest.raises(asyncio.CancelledError):
        await claiming
    await shared.claim(KEYS[:1])
    shared.release(KEYS[:1])
    await shared.committed()
    assert leased(path) == set()
    shared.close()
    journal.close()


class GatedJournal(Journal):
    """Reads only when the gate of the first key asked for is open."""

    def __init__(self, path: Path) -> None:
        super().__init__(path)
        self.gates = {key: threading.Event() for key in KEYS}

    def lookup(self, keys: Sequence[bytes]) -> dict[bytes, JournalEntry]:
        assert self.gates[keys[0]].wait(PATIENCE_SECONDS)
        return super().lookup(keys)


async def test_an_answer_that_comes_while_two_calls_read_the_same_keys_reaches_the_one_that_reads_on(
    path: Path,
) -> None:
    journal = GatedJournal(path)
    shared = shared_on(journal)
    first, last = KEYS[0], KEYS[-1]
    slow, quick = (asyncio.create_task(shared.find(keys)) for keys in (KEYS, KEYS[::-1]))
    journal.gates[last].set()
    assert await quick == {}
    shared.settled(first, Answer(text="4"))
    journal.gates[first].set()
    assert await slow == {first: Answer(text="4", from_journal=True)}
    journal.close()
