"""What the calibration rows show: a model's bias towards labels, and where a rating's labels are best cut."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from luthier.errors import DataError
from luthier.evaluation.deciding import fit_cuts
from luthier.evaluation.records import Prediction
from luthier.tasks.task import Rows
from luthier.techniques.asking import calibrated, calibration_answers, leaning_of

if TYPE_CHECKING:
    from luthier.spec import Spec

__all__ = ["measured"]


def measured(
    spec: Spec, rows: Rows, predictions: Sequence[Prediction], cure: str, least: float = 0.0
) -> dict[str, Any]:
    """The `leaning` and, for objective `qwk`, the `cuts` that a fitted spec keeps.

    The bias (`leaning`) is the mean probability per label; dividing by it is batch calibration (Zhou et al. 2023,
    arXiv:2309.17249) with training rows in place of the batch, so that a row's answer does not depend on its
    neighbours. The cuts are fitted on the expected ratings that are left when the bias is taken away.

    Args:
        spec: the prompt or decision.
        rows: the calibration rows.
        predictions: what they were answered.
        cure: what to type where too few of them got probabilities.
        least: what a label's mean probability counts as at least; for services that round it to nothing.

    Raises:
        EndpointError: too few rows got probabilities.
        Partial: some have no answer for a reason that may pass.
        DataError: no calibration row that was answered has a label to cut by.
    """
    got = calibration_answers(predictions, spec.name, cure)
    answered = [(probabilities, rows.labels[position]) for position, probabilities in got.items()]
    lowest = math.log(least) if least else -math.inf
    leaning = [max(lowest, value) for value in leaning_of([probabilities for probabilities, _ in answered])]
    if spec.objective != "qwk":
        return {"leaning": leaning}
    truths: list[str] = []
    expected: list[float] = []
    for probabilities, label in answered:
        if label is not None:
            even = calibrated([math.log(p) if p else -math.inf for p in probabilities], leaning)
            truths.append(label)
            expected.append(sum(p * value for p, value in zip(even, spec.task.values, strict=True)))
    if not truths:
        raise DataError(
            f"spec {spec.name!r}: objective qwk cuts the expected rating by the labels of the calibration rows, and "
            "none of them has a label. Give labelled rows with --train, or set objective: mse."
        )
    return {"leaning": leaning, "cuts": list(fit_cuts(spec.task, truths, expected))}
