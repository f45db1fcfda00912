"""Prompts with models: which prompt does well with every model, and which model with every prompt, on all tables.

A cell is one prompt asked with one model on one table. Every cell weighs the same; rows are what is resampled, models
and tables are those that were given. So an interval says how certain a mean over *these* models and tables is.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal

import numpy as np
import scipy

from luthier.errors import DataError
from luthier.evaluation.resampling import Floats, Interval, percentile_interval
from luthier.evaluation.statistics import all_differences, holm, letters

if TYPE_CHECKING:
    import pandas as pd

__all__ = [
    "AcrossPair",
    "Cell",
    "Crossed",
    "CrossedCell",
    "CrossedFactor",
    "CrossedLevel",
    "crossed_frame",
    "crossed_grids",
    "ranked_means",
]

Cell = tuple[str, str, str]
"""Prompt, model, table."""


@dataclass(frozen=True, slots=True)
class AcrossPair:
    """Two specs, prompts or models by their means, the better first; `corrected` by Holm over all pairs."""

    first: str
    second: str
    difference: Interval
    p: float
    corrected: float


@dataclass(frozen=True)
class CrossedCell:
    """A prompt with a model: the metric on each table, and its mean over them.

    Attributes:
        prompt: name.
        model: name.
        mean: over the tables; `None` where one is missing.
        values: table to the metric there.
    """

    prompt: str
    model: str
    mean: Interval | None
    values: Mapping[str, Interval]


@dataclass(frozen=True)
class CrossedLevel:
    """A prompt over all models and tables, or a model over all prompts and tables.

    Attributes:
        name: of the prompt or model.
        rank: place by the mean, 1 is best; `None` without a mean.
        group: letters; those that share one cannot be told apart by the mean.
        mean: over its cells, each weighing the same; `None` where one is missing, as the others' means are of all.
        worst: its worst cell.
        worst_with: the model, or prompt, of that cell.
        worst_on: the table of that cell.
        mean_rank: mean of its places in the cells, equal values sharing one; `None` without a mean.
        leads: cells where it is first or cannot be told apart from the first.
        last: cells where it is last of several.
        cells: how many were measured.
        missing: models, or prompts, that it was not measured with on every table.
    """

    name: str
    rank: int | None
    group: str
    mean: Interval | None
    worst: Interval
    worst_with: str
    worst_on: str
    mean_rank: float | None
    leads: int
    last: int
    cells: int
    missing: tuple[str, ...]


@dataclass(frozen=True)
class CrossedFactor:
    """All prompts, or all models: the best mean first, then those without one.

    Attributes:
        levels: in that order.
        pairs: the best with every other that has a mean.
    """

    levels: tuple[CrossedLevel, ...]
    pairs: tuple[AcrossPair, ...]

    @property
    def ranked(self) -> tuple[CrossedLevel, ...]:
        """Those with a mean, the best first."""
        return tuple(level for level in self.levels if level.mean is not None)

    def tied_with_best(self, alpha: float) -> tuple[str, ...]:
        """Names of those whose mean cannot be told from the best one's, best first."""
        return tuple(pair.second for pair in self.pairs if pair.corrected >= alpha)

    def frame(self) -> pd.DataFrame:
        """One row per prompt or model."""
        import pandas as pd

        lines: list[dict[str, Any]] = []
        for one in self.levels:
            mean = one.mean or Interval(float("nan"))
            line: dict[str, Any] = {"rank": one.rank, "name": one.name, "group": one.group}
            line |= {"mean": mean.value, "mean_low": mean.low, "mean_high": mean.high}
            line |= {"worst": one.worst.value, "worst_with": one.worst_with, "worst_on": one.worst_on}
            line |= {"mean_rank": one.mean_rank, "leads": one.leads, "last": one.last, "cells": one.cells}
            lines.append(line | {"missing": ", ".join(one.missing)})
        return pd.DataFrame(lines).astype({"rank": "Int64", "mean_rank": "float64"})


