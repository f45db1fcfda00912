"""Requests and tokens per minute: what is admitted, and what a refusal says."""

from __future__ import annotations

import time

import openai
import pytest

from luthier_local import LocalServer
from luthier_local.api_errors import ApiError
from luthier_local.rate_limits import RateLimits


class Clock:
    def __init__(self) -> None:
        self.now = 100.0

    def __call__(self) -> float:
        return self.now


def test_the_burst_is_admitted_and_then_the_rate() -> None:
    clock = Clock()
    limiter = RateLimits(300, None, burst_requests=5, clock=clock)
    admitted = 0
    for _ in range(6000):
        clock.now += 0.01
        try:
            limiter.admit(10)
            admitted += 1
        except ApiError:
            pass
    # A minute: the burst and 300 more.
    assert 304 <= admitted <= 305


def test_a_refusal_names_the_wait_and_the_wait_is_enough() -> None:
    clock = Clock()
    limiter = RateLimits(60, None, burst_requests=1, clock=clock)
    limiter.admit(1)
    with pytest.raises(ApiError) as caught:
        limiter.admit(1)
    assert caught.value.status == 429
    assert caught.value.code == "rate_limit_exceeded"
    assert caught.value.headers["retry-after"] == "1"
    clock.now += int(caught.value.headers["retry-after-ms"]) / 1000
    limiter.admit(1)


def test_tokens_are_limited_too() -> None:
    clock = Clock()
    limiter = RateLimits(None, 6000, burst_tokens=600, clock=clock)
    headers = limiter.admit(500)
    assert headers["x-ratelimit-limit-tokens"] == "6000"
    assert headers["x-ratelimit-remaining-tokens"] == "100"
    assert headers["x-ratelimit-reset-tokens"] == "5.00s"
    with pytest.raises(ApiError, match="tokens per min"):
        limiter.admit(200)
    clock.now += 1
    limiter.admit(200)


def test_a_request_larger_than_the_burst_is_told_that_waiting_does_not_help() -> None:
    limiter = RateLimits(None, 6000, burst_tokens=600)
    with pytest.raises(ApiError, match="too large") as caught:
        limiter.admit(601)
    assert "retry-after" not in caught.value.headers


def test_a_refused_request_is_not_charged() -> None:
    clock = Clock()
    limiter = RateLimits(60, 6000, burst_requests=5, burst_tokens=100, clock=clock)
    limiter.admit(100)
    for _ in range(10):
        with pytest.raises(ApiError):
            limiter.admit(100)
    clock.now += 1
    assert limiter.admit(100)["x-ratelimit-remaining-requests"] == "4"


def test_over_http_the_client_sees_429_and_headers() -> None:
    with (
        LocalServer(api_key="k", requests_per_minute=1, burst_requests=2) as server,
        openai.OpenAI(base_url=server.base_url, api_key="k", max_retries=0) as client,
    ):
        asked = client.completions.with_raw_response
        first = asked.create(model="deterministic", prompt="x")
        assert first.headers["x-ratelimit-limit-requests"] == "1"
        assert first.headers["x-ratelimit-burst-requests"] == "2"
        asked.create(model="deterministic", prompt="x")
        with pytest.raises(openai.RateLimitError) as caught:
            asked.create(model="deterministic", prompt="x")
        assert caught.value.code == "rate_limit_exceeded"
        assert 0 < int(caught.value.response.headers["retry-after-ms"]) <= 60_000
        assert server.received.by_status == {200: 2, 429: 1}


def test_a_client_that_waits_as_told_gets_through() -> None:
    with (
        LocalServer(api_key="k", requests_per_minute=1200, burst_requests=1) as server,
        openai.OpenAI(base_url=server.base_url, api_key="k", max_retries=8) as client,
    ):
        started = time.monotonic()
        for _ in range(5):
            client.completions.create(model="deterministic", prompt="x")
        assert time.monotonic() - started >= 4 / 20 * 0.99


def test_models_and_tokens_are_free_of_limits() -> None:
    with (
        LocalServer(api_key="k", requests_per_minute=1, burst_requests=1) as server,
        openai.OpenAI(base_url=server.base_url, api_key="k", max_retries=0) as client,
    ):
        for _ in range(5):
            client.models.list()
