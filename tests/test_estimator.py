"""A spec as a scikit-learn classifier: what people do with classifiers works with it."""

from __future__ import annotations

import subprocess
import sys
import warnings
from typing import Any

import numpy as np
import pandas as pd
import pytest
from sklearn.base import clone, is_classifier
from sklearn.exceptions import NotFittedError
from sklearn.model_selection import GridSearchCV, cross_val_predict, cross_val_score
from sklearn.pipeline import Pipeline
from sklearn.preprocessing import FunctionTransformer

import luthier as lt
from luthier.endpoints import Endpoint
from tests.conftest import reviews

FRAME = reviews(60)
TEXTS = FRAME["text"].tolist()
STARS = FRAME["stars"].astype(int)


@pytest.fixture
def spec(task: lt.Task) -> lt.Spec:
    return lt.Baseline(task)


FORMS: dict[str, Any] = {
    "list": TEXTS,
    "series": pd.Series(TEXTS, index=range(100, 160)),
    "frame": FRAME[["text"]],
    "frame of another name": FRAME[["text"]].set_axis(["body"], axis="columns"),
    "array": np.array(TEXTS, dtype=object),
    "matrix": np.array(TEXTS, dtype=object).reshape(-1, 1),
    "records": [{"text": text} for text in TEXTS],
}


@pytest.mark.parametrize("texts", FORMS.values(), ids=FORMS)
def test_texts_of_any_form_give_the_same_answers(spec: lt.Spec, texts: Any) -> None:
    model = spec.estimator().fit(texts, STARS)
    expected = spec.estimator().fit(TEXTS, STARS).predict(TEXTS)
    assert model.predict(texts).tolist() == expected.tolist()


LABELS: dict[str, tuple[Any, Any, str]] = {
    "ints": (STARS.to_numpy(), [1, 2, 3, 4, 5], "i"),
    "list of ints": (STARS.tolist(), [1, 2, 3, 4, 5], "i"),
    "floats": (STARS.to_numpy(float), [1.0, 2.0, 3.0, 4.0, 5.0], "f"),
    "texts": (STARS.astype(str).to_numpy(str), ["1", "2", "3", "4", "5"], "U"),
    "strings": (STARS.astype(str).astype("string"), ["1", "2", "3", "4", "5"], "O"),
    "nullable": (STARS.astype("Int64"), [1, 2, 3, 4, 5], ""),
    "categorical": (pd.Categorical(STARS), [1, 2, 3, 4, 5], "i"),
}


@pytest.mark.parametrize(("labels", "classes", "kind"), LABELS.values(), ids=LABELS)
def test_labels_keep_their_dtype(spec: lt.Spec, labels: Any, classes: list[Any], kind: str) -> None:
    model = spec.estimator().fit(TEXTS, labels)
    assert model.classes_.tolist() == classes
    answers = model.predict(TEXTS)
    assert not kind or model.classes_.dtype.kind == kind
    assert answers.dtype == model.classes_.dtype
    assert model.score(TEXTS, labels) > 0.5


def test_booleans_stay_booleans() -> None:
    spec = lt.Baseline(lt.Task("good", labels=["false", "true"]))
    model = spec.estimator().fit(TEXTS, STARS > 3)
    assert model.classes_.tolist() == [False, True]
    assert model.predict(TEXTS).dtype == bool


def test_a_label_that_training_lacks_is_a_class_all_the_same(spec: lt.Spec) -> None:
    kept = [place for place, stars in enumerate(STARS) if stars != 3]
    model = spec.estimator().fit([TEXTS[place] for place in kept], STARS.to_numpy()[kept])
    assert model.classes_.tolist() == [1, 2, 3, 4, 5]
    assert model.predict_proba(TEXTS).shape == (60, 5)


def test_probabilities_stand_in_the_order_of_the_classes() -> None:
    spec = lt.Baseline(lt.Task("stars", type="rating", label="stars", labels=[5, 4, 3, 2, 1]))
    model = spec.estimator().fit(TEXTS, STARS)
    shares = model.predict_proba(TEXTS)
    assert shares.sum(axis=1) == pytest.approx(1)
    assert model.classes_[shares.argmax(axis=1)].tolist() == model.predict(TEXTS).tolist()


def test_it_is_a_classifier_that_can_be_cloned(spec: lt.Spec) -> None:
    model = spec.estimator(budget_usd=1.5).fit(TEXTS, STARS)
    twin = clone(model)
    assert is_classifier(twin)
    assert twin.get_params(deep=False) == {"spec": spec, "budget_usd": 1.5}
    with pytest.raises(NotFittedError):
        twin.predict(TEXTS)


