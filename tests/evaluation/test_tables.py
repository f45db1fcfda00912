from __future__ import annotations

import numpy as np
import pytest
from sklearn import metrics as reference

from luthier.evaluation.metrics import evaluate
from luthier.evaluation.tables import calibration, confusion, mistakes, per_label
from luthier.tasks.prediction import Prediction
from tests.evaluation.answering import MOOD, STARS, lost, ok, simulated, sure, table


def test_the_confusion_matrix_counts_lost_rows_in_a_column_of_their_own() -> None:
    counts = confusion(MOOD, ["good", "good", "bad"], [*ok("bad"), lost("refused"), *ok("bad")])
    assert counts == ((0, 1, 1), (0, 1, 0))


def test_empty_rows_are_in_no_cell() -> None:
    assert confusion(MOOD, ["good", "bad"], [Prediction(None, "empty"), *ok("bad")]) == ((0, 0, 0), (0, 1, 0))


def test_labels_one_by_one_are_what_scikit_learn_says() -> None:
    truth = np.random.default_rng(1).integers(0, 5, 200)
    predictions = simulated(STARS, truth, 0.8, 2)
    frame = per_label(STARS, [STARS.labels[t] for t in truth], predictions)
    answered = [p.label for p in predictions]
    precision, recall, f1, support = reference.precision_recall_fscore_support(
        [STARS.labels[t] for t in truth], answered, labels=list(STARS.labels), zero_division=0
    )
    assert list(frame.index) == list(STARS.labels)
    assert frame["precision"].tolist() == pytest.approx(precision)
    assert frame["recall"].tolist() == pytest.approx(recall)
    assert frame["f1"].tolist() == pytest.approx(f1)
    assert frame["support"].tolist() == list(support)


def test_a_label_nobody_has_or_answers_scores_0() -> None:
    frame = per_label(STARS, ["1", "2"], ok(1, 2))
    assert frame.loc[["5"]].to_numpy().ravel().tolist() == [0, 0, 0, 0, 0]


def test_the_calibration_curve_adds_up_to_the_calibration_error() -> None:
    truth = np.random.default_rng(2).integers(0, 5, 500)
    predictions = simulated(STARS, truth, 1.0, 3)
    truths = [STARS.labels[t] for t in truth]
    bins = calibration(STARS, truths, predictions)
    assert len(bins) == 10
    assert sum(b.rows for b in bins) == 500
    assert max(b.rows for b in bins) - min(b.rows for b in bins) <= 1
    error = sum(b.rows * abs(b.confidence - b.accuracy) for b in bins) / 500
    assert evaluate(STARS, truths, predictions, resamples=0)["calibration_error"].value == pytest.approx(error)


def test_without_probabilities_there_is_no_curve() -> None:
    assert calibration(STARS, ["1"], ok(1)) == ()


def test_equal_confidences_share_a_bin() -> None:
    bins = calibration(MOOD, ["good"] * 100, [sure(MOOD, "good", 0.7, 0.3)] * 100)
    assert [b.rows for b in bins] == [100]


def test_mistakes_are_the_wrong_rows_farthest_first_then_surest_then_the_lost() -> None:
    rows = table(STARS, ["1", "1", "1", "1", "3", "2"])
    predictions = [
        *ok(1),
        sure(STARS, 3, 0.2, 0.2, 0.6, 0, 0),
        sure(STARS, 3, 0.1, 0, 0.9, 0, 0),
        sure(STARS, 5, 0, 0, 0, 0.5, 0.5),
        lost("refused"),
        Prediction(None, "empty"),
    ]
    found = mistakes(STARS, rows, predictions)
    assert [one.row for one in found] == [3, 2, 1, 4]
    assert [one.distance for one in found] == [4, 2, 2, 2]
    assert (found[0].text, found[0].truth, found[0].confidence) == ("text 3", "1", 0.5)
    assert found[-1].prediction.error == "it said something else"
    assert mistakes(STARS, rows, predictions, limit=2) == found[:2]
    assert mistakes(STARS, rows, [Prediction(None, "empty")] * 6) == []