@dataclass(frozen=True)
class Crossed:
    """Prompts that were asked with the same models.

    Attributes:
        prompts: over models and tables.
        models: over prompts and tables.
        cells: every prompt with every model it was measured with.
        tables: names of the tables.
        alpha: level at which two count as different.
    """

    prompts: CrossedFactor
    models: CrossedFactor
    cells: tuple[CrossedCell, ...]
    tables: tuple[str, ...]
    alpha: float

    def cell(self, prompt: str, model: str) -> Interval | None:
        """The mean over the tables of a prompt with a model; `None` where one is missing."""
        return next((one.mean for one in self.cells if (one.prompt, one.model) == (prompt, model)), None)

    def frame(self) -> pd.DataFrame:
        """The means over the tables: a row per prompt, a column per model, both the best first; NaN where missing."""
        import pandas as pd

        models = [model.name for model in self.models.levels]
        lines = {
            prompt.name: [cell.value if (cell := self.cell(prompt.name, model)) else float("nan") for model in models]
            for prompt in self.prompts.levels
        }
        found = pd.DataFrame.from_dict(lines, orient="index", columns=models)
        return found.rename_axis(index="prompt", columns="model")


def crossed_frame(what: Literal["prompts", "models", "matrix"], grids: Sequence[Crossed]) -> pd.DataFrame:
    """One DataFrame of all grids: as a rule there is one.

    Args:
        what: a row per prompt, a row per model, or their cells.
        grids: of a comparison.

    Raises:
        DataError: no spec was asked with several models.
    """
    import pandas as pd

    if not grids:
        raise DataError(
            "no prompt was compared with several models here. Give models=[...], or --model A --model B to compare."
        )
    if what == "matrix":
        return pd.concat([one.frame() for one in grids])
    factors = [one.prompts if what == "prompts" else one.models for one in grids]
    return pd.concat([factor.frame() for factor in factors], ignore_index=True)


def crossed_grids(
    values: Mapping[Cell, Interval],
    draws: Mapping[Cell, Floats],
    *,
    gaps: Collection[tuple[str, str]] = (),
    higher: bool,
    alpha: float,
) -> tuple[Crossed, ...]:
    """Prompts and models that were crossed: as a rule all of them, in one grid.

    Prompts that no chain of models connects, as those for models that chat and those for models that embed, are in
    grids of their own. A model, or a prompt, without any cell was not measured and is in no grid.

    Args:
        values: the metric in each cell that was measured.
        draws: the same on each bootstrap sample, shape (samples,); paired within a table, independent between tables.
        gaps: prompts with models that were to be measured and were not.
        higher: whether more is better.
        alpha: level at which two count as different.
    """
    prompts = dict.fromkeys(prompt for prompt, _, _ in values)
    models = dict.fromkeys(model for _, model, _ in values)
    edges = {(prompt, model) for prompt, model, _ in values}
    edges |= {(prompt, model) for prompt, model in gaps if prompt in prompts and model in models}
    found = []
    left = list(prompts)
    while left:
        some, beside = {left[0]}, set[str]()
        while True:
            reached = {model for prompt, model in edges if prompt in some}
            grown = {prompt for prompt, model in edges if model in reached}
            if (grown, reached) == (some, beside):
                break
            some, beside = grown, reached
        left = [prompt for prompt in left if prompt not in some]
        if len(some) > 1 or len(beside) > 1:
            inside = {cell: value for cell, value in values.items() if cell[0] in some}
            found.append(_grid(inside, draws, higher, alpha))
    return tuple(found)


def _grid(values: Mapping[Cell, Interval], draws: Mapping[Cell, Floats], higher: bool, alpha: float) -> Crossed:
    tables = tuple(dict.fromkeys(table for _, _, table in values))
    cells = []
    for prompt, model in dict.fromkeys(cell[:2] for cell in values):
        here = {table: values[prompt, model, table] for table in tables if (prompt, model, table) in values}
        mean = None
        if len(here) == len(tables):
            drawn = np.mean([draws[prompt, model, table] for table in tables], axis=0)
            mean = percentile_interval(float(np.mean([one.value for one in here.values()])), drawn)
            # Of one table alone it is the table's own interval, which is the better one.
            mean = here[tables[0]] if len(tables) == 1 else mean
        cells.append(CrossedCell(prompt, model, mean, here))
    turned = {(model, prompt, table): value for (prompt, model, table), value in values.items()}
    turned_draws = {(cell[1], cell[0], cell[2]): draws[cell] for cell in values}
    return Crossed(
        _factor(values, draws, higher, alpha), _factor(turned, turned_draws, higher, alpha), tuple(cells), tables, alpha
    )


