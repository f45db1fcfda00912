from __future__ import annotations

import numpy as np
import pytest
from scipy import stats

from luthier.errors import DataError
from luthier.evaluation.spread import permutation_test, spread_of


def test_quartiles_and_mean_are_those_of_the_draws() -> None:
    (group,) = spread_of({"5": [0.5, 0.1, 0.3, 0.2, 0.4]}, "accuracy").groups
    assert (group.draws, group.low, group.quarter, group.median, group.three_quarters, group.high) == (
        (5, 0.1, 0.2, 0.3, 0.4, 0.5)
    )
    assert group.mean.value == pytest.approx(0.3)


def test_one_draw_has_no_interval() -> None:
    (group,) = spread_of({"5": [0.5]}, "accuracy").groups
    assert (group.mean.low, group.mean.high) == (None, None)


def test_where_ways_are_too_many_to_count_p_is_that_of_the_t_test_on_normal_draws() -> None:
    generator = np.random.default_rng(3)
    first, second = generator.normal(0.4, 0.1, 12), generator.normal(0.45, 0.1, 12)
    found = permutation_test(list(first), list(second))
    assert found == pytest.approx(stats.ttest_ind(first, second).pvalue, abs=0.02)


def test_groups_of_one_lot_are_called_different_no_more_often_than_stated() -> None:
    generator = np.random.default_rng(1)
    found = [permutation_test(*generator.normal(size=(2, 5))) for _ in range(400)]
    assert 0.02 < np.mean(np.asarray(found) < 0.05) < 0.08


def test_p_values_are_corrected_over_all_pairs() -> None:
    spread = spread_of({"1": [1, 2, 3, 4], "3": [11, 12, 13, 14], "5": [11, 12, 13, 15]}, "mse")
    assert [round(pair.p_corrected / pair.p, 2) for pair in spread.pairs[:2]] == [3.0, 3.0]


def test_a_group_without_results_is_named() -> None:
    with pytest.raises(DataError, match="no result for '3'"):
        spread_of({"1": [0.5], "3": []}, "accuracy")
