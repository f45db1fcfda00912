"""Figures of trials: the distribution of results, each setting against the result, all settings together."""

from __future__ import annotations

import itertools
import math
from collections.abc import Callable, Sequence
from statistics import median
from typing import Any

from luthier.evaluation.setting_importance import ImportanceOfSettings
from luthier.evaluation.trials import TrialRow, TrialTable, TriedSetting, dominates, is_number, result, value_key
from luthier.providers.prices import dollars
from luthier.reporting.charts.chart import (
    Axis,
    Bars,
    Chart,
    Curve,
    Dots,
    Mark,
    Parallel,
    ParallelAxis,
    ParallelLine,
    Rule,
    Strip,
    Strips,
)
from luthier.reporting.numbers import Unit, interval, metric_format, metric_title, number, printable
from luthier.reporting.setting_words import distinct_labels, short_names, written_settings, written_value

__all__ = [
    "distribution_chart",
    "frontier_chart",
    "importance_strips",
    "parallel_chart",
    "result_title",
    "result_unit",
    "setting_charts",
    "told_of",
]

MOST_MODELS = 8
"""Base models that have a colour and shape of their own; those with fewest trials are `others`."""

JITTER = 0.56
"""Part of the room of a choice that its points are spread over: 103 trials of one cell would be one dot."""

GOLDEN = 0.618034
MOST_BARS, FEWEST_BARS = 24, 5


def result_title(table: TrialTable) -> str:
    """The metric's title."""
    return "cost of the trial" if table.metric == "cost_usd" else metric_title(table.metric)


def result_unit(table: TrialTable) -> Unit:
    """How results are written: with three decimals, as the best trials differ in the third."""
    unit: Unit = "usd" if table.metric == "cost_usd" else metric_format(table.metric)
    return "fine" if unit in ("share", "number") else unit


def told_of(table: TrialTable, trial: TrialRow) -> str:
    """What is said of a trial where a pointer rests on it."""
    reached = trial.state if trial.value is None else number(trial.value.value, result_unit(table))
    parts = [f"{printable(trial.name)}: {result_title(table)} {reached}", written_settings(trial.settings)]
    parts += [dollars(trial.cost_usd)] if trial.cost_usd is not None else []
    return "; ".join(filter(None, parts))


def distribution_chart(table: TrialTable) -> Chart:
    """How many trials reached how much, with the lowest, the median and the best marked."""
    import numpy as np

    values = [result(one) for one in table.complete]
    unit, title = result_unit(table), result_title(table)
    edges = np.histogram_bin_edges(values, "auto")
    count = min(MOST_BARS, max(FEWEST_BARS, len(edges) - 1))
    heights, edges = np.histogram(values, bins=count)
    bars = [float(edge) for edge in edges]
    told = [
        f"{height:,} {'trial' if height == 1 else 'trials'} from {number(low, unit)} to {number(high, unit)}"
        for height, (low, high) in zip(heights.tolist(), itertools.pairwise(bars), strict=True)
    ]
    middle, best = median(values), result(table.ranked[0])
    said = (
        f"{len(values):,} trials by their {title}: from {number(min(values), unit)} to {number(max(values), unit)}, "
        f"half of them below {number(middle, unit)}."
    )
    marks: list[Mark] = [Bars(tuple(bars), tuple(float(height) for height in heights), told=tuple(told))]
    marks += [Rule(middle, f"median {number(middle, unit)}", "x", "dashed")]
    marks += [Rule(best, f"best {number(best, unit)}", "x")]
    return Chart(
        "", said, Axis(_titled(table), unit), Axis("trials", "count", from_zero=True), tuple(marks), height=220
    )


def setting_charts(table: TrialTable) -> tuple[Chart, ...]:
    """The result against each setting that differs, coloured by base model; a point per trial."""
    names = short_names(table.settings)
    return tuple(_setting_chart(table, one, names[one.name]) for one in table.varied)


