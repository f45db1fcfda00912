"""The training rows that prompts are chosen on: different texts, every label in its share, in random order."""

from __future__ import annotations

import random
from collections.abc import Sequence
from typing import Any

from luthier.errors import DataError
from luthier.tasks.prediction import Prediction
from luthier.tasks.task import Rows, Task
from luthier.techniques import Prompt
from luthier.techniques.training_rows import distinct

__all__ = ["FEWEST_ROWS", "row_score", "selection_rows"]

FEWEST_ROWS = 20
"""Rows below which no two prompts could be told apart."""


def selection_rows(task: Task, train: Rows, most: int, seed: int) -> Rows:
    """At most so many training rows, drawn with a seed; the first of them have the labels in about equal shares too.

    Args:
        task: whose labels they have.
        train: all training rows, every one labelled.
        most: at most so many.
        seed: the same seed draws the same rows.

    Raises:
        DataError: fewer than 20 rows have a text of their own, or all have the same label.
    """
    places = distinct(train, labelled=True)
    if len(places) < FEWEST_ROWS:
        raise DataError(
            f"the training table holds {len(places)} different labelled texts; prompts are chosen on at least "
            f"{FEWEST_ROWS}, and a few hundred tell more of them apart. Give more rows with --train (train=)."
        )
    values = {str(train.labels[place]) for place in places}
    if len(values) == 1:
        raise DataError(
            f"every row of the training table has the same label, {values.pop()}, so a prompt that always answers it "
            "looks perfect. Give rows with other labels too."
        )
    return train.take(_mixed(places, task.kind.strata([train.labels[place] for place in places]), seed)[:most])


def row_score(start: Prompt, prediction: Prediction, truth: Any) -> float:
    """How good an answer to one row is, as prompts race by it; higher is better.

    Args:
        start: the prompt that the search began with.
        prediction: what was answered.
        truth: the row's label.
    """
    # What a rating's own metric falls with is the squared distance; see `ClosedSet.score`.
    objective = start.objective or ("mse" if start.task.ordered else None)
    return start.task.kind.score(objective, prediction, truth)


def _mixed(places: Sequence[int], strata: Sequence[int], seed: int) -> list[int]:
    """The places in random order, such that every beginning has about the same share of each stratum."""
    drawn = random.Random(f"selection/{seed}")
    groups: dict[int, list[int]] = {}
    for place, stratum in zip(places, strata, strict=True):
        groups.setdefault(stratum, []).append(place)
    keyed: list[tuple[float, int]] = []
    for stratum in sorted(groups):
        members = groups[stratum]
        drawn.shuffle(members)
        start = drawn.random()
        keyed += [((number + start) / len(members), place) for number, place in enumerate(members)]
    return [place for _, place in sorted(keyed)]
