from __future__ import annotations

from statistics import median

import pytest

from luthier.engine.concurrency_window import COOLDOWN_SECONDS, FIRST_CONTACT, START_WINDOW, ConcurrencyWindow
from luthier.engine.pacing import Ticket
from tests.engine.throttled import Account, Service, Time, ask


def asked(seconds: float, service: Service, concurrency: int = 64) -> Account:
    """An account that has more rows than the service answers in so many seconds."""
    account = Account(1_000_000, service, Time(), None, concurrency)
    ask(account, until=seconds)
    return account


def throughput(account: Account, seconds: int = 60) -> float:
    """Answers a second in the last so many seconds."""
    return sum(account.outcome.by_second[-seconds:]) / seconds


def answers(window: ConcurrencyWindow, time: Time, count: int, in_flight: int, seconds: float = 1.0) -> None:
    """So many requests one after another, each sent as the latest of `in_flight`."""
    for _ in range(count):
        number = window.newest + 1
        window.sent(number)
        time.now += seconds
        window.succeeded(Ticket(number, time.now - seconds, in_flight=in_flight))


def test_the_window_doubles_to_the_setting_while_latency_stays_the_same() -> None:
    account = asked(10, Service(latency_seconds=0.5), concurrency=256)
    assert account.limiter.window.size == 256
    sizes = [event.window for event in account.limiter.history]
    assert sizes == [START_WINDOW, 64, 128, 256]
    assert account.limiter.history[-1].seconds < 4


@pytest.mark.parametrize("slots", [1, 2, 8, 30])
def test_growth_ends_where_more_in_flight_only_wait_longer(slots: int) -> None:
    account = asked(300, Service(slots=slots, latency_seconds=1.0, seed=slots))
    assert median(account.outcome.latencies[-300:]) <= max(FIRST_CONTACT / slots, 2.0)
    assert throughput(account) >= 0.97 * slots


@pytest.mark.parametrize("seed", range(6))
@pytest.mark.parametrize("spread", [0.5, 1.0])
def test_latencies_that_vary_widely_do_not_end_the_growth(seed: int, spread: float) -> None:
    account = asked(60, Service(latency_seconds=1.0, spread=spread, seed=seed))
    assert account.limiter.window.size == 64


@pytest.mark.parametrize("seed", range(4))
def test_a_server_with_few_slots_is_found_out_though_its_latencies_vary(seed: int) -> None:
    account = asked(400, Service(slots=8, latency_seconds=1.0, spread=0.5, seed=seed))
    assert account.limiter.window.size <= 32
    assert throughput(account) >= 0.85 * 8 / 1.133  # the mean of a latency with this spread


def test_one_slot_with_slow_answers_is_found_out_before_requests_time_out() -> None:
    account = asked(900, Service(slots=1, latency_seconds=10.0))
    assert max(account.outcome.latencies) <= 90
    assert median(account.outcome.latencies[-20:]) <= 40
    assert "answers took longer" in " ".join(event.what for event in account.limiter.history)


def test_slots_that_are_added_later_are_found() -> None:
    service = Service(slots=4, latency_seconds=1.0)
    account = asked(120, service)
    before = account.limiter.window.size
    service.add_slots(28)
    ask(account, until=600)
    assert before <= 8
    assert throughput(account) >= 0.9 * 32


def test_what_is_not_used_does_not_grow() -> None:
    time = Time()
    window = ConcurrencyWindow(400, time)
    answers(window, time, 200, in_flight=2)
    assert window.size <= START_WINDOW


def test_after_a_sign_of_a_limit_the_window_grows_by_one_for_each_window_of_answers() -> None:
    time = Time()
    window = ConcurrencyWindow(400, time)
    answers(window, time, 2, in_flight=4)
    assert window.size == START_WINDOW
    window.creep()
    answers(window, time, START_WINDOW, in_flight=START_WINDOW)
    assert window.size == pytest.approx(START_WINDOW + 1, abs=0.1)


def test_failures_that_come_together_cut_the_window_once_and_one_now_and_then_does_not() -> None:
    time = Time()
    window = ConcurrencyWindow(400, time)
    answers(window, time, 2, in_flight=4)
    for _ in range(50):
        assert not window.failed()
        answers(window, time, 19, in_flight=2, seconds=0.01)
    assert window.size == START_WINDOW
    assert [window.failed() for _ in range(5)] == [False, False, True, False, False], "what was sent before cuts once"
    assert window.size == pytest.approx(0.8 * START_WINDOW)
    answers(window, time, 40, in_flight=400, seconds=0.01)
    assert window.size == pytest.approx(0.8 * START_WINDOW), "successes while cooling down are from before the cut"
    time.now += COOLDOWN_SECONDS + 1
    answers(window, time, 26, in_flight=400)
    assert window.size == pytest.approx(0.8 * START_WINDOW + 1, abs=0.1)


def test_the_window_never_closes_nor_exceeds_the_setting() -> None:
    time = Time()
    window = ConcurrencyWindow(3, time)
    answers(window, time, 50, in_flight=3)
    assert window.size == 3
    for _ in range(200):
        time.now += COOLDOWN_SECONDS + 1
        window.failed()
    assert window.size == 1
