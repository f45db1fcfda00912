"""How far a judge agrees with people, and whether that is as far as people agree among themselves."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import combinations
from typing import Any

import numpy as np

from luthier.evaluation.interval import Interval
from luthier.evaluation.metrics import EvaluatedRows, Measured, measure
from luthier.evaluation.resampling import mean_interval, percentile_interval
from luthier.evaluation.statistics import paired_difference
from luthier.judging.answers_to_judge import ANSWER, AnswersToJudge, answer_id
from luthier.judging.human_ratings import HumanRatings
from luthier.judging.judgement_facts import HumanAgreement, Verdict
from luthier.tasks.prediction import Prediction
from luthier.tasks.task import Task

__all__ = ["FEWEST_RATED", "MARGIN", "SUFFICIENT", "agreement_with_people"]

FEWEST_RATED = 20
"""Answers that two must have rated both before their agreement is measured."""

MARGIN = 0.1
"""By so much less than people among themselves a judge may agree with them, to stand in for a person."""

SUFFICIENT = {"qwk": 0.6, "accuracy": 0.8}
"""What a judge must reach where one person only has rated, whom no second one can be held against."""


def agreement_with_people(
    task: Task, answers: AnswersToJudge, ratings: Sequence[Prediction], people: HumanRatings
) -> HumanAgreement | None:
    """The judge held against people; `None` where they rated too few of the answers that were judged.

    An answer that the judge did not rate counts against it, as far off as can be. One that several specs gave to a
    row counts once. Intervals are over the answers.

    Args:
        task: of the judge.
        answers: that were judged.
        ratings: the judge's, one per answer.
        people: by rater the label of each answer.
    """
    different: dict[str, int] = {}
    for place, one in enumerate(answers.records):
        if one[ANSWER] is not None and any(labels[place] is not None for labels in people.values()):
            different.setdefault(answer_id(one), place)
    rated = list(different.values())
    own = {rater: [labels[place] for place in rated] for rater, labels in people.items()}
    judged = [ratings[place] for place in rated]
    enough = {rater: given for rater, given in own.items() if sum(one is not None for one in given) >= FEWEST_RATED}
    if not enough:
        return None
    metric = "qwk" if task.ordered else "accuracy"
    against = [_rows(task, given, judged) for given in enough.values()]
    couples = [
        _rows(task, one, [Prediction(label, "ok" if label is not None else "off_label") for label in other])
        for one, other in combinations(own.values(), 2)
        if sum(a is not None and b is not None for a, b in zip(one, other, strict=True)) >= FEWEST_RATED
    ]
    measured = measure([*against, *couples])
    judge, judge_draws = _mean(measured[: len(against)], metric)
    people_found = difference = None
    if couples:
        people_found, people_draws = _mean(measured[len(against) :], metric)
        difference = paired_difference(judge.value, people_found.value, judge_draws, people_draws).interval
    given = [(truth, p) for rows in against for truth, p, counts in _triples(rows) if counts]
    return HumanAgreement(
        metric=metric,
        raters=tuple(enough),
        answers=len(rated),
        judge=judge,
        people=people_found,
        difference=difference,
        leniency=_leniency(task, own, judged),
        confusion=task.kind.plots([truth for truth, _ in given], [p for _, p in given]).confusion,
        can_stand_in=_verdict(metric, judge, difference),
    )


def _rows(task: Task, truths: Sequence[Any | None], predictions: Sequence[Prediction]) -> EvaluatedRows:
    """Ratings of one held against those of another, where both were asked."""
    asked = [truth is not None for truth in truths]
    known = [truth if truth is not None else task.labels[0] for truth in truths]
    # A person who gave no rating was not asked; a judge that gave none has failed to.
    skipped = [p.state == "off_label" and p.error is None for p in predictions]
    counted = [there and not left for there, left in zip(asked, skipped, strict=True)]
    return EvaluatedRows.of(task, known, predictions, counted=counted)


def _triples(rows: EvaluatedRows) -> list[tuple[Any, Prediction, bool]]:
    return [
        (truth, prediction, bool(counts))
        for truth, prediction, counts in zip(rows.truths, rows.predictions, rows.counted, strict=True)
    ]


def _mean(measured: Sequence[Measured], metric: str) -> tuple[Interval, Any]:
    draws = np.mean([one.draws[metric] for one in measured], axis=0)
    if len(measured) == 1:
        return measured[0].intervals[metric], draws
    return percentile_interval(sum(one.values[metric] for one in measured) / len(measured), draws), draws


def _leniency(task: Task, people: HumanRatings, judged: Sequence[Prediction]) -> Interval | None:
    if not task.ordered:
        return None
    value = dict(zip(task.labels, task.values, strict=True))
    gaps = []
    for place, prediction in enumerate(judged):
        given = [labels[place] for labels in people.values()]
        said = [value[label] for label in given if label is not None]
        if prediction.value is not None and said:
            gaps.append(value[prediction.value] - sum(said) / len(said))
    return mean_interval(np.array(gaps)) if gaps else None


def _verdict(metric: str, judge: Interval, difference: Interval | None) -> Verdict:
    found, least = (judge, SUFFICIENT[metric]) if difference is None else (difference, -MARGIN)
    if found.low is not None and found.low >= least:
        return "yes"
    return "no" if found.high is not None and found.high < least else "open"
