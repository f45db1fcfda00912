"""A journal in memory that forgets the oldest."""

from __future__ import annotations

import pandas as pd

import luthier as lt
from luthier.endpoints import Endpoint
from luthier.journal.journal import JournalEntry
from luthier.journal.memory_journal import MemoryJournal
from luthier.packaging.model import LuthierModel
from luthier.packaging.serving_engine import ServingEngine
from luthier.spec import Fitted
from luthier_local import LocalServer
from tests.conftest import stars


def entry(key: bytes, state: str = "answered", body: bytes = b"{}") -> JournalEntry:
    failure = None if state == "answered" else "permanent"
    return JournalEntry(key, state, "chat", "here", "some-model", failure=failure, body=body, cost_usd=0.5)


def test_it_forgets_the_oldest_by_count_and_by_size() -> None:
    journal = MemoryJournal(most_answers=3, most_bytes=100)
    journal.put(entry(bytes([number])) for number in range(5))
    assert set(journal.lookup([bytes([number]) for number in range(5)])) == {b"\2", b"\3", b"\4"}
    journal.put([entry(b"large", body=b"x" * 97)])
    assert set(journal.lookup([b"\2", b"\3", b"\4", b"large"])) == {b"\4", b"large"}
    assert (journal.size().answers, journal.size().bytes, journal.size().cost_usd) == (2, 99, 1.0)


def test_a_failure_does_not_replace_an_answer() -> None:
    journal = MemoryJournal()
    journal.put([entry(b"a"), entry(b"a", "failed"), entry(b"b", "failed")])
    assert journal.lookup([b"a"])[b"a"].state == "answered"
    assert journal.settled([b"a", b"b", b"c"]) == {b"a"}
    assert journal.settled([b"a", b"b", b"c"], {"permanent"}) == {b"a", b"b"}
    assert journal.purge(older_than_days=1) == 0
    assert journal.purge() == 2
    assert journal.size().bytes == 0


def test_a_packaged_model_asks_the_same_once_while_it_is_remembered(server: LocalServer, endpoint: Endpoint) -> None:
    engine = ServingEngine()
    assert isinstance(engine.journal, MemoryJournal)
    engine.journal.most_answers = 2
    model = LuthierModel(Fitted(lt.Prompt(stars(), "Stars for: {{ text }}", endpoint=endpoint)), engine)
    frame = pd.DataFrame({"text": ["soup", "wine", "soup"]})
    first = model.predict(frame)
    pd.testing.assert_frame_equal(model.predict(frame), first)
    assert server.received.total == 2
    model.predict(pd.DataFrame({"text": ["tea"]}))
    model.predict(frame[:1])
    assert server.received.total == 4
    engine.close()
