"""Whether predicted labels or scores have the mix that a model was trained on: the population stability index.

Sources: Siddiqi 2006, Credit Risk Scorecards, for the index and its bounds .1 and .25; Yurdakul and Naranjo 2020,
Statistical properties of the population stability index, Journal of Risk Model Validation 14(4), for what it comes to
by chance.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

__all__ = [
    "LARGE_SHIFT",
    "SMALL_SHIFT",
    "LabelMix",
    "LabelShare",
    "PopulationStability",
    "population_stability",
    "separate_stability",
]

SMALL_SHIFT, LARGE_SHIFT = 0.1, 0.25
"""Below the first the mix counts as unchanged, from the second on as another one; both are conventions."""

CHANCE = 0.05
"""Share of samples of an unchanged mix whose index is above `PopulationStability.by_chance`."""

PSEUDO_COUNT = 0.5
"""Added to every label's rows, as a label that is absent on one side would make the index infinite."""


@dataclass(frozen=True, slots=True)
class LabelMix:
    """How often each label is the truth among some rows.

    Attributes:
        of: the rows: those of training, or those that the model was measured on.
        shares: of each label or bin of scores, summing to 1 where a row has one of them.
        rows: how many; `None` where that is not known.
    """

    of: Literal["training rows", "rows it was measured on"]
    shares: Mapping[str, float]
    rows: int | None = None


@dataclass(frozen=True, slots=True)
class LabelShare:
    """A label's share before and now.

    Attributes:
        label: the label, or what else values are counted by: a kind of spans, a field, a bin of scores.
        before: its share in the mix that is compared with.
        now: its share among the rows that have a label now.
        rows: how many rows have it now.
        part: what it adds to the index; where labels are compared one by one, its own index.
    """

    label: str
    before: float
    now: float
    rows: int
    part: float


@dataclass(frozen=True, slots=True)
class PopulationStability:
    """The population stability index of predicted labels, and what it consists of.

    Attributes:
        index: the sum over labels of (share now - share before) ln(share now / share before); where labels are
            compared one by one, the largest of theirs.
        by_chance: an unchanged mix has an index below this in 95% of samples of so many rows.
        of: the rows whose mix is compared with.
        rows: rows that have a label now.
        rows_before: rows that the mix compared with was counted on; `None` where that is not known.
        shares: of each label, those that add most to the index first.
        separate: whether labels are compared one by one, as rows have several or none.
    """

    index: float
    by_chance: float
    of: str
    rows: int
    rows_before: int | None
    shares: tuple[LabelShare, ...]
    separate: bool = False

    @property
    def shift(self) -> Literal["none", "moderate", "large"]:
        """How far the mix has moved by convention; `none` where chance alone would show as much."""
        if self.index < SMALL_SHIFT or self.index <= self.by_chance:
            return "none"
        return "moderate" if self.index < LARGE_SHIFT else "large"


def population_stability(before: LabelMix, now: Mapping[str, int], labels: Sequence[str]) -> PopulationStability | None:
    """Compares the labels that were predicted with those that a model was trained on.

    With B labels, n rows now and m rows before, the index of an unchanged mix is (1/n + 1/m) times a chi-squared
    variable of B - 1 degrees of freedom: with many labels or few rows it passes the conventional bounds by chance.

    Args:
        before: the mix that is compared with.
        now: rows per predicted label.
        labels: of the task, in its order.

    Returns:
        `None` where no row has a label, or there is one label only.

    Examples:
        >>> trained = LabelMix("training rows", {"good": 0.5, "bad": 0.5}, rows=1000)
        >>> found = population_stability(trained, {"good": 800, "bad": 200}, ["good", "bad"])
        >>> round(found.index, 3), found.shift
        (0.415, 'large')
        >>> few = population_stability(trained, {"good": 4, "bad": 1}, ["good", "bad"])
        >>> few.index > 0.25, few.shift
        (True, 'none')
    """
    rows = sum(now.get(label, 0) for label in labels)
    if not rows or len(labels) < 2:
        return None
    shares = []
    for label in labels:
        actual, expected = _both(before, label, now, rows, len(labels))
        shares.append(_share(before, label, now, rows, (actual - expected) * math.log(actual / expected)))
    shares.sort(key=lambda one: -one.part)
    return PopulationStability(
        index=math.fsum(one.part for one in shares),
        by_chance=_spread(before, rows) * _chi_squared(len(labels) - 1),
        of=before.of,
        rows=rows,
        rows_before=before.rows,
        shares=tuple(shares),
    )


def separate_stability(
    before: LabelMix, now: Mapping[str, int], labels: Sequence[str], rows: int
) -> PopulationStability | None:
    """As `population_stability` where a row has several labels or none: of each label, the rows with it and without.

    The index is the largest of the labels' own. What it stays below by chance holds for all labels together
    (Bonferroni), whichever of them go together.

    Args:
        before: the mix that is compared with.
        now: rows with each label.
        labels: of the task, in its order.
        rows: how many have an answer, if only that no label fits.

    Returns:
        `None` where no row has an answer, or there is no label.

    Examples:
        >>> trained = LabelMix("training rows", {"room": 0.4, "noise": 0.1}, rows=1000)
        >>> found = separate_stability(trained, {"room": 400, "noise": 300}, ["room", "noise"], 1000)
        >>> found.shares[0].label, round(found.index, 3), found.shift
        ('noise', 0.269, 'large')
    """
    if not rows or not labels:
        return None
    shares = []
    for label in labels:
        actual, expected = _both(before, label, now, rows, 2)
        part = (actual - expected) * math.log(actual * (1 - expected) / (expected * (1 - actual)))
        shares.append(_share(before, label, now, rows, part))
    shares.sort(key=lambda one: -one.part)
    return PopulationStability(
        index=shares[0].part,
        by_chance=_spread(before, rows) * _chi_squared(1, CHANCE / len(labels)),
        of=before.of,
        rows=rows,
        rows_before=before.rows,
        shares=tuple(shares),
        separate=True,
    )


def _share(before: LabelMix, label: str, now: Mapping[str, int], rows: int, part: float) -> LabelShare:
    count = now.get(label, 0)
    return LabelShare(label, before.shares.get(label, 0.0), count / rows, count, part)


def _both(before: LabelMix, label: str, now: Mapping[str, int], rows: int, kinds: int) -> tuple[float, float]:
    """The share of a label now and before, neither of them 0 nor 1; `kinds` is how many kinds of rows there are."""
    # Shares alone, as earlier models have them, say nothing of how many rows they were counted on.
    counted = rows if before.rows is None else before.rows
    share = before.shares.get(label, 0.0)
    return _smoothed(now.get(label, 0), rows, kinds), _smoothed(share * counted, counted, kinds)


def _spread(before: LabelMix, rows: int) -> float:
    return 1 / rows + (0.0 if before.rows is None else 1 / before.rows)


def _smoothed(count: float, rows: int, labels: int) -> float:
    return (count + PSEUDO_COUNT) / (rows + PSEUDO_COUNT * labels)


def _chi_squared(degrees: int, chance: float = CHANCE) -> float:
    """What a chi-squared variable exceeds in this share of cases."""
    from scipy.special import chdtri

    return float(chdtri(degrees, chance))
