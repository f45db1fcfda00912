from __future__ import annotations

from email.utils import formatdate

import pytest

from luthier.engine.limiter import Bucket, Limiter
from luthier.engine.pacing import Ticket
from luthier.providers.endpoint import Limits
from luthier.replies.headers import Window as Said
from luthier.replies.headers import duration_seconds, retry_after_seconds, window

SENT = Ticket(1, 100.0)


class Clock:
    def __init__(self) -> None:
        self.now = 100.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def clock() -> Clock:
    return Clock()


def sent_within(limiter: Limiter, clock: Clock, seconds: float, tokens: float = 0.0) -> int:
    end, count = clock.now + seconds, 0
    while True:
        wait = limiter.wait_seconds(tokens)
        if clock.now + wait > end:
            return count
        clock.now += wait
        limiter.sent(tokens, 1)
        count += 1


def test_requests_are_paced_evenly_and_never_in_bursts(clock: Clock) -> None:
    limiter = Limiter(Limits(requests_per_minute=300), clock)
    assert sent_within(limiter, clock, 60) in (300, 301)
    clock.now += 3600
    assert sent_within(limiter, clock, 0) == 2, "a rest must not earn a burst the service may not allow"


def test_a_late_timer_costs_no_rate(clock: Clock) -> None:
    limiter = Limiter(Limits(requests_per_minute=300), clock)
    count, end = 0, clock.now + 60
    while clock.now < end:
        clock.now += limiter.wait_seconds(0) + 0.02
        limiter.sent(0, 1)
        count += 1
    assert count >= 297


def test_tokens_are_reserved_refunded_and_charged(clock: Clock) -> None:
    limiter = Limiter(Limits(tokens_per_minute=6000), clock)
    ticket = limiter.sent(100, 1)
    assert limiter.wait_seconds(30) == pytest.approx(0.3)
    limiter.answered(ticket, used=80)
    assert limiter.wait_seconds(30) == pytest.approx(0.1)
    limiter.answered(limiter.sent(0, 1), used=100)
    assert limiter.wait_seconds(30) == pytest.approx(1.1)


def test_unused_tokens_are_used_again_as_far_as_the_service_says_it_has_them(clock: Clock) -> None:
    told = {"x-ratelimit-limit-tokens": "6000"}
    strict, lenient = Limiter(Limits(), clock), Limiter(Limits(), clock)
    for limiter, left in ((strict, 100), (lenient, 5000)):
        limiter.obey({**told, "x-ratelimit-remaining-tokens": f"{left}"}, SENT)
        ticket = limiter.sent(100, 1)
        limiter.obey({**told, "x-ratelimit-remaining-tokens": f"{left - 100}"}, ticket)
        limiter.answered(ticket, used=20)
    assert strict.wait_seconds(50) == pytest.approx(0.5), "it charges what was reserved and gives nothing back"
    assert lenient.wait_seconds(50) == 0


def test_a_request_larger_than_the_bucket_goes_alone_from_a_full_one(clock: Clock) -> None:
    bucket = Bucket(60, 10, clock)
    assert bucket.wait_seconds(500) == 0
    bucket.take(500)
    assert bucket.wait_seconds(1) == pytest.approx(491)


def test_headers_lower_the_rate_but_never_raise_it(clock: Clock) -> None:
    limiter = Limiter(Limits(requests_per_minute=100), clock)
    limiter.obey({"x-ratelimit-limit-requests": "500"}, SENT)
    assert limiter.requests is not None
    assert limiter.requests.per_minute == 100
    limiter.obey({"x-ratelimit-limit-requests": "60", "x-ratelimit-limit-tokens": "6000"}, SENT)
    assert limiter.requests.per_minute == 60
    assert limiter.tokens is not None
    limiter.obey({"x-ratelimit-limit-tokens": "6000", "x-ratelimit-remaining-tokens": "0"}, SENT)
    assert limiter.wait_seconds(100) == pytest.approx(1.0)


