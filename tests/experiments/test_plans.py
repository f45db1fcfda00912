"""What a price is judged by, where what is asked hangs on earlier answers."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator

import pytest

import luthier as lt
from luthier.endpoints import Endpoint, Engine, Journal, Price, RunOptions
from luthier.plans import plan_fit
from luthier_local import LocalServer, ModelCard
from tests.conftest import KEY, reviews


@pytest.fixture
def server(monkeypatch: pytest.MonkeyPatch) -> Iterator[LocalServer]:
    monkeypatch.setenv("STARS_KEY", KEY)
    with LocalServer(models=[ModelCard("stars-model"), ModelCard("embedder", embeddings=True)], api_key=KEY) as running:
        yield running


@pytest.fixture
def embedder(endpoint: Endpoint) -> Endpoint:
    return endpoint.model_copy(
        update={"model": "embedder", "price": Price(input_usd_per_million=0.1, output_usd_per_million=0)}
    )


@pytest.mark.parametrize("select", ["nearest", "searched"])
def test_what_the_journal_will_answer_costs_nothing_and_what_it_lacks_is_counted(
    task: lt.Task, endpoint: Endpoint, embedder: Endpoint, server: LocalServer, select: str
) -> None:
    chosen: dict[str, object] = {"count": 2, "select": select}
    chosen |= {"endpoint": embedder} if select == "nearest" else {"samples": 8, "rows": 20}
    spec = lt.Prompt(task, "Stars: {{ text }}", examples=chosen, endpoint=endpoint, name="few")
    train, test, more = reviews(60, seed=1), reviews(10, seed=2), reviews(14, seed=2)
    engine = Engine(Journal.in_memory())
    rows = task.rows(test)
    fitted = engine.drive(spec.fit(task.rows(train, labelled=True)), endpoint)
    assert plan_fit(spec, task.rows(train, labelled=True), RunOptions(engine=engine)).requests == 0
    engine.drive(fitted.predict(rows), endpoint)

    plan = lt.plan([spec], test, train=train, engine=engine)
    assert (plan.requests, plan.cost_usd) == (0, 0)
    asked = server.received.total
    longer = lt.plan([spec], more, train=train, engine=engine)
    # Four rows are new: each is a call, and a text to embed where examples are the nearest.
    assert longer.requests == (4 + 4 if select == "nearest" else 4)
    assert server.received.total == asked
    assert lt.plan([spec], test, train=train, engine=engine, fresh=True).requests > 10


@pytest.mark.parametrize("rounds", [1, 4, 100])
def test_a_search_that_was_begun_is_priced_by_what_it_can_still_take(
    task: lt.Task, endpoint: Endpoint, server: LocalServer, rounds: int
) -> None:
    chosen = {"count": 2, "select": "searched", "samples": 10, "rows": 40}
    answer = {"method": "score", "calibration_rows": 5}
    spec = lt.Prompt(task, "Stars: {{ text }}", examples=chosen, answer=answer, endpoint=endpoint, name="few")
    train = task.rows(reviews(80, seed=1), labelled=True)
    engine = Engine(Journal.in_memory())
    before = plan_fit(spec, train, RunOptions(engine=engine)).requests
    search = spec.fit(train)
    asked = next(search)
    with contextlib.suppress(StopIteration):
        for _ in range(rounds):
            while not asked:
                asked = search.send([])
            asked = search.send(engine.run(asked, endpoint))
    sent = server.received.total
    left = plan_fit(spec, train, RunOptions(engine=engine)).requests
    longest = engine.estimate(spec.first_requests(train.take([]), train)[0], endpoint)
    assert left <= longest.distinct - longest.in_journal
    engine.drive(spec.fit(train), endpoint)
    assert server.received.total - sent <= left <= before - sent
    assert plan_fit(spec, train, RunOptions(engine=engine)).requests == 0
