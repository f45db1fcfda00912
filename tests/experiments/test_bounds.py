"""A plan is exact or a bound that holds: what really goes out and is billed lies within it."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import pandas as pd
import pytest

import luthier as lt
from luthier.endpoints import Endpoint, Engine, Journal, Price, Report, RunOptions
from luthier.plans import PlannedSpec, plan_fit
from luthier.spec import Spec
from luthier_local import Fault, LocalServer, ModelCard
from tests.conftest import KEY, reviews

TRAIN, TEST, OTHER = reviews(60, seed=1), reviews(12, seed=2), reviews(12, seed=3)


@pytest.fixture
def server(monkeypatch: pytest.MonkeyPatch) -> Iterator[LocalServer]:
    monkeypatch.setenv("STARS_KEY", KEY)
    with LocalServer(models=[ModelCard("stars-model"), ModelCard("embedder", embeddings=True)], api_key=KEY) as running:
        yield running


@pytest.fixture
def embedder(endpoint: Endpoint) -> Endpoint:
    price = Price(input_usd_per_million=0.1, output_usd_per_million=0)
    return endpoint.model_copy(update={"model": "embedder", "price": price})


Make = Callable[[lt.Task, Endpoint, Endpoint], Spec]

WORDS = {"1": "very poor", "2": "poor", "3": "very average", "4": "good", "5": "very good"}


def prompt(**settings: Any) -> Make:
    given = {"template": "Stars from 1 to 5. {{ text }}\nStars:", "name": "asked", **settings}

    def make(task: lt.Task, endpoint: Endpoint, embedder: Endpoint) -> Spec:
        examples = given.get("examples")
        if isinstance(examples, dict) and examples["select"] == "nearest":
            return lt.Prompt(
                task,
                given["template"],
                endpoint=endpoint,
                **{**_rest(given), "examples": examples | {"endpoint": embedder}},
            )
        return lt.Prompt(task, given["template"], endpoint=endpoint, **_rest(given))

    return make


def _rest(given: dict[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in given.items() if name != "template"}


WALK = {"style": "completion", "answer": {"method": "score"}}
WORDY = {"style": "completion", "answer": {"method": "score", "words": WORDS}}

SPECS: dict[str, Make] = {
    "text": prompt(answer="text", examples=3),
    "json": prompt(answer="json"),
    "first token": prompt(answer={"method": "score", "calibration_rows": 6}, examples=3),
    "labels of one token": prompt(**WALK, examples=2),
    "labels of several tokens": prompt(**WORDY),
    "several tokens, calibrated": prompt(
        style="completion", answer={"method": "score", "words": WORDS, "calibration_rows": 6}, examples=2
    ),
    "nearest": prompt(**WORDY, examples={"count": 2, "select": "nearest"}),
    "nearest, calibrated": prompt(
        answer={"method": "score", "calibration_rows": 6}, examples={"count": 2, "select": "nearest"}
    ),
    "searched": prompt(
        style="completion",
        answer={"method": "score", "words": WORDS, "calibration_rows": 6},
        examples={"count": 2, "select": "searched", "samples": 4, "rows": 20},
    ),
    "embedding": lambda task, endpoint, embedder: lt.Embedding(task, endpoint=embedder, name="asked"),
}


def answer(spec: Spec, test: Any, engine: Engine, *, fresh: bool = False) -> Report:
    report = Report()
    asked: set[bytes] = set()
    train = spec.task.rows(TRAIN, labelled=True)
    fitted = engine.drive(
        spec.fit(train if spec.needs_training else None), spec.endpoint, report=report, fresh=fresh, asked=asked
    )
    engine.drive(fitted.predict(spec.task.rows(test)), spec.endpoint, report=report, fresh=fresh, asked=asked)
    return report


def assert_within(planned: PlannedSpec, report: Report) -> None:
    asked = planned.calls + planned.texts
    assert asked.low <= report.fetched + sum(report.failed.values()) <= asked.high
    assert planned.input_tokens.low <= report.input_tokens <= planned.input_tokens.high
    assert planned.output_tokens is not None
    assert report.output_tokens <= planned.output_tokens
    assert planned.cost_usd_low is not None
    assert planned.cost_usd_high is not None
    assert planned.cost_usd_low <= report.spent_usd <= planned.cost_usd_high
    if asked.low == asked.high == 0:
        assert (planned.cost_usd, planned.cost_usd_high) == (0, 0)


@pytest.mark.slow
@pytest.mark.parametrize("kind", SPECS)
def test_what_is_sent_and_billed_is_within_the_plan_whatever_the_journal_has(
    kind: str, task: lt.Task, endpoint: Endpoint, embedder: Endpoint, server: LocalServer
) -> None:
    spec = SPECS[kind](task, endpoint, embedder)
    engine = Engine(Journal.in_memory())

    def planned(test: Any, *, fresh: bool = False) -> PlannedSpec:
        return lt.plan([spec], test, train=TRAIN, engine=engine, fresh=fresh).specs[0]

    sent = server.received.total
    empty, halfway = planned(TEST), pd.concat([OTHER, TEST], ignore_index=True)
    assert server.received.total == sent
    assert_within(empty, answer(spec, TEST, engine))
    part = planned(halfway)
    assert_within(part, answer(spec, halfway, engine))
    assert part.in_journal > 0
    full = planned(halfway)
    assert not full.asks
    assert_within(full, answer(spec, halfway, engine))
    again = planned(halfway, fresh=True)
    assert again.in_journal == 0
    assert_within(again, answer(spec, halfway, engine, fresh=True))


@pytest.mark.parametrize("kind", ["text", "json", "first token", "nearest, calibrated", "embedding"])
def test_a_plan_is_exact_where_no_answer_leads_to_a_further_call(
    kind: str, task: lt.Task, endpoint: Endpoint, embedder: Endpoint, server: LocalServer
) -> None:
    spec = SPECS[kind](task, endpoint, embedder)
    engine = Engine(Journal.in_memory())
    planned = lt.plan([spec], TEST, train=TRAIN, engine=engine).specs[0]
    assert planned.calls.low == planned.calls.high
    assert planned.texts.low == planned.texts.high
    assert answer(spec, TEST, engine).fetched == planned.calls.high + planned.texts.high


def test_labels_that_begin_alike_have_a_bound_on_their_follow_ups(
    task: lt.Task, endpoint: Endpoint, embedder: Endpoint, server: LocalServer
) -> None:
    spec = SPECS["labels of one token"](task, endpoint, embedder)
    planned = lt.plan([spec], TEST, train=TRAIN, engine=Engine(Journal.in_memory())).specs[0]
    assert str(planned.calls) == "12 to 24"


def test_fitting_alone_is_within_its_plan(task: lt.Task, endpoint: Endpoint, embedder: Endpoint) -> None:
    spec = SPECS["several tokens, calibrated"](task, endpoint, embedder)
    engine, report = Engine(Journal.in_memory()), Report()
    train = task.rows(TRAIN, labelled=True)
    planned = plan_fit(spec, train, RunOptions(engine=engine)).specs[0]
    engine.drive(spec.fit(train), endpoint, report=report)
    assert_within(planned, report)
    assert planned.calls.low == 6
    assert not plan_fit(spec, train, RunOptions(engine=engine)).asks


def test_rows_that_fail_are_within_the_plan_and_for_good_is_not_planned_again_unless_it_is_to_be(
    task: lt.Task, endpoint: Endpoint, embedder: Endpoint, server: LocalServer
) -> None:
    spec = SPECS["labels of several tokens"](task, endpoint, embedder)
    engine = Engine(Journal.in_memory(), backoff_seconds=0.01)
    server.faults.add(Fault("status", status=400, message="cannot be read", contains="visit 3"))
    server.faults.add(Fault("status", status=500, every=4))
    planned = lt.plan([spec], TEST, engine=engine).specs[0]
    report = answer(spec, TEST, engine)
    assert report.retries > 0
    assert planned.calls.low <= report.fetched + sum(report.failed.values()) <= planned.calls.high
    server.faults.clear()
    assert not lt.plan([spec], TEST, engine=engine).specs[0].asks
    again = lt.plan([spec], TEST, engine=engine, retry_failed=True).specs[0]
    assert again.calls.low == report.failed["permanent"]
