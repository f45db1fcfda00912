from __future__ import annotations

import asyncio
from collections.abc import Generator, Sequence

import pytest

from luthier.endpoints import Answer, Budget, Endpoint, Engine, Estimate, Report, Request
from luthier.engine.estimates import summed
from luthier.errors import BudgetReached, EndpointError, Interrupted, SpecError
from luthier.providers.exchange import ProgressEvent
from luthier_local import Fault, LocalServer, ModelCard
from tests.questions import question, questions
from tests.texts import embedding

Talk = Generator[Sequence[Request], Sequence[Answer], str]


@pytest.fixture
def embedder(server: LocalServer, endpoint: Endpoint) -> Endpoint:
    """Another model on the same server."""
    server.put_model(ModelCard("embedder", chat=False, completions=False, embeddings=True))
    return endpoint.model_copy(update={"model": "embedder"})


def mixed(embedder: Endpoint, count: int) -> list[Request]:
    """Questions for whoever the conversation is held with, texts for the embedder, by turns."""
    texts = [Request("embedding", {"input": f"text {n}"}, endpoint=embedder) for n in range(count)]
    return [request for pair in zip(questions(count), texts, strict=True) for request in pair]


def test_a_round_may_ask_two_endpoints(
    server: LocalServer, engine: Engine, endpoint: Endpoint, embedder: Endpoint
) -> None:
    report = Report()
    answers = engine.run(mixed(embedder, 20), endpoint, report=report)
    assert [bool(answer.embedding) for answer in answers] == [False, True] * 20
    assert {answer.model for answer in answers[1::2]} == {"embedder"}
    assert (report.requests, report.answered) == (40, 40)
    assert report.spent_usd == pytest.approx(sum(answer.cost_usd or 0.0 for answer in answers))
    again = engine.run(mixed(embedder, 20), endpoint)
    assert all(answer.from_journal for answer in again)
    fresh = engine.run(mixed(embedder, 20), endpoint, fresh=True)
    assert not any(answer.from_journal for answer in fresh)


def test_whom_a_request_names_is_no_part_of_its_key(
    server: LocalServer, engine: Engine, endpoint: Endpoint, embedder: Endpoint
) -> None:
    named = Request("embedding", {"input": "soup"}, endpoint=embedder.model_copy())
    engine.run([named, Request("embedding", {"input": "soup"}, endpoint=embedder)], endpoint)
    assert engine.run([embedding("soup")], embedder)[0].from_journal
    assert server.received.by_path == {"embeddings": 1}


def test_nobody_to_ask_is_said_before_anything_is_sent(server: LocalServer, engine: Engine, embedder: Endpoint) -> None:
    assert len(engine.run(mixed(embedder, 3)[1::2], None)) == 3
    with pytest.raises(SpecError, match="endpoint"):
        engine.run(mixed(embedder, 3), None)
    assert server.received.by_path == {"embeddings": 1}


async def test_conversations_may_ask_two_endpoints_and_need_none_of_their_own(
    engine: Engine, endpoint: Endpoint, embedder: Endpoint
) -> None:
    def talk() -> Talk:
        answers = yield [request for request in mixed(embedder, 2) if request.endpoint]
        asked = [Request(each.operation, each.body, endpoint=endpoint) for each in questions(2)]
        return "".join(answer.text or str(len(answer.vector)) for answer in [*answers, *(yield asked)])

    told = engine.drive(talk(), None)
    assert told.startswith("6464")
    assert await engine.adrive(talk(), None) == told


def test_a_wrong_endpoint_among_two_stops_the_round(
    server: LocalServer, engine: Engine, endpoint: Endpoint, embedder: Endpoint
) -> None:
    wrong = embedder.model_copy(update={"model": "no-such-model"})
    with pytest.raises(EndpointError, match="no-such-model"):
        engine.run(mixed(wrong, 300), endpoint)
    assert server.received.by_path.get("chat/completions", 0) < 300


