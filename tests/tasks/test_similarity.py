"""Pairs of texts with a score: how scores are read, judged and guessed."""

from __future__ import annotations

import json
import math
from typing import Any

import numpy as np
import pandas as pd
import pytest
from scipy import stats

import luthier as lt
from luthier.errors import DataError, SpecError
from luthier.tasks.pairs.similarity import Similarity, SimilaritySettings
from luthier.tasks.prediction import Prediction


def of_scale(low: float, high: float) -> Similarity:
    found = Similarity.of((), SimilaritySettings(other="b", scale=(low, high)))
    assert isinstance(found, Similarity)
    return found


FIVE = of_scale(0, 5)


def task(**given: Any) -> lt.Task:
    return lt.Task(
        "pairs", type="similarity", **{"text": "a", "label": "score", "other": "b", "scale": [0, 5], **given}
    )


@pytest.mark.parametrize(
    ("said", "score"),
    [
        ("4", 4.0),
        ("4.5 out of 5", 4.5),
        ("4,5", 4.5),
        ("Score: 3", 3.0),
        ("**Similarity score:** 3.5", 3.5),
        ("I'd rate it 4/5.", 4.0),
        ("On a scale from 0 to 5, I'd say 3.", 3.0),
        ("4.\n\nSentence 1 mentions a dog, sentence 2 a cat.", 4.0),
        ("1. Both mention dogs.\n2. Both run.\nScore: 4", 4.0),
        ("A 3 out of 5, since 2 of 4 facts match.", 3.0),
        ("<think>2? 3?</think>2", 2.0),
        ("Answer: 0 (unrelated)", 0.0),
        ('Here: {"score": 4.5}', 4.5),
        ('{"score": "4/5"}', 4.0),
    ],
)
def test_the_score_is_read_from_what_models_write(said: str, score: float) -> None:
    assert FIVE.read(said).value == score


@pytest.mark.parametrize(
    ("said", "why"),
    [
        ("7", "outside the scale from 0 to 5"),
        ("-1", "outside the scale from 0 to 5"),
        ("8/10", "another scale, 8/10"),
        ("Score: 3-4", r"several numbers \(3, 4\)"),
        ("between 3 and 4", "several numbers"),
        ("at least 4", "states no score"),
        ("not 4", "states no score"),
        ("80%", "states no score"),
        ("very similar", "states no score"),
        ("", "answered nothing"),
        ("1" * 10_000, "states no score|outside"),
        ('{"score": 9}', "outside the scale"),
        ('{"score": null}', "no number"),
        ('{"score": true}', "no number"),
        ('{"score": NaN}', "states no score"),
        ('{"score": 1, "score": 2}', "several numbers"),
        ("{" * 5000, "states no score"),
    ],
)
def test_an_answer_that_states_no_score_says_why(said: str, why: str) -> None:
    assert FIVE.read(said).value is None
    assert pd.Series([FIVE.read(said).why]).str.contains(why).all()


def test_a_cut_number_may_have_become_another() -> None:
    assert FIVE.unfinished("4")
    assert FIVE.read("The texts differ in", cut=True).value is None
    assert FIVE.read_json('{"score": 4', cut=True).value is None


def test_a_hundred_may_be_a_percentage() -> None:
    assert of_scale(0, 100).read("80%").value == 80


@pytest.mark.parametrize("seed", range(5))
def test_correlations_are_those_of_scipy_on_rows_with_ties(seed: int) -> None:
    drawn = np.random.default_rng(seed)
    truths = drawn.integers(0, 11, 200) / 2
    answers = np.clip((truths + drawn.normal(0, 1, 200)).round(), 0, 5)
    found = metrics(FIVE, truths.tolist(), answers.tolist())
    assert found["spearman"] == pytest.approx(stats.spearmanr(truths, answers).statistic, abs=1e-12)
    assert found["pearson"] == pytest.approx(stats.pearsonr(truths, answers).statistic, abs=1e-12)
    assert found["mse"] == pytest.approx(((truths - answers) ** 2).mean())
    assert found["mae"] == pytest.approx(abs(truths - answers).mean())


def metrics(kind: Similarity, truths: list[float], answers: list[float | None]) -> dict[str, float]:
    predictions = [Prediction(said, "off_label" if said is None else "ok") for said in answers]
    judged = kind.judge(truths, predictions)
    sums = {name: np.array([column.sum()]) for name, column in judged.sums.items()}
    return {name: float(one[0]) for name, one in kind.from_sums({"rows": np.array([len(truths)]), **sums}).items()}


def test_a_constant_correlates_with_nothing() -> None:
    truths = [0.1 * i for i in range(50)]
    for constant in (0.0, 2.3, 0.1 + 0.2, 5.0):
        found = metrics(FIVE, truths, [constant] * 50)
        assert (found["spearman"], found["pearson"]) == (0.0, 0.0)
    assert metrics(FIVE, [3.0] * 5, [1.0, 2.0, 3.0, 4.0, 5.0])["spearman"] == 0.0


def test_a_row_without_a_score_counts_as_the_farthest_end_everywhere() -> None:
    truths = [0.0, 1.0, 2.0, 4.0, 5.0]
    answered: list[float | None] = [0.0, 1.0, None, None, 5.0]
    assert metrics(FIVE, truths, answered) == metrics(FIVE, truths, [0.0, 1.0, 5.0, 0.0, 5.0])
    # Leaving out a row that is hard is worse than any answer to it.
    least = min(metrics(FIVE, truths, [0.0, 1.0, 2.0, said / 2, 5.0])["spearman"] for said in range(11))
    assert metrics(FIVE, truths, [0.0, 1.0, 2.0, None, 5.0])["spearman"] <= least


