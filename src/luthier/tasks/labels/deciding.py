"""Chooses a label from probabilities: the likeliest, or for ratings the one an objective asks for."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise
from typing import TYPE_CHECKING, Literal

from luthier.tasks.task import Task

if TYPE_CHECKING:
    import numpy as np
    import numpy.typing as npt

    Floats = npt.NDArray[np.float64]
    Positions = npt.NDArray[np.intp]

__all__ = [
    "Objective",
    "best_label",
    "best_labels",
    "midpoints",
    "fit_thresholds",
    "qwk_thresholds",
    "kappa_of",
    "ranks_between",
]

Objective = Literal["accuracy", "mse", "qwk"]
"""The metric a label is chosen for."""

ROUNDS = 8
"""Passes over the thresholds; on every table tried the third changed nothing."""

MOST_PLACES = 200
"""Places at which a threshold is tried; a long table has more than are worth trying."""


def midpoints(values: Sequence[float]) -> tuple[float, ...]:
    """Midpoints between neighbouring label values, ascending: the thresholds that minimise the squared error.

    Args:
        values: a number per label, in any order.

    Examples:
        >>> midpoints((1, 2, 4)), midpoints((4, 1, 2))
        ((1.5, 3.0), (1.5, 3.0))
    """
    return tuple((low + high) / 2 for low, high in pairwise(sorted(values)))


def best_label(
    task: Task, probabilities: Sequence[float], objective: Objective | None, thresholds: Sequence[float] | None = None
) -> int:
    """Position of the label to answer.

    Args:
        task: the task.
        probabilities: one per label, in the task's order.
        objective: `None` and `accuracy` take the likeliest label, `mse` the one whose value is nearest to the
            expected rating, `qwk` the one the expected rating falls to between `thresholds`.
        thresholds: ascending bounds between neighbouring labels on the scale of the label values; see `fit_thresholds`.

    Examples:
        >>> stars = Task("stars", type="rating", labels=[1, 2, 3])
        >>> [best_label(stars, (0.45, 0.15, 0.4), objective) for objective in ("accuracy", "mse")]
        [0, 1]
    """
    if objective in (None, "accuracy"):
        return max(range(len(probabilities)), key=probabilities.__getitem__)
    expected = sum(p * value for p, value in zip(probabilities, task.values, strict=True))
    bounds = midpoints(task.values) if objective == "mse" or thresholds is None else thresholds
    return task.position(task.ascending[sum(expected > bound for bound in bounds)])


def best_labels(
    values: Sequence[float],
    probabilities: Floats,
    objective: Objective | None,
    thresholds: Sequence[float] | None = None,
) -> Positions:
    """`best_label` of many rows at once, among labels of these values.

    Args:
        values: a number per label, in any order.
        probabilities: shape (rows, labels).
        objective: as in `best_label`.
        thresholds: as in `best_label`.
    """
    import numpy as np

    if objective in (None, "accuracy"):
        likeliest: Positions = probabilities.argmax(axis=1)
        return likeliest
    # Not a matrix product: its last digits depend on how many rows are asked together.
    expected = np.einsum("rl,l->r", probabilities, np.asarray(values, dtype=float))
    bounds = midpoints(values) if objective == "mse" or thresholds is None else thresholds
    answers: Positions = np.argsort(values, kind="stable")[ranks_between(expected, bounds)]
    return answers


def ranks_between(expected: Floats, thresholds: Sequence[float]) -> Positions:
    """Rank from 0, lowest value first, of the label each expected rating falls to between ascending thresholds."""
    import numpy as np

    return np.searchsorted(np.asarray(thresholds, dtype=float), expected, side="left")


def kappa_of(answers: Floats, truths: Floats) -> float:
    """Quadratic weighted kappa between two lists of label values: 1 in agreement, 0 by chance, also for one answer.

    Examples:
        >>> import numpy as np
        >>> kappa_of(np.array([1.0, 2.0, 3.0]), np.array([1.0, 2.0, 3.0]))
        1.0
    """
    apart = float(((answers - truths) ** 2).mean())
    by_chance = float(answers.var() + truths.var() + (answers.mean() - truths.mean()) ** 2)
    return 1 - apart / by_chance if by_chance else 0.0


def fit_thresholds(task: Task, truths: Sequence[str], expected: Sequence[float] | Floats) -> tuple[float, ...]:
    """Thresholds on the expected rating under which these rows agree best with the truth, by quadratic weighted kappa.

    Kappa rewards answers that are spread as wide as the truth, so the thresholds come to lie where the expected
    rating, which shrinks to the middle, would not put them itself.

    Args:
        task: a rating task.
        truths: the rows' labels.
        expected: the rows' expected ratings, from a model that did not learn from these rows.

    Examples:
        >>> stars = Task("stars", type="rating", labels=[1, 2, 3])
        >>> fit_thresholds(stars, ["1", "1", "2", "3"], [1.6, 1.7, 1.9, 2.2])
        (1.7999999999999998, 2.05)
    """
    import numpy as np

    return qwk_thresholds(
        task.values, np.array([task.position(label) for label in truths]), np.asarray(expected, float)
    )


def qwk_thresholds(values: Sequence[float], targets: Positions, expected: Floats) -> tuple[float, ...]:
    """`fit_thresholds` on arrays: a number per label in any order, each row's label as a position, its expected rating.

    Each threshold in turn moves to the best place between its neighbours until none moves any more. How often each
    label lies below each place is counted once, so a step costs the same however long the table is.
    """
    import numpy as np

    ranked = np.argsort(values, kind="stable")
    number = np.asarray(values, dtype=float)[ranked]
    targets = np.argsort(ranked)[targets]
    midway = midpoints(values)
    order = np.unique(expected)
    between = (order[:-1] + order[1:]) / 2
    if not len(between):
        return midway
    between = between[np.unique(np.linspace(0, len(between) - 1, MOST_PLACES).astype(int))]
    places = np.unique(np.concatenate([between, midway]))
    bins = np.searchsorted(places, expected, side="left")
    counted = np.zeros((len(places) + 1, len(number)))
    np.add.at(counted, (bins, targets), 1)
    # Row j: of the rows at or below place j, the share with each label; before it a row of none, after it all.
    below = np.vstack([np.zeros(len(number)), np.cumsum(counted, axis=0)]) / len(targets)
    total = below.sum(axis=1)
    apart = below @ (number[:, None] - number[None, :]) ** 2
    truth_mean = float(below[-1] @ number)
    truth_spread = float(below[-1] @ number**2) - truth_mean**2

    def kappa(edges: Positions) -> Floats:
        # `edges` has a row per set of thresholds: indices into `below`, from 0 to all.
        columns = np.arange(len(number))
        errors = (apart[edges[:, 1:], columns] - apart[edges[:, :-1], columns]).sum(axis=1)
        shares = total[edges[:, 1:]] - total[edges[:, :-1]]
        mean = shares @ number
        chance = shares @ number**2 - mean**2 + truth_spread + (mean - truth_mean) ** 2
        with np.errstate(invalid="ignore", divide="ignore"):
            found: Floats = np.where(chance > 1e-12, 1 - errors / chance, 0.0)
        return found

    edges = np.array([0, *(np.searchsorted(places, midway) + 1), len(below) - 1])
    best = float(kappa(edges[None, :])[0])
    for _ in range(ROUNDS):
        before = best
        for cut in range(1, len(number)):
            tried = np.arange(edges[cut - 1] + 1, edges[cut + 1])
            options = np.repeat(edges[None, :], len(tried), axis=0)
            options[:, cut] = tried
            found = kappa(options)
            if len(tried) and found.max() > best + 1e-12:
                best, edges = float(found.max()), options[int(found.argmax())]
        if best == before:
            break
    return tuple(float(place) for place in places[edges[1:-1] - 1])
