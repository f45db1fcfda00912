"""From probabilities to the label a person wants: the likeliest, or the best one for an ordered rating."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise
from typing import Literal

from luthier.task import Task

__all__ = ["Objective", "best_label", "cuts_between", "fit_cuts"]

Objective = Literal["accuracy", "mse", "qwk"]
"""What a label is chosen to be best at; named after the metric."""

ROUNDS = 8
"""Passes over the cuts; on every table tried the third changed nothing."""


def cuts_between(values: Sequence[float]) -> tuple[float, ...]:
    """Midpoints between neighbouring label values: the cuts that make squared errors least.

    Examples:
        >>> cuts_between((1, 2, 4))
        (1.5, 3.0)
    """
    return tuple((low + high) / 2 for low, high in pairwise(values))


def best_label(
    task: Task, probabilities: Sequence[float], objective: Objective | None, cuts: Sequence[float] | None = None
) -> int:
    """Position of the label to answer.

    Args:
        task: the task.
        probabilities: one per label, in the task's order.
        objective: `None` and `accuracy` take the likeliest label, `mse` the one whose value is nearest to the
            expected rating, `qwk` the one the expected rating falls to between `cuts`.
        cuts: ascending bounds between neighbouring labels on the scale of the label values, from `fit_cuts`.

    Examples:
        >>> stars = Task("stars", type="rating", labels=[1, 2, 3])
        >>> [best_label(stars, (0.45, 0.15, 0.4), objective) for objective in ("accuracy", "mse")]
        [0, 1]
    """
    if objective in (None, "accuracy"):
        return max(range(len(probabilities)), key=probabilities.__getitem__)
    expected = sum(p * value for p, value in zip(probabilities, task.values, strict=True))
    bounds = cuts_between(task.values) if objective == "mse" or cuts is None else cuts
    return sum(expected > bound for bound in bounds)


def fit_cuts(task: Task, truths: Sequence[str], expected: Sequence[float]) -> tuple[float, ...]:
    """Cuts on the expected rating under which these rows agree best with the truth, by quadratic weighted kappa.

    Each cut in turn moves to the best place between its neighbours until none moves any more. Kappa rewards
    answers that are spread as wide as the truth, so the cuts come to lie where the expected rating, which
    shrinks to the middle, would not put them itself.

    Args:
        task: a rating task.
        truths: the rows' labels.
        expected: the rows' expected ratings, from a model that did not learn from these rows.
    """
    import numpy as np

    values = np.asarray(task.values, dtype=float)
    truth = values[[task.position(label) for label in truths]]
    seen = np.asarray(expected, dtype=float)
    order = np.sort(np.unique(seen))
    places = (order[:-1] + order[1:]) / 2
    cuts = np.asarray(cuts_between(task.values))
    if not len(places):
        return tuple(float(cut) for cut in cuts)

    def kappa(bounds: np.ndarray) -> float:
        answer = values[np.searchsorted(bounds, seen, side="left")]
        apart = float(((answer - truth) ** 2).mean())
        by_chance = float(((answer - answer.mean()) ** 2).mean() + ((truth - truth.mean()) ** 2).mean())
        by_chance += float((answer.mean() - truth.mean()) ** 2)
        return 1 - apart / by_chance if by_chance else 0.0

    # A long table has more places than are worth trying.
    places = places[np.unique(np.linspace(0, len(places) - 1, 200).astype(int))]
    best = kappa(cuts)
    for _ in range(ROUNDS):
        before = best
        for i in range(len(cuts)):
            low = cuts[i - 1] if i else -np.inf
            high = cuts[i + 1] if i + 1 < len(cuts) else np.inf
            for place in places[(places > low) & (places < high)]:
                tried = cuts.copy()
                tried[i] = place
                if (found := kappa(tried)) > best:
                    best, cuts = found, tried
        if best == before:
            break
    return tuple(float(cut) for cut in cuts)
