"""Several endpoints of one model share the work; one that fails is left out, and its rows go to the others."""

from __future__ import annotations

import threading
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import ExitStack
from typing import Any

import pytest

from luthier.endpoints import Answer, Budget, Endpoint, Engine, Journal, Limits, Price, Report
from luthier.errors import EndpointError, UserError
from luthier_local import Fault, LocalServer, ModelCard
from tests.patience import PATIENCE_SECONDS
from tests.questions import question, questions

KEY = "sk-of-all-three"


@pytest.fixture
def servers(monkeypatch: pytest.MonkeyPatch) -> Iterator[list[LocalServer]]:
    """Three servers of one model."""
    monkeypatch.setenv("POOL_KEY", KEY)
    with ExitStack() as stack:
        yield [
            stack.enter_context(LocalServer(models=[ModelCard("stars-model")], api_key=KEY, latency_seconds=0.01))
            for _ in range(3)
        ]


def at(server: LocalServer, **settings: object) -> Endpoint:
    given: dict[str, Any] = {
        "api_key_env": "POOL_KEY",
        "price": Price(input_usd_per_million=1, output_usd_per_million=1),
        **settings,
    }
    return Endpoint(provider="compatible", model="stars-model", base_url=server.base_url, **given)


def pool_of(*members: Endpoint) -> Endpoint:
    first, *others = members
    return first.model_copy(update={"others": tuple(others)})


def received(servers: list[LocalServer]) -> list[int]:
    return [server.received.total for server in servers]


def failures(answers: list[Answer]) -> list[str]:
    return [answer.failure for answer in answers if answer.failure is not None]


def test_the_work_is_shared_by_weight_while_all_have_room(servers: list[LocalServer], engine: Engine) -> None:
    # A known rate far above what is asked: none is paced while its limit is being learned.
    roomy = Limits(requests_per_minute=100_000)
    pool = pool_of(*(at(server, weight=place, limits=roomy) for place, server in enumerate(servers, start=1)))
    report = Report()
    for call in range(10):
        assert not failures(engine.run(questions(6, start=6 * call), pool, report=report))
    assert received(servers) == [10, 20, 30]
    assert sorted(report.answered_by.values()) == [10, 20, 30]
    assert f"30 answers from stars-model at {servers[2].base_url}" in report.notes[-1]


def test_each_keeps_its_own_limits_and_a_full_one_holds_up_no_other(servers: list[LocalServer], engine: Engine) -> None:
    slow = at(servers[0], limits=Limits(requests_per_minute=6), weight=100)
    began = time.monotonic()
    answers = engine.run(questions(120), pool_of(slow, at(servers[1])))
    assert not failures(answers)
    assert servers[0].received.total <= 3 + 0.11 * (time.monotonic() - began)
    assert servers[1].received.total >= 100


def test_answers_are_kept_under_the_first_endpoints_name(servers: list[LocalServer], engine: Engine) -> None:
    first, second = at(servers[0]), at(servers[1])
    engine.run(questions(20), pool_of(first, second))
    alone = engine.run(questions(20), first)
    assert all(answer.from_journal for answer in alone)
    assert engine.estimate(questions(20), pool_of(first, at(servers[2]))).left == 0
    assert sum(received(servers)) == 20


def test_an_answer_costs_what_the_endpoint_that_gave_it_charges(servers: list[LocalServer], engine: Engine) -> None:
    dear = at(servers[1], price=Price(input_usd_per_million=10, output_usd_per_million=10))
    answers = engine.run(questions(20), pool_of(at(servers[0]), dear))
    costs = Counter(
        round((answer.cost_usd or 0) * 1e6 / (answer.usage.input_tokens + answer.usage.output_tokens))
        for answer in answers
    )
    assert costs == {1: servers[0].received.total, 10: servers[1].received.total}


def test_an_estimate_knows_the_dearest_and_the_cheapest(servers: list[LocalServer], engine: Engine) -> None:
    cheap, dear = at(servers[0]), at(servers[1], price=Price(input_usd_per_million=10, output_usd_per_million=10))
    pooled = engine.estimate(questions(20), pool_of(cheap, dear))
    one, other = engine.estimate(questions(20), cheap), engine.estimate(questions(20), dear)
    assert (pooled.cost_usd_min, pooled.cost_usd_max) == (one.cost_usd_min, other.cost_usd_max)
    assert pooled.cost_usd == pytest.approx(((one.cost_usd or 0) + (other.cost_usd or 0)) / 2)
    assert pooled.requests == 20


