from __future__ import annotations

import asyncio
import contextlib
import json
import os
import sqlite3
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from luthier.endpoints import Budget, Endpoint, Engine, Journal, Price, Report, Request, compatible
from luthier.errors import BudgetReached, EndpointError, UserError
from luthier.tasks.task import Rows, Task
from luthier.techniques.prompt.prompt import Prompt
from luthier_local import Fault, LocalServer, ModelCard
from tests.questions import question, questions
from tests.scripted_server import serving


@pytest.fixture
def dear(endpoint: Endpoint) -> Endpoint:
    """About a cent a request."""
    return endpoint.model_copy(update={"price": Price(input_usd_per_million=300, output_usd_per_million=300)})


def test_a_budget_stops_at_the_cap_and_the_next_run_goes_on(
    server: LocalServer, dear: Endpoint, tmp_path: Path
) -> None:
    engine = Engine(Journal(tmp_path / "j.db"))
    budget = Budget(0.50)
    with pytest.raises(BudgetReached, match=r"\$0\.5.*spent.*larger budget") as raised:
        engine.run(questions(200), dear, budget=budget)
    assert budget.spent_usd <= 0.50
    assert budget.spent_usd > 0.45, "what was set aside and not needed is used"
    assert budget.reserved_usd == 0
    first = server.received.total
    assert f"{first} of 200" in str(raised.value)
    engine.close()
    engine = Engine(Journal(tmp_path / "j.db"))
    answers = engine.run(questions(200), dear, budget=Budget(10))
    assert all(answer.failure is None for answer in answers)
    assert server.received.total == 200
    assert sum(answer.from_journal for answer in answers) == first
    engine.close()


def test_a_budget_of_nothing_buys_what_is_in_the_journal(dear: Endpoint, engine: Engine) -> None:
    engine.run(questions(5), dear)
    assert len(engine.run(questions(5), dear, budget=Budget(0))) == 5
    with pytest.raises(BudgetReached):
        engine.run(questions(6), dear, budget=Budget(0))


async def test_runs_may_share_a_budget(dear: Endpoint, engine: Engine, server: LocalServer) -> None:
    budget = Budget(0.30)
    runs = [engine.arun(questions(100, start=1000 * n), dear, budget=budget) for n in range(3)]
    outcomes = await asyncio.gather(*runs, return_exceptions=True)
    assert all(isinstance(outcome, BudgetReached) for outcome in outcomes)
    assert 0.25 < budget.spent_usd <= 0.30
    assert server.received.total < 100


def test_an_unknown_price_and_a_budget_do_not_go_together(
    endpoint: Endpoint, engine: Engine, server: LocalServer
) -> None:
    unpriced = endpoint.model_copy(update={"price": None})
    with pytest.raises(UserError, match=r"price: \{input_usd_per_million"):
        engine.run(questions(3), unpriced, budget=Budget(1))
    assert server.received.total == 0
    answer = engine.run(questions(1), unpriced)[0]
    assert answer.cost_usd is None, "unknown is not zero"
    assert engine.report.now.unpriced == 1


def test_failed_attempts_free_their_reservation(dear: Endpoint, engine: Engine, server: LocalServer) -> None:
    server.faults.add(Fault("status", status=500, every=3))
    budget = Budget(0.40)
    engine.run(questions(20), dear, budget=budget)
    assert budget.reserved_usd == 0
    assert budget.spent_usd == pytest.approx(engine.report.spent_usd)