def frontier_chart(table: TrialTable, *, title: str = "") -> Chart | None:
    """Cost against the result, with a line through those that no other beats in both; `None` without two costs."""
    trials = [one for one in table.complete if table.cost_of(one) is not None]
    costs = [table.cost_of(one) or 0.0 for one in trials]
    if len(set(costs)) < 2:
        return None
    sign = -1 if table.better == "higher" else 1
    points = [(cost, sign * result(one)) for cost, one in zip(costs, trials, strict=True)]
    on = [not any(dominates(other, point) for other in points) for point in points]
    front = sorted((cost, one.name, one) for cost, one, kept in zip(costs, trials, on, strict=True) if kept)
    rest = [one for one, kept in zip(trials, on, strict=True) if not kept]
    line = Curve(tuple(cost for cost, *_ in front), tuple(result(one) for *_, one in front), look=1, stepped=True)
    best = [one for *_, one in front]
    marks: list[Mark] = [line]
    marks += [_points(table, rest, "other trials", 0)] if rest else []
    marks += [_points(table, best, "nothing beats it in both", 3)]
    return Chart(
        title,
        "Up and to the left is better: the line joins the trials that no other one beats in both cost and result.",
        Axis("cost of the trial, US dollars", "usd")
        if table.cost == "cost_usd"
        else Axis(printable(table.cost), "count"),
        Axis(_titled(table), result_unit(table)),
        tuple(marks),
    )


def importance_strips(found: ImportanceOfSettings, *, title: str = "") -> Strips:
    """How much each setting matters, with its interval."""
    names = short_names([one.setting for one in found.settings])
    said = (
        "What predictions of the results lose without a setting, as a share of the variance. All settings together "
        f"predict {interval(found.explained, 'percent')} of it; the rest is chance or was not tried."
    )
    if not found.is_certain:
        said = "The settings do not predict the results better than their mean does, so no setting is shown to matter."
    strips = tuple(Strip(printable(names[one.setting]), interval=one.share) for one in found.settings)
    axis = Axis("share of the variance that predictions lose without the setting", "percent")
    return Strips(title, said, axis, strips, (Rule(0.0),))


def parallel_chart(table: TrialTable, *, title: str = "") -> Parallel | None:
    """An axis per setting that differs and one of the result, a line per trial; `None` for fewer than two settings."""
    trials = table.ranked[::-1]
    if len(table.varied) < 2 or len(trials) < 2:
        return None
    names, unit = short_names(table.settings), result_unit(table)
    placed = [_parallel_axis(setting, printable(names[setting.name])) for setting in table.varied]
    values = [result(one) for one in trials]
    low, high = min(values), max(values)
    ends = [(0.0, number(low, unit)), (1.0, number(high, unit))] if high > low else [(0.5, number(low, unit))]
    axes = (*(axis for axis, _ in placed), ParallelAxis(result_title(table), tuple(ends)))
    looks = _looks(table)
    lines = []
    for place, one in enumerate(trials):
        at = [
            where(one.settings[setting.name]) if setting.name in one.settings else None
            for setting, (_, where) in zip(table.varied, placed, strict=True)
        ]
        at.append((result(one) - low) / (high - low) if high > low else 0.5)
        strength = place / (len(trials) - 1)
        lines.append(ParallelLine(tuple(at), told_of(table, one), strength, looks.get(_model(table, one), 0)))
    said = (
        "A line per trial through the values of its settings to its result: the better, the stronger. Drag along an "
        "axis to see only the trials that pass there."
    )
    return Parallel(title, said, axes, tuple(lines), legend=tuple(looks))


