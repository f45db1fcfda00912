"""Whether a judge rates long answers higher than short ones, among the answers of one spec."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np
from scipy.stats import rankdata

from luthier.evaluation.interval import Interval
from luthier.evaluation.resampling import Floats, mean_interval
from luthier.judging.answers_to_judge import ANSWER, AnswersToJudge
from luthier.judging.judge_spec import score_values
from luthier.tasks.prediction import Prediction
from luthier.techniques import Prompt

__all__ = ["FEWEST_ROWS", "STRONG", "is_strong", "length_correlation"]

FEWEST_ROWS = 20
"""Rows with a rating from which the correlation is computed."""

STRONG = 0.3
"""Correlation that is told to a reader, where its interval does not reach 0."""


def length_correlation(judge: Prompt, answers: AnswersToJudge, ratings: Sequence[Prediction]) -> Interval | None:
    """Rank correlation (Spearman) of rating and length in characters, the mean over the specs.

    It is computed within each spec: that the better spec writes longer answers does not count. `None` where answers
    are labels, where there are too few, and where all have one length or one rating.

    Args:
        judge: whose ratings they are.
        answers: that were judged.
        ratings: one per answer, in the same order.
    """
    if answers.task is not None and answers.task.labels:
        return None
    by_label = dict(zip(judge.task.labels, score_values(judge), strict=True))
    shape = (len(answers.specs), answers.rows)
    scores = np.array([math.nan if one.value is None else by_label[one.value] for one in ratings]).reshape(shape)
    lengths = np.array([len(one[ANSWER] or "") for one in answers.records], dtype=float).reshape(shape)
    # The mean of these products over the rows is the correlation.
    products = np.array([_products(*line) for line in zip(scores, lengths, strict=True)])
    rows = ~np.isnan(products).all(axis=0)
    if rows.sum() < FEWEST_ROWS:
        return None
    found = mean_interval(np.nanmean(products[:, rows], axis=0))
    value, low, high = (
        None if end is None else max(-1.0, min(1.0, end)) for end in (found.value, found.low, found.high)
    )
    return Interval(value or 0.0, low, high)


def is_strong(correlation: Interval) -> bool:
    """Whether a reader should know of it."""
    low, high = correlation.low, correlation.high
    return abs(correlation.value) >= STRONG and low is not None and high is not None and (low > 0 or high < 0)


def _products(scores: Floats, lengths: Floats) -> Floats:
    """By row the product of both ranks, each with mean 0 and deviation 1; NaN where there is no rating."""
    found = np.full(len(scores), np.nan)
    rated = ~np.isnan(scores)
    if rated.any():
        ranks = [rankdata(values[rated]) for values in (scores, lengths)]
        if all(np.ptp(one) for one in ranks):
            first, second = ((one - one.mean()) / one.std() for one in ranks)
            found[rated] = first * second
    return found