def test_a_budget_is_shared(engine: Engine, endpoint: Endpoint, embedder: Endpoint) -> None:
    asked = mixed(embedder, 100)
    whole = engine.estimate(asked, endpoint).cost_usd
    assert whole is not None
    budget = Budget(whole / 3)
    with pytest.raises(BudgetReached):
        engine.run(asked, endpoint, budget=budget)
    assert 0 < budget.spent_usd <= budget.cap_usd
    assert budget.reservations == 0


def test_an_estimate_is_the_sum_and_unknown_if_one_is(engine: Engine, endpoint: Endpoint, embedder: Endpoint) -> None:
    both = mixed(embedder, 10)
    one, other = engine.estimate(both[::2], endpoint), engine.estimate(both[1::2], None)
    assert engine.estimate(both, endpoint) == summed([one, other])
    assert (one.distinct + other.distinct, other.max_output_tokens) == (20, 0)
    unpriced = embedder.model_copy(update={"price": None})
    found = engine.estimate(mixed(unpriced, 10), endpoint)
    assert (found.requests, found.cost_usd, found.cost_usd_max) == (20, None, None)
    assert engine.estimate([], None) == Estimate(0, 0, 0, 0, 0, 0, 0)


class Heard:
    def __init__(self) -> None:
        self.words: list[tuple[str, float, float | None, str]] = []

    def expect(self, requests: int) -> None: ...

    def completed(self, answer: Answer) -> None: ...

    def retried(self, wait_seconds: float) -> None: ...

    def working(self, what: str, done: float, total: float | None, said: str) -> None:
        self.words.append((what, done, total, said))


def laborious(closed: list[str]) -> Talk:
    try:
        answers = yield [question("great, stars 1 to 5:")]
        for trial in range(4):
            nothing = yield ProgressEvent("AutoML", trial, 4, f"trial {trial}")
            assert nothing == []
        return answers[0].text
    finally:
        closed.append("closed")


async def test_a_technique_may_say_how_far_its_own_work_is(engine: Engine, endpoint: Endpoint) -> None:
    closed: list[str] = []
    heard = Heard()
    assert engine.drive(laborious(closed), endpoint, progress=heard) in "45"
    assert heard.words == [("AutoML", trial, 4, f"trial {trial}") for trial in range(4)]
    assert await engine.adrive(laborious(closed), endpoint, progress=heard) in "45"
    assert len(heard.words) == 8
    assert closed == ["closed", "closed"]


def test_a_display_that_breaks_is_not_told_again(
    engine: Engine, endpoint: Endpoint, caplog: pytest.LogCaptureFixture
) -> None:
    class Broken(Heard):
        def working(self, what: str, done: float, total: float | None, said: str) -> None:
            raise OSError("the terminal is gone")

    assert engine.drive(laborious([]), endpoint, progress=Broken())
    assert [record.name for record in caplog.records] == ["luthier.engine"]


async def test_a_signal_ends_long_work_between_two_trials(engine: Engine, endpoint: Endpoint) -> None:
    class Impatient(Heard):
        def working(self, what: str, done: float, total: float | None, said: str) -> None:
            super().working(what, done, total, said)
            if done == 1:
                engine.stop(interrupted=True)

    closed: list[str] = []
    heard = Impatient()
    with pytest.raises(Interrupted):
        engine.drive(laborious(closed), endpoint, progress=heard)
    assert len(heard.words) == 2
    assert closed == ["closed"]
    assert engine.was_cut_short
    engine.resume()
    with pytest.raises(Interrupted):
        await asyncio.wait_for(engine.adrive(laborious(closed), endpoint, progress=heard), 10)
    assert closed == ["closed", "closed"]
    engine.resume()


def test_interrupted_groups_land_what_they_have_in_the_air(
    server: LocalServer, engine: Engine, endpoint: Endpoint, embedder: Endpoint
) -> None:
    server.faults.add(Fault("slow", delay_seconds=0.1))

    class StopAtOnce(Heard):
        def completed(self, answer: Answer) -> None:
            engine.stop(interrupted=True)

    with pytest.raises(Interrupted):
        engine.run(mixed(embedder, 100), endpoint, progress=StopAtOnce())
    assert engine.journal.size().answers > 0
    assert server.received.in_flight == 0
    engine.resume()
