"""Pairs of texts by their vectors and by the words they share."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from scipy.stats import spearmanr

from luthier.errors import DataError, EndpointError, Partial, SpecError
from luthier.providers.exchange import Answer, Request
from luthier.spec import Fitted, Spec
from luthier.tasks.task import Rows, Task
from luthier.techniques import Baseline, Embedding, read_fitted
from luthier.techniques.heads.pair_scores import fit_pair_scorer
from tests.conversing import ENDPOINT, MOOD, hold, silence

PAIRS = Task("pairs", type="similarity", text="a", label="score", other="b", scale=[1, 5])
HEADS = ["cosine", "isotonic", "regression"]


def angled(request: Request) -> Answer:
    """The vector of a text that is an angle in degrees, of length 3."""
    angle = np.radians(float(request.body["input"]))
    return Answer(embedding=np.array([3 * np.cos(angle), 3 * np.sin(angle)], "<f4").tobytes(), cost_usd=0.001)


def pairs(count: int, seed: int = 1) -> Rows:
    """Angles apart by up to 90 degrees; the closer, the higher the score."""
    drawn = np.random.default_rng(seed)
    first, apart = drawn.integers(0, 180, count), drawn.integers(0, 91, count)
    inputs = [{"a": str(a), "b": str(a + d)} for a, d in zip(first.tolist(), apart.tolist(), strict=True)]
    return PAIRS.rows_of(inputs, [5 - 4 * (d / 90) ** 2 for d in apart.tolist()])


def fitted(head: str, train: Rows | None = None) -> Fitted:
    return hold(Embedding(PAIRS, endpoint=ENDPOINT, head=head).fit(train or pairs(80)), angled)


def scores(given: Fitted, asked: Rows) -> list[float | None]:
    return [one.value for one in hold(given.predict(asked), angled)]


@pytest.mark.parametrize("head", HEADS)
def test_every_head_ranks_pairs_by_how_close_they_are(head: str) -> None:
    asked = pairs(100, seed=2)
    found = np.array(scores(fitted(head), asked), dtype=float)
    assert spearmanr(found, asked.labels).statistic > 0.98
    assert found.min() >= 1
    assert found.max() <= 5


@pytest.mark.parametrize("head", HEADS)
def test_both_orders_of_a_pair_get_one_score(head: str) -> None:
    asked = pairs(50, seed=2)
    swapped = PAIRS.rows_of([{"a": row["b"], "b": row["a"]} for row in asked.inputs])
    given = fitted(head)
    assert scores(given, asked) == scores(given, swapped)


@pytest.mark.parametrize("head", HEADS)
def test_a_score_does_not_depend_on_the_other_rows(head: str) -> None:
    asked, given = pairs(40, seed=2), fitted(head)
    alone = [scores(given, asked.take([place]))[0] for place in range(40)]
    assert scores(given, asked) == alone


@pytest.mark.parametrize("head", HEADS)
def test_a_saved_folder_answers_the_same(head: str, tmp_path: Path) -> None:
    asked, given = pairs(20, seed=2), fitted(head)
    again = read_fitted(given.save(tmp_path / "fitted"))
    assert scores(again, asked) == scores(given, asked)
    assert again.digest == given.digest


def test_the_cosine_needs_no_training_rows_and_spans_the_scale() -> None:
    spec = Embedding(PAIRS, endpoint=ENDPOINT, head="cosine")
    assert not spec.needs_training
    given = hold(spec.fit(None), silence)
    asked = PAIRS.rows_of(
        [{"a": "10", "b": "10"}, {"a": "0", "b": "60"}, {"a": "0", "b": "90"}, {"a": "0", "b": "180"}]
    )
    assert scores(given, asked) == pytest.approx([5, 3, 1, 1], abs=1e-6)
    assert not spec.relocation_warnings(given)


def test_each_text_is_embedded_once_when_fitting_and_both_of_each_row_when_answering() -> None:
    train = PAIRS.rows_of([{"a": "0", "b": "10"}, {"a": "10", "b": "0"}, {"a": "0", "b": "80"}], [5.0, 4.5, 1.0])
    rounds: list[list[Request]] = []
    given = hold(Embedding(PAIRS, endpoint=ENDPOINT, head="isotonic").fit(train), angled, rounds)
    assert [request.body["input"] for request in rounds[0]] == ["0", "10", "80"]
    rounds.clear()
    found = hold(given.predict(train), angled, rounds)
    assert [request.body["input"] for request in rounds[0]] == ["0", "10", "10", "0", "0", "80"]
    assert [one.call.cost_usd for one in found] == [0.002] * 3


def test_a_regression_learns_what_the_cosine_does_not_say() -> None:
    drawn = np.random.default_rng(5)
    first, second = drawn.normal(size=(300, 8)), drawn.normal(size=(300, 8))
    unit_first, unit_second = (v / np.linalg.norm(v, axis=1, keepdims=True) for v in (first, second))
    truths = np.clip(5 - 6 * abs(unit_first[:, 2] - unit_second[:, 2]), 1, 5)
    scorer, trials = hold(
        fit_pair_scorer(first[:200], second[:200], truths[:200], list(range(200)), (1, 5), 7), silence
    )
    assert spearmanr(scorer.scores(first[200:], second[200:]), truths[200:]).statistic > 0.9
    best = min(trials, key=lambda trial: trial.error or 0)
    assert best.penalty is not None
    assert trials[0].penalty is None
    assert (best.error or 0) < (trials[0].error or 0) / 2


def test_a_regression_that_does_not_help_is_left_out() -> None:
    first, second = np.random.default_rng(1).normal(size=(2, 120, 64))
    cosines = (first * second).sum(axis=1) / np.linalg.norm(first, axis=1) / np.linalg.norm(second, axis=1)
    scorer, trials = hold(fit_pair_scorer(first, second, cosines, list(range(120)), (-1, 1), 7), silence)
    assert "coef" not in scorer.arrays
    assert min(trials, key=lambda trial: trial.error or 0).penalty is None


def test_weights_are_those_of_scikit_learn_whichever_side_is_longer() -> None:
    from sklearn.linear_model import Ridge

    from luthier.techniques.heads.pair_scores import _ridges

    drawn = np.random.default_rng(3)
    for shape in ((40, 7), (12, 30)):
        features, targets = drawn.normal(size=shape), drawn.normal(size=shape[0])
        for penalty, coef, intercept in _ridges(features, targets, [100.0, 1.0]):
            wanted = Ridge(alpha=penalty).fit(features, targets)
            assert coef == pytest.approx(wanted.coef_)
            assert intercept == pytest.approx(wanted.intercept_)


def test_a_row_lacks_a_score_where_either_text_has_no_vector() -> None:
    def some(request: Request) -> Answer:
        if request.body["input"] == "45":
            return Answer(failure="content", error="refused")
        if request.body["input"] == "46":
            return Answer(embedding=np.array([np.nan, 1], "<f4").tobytes())
        return angled(request)

    given = fitted("isotonic")
    asked = PAIRS.rows_of(
        [
            {"a": "1", "b": "2"},
            {"a": "1", "b": "45"},
            {"a": "46", "b": "1"},
            {"a": "1", "b": " "},
            {"a": None, "b": "1"},
        ]
    )
    assert [one.state for one in hold(given.predict(asked), some)] == ["ok", "refused", "failed", "empty", "empty"]
    train = PAIRS.rows_of([{"a": "0", "b": "45"}, {"a": "0", "b": "5"}, {"a": "0", "b": "80"}], [3.0, 5.0, 1.0])
    spec = Embedding(PAIRS, endpoint=ENDPOINT, head="regression")
    assert "1 of 4 training texts (refused): left out" in hold(spec.fit(train), some).state["notes"][0]
    with pytest.raises(EndpointError, match="Too few are left"):
        hold(spec.fit(train.take([0, 1])), some)
    with pytest.raises(Partial):
        hold(spec.fit(train), lambda request: Answer(failure="transient", error="busy"))


def test_vectors_of_another_length_are_refused() -> None:
    def longer(request: Request) -> Answer:
        return Answer(embedding=np.ones(3, "<f4").tobytes())

    for head in ("isotonic", "regression"):
        with pytest.raises(EndpointError, match="changed its model"):
            hold(fitted(head).predict(pairs(3)), longer)


@pytest.mark.parametrize("spec", [Baseline(PAIRS), Embedding(PAIRS, endpoint=ENDPOINT, head="regression")])
def test_training_rows_with_one_score_are_refused(spec: Spec) -> None:
    with pytest.raises(DataError, match="at least 2 different scores"):
        hold(spec.fit(PAIRS.rows_of([{"a": "1", "b": "2"}] * 3, [4.0] * 3)), angled)
    with pytest.raises(SpecError, match="--train"):
        hold(spec.fit(None), angled)


def test_a_head_says_what_it_is_for() -> None:
    for head in ("logistic", "ordinal", "automl"):
        with pytest.raises(SpecError, match="write head: cosine, isotonic or regression"):
            Embedding(PAIRS, endpoint=ENDPOINT, head=head)
    with pytest.raises(SpecError, match="objective is what a label is chosen for.*leave it out"):
        Embedding(PAIRS, endpoint=ENDPOINT, head="cosine", objective="accuracy")
    for head in ("cosine", "isotonic"):
        with pytest.raises(SpecError, match="is for pairs of texts"):
            Embedding(MOOD, endpoint=ENDPOINT, head=head)


def test_a_preview_shows_and_prices_both_texts() -> None:
    spec = Embedding(PAIRS, endpoint=ENDPOINT, head="regression")
    train = pd.DataFrame([{**row, "score": score} for row, score in zip(pairs(9).inputs, pairs(9).labels, strict=True)])
    found = spec.preview(pd.DataFrame({"a": ["one two", ""], "b": ["three", "four"]}), train)
    assert found.turns == ((("input", "one two"), ("input", "three")), ())
    assert "1 of 2 rows" in found.summary
    assert "training texts too" in found.notes[0]
    assert not Embedding(PAIRS, endpoint=ENDPOINT, head="cosine").preview(pd.DataFrame({"a": ["x"], "b": ["y"]})).notes


WORDS = PAIRS.rows_of(
    [
        {"a": "the cat sat on the mat", "b": "the cat was sitting on the mat"},
        {"a": "he forgot his keys", "b": "he has forgotten his keys"},
        {"a": "a dog runs", "b": "a dog eats"},
        {"a": "rain in spring", "b": "the price of tea"},
        {"a": "my bike is blue", "b": "ten men dance"},
    ],
    [5.0, 4.5, 3.0, 1.0, 1.0],
)


def test_the_baseline_scores_pairs_by_the_words_they_share(tmp_path: Path) -> None:
    spec = Baseline(PAIRS)
    assert spec.base_model == "tf-idf cosine"
    given = hold(spec.fit(WORDS), silence)
    asked = PAIRS.rows_of(
        [
            {"a": "the cat sat on his keys", "b": "the cat was sitting on his keys"},
            {"a": "the cat was sitting on his keys", "b": "the cat sat on his keys"},
            {"a": "zzz", "b": "the cat"},
            {"a": "", "b": "the cat"},
        ]
    )
    found = hold(given.predict(asked), silence)
    values = [one.value for one in found]
    assert values[0] == values[1] > values[2] >= 1
    assert [one.state for one in found] == ["ok", "ok", "ok", "empty"]
    assert found[0].call.cost_usd == 0
    again = read_fitted(given.save(tmp_path / "fitted"))
    assert [one.value for one in hold(again.predict(asked), silence)] == values
