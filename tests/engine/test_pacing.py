from __future__ import annotations

import math
import os
import subprocess
import sys
from pathlib import Path

import pytest

from tests.engine.throttled import Account, Outcome, Service, Time, Told, ask
from tests.patience import PATIENCE_SECONDS

ROOT = Path(__file__).parents[2]

WAYS: dict[str, Told | None] = {
    "seconds": lambda wait: float(math.ceil(wait)),
    "milliseconds": lambda wait: wait,
    "date": lambda wait: math.ceil(wait) - 0.5,
    "nothing": None,
    "always 0": lambda wait: 0.0,
    "always 20 s": lambda wait: 20.0,
}


def asked(rows: int, service: Service, told: Told | None = None) -> Outcome:
    account = Account(rows, service, Time(), told)
    ask(account)
    assert account.outcome.accepted == rows
    return account.outcome


@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize("seed", [1, 2])
def test_a_throttled_service_is_used_fully_and_rarely_pushes_back_however_it_says_so(way: str, seed: int) -> None:
    outcome = asked(900, Service(10, burst=5, seed=seed), WAYS[way])
    assert outcome.share_refused <= 0.04
    # A row that is told to wait 20 s may be the last one, and does wait.
    assert outcome.accepted / (outcome.seconds - 20 * (way == "always 20 s")) >= 0.95 * 10


@pytest.mark.parametrize(
    ("per_second", "burst", "least"),
    [(1, 5, 0.95), (10, 1, 0.9), (30, 10, 0.95), (100, 5, 0.9), (300, 30, 0.8), (10, 60, 0.95)],
)
def test_other_rates_and_bursts_are_learned_too(per_second: float, burst: float, least: float) -> None:
    outcome = asked(1200, Service(per_second, burst=burst))
    assert outcome.share_refused <= 0.04
    assert outcome.per_second >= least * per_second


@pytest.mark.parametrize(("latency", "refusal"), [(2.0, 0.002), (0.1, 0.1), (0.5, 0.3), (0.02, 0.001)])
def test_slow_answers_and_slow_refusals_mislead_nobody(latency: float, refusal: float) -> None:
    outcome = asked(900, Service(10, latency_seconds=latency, refusal_seconds=refusal))
    assert outcome.share_refused <= 0.05
    assert outcome.per_second >= 0.9 * 10


@pytest.mark.parametrize("seed", range(5))
@pytest.mark.parametrize("share", [0.01, 0.05])
def test_push_backs_at_random_do_not_slow_the_account(share: float, seed: int) -> None:
    told = WAYS["seconds"]
    free = asked(2000, Service(seed=seed), told)
    flaky = asked(2000, Service(sporadic=share, seed=seed), lambda wait: float(seed % 2))
    assert free.refused == 0
    assert flaky.per_second >= 0.4 * free.per_second
    assert flaky.share_refused <= share + 0.02


@pytest.mark.parametrize("seed", range(3))
def test_a_limit_is_found_among_push_backs_at_random(seed: int) -> None:
    outcome = asked(900, Service(10, sporadic=0.05, seed=seed))
    assert sum(outcome.by_second[-30:-5]) >= 0.9 * 250, "once it is known that some come at random"
    assert outcome.share_refused <= 0.2


def test_a_rate_that_was_raised_is_found_and_one_that_was_lowered_is_kept() -> None:
    raised = asked(2400, Service(10, changes=[(60, 20)]))
    assert sum(raised.by_second[100:110]) >= 0.9 * 200
    lowered = asked(1500, Service(20, changes=[(30, 10)]))
    assert sum(lowered.by_second[40:80]) == pytest.approx(400, rel=0.05)
    assert max(raised.share_refused, lowered.share_refused) <= 0.04


@pytest.mark.parametrize("seed", range(3))
@pytest.mark.parametrize("says_limits", [True, False], ids=["told", "untold"])
def test_two_clients_of_one_account_use_it_fully_and_share_it(seed: int, says_limits: bool) -> None:
    time, service = Time(), Service(20, burst=10, says_limits=says_limits, seed=seed)
    both = [Account(100_000, service, time, WAYS["milliseconds"], seed=seed) for seed in range(2)]
    ask(*both, until=600)
    later = [sum(account.outcome.by_second[200:]) for account in both]
    assert service.requests.share_used(600) >= 0.95
    assert min(later) >= (0.9 if says_limits else 0.4) * max(later)
    assert max(account.outcome.share_refused for account in both) <= 0.03


def test_a_client_that_is_left_alone_uses_all_of_the_account_again() -> None:
    for says_limits in (True, False):
        time, service = Time(), Service(20, burst=10, says_limits=says_limits)
        stays, leaves = (Account(rows, service, time, WAYS["milliseconds"]) for rows in (100_000, 2000))
        ask(stays, leaves, until=600)
        assert leaves.outcome.seconds < 450
        assert sum(stays.outcome.by_second[-100:-10]) >= 0.95 * 90 * 20


def test_a_client_that_rests_finds_the_rate_again() -> None:
    time, service = Time(), Service(10)
    account = Account(400, service, time, None)
    ask(account)
    before = account.outcome.refused
    time.now += 3600
    account.rows, began = 400, time.now
    ask(account)
    assert 400 / (time.now - began) >= 0.9 * 10
    assert account.outcome.refused - before <= 16


def test_a_service_that_does_not_throttle_is_asked_at_full_speed() -> None:
    outcome = asked(5000, Service())
    assert outcome.per_second >= 0.9 * 64 / 0.1


@pytest.mark.slow
def test_over_http_every_way_of_throttling_gives_the_allowed_rate() -> None:
    program = [sys.executable, str(ROOT / "benchmarks" / "throttling.py")]
    command = [*program, "--rows", "400", "--per-second", "20", "--without", "sdk"]
    ran = subprocess.run(command, capture_output=True, text=True, timeout=PATIENCE_SECONDS, env={**os.environ})
    assert ran.returncode == 0, ran.stderr
    lines = [line.split() for line in ran.stdout.splitlines()[2:]]
    assert [line[0] for line in lines] == ["seconds", "ms", "date", "none", "headers", "random"]
    # In virtual time it is .95 and more. Here other work on the machine makes timers late, of a told rate too.
    when_told = next(float(line[3]) for line in lines if line[0] == "headers")
    for mode, _, rate, of_allowed, refused, failed in lines:
        assert failed == "0", mode
        if mode == "random":
            assert float(rate) >= 30
            continue
        assert float(of_allowed) >= 0.8 * when_told, mode
        assert float(refused.rstrip("%")) <= 5, mode
