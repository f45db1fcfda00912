from __future__ import annotations

import numpy as np
import pytest

import luthier as lt
from luthier.errors import UserError
from luthier.evaluation import pseudo_values as module
from luthier.evaluation.metrics import EvaluatedRows, evaluate
from luthier.evaluation.pseudo_values import check_raceable, pseudo_values
from luthier.tasks.prediction import Prediction

STARS = lt.Task("stars", type="rating", label="stars", labels=[1, 2, 3, 4, 5])


def rated(rows: int, seed: int = 3) -> EvaluatedRows:
    generator = np.random.default_rng(seed)
    truths = generator.integers(1, 6, rows)
    said = np.clip(truths + generator.integers(-1, 2, rows), 1, 5)
    return EvaluatedRows.of(STARS, [str(t) for t in truths], [Prediction(str(one), "ok") for one in said])


@pytest.mark.parametrize("metric", ["accuracy", "within_1"])
def test_the_pseudo_values_of_a_share_are_the_scores_of_the_rows(metric: str) -> None:
    rows = rated(50)
    found = pseudo_values(rows, metric)
    assert found is not None
    assert set(found.round(9)) <= {0.0, 1.0}


@pytest.mark.parametrize(("metric", "sign"), [("qwk", 1), ("macro_f1", 1), ("mae", -1)])
def test_their_mean_is_the_metric_and_higher_is_better(metric: str, sign: int) -> None:
    rows = rated(400)
    found = pseudo_values(rows, metric)
    assert found is not None
    value = evaluate(STARS, rows.truths, rows.predictions, resamples=0)[metric].value
    assert sign * found.mean() == pytest.approx(value, abs=0.005)


def test_their_deviation_is_the_standard_error_of_the_bootstrap() -> None:
    rows = rated(300)
    found = pseudo_values(rows, "qwk")
    assert found is not None
    interval = evaluate(STARS, rows.truths, rows.predictions)["qwk"]
    assert interval.low is not None
    assert interval.high is not None
    assert 3.92 * found.std() / np.sqrt(300) == pytest.approx(interval.high - interval.low, rel=0.1)


def test_many_rows_are_taken_in_pieces(monkeypatch: pytest.MonkeyPatch) -> None:
    rows = rated(100)
    whole = pseudo_values(rows, "qwk")
    monkeypatch.setattr(module, "CELLS_AT_ONCE", 100)
    pieces = pseudo_values(rows, "qwk")
    assert whole is not None
    assert pieces is not None
    assert pieces == pytest.approx(whole)


def test_a_metric_that_is_not_there_has_none() -> None:
    assert pseudo_values(rated(20), "log_loss") is None


def test_a_metric_that_few_rows_measure_wrong_is_refused() -> None:
    with pytest.raises(UserError, match="calibration_error.*rank by one of"):
        check_raceable(STARS, "calibration_error")
