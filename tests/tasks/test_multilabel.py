"""Sets of labels: how cells and answers are read, and that the metrics are those of scikit-learn."""

from __future__ import annotations

import json
import warnings
from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd
import pytest

import luthier as lt
from luthier.errors import DataError, SpecError
from luthier.evaluation.metrics import EvaluatedRows, measure
from luthier.tasks.labels.multilabel import MultiLabel
from luthier.tasks.labels.multilabel_metrics import best_constant
from luthier.tasks.prediction import Prediction

LABELS = ["billing", "login", "refund", "late delivery"]
TASK = lt.Task("tags", multilabel=True, labels=LABELS, text="text", label="tags")
KIND = TASK.kind


def test_a_task_of_several_labels_is_no_closed_set_and_keeps_its_labels() -> None:
    assert isinstance(KIND, MultiLabel)
    assert TASK.labels == ()
    assert KIND.parts == tuple(LABELS)
    assert TASK.document()["labels"] == LABELS
    assert lt.Task(**TASK.document()) == TASK
    assert TASK.digest != lt.Task("tags", labels=LABELS, label="tags").digest


@pytest.mark.parametrize(
    ("given", "words"),
    [
        ({"labels": ["a"]}, "labels has 1 entry"),
        ({}, "labels is missing"),
        ({"labels": ["a", "a"]}, "labels repeats a"),
        ({"labels": ["a", "b"], "hierarchy": "/"}, "hierarchy: unknown key"),
        ({"labels": ["a", "b"], "multilabel": "yes"}, "multilabel: should be true or false .given: 'yes'"),
        ({"labels": ["a", "b"], "descriptions": {"c": "third"}}, "no label; labels: a, b"),
    ],
)
def test_what_makes_no_task_of_several_labels_is_said(given: dict[str, Any], words: str) -> None:
    with pytest.raises(SpecError, match=words):
        lt.Task("tags", **{"multilabel": True, **given})


@pytest.mark.parametrize(
    ("cell", "labels"),
    [
        ("login; billing", ["billing", "login"]),
        ("login,billing, refund", ["billing", "login", "refund"]),
        ("login|login", ["login"]),
        ("late delivery\nrefund", ["refund", "late delivery"]),
        ('["refund", "billing"]', ["billing", "refund"]),
        ("['refund', 'billing']", ["billing", "refund"]),
        (["refund"], ["refund"]),
        (("refund", "login"), ["login", "refund"]),
        (np.array(["login"]), ["login"]),
        ("[]", []),
        ([], []),
        ("none", []),
        ("None.", []),
        ("billing;", ["billing"]),
        ("weather", None),
        ("billing; weather", None),
        ("Billing", None),
        ('["billing"', None),
        ("[" * 5000 + "]" * 5000, None),
        (["billing", None], None),
        ([["billing"]], None),
        ("", None),
        (None, None),
        (float("nan"), None),
        (4, None),
    ],
)
def test_a_cell_lists_labels(cell: object, labels: list[str] | None) -> None:
    assert KIND.read_truth(cell) == labels
    if labels is not None:
        assert KIND.read_truth(KIND.written(labels)) == labels
        assert KIND.read_truth(KIND.as_answer(labels, as_json=False)) == labels


def test_a_label_may_hold_a_separator_or_be_called_none() -> None:
    kind = lt.Task("sky", multilabel=True, labels=["hot, dry", "hot", "none", "a;b|c"]).kind
    assert kind.read_truth("hot, dry") == ["hot, dry"]
    assert kind.read_truth("a;b|c; hot, dry, hot") == ["hot, dry", "hot", "a;b|c"]
    assert kind.read_truth("none") == ["none"]
    for value in (["hot, dry", "hot"], ["none"], [], ["a;b|c", "hot, dry"]):
        ordered = sorted(value, key=kind.parts.index)
        assert kind.read(kind.as_answer(ordered, as_json=False)).value == ordered
        assert kind.read_json(kind.as_answer(ordered, as_json=True)).value == ordered


def test_numbers_may_be_labels() -> None:
    kind = lt.Task("codes", multilabel=True, labels=[1, 2, 10]).kind
    assert kind.read_truth("10; 1") == ["1", "10"]
    assert kind.read_truth(2) == kind.read_truth(2.0) == ["2"]
    assert kind.read_truth([1, 10.0]) == ["1", "10"]