def _setting_chart(table: TrialTable, setting: TriedSetting, name: str) -> Chart:
    trials = [one for one in table.complete if setting.name in one.settings]
    unit = result_unit(table)
    x = Axis(printable(name), "number", "log" if setting.is_log else "linear")
    if setting.is_choice:
        labels = distinct_labels(setting.values, 24)
        x = Axis(printable(name), scale="category", categories=tuple(labels[value_key(v)] for v in setting.values))
    marks = []
    for model, look in (_looks(table) or {"": 0}).items():
        group = [one for one in trials if not model or _model(table, one) == model]
        if group:
            across = tuple(_across(setting, one, place) for place, one in enumerate(group))
            ups = tuple(result(one) for one in group)
            told = tuple(told_of(table, one) for one in group)
            marks.append(Dots(across, ups, printable(model), look, told))
    return Chart(printable(name), _setting_said(table, setting, trials), x, Axis(_titled(table), unit), tuple(marks))


def _setting_said(table: TrialTable, setting: TriedSetting, trials: Sequence[TrialRow]) -> str:
    """The median at each choice; of a number, how the result goes with it."""
    unit = result_unit(table)
    if setting.is_choice and len(setting.values) <= 6:
        labels = distinct_labels(setting.values, 24)
        groups = [
            (label, [result(one) for one in trials if value_key(one.settings[setting.name]) == key])
            for key, label in labels.items()
        ]
        parts = [f"{number(median(found), unit)} at {label} ({len(found):,})" for label, found in groups if found]
        return f"Median by value, with the number of trials: {', '.join(parts)}."
    if setting.is_choice:
        return "Each point is a trial; points of one value are spread so that their number shows."
    from scipy.stats import spearmanr

    found = float(spearmanr([one.settings[setting.name] for one in trials], [result(one) for one in trials]).statistic)
    way = "higher" if found > 0 else "lower"
    if not math.isfinite(found) or abs(found) < 0.1:
        return "Over the whole range the result neither rises nor falls with it."
    return f"Results tend to be {way} where it is larger (rank correlation {number(found, 'share')})."


def _across(setting: TriedSetting, trial: TrialRow, place: int) -> float:
    value = trial.settings[setting.name]
    if not setting.is_choice:
        return float(value)
    return setting.place(value) + ((place * GOLDEN) % 1 - 0.5) * JITTER


def _parallel_axis(setting: TriedSetting, title: str) -> tuple[ParallelAxis, Callable[[Any], float]]:
    if setting.is_choice:
        last = max(1, len(setting.values) - 1)
        labels = distinct_labels(setting.values, 18)
        ticks = tuple((place / last, labels[value_key(value)]) for place, value in enumerate(setting.values))
        return ParallelAxis(title, ticks, is_choice=True), lambda value: setting.place(value) / last
    turned: Callable[[float], float] = math.log if setting.is_log else float
    numbers = [value for value in setting.values if is_number(value)]
    low, high = turned(min(numbers)), turned(max(numbers))
    ends = tuple((float(end), written_value(value)) for end, value in ((0, min(numbers)), (1, max(numbers))))
    return ParallelAxis(title, ends), lambda value: (turned(value) - low) / (high - low)


def _looks(table: TrialTable) -> dict[str, int]:
    """The look of each base model; nothing where trials have one or none."""
    models = table.models
    if len(models) < 2:
        return {}
    kept = models if len(models) <= MOST_MODELS else models[: MOST_MODELS - 1]
    return {model: look for look, model in enumerate(kept)} | (
        {} if len(kept) == len(models) else {"others": MOST_MODELS - 1}
    )


def _model(table: TrialTable, trial: TrialRow) -> str:
    looks = _looks(table)
    name = table.model_setting
    model = str(trial.settings[name]) if name is not None and name in trial.settings else ""
    return model if model in looks else "others" if "others" in looks else ""


def _points(table: TrialTable, trials: Sequence[TrialRow], name: str, look: int) -> Dots:
    return Dots(
        tuple(table.cost_of(one) or 0.0 for one in trials),
        tuple(result(one) for one in trials),
        name,
        look,
        tuple(told_of(table, one) for one in trials),
        large=look == 3,
    )


def _titled(table: TrialTable) -> str:
    return f"{result_title(table)} ({table.better} is better)"
