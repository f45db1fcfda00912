"""Probabilities per label from the outputs of an estimator, and their score under an objective."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import TYPE_CHECKING, Literal

from luthier.tasks.labels.deciding import Objective, best_labels, kappa_of, midpoints, qwk_thresholds

if TYPE_CHECKING:
    import numpy as np
    import numpy.typing as npt

    Floats = npt.NDArray[np.float64]

__all__ = ["ERRORS", "HeadScorer", "SelectionMetric", "OutputKind", "around_value", "from_above", "shares_of"]

OutputKind = Literal["classifier", "ordinal", "regressor"]
"""What an estimator predicts: a probability per label, the chance to lie above each label but the last, or a value."""

SelectionMetric = Literal["log loss", "accuracy", "mse", "qwk"]
"""What trials are compared by."""

ERRORS = ("log loss", "mse")
"""Measures of which less is better."""

LEAST_SHARE = 1e-6
"""Least probability in the log loss, as on the leaderboard: one row must not outweigh thousands."""


LEAST_BETWEEN = 0.01
"""Probability, before normalisation, of a label whose two chances are equal or crossed."""


def shares_of(scores: Floats) -> Floats:
    """Softmax over the columns."""
    import numpy as np

    raised = np.exp(scores - scores.max(axis=1, keepdims=True))
    found: Floats = raised / raised.sum(axis=1, keepdims=True)
    return found


def from_above(above: Floats) -> Floats:
    """Probabilities from the chances to lie above each label but the last (Frank and Hall 2001).

    Each chance comes from a model of its own, so the chance to lie above a higher label may exceed that of a lower
    one; it is then lowered to that.
    """
    import numpy as np

    falling = np.minimum.accumulate(above, axis=1)
    edges = np.hstack([np.ones((len(above), 1)), falling, np.zeros((len(above), 1))])
    shares = np.maximum(edges[:, :-1] - edges[:, 1:], LEAST_BETWEEN)
    found: Floats = shares / shares.sum(axis=1, keepdims=True)
    return found


def around_value(predicted: Floats, spread: float, values: Sequence[float]) -> Floats:
    """Probabilities of a normal distribution around each predicted value, between midpoints of the labels' values.

    Args:
        predicted: a value per row.
        spread: standard deviation of the errors on held-out rows.
        values: a number per label, in any order.

    Returns:
        Shape (rows, labels), in the order of `values`.
    """
    import numpy as np

    bounds = np.asarray(midpoints(values))
    apart = (bounds[None, :] - predicted[:, None]) / (max(spread, 1e-9) * math.sqrt(2))
    # `math.erf`, so that a served model needs no scipy; a microsecond per row and label.
    below = np.array([[0.5 * (1 + math.erf(x)) for x in row] for row in apart.tolist()]).reshape(apart.shape)
    edges = np.hstack([np.zeros((len(predicted), 1)), below, np.ones((len(predicted), 1))])
    found: Floats = np.diff(edges, axis=1)[:, np.argsort(np.argsort(values, kind="stable"))]
    return found


class HeadScorer:
    """Scores probabilities by the objective of the spec, by the log loss where it has none; a value per label."""

    def __init__(self, values: Sequence[float], objective: Objective | None) -> None:
        self.values = tuple(values)
        self.objective = objective
        self.measure: SelectionMetric = objective or "log loss"

    @property
    def lower_is_better(self) -> bool:
        """Whether the measure is an error."""
        return self.measure in ERRORS

    def thresholds(self, targets: npt.NDArray[np.intp], probabilities: Floats) -> tuple[float, ...] | None:
        """Thresholds on the expected rating for objective `qwk`; `None` for the others."""
        import numpy as np

        if self.objective != "qwk":
            return None
        return qwk_thresholds(self.values, targets, probabilities @ np.asarray(self.values))

    def score(self, targets: npt.NDArray[np.intp], probabilities: Floats) -> float:
        """The measure, of rows whose labels are the positions `targets`."""
        import numpy as np

        if self.measure == "log loss":
            own = probabilities[np.arange(len(targets)), targets]
            return float(-np.log(np.clip(own, LEAST_SHARE, 1.0)).mean())
        answers = best_labels(self.values, probabilities, self.objective, self.thresholds(targets, probabilities))
        if self.measure == "accuracy":
            return float((answers == targets).mean())
        values = np.asarray(self.values)
        if self.measure == "mse":
            return float(((values[answers] - values[targets]) ** 2).mean())
        return kappa_of(values[answers], values[targets])

    def loss(self, score: float) -> float:
        """The score turned so that less is better."""
        return score if self.lower_is_better else 1 - score