@pytest.mark.parametrize(
    ("said", "labels"),
    [
        ("billing, login", ["billing", "login"]),
        ("Labels: Refund; **Login**", ["login", "refund"]),
        ("- billing\n- late delivery", ["billing", "late delivery"]),
        ("1. refund\n2. billing", ["billing", "refund"]),
        ("It is about a late delivery and a refund, but not about login.", ["refund", "late delivery"]),
        ("None", []),
        ("None of the labels fit.", []),
        ('{"labels": ["login"]}', ["login"]),
        ('```json\n["login", "billing"]\n```', ["billing", "login"]),
        ("<think>billing?</think>login", ["login"]),
        ("weather", None),
        ("", None),
        ("<think>hm</think>", None),
    ],
)
def test_a_free_answer_names_labels(said: str, labels: list[str] | None) -> None:
    read = KIND.read(said)
    assert read.value == labels
    assert (read.why is None) == (labels is not None)


@pytest.mark.parametrize(
    ("said", "labels"),
    [
        ('{"labels": ["login", "Billing"]}', ["billing", "login"]),
        ('{"labels": []}', []),
        ('{"labels": null}', []),
        ('{"labels": "login; refund"}', ["login", "refund"]),
        ('{"label": ["login"]}', ["login"]),
        ('{"labels": [{"label": "login"}, {"name": "refund"}]}', ["login", "refund"]),
        ('Sure: {"labels": ["login"]}', ["login"]),
        ('["login"]', ["login"]),
        ('{"labels": ["weather"]}', None),
        ('{"labels": ["login"]} or {"labels": ["refund"]}', None),
        ('{"labels": {"login": true, "refund": false}}', None),
        ('{"labels": [["login"]]}', None),
        ('{"labels": 7}', None),
        ('{"topics": ["login"]}', None),
        ("login", None),
        ('{"labels": ' + "[" * 3000 + "]" * 3000 + "}", None),
        ("[" * 100_000, None),
        ('{"labels": ["login"]}' * 2000, ["login"]),
        ('{"labels": ["' + "login, " * 2_000_000, None),
    ],
)
def test_an_answer_in_json_lists_labels(said: str, labels: list[str] | None) -> None:
    read = KIND.read_json(said)
    assert read.value == labels
    assert (read.why is None) == (labels is not None)
    assert KIND.read(said) is not None


def test_an_answer_that_was_cut_is_none() -> None:
    assert KIND.read("billing, log", cut=True).value is None
    assert KIND.read("billing", cut=True).value is None
    assert KIND.read_json('{"labels": ["billing"', cut=True).value is None
    assert KIND.read_json('{"labels": ["billing"]}', cut=True).value == ["billing"]


def test_a_table_whose_cell_is_no_set_is_refused_with_what_it_may_hold() -> None:
    frame = pd.DataFrame({"text": ["a", "b"], "tags": ["billing; wether", "none"]})
    with pytest.raises(
        DataError, match=r"row 1: 'billing; wether'.*Labels are: billing.*\['billing', 'login'\]|\"billing"
    ):
        TASK.rows(frame, labelled=True)


def test_the_schema_is_a_list_of_labels() -> None:
    assert KIND.answer_schema(())["properties"] == {
        "labels": {"type": "array", "items": {"type": "string", "enum": LABELS}}
    }


def random_sets(rows: int, labels: int, seed: int) -> tuple[npt.NDArray[np.bool_], npt.NDArray[np.bool_]]:
    drawn = np.random.default_rng(seed)
    truth = drawn.random((rows, labels)) < drawn.random(labels) * 0.5
    flipped = drawn.random((rows, labels)) < 0.15
    return truth, truth ^ flipped


