"""Readiness tells the truth about the upstream, with and without traffic, and recovers by itself."""

from __future__ import annotations

import asyncio
import json
import os
import signal
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest

import luthier as lt
from luthier.providers import local_service
from luthier.serving.luthier_served import LuthierServed
from luthier.serving.refusals import Refusal
from luthier.serving.upstream_health import FRESH_SECONDS, LOOK_EVERY_SECONDS, LOOK_SECONDS
from luthier.spec import Fitted
from tests.conftest import stars
from tests.patience import PATIENCE_SECONDS
from tests.serving.test_luthier_served import served
from tests.serving.test_waiting import asking, during, prompted
from tests.serving.upstream import an_upstream


async def becomes(model: LuthierServed, is_so: Callable[[str | None], bool]) -> None:
    """Waits until readiness says so of the upstream."""
    async with asyncio.timeout(PATIENCE_SECONDS):
        while not is_so(model.readiness().checks["upstream"]):
            await asyncio.sleep(0.02)


def test_a_change_shows_within_5_seconds_by_looks_alone() -> None:
    assert FRESH_SECONDS + LOOK_SECONDS + LOOK_EVERY_SECONDS <= 5


@pytest.mark.slow
@pytest.mark.parametrize(
    ("mood", "words"),
    [("gone", "cannot be reached"), ("hangs", "in time"), ("no key", "refuses the key")],
)
def test_without_traffic_looks_tell(mood: Any, words: str) -> None:
    with an_upstream() as upstream:
        model = served(prompted(upstream))

        async def work() -> None:
            await model.answer(asking("a"), PATIENCE_SECONDS)
            assert model.readiness().is_ready
            if mood == "gone":
                await asyncio.to_thread(upstream.stop)
            else:
                upstream.mood = mood
            await becomes(model, lambda why: words in (why or ""))
            if mood == "gone":
                await asyncio.to_thread(upstream.start)
            else:
                upstream.mood = "well"
            await becomes(model, lambda why: why is None)

        during(model, work)
        assert upstream.chats == ["Stars for: a"]


@pytest.mark.slow
def test_the_embedded_server_is_there_before_the_first_request_and_comes_back_when_it_is_killed(
    clean_home: Path,
) -> None:
    spec = lt.Prompt(stars(), "{{ text }}", endpoint=lt.embedded("deterministic"))
    model = served(Fitted(spec))

    async def work() -> None:
        announced = json.loads((clean_home / "local" / "server.json").read_text())
        os.kill(announced["pid"], signal.SIGKILL)
        await becomes(model, lambda why: "cannot be reached" in (why or ""))
        await becomes(model, lambda why: why is None)
        assert (await model.answer(asking("a"), PATIENCE_SECONDS)).rows == 1

    try:
        during(model, work)
    finally:
        os.kill(local_service.attach().pid, signal.SIGTERM)


@pytest.mark.slow
@pytest.mark.parametrize(
    ("mood", "words"), [("garbage", "not as the protocol"), ("no money", "nothing left"), ("errors", "errors")]
)
def test_what_only_calls_show_is_told_at_once_and_cleared_by_a_trial_call(mood: Any, words: str) -> None:
    with an_upstream() as upstream:
        model = served(prompted(upstream))

        async def work() -> None:
            await model.answer(asking("a"), PATIENCE_SECONDS)
            upstream.mood = mood
            asked = asyncio.create_task(model.answer(asking("b"), 20))
            await becomes(model, lambda why: words in (why or ""))
            upstream.mood = "well"
            await becomes(model, lambda why: why is None)
            with suppress(Refusal):
                await asked

        during(model, work)


@pytest.mark.slow
def test_a_model_of_several_endpoints_is_ready_while_one_is_well() -> None:
    with an_upstream() as first, an_upstream() as second:
        fitted = prompted(first)
        assert fitted.spec.endpoint is not None
        other = fitted.spec.endpoint.model_copy(update={"base_url": second.base_url})
        pool = fitted.spec.endpoint.model_copy(update={"others": (other,)})
        model = served(Fitted(fitted.spec.with_endpoint(pool)))

        async def work() -> None:
            await asyncio.to_thread(first.stop)
            for text in "abcd":
                await model.answer(asking(text), PATIENCE_SECONDS)
            assert model.readiness().is_ready
            second.mood = "no key"
            await becomes(model, lambda why: why is not None)

        during(model, work)
        first.start()
