from __future__ import annotations

import itertools

import numpy as np
import pytest

from luthier.tasks.labels.deciding import best_label, best_labels, fit_thresholds, kappa_of, midpoints, ranks_between
from luthier.tasks.task import Task

STARS = Task("stars", type="rating", labels=[1, 2, 3, 4, 5])
THREE = Task("three", type="rating", labels=["low", "middle", "high"])


def made_up(count: int, seed: int) -> tuple[list[str], np.ndarray]:
    """Labels, and expected ratings that shrink to the middle as those of real models do."""
    drawn = np.random.default_rng(seed)
    truth = drawn.integers(0, 5, count)
    return [STARS.labels[i] for i in truth], 3 + 0.4 * (truth - 2) + drawn.normal(0, 0.5, count)


def kappa(truths: list[str], expected: np.ndarray, thresholds: tuple[float, ...], task: Task = STARS) -> float:
    values = np.asarray(task.values)
    return kappa_of(values[ranks_between(expected, thresholds)], values[[task.position(label) for label in truths]])


def test_kappa_is_that_of_scikit_learn() -> None:
    from sklearn.metrics import cohen_kappa_score

    drawn = np.random.default_rng(3)
    one, other = drawn.integers(1, 6, 200), drawn.integers(1, 6, 200)
    assert kappa_of(one.astype(float), other.astype(float)) == pytest.approx(
        cohen_kappa_score(one, other, weights="quadratic")
    )


def test_one_answer_for_all_has_kappa_zero() -> None:
    assert kappa_of(np.full(4, 3.0), np.array([1.0, 2.0, 4.0, 5.0])) == 0


@pytest.mark.parametrize("seed", range(5))
def test_fitted_cuts_agree_better_than_midpoints(seed: int) -> None:
    truths, expected = made_up(400, seed)
    assert kappa(truths, expected, fit_thresholds(STARS, truths, expected)) > kappa(
        truths, expected, (1.5, 2.5, 3.5, 4.5)
    )


@pytest.mark.parametrize("seed", range(5))
def test_fitted_cuts_hold_on_rows_they_were_not_fitted_on(seed: int) -> None:
    thresholds = fit_thresholds(STARS, *made_up(400, seed))
    truths, expected = made_up(400, seed + 100)
    assert kappa(truths, expected, thresholds) > kappa(truths, expected, (1.5, 2.5, 3.5, 4.5))


@pytest.mark.parametrize("seed", range(5))
def test_two_cuts_are_nearly_the_best_there_are(seed: int) -> None:
    drawn = np.random.default_rng(seed)
    truth = drawn.integers(0, 3, 25)
    truths, expected = [THREE.labels[i] for i in truth], 2 + 0.5 * (truth - 1) + drawn.normal(0, 0.4, 25)
    order = np.unique(expected)
    places = [*((order[:-1] + order[1:]) / 2), 1.5, 2.5]
    best = max(kappa(truths, expected, thresholds, THREE) for thresholds in itertools.combinations(sorted(places), 2))
    assert kappa(truths, expected, fit_thresholds(THREE, truths, expected), THREE) >= best - 0.05


def test_cuts_ascend() -> None:
    thresholds = fit_thresholds(STARS, *made_up(60, 1))
    assert list(thresholds) == sorted(set(thresholds))


def test_equal_expected_ratings_leave_the_midpoints() -> None:
    assert fit_thresholds(STARS, ["1", "5"], [3.0, 3.0]) == (1.5, 2.5, 3.5, 4.5)


def test_a_hundred_thousand_rows_give_the_cuts_of_their_share() -> None:
    truths, expected = made_up(100_000, 1)
    assert kappa(truths, expected, fit_thresholds(STARS, truths, expected)) > 0.7


@pytest.mark.parametrize("objective", [None, "accuracy", "mse", "qwk"])
def test_many_rows_are_answered_like_one(objective: str) -> None:
    shares = np.random.default_rng(1).dirichlet(np.ones(5), 50)
    thresholds = (1.7, 2.6, 3.3, 4.1)
    alone = [best_label(STARS, tuple(row), objective, thresholds) for row in shares]  # type: ignore[arg-type]
    assert best_labels(STARS.values, shares, objective, thresholds).tolist() == alone  # type: ignore[arg-type]


def test_without_cuts_qwk_takes_the_midpoints() -> None:
    assert best_label(STARS, (0.5, 0, 0, 0, 0.5), "qwk") == 2


def test_midpoints_follow_uneven_values() -> None:
    assert midpoints((0, 1, 10)) == (0.5, 5.5)
