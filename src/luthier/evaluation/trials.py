"""Trials as plain records: what was tried, what came out, and where the best of them lie.

A trial is one set of settings and the result they led to. Nothing here knows of a sweep, a service or a file.
"""

from __future__ import annotations

import json
import math
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from statistics import median
from typing import Any, Literal

import numpy as np

from luthier.evaluation.resampling import Interval

__all__ = [
    "BestCell",
    "BestRegion",
    "ResultSpread",
    "TrialCell",
    "TriedSetting",
    "TrialRow",
    "TrialTable",
    "best_cell",
    "best_regions",
    "best_trials",
    "distinct_values",
    "is_choice",
    "is_number",
    "result",
    "trial_cells",
    "undominated",
    "value_key",
]

MOST_DISTINCT = 12
"""A number with more values than this lies on a continuous axis; one with few, as a batch size, is a choice."""

BEST_SHARE = 0.1
"""The best tenth of the trials is what regions are about."""

CHANCE = 0.05
"""A cell or a region is shown where trials drawn at random would lie there so clearly in fewer cases than this."""

FEWEST_BEST = 3
"""Fewer trials than this show no region."""

LOG_SPAN, LOG_SKEW = 30, 4
"""Positive values that span more than the first factor, with a median that often below the middle of their range, are
compared by their logarithm: those drawn uniformly from 0 to 1 are not."""


@dataclass(frozen=True)
class TrialRow:
    """A trial.

    Attributes:
        name: tells it from the others: a number, a job's id.
        settings: what it tried, by the names of the table's settings; one that it does not have is absent.
        value: the metric, with its interval where rows were measured; `None` where there is none.
        figures: other numbers that came out, by name.
        state: `stopped early` by a rule, `failed`, `running` or, with its result, `complete`.
        cost_usd: what it cost; `None` when unknown, which is not 0.
    """

    name: str
    settings: Mapping[str, Any]
    value: Interval | None
    figures: Mapping[str, float] = field(default_factory=dict)
    state: Literal["complete", "stopped early", "failed", "running"] = "complete"
    cost_usd: float | None = None


@dataclass(frozen=True)
class ResultSpread:
    """How the results of trials are distributed.

    Attributes:
        trials: with a result.
        least, lower_quartile, median, upper_quartile, most: of the results. A quartile that falls between two results
            is interpolated linearly.
    """

    trials: int
    least: float
    lower_quartile: float
    median: float
    upper_quartile: float
    most: float


@dataclass(frozen=True)
class TriedSetting:
    """A setting that trials differ in.

    Attributes:
        name: of the setting.
        is_choice: whether its values are few and recur, or no numbers.
        is_log: whether numbers are compared by their logarithm.
        values: each distinct value once; numbers by size, then others.
    """

    name: str
    is_choice: bool
    is_log: bool
    values: tuple[Any, ...]

    def place(self, value: Any) -> int:
        """The place of a value among the distinct ones."""
        return self._places[value_key(value)]

    @cached_property
    def _places(self) -> dict[str, int]:
        return {value_key(value): place for place, value in enumerate(self.values)}


@dataclass(frozen=True)
class TrialTable:
    """Trials of one search, or of a table from anywhere.

    Attributes:
        source: what they are from: the name of a sweep, of a file.
        metric: what they are judged by, by its name.
        better: which way is better.
        settings: names of the settings, in order.
        trials: in the order they were made.
        cost: the figure that says what a trial took: `cost_usd`, or one of `figures`, such as trained tokens.
        model_setting: the setting that names the base model, by which points are coloured; `None` where there is none.
        log_settings: settings that are searched by their logarithm.
        notes: sentences a reader should know.
    """

    source: str
    metric: str
    better: Literal["higher", "lower"]
    settings: tuple[str, ...]
    trials: tuple[TrialRow, ...]
    cost: str = "cost_usd"
    model_setting: str | None = None
    log_settings: tuple[str, ...] = ()
    notes: tuple[str, ...] = ()

    @cached_property
    def complete(self) -> tuple[TrialRow, ...]:
        """The trials with a result, in their order."""
        return tuple(one for one in self.trials if one.value is not None and one.state == "complete")

    @cached_property
    def ranked(self) -> tuple[TrialRow, ...]:
        """The trials with a result, the best first."""
        return tuple(sorted(self.complete, key=lambda one: self.loss(result(one))))

    @cached_property
    def spread(self) -> ResultSpread | None:
        """How the results are distributed; `None` without any."""
        if not self.complete:
            return None
        found = np.quantile([result(one) for one in self.complete], (0, 0.25, 0.5, 0.75, 1))
        return ResultSpread(len(self.complete), *map(float, found))

    @cached_property
    def varied(self) -> tuple[TriedSetting, ...]:
        """The settings that trials with a result differ in."""
        found = []
        for name in self.settings:
            given = [one.settings[name] for one in self.complete if name in one.settings]
            distinct = distinct_values(given)
            if len(distinct) > 1:
                numbers = [value for value in given if is_number(value)]
                spans = len(numbers) == len(given) and _is_skewed(numbers)
                is_log = name in self.log_settings or (not self.log_settings and spans)
                found.append(TriedSetting(name, is_choice(given), is_log and min(numbers, default=0) > 0, distinct))
        return tuple(found)

    @property
    def models(self) -> tuple[str, ...]:
        """The base models of the trials with a result, those with most trials first; empty where none is named."""
        name = self.model_setting
        if name is None:
            return ()
        named = [str(one.settings[name]) for one in self.complete if name in one.settings]
        return tuple(sorted(dict.fromkeys(named), key=lambda model: -named.count(model)))

    def loss(self, value: float) -> float:
        """A result with the sign by which less is better."""
        return -value if self.better == "higher" else value

    def cost_of(self, trial: TrialRow) -> float | None:
        """What a trial took, in the unit of `cost`; `None` when unknown."""
        return trial.cost_usd if self.cost == "cost_usd" else trial.figures.get(self.cost)


