"""Requests that wait: for their turn beside long ones, and for an upstream that does not answer."""

from __future__ import annotations

import asyncio
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
from tests.patience import PATIENCE_SECONDS
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
            async with asyncio.timeout(PATIENCE_SECONDS):
                return await work()
        finally:
            await model.close()

    return wait_for(run())


@pytest.mark.slow
def test_short_requests_are_answered_while_a_long_one_goes_on(upstream: Upstream) -> None:
    upstream.seconds = 0.02
    model = served(prompted(upstream))

    async def work() -> None:
        await model.answer(asking("warm"), PATIENCE_SECONDS)
        long = asyncio.create_task(
            model.answer(asking(*(f"long {number}" for number in range(1500))), PATIENCE_SECONDS)
        )
        for number in range(20):
            await model.answer(asking(f"short {number}"), PATIENCE_SECONDS)
            assert not long.done()
        await long

    during(model, work)


def test_long_work_on_this_machine_lets_short_requests_through() -> None:
    model = served(lt.fit(lt.Baseline(stars()), train=reviews(80, seed=8)))

    async def work() -> None:
        long = asyncio.create_task(model.answer(asking(*reviews(5_000)["text"]), PATIENCE_SECONDS))
        for _ in range(10):
            await model.answer(asking("fine soup"), PATIENCE_SECONDS)
            assert not long.done()
        await long

    during(model, work)


def test_a_request_whose_time_is_over_sends_nothing_more(upstream: Upstream) -> None:
    upstream.mood = "hangs"
    model = served(prompted(upstream, concurrency=2))

    async def work() -> None:
        with pytest.raises(Refusal) as refused:
            await model.answer(asking("a", "b", "c"), 0.2)
        assert refused.value.status == 504
        upstream.mood = "well"
        await model.answer(asking("d"), PATIENCE_SECONDS)

    during(model, work)
    assert upstream.answered == ["Stars for: d"]


def test_what_a_request_paid_before_it_was_refused_is_counted() -> None:
    with an_upstream() as upstream:
        upstream.most = 2
        model = served(prompted(upstream, concurrency=2))

        async def work() -> None:
            with pytest.raises(Refusal) as refused:
                await model.answer(asking("a", "b", "c", "d"), 1.5)
            assert refused.value.status == 504
            upstream.most = None
            await model.answer(asking("e"), PATIENCE_SECONDS)

        during(model, work)
    assert model.paid().output_tokens == 3  # of a, b and e


def test_after_a_thousand_timeouts_a_recovered_upstream_answers(upstream: Upstream) -> None:
    model = served(prompted(upstream), most_requests=2000)

    async def work() -> None:
        await model.answer(asking("first"), PATIENCE_SECONDS)
        upstream.mood = "hangs"
        found = await asyncio.gather(
            *(model.answer(asking(f"text {number}"), 1.0) for number in range(1000)), return_exceptions=True
        )
        assert [each.status for each in found if isinstance(each, Refusal)] == [504] * 1000
        upstream.mood = "well"
        assert model.admission.requests == 0
        # Behind none of those: each would hold it up for as long as the service hangs.
        assert (await model.answer(asking("last"), PATIENCE_SECONDS)).rows == 1

    during(model, work)


def test_what_the_upstream_would_have_wait_too_long_is_refused_with_the_time_to_come_back(upstream: Upstream) -> None:
    upstream.mood = "told to wait"
    model = served(prompted(upstream))

    async def work() -> Refusal:
        with pytest.raises(Refusal) as refused:
            await model.answer(asking("a"), 20)
        return refused.value

    refusal = during(model, work)
    # One that waited until its time was over gets 504.
    assert refusal.status == 503
    assert 30 <= (refusal.retry_after_seconds or 0) < 32


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
