"""How a model does on each group of a sensitive column, and how far the groups are apart."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal

from luthier.evaluation.resampling import Interval

__all__ = ["Disparity", "GroupMetric", "SensitiveColumn", "SensitiveGroup"]


@dataclass(frozen=True, slots=True)
class GroupMetric:
    """A metric that groups are compared by: a mean over rows.

    Attributes:
        title: short name for a table's head.
        better: which way is better; `None` for what a model predicts, where neither is.
        format: `share` (0 to 1) or `number` (in the units of the task's values).
        description: one sentence for a reader who meets it for the first time.
    """

    title: str
    better: Literal["higher", "lower"] | None
    format: Literal["share", "number"]
    description: str


@dataclass(frozen=True, slots=True)
class SensitiveGroup:
    """Rows with one value in a sensitive column.

    Attributes:
        name: the value; `(missing)` for rows without one.
        rows: how many there are.
        metrics: metric to value and interval on these rows.
        judged: whether it has enough rows to be compared.
    """

    name: str
    rows: int
    metrics: Mapping[str, Interval]
    judged: bool


@dataclass(frozen=True, slots=True)
class Disparity:
    """How far the groups of a column are apart in one metric.

    Attributes:
        metric: its name.
        difference: highest minus lowest value among the judged groups, with its 95% interval.
        best, worst: names of the groups with the best and the worst value; with the highest and the lowest where
            neither way is better.
        p: for "all groups have the same value", uncorrected.
        corrected: the same after Holm's correction over all columns and metrics that were tested.
        confirmed: whether `corrected` is below 0.05.
    """

    metric: str
    difference: Interval
    best: str
    worst: str
    p: float
    corrected: float
    confirmed: bool


@dataclass(frozen=True, slots=True)
class SensitiveColumn:
    """A column that a user named, with its groups.

    Attributes:
        column: its name.
        groups: the largest first.
        metrics: what the names in `groups` and `disparities` mean, in the order a table shows them.
        disparities: one per metric; empty where fewer than two groups have enough rows.
        smallest: fewest rows a group must have to be compared.
        notes: what a reader should know, such as groups with too few rows.
    """

    column: str
    groups: tuple[SensitiveGroup, ...]
    metrics: Mapping[str, GroupMetric]
    disparities: tuple[Disparity, ...]
    smallest: int
    notes: tuple[str, ...] = ()
