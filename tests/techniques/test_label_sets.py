"""Baseline and embedding answer with sets of labels."""

from __future__ import annotations

import random
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

import luthier as lt
from luthier.errors import DataError, SpecError
from luthier.spec import Fitted
from luthier.tasks.task import Rows
from luthier.techniques import read_fitted
from luthier.techniques.heads.label_sets import best_threshold, fit_label_weights
from tests.conversing import hold, silence

LABELS = ["billing", "login", "refund", "weather"]
TASK = lt.Task("tags", multilabel=True, labels=LABELS, label="tags")


def messages(count: int, seed: int = 1) -> Rows:
    drawn = random.Random(seed)
    common = [f"word{i}" for i in range(60)]
    tags = [drawn.sample(LABELS[:3], drawn.choice([0, 1, 1, 2])) for _ in range(count)]
    texts = [" ".join([*(f"about{tag}" for tag in those), *drawn.choices(common, k=8)]) for those in tags]
    return TASK.rows(pd.DataFrame({"text": texts, "tags": tags}), labelled=True)


def fitted_on(rows: Rows) -> Fitted:
    return hold(lt.Baseline(TASK).fit(rows), silence)


def test_the_baseline_finds_what_the_words_say() -> None:
    fitted, asked = fitted_on(messages(300)), messages(100, seed=2)
    found = hold(fitted.predict(asked), silence)
    assert np.mean([p.value == truth for p, truth in zip(found, asked.labels, strict=True)]) > 0.9
    assert [] in [p.value for p in found]
    assert {p.scores[3] for p in found if p.scores} == {0.0}
    assert fitted.state["notes"] == ["No training row has weather: never given."]


def test_a_saved_baseline_of_sets_answers_the_same_row_by_row(tmp_path: Path) -> None:
    fitted, asked = fitted_on(messages(300)), messages(20, seed=2)
    again = read_fitted(fitted.save(tmp_path / "fitted"))
    together = hold(fitted.predict(asked), silence)
    assert hold(again.predict(asked), silence) == together
    assert [hold(again.predict(asked.take([i])), silence)[0] for i in range(20)] == together


def test_weights_are_those_of_scikit_learn_one_against_the_rest() -> None:
    from sklearn.linear_model import LogisticRegression
    from sklearn.multiclass import OneVsRestClassifier

    drawn = np.random.default_rng(3)
    features = drawn.normal(size=(200, 8))
    truth = features[:, :3] + drawn.normal(size=(200, 3)) > 0.5
    weights = fit_label_weights(features, truth, 0.5)
    expected = OneVsRestClassifier(LogisticRegression(C=0.5)).fit(features, truth).predict_proba(features)
    assert np.abs(weights.shares(features) - expected).max() < 1e-4


@pytest.mark.parametrize("seed", range(4))
def test_the_threshold_has_the_best_micro_f1(seed: int) -> None:
    from sklearn.metrics import f1_score

    drawn = np.random.default_rng(seed)
    shares = drawn.random((40, 5)).round(1)
    truth = drawn.random((40, 5)) < shares * 0.6
    threshold, score = best_threshold(truth, shares)
    tried = [f1_score(truth, shares >= at, average="micro") for at in (*np.unique(shares), 1.1)]
    assert score == pytest.approx(max(tried))
    assert f1_score(truth, shares >= threshold, average="micro") == pytest.approx(score)
    assert best_threshold(np.zeros((3, 2), dtype=bool), np.zeros((3, 2))) == (0.5, None)


def test_rows_that_do_not_differ_are_refused() -> None:
    rows = TASK.rows(pd.DataFrame({"text": ["a b", "b c"], "tags": ["login", "login"]}), labelled=True)
    with pytest.raises(DataError, match="each label is true of all or of none"):
        fitted_on(rows)


def test_heads_for_one_label_are_refused() -> None:
    with pytest.raises(SpecError, match="head automl chooses one label; task 'tags' gives several: take logistic"):
        lt.Embedding(TASK, head="automl", endpoint=lt.embedded("wordllama-256"))


def test_examples_show_every_label_in_turn() -> None:
    spec = lt.Prompt(TASK, "{{ text }}", examples=4, endpoint=lt.openai("some-model"))
    fitted = hold(spec.fit(messages(60)), silence)
    shown = [example["label"] for example in fitted.state["examples"]]
    assert [] in shown
    assert {label for those in shown for label in those} == set(LABELS[:3])
