from __future__ import annotations

import asyncio
import json
import os
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from luthier.endpoints import Answer, Budget, Endpoint, Engine, Journal, Price, Report
from luthier.engine.lanes import MOST_TEXTS
from luthier.errors import BudgetReached, EndpointError, Interrupted
from luthier_local import Fault, LocalServer, ModelCard
from tests.questions import question
from tests.scripted_server import Refused, serving
from tests.texts import embedding, texts


@pytest.fixture
def server(monkeypatch: pytest.MonkeyPatch) -> Iterator[LocalServer]:
    """A server with one model that embeds, which keeps what it is sent."""
    monkeypatch.setenv("STARS_KEY", "sk-planted-embedder")
    cards = [ModelCard("stars-model", embeddings=True)]
    with LocalServer(models=cards, api_key="sk-planted-embedder", record=True) as running:
        yield running


def sent(server: LocalServer) -> list[str]:
    """Every text the server was sent, in all calls."""
    return [text for body in server.received.bodies for text in body["input"]]


def told(endpoint: Endpoint, **changes: Any) -> Endpoint:
    return Endpoint.model_validate({**endpoint.model_dump(), **changes})


def test_each_text_is_embedded_once_whatever_it_was_sent_with(
    server: LocalServer, endpoint: Endpoint, tmp_path: Path
) -> None:
    asked = texts(200) + texts(100)
    engine = Engine(Journal(tmp_path / "j.db"))
    report = Report()
    first = engine.run(asked, endpoint, report=report)
    engine.close()
    assert sorted(sent(server)) == sorted(str(request.body["input"]) for request in texts(200))
    calls = server.received.by_path["embeddings"]
    assert calls < 20
    assert (report.requests, report.answered, report.from_journal, report.sent) == (300, 300, 100, calls)
    engine = Engine(Journal(tmp_path / "j.db"))
    again = engine.run(list(reversed(asked)), endpoint)
    assert server.received.by_path["embeddings"] == calls
    assert [answer.embedding for answer in reversed(again)] == [answer.embedding for answer in first]
    assert engine.journal.size().answers == 200
    engine.close()


def test_vectors_are_those_the_openai_client_gets(server: LocalServer, engine: Engine, endpoint: Endpoint) -> None:
    import openai

    ours = engine.run(texts(70), endpoint)
    with openai.OpenAI(base_url=server.base_url, api_key=server.api_key) as client:
        theirs = client.embeddings.create(model="stars-model", input=[str(each.body["input"]) for each in texts(70)])
    for answer, item in zip(ours, theirs.data, strict=True):
        assert answer.vector.dtype == np.dtype("<f4")
        assert np.abs(answer.vector - np.array(item.embedding, dtype="<f4")).max() == 0


def test_tokens_and_money_are_shared_out_to_the_last(server: LocalServer, engine: Engine, endpoint: Endpoint) -> None:
    report = Report()
    answers = engine.run([embedding("good"), embedding("good food " * 30), *texts(30)], endpoint, report=report)
    import openai

    with openai.OpenAI(base_url=server.base_url, api_key=server.api_key) as client:
        counted = client.embeddings.create(model="stars-model", input=sent(server)).usage.prompt_tokens
    assert report.input_tokens == sum(answer.usage.input_tokens for answer in answers) == counted
    assert report.spent_usd == pytest.approx(counted / 1e6)
    assert answers[1].usage.input_tokens > 10 * answers[0].usage.input_tokens


def test_dimensions_are_part_of_what_was_asked(server: LocalServer, engine: Engine, endpoint: Endpoint) -> None:
    whole, short, other = engine.run(
        [embedding("great soup"), embedding("great soup", dimensions=8), embedding("bad soup", dimensions=8)], endpoint
    )
    assert len(whole.vector) > 8
    assert len(short.vector) == len(other.vector) == 8
    assert [(len(body["input"]), body.get("dimensions")) for body in server.received.bodies] == [(1, None), (2, 8)]


async def test_runs_at_the_same_time_share_their_texts(server: LocalServer, engine: Engine, endpoint: Endpoint) -> None:
    runs = await asyncio.gather(*(engine.arun(texts(100, start=20 * n), endpoint) for n in range(4)))
    assert len(sent(server)) == len(set(sent(server))) == 160
    assert runs[0][20].embedding == runs[1][0].embedding


