"""From a judge's ratings to figures: how each spec is rated, and which specs differ."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Sequence
from dataclasses import replace

import numpy as np

from luthier.evaluation.interval import Interval
from luthier.evaluation.resampling import Floats, bootstrap_interval, rate_interval, unvaried_interval, weights
from luthier.evaluation.statistics import holm, letters, paired_difference
from luthier.judging.answers_to_judge import ANSWER, AnswersToJudge
from luthier.judging.judge_spec import score_values
from luthier.judging.judgement_facts import JudgedPair, JudgedSpec
from luthier.tasks.prediction import Prediction
from luthier.techniques import Prompt

__all__ = ["rated_specs"]

RESAMPLES, SEED = 2000, 7


def rated_specs(
    judge: Prompt, answers: AnswersToJudge, ratings: Sequence[Prediction]
) -> tuple[tuple[JudgedSpec, ...], tuple[JudgedPair, ...]]:
    """How each spec is rated, best first, and every two compared on the same rows and bootstrap samples.

    A row for which a spec has no answer has the lowest score; one that the judge did not rate is left out.

    Args:
        judge: whose labels are counted.
        answers: that were judged.
        ratings: one per answer, in the same order.
    """
    values = score_values(judge)
    by_label = dict(zip(judge.task.labels, values, strict=True))
    unanswered = [one[ANSWER] is None for one in answers.records]
    scores = np.array(
        [
            min(values) if missing else math.nan if rating.value is None else by_label[rating.value]
            for missing, rating in zip(unanswered, ratings, strict=True)
        ]
    ).reshape(len(answers.specs), answers.rows)
    rated = np.array([rating.value is not None for rating in ratings]).reshape(scores.shape)
    asked = ~np.array(unanswered).reshape(scores.shape)
    # Where the judge rated none of a spec's answers, its rows without one say nothing of it.
    scores[asked.any(axis=1) & ~rated.any(axis=1)] = math.nan
    ends = max(values), min(values)
    intervals = _intervals(scores, ends)
    order = sorted(
        range(len(answers.specs)),
        key=lambda place: (math.isnan(intervals[place].value), -intervals[place].value, answers.specs[place]),
    )
    pairs = _pairs([answers.specs[place] for place in order], scores[order])
    places = {answers.specs[place]: rank for rank, place in enumerate(order)}
    different = {(places[pair.first], places[pair.second]): pair.is_certain for pair in pairs}
    groups = letters(len(order), different)
    specs = []
    for rank, place in enumerate(order):
        own = slice(place * answers.rows, (place + 1) * answers.rows)
        states = _states(unanswered[own], ratings[own])
        sent = answers.rows - states.get("unanswered", 0)
        counts = Counter(rating.value for rating in ratings[own] if rating.value is not None)
        labelled = states.get("ok", 0)
        specs.append(
            JudgedSpec(
                name=answers.specs[place],
                model=answers.models[place],
                score=intervals[place],
                shares={label: rate_interval(counts[label], labelled) for label in judge.task.labels},
                states=states,
                unrated=rate_interval(sent - labelled, sent),
                group=groups[rank],
                measured_run=answers.runs.get(answers.specs[place], ""),
            )
        )
    return tuple(specs), tuple(pairs)


def _states(unanswered: Sequence[bool], ratings: Sequence[Prediction]) -> dict[str, int]:
    found = Counter(
        "unanswered" if missing else str(rating.state) for missing, rating in zip(unanswered, ratings, strict=True)
    )
    return dict(found)


def _intervals(scores: Floats, ends: tuple[float, float]) -> list[Interval]:
    """The mean of each line over the rows that it has, with its BCa interval."""
    counted = ~np.isnan(scores)
    filled = np.where(counted, scores, 0.0)
    draws = _means(filled, counted)
    found = []
    for line, mask, drawn in zip(filled, counted, draws, strict=True):
        rows = int(mask.sum())
        if not rows:
            found.append(Interval(math.nan))
            continue
        own = line[mask]
        mean = float(own.mean())
        if rows == 1 or not np.ptp(own):
            found.append(unvaried_interval(mean, rows, *ends))
        else:
            kept = drawn[~np.isnan(drawn)]
            found.append(bootstrap_interval(mean, kept, rows, (own.sum() - own) / (rows - 1)))
    return found


def _means(values: Floats, counted: np.typing.NDArray[np.bool_]) -> Floats:
    """Means of lines over bootstrap samples of the rows, shape (lines, samples); NaN where a sample has no row."""
    parts = []
    masks = counted.astype(float)
    for drawn in weights(values.shape[1], RESAMPLES, SEED):
        sums, rows = values @ drawn.T, masks @ drawn.T
        parts.append(np.divide(sums, rows, out=np.full_like(sums, np.nan), where=rows > 0))
    return np.concatenate(parts, axis=1)


def _pairs(names: Sequence[str], scores: Floats) -> list[JudgedPair]:
    couples = [(i, j) for i in range(len(names)) for j in range(i + 1, len(names))]
    if not couples:
        return []
    apart = np.stack([scores[i] - scores[j] for i, j in couples])
    counted = ~np.isnan(apart)
    apart = np.where(counted, apart, 0.0)
    draws = _means(apart, counted)
    pairs = []
    for (i, j), gaps, mask, drawn in zip(couples, apart, counted, draws, strict=True):
        rows, kept = int(mask.sum()), drawn[~np.isnan(drawn)]
        if not rows:
            pairs.append(JudgedPair(names[i], names[j], 0, Interval(math.nan), 1.0, 1.0))
            continue
        found = paired_difference(float(gaps[mask].mean()), 0.0, kept, np.zeros_like(kept))
        pairs.append(JudgedPair(names[i], names[j], rows, found.interval, found.p, found.p))
    corrected = holm([pair.p for pair in pairs])
    return [replace(pair, corrected=p) for pair, p in zip(pairs, corrected, strict=True)]
