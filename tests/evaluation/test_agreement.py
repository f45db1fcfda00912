from __future__ import annotations

import numpy as np
import pytest
from scipy import stats

from luthier.errors import DataError
from luthier.evaluation.agreement import PairedValues, agree, row_counts, rows_behind


def pairs(reported: list[float], measured: list[float], metric: str = "weighted_f1") -> PairedValues:
    return PairedValues(metric, tuple(f"m{i}" for i in range(len(reported))), tuple(reported), tuple(measured))


def drawn(count: int, offset: float, noise: float, seed: int = 3, slope: float = 1.0) -> PairedValues:
    generator = np.random.default_rng(seed)
    measured = generator.uniform(0.3, 0.6, count)
    reported = 0.45 + slope * (measured - 0.45) + offset + generator.normal(0, noise, count)
    return pairs(reported.tolist(), measured.tolist())


def test_mean_difference_and_its_interval_are_those_of_the_paired_t_test() -> None:
    values = drawn(25, 0.05, 0.03)
    found = agree(values)
    reference = stats.ttest_rel(values.reported, values.measured)
    bounds = reference.confidence_interval(0.95)
    assert found.difference.value == pytest.approx(values.differences.mean())
    assert (found.difference.low, found.difference.high) == pytest.approx((bounds.low, bounds.high))
    assert found.t_p == pytest.approx(reference.pvalue)
    assert found.flattering


def test_sign_flips_are_exact_for_few_models() -> None:
    assert agree(pairs([0.5, 0.6, 0.71], [0.4, 0.55, 0.6])).p == pytest.approx(2 / 2**3)
    values = drawn(12, 0.01, 0.03)
    flips = 1 - 2 * ((np.arange(2**12)[:, None] >> np.arange(12)) & 1)
    sums = np.abs(flips @ values.differences)
    assert agree(values).p == pytest.approx((sums >= abs(values.differences.sum()) - 1e-9).mean(), abs=2e-3)


def test_95_of_100_single_differences_lie_between_the_limits() -> None:
    values = drawn(2000, 0.05, 0.03)
    found = agree(values)
    inside = (values.differences > found.lower_limit.value) & (values.differences < found.upper_limit.value)
    assert inside.mean() == pytest.approx(0.95, abs=0.02)
    assert found.lower_limit.low is not None and found.lower_limit.low < found.lower_limit.value


@pytest.mark.slow
def test_the_intervals_hold_the_truth_as_often_as_they_say() -> None:
    held = order = concordance = 0
    truth = agree(drawn(20_000, 0.05, 0.03))
    assert truth.order is not None and truth.concordance is not None
    for seed in range(100):
        found = agree(drawn(25, 0.05, 0.03, seed))
        assert found.order is not None and found.concordance is not None
        held += (found.difference.low or 0) <= 0.05 <= (found.difference.high or 0)
        order += (found.order.low or 0) <= truth.order.value <= (found.order.high or 0)
        concordance += (found.concordance.low or 0) <= truth.concordance.value <= (found.concordance.high or 0)
    assert held >= 90
    assert order >= 90
    assert concordance >= 88


def test_an_offset_lowers_concordance_and_leaves_correlation() -> None:
    measured = [0.3, 0.4, 0.5, 0.6]
    found = agree(pairs([value + 0.1 for value in measured], measured))
    assert found.correlation is not None and found.concordance is not None
    assert found.correlation.value == pytest.approx(1)
    assert found.concordance.value == pytest.approx(2 * 0.0125 / (2 * 0.0125 + 0.01))


def test_a_difference_that_grows_with_the_level_has_a_slope() -> None:
    steep, flat = agree(drawn(40, 0.05, 0.01, slope=1.5)), agree(drawn(40, 0.05, 0.01))
    assert steep.slope is not None and steep.slope.value == pytest.approx(0.4, abs=0.05)
    assert steep.slope_p is not None and steep.slope_p < 0.001
    assert flat.slope_p is not None and flat.slope_p > 0.05


def test_choosing_by_the_reported_number_loses_what_the_best_has_more() -> None:
    choice = agree(pairs([0.5, 0.7, 0.6], [0.4, 0.5, 0.55])).choice
    assert choice.chosen == ("m1",)
    assert choice.best == "m2"
    assert choice.lost == pytest.approx(0.05)
    assert choice.promised == pytest.approx(0.7)
    assert choice.lost_by_chance == pytest.approx(0.55 - (0.4 + 0.5 + 0.55) / 3)


def test_of_an_error_the_lowest_is_the_best() -> None:
    found = agree(pairs([1.0, 1.2, 1.1], [1.3, 1.2, 1.25], "mse"))
    assert found.choice.chosen == ("m0",)
    assert found.choice.lost == pytest.approx(0.1)
    assert found.flattering


@pytest.mark.parametrize("metric", ["accuracy", "log_loss"])
def test_numbers_that_agree_flatter_nobody(metric: str) -> None:
    assert not agree(pairs([0.4, 0.5, 0.6], [0.4, 0.5, 0.6], metric)).flattering


def test_models_that_are_reported_alike_are_a_draw_among_them() -> None:
    choice = agree(pairs([0.6, 0.6, 0.5], [0.4, 0.5, 0.3])).choice
    assert choice.chosen == ("m0", "m1")
    assert choice.delivered == pytest.approx(0.45)


def test_one_offset_for_all_is_certain_and_equal_numbers_do_not_differ() -> None:
    same = agree(pairs([0.4, 0.5, 0.6], [0.4, 0.5, 0.6]))
    assert (same.p, same.t_p, same.difference.value) == (1.0, 1.0, 0.0)
    constant = agree(pairs([0.5, 0.5, 0.5], [0.4, 0.5, 0.6]))
    assert constant.order is None and constant.correlation is None


def test_a_few_models_in_perfect_order_prove_no_certainty() -> None:
    values = [0.3, 0.4, 0.5, 0.6, 0.7, 0.8]
    four, six = agree(pairs(values[:4], values[:4])).order, agree(pairs(values, values)).order
    assert four is not None and (four.value, four.low) == (1.0, None)
    assert six is not None and six.low is not None and six.low < 0.5 < six.value == six.high


def test_two_pairs_are_too_few() -> None:
    with pytest.raises(DataError, match="2 pairs.*at least 3"):
        agree(pairs([0.5, 0.6], [0.4, 0.5]))


def test_shares_betray_the_rows_they_count_also_in_single_precision() -> None:
    generator = np.random.default_rng(1)
    counts = generator.integers(100, 400, 20) / 532
    assert rows_behind(counts.tolist()) == 532
    assert rows_behind(counts.astype(np.float32).astype(float).tolist()) == 532


def test_rounded_shares_and_other_numbers_betray_nothing() -> None:
    assert rows_behind([0.521, 0.383, 0.612, 0.777]) is None
    assert rows_behind(np.random.default_rng(2).uniform(size=20).tolist()) is None
    assert rows_behind([277 / 532, 204 / 532]) is None


def test_what_chance_makes_of_two_samples_is_what_simulated_samples_show() -> None:
    generator = np.random.default_rng(5)
    reported, measured = generator.binomial(532, 0.44, 4000) / 532, generator.binomial(338, 0.44, 4000) / 338
    found = row_counts(pairs(reported[:50].tolist(), measured[:50].tolist(), "accuracy"))
    assert found is not None
    assert (found.reported, found.measured) == (532, 338)
    assert (np.abs(reported - measured) <= found.chance).mean() == pytest.approx(0.95, abs=0.02)
