"""The order in which a rating's numeric labels are listed changes no answer and no figure."""

from __future__ import annotations

import random
from collections.abc import Callable

import numpy as np
import pytest

from luthier.evaluation.metrics import evaluate
from luthier.providers.exchange import Answer, Request
from luthier.spec import Spec
from luthier.tasks.labels.deciding import best_label, best_labels, fit_thresholds, ranks_between
from luthier.tasks.labels.label_questions import words_of
from luthier.tasks.prediction import Prediction
from luthier.tasks.task import Rows, Task
from luthier.techniques import Baseline, Decision, Embedding
from luthier.techniques.decision import default_question
from luthier.techniques.heads.probabilities import around_value
from tests.conversing import ENDPOINT, hold, rows, silence
from tests.techniques.heads.vectors import embeds

LISTED = [["0", "10", "25", "100"], ["100", "25", "10", "0"], ["0", "100", "10", "25"]]
TASKS = [Task("share", type="rating", labels=labels) for labels in LISTED]
ASCENDING, *OTHERS = TASKS


def asked(count: int, seed: int) -> Rows:
    """Texts whose first character, and whose words, go with their label."""
    drawn = random.Random(seed)
    labels = [drawn.choice(LISTED[0]) for _ in range(count)]
    common = [f"word{i}" for i in range(40)]
    texts = [f"{LISTED[0].index(label)} about{label} {' '.join(drawn.choices(common, k=6))}" for label in labels]
    return rows(*texts, labels=labels)


def answers(spec: Spec, reply: Callable[[Request], Answer]) -> list[tuple[str | None, dict[str, float]]]:
    fitted = hold(spec.fit(asked(160, 1)), reply)
    found = hold(fitted.predict(asked(40, 2)), reply)
    labels = spec.task.labels
    return [(p.label, dict(zip(labels, p.probabilities or (), strict=True))) for p in found]


@pytest.mark.parametrize("task", OTHERS, ids=["descending", "mixed"])
@pytest.mark.parametrize("objective", [None, "mse", "qwk"])
def test_a_baseline_answers_alike(task: Task, objective: str | None) -> None:
    expected = answers(Baseline(ASCENDING, objective=objective), silence)
    assert answers(Baseline(task, objective=objective), silence) == expected


@pytest.mark.parametrize("task", OTHERS, ids=["descending", "mixed"])
@pytest.mark.parametrize("head", ["logistic", "ordinal", "regression"])
def test_every_head_answers_alike(task: Task, head: str) -> None:
    def spec(of: Task) -> Spec:
        return Embedding(of, endpoint=ENDPOINT, head=head, objective="qwk")

    assert answers(spec(task), embeds()) == answers(spec(ASCENDING), embeds())


@pytest.mark.parametrize("task", OTHERS, ids=["descending", "mixed"])
@pytest.mark.parametrize("objective", ["accuracy", "mse", "qwk"])
def test_probabilities_are_decided_alike(task: Task, objective: str) -> None:
    drawn = np.random.default_rng(1)
    shares = drawn.dirichlet(np.ones(4), 60)
    truths = [LISTED[0][i] for i in drawn.integers(0, 4, 60)]
    columns = [ASCENDING.position(label) for label in task.labels]
    thresholds = fit_thresholds(ASCENDING, truths, shares @ np.array(ASCENDING.values))
    assert fit_thresholds(task, truths, shares @ np.array(ASCENDING.values)) == thresholds
    expected = [ASCENDING.labels[i] for i in best_labels(ASCENDING.values, shares, objective, thresholds)]  # type: ignore[arg-type]
    found = best_labels(task.values, shares[:, columns], objective, thresholds)  # type: ignore[arg-type]
    assert [task.labels[i] for i in found] == expected
    alone = [best_label(task, tuple(row), objective, thresholds) for row in shares[:, columns]]  # type: ignore[arg-type]
    assert alone == found.tolist()
    assert set(ranks_between(shares @ np.array(ASCENDING.values), thresholds)) <= set(range(4))


@pytest.mark.parametrize("task", OTHERS, ids=["descending", "mixed"])
def test_every_metric_is_the_same(task: Task) -> None:
    drawn = np.random.default_rng(2)
    truths = [LISTED[0][i] for i in drawn.integers(0, 4, 80)]
    said = [LISTED[0][i] if i < 4 else None for i in drawn.integers(0, 5, 80)]
    shares = drawn.dirichlet(np.ones(4), 80)

    def metrics(of: Task) -> dict[str, float]:
        columns = [ASCENDING.position(label) for label in of.labels]
        predictions = [
            Prediction(None, "refused") if label is None else Prediction(label, "ok", tuple(row[columns]))
            for label, row in zip(said, shares, strict=True)
        ]
        return {name: found.value for name, found in evaluate(of, truths, predictions, resamples=0).items()}

    assert metrics(task) == pytest.approx(metrics(ASCENDING))


def test_the_normal_around_a_value_is_cut_at_the_labels_own_bounds() -> None:
    predicted = np.array([3.0, 20.0, 70.0])
    sorted_ones = around_value(predicted, 8.0, ASCENDING.values)
    mixed = around_value(predicted, 8.0, TASKS[2].values)
    assert mixed.tolist() == sorted_ones[:, [0, 3, 1, 2]].tolist()
    assert mixed.min() >= 0


@pytest.mark.parametrize("task", TASKS, ids=["ascending", "descending", "mixed"])
def test_a_decision_names_and_offers_the_lowest_level_first(task: Task) -> None:
    assert "from 0 (lowest) to 100 (highest)" in default_question(task)
    levels = Decision(task, endpoint=ENDPOINT).adapter({}).offer["levels"]
    assert [level["label"] for level in levels] == LISTED[0]


def test_words_for_bare_numbers_follow_their_values() -> None:
    five = Task("stars", type="rating", labels=[5, 4, 3, 2, 1])
    words = words_of(five.closed_set)
    assert words is not None
    assert (words["1"], words["5"]) == ("terrible", "excellent")


def test_a_refused_row_counts_as_the_same_farthest_label() -> None:
    ascending = Task("stars", type="rating", labels=[1, 2, 3, 4, 5])
    descending = Task("stars", type="rating", labels=[5, 4, 3, 2, 1])
    truths, said = ["3", "3", "4", "1"], [Prediction(None, "refused"), *(Prediction(x, "ok") for x in ("3", "4", "2"))]
    kappas = {evaluate(task, truths, said, resamples=0)["qwk"].value for task in (ascending, descending)}
    assert len(kappas) == 1