def test_what_asking_for_the_model_costs_is_counted(
    server: LocalServer, engine: Engine, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("AZURE_OPENAI_API_KEY", os.environ["STARS_KEY"])
    server.put_model(ModelCard("stars", reports_model="gpt-4o-mini-2024-07-18"))
    deployment = Endpoint(provider="azure", model="stars", base_url=server.azure_url)
    budget = Budget(1)
    answers = engine.run(questions(2), deployment, budget=budget)
    rows = sum(answer.cost_usd or 0 for answer in answers)
    assert budget.spent_usd > rows > 0
    assert engine.report.spent_usd == pytest.approx(budget.spent_usd)
    assert engine.report.requests == 2


def test_a_deployment_without_a_known_price_and_a_budget(
    server: LocalServer, engine: Engine, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("AZURE_OPENAI_API_KEY", os.environ["STARS_KEY"])
    deployment = Endpoint(provider="azure", model="stars-model", base_url=server.azure_url)
    with pytest.raises(UserError, match="priced_as"):
        engine.run(questions(2), deployment, budget=Budget(1))


def test_a_key_is_found_nowhere(
    server: LocalServer,
    endpoint: Endpoint,
    tmp_path: Path,
    caplog: pytest.LogCaptureFixture,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    caplog.set_level("DEBUG")
    key = os.environ["STARS_KEY"]
    engine = Engine(Journal(tmp_path / "j.db"), backoff_seconds=0.01, max_attempts=2)
    server.faults.add(Fault("status", status=500, message=f"upstream with {key} broke", contains="visit 1:"))
    server.faults.add(Fault("status", status=400, message=f"bad {key}", contains="visit 2:"))
    server.faults.add(Fault("refusal", message=f"I will not say {key}", contains="visit 3:"))
    answers = engine.run([*questions(5), question(f"{key} is my key, stars 1 to 5:")], endpoint)
    assert [answer.failure for answer in answers] == [None, "transient", "permanent", None, None, None]
    server.faults.add(Fault("status", status=401, message=f"Incorrect API key provided: {key}"))
    with pytest.raises(EndpointError) as raised:
        engine.run(questions(3, start=50), endpoint)
    said = [str(raised.value), repr(endpoint), repr(answers), caplog.text, *engine.report.notes]
    assert all(key not in text for text in said)
    files = [file for file in tmp_path.rglob("*") if file.is_file()]
    assert len(files) >= 3
    assert all(key.encode() not in file.read_bytes() for file in files)
    engine.close()
    assert all(key.encode() not in file.read_bytes() for file in tmp_path.rglob("*") if file.is_file())


def test_a_budget_counts_with_a_gateway_s_own_bound(dear: Endpoint, engine: Engine, server: LocalServer) -> None:
    gateway = dear.model_copy(update={"extra_body": {"max_completion_tokens": 2000}})
    with pytest.raises(BudgetReached):
        engine.run(questions(1), gateway, budget=Budget(0.50))
    assert server.received.total == 0


def test_an_estimate_counts_with_a_gateway_s_own_bound(dear: Endpoint, engine: Engine) -> None:
    gateway = dear.model_copy(update={"extra_body": {"max_completion_tokens": 2000}})
    assert engine.estimate(questions(2), gateway).max_output_tokens == 4000


@pytest.mark.parametrize("again", [False, True], ids=["new", "half in the journal"])
def test_what_rows_spent_adds_up_to_what_was_spent(dear: Endpoint, engine: Engine, again: bool) -> None:
    spec = Prompt(Task("stars", labels=["1", "2"]), "Stars 1 to 5 for {{ text }}", endpoint=dear, answer="text")
    texts = [f"visit {n % 7}" for n in range(20)]
    given = Rows(inputs=tuple({"text": text} for text in texts), labels=(None,) * 20, text="text")
    fitted = engine.drive(spec.fit(None), dear)
    if again:
        engine.run(spec.first_requests(given, None, fitted)[1][:3], dear)
    report = Report()
    found = engine.drive(spec.predict(given, fitted), dear, report=report)
    assert report.spent_usd > 0
    assert sum(prediction.call.spent_usd or 0.0 for prediction in found) == pytest.approx(report.spent_usd)


UNCOUNTED = [None, {}, {"prompt_tokens": 0, "completion_tokens": 0}, {"prompt_tokens": "many"}, {"total_tokens": 30}]


def uncounted(usage: Any) -> str:
    return json.dumps({"choices": [{"message": {"content": "4"}, "finish_reason": "stop"}], "usage": usage})


@pytest.mark.parametrize("usage", UNCOUNTED)
def test_what_a_service_does_not_count_is_estimated_and_marked(usage: Any, tmp_path: Path) -> None:
    price = Price(input_usd_per_million=1000, output_usd_per_million=1000)
    with serving(200, uncounted(usage)) as url:
        endpoint = compatible("m", url, price=price)
        engine = Engine(Journal(tmp_path / "j.db"))
        (answer,) = engine.run(questions(1), endpoint)
        assert answer.usage.estimated
        assert answer.usage.input_tokens >= 10
        assert answer.cost_usd is not None
        assert answer.cost_usd > 0.01
        assert engine.report.now.estimated == 1
        assert "estimated from the lengths" in engine.report.notes[-1]
        engine.close()
        engine = Engine(Journal(tmp_path / "j.db"))
        (again,) = engine.run(questions(1), endpoint)
        assert (again.from_journal, again.usage, again.cost_usd) == (True, answer.usage, answer.cost_usd)
        engine.close()


def test_a_budget_holds_where_nothing_is_counted(engine: Engine) -> None:
    with serving(200, uncounted(None)) as url:
        endpoint = compatible("m", url, price=Price(input_usd_per_million=1000, output_usd_per_million=1000))
        budget = Budget(0.50)
        with pytest.raises(BudgetReached):
            engine.run(questions(200), endpoint, budget=budget)
    assert 0 < engine.report.spent_usd <= budget.spent_usd <= 0.50
    assert 5 < engine.report.answered < 50


def test_a_price_of_nothing_stays_nothing_where_nothing_is_counted(engine: Engine) -> None:
    with serving(200, uncounted(None)) as url:
        endpoint = compatible("m", url, price=Price(input_usd_per_million=0, output_usd_per_million=0))
        assert [answer.cost_usd for answer in engine.run(questions(2), endpoint, budget=Budget(0))] == [0, 0]


def test_embeddings_that_are_not_counted_are_estimated(engine: Engine) -> None:
    body = json.dumps({"data": [{"embedding": [0.5, 0.5], "index": 0}]})
    with serving(200, body) as url:
        endpoint = compatible("m", url, price=Price(input_usd_per_million=1000, output_usd_per_million=0))
        (answer,) = engine.run([Request("embedding", {"input": "the soup was great"})], endpoint)
    assert answer.usage.estimated
    assert answer.cost_usd is not None
    assert answer.cost_usd > 0


def test_an_answer_kept_before_its_tokens_could_be_read_is_priced_now(tmp_path: Path) -> None:
    price = Price(input_usd_per_million=1000, output_usd_per_million=1000)
    with serving(200, uncounted({"prompt_tokens": "20", "completion_tokens": 1.0})) as url:
        endpoint = compatible("m", url, price=price)
        engine = Engine(Journal(tmp_path / "j.db"))
        engine.run(questions(1), endpoint)
        engine.close()
        with contextlib.closing(sqlite3.connect(tmp_path / "j.db")) as kept:
            ((key,),) = kept.execute("SELECT key FROM answers").fetchall()
        journal = Journal(tmp_path / "j.db")
        entry = journal.lookup([key])[key]
        journal.put([replace(entry, input_tokens=0, output_tokens=0, cost_usd=0.0)])
        engine = Engine(journal)
        (answer,) = engine.run(questions(1), endpoint)
        assert answer.from_journal
        assert answer.cost_usd == pytest.approx(0.021)
        engine.close()


def test_cached_input_is_billed_at_its_own_price(engine: Engine) -> None:
    usage = {"prompt_tokens": 1500, "completion_tokens": 10, "prompt_tokens_details": {"cached_tokens": 1000}}
    choice = {"index": 0, "finish_reason": "stop", "message": {"role": "assistant", "content": "4"}}
    price = Price(input_usd_per_million=100, output_usd_per_million=1000, cached_input_usd_per_million=10)
    budget, report = Budget(10), Report()
    with serving(200, json.dumps({"model": "m", "choices": [choice], "usage": usage})) as url:
        (answer,) = engine.run(questions(1), compatible("m", url, price=price), budget=budget, report=report)
    assert answer.usage.cached_input_tokens == 1000
    assert answer.cost_usd == pytest.approx((500 * 100 + 1000 * 10 + 10 * 1000) / 1e6)
    assert budget.spent_usd == pytest.approx(answer.cost_usd)
    assert report.now.usage.cached_input_tokens == 1000