def _factor(values: Mapping[Cell, Interval], draws: Mapping[Cell, Floats], higher: bool, alpha: float) -> CrossedFactor:
    """What comes first in the cells, over what comes second and the tables."""
    names = list(dict.fromkeys(cell[0] for cell in values))
    places = list(dict.fromkeys(cell[1:] for cell in values))
    others = list(dict.fromkeys(cell[1] for cell in values))
    tables = list(dict.fromkeys(cell[2] for cell in values))
    own = {name: [place for place in places if (name, *place) in values] for name in names}
    ranks: dict[str, list[float]] = {name: [] for name in names}
    leads, last = dict.fromkeys(names, 0), dict.fromkeys(names, 0)
    for place in places:
        here = [name for name in names if (name, *place) in values]
        found = np.array([values[name, *place].value for name in here])
        order = scipy.stats.rankdata(-found if higher else found)
        for name, rank in zip(here, order, strict=True):
            ranks[name].append(float(rank))
            last[name] += int(rank == max(order) > min(order))
        for name in _leading(here, found, np.stack([draws[name, *place] for name in here]), higher, alpha):
            leads[name] += 1
    whole = [name for name in names if len(own[name]) == len(others) * len(tables)]
    means = {name: float(np.mean([values[name, *place].value for place in own[name]])) for name in whole}
    drawn = {name: np.mean([draws[name, *place] for place in own[name]], axis=0) for name in whole}
    ordered, groups, pairs = ranked_means(means, drawn, higher, alpha)
    pick = min if higher else max
    levels = []
    for name in [*ordered, *(name for name in names if name not in whole)]:
        there = {place: values[name, *place].value for place in own[name]}
        worst = pick(there, key=there.__getitem__)
        lacking = [one for one in others if any((name, one, table) not in values for table in tables)]
        rank = ordered.index(name) if name in means else None
        levels.append(
            CrossedLevel(
                name=name,
                rank=None if rank is None else rank + 1,
                group="" if rank is None else groups[rank],
                mean=percentile_interval(means[name], drawn[name]) if name in means else None,
                worst=values[name, *worst],
                worst_with=worst[0],
                worst_on=worst[1],
                mean_rank=float(np.mean(ranks[name])) if name in means else None,
                leads=leads[name],
                last=last[name],
                cells=len(own[name]),
                missing=tuple(lacking),
            )
        )
    return CrossedFactor(tuple(levels), tuple(pair for pair in pairs if pair.first == ordered[0]))


def _leading(names: Sequence[str], values: Floats, draws: Floats, higher: bool, alpha: float) -> list[str]:
    """Those that are first in a cell or cannot be told apart from the first."""
    best = int(values.argmax() if higher else values.argmin())
    couples = [(i, j) for i in range(len(names)) for j in range(i + 1, len(names))]
    corrected = holm([difference.p for difference in all_differences(values, draws)])
    beaten = {i + j - best for (i, j), p in zip(couples, corrected, strict=True) if best in (i, j) and p < alpha}
    return [name for place, name in enumerate(names) if place not in beaten]


def ranked_means(
    means: Mapping[str, float],
    draws: Mapping[str, Floats],
    higher: bool,
    alpha: float,
    foreseen: Sequence[float] = (),
) -> tuple[list[str], list[str], tuple[AcrossPair, ...]]:
    """Names in order of their means, the letters of those that cannot be told apart, and every two compared.

    Args:
        means: name to the mean.
        draws: name to the mean on each bootstrap sample, the samples paired.
        higher: whether more is better.
        alpha: level at which two count as different, after Holm's correction over all pairs.
        foreseen: p-values of further pairs that are corrected for, as those with specs that a race has stopped.
    """
    if not means:
        return [], [], ()
    sign = -1 if higher else 1
    ordered = sorted(means, key=lambda name: (sign * means[name], name))
    found = all_differences(np.array([means[name] for name in ordered]), np.stack([draws[name] for name in ordered]))
    couples = [(i, j) for i in range(len(ordered)) for j in range(i + 1, len(ordered))]
    corrected = holm([*(difference.p for difference in found), *foreseen])[: len(found)]
    groups = letters(len(ordered), {couple: p < alpha for couple, p in zip(couples, corrected, strict=True)})
    pairs = tuple(
        AcrossPair(ordered[i], ordered[j], difference.interval, difference.p, p)
        for (i, j), difference, p in zip(couples, found, corrected, strict=True)
    )
    return ordered, list(groups), pairs