@dataclass(frozen=True)
class BestCell:
    """A combination of choices that more of the best trials have than chance would put there.

    Attributes:
        settings: the choices, by name.
        best: how many of the best trials have it, of `best_of`.
        trials: how many of all trials have it, of `trials_of`.
        median: of the metric within it.
        elsewhere: median of the metric outside; `None` where every trial lies within.
    """

    settings: Mapping[str, Any]
    best: int
    best_of: int
    trials: int
    trials_of: int
    median: float
    elsewhere: float | None


@dataclass(frozen=True)
class TrialCell:
    """The trials that share a combination of choices.

    Attributes:
        settings: the choices, by name; a setting that the trials do not have is absent.
        results: in no order.
        best: how many of the best trials are among them.
    """

    settings: Mapping[str, Any]
    results: tuple[float, ...]
    best: int


@dataclass(frozen=True)
class BestRegion:
    """Where the best trials lie in one setting.

    Attributes:
        setting: which.
        low, high: least and greatest value of the best trials, of a number; `None` of a choice.
        values: the choices that the best trials have, the most frequent first, each with how many have it.
        narrower: whether they leave out more of what was tried than as many random trials would.
    """

    setting: TriedSetting
    low: float | None
    high: float | None
    values: tuple[tuple[Any, int], ...]
    narrower: bool


def result(trial: TrialRow) -> float:
    """The metric of a trial that has a result."""
    assert trial.value is not None
    return trial.value.value


def best_trials(table: TrialTable) -> tuple[TrialRow, ...]:
    """The best tenth of the trials, at least three; nothing where that would be most of them."""
    count = max(FEWEST_BEST, math.ceil(BEST_SHARE * len(table.ranked)))
    return table.ranked[:count] if 2 * count <= len(table.ranked) else ()


def best_cell(table: TrialTable) -> BestCell | None:
    """The combination of choices that stands out most among the best trials; `None` where none clearly does.

    Choices are added one by one as long as that raises the number of the best trials in the cell beyond what its share
    of all trials would put there: the weighted relative accuracy of subgroup discovery (Lavrac, Flach and Zupan 1999,
    Rule Evaluation Measures). A cell that random trials would fill as well in 5% of cases is none: by the
    hypergeometric distribution, times the number of choices it was taken from (Bonferroni).
    """
    from scipy.stats import hypergeom

    best = {trial.name for trial in best_trials(table)}
    choices: dict[tuple[str, str], set[str]] = {}
    for setting in table.varied:
        for trial in table.complete if setting.is_choice else ():
            if setting.name in trial.settings:
                condition = (setting.name, value_key(trial.settings[setting.name]))
                choices.setdefault(condition, set()).add(trial.name)
    if not best or not choices:
        return None
    expected_share = len(best) / len(table.complete)

    def excess(names: set[str]) -> float:
        return len(names & best) - expected_share * len(names)

    there = {trial.name for trial in table.complete}
    while True:
        smaller = max((there & names for names in choices.values()), key=excess)
        if excess(smaller) <= excess(there) + 1e-9:
            break
        there = smaller
    inside = [trial for trial in table.complete if trial.name in there]
    held = len(there & best)
    by_chance = float(hypergeom.sf(held - 1, len(table.complete), len(inside), len(best)))
    if len(inside) == len(table.complete) or by_chance * len(choices) >= CHANCE:
        return None
    # What all of these trials have in common is part of the cell too.
    shared = [one for one in table.varied if one.is_choice and len(_keys(inside, one.name)) == 1]
    names = [one.name for one in shared if one.name in inside[0].settings]
    outside = [result(trial) for trial in table.complete if trial.name not in there]
    return BestCell(
        settings={name: inside[0].settings[name] for name in names},
        best=held,
        best_of=len(best),
        trials=len(inside),
        trials_of=len(table.complete),
        median=median(map(result, inside)),
        elsewhere=median(outside) if outside else None,
    )


