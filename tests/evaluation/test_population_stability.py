"""Whether predicted labels have moved away from those of training, and when that can be said."""

from __future__ import annotations

import numpy as np
import pytest

from luthier.evaluation.population_stability import LabelMix, population_stability, separate_stability

LABELS = tuple("abcde")


def even(rows: int | None = 10_000, labels: tuple[str, ...] = LABELS) -> LabelMix:
    return LabelMix("training rows", dict.fromkeys(labels, 1 / len(labels)), rows)


def test_the_index_is_the_sum_that_its_source_gives() -> None:
    before = LabelMix("training rows", {"good": 0.5, "bad": 0.5}, rows=100_000)
    found = population_stability(before, {"good": 70_000, "bad": 30_000}, ("good", "bad"))
    assert found is not None
    expected = (0.7 - 0.5) * np.log(0.7 / 0.5) + (0.3 - 0.5) * np.log(0.3 / 0.5)
    assert found.index == pytest.approx(expected, rel=1e-3)
    assert found.index == pytest.approx(sum(one.part for one in found.shares))
    assert found.shift == "moderate"


@pytest.mark.parametrize(("labels", "rows"), [(5, 50), (5, 2_000), (77, 300), (77, 5_000)])
def test_an_unchanged_mix_is_called_shifted_in_at_most_one_of_twenty_samples(labels: int, rows: int) -> None:
    names = tuple(f"label {n}" for n in range(labels))
    draws = np.random.default_rng(5).multinomial(rows, [1 / labels] * labels, size=400)
    shifted = 0
    for draw in draws:
        found = population_stability(even(20_000, names), dict(zip(names, draw.tolist(), strict=True)), names)
        assert found is not None
        shifted += found.shift != "none"
    assert shifted <= 0.07 * len(draws)


def test_of_labels_that_rows_have_several_of_the_index_is_that_of_the_label_that_moved_most() -> None:
    before = LabelMix("training rows", {"room": 0.4, "noise": 0.1}, rows=100_000)
    found = separate_stability(before, {"room": 41_000, "noise": 30_000}, ("room", "noise"), 100_000)
    assert found is not None
    expected = (0.3 - 0.1) * np.log(0.3 / 0.1) + (0.7 - 0.9) * np.log(0.7 / 0.9)
    assert found.shares[0].label == "noise"
    assert found.index == pytest.approx(expected, rel=1e-3)


def test_sets_of_labels_that_go_together_are_called_shifted_by_chance_in_at_most_one_of_twenty_samples() -> None:
    names = tuple(f"label {n}" for n in range(20))
    generator = np.random.default_rng(5)
    shifted = 0
    for _ in range(400):
        # A row has the labels below a number that it draws, so that each goes with those before it.
        carried = (generator.random((40, 1)) * 22 > np.arange(1, 21)).sum(axis=0)
        before = LabelMix("training rows", {name: 1 - n / 22 for n, name in enumerate(names, 1)}, 20_000)
        found = separate_stability(before, dict(zip(names, carried.tolist(), strict=True)), names, 40)
        assert found is not None
        shifted += found.shift != "none"
    assert shifted <= 0.07 * 400


def test_a_label_that_has_gone_keeps_the_index_finite_and_comes_first() -> None:
    found = population_stability(even(), {"a": 400, "b": 200, "c": 200, "d": 200}, LABELS)
    assert found is not None
    assert found.shares[0].label == "e"
    assert found.shares[0].now == 0.0
    assert found.shift == "large"


def test_a_mix_of_unknown_size_is_compared_by_its_shares() -> None:
    now = {"a": 300, "b": 100, "c": 200, "d": 200, "e": 200}
    unknown, known = population_stability(even(None), now, LABELS), population_stability(even(), now, LABELS)
    assert unknown is not None
    assert known is not None
    assert unknown.rows_before is None
    assert unknown.index == pytest.approx(known.index, rel=0.02)


def test_there_is_nothing_to_compare_without_a_predicted_label() -> None:
    assert population_stability(even(), {}, LABELS) is None
    assert population_stability(LabelMix("training rows", {"a": 1.0}, 9), {"a": 5}, ("a",)) is None
