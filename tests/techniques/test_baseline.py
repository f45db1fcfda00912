from __future__ import annotations

import json
import random
from pathlib import Path

import numpy as np
import pytest

from luthier.errors import DataError, SpecError
from luthier.spec import Fitted
from luthier.tasks.task import Rows, Task
from luthier.techniques import read_fitted
from luthier.techniques.baseline import Baseline
from luthier.techniques.heads.label_words import fit_sklearn
from tests.conversing import MOOD, STARS, hold, rows, silence
from tests.work import python_calls


def reviews(count: int, task: Task, seed: int = 1) -> Rows:
    drawn = random.Random(seed)
    labels = [drawn.choice(task.labels) for _ in range(count)]
    common = [f"word{i}" for i in range(60)]
    texts = [" ".join([f"about{label}", *drawn.choices(common, k=8)]) for label in labels]
    return rows(*texts, labels=labels)


def fitted_on(train: Rows, task: Task) -> Fitted:
    return hold(Baseline(task).fit(train), silence)


@pytest.mark.parametrize(("task", "count"), [(STARS, 400), (MOOD, 400), (STARS, 60)])
def test_probabilities_are_those_of_scikit_learn(task: Task, count: int) -> None:
    train, asked = reviews(count, task), reviews(50, task, seed=2)
    fitted = fitted_on(train, task)
    vectorizer, regression = fit_sklearn(
        [text or "" for text in train.texts], [task.labels.index(label or "") for label in train.labels], fitted.spec
    )
    expected = regression.predict_proba(vectorizer.transform([text or "" for text in asked.texts]))
    found = [prediction.probabilities for prediction in hold(fitted.predict(asked), silence)]
    assert np.abs(np.array(found) - expected).max() < 1e-12


def test_labels_are_those_of_scikit_learn() -> None:
    train, asked = reviews(300, STARS), reviews(200, STARS, seed=2)
    fitted = fitted_on(train, STARS)
    texts, targets = [text or "" for text in train.texts], [STARS.labels.index(label or "") for label in train.labels]
    vectorizer, regression = fit_sklearn(texts, targets, fitted.spec)
    expected = regression.predict(vectorizer.transform([text or "" for text in asked.texts]))
    assert [p.label for p in hold(fitted.predict(asked), silence)] == [STARS.labels[i] for i in expected]


def test_the_same_rows_fit_the_same() -> None:
    first, second = fitted_on(reviews(300, STARS), STARS), fitted_on(reviews(300, STARS), STARS)
    assert all(np.array_equal(first.arrays[name], second.arrays[name]) for name in first.arrays)


def test_a_saved_folder_predicts_the_same(tmp_path: Path) -> None:
    fitted, asked = fitted_on(reviews(300, STARS), STARS), reviews(20, STARS, seed=2)
    again = read_fitted(fitted.save(tmp_path / "fitted"))
    assert hold(again.predict(asked), silence) == hold(fitted.predict(asked), silence)


def test_a_saved_folder_holds_no_pickle(tmp_path: Path) -> None:
    folder = fitted_on(reviews(300, STARS), STARS).save(tmp_path / "fitted")
    with np.load(folder / "arrays.npz", allow_pickle=False) as stored:
        assert sorted(stored.files) == ["coef", "idf", "intercept"]


def test_the_vocabulary_is_plain_json() -> None:
    state = fitted_on(reviews(300, STARS), STARS).state
    assert json.loads(json.dumps(state)) == state


def test_a_label_never_seen_has_probability_zero() -> None:
    task = Task("mood", labels=["good", "bad", "odd"])
    train = reviews(300, MOOD)
    predictions = hold(fitted_on(train, task).predict(reviews(5, MOOD)), silence)
    assert {p.probabilities[2] for p in predictions if p.probabilities} == {0.0}


def test_a_blank_text_is_empty() -> None:
    predictions = hold(fitted_on(reviews(300, MOOD), MOOD).predict(rows("word1", " ", None)), silence)
    assert [p.state for p in predictions] == ["ok", "empty", "empty"]


def test_an_answer_costs_nothing() -> None:
    assert hold(fitted_on(reviews(300, MOOD), MOOD).predict(rows("word1")), silence)[0].cost_usd == 0


def test_a_text_of_unknown_words_has_an_answer() -> None:
    assert hold(fitted_on(reviews(300, MOOD), MOOD).predict(rows("🙂")), silence)[0].label in MOOD.labels


def test_no_training_rows_say_what_to_add() -> None:
    with pytest.raises(SpecError, match="'words'.*training rows.*--train TABLE"):
        hold(Baseline(MOOD, name="words").fit(None), silence)


def test_one_label_is_not_enough() -> None:
    with pytest.raises(DataError, match=r"at least 2 labels; .* hold only 'good'"):
        fitted_on(rows("a", "b", labels=["good", "good"]), MOOD)


def test_texts_without_words_are_refused() -> None:
    with pytest.raises(DataError, match="no words to learn from"):
        fitted_on(rows("🙂", "🙃", labels=["good", "bad"]), MOOD)


def test_an_unknown_key_names_what_is_allowed() -> None:
    with pytest.raises(SpecError, match=r"colour.*seed"):
        Baseline(MOOD, colour="red")


def test_a_spec_reads_its_own_document() -> None:
    spec = Baseline(MOOD, name="words", seed=3)
    document = {key: value for key, value in spec.document().items() if key != "schema"}
    assert Baseline.make(document) == spec


def test_ten_thousand_rows_are_no_more_work_per_row_than_ten() -> None:
    fitted, asked = fitted_on(reviews(500, STARS), STARS), reviews(10_000, STARS, seed=3)
    assert python_calls(lambda: hold(fitted.predict(asked), silence)).total() < 30 * 10_000


def test_a_served_row_does_not_rebuild_the_model() -> None:
    fitted = fitted_on(reviews(500, STARS), STARS)
    one = rows("word1 word2")
    calls = python_calls(lambda: [hold(fitted.predict(one), silence) for _ in range(50)])
    assert calls["Baseline.predict"] == 50 and calls["LabelWords.__init__"] == 1


@pytest.mark.slow
def test_the_figure_on_yelp(yelp: Path) -> None:
    import pandas as pd
    from sklearn.metrics import f1_score

    task = STARS
    train, validation, test = (pd.read_csv(yelp / f"{name}.csv") for name in ("train", "validation", "test"))
    train = train[~train["text"].isin(validation["text"])]
    known = task.rows(test, labelled=True)
    predictions = hold(fitted_on(task.rows(train, labelled=True), task).predict(known), silence)
    assert f1_score(known.labels, [p.label for p in predictions], average="weighted") == pytest.approx(0.526, abs=0.01)


def test_labels_with_a_row_or_two_each_are_fitted_without_a_warning() -> None:
    many = Task("many", labels=[f"l{number}" for number in range(30)])
    train = rows(*(f"word{n} and w{n}" for n in range(40)), labels=[f"l{n % 30}" for n in range(40)])
    assert fitted_on(train, many).state["labels"]