def test_it_is_cross_validated(spec: lt.Spec) -> None:
    assert len(cross_val_score(spec.estimator(), TEXTS, STARS, cv=2, scoring="accuracy")) == 2
    assert cross_val_predict(spec.estimator(), pd.Series(TEXTS), STARS, cv=2).shape == (60,)
    assert np.isfinite(cross_val_score(spec.estimator(), FRAME[["text"]], STARS, cv=2, scoring="neg_log_loss")).all()


def test_labels_that_scikit_learn_has_numbered_anew_are_refused(spec: lt.Spec) -> None:
    with pytest.raises(lt.DataError, match="fit on each fold"):
        cross_val_predict(spec.estimator(), TEXTS, STARS, cv=2, method="predict_proba")


def test_it_stands_in_a_pipeline(spec: lt.Spec) -> None:
    def lower(texts: list[str]) -> list[str]:
        return [text.lower() for text in texts]

    pipeline = Pipeline([("lower", FunctionTransformer(lower)), ("spec", spec.estimator())])
    assert pipeline.fit(TEXTS, STARS).predict([text.upper() for text in TEXTS]).shape == (60,)


def test_settings_of_the_spec_are_searched_over(spec: lt.Spec) -> None:
    search = GridSearchCV(spec.estimator(), {"spec__objective": [None, "mse"]}, cv=2).fit(TEXTS, STARS)
    assert {one["spec__objective"] for one in search.cv_results_["params"]} == {None, "mse"}
    assert search.predict(TEXTS).shape == (60,)


def test_a_nested_setting_is_set_and_an_unknown_one_is_named(task: lt.Task, endpoint: Endpoint) -> None:
    model = lt.Prompt(task, "Stars for: {{ text }}", examples=2, endpoint=endpoint).estimator()
    assert model.get_params()["spec__prompt__examples__count"] == 2
    model.set_params(spec__prompt__examples__count=4)
    assert model.spec.prompt.examples.count == 4  # type: ignore[attr-defined]
    with pytest.raises(lt.SpecError, match="no setting .heat."):
        model.set_params(spec__heat=1)
    with pytest.raises(lt.SpecError, match="no parameter heat"):
        model.set_params(heat=1)


def test_a_model_that_is_asked_is_fitted_and_paid_once(task: lt.Task, endpoint: Endpoint, server: Any) -> None:
    model = lt.Prompt(task, "Stars for: {{ text }}", answer="score", endpoint=endpoint).estimator()
    model.fit(TEXTS[:10], STARS[:10])
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", UserWarning)
        first = model.predict(TEXTS[:10])
        sent = server.received.total
        assert sent and model.predict(TEXTS[:10]).tolist() == first.tolist()
        assert model.predict_proba(TEXTS[:10]).shape == (10, 5)
    assert server.received.total == sent


def test_rows_without_a_label_take_the_usual_one_and_say_so(spec: lt.Spec) -> None:
    labels = np.array([5] * 40 + [1] * 20)
    model = spec.estimator().fit(TEXTS, labels)
    with pytest.warns(UserWarning, match="1 of 2 rows have no label .*1 empty"):
        assert model.predict(["good", ""])[1] == 5
    with pytest.warns(UserWarning, match="1 of 2"):
        assert model.predict_proba(["good", ""])[1].tolist() == pytest.approx([1 / 3, 0, 0, 0, 2 / 3])


REFUSED: list[tuple[str, Any, Any, str]] = [
    ("no labels", TEXTS, None, "y is missing"),
    ("too few labels", TEXTS, STARS[:3], "X has 60 rows and y 3"),
    ("a wrong label", TEXTS, np.array([*STARS[:59], 9]), "row 60: 9"),
    ("a missing label", TEXTS, [*STARS[:59], None], "row 60"),
    ("one text", "a text", STARS, "a single text is given in a list"),
    ("numbers", np.zeros((60, 3)), STARS, "shape"),
    ("lists", [["a"]] * 60, STARS, "holds list"),
    ("bytes", [b"a"] * 60, STARS, "holds bytes"),
    ("another table", pd.DataFrame({"a": TEXTS, "b": TEXTS}), STARS, "reads column 'text'"),
    ("labels in two columns", TEXTS, np.zeros((60, 2)), "one label for each text"),
]


@pytest.mark.parametrize(("texts", "labels", "said"), [case[1:] for case in REFUSED], ids=[case[0] for case in REFUSED])
def test_what_cannot_be_fitted_says_what_to_pass(spec: lt.Spec, texts: Any, labels: Any, said: str) -> None:
    with pytest.raises(lt.DataError, match=said):
        spec.estimator().fit(texts, labels)


@pytest.mark.slow
def test_the_package_loads_nothing_heavy_for_it() -> None:
    program = "import luthier, sys; assert not {'sklearn', 'pandas', 'mlflow'} & set(sys.modules)"
    subprocess.run([sys.executable, "-c", program], check=True)