def trial_cells(table: TrialTable, settings: Sequence[str]) -> tuple[TrialCell, ...]:
    """Every combination of the values of some settings that was tried.

    Those with most of the best trials come first, then those with the better median.
    """
    best = {trial.name for trial in best_trials(table)}
    groups: dict[str, list[TrialRow]] = {}
    for trial in table.complete:
        groups.setdefault(_cell(trial, settings), []).append(trial)
    cells = [
        TrialCell(
            {name: group[0].settings[name] for name in settings if name in group[0].settings},
            tuple(map(result, group)),
            sum(trial.name in best for trial in group),
        )
        for group in groups.values()
    ]
    return tuple(sorted(cells, key=lambda one: (-one.best, table.loss(median(one.results)))))


def best_regions(table: TrialTable) -> tuple[BestRegion, ...]:
    """Where the best tenth of the trials lies in each setting; nothing where too few trials show it."""
    best = best_trials(table)
    found = []
    for setting in table.varied if best else ():
        given = [trial.settings[setting.name] for trial in best if setting.name in trial.settings]
        every = [trial.settings[setting.name] for trial in table.complete if setting.name in trial.settings]
        if not given:
            continue
        count = len(given)
        if setting.is_choice:
            counts = Counter(map(value_key, given))
            values = sorted(distinct_values(given), key=lambda value: -counts[value_key(value)])
            share = sum(value_key(value) in counts for value in every) / len(every)
            counted = tuple((value, counts[value_key(value)]) for value in values)
            found.append(BestRegion(setting, None, None, counted, share**count < CHANCE))
        else:
            low, high = min(given), max(given)
            share = sum(low <= value <= high for value in every) / len(every)
            # The chance that so many random trials span no more than this share (David and Nagaraja 2003, Order
            # Statistics, section 2.3).
            by_chance = count * share ** (count - 1) - (count - 1) * share**count
            found.append(BestRegion(setting, low, high, (), by_chance < CHANCE))
    return tuple(found)


def is_choice(values: Sequence[Any]) -> bool:
    """Whether values are few and recur, or are no numbers.

    Examples:
        >>> is_choice(["a", 1]), is_choice([4, 8, 4, 8]), is_choice([0.1, 0.2, 0.3])
        (True, True, False)
    """
    distinct = len(set(map(value_key, values)))
    return not all(map(is_number, values)) or distinct <= min(MOST_DISTINCT, len(values) // 2)


def distinct_values(values: Iterable[Any]) -> tuple[Any, ...]:
    """Each value once: numbers by size, then the others."""
    given = list(values)
    known = {value_key(value): value for value in given}
    numbers = sorted(value for value in known.values() if is_number(value))
    return (*numbers, *(known[key] for key in sorted(known) if not is_number(known[key])))


def value_key(value: Any) -> str:
    """What tells values of a setting apart: a choice may be a block, which has no hash.

    Examples:
        >>> value_key(10) == value_key(10.0), value_key(10) == value_key("10")
        (True, False)
    """
    if is_number(value) and float(value).is_integer():
        return str(int(value))
    return json.dumps(value, sort_keys=True, ensure_ascii=False, default=str)


def is_number(value: Any) -> bool:
    """Whether it is one that lies on an axis; `True` and NaN are none."""
    return isinstance(value, int | float) and not isinstance(value, bool) and math.isfinite(value)


def undominated(losses: Sequence[Sequence[float]]) -> list[bool]:
    """Whether no other point beats each one: by being nowhere worse and somewhere better, where less is better.

    Examples:
        >>> undominated([(1, 2), (1, 3), (1, 2), (0, 5)])
        [True, False, True, True]
    """
    return [not any(_dominates(other, one) for other in losses) for one in losses]


def _dominates(one: Sequence[float], other: Sequence[float]) -> bool:
    return all(a <= b for a, b in zip(one, other, strict=True)) and tuple(one) != tuple(other)


def _is_skewed(numbers: Sequence[float]) -> bool:
    low, high = min(numbers), max(numbers)
    return low > 0 and high / low > LOG_SPAN and (low + high) / 2 > LOG_SKEW * median(numbers)


def _keys(trials: Sequence[TrialRow], setting: str) -> set[str]:
    """The values of a setting, with an empty one for trials that do not have it."""
    return {value_key(trial.settings[setting]) if setting in trial.settings else "" for trial in trials}


def _cell(trial: TrialRow, settings: Sequence[str]) -> str:
    """What is equal for trials with the same values of some settings; a setting that a trial does not have is one."""
    return value_key([[trial.settings[name]] if name in trial.settings else [] for name in settings])
