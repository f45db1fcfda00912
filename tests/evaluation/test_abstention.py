from __future__ import annotations

import json
import math

import numpy as np
import pytest

from luthier.evaluation.abstention import Abstention, abstention
from luthier.evaluation.resampling import plain


def informed(rows: int, seed: int = 1) -> tuple[np.ndarray, np.ndarray]:
    """Rows that are right as often as their confidence says."""
    generator = np.random.default_rng(seed)
    sure = generator.uniform(0.3, 1.0, rows)
    return sure, generator.uniform(size=rows) < sure


def found(sure: object, right: object) -> Abstention:
    one = abstention(sure, right)  # type: ignore[arg-type]
    assert one is not None
    return one


def test_answering_fewer_rows_is_right_more_often_where_confidence_means_something() -> None:
    one = found(*informed(2_000))
    first, last = one.points[0], one.points[-1]
    assert first.coverage.value == 1.0
    assert last.coverage.value < 0.1
    assert last.accuracy.value > first.accuracy.value + 0.2
    assert one.gain_p < 1e-6
    assert one.advised is not None
    assert one.everything is not None
    assert one.advised.accuracy.value > one.everything.accuracy.value + 0.05
    assert [point.threshold for point in one.points] == sorted({point.threshold for point in one.points})


def test_the_advised_threshold_is_not_measured_on_the_rows_that_chose_it() -> None:
    # With confidences that mean nothing, thresholds chosen and measured on the same rows would all seem to gain.
    gains = []
    for seed in range(300):
        generator = np.random.default_rng(seed)
        one = found(generator.uniform(size=80), generator.uniform(size=80) < 0.7)
        if one.advised is not None and one.everything is not None:
            gains.append(one)
    assert len(gains) <= 6


def test_a_threshold_that_is_typed_in_again_answers_the_rows_of_its_figures() -> None:
    sure, right = informed(400)
    for point in found(sure, right).points:
        answered = sure >= float(f"{point.threshold:g}")
        assert answered.mean() == pytest.approx(point.coverage.value)
        assert right[answered].mean() == pytest.approx(point.accuracy.value)
        assert (answered & ~right).mean() == pytest.approx(point.error_rate)


def test_rows_of_equal_confidence_are_answered_together() -> None:
    one = found([0.9] * 10 + [0.5] * 30, [True] * 10 + [False] * 15 + [True] * 15)
    assert [(point.threshold, point.coverage.value) for point in one.points] == [(0.0, 1.0), (0.9, 0.25)]


@pytest.mark.parametrize("right", [True, False])
def test_nothing_is_advised_where_all_rows_are_right_or_all_wrong(right: bool) -> None:
    one = found(np.linspace(0.2, 0.9, 100), [right] * 100)
    assert one.advised is None
    assert one.gain_p == 1.0
    assert {point.accuracy.value for point in one.points} == {float(right)}


def test_few_rows_have_a_curve_and_no_advice() -> None:
    one = found([0.9, 0.8, 0.7, 0.2, 0.1], [True, True, True, False, False])
    assert one.advised is None
    assert len(one.points) == 5


@pytest.mark.parametrize("sure", [[], [math.nan] * 50, [0.7] * 50, [0.7, math.nan]], ids=str)
def test_confidences_that_divide_no_rows_have_no_curve(sure: list[float]) -> None:
    assert abstention(sure, [True] * len(sure)) is None


def test_rows_without_a_confidence_are_answered_only_where_every_row_is() -> None:
    one = found([0.9, 0.8, math.nan, math.nan], [True, True, False, True])
    assert one.points[0].accuracy.value == 0.75
    assert one.points[1].coverage.value == 0.25
    assert one.rows == 2


def test_confidences_near_one_are_told_apart_and_the_record_is_json() -> None:
    one = found([0.9999, 0.9998, 1.0, 0.99991], [True, False, True, True])
    assert [point.threshold for point in one.points] == [0.0, 0.9999, 1.0]
    assert json.loads(json.dumps(plain(one)))["rows"] == 4
