"""Calibration: the model's prior for each label, and thresholds between ratings, both from training rows."""

from __future__ import annotations

import math
import sys
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from luthier.errors import DataError, UnusableAnswers
from luthier.tasks.labels.deciding import fit_thresholds
from luthier.tasks.prediction import Prediction
from luthier.tasks.task import Rows
from luthier.techniques.conversations import all_there

if TYPE_CHECKING:
    from luthier.spec import Spec

__all__ = ["calibrate", "calibrated", "fit_label_prior"]


def calibrate(
    spec: Spec, rows: Rows, predictions: Sequence[Prediction], cure: str, least: float = 0.0
) -> dict[str, Any]:
    """The fitted state of a calibration: the label prior (`leaning`) and, for objective `qwk`, thresholds (`cuts`).

    The label prior is the mean probability per label, as a logarithm. Dividing by it is batch calibration (Zhou et al.
    2023, arXiv:2309.17249) with training rows in place of the batch, so that a row's answer does not depend on its
    neighbours. The thresholds are fitted on the expected ratings after that division.

    Args:
        spec: the prompt or decision.
        rows: the calibration rows.
        predictions: one for each.
        cure: what to change where too few of them got probabilities, for the message.
        least: lower limit of a label's mean probability, for services that round probabilities.

    Raises:
        UnusableAnswers: fewer than half of the rows got probabilities.
        Partial: some rows have no answer yet, for a reason that may pass.
        DataError: objective `qwk`, and no calibration row that was answered has a label.
    """
    why = all_there(spec.name, predictions, "calibration rows have no answer")
    answered = [
        (found.probabilities, label)
        for found, label in zip(predictions, rows.labels, strict=True)
        if found.probabilities is not None
    ]
    if 2 * len(answered) < len(predictions):
        raise UnusableAnswers(
            f"spec {spec.name!r}: only {len(answered)} of {len(predictions)} calibration rows got probabilities{why}. "
            f"{cure}"
        )
    lowest = math.log(least) if least else -math.inf
    label_prior = [max(lowest, value) for value in fit_label_prior([probabilities for probabilities, _ in answered])]
    if spec.objective != "qwk":
        return {"leaning": label_prior}
    truths: list[str] = []
    expected: list[float] = []
    for probabilities, label in answered:
        if label is not None:
            even = calibrated([math.log(p) if p else -math.inf for p in probabilities], label_prior)
            truths.append(label)
            expected.append(sum(p * value for p, value in zip(even, spec.task.values, strict=True)))
    if not truths:
        raise DataError(
            f"spec {spec.name!r}: objective qwk fits thresholds to the labels of the calibration rows, and "
            "none of them has a label. Give labelled rows with --train, or set objective: mse."
        )
    return {"leaning": label_prior, "cuts": list(fit_thresholds(spec.task, truths, expected))}


def calibrated(logprobs: Sequence[float], label_prior: Sequence[float] | None) -> tuple[float, ...]:
    """Probabilities divided by the label prior, summing to 1.

    Examples:
        >>> [round(p, 2) for p in calibrated([math.log(0.8), math.log(0.2)], [math.log(0.8), math.log(0.2)])]
        [0.5, 0.5]
    """
    scores = [value - (label_prior[i] if label_prior is not None else 0.0) for i, value in enumerate(logprobs)]
    top = max(scores)
    weights = [math.exp(score - top) for score in scores]
    total = math.fsum(weights)
    return tuple(weight / total for weight in weights)


def fit_label_prior(rows: Sequence[Sequence[float]]) -> tuple[float, ...]:
    """The label prior: the logarithm of each label's mean probability over the rows.

    The mean is taken of probabilities, not of logarithms: a confident model gives a rare label 1e-8 on nearly every
    row, and dividing by the mean of the logarithms would lift that label above all others.

    Examples:
        >>> [round(math.exp(value), 2) for value in fit_label_prior([(0.99, 0.01), (0.2, 0.8)])]
        [0.59, 0.41]
    """
    least = sys.float_info.min
    return tuple(math.log(max(math.fsum(shares) / len(rows), least)) for shares in zip(*rows, strict=True))