def test_a_budget_wants_a_price_of_each(servers: list[LocalServer], engine: Engine) -> None:
    with pytest.raises(UserError, match="price"):
        engine.run(questions(3), pool_of(at(servers[0]), at(servers[1], price=None)), budget=Budget(1.0))
    assert sum(received(servers)) == 0


def test_a_budget_holds_whoever_answers(servers: list[LocalServer], engine: Engine) -> None:
    dear = at(servers[1], price=Price(input_usd_per_million=100, output_usd_per_million=100))
    budget = Budget(0.01)
    with pytest.raises(Exception, match="budget"):
        engine.run(questions(200), pool_of(at(servers[0]), dear), budget=budget)
    assert 0 < budget.spent_usd <= 0.01


@pytest.mark.parametrize(
    "fault",
    [
        Fault("status", status=500),
        Fault("status", status=403, message="not for you"),
        Fault("quota"),
        Fault("status", status=404, code="model_not_found", message="the model does not exist"),
        Fault("reset"),
        Fault("malformed_json"),
    ],
    ids=lambda fault: f"{fault.action}{fault.status if fault.action == 'status' else ''}",
)
def test_one_that_fails_gets_little_and_every_row_is_answered(
    fault: Fault, servers: list[LocalServer], engine: Engine
) -> None:
    servers[1].faults.add(fault)
    report = Report()
    answers = engine.run(questions(300), pool_of(*map(at, servers)), report=report)
    assert not failures(answers)
    assert servers[1].received.total <= 60
    assert any(servers[1].base_url in note and "left out" in note for note in report.notes)
    assert engine.journal.size().failures == 0


