"""Labels whose names are paths."""

from __future__ import annotations

import numpy as np
import pytest

import luthier as lt
from luthier.errors import SpecError
from luthier.evaluation.metrics import EvaluatedRows, measure
from luthier.tasks.prediction import Prediction

LABELS = ["billing/refund", "billing/invoice", "login/password", "login/locked account", "shop/opening", "app/opening"]
TASK = lt.Task("topic", labels=LABELS, hierarchy="/")
KIND = TASK.kind


@pytest.mark.parametrize(
    ("said", "label"),
    [
        ("billing/refund", "billing/refund"),
        ("Billing > Refund", "billing/refund"),
        ("billing: refund", "billing/refund"),
        ("billing » refund.", "billing/refund"),
        ("refund", "billing/refund"),
        ("The label is **locked account**.", "login/locked account"),
        ("login / locked account", "login/locked account"),
        ("<think>invoice?</think>refund", "billing/refund"),
        ("not billing/invoice but billing/refund", "billing/refund"),
        ("opening", None),
        ("shop/opening", "shop/opening"),
        ("billing", None),
        ("login/refund", None),
        ("login > refund", None),
        ("refund or invoice", None),
        ("", None),
        ("<think>refund</think>", None),
    ],
)
def test_an_answer_may_name_the_last_level_or_use_another_mark(said: str, label: str | None) -> None:
    assert KIND.reader(KIND.parts).read(said).value == label
    assert KIND.read(said).value == label


def test_answers_in_json_are_read_alike() -> None:
    assert KIND.reader().read_json('{"label": "Billing > Refund"}').value == "billing/refund"
    assert KIND.reader().read_json('{"label": "opening"}').value is None


def test_a_level_may_be_a_label_itself() -> None:
    kind = lt.Task("topic", labels=["billing", "billing/refund", "refund"], hierarchy="/").kind
    assert [kind.read(said).value for said in ("billing", "billing > refund", "refund")] == [
        "billing",
        "billing/refund",
        "refund",
    ]


def by_hand(truths: list[str], answers: list[str | None]) -> tuple[float, float]:
    def above(label: str) -> set[str]:
        parts = label.split("/")
        return {"/".join(parts[: depth + 1]) for depth in range(len(parts))}

    shared = sum(len(above(t) & above(a)) for t, a in zip(truths, answers, strict=True) if a)
    sizes = sum(len(above(t)) + len(above(a or t)) for t, a in zip(truths, answers, strict=True))
    first = [a is not None and t.split("/")[0] == a.split("/")[0] for t, a in zip(truths, answers, strict=True)]
    return 2 * shared / sizes, float(np.mean(first))


def test_a_near_miss_counts_in_part() -> None:
    drawn = np.random.default_rng(1)
    labels = [*LABELS, "billing", "billing/invoice/copy"]
    task = lt.Task("topic", labels=labels, hierarchy="/")
    truths = [str(label) for label in drawn.choice(labels, 200)]
    answers = [None if drawn.random() < 0.1 else str(drawn.choice(labels)) for _ in truths]
    given = [Prediction(answer, "ok" if answer else "off_label") for answer in answers]
    found = measure([EvaluatedRows.of(task, truths, given)], resamples=100)[0].intervals
    expected = by_hand(truths, answers)
    assert (found["hierarchical_f1"].value, found["first_level_accuracy"].value) == pytest.approx(expected)
    assert found["accuracy"].value < found["first_level_accuracy"].value
    low, high = found["hierarchical_f1"].low, found["hierarchical_f1"].high
    assert low is not None and high is not None and low < expected[0] < high
    assert "hierarchical_f1" not in lt.Task("topic", labels=labels).kind.metrics


@pytest.mark.parametrize(
    ("labels", "hierarchy", "words"),
    [
        (["a", "b"], "/", "no label has it, such as 'a'"),
        (["a/b", "a//b"], "/", "'a//b' has a level without a name"),
        (["a/b", "c"], "x", "is what separates levels"),
        (["a/b", "c"], " ", "is what separates levels"),
    ],
)
def test_what_is_no_hierarchy_is_said(labels: list[str], hierarchy: str, words: str) -> None:
    with pytest.raises(SpecError, match=words):
        lt.Task("topic", labels=labels, hierarchy=hierarchy)