@pytest.mark.parametrize("seed", range(5))
def test_metrics_are_those_of_scikit_learn(seed: int) -> None:
    from sklearn.metrics import f1_score, hamming_loss, jaccard_score, precision_score, recall_score

    names = [f"l{i}" for i in range(12)]
    truth, answer = random_sets(200, 12, seed)
    truth[:, 11] = answer[:, 11] = False  # a label that never occurs
    truth[:3], answer[:2] = False, False
    task = lt.Task("t", multilabel=True, labels=names)
    sets = [[[names[i] for i in np.flatnonzero(row)] for row in cells] for cells in (truth, answer)]
    rows = EvaluatedRows.of(task, sets[0], [Prediction(value, "ok") for value in sets[1]])
    found = {name: one.value for name, one in measure([rows], resamples=50)[0].intervals.items()}
    expected = {
        "micro_f1": f1_score(truth, answer, average="micro"),
        "macro_f1": f1_score(truth, answer, average="macro", zero_division=np.nan),
        "samples_f1": f1_score(truth, answer, average="samples", zero_division=1.0),
        "jaccard": jaccard_score(truth, answer, average="samples", zero_division=1.0),
        "exact_match": (truth == answer).all(axis=1).mean(),
        "hamming_loss": hamming_loss(truth, answer),
        "micro_precision": precision_score(truth, answer, average="micro"),
        "micro_recall": recall_score(truth, answer, average="micro"),
    }
    assert {name: found[name] for name in expected} == pytest.approx(expected)
    parts = task.kind.plots(sets[0], rows.predictions).parts
    by_label = precision_score(truth, answer, average=None, zero_division=0)
    assert [part.figures["precision"] for part in parts] == pytest.approx(list(by_label))
    assert [part.support for part in parts] == truth.sum(axis=0).tolist()


def test_a_row_without_an_answer_is_as_wrong_as_can_be() -> None:
    truths = [["billing"], [], ["login", "refund"]]
    right = [Prediction(list(truth), "ok") for truth in truths]
    for row in range(3):
        some = list(right)
        some[row] = Prediction(None, "refused")
        empty = list(right)
        empty[row] = Prediction([], "ok")
        refused, answered = (
            {
                name: one.value
                for name, one in measure([EvaluatedRows.of(TASK, truths, those)], resamples=0)[0].intervals.items()
            }
            for those in (some, empty)
        )
        assert KIND.judge(truths, some).distances.tolist() == [float(i == row) for i in range(3)]
        for name, one in KIND.metrics.items():
            gain = refused[name] - answered[name] if one.better == "higher" else answered[name] - refused[name]
            assert gain <= 0, name
        assert all(refused[name] < 1 for name in ("micro_f1", "samples_f1", "jaccard", "exact_match"))
        assert refused["hamming_loss"] == pytest.approx(1 / 3)


@pytest.mark.parametrize("seed", range(3))
def test_the_constant_has_the_best_micro_f1_of_all_sets(seed: int) -> None:
    from itertools import combinations

    names = [f"l{i}" for i in range(6)]
    truth, _ = random_sets(60, 6, seed)
    sets = [[names[i] for i in np.flatnonzero(row)] for row in truth]
    task = lt.Task("t", multilabel=True, labels=names)

    def micro(value: list[str]) -> float:
        rows = EvaluatedRows.of(task, sets, [Prediction(value, "ok")] * len(sets))
        return measure([rows], resamples=0)[0].intervals["micro_f1"].value

    chosen = task.kind.constant(sets)
    every = [list(some) for size in range(7) for some in combinations(names, size)]
    assert micro(chosen.value) == pytest.approx(max(map(micro, every)))
    assert chosen.scores == pytest.approx(tuple(truth.mean(axis=0)))
    assert best_constant(names, [[], []])[0] == []


def test_a_split_gives_each_table_its_share_of_rare_labels() -> None:
    drawn = np.random.default_rng(1)
    tags = ["billing" + ("; refund" if i % 10 == 0 else "") for i in drawn.permutation(100)]
    parts = TASK.split(pd.DataFrame({"text": [f"text {i}" for i in range(100)], "tags": tags}))
    assert [part["tags"].str.contains("refund").sum() for part in parts] == [6, 2, 2]


def test_predictions_have_a_probability_per_label() -> None:
    frame = KIND.frame([Prediction(["billing"], "ok", (0.9, 0.2, 0.1, 0.0)), Prediction(None, "failed")])
    assert list(frame.columns) == ["labels", *(f"p_{label}" for label in LABELS), "state", "error"]
    assert json.loads(frame["labels"][0]) == ["billing"]
    assert frame["p_login"].tolist()[0] == 0.2
    assert frame["p_login"].isna().tolist() == [False, True]
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert frame["labels"].isna().tolist() == [False, True]
