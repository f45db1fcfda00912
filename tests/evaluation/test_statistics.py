from __future__ import annotations

from collections.abc import Sequence
from itertools import product

import numpy as np
import pytest
from scipy import stats

from luthier.evaluation.metrics import EvaluatedRows, measure
from luthier.evaluation.statistics import Difference, holm, letters, mcnemar, paired_difference, sign_flip
from luthier.tasks.prediction import Prediction
from luthier.tasks.task import Task
from tests.evaluation.answering import MOOD, STARS, ok, simulated


def test_mcnemar_is_the_binomial_test_on_the_rows_where_one_is_right() -> None:
    first = np.array([True] * 15 + [False] * 5 + [True] * 50)
    second = np.array([False] * 15 + [True] * 5 + [True] * 50)
    assert mcnemar(first, second) == pytest.approx(2 * stats.binom.cdf(5, 20, 0.5))
    assert mcnemar(first, first) == 1.0


def test_sign_flips_give_the_share_of_all_flips_as_extreme_as_seen() -> None:
    generator = np.random.default_rng(3)
    for scale in (1.0, 0.5, 2.5):
        for _ in range(10):
            differences = np.asarray(generator.integers(-3, 4, 9) * scale, dtype=np.float64)
            sums = [abs(np.dot(signs, np.abs(differences))) for signs in product((-1, 1), repeat=9)]
            wanted = np.mean([s >= abs(differences.sum()) - 1e-9 for s in sums])
            assert sign_flip(differences) == pytest.approx(wanted)


def test_sign_flips_of_many_rows_meet_their_normal_limit() -> None:
    generator = np.random.default_rng(4)
    differences = generator.choice([-2.0, -1.0, 0.0, 1.0, 2.0], 20_000, p=[0.1, 0.2, 0.385, 0.21, 0.105])
    normal = 2 * stats.norm.sf(abs(differences.sum()) / np.sqrt((differences**2).sum()))
    assert sign_flip(differences) == pytest.approx(normal, rel=0.02)
    # Beyond a million lattice points, and where labels share no unit, the limit itself is used.
    assert sign_flip(np.tile(differences, 100) * 1.0) < 1e-6
    assert 0 < sign_flip(generator.normal(0, 1, 100)) <= 1


def test_sign_flips_of_nothing_say_nothing() -> None:
    assert sign_flip(np.zeros(10)) == 1.0
    assert sign_flip(np.array([])) == 1.0


def test_holm_by_hand() -> None:
    # Sorted .005 .01 .03 .04 times 4 3 2 1, and never below the one before.
    assert holm([0.01, 0.04, 0.03, 0.005]) == pytest.approx([0.03, 0.06, 0.06, 0.02])
    assert holm([0.9, 0.8]) == [1.0, 1.0]
    assert holm([]) == []


def test_specs_share_a_letter_exactly_when_they_do_not_differ() -> None:
    generator = np.random.default_rng(6)
    for count in (1, 2, 5, 9):
        for _ in range(30):
            different = {(i, j): bool(generator.random() < 0.5) for i in range(count) for j in range(i + 1, count)}
            groups = letters(count, different)
            assert all(groups)
            assert groups[0].startswith("a")
            for (i, j), differ in different.items():
                assert bool(set(groups[i]) & set(groups[j])) != differ


def compare_pair(
    task: Task,
    truths: Sequence[str],
    first: Sequence[Prediction],
    second: Sequence[Prediction],
    metric: str,
    *,
    resamples: int = 2000,
    seed: int = 7,
) -> Difference:
    evaluated = [EvaluatedRows.of(task, truths, given) for given in (first, second)]
    one, other = measure(evaluated, resamples=resamples, seed=seed)
    return paired_difference(one.values[metric], other.values[metric], one.draws[metric], other.draws[metric])


def test_the_same_answers_do_not_differ() -> None:
    difference = compare_pair(STARS, ["1", "2", "3"], ok(1, 2, 4), ok(1, 2, 4), "qwk")
    assert (difference.interval.value, difference.p) == (0.0, 1.0)


def test_a_difference_is_tighter_than_the_two_intervals_because_rows_are_paired() -> None:
    truth = np.random.default_rng(1).integers(0, 5, 400)
    truths = [STARS.labels[t] for t in truth]
    first = simulated(STARS, truth, 1.0, 2)
    # The second answers like the first but errs on 16 rows more.
    second = [*ok(*[1 if t > 2 else 5 for t in truth[:16]]), *first[16:]]
    difference = compare_pair(STARS, truths, first, second, "mae")
    assert difference.interval.high is not None
    assert difference.interval.high < 0
    assert difference.p < 0.01


def test_p_does_not_stop_at_the_number_of_samples() -> None:
    # With 45 pairs a p of 1 in 2,001 could never pass a correction.
    difference = compare_pair(MOOD, ["good"] * 300, ok(*["good"] * 300), ok(*["good", "bad"] * 150), "accuracy")
    assert difference.p < 1e-9


def test_a_metric_that_better_is_lower_keeps_first_minus_second() -> None:
    difference = compare_pair(STARS, ["1"] * 10, ok(*[1] * 10), ok(*[3] * 5, *[1] * 5), "mae")
    assert difference.interval.value == pytest.approx(-1.0)


@pytest.mark.slow
@pytest.mark.parametrize("metric", ["weighted_f1", "qwk"])
def test_equal_specs_are_called_different_in_about_5_of_100_tables(metric: str) -> None:
    wrong, trials = 0, 120
    for trial in range(trials):
        truth = np.random.default_rng(trial).integers(0, 5, 150)
        truths = [STARS.labels[t] for t in truth]
        first, second = (simulated(STARS, truth, 1.0, 10_000 + 2 * trial + k, probabilities=False) for k in (0, 1))
        wrong += compare_pair(STARS, truths, first, second, metric, resamples=300, seed=trial).p < 0.05
    # 120 trials at .05 stay below .12 with 99.9%.
    assert wrong / trials < 0.12


def test_draws_without_spread_are_no_proof_of_equality() -> None:
    steady = np.full(2000, 0.5)
    assert paired_difference(1.0, 0.5, steady * 2, steady).p == pytest.approx(2 / 2001)
    assert paired_difference(0.5, 0.5, steady, steady).p == 1.0