def test_a_wrong_key_or_none_at_one_leaves_the_others_at_work(
    servers: list[LocalServer], engine: Engine, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("WRONG_KEY", "sk-wrong")
    pool = pool_of(at(servers[0], api_key_env="WRONG_KEY"), at(servers[1], api_key_env="NO_KEY"), at(servers[2]))
    answers = engine.run(questions(100), pool)
    assert not failures(answers)
    assert servers[0].received.total <= 40
    assert servers[1].received.total == 0


def test_a_row_told_to_wait_goes_elsewhere_at_once(servers: list[LocalServer], engine: Engine) -> None:
    fault = servers[0].faults.add(Fault("rate_limit", retry_after_seconds=500))
    answers = engine.run(questions(20), pool_of(at(servers[0]), at(servers[1])))
    # Each would be waited for where it is.
    assert fault.fired and not failures(answers)
    assert servers[1].received.total == 20


def test_a_text_that_is_refused_is_not_shown_to_the_others(servers: list[LocalServer], engine: Engine) -> None:
    for server in servers:
        server.faults.add(Fault("poison", contains="visit 5:"))
    answers = engine.run(questions(30), pool_of(*map(at, servers)))
    assert [answer.failure for answer in answers] == [None] * 5 + ["content"] + [None] * 24
    assert sum(received(servers)) == 30


@pytest.mark.slow
def test_a_server_killed_in_the_middle_costs_no_row(servers: list[LocalServer], engine: Engine) -> None:
    killed = threading.Event()

    class Watching:
        done = 0

        def expect(self, requests: int) -> None: ...
        def retried(self, wait_seconds: float) -> None: ...
        def working(self, what: str, done: float, total: float | None, said: str) -> None: ...
        def completed(self, answer: Answer) -> None:
            self.done += 1
            if self.done == 200:
                killed.set()

    def kill() -> None:
        killed.wait(PATIENCE_SECONDS)
        servers[1].stop()

    thread = threading.Thread(target=kill)
    thread.start()
    answers = engine.run(questions(1000), pool_of(*map(at, servers)), progress=Watching())
    thread.join()
    assert not failures(answers)
    assert len(answers) == 1000
    assert sum(engine.report.answered_by.values()) == 1000


def test_one_that_works_again_is_used_again(servers: list[LocalServer]) -> None:
    engine = Engine(Journal.in_memory(), backoff_seconds=0.01, longest_backoff_seconds=0.1)
    servers[1].faults.add(Fault("status", status=500, times=6))
    pool = pool_of(*(at(server, limits=Limits(concurrency=4)) for server in servers[:2]))
    answers = engine.run(questions(600), pool)
    engine.close()
    assert not failures(answers)
    assert servers[1].received.total >= 100


def test_where_none_is_left_the_call_stops_and_the_error_names_each(
    servers: list[LocalServer], engine: Engine, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("WRONG_KEY", "sk-wrong")
    gone = at(servers[1])
    servers[1].stop()
    servers[2].faults.add(Fault("quota"))
    pool = pool_of(at(servers[0], api_key_env="WRONG_KEY"), gone, at(servers[2]))
    with pytest.raises(EndpointError) as caught:
        engine.run(questions(50), pool)
    said = str(caught.value)
    assert "none of the 3 endpoints takes requests" in said
    assert "WRONG_KEY" in said
    assert "cannot be reached" in said
    assert "nothing left to spend" in said
    assert engine.journal.size().failures == 0, "it says nothing about the rows"


def test_after_that_a_call_tries_them_at_once(servers: list[LocalServer], engine: Engine) -> None:
    faults = [server.faults.add(Fault("quota")) for server in servers[:2]]
    pool = pool_of(at(servers[0]), at(servers[1]))
    with pytest.raises(EndpointError):
        engine.run(questions(5), pool)
    for fault, server in zip(faults, servers, strict=False):
        assert fault.fired
        server.faults.clear()
    assert not failures(engine.run(questions(5), pool))


def test_all_that_fail_for_a_while_are_waited_for(servers: list[LocalServer]) -> None:
    engine = Engine(Journal.in_memory(), backoff_seconds=0.02, longest_backoff_seconds=1.0)
    for server in servers[:2]:
        server.faults.add(Fault("status", status=503, times=6))
    answers = engine.run(questions(20), pool_of(at(servers[0]), at(servers[1])))
    engine.close()
    assert not failures(answers)


def test_all_that_go_on_failing_stop_the_call(servers: list[LocalServer]) -> None:
    engine = Engine(Journal.in_memory(), backoff_seconds=0.01, longest_backoff_seconds=0.05)
    for server in servers[:2]:
        server.faults.add(Fault("status", status=503, message="maintenance"))
    with pytest.raises(EndpointError, match=r"\(1\).*maintenance.*\(2\).*maintenance"):
        engine.run(questions(40), pool_of(at(servers[0]), at(servers[1])))
    engine.close()


def test_an_account_that_is_also_asked_alone_shares_its_limits(servers: list[LocalServer]) -> None:
    limited = at(servers[0], limits=Limits(requests_per_minute=600))
    engine = Engine(Journal.in_memory())
    threads = [
        threading.Thread(target=engine.run, args=(questions(10, start=1000), limited)),
        threading.Thread(target=engine.run, args=(questions(200), pool_of(limited, at(servers[1])))),
    ]
    began = time.monotonic()
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(PATIENCE_SECONDS)
    seconds = time.monotonic() - began
    engine.close()
    assert servers[0].received.total <= 3 + 10 * seconds
    assert sum(received(servers)) == 210


def test_different_models_under_one_list_are_told(servers: list[LocalServer], engine: Engine) -> None:
    servers[1].put_model(ModelCard("other-model"))
    report = Report()
    other = at(servers[1]).model_copy(update={"model": "other-model"})
    engine.run(questions(20), pool_of(at(servers[0]), other), report=report)
    assert any("says it is other-model" in note and "must serve one model" in note for note in report.notes)


def test_texts_to_embed_go_to_all(monkeypatch: pytest.MonkeyPatch, engine: Engine) -> None:
    monkeypatch.setenv("POOL_KEY", KEY)
    from luthier.endpoints import Request

    with (
        LocalServer(models=[ModelCard("stars-model", embeddings=True)], api_key=KEY) as one,
        LocalServer(models=[ModelCard("stars-model", embeddings=True)], api_key=KEY) as two,
    ):
        two.faults.add(Fault("status", status=500, nth=1))
        texts = [Request("embedding", {"input": f"visit {number}: great soup"}) for number in range(400)]
        answers = engine.run(texts, pool_of(at(one), at(two)))
        assert all(len(answer.vector) for answer in answers)
        assert one.received.total
        assert two.received.total


def test_a_question_goes_to_an_endpoint_that_has_not_refused_it(servers: list[LocalServer], engine: Engine) -> None:
    servers[0].faults.add(Fault("status", status=403, message="not allowed here", contains="visit 0:"))
    answers = engine.run([question("Stars 1 to 5 for visit 0: fine")], pool_of(at(servers[0]), at(servers[1])))
    assert not failures(answers)