def test_corrected_settings_count_from_then_on(clock: Clock) -> None:
    limiter = Limiter(Limits(requests_per_minute=60, concurrency=2), clock)
    limiter.obey({"x-ratelimit-limit-requests": "600"}, SENT)
    assert not limiter.permits_left(2)
    limiter.configure(Limits(requests_per_minute=300))
    assert limiter.requests is not None
    assert limiter.requests.per_minute == 300
    limiter.configure(Limits(concurrency=3))
    assert limiter.requests.per_minute == 600
    assert not limiter.permits_left(3)


def test_a_share_of_an_account_is_a_share_of_every_limit(clock: Clock) -> None:
    limiter = Limiter(Limits(requests_per_minute=800, concurrency=16), clock, share=0.25)
    assert (limiter.requests and limiter.requests.per_minute, limiter.window.most) == (200, 4)
    limiter.obey({"x-ratelimit-limit-requests": "400", "x-ratelimit-limit-tokens": "6000"}, SENT)
    assert limiter.requests and limiter.requests.per_minute == 100
    assert limiter.tokens and limiter.tokens.per_minute == 1500
    limiter.configure(Limits(concurrency=2))
    assert limiter.window.most == 1


def test_a_daily_limit_is_not_spread_over_the_day(clock: Clock) -> None:
    said = {"x-ratelimit-limit-requests": "10000", "x-ratelimit-reset-requests": "8.64s"}
    limiter = Limiter(Limits(), clock)
    limiter.obey({**said, "x-ratelimit-remaining-requests": "9999"}, SENT)
    assert limiter.requests is None
    assert limiter.wait_seconds(1) == 0
    limiter.obey({**said, "x-ratelimit-remaining-requests": "0", "x-ratelimit-reset-requests": "24h"}, SENT)
    assert limiter.wait_seconds(1) == pytest.approx(8.64)


def test_azure_whole_seconds_still_mean_a_minute() -> None:
    assert Said(limit=60, remaining=59, reset_seconds=1.0).per_minute == 60
    assert Said(limit=300, remaining=299, reset_seconds=1.0).per_minute == 300


def test_one_push_back_holds_back_nobody_else(clock: Clock) -> None:
    limiter = Limiter(Limits(requests_per_minute=60_000), clock)
    limiter.obey({}, SENT)
    size = limiter.window.size
    clock.now += 1
    limiter.refused(limiter.sent(0, 1))
    assert limiter.wait_seconds(1) == 0
    assert limiter.window.size == size


@pytest.mark.parametrize(
    ("text", "seconds"),
    [
        ("8.64s", 8.64),
        ("7ms", 0.007),
        ("1m30s", 90),
        ("6m0s", 360),
        ("2h", 7200),
        ("30", 30),
        ("", None),
        ("x1s", None),
    ],
)
def test_durations(text: str, seconds: float | None) -> None:
    found = duration_seconds(text)
    assert found == (None if seconds is None else pytest.approx(seconds))


def test_retry_after_in_all_its_spellings() -> None:
    assert retry_after_seconds({"retry-after-ms": "250", "retry-after": "9"}) == 0.25
    assert retry_after_seconds({"retry-after": "9"}) == 9
    assert retry_after_seconds({"retry-after": formatdate(1000 + 30, usegmt=True)}, now=1000) == pytest.approx(30)
    assert retry_after_seconds({"retry-after": formatdate(10, usegmt=True)}, now=1000) == 0
    assert retry_after_seconds({"retry-after": "soon"}) is None
    assert retry_after_seconds({}) is None


def test_odd_headers_are_no_limits() -> None:
    assert window({}, "requests") is None
    assert window({"x-ratelimit-limit-requests": "many"}, "requests") is None
    found = window({"x-ratelimit-limit-requests": "0", "x-ratelimit-remaining-requests": "nan"}, "requests")
    assert found is not None
    assert found.per_minute is None
