"""What a watch keeps of a score, and that it stays small."""

from __future__ import annotations

import random

import numpy as np
import pytest

from luthier.engine.limiter import Limiter
from luthier.engine.progress import ProgressForecast
from luthier.providers.endpoint import Limits
from luthier.providers.exchange import Answer
from luthier.scoring.score_watch import MOST_STEPS, LatencyHistogram, RateCounter, ScoreWatch


class Clock:
    now = 100.0

    def __call__(self) -> float:
        return self.now


def test_quantiles_of_a_million_latencies_are_known_to_one_percent() -> None:
    drawn = np.random.default_rng(1).lognormal(-1, 0.8, 100_000)
    found = LatencyHistogram()
    for seconds in drawn.tolist():
        found.add(seconds)
    for share in (0.01, 0.5, 0.95, 0.99, 1.0):
        assert found.quantile(share) == pytest.approx(np.quantile(drawn, share), rel=0.011)
    summary = found.summary()
    assert summary is not None
    assert sum(summary.calls) == len(drawn)
    assert len(summary.edges) == len(summary.calls) + 1 <= 25
    assert summary.longest_seconds == drawn.max()


def test_a_latency_of_zero_is_counted() -> None:
    found = LatencyHistogram()
    found.add(0.0)
    assert found.quantile(0.5) == 0.0
    assert LatencyHistogram().quantile(0.5) is None


def test_the_curve_of_a_long_score_has_as_few_points_as_that_of_a_short_one() -> None:
    counter = RateCounter()
    for second in range(100_000):
        counter.add(second + 0.5, 20)
    found = counter.throughput("answers")
    assert found is not None
    assert len(found.counts) <= MOST_STEPS
    assert sum(found.counts) == 2_000_000
    assert all(rate == pytest.approx(20, rel=0.02) for rate in found.rates)
    assert found.mean_rate == pytest.approx(20, rel=1e-3)


def test_answers_are_counted_by_the_model_that_gave_them_and_those_of_the_journal_cost_nothing() -> None:
    watch = ScoreWatch(clock=Clock())
    for answer in (
        Answer("1", model="a-2024", cost_usd=0.5),
        Answer("1", model="a-2025", cost_usd=0.25),
        Answer("1", model="a-2024", cost_usd=0.5),
        Answer("1", model="a-2023", cost_usd=9.0, from_journal=True),
        Answer(failure="transient"),
    ):
        watch.completed(answer)
    assert dict(watch.models) == {"a-2024": 2, "a-2025": 1, "a-2023": 1}
    assert watch.fetched.cost_usd == 1.25


def test_a_display_that_fails_costs_the_report_nothing() -> None:
    class Broken(ProgressForecast):
        def completed(self, answer: Answer) -> None:
            raise RuntimeError("no terminal")

    watch = ScoreWatch(Broken(ScoreWatch(), 1))
    watch.completed(Answer("1"))
    watch.completed(Answer("1"))
    assert watch.fetched.answers == 2


def test_a_limiter_that_was_there_before_is_shown_as_it_stood_when_the_score_began() -> None:
    clock = Clock()
    limiter = Limiter(Limits(requests_per_minute=600), clock)
    clock.now += 5
    limiter.configure(Limits(requests_per_minute=300))
    clock.now += 5
    watch = ScoreWatch(clock=clock)
    clock.now += 5
    limiter.configure(Limits(requests_per_minute=60))
    found = watch.limiter_changes({"here": list(limiter.history)})
    assert [(one.seconds, one.requests_per_minute) for one in found] == [(0.0, 300.0), (5.0, 60.0)]


def test_models_without_number_are_one() -> None:
    watch, names = ScoreWatch(), random.Random(1)
    for _ in range(500):
        watch.completed(Answer("1", model=f"model {names.random()}"))
    assert len(watch.models) == 51
    assert watch.models.total() == 500
