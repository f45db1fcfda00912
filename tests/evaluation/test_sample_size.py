from __future__ import annotations

import numpy as np
import pytest
from scipy import stats

from luthier.errors import UserError
from luthier.evaluation.sample_size import MOST_DIFFERING, detectable_difference, mcnemar_power, rows_needed


@pytest.mark.parametrize(("only_first", "only_second"), [(0.15, 0.10), (0.20, 0.10), (0.12, 0.04), (0.25, 0.01)])
def test_with_the_planned_rows_mcnemar_finds_the_difference_in_8_of_10_tables(
    only_first: float, only_second: float
) -> None:
    accuracy = 0.6
    rows = rows_needed(accuracy, accuracy - only_first + only_second, disagreement=only_first + only_second)
    generator = np.random.default_rng(1)
    differing = generator.binomial(rows, only_first + only_second, 4000)
    split = generator.binomial(differing, only_first / (only_first + only_second))
    p = np.minimum(1, 2 * stats.binom.cdf(np.minimum(split, differing - split), differing, 0.5))
    assert (p < 0.05).mean() == pytest.approx(0.81, abs=0.025)


def test_the_normal_limit_of_the_power_meets_the_exact_one() -> None:
    exact = mcnemar_power(MOST_DIFFERING * 4, 0.008, disagreement=0.249)
    assert mcnemar_power(MOST_DIFFERING * 4, 0.008, disagreement=0.2501) == pytest.approx(exact, abs=0.005)


def test_one_spec_that_is_right_wherever_they_differ_needs_few_rows() -> None:
    assert rows_needed(0.95, 0.90, disagreement=0.05) < 200


def test_the_detectable_difference_is_the_plan_read_backwards() -> None:
    for gap, disagreement in ((0.05, 0.2), (0.1, 0.4), (0.02, 0.1)):
        rows = rows_needed(0.6, 0.6 - gap, disagreement=disagreement)
        assert detectable_difference(rows, disagreement=disagreement) == pytest.approx(gap, rel=0.01)


def test_specs_that_err_on_the_same_rows_need_fewer_rows() -> None:
    assert rows_needed(0.6, 0.55, disagreement=0.1) < rows_needed(0.6, 0.55)


def test_a_few_rows_that_hardly_disagree_can_show_nothing() -> None:
    assert detectable_difference(10, disagreement=0.1) is None
    assert detectable_difference(10_000, disagreement=0.0) is None


def test_twice_as_sharp_a_question_takes_four_times_the_rows() -> None:
    ratio = rows_needed(0.6, 0.58, disagreement=0.2) / rows_needed(0.6, 0.56, disagreement=0.2)
    assert ratio == pytest.approx(4, rel=0.05)


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        ({"first_accuracy": 60, "second_accuracy": 0.5}, "from 0 to 1"),
        ({"first_accuracy": 0.6, "second_accuracy": 0.6}, "no number of rows"),
        ({"first_accuracy": 0.6, "second_accuracy": 0.5, "disagreement": 0.05}, "does not fit"),
        ({"first_accuracy": 0.6, "second_accuracy": 0.5, "power": 80}, "usual are 0.05 and 0.8"),
    ],
)
def test_arguments_that_make_no_sense_are_refused(arguments: dict[str, float], words: str) -> None:
    with pytest.raises(UserError, match=words):
        rows_needed(**arguments)


def test_a_plan_needs_rows() -> None:
    with pytest.raises(UserError, match="at least 1"):
        detectable_difference(0, disagreement=0.1)
