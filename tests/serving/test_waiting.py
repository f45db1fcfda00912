"""Requests that wait: for their turn beside long ones, and for an upstream that does not answer."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Coroutine, Iterator
from typing import Any, TypeVar

import pytest

import luthier as lt
from luthier.engine.loop import wait_for
from luthier.providers.endpoint import Endpoint, Limits
from luthier.serving.luthier_served import LuthierServed
from luthier.serving.refusals import Refusal
from luthier.serving.served_model import ScoringRequest
from luthier.spec import Fitted
from tests.conftest import reviews, stars
from tests.serving.test_luthier_served import served
from tests.serving.upstream import ERRORS, Upstream, an_upstream

Result = TypeVar("Result")


@pytest.fixture
def upstream() -> Iterator[Upstream]:
    with an_upstream() as running:
        yield running


def prompted(upstream: Upstream, concurrency: int = 16, **limits: Any) -> Fitted:
    endpoint = Endpoint(
        provider="compatible",
        base_url=upstream.base_url,
        model="some-model",
        limits=Limits(concurrency=concurrency, **limits),
    )
    return Fitted(lt.Prompt(stars(), "Stars for: {{ text }}", endpoint=endpoint))


def asking(*texts: str) -> ScoringRequest:
    return ScoringRequest("inputs", list(texts))


def during(model: LuthierServed, work: Callable[[], Coroutine[Any, Any, Result]]) -> Result:
    async def run() -> Result:
        await model.start()
        try:
            async with asyncio.timeout(50):
                return await work()
        finally:
            await model.close()

    return wait_for(run())


async def took(model: LuthierServed, request: ScoringRequest) -> float:
    began = time.monotonic()
    await model.answer(request, 40)
    return time.monotonic() - began


@pytest.mark.slow
def test_a_long_request_does_not_keep_short_ones_waiting(upstream: Upstream) -> None:
    upstream.seconds = 0.02
    model = served(prompted(upstream))

    async def work() -> tuple[float, list[float]]:
        await model.answer(asking("warm"), 5)
        long = asyncio.create_task(took(model, asking(*(f"long {number}" for number in range(1500)))))
        short: list[float] = []
        while len(short) < 20:
            await asyncio.sleep(0.02)
            short.append(await took(model, asking(f"short {len(short)}")))
            assert not long.done()
        return await long, short

    whole, short = during(model, work)
    assert sorted(short)[15] < whole / 10


def test_long_work_on_this_machine_lets_short_requests_through() -> None:
    model = served(lt.fit(lt.Baseline(stars()), train=reviews(80, seed=8)))

    async def work() -> tuple[float, list[float]]:
        long = asyncio.create_task(took(model, asking(*reviews(5_000)["text"])))
        short: list[float] = []
        while len(short) < 10:
            short.append(await took(model, asking("fine soup")))
            assert not long.done()
        return await long, short

    whole, short = during(model, work)
    assert sorted(short)[7] < whole / 10


def test_a_request_whose_time_is_over_sends_nothing_more(upstream: Upstream) -> None:
    upstream.mood = "hangs"
    model = served(prompted(upstream, concurrency=2))

    async def work() -> None:
        with pytest.raises(Refusal) as refused:
            await model.answer(asking("a", "b", "c"), 0.2)
        assert refused.value.status == 504
        upstream.mood = "well"
        await model.answer(asking("d"), 5)

    during(model, work)
    assert upstream.answered == ["Stars for: d"]


def test_what_a_request_paid_before_it_was_refused_is_counted() -> None:
    with an_upstream(0.3) as upstream:
        model = served(prompted(upstream, concurrency=2))

        async def work() -> None:
            with pytest.raises(Refusal) as refused:
                await model.answer(asking("a", "b", "c", "d"), 0.4)
            assert refused.value.status == 504
            await model.answer(asking("e"), 5)

        during(model, work)
    # In flight when the time is over: the first two have been answered, the next two are given up or were late.
    assert model.paid().output_tokens == len(upstream.answered) >= 3


def test_after_a_thousand_timeouts_a_recovered_upstream_answers_at_once(upstream: Upstream) -> None:
    model = served(prompted(upstream), most_requests=2000)

    async def work() -> float:
        await model.answer(asking("first"), 5)
        upstream.mood = "hangs"
        found = await asyncio.gather(
            *(model.answer(asking(f"text {number}"), 1.0) for number in range(1000)), return_exceptions=True
        )
        assert [each.status for each in found if isinstance(each, Refusal)] == [504] * 1000
        upstream.mood = "well"
        assert model.admission.requests == 0
        return await took(model, asking("last"))

    assert during(model, work) < 1.0


def test_what_the_upstream_would_have_wait_too_long_is_refused_with_the_time_to_come_back(upstream: Upstream) -> None:
    upstream.mood = "told to wait"
    model = served(prompted(upstream))

    async def work() -> tuple[Refusal, float]:
        began = time.monotonic()
        with pytest.raises(Refusal) as refused:
            await model.answer(asking("a"), 10)
        return refused.value, time.monotonic() - began

    refusal, seconds = during(model, work)
    assert refusal.status == 503
    assert 30 <= (refusal.retry_after_seconds or 0) < 32
    assert seconds < 5


def test_a_request_behind_more_than_a_rate_allows_in_its_time_is_refused_at_once(upstream: Upstream) -> None:
    model = served(prompted(upstream, requests_per_minute=60))

    async def work() -> Refusal:
        waiting = [asyncio.create_task(model.answer(asking(f"text {number}"), 20)) for number in range(8)]
        endpoint = model.fitted.spec.endpoint
        assert endpoint is not None
        while await model.engine.expected_wait_seconds(endpoint) <= 2:
            await asyncio.sleep(0.01)
        with pytest.raises(Refusal) as refused:
            await model.answer(asking("one more"), 2)
        for task in waiting:
            task.cancel()
        await asyncio.gather(*waiting, return_exceptions=True)
        return refused.value

    refusal = during(model, work)
    assert refusal.status == 503
    assert (refusal.retry_after_seconds or 0) > 2


def test_the_log_has_what_a_service_said_without_the_texts_that_it_repeats(
    upstream: Upstream, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    secret = "Anna Muster of Bern has a broken leg"
    said = {"error": {"message": f"the gateway is lost at: Stars for: {secret.upper()} (trace 77)"}}
    monkeypatch.setitem(ERRORS, "no key", (401, said))
    upstream.mood = "no key"
    model = served(prompted(upstream))
    with caplog.at_level("DEBUG"), pytest.raises(Refusal):
        during(model, lambda: model.answer(asking(secret), 10))
    assert "trace 77" in caplog.text and "gateway is lost" in caplog.text
    assert "leg" not in caplog.text.lower() and "muster" not in caplog.text.lower()


@pytest.mark.parametrize(("mood", "status"), [("no key", 502), ("no money", 503), ("garbage", 502), ("gone", 503)])
def test_what_stops_every_request_is_the_status_and_the_address_stays_in_the_log(
    upstream: Upstream, mood: Any, status: int
) -> None:
    model = served(prompted(upstream))
    if mood == "gone":
        upstream.stop()
    else:
        upstream.mood = mood

    async def work() -> Refusal:
        with pytest.raises(Refusal) as refused:
            await model.answer(asking("a"), 20)
        return refused.value

    refusal = during(model, work)
    assert refusal.status == status
    assert "127.0.0.1" not in refusal.message
