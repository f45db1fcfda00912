"""What a learner says, read as one probability per label; and how good such answers are under an objective."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import TYPE_CHECKING, Literal

from luthier.tasks.deciding import Objective, best_labels, kappa_of, midpoints, qwk_thresholds

if TYPE_CHECKING:
    import numpy as np
    import numpy.typing as npt

    Floats = npt.NDArray[np.float64]

__all__ = ["ERRORS", "HeadScorer", "SelectionMetric", "OutputKind", "around_value", "from_above", "shares_of"]

OutputKind = Literal["classifier", "ordinal", "regressor"]
"""How a learner answers: a share per label, a chance to lie above each label but the last, or a value."""

SelectionMetric = Literal["log loss", "accuracy", "mse", "qwk"]
"""What learners are compared by."""

MEASURES: dict[Objective | None, SelectionMetric] = {
    None: "log loss",
    "accuracy": "accuracy",
    "mse": "mse",
    "qwk": "qwk",
}

ERRORS = ("log loss", "mse")
"""Measures that are to be small."""

LEAST_SHARE = 1e-6
"""As the leaderboard's log loss has it: one row must not outweigh thousands."""


LEAST_BETWEEN = 0.01
"""Share of a label whose two bounds are equally likely or crossed: unlikely, not impossible."""


def shares_of(scores: Floats) -> Floats:
    """Softmax over the columns."""
    import numpy as np

    raised = np.exp(scores - scores.max(axis=1, keepdims=True))
    found: Floats = raised / raised.sum(axis=1, keepdims=True)
    return found


def from_above(above: Floats) -> Floats:
    """Probabilities from the chances to lie above each label but the last (Frank and Hall 2001).

    Each chance comes from a model of its own, so a higher bound may come out likelier than a lower one; the
    lower one then holds for both.
    """
    import numpy as np

    falling = np.minimum.accumulate(above, axis=1)
    edges = np.hstack([np.ones((len(above), 1)), falling, np.zeros((len(above), 1))])
    shares = np.maximum(edges[:, :-1] - edges[:, 1:], LEAST_BETWEEN)
    found: Floats = shares / shares.sum(axis=1, keepdims=True)
    return found


def around_value(predicted: Floats, spread: float, values: Sequence[float]) -> Floats:
    """Probabilities of a normal around each predicted value, cut midway between the labels' values.

    Args:
        predicted: a value per row.
        spread: standard deviation of the errors on rows that were not learned from.
        values: a number per label, in any order.

    Returns:
        Shape (rows, labels), in the order of `values`.
    """
    import numpy as np

    bounds = np.asarray(midpoints(values))
    apart = (bounds[None, :] - predicted[:, None]) / (max(spread, 1e-9) * math.sqrt(2))
    # Plain Python's: a served model then needs no scipy, and a row costs a microsecond per label.
    below = np.array([[0.5 * (1 + math.erf(x)) for x in row] for row in apart.tolist()]).reshape(apart.shape)
    edges = np.hstack([np.zeros((len(predicted), 1)), below, np.ones((len(predicted), 1))])
    found: Floats = np.diff(edges, axis=1)[:, np.argsort(np.argsort(values, kind="stable"))]
    return found


class HeadScorer:
    """How good probabilities are for what the spec wants: the measure learners are chosen by.

    Without an objective it is the log loss: the label is the likeliest, so the probabilities should be right.

    Args:
        values: a number per label.
        objective: of the spec.
    """

    def __init__(self, values: Sequence[float], objective: Objective | None) -> None:
        self.values = tuple(values)
        self.objective = objective
        self.measure: SelectionMetric = MEASURES[objective]

    @property
    def lower_is_better(self) -> bool:
        """Whether the measure is an error."""
        return self.measure in ERRORS

    def thresholds(self, targets: npt.NDArray[np.intp], probabilities: Floats) -> tuple[float, ...] | None:
        """Where the expected rating is cut for objective `qwk`; `None` for the others."""
        import numpy as np

        if self.objective != "qwk":
            return None
        return qwk_thresholds(self.values, targets, probabilities @ np.asarray(self.values))

    def score(self, targets: npt.NDArray[np.intp], probabilities: Floats) -> float:
        """The measure itself."""
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
        """The score as something to make small."""
        return score if self.lower_is_better else 1 - score