def test_a_table_is_sent_in_few_calls_of_bounded_size(server: LocalServer, engine: Engine, endpoint: Endpoint) -> None:
    engine.run(texts(1000), told(endpoint, limits={"concurrency": 2}))
    sizes = [len(body["input"]) for body in server.received.bodies]
    assert max(sizes) <= MOST_TEXTS
    assert len(sizes) < 20
    assert server.received.most_in_flight <= 2


def test_one_poisoned_text_fails_alone(server: LocalServer, engine: Engine, endpoint: Endpoint) -> None:
    server.faults.add(Fault("poison", contains="visit 77:"))
    report = Report()
    answers = engine.run(texts(300), endpoint, report=report)
    assert [n for n, answer in enumerate(answers) if answer.failure is not None] == [77]
    assert answers[77].failure == "content"
    assert report.failed == {"content": 1}
    assert all(len(answer.vector) == len(answers[0].vector) for n, answer in enumerate(answers) if n != 77)
    calls = server.received.by_path["embeddings"]
    assert calls < 30, "halves are tried, not every text"
    assert all(answer.from_journal for answer in engine.run(texts(300), endpoint)), "the failure is kept as well"
    assert server.received.by_path["embeddings"] == calls


def test_several_bad_texts_are_all_found(server: LocalServer, engine: Engine, endpoint: Endpoint) -> None:
    for number in (0, 1, 63, 250):
        server.faults.add(Fault("status", status=400, contains=f"visit {number}:", message="cannot read this"))
    answers = engine.run(texts(256), endpoint)
    assert [n for n, answer in enumerate(answers) if answer.failure == "permanent"] == [0, 1, 63, 250]


def test_a_failure_that_passes_is_sent_again_with_all_its_texts(
    server: LocalServer, engine: Engine, endpoint: Endpoint
) -> None:
    server.faults.add(Fault("rate_limit", retry_after_seconds=0.05, nth=1))
    server.faults.add(Fault("status", status=503, nth=3))
    server.faults.add(Fault("reset", nth=4))
    report = Report()
    answers = engine.run(texts(300), endpoint, report=report)
    assert all(answer.failure is None for answer in answers)
    assert report.retries == 3, "calls are counted, not texts"
    assert report.rate_limited == 1
    assert report.sent == server.received.by_path["embeddings"]


def vectors(asked: bytes) -> list[dict[str, Any]]:
    """Float lists, as servers give that do not know base64; in reverse, with their numbers."""
    given = json.loads(asked)["input"]
    items = [{"index": n, "embedding": [float(len(text)), 0.1, n + 1]} for n, text in enumerate(given)]
    return items[::-1]


def answering(change: Callable[[list[dict[str, Any]]], object]) -> Callable[[bytes], str]:
    def answer(asked: bytes) -> str:
        items = vectors(asked)
        changed = change(items)
        return json.dumps({"data": items if changed is None else changed, "model": "m-1"})

    return answer


def test_lists_of_numbers_are_read_too_and_put_in_order(engine: Engine, endpoint: Endpoint) -> None:
    with serving(200, answering(lambda items: None)) as url:
        plain = told(endpoint, base_url=url)
        answers = engine.run([embedding("a"), embedding("bb")], plain)
        again = engine.run([embedding("bb")], plain)[0]
    assert [answer.vector.tolist() for answer in answers] == [
        [1.0, np.float32(0.1), 1.0],
        [2.0, np.float32(0.1), 2.0],
    ]
    assert (again.embedding, again.from_journal) == (answers[1].embedding, True)


def drop(items: list[dict[str, Any]]) -> object:
    return items[1:]


def misnumber(items: list[dict[str, Any]]) -> None:
    items[0]["index"] = 7


def twice(items: list[dict[str, Any]]) -> None:
    items[0]["index"] = items[1]["index"]


def shorten(items: list[dict[str, Any]]) -> None:
    items[0]["embedding"] = [1.0]


@pytest.mark.parametrize("change", [drop, misnumber, twice, shorten])
def test_an_answer_that_nobody_can_be_sure_of_is_given_to_nobody(
    change: Callable[[list[dict[str, Any]]], object], endpoint: Endpoint
) -> None:
    engine = Engine(Journal.in_memory(), max_attempts=2, backoff_seconds=0.01)
    with serving(200, answering(change)) as url:
        answers = engine.run(texts(3), told(endpoint, base_url=url))
    engine.close()
    assert {answer.failure for answer in answers} == {"transient"}
    assert all("unreadable" in str(answer.error) for answer in answers)


