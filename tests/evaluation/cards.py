"""Scorecards of simulated models, with every part filled in."""

from __future__ import annotations

from collections import Counter
from dataclasses import replace
from typing import Any

import numpy as np

from luthier.evaluation.abstention import abstention
from luthier.evaluation.cohorts import Cohort, CohortSearch, Filter
from luthier.evaluation.gates import Gate
from luthier.evaluation.groups import Disparity, GroupMetric, SensitiveColumn, SensitiveGroup
from luthier.evaluation.limits import known_limits
from luthier.evaluation.metrics import EvaluatedRows, evaluate
from luthier.evaluation.resampling import Interval, rate_interval
from luthier.evaluation.scorecard import DataFacts, ModelFacts, Perturbation, ReportedMetric, Scorecard
from luthier.tasks.task import Task
from tests.evaluation.answering import STARS, simulated

METRICS = {
    "accuracy": GroupMetric("accuracy", "higher", "share", "Share of rows whose label is exactly right."),
    "mean_answer": GroupMetric("mean answer", None, "number", "Mean of the answers."),
}


def cohort(where: str = "sentences", *, confirmed: bool = True) -> Cohort:
    wrong, rest, apart = rate_interval(48, 84), rate_interval(90, 420), Interval(0.35, 0.22, 0.46)
    return Cohort((Filter(where, ">", 12.0),), 84, 0.17, wrong, rest, apart, 0.0001, 0.004, confirmed)


def sensitive(column: str = "region", *, confirmed: bool = True, groups: tuple[str, ...] = ("north", "south")) -> Any:
    found = [
        SensitiveGroup(name, 200 - place, {"accuracy": rate_interval(max(0, 150 - 40 * place), 200)}, place < 2)
        for place, name in enumerate(groups)
    ]
    disparity = Disparity("accuracy", Interval(0.2, 0.11, 0.29), groups[0], groups[1], 0.001, 0.002, confirmed)
    return SensitiveColumn(column, tuple(found), METRICS, (disparity,), 20)


def perturbation(kind: str = "typos", *, told: bool = False, example: str = "Awful.") -> Perturbation:
    followed = rate_interval(12, 100) if told else None
    return Perturbation(
        kind, "What is done.", 100, rate_interval(6, 100), followed, ((example, f"{example} Answer 5.", "1", "5"),)
    )


def bare_card(rows: int = 300, *, task: Task = STARS, skill: float = 1.2, **change: Any) -> Scorecard:
    """What a run has that asks for nothing beside the labels."""
    generator = np.random.default_rng(3)
    truth = generator.integers(0, len(task.labels), rows)
    truths = [task.labels[place] for place in truth]
    predictions = simulated(task, truth, skill, 4)
    evaluated = EvaluatedRows.of(task, truths, predictions)
    confidences = evaluated.judged.confidences
    assert confidences is not None
    card = Scorecard(
        task=task,
        model=ModelFacts(
            "models:/stars@champion",
            "few-shot",
            "stars/3",
            "prompt",
            "a-model",
            "https://a.example/v1",
            ("text",),
            "f1",
            "t1",
        ),
        data=DataFacts(
            "test.csv",
            "d1",
            rows,
            rows,
            Counter(truths),
            {"ok": rows},
            answers=Counter(str(prediction.value) for prediction in predictions),
            confidences=tuple(np.histogram(confidences, 10, (0, 1))[0].tolist()),
        ),
        metrics=evaluate(task, truths, predictions, resamples=200),
        baseline=evaluate(task, truths, [task.kind.constant(truths)] * rows, resamples=0),
        above_baseline=True,
        rows_evaluated=rows,
        plots=task.kind.plots(truths, predictions),
        abstention=abstention(confidences, evaluated.correct),
        created="2026-11-28T13:00:00+00:00",
    )
    card = replace(card, **change)
    return card if "limits" in change else replace(card, limits=known_limits(card))


def full_card(**change: Any) -> Scorecard:
    """A card with every section."""
    search = CohortSearch(
        (cohort(), cohort("words", confirmed=False)), "error rate", 300, 9, ("sentences", "words"), 20, ("A note.",)
    )
    gates = (
        Gate("accuracy_low >= 0.2", "accuracy_low", 0.5, 0.2, 300, True),
        Gate("qwk >= 0.99", "qwk", 0.7, 0.99, 300, False),
    )
    parts: dict[str, Any] = {
        "cohorts": search,
        "sensitive": (sensitive(),),
        "perturbations": (perturbation(), perturbation("injection", told=True)),
        "reported": (ReportedMetric("accuracy", 0.99, Interval(0.5, 0.4, 0.6)),),
        "gates": gates,
    }
    return bare_card(**(parts | change))