def test_bootstrap_samples_of_equal_scores_have_no_correlation() -> None:
    judged = FIVE.judge([0.0, 5.0] * 500, [Prediction(float(i % 5), "ok") for i in range(1000)])
    weights = np.zeros((1, 1000))
    weights[0, 0] = 1000
    sums = {name: weights @ column for name, column in judged.sums.items()}
    found = FIVE.from_sums({"rows": np.array([1000.0]), **sums})
    assert found["spearman"].tolist() == found["pearson"].tolist() == [0.0]


def test_scores_outside_the_scale_are_refused_with_what_to_do() -> None:
    table = pd.DataFrame({"a": ["x", "y"], "b": ["x", "z"], "score": [5, 7.5]})
    with pytest.raises(DataError, match=r"row 2: 7\.5.*from 0 to 5.*scale of the table as `scale:`"):
        task().rows(table, labelled=True)
    with pytest.raises(DataError, match="row 2: 'alike'.*leave them out"):
        task().rows(table.astype({"score": object}).assign(score=["5", "alike"]), labelled=True)
    with pytest.raises(DataError, match="is no number from 0 to 5"):
        FIVE.judge([7.0], [Prediction(1.0, "ok")])


@pytest.mark.parametrize("scale", [[5, 0], [0], [1, 1], "0-5", [0, "5"], [False, True], [0, math.inf], {"low": 0}])
def test_a_scale_is_two_numbers(scale: Any) -> None:
    with pytest.raises(SpecError, match=r"scale.*lowest first, as in scale: \[0, 5\]"):
        task(scale=scale)


def test_a_task_needs_its_scale_and_keeps_its_spelling() -> None:
    with pytest.raises(SpecError, match="scale"):
        lt.Task("pairs", type="similarity", text="a", label="score", other="b")
    assert task().document()["scale"] == [0, 5]
    assert task(scale=(0.0, 5.0)).digest == task().digest
    assert task(scale=[0, 1]).digest != task().digest
    assert lt.Task(**task().document()) == task()


def test_a_model_is_asked_for_a_number_without_keywords_that_services_refuse() -> None:
    [schema] = FIVE.answer_schema(())["properties"].values()
    assert schema == {"type": "number", "description": "A number from 0 to 5"}
    assert FIVE.as_answer(11 / 3, as_json=True) == '{"score": 3.67}'
    assert FIVE.as_answer(4.0, as_json=False) == "4"
    assert FIVE.read(FIVE.written(11 / 3)).value == 11 / 3
    assert json.loads(FIVE.as_answer(4.0, as_json=True)) == {"score": 4}


def test_the_second_column_and_the_scale_are_guessed() -> None:
    table = {
        "id": ["p1", "p2", "p3"],
        "premise": ["A man plays a guitar.", "Two dogs run on a beach.", "It rains in Paris."],
        "note": ["", "ok", ""],
        "hypothesis": ["Somebody makes music there.", "Animals run.", "The weather is wet today."],
        "score": ["3.2", "4", "4.75"],
    }
    found = Similarity.guess(table, "premise", "score")
    assert found.settings == {"other": "hypothesis", "scale": [1, 5]}
    assert sum(found.counts.values()) == 3
    assert Similarity.guess({**table, "score": [0, 0.2, 1]}, "premise", "score").settings["scale"] == [0, 1]
    assert Similarity.guess({**table, "score": [0, 250, 3]}, "premise", "score").settings["scale"] == [0, 250]
    with pytest.raises(ValueError, match="two columns of texts"):
        Similarity.guess({"premise": ["a b"], "score": [1]}, "premise", "score")
    with pytest.raises(ValueError, match="are numbers, and it holds 'low'; name another column with --label"):
        Similarity.guess({**table, "score": ["low", "high", "low"]}, "premise", "score")


def test_a_split_keeps_pairs_with_equal_texts_together_and_the_scores_in_equal_shares() -> None:
    drawn = np.random.default_rng(1)
    table = pd.DataFrame({"a": [f"t{i // 2}" for i in range(100)], "b": "u", "score": drawn.integers(0, 11, 100) / 2})
    train, validation, test = task().split(table)
    assert len(train) + len(validation) + len(test) == 100
    assert not set(train["a"]) & set(test["a"])
    assert abs(train["score"].mean() - test["score"].mean()) < 1


def test_a_task_of_pairs_without_its_settings_says_what_to_write() -> None:
    with pytest.raises(SpecError, match=r"other is missing: .*as in other: other; scale is missing: .*scale: \[0, 5\]"):
        lt.Task("pairs", type="similarity")


def test_what_is_of_single_labels_says_so_to_sets_of_labels() -> None:
    tags = lt.Task("tags", multilabel=True, labels=["a", "b"])
    said = "'classification' with multilabel: true"
    with pytest.raises(SpecError, match=said):
        lt.Decision(tags, endpoint=lt.embedded())
    with pytest.raises(SpecError, match=said):
        lt.Prompt(tags, "{{ text }}", answer="score", endpoint=lt.embedded())