@pytest.mark.parametrize("bad", [[float("nan"), 1.0, 1.0], [0.0, 0.0, 0.0], "not base64!"])
def test_a_vector_that_is_none_costs_no_other_text(bad: object, endpoint: Endpoint) -> None:
    def spoil(items: list[dict[str, Any]]) -> None:
        for item in items:
            if item["embedding"][0] == 4.0:
                item["embedding"] = bad

    engine = Engine(Journal.in_memory(), max_attempts=2, backoff_seconds=0.01)
    with serving(200, answering(spoil)) as url:
        answers = engine.run([embedding("good"), embedding("awful"), embedding("bad")], told(endpoint, base_url=url))
    engine.close()
    assert [answer.failure for answer in answers] == ["transient", None, None]


@pytest.mark.parametrize(
    "message",
    ["batch size 64 > maximum allowed batch size 32", pytest.param("Validation failed", marks=pytest.mark.slow)],
)
def test_a_service_that_takes_fewer_texts_is_remembered(message: str, engine: Engine) -> None:
    sizes: list[int] = []

    def answer(asked: bytes) -> str:
        sizes.append(len(json.loads(asked)["input"]))
        if sizes[-1] > 32:
            raise Refused(422, json.dumps({"error": {"message": message}}))
        return json.dumps({"data": vectors(asked), "model": "m"})

    with serving(200, answer) as url:
        endpoint = Endpoint(provider="compatible", base_url=url, model="m", limits={"concurrency": 1})
        assert all(answer.failure is None for answer in engine.run(texts(300), endpoint))
        assert 0 < sum(size > 32 for size in sizes) < 12
        sizes.clear()
        engine.run(texts(100, start=1000), endpoint)
        assert max(sizes) <= 32


@pytest.mark.slow
def test_the_token_limit_holds_for_whole_calls(monkeypatch: pytest.MonkeyPatch, engine: Engine) -> None:
    monkeypatch.setenv("K", "sk-1")
    cards = [ModelCard("m", embeddings=True)]
    with LocalServer(models=cards, api_key="sk-1", tokens_per_minute=120_000, burst_tokens=2500, record=True) as server:
        endpoint = Endpoint(
            provider="compatible",
            base_url=server.base_url,
            model="m",
            api_key_env="K",
            limits={"tokens_per_minute": 120_000},
        )
        answers = engine.run([embedding(f"{n} " + "soup " * 40) for n in range(100)], endpoint)
        assert all(answer.failure is None for answer in answers)
        assert server.received.by_status == {200: len(server.received.bodies)}, "nothing was refused"
        assert max(len(body["input"]) for body in server.received.bodies) < 50


def test_a_budget_holds_to_the_text(server: LocalServer, endpoint: Endpoint, engine: Engine) -> None:
    asked = [embedding(f"{n} " + "soup " * 100) for n in range(200)]
    whole = engine.estimate(asked, endpoint).cost_usd
    assert whole is not None
    budget = Budget(whole / 4)
    with pytest.raises(BudgetReached, match="larger budget"):
        engine.run(asked, endpoint, budget=budget)
    assert 0 < budget.spent_usd <= budget.cap_usd
    assert budget.reservations == 0
    kept = engine.journal.size().answers
    assert kept == len(sent(server))
    answers = engine.run(asked, endpoint, budget=Budget(2 * whole))
    assert sum(answer.from_journal for answer in answers) == kept
    assert len(set(sent(server))) == len(sent(server)) == 200


def test_stopping_lands_what_is_in_the_air(server: LocalServer, endpoint: Endpoint, engine: Engine) -> None:
    class StopAtOnce:
        def expect(self, requests: int) -> None: ...

        def completed(self, answer: Answer) -> None:
            engine.stop(interrupted=True)

        def retried(self, wait_seconds: float) -> None: ...

        def working(self, what: str, done: float, total: float | None, said: str) -> None: ...

    with pytest.raises(Interrupted, match="Run the same again"):
        engine.run(texts(900), told(endpoint, limits={"concurrency": 1}), progress=StopAtOnce())
    assert engine.journal.size().answers == len(sent(server)) < 900
    engine.resume()
    assert all(answer.failure is None for answer in engine.run(texts(900), endpoint))
    assert len(sent(server)) == 900


