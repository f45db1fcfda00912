from __future__ import annotations

import numpy as np
import pytest
from sklearn import metrics as reference

from luthier.evaluation.metrics import evaluate
from luthier.tasks.labels.label_metrics import label_scores
from tests.evaluation.answering import MOOD, STARS, lost, ok, simulated, sure


def test_the_confusion_matrix_counts_lost_rows_in_a_column_of_their_own() -> None:
    plots = MOOD.kind.plots(["good", "good", "bad"], [*ok("bad"), lost("refused"), *ok("bad")])
    assert plots.confusion == ((0, 1, 1), (0, 1, 0))


def test_labels_one_by_one_are_what_scikit_learn_says() -> None:
    truth = np.random.default_rng(1).integers(0, 5, 200)
    predictions = simulated(STARS, truth, 0.8, 2)
    counts = STARS.kind.plots([STARS.labels[t] for t in truth], predictions).confusion
    found = label_scores(STARS.labels, counts)
    answered = [p.label for p in predictions]
    precision, recall, f1, support = reference.precision_recall_fscore_support(
        [STARS.labels[t] for t in truth], answered, labels=list(STARS.labels), zero_division=0
    )
    assert [one.label for one in found] == list(STARS.labels)
    assert [one.precision for one in found] == pytest.approx(precision)
    assert [one.recall for one in found] == pytest.approx(recall)
    assert [one.f1 for one in found] == pytest.approx(f1)
    assert [one.support for one in found] == list(support)


def test_a_label_nobody_has_or_answers_scores_0() -> None:
    found = label_scores(STARS.labels, STARS.kind.plots(["1", "2"], ok(1, 2)).confusion)[-1]
    assert (found.precision, found.recall, found.f1, found.support, found.answered) == (0, 0, 0, 0, 0)


def test_the_calibration_curve_adds_up_to_the_calibration_error() -> None:
    truth = np.random.default_rng(2).integers(0, 5, 500)
    predictions = simulated(STARS, truth, 1.0, 3)
    truths = [STARS.labels[t] for t in truth]
    bins = STARS.kind.plots(truths, predictions).calibration
    assert len(bins) == 10
    assert sum(b.rows for b in bins) == 500
    assert max(b.rows for b in bins) - min(b.rows for b in bins) <= 1
    error = sum(b.rows * abs(b.confidence - b.accuracy) for b in bins) / 500
    assert evaluate(STARS, truths, predictions, resamples=0)["calibration_error"].value == pytest.approx(error)


def test_without_probabilities_there_is_no_curve() -> None:
    assert STARS.kind.plots(["1"], ok(1)).calibration == ()


def test_equal_confidences_share_a_bin() -> None:
    bins = MOOD.kind.plots(["good"] * 100, [sure(MOOD, "good", 0.7, 0.3)] * 100).calibration
    assert [b.rows for b in bins] == [100]


def test_the_schema_holds_the_words() -> None:
    assert MOOD.kind.answer_schema(["a", "b"])["properties"]["label"]["enum"] == ["a", "b"]