def test_stopping_between_two_tries_gives_every_text_an_end(
    server: LocalServer, endpoint: Endpoint, tmp_path: Path
) -> None:
    engine = Engine(Journal(tmp_path / "j.db"), backoff_seconds=30.0)
    server.faults.add(Fault("status", status=503))

    class StopAtRetry:
        def expect(self, requests: int) -> None: ...

        def completed(self, answer: Answer) -> None: ...

        def retried(self, wait_seconds: float) -> None:
            engine.stop()

        def working(self, what: str, done: float, total: float | None, said: str) -> None: ...

    answers = engine.run(texts(300), endpoint, progress=StopAtRetry())
    assert len(answers) == 300
    assert {answer.failure for answer in answers} <= {"stopped", "transient"}
    engine.close()


@pytest.mark.filterwarnings("ignore:.*multi-threaded.*:DeprecationWarning")
def test_a_fork_embeds_on_its_own(server: LocalServer, endpoint: Endpoint, tmp_path: Path) -> None:
    engine = Engine(Journal(tmp_path / "j.db"))
    engine.run(texts(20), endpoint)
    child = os.fork()
    if child == 0:
        code = 1
        try:
            answers = engine.run(texts(40), endpoint)
            code = 0 if sum(answer.from_journal for answer in answers) == 20 else 2
        finally:
            os._exit(code)
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0
    assert all(answer.from_journal for answer in engine.run(texts(40), endpoint))
    assert len(sent(server)) == 40
    engine.close()


def test_a_deployment_that_embeds_is_asked_what_it_is_by_a_text(
    server: LocalServer, engine: Engine, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("AZURE_OPENAI_API_KEY", server.api_key)
    server.put_model(
        ModelCard("mine", reports_model="text-embedding-3-small", chat=False, completions=False, embeddings=True)
    )
    deployment = Endpoint(provider="azure", model="mine", base_url=server.azure_url)
    answers = engine.run(texts(5), deployment)
    assert answers[0].model == "text-embedding-3-small"
    assert answers[0].cost_usd, "the price is that of the model behind the name"
    assert sent(server)[0] == "1"
    assert len(sent(server)) == 6


def test_a_model_that_does_not_embed_stops_the_run(server: LocalServer, engine: Engine, endpoint: Endpoint) -> None:
    server.put_model(ModelCard("stars-model"))
    with pytest.raises(EndpointError, match=r"embeddings.*/v1/embeddings.*luthier check"):
        engine.run(texts(300), endpoint)
    assert server.received.total <= 8, "not every text is tried"
    with (
        pytest.raises(EndpointError, match="does not offer embeddings"),
        serving(404, '{"detail": "Not Found"}') as url,
    ):
        engine.run(texts(3), told(endpoint, base_url=url))


def test_dimensions_the_model_does_not_have_stop_the_run(engine: Engine, endpoint: Endpoint) -> None:
    said = '{"error": {"message": "This model does not support specifying dimensions.", "param": null}}'
    with serving(400, said) as url, pytest.raises(EndpointError, match="Leave `dimensions:` out"):
        engine.run([embedding("a", dimensions=8)], told(endpoint, base_url=url))


def test_texts_and_questions_may_be_asked_in_one_round(server: LocalServer, engine: Engine, endpoint: Endpoint) -> None:
    asked = [embedding("a soup"), question("great, stars 1 to 5:"), embedding("a room")]
    one, two, three = engine.run(asked, endpoint)
    assert one.embedding
    assert two.text in "12345"
    assert three.embedding


def test_fresh_embeds_again_each_text_once(server: LocalServer, engine: Engine, endpoint: Endpoint) -> None:
    engine.run(texts(10), endpoint)
    engine.run(texts(10) * 3, endpoint, fresh=True)
    assert len(sent(server)) == 20


def test_an_unknown_price_is_not_zero(server: LocalServer, engine: Engine, endpoint: Endpoint) -> None:
    answers = engine.run(texts(3), told(endpoint, price=None))
    assert all(answer.cost_usd is None for answer in answers)
    free = engine.run(texts(3, start=9), told(endpoint, price=Price(input_usd_per_million=0, output_usd_per_million=0)))
    assert all(answer.cost_usd == 0 for answer in free)


def test_a_key_in_a_vector_call_is_not_kept(server: LocalServer, endpoint: Endpoint, tmp_path: Path) -> None:
    engine = Engine(Journal(tmp_path / "j.db"))
    engine.run(texts(5), endpoint)
    engine.close()
    assert all(server.api_key.encode() not in path.read_bytes() for path in tmp_path.glob("j.db*"))
