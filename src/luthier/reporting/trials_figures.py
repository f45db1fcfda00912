"""Figures of trials: the distribution of results, each setting against the result, all of them together, importance."""

from __future__ import annotations

import itertools
import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from statistics import median
from typing import Any, Literal

import numpy as np

from luthier.engine.report import counted
from luthier.evaluation.setting_importance import ImportanceOfSettings
from luthier.evaluation.trials import (
    TrialRow,
    TrialTable,
    TriedSetting,
    is_number,
    result,
    undominated,
    value_key,
)
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
from luthier.reporting.charts.scales import beside
from luthier.reporting.numbers import Unit, interval, metric_format, metric_title, number, printable
from luthier.reporting.setting_words import distinct_labels, setting_names, written_settings, written_value

__all__ = [
    "FrontPoint",
    "cost_scale",
    "distribution_chart",
    "front_marks",
    "frontier_chart",
    "importance_strips",
    "parallel_chart",
    "result_title",
    "result_unit",
    "setting_charts",
    "told_of",
    "trial_name",
]

MOST_MODELS = 8
"""Base models that have a colour and shape of their own; where there are more, those with fewest trials share one."""

OTHER_MODELS = "other models"

JITTER = 0.6
"""Part of the room of a choice that its points are spread over: 103 trials of one cell would be one dot."""

MOST_BARS, FEWEST_BARS = 24, 5

MOST_SAID = 5
"""Choices whose medians are all said; of more the highest and the lowest are."""

FEWEST_IN_PART = 5
"""Trials in a part of a number's range below which its median is not drawn."""

MOST_TOLD = 3000
"""Points of the figures of all settings up to which each says its trial; more would make a page of megabytes."""

LOG_SPAN = 30
"""Costs that span more than this factor are drawn on a logarithmic axis."""

LABEL = 24
"""Characters of a choice beneath an axis."""

Turned = Callable[[Any], float]

FrontPoint = tuple[float, float, str]
"""What a trial took and reached, and what is said of it."""


def result_title(table: TrialTable) -> str:
    """The metric's title."""
    return "cost of the trial" if table.metric == "cost_usd" else metric_title(table.metric)


def result_unit(table: TrialTable) -> Unit:
    """How results are written: with three decimals, as the best trials differ in the third."""
    unit: Unit = "usd" if table.metric == "cost_usd" else metric_format(table.metric)
    return "fine" if unit in ("share", "number") else unit


def trial_name(trial: TrialRow) -> str:
    """What a trial is called in a sentence."""
    name = printable(trial.name)
    return f"trial {name}" if name.isdigit() else name


def told_of(table: TrialTable, trial: TrialRow) -> str:
    """What is said of a trial where a pointer rests on it: the same in every figure."""
    reached = trial.state if trial.value is None else interval(trial.value, result_unit(table))
    parts = [f"{trial_name(trial)}: {result_title(table)} {reached}", written_settings(trial.settings)]
    parts += [dollars(trial.cost_usd)] if trial.cost_usd is not None else []
    return "; ".join(filter(None, parts))


def distribution_chart(table: TrialTable, *, title: str = "") -> Chart | None:
    """How many trials reached how much, with the lowest, the median and the best marked; `None` without results."""
    spread = table.spread
    if spread is None:
        return None
    unit = result_unit(table)
    values = [result(one) for one in table.complete]
    count = len(np.histogram_bin_edges(values, "auto")) - 1
    edges = np.histogram_bin_edges(values, min(MOST_BARS, max(FEWEST_BARS, count)))
    base = np.zeros(len(edges) - 1)
    marks: list[Mark] = []
    looks = _looks(table)
    for model, look in looks.items():
        group = [result(one) for one in table.complete if _model(table, one, looks) == model]
        heights, _ = np.histogram(group, bins=edges)
        whose = f"{printable(model)}: " if model else ""
        told = tuple(
            f"{whose}{counted(height, 'trial')} from {number(low, unit)} to {number(high, unit)}"
            for height, (low, high) in zip(heights.tolist(), itertools.pairwise(edges.tolist()), strict=True)
        )
        sizes = tuple(map(float, heights))
        marks.append(Bars(tuple(map(float, edges)), sizes, tuple(map(float, base)), printable(model), look, told))
        base = base + heights
    best, worst = (spread.most, spread.least) if table.better == "higher" else (spread.least, spread.most)
    marks += [
        Rule(worst, f"{'lowest' if table.better == 'higher' else 'highest'} {number(worst, unit)}", "x"),
        Rule(spread.median, f"median {number(spread.median, unit)}", "x", "dashed"),
        Rule(best, f"best {number(best, unit)}", "x"),
    ]
    said = (
        f"{counted(spread.trials, 'trial')} reached {result_title(table)} from {number(spread.least, unit)} to "
        f"{number(spread.most, unit)}, with the median at {number(spread.median, unit)}. The middle half of them lies "
        f"between {number(spread.lower_quartile, unit)} and {number(spread.upper_quartile, unit)}."
    )
    # Room above the bars for what is written at the lines.
    x, y = Axis(_titled(table), unit), Axis("trials", "count", range=(0.0, 1.2 * float(base.max())))
    return Chart(title, said, x, y, tuple(marks), height=220)


def setting_charts(table: TrialTable) -> tuple[Chart, ...]:
    """The result against each setting that differs: a point per trial, coloured by base model, and medians."""
    names = setting_names(table.settings)
    return tuple(_setting_chart(table, one, printable(names[one.name])) for one in table.varied)


def parallel_chart(table: TrialTable, *, title: str = "") -> Parallel | None:
    """An axis per setting that differs and one of the result, a line per trial; `None` for fewer than two settings."""
    trials = table.ranked[::-1]
    if len(table.varied) < 2 or len(trials) < 2:
        return None
    names, unit = setting_names(table.settings), result_unit(table)
    placed = [_parallel_axis(setting, printable(names[setting.name])) for setting in table.varied]
    values = [result(one) for one in trials]
    low, high = min(values), max(values)
    ends = [(0.0, number(low, unit)), (1.0, number(high, unit))] if high > low else [(0.5, number(low, unit))]
    axes = (*(axis for axis, _ in placed), ParallelAxis(_titled(table), tuple(ends)))
    looks = _looks(table)
    lines = []
    for place, one in enumerate(trials):
        at = [
            where(one.settings[setting.name]) if setting.name in one.settings else None
            for setting, (_, where) in zip(table.varied, placed, strict=True)
        ]
        at.append((result(one) - low) / (high - low) if high > low else 0.5)
        look = looks[_model(table, one, looks)]
        lines.append(ParallelLine(tuple(at), told_of(table, one), place / (len(trials) - 1), look))
    said = (
        "A line is a trial, from the values of its settings to its result: the better, the stronger. Drag along an "
        "axis to see only the trials that pass there."
    )
    return Parallel(title, said, axes, tuple(lines), legend=tuple(printable(model) for model in looks if model))


def importance_strips(
    found: ImportanceOfSettings | None, names: Sequence[str] = (), *, title: str = ""
) -> Strips | None:
    """How much each setting matters, with its interval, beneath all of them together; `None` where that is not known.

    Args:
        found: what was measured.
        names: every setting of the table, so that a short name tells one from the others.
        title: of the figure.
    """
    if found is None:
        return None
    short = setting_names([*names, *(one.setting for one in found.settings)])
    strips = [Strip("all settings together", interval=found.explained)]
    strips += [Strip(printable(short[one.setting]), interval=one.share) for one in found.settings]
    axis = Axis("share of the differences between results that depends on it", "percent")
    first = found.settings[0]
    certain = [printable(short[one.setting]) for one in found.settings if one.is_certain]
    if not found.is_certain:
        said = (
            f"The settings predict the results of {counted(found.trials, 'trial')} no better than their mean does: "
            "what looks like an effect of a setting may be chance. More trials may show one."
        )
    else:
        said = (
            f"Together the settings predict {interval(found.explained, 'percent')} of the differences between results; "
            f"the rest is chance, or depends on what the table does not say. What matters most is "
            f"{printable(short[first.setting])}: {interval(first.share, 'percent')} depends on it."
        )
        others = [printable(short[one.setting]) for one in found.settings if not one.is_certain]
        said += f" Not told from chance: {', '.join(others)}." if others and certain else ""
    return Strips(title, said, axis, tuple(strips), (Rule(0.0),))


def frontier_chart(table: TrialTable, *, title: str = "") -> Chart | None:
    """What a trial took against its result, with a line through those that no other beats in both.

    `None` where fewer than two costs are known.
    """
    points = [(cost, one) for one in table.complete if (cost := table.cost_of(one)) is not None]
    costs = [cost for cost, _ in points]
    if len(set(costs)) < 2:
        return None
    on = undominated([(cost, table.loss(result(one))) for cost, one in points])
    front = sorted(
        (pair for pair, kept in zip(points, on, strict=True) if kept), key=lambda pair: (pair[0], pair[1].name)
    )
    rest = [pair for pair, kept in zip(points, on, strict=True) if not kept]
    what, unit = _cost_axis(table)
    axis = Axis(f"{what} (lower is better)", unit, cost_scale(costs))
    marks = front_marks(_points(table, front), _points(table, rest))
    return Chart(title, _frontier_said(table, front), axis, Axis(_titled(table), result_unit(table)), marks)


def front_marks(front: Sequence[FrontPoint], rest: Sequence[FrontPoint]) -> tuple[Mark, ...]:
    """The trials that no other one beats in two values, joined by a line, before those that are beaten.

    Args:
        front: by ascending cost, so that a step holds until more is paid.
        rest: the others.
    """
    x, y, told = zip(*front, strict=True)
    line = Curve(x, y, look=1, stepped=True)
    best = Dots(x, y, "no trial beats it in both", 1, told, large=True)
    if not rest:
        return line, best
    x, y, told = zip(*rest, strict=True)
    return Dots(x, y, "other trials", 0, told), line, best


def cost_scale(costs: Sequence[float]) -> Literal["linear", "log"]:
    """The scale of an axis of costs: logarithmic where they span much."""
    return "log" if costs and min(costs) > 0 and max(costs) / min(costs) > LOG_SPAN else "linear"


def _frontier_said(table: TrialTable, front: Sequence[tuple[float, TrialRow]]) -> str:
    (cheapest, first), (dearest, best) = front[0], front[-1]

    def both(cost: float, trial: TrialRow) -> str:
        return f"{number(result(trial), result_unit(table))} for {_taken(table, cost)}"

    if len(front) == 1:
        return f"{_capital(trial_name(best))} is best in both: {both(dearest, best)}."
    return f"No trial beats those on the line in both: from {both(cheapest, first)} to {both(dearest, best)}."


def _setting_chart(table: TrialTable, setting: TriedSetting, name: str) -> Chart:
    trials = [one for one in table.complete if setting.name in one.settings]
    x = Axis(name, "number", "log" if setting.is_log else "linear")
    if setting.is_choice:
        labels = distinct_labels(setting.values, LABEL)
        x = Axis(name, scale="category", categories=tuple(labels[value_key(value)] for value in setting.values))
    marks: list[Mark] = []
    is_told = len(table.complete) * len(table.varied) <= MOST_TOLD
    shift = _spread_by_value(setting, trials) if setting.is_choice else {}
    looks = _looks(table)
    for model, look in looks.items():
        group = [one for one in trials if _model(table, one, looks) == model]
        if not group:
            continue
        across = [
            setting.place(one.settings[setting.name]) + shift[one.name]
            if setting.is_choice
            else float(one.settings[setting.name])
            for one in group
        ]
        told = tuple(told_of(table, one) for one in group) if is_told else ()
        marks.append(Dots(tuple(across), tuple(map(result, group)), printable(model), look, told))
    strokes = [stroke for stroke in _medians(setting, trials) if stroke]
    gap = (math.nan, math.nan)
    joined = [point for low, high, middle in strokes for point in ((low, middle), (high, middle), gap)][:-1]
    if joined:
        marks.append(Curve(tuple(x for x, _ in joined), tuple(y for _, y in joined), "median", None, weight="thick"))
    return Chart(name, _setting_said(table, setting, trials), x, Axis(_titled(table), result_unit(table)), tuple(marks))


def _medians(setting: TriedSetting, trials: Sequence[TrialRow]) -> Iterator[tuple[float, float, float]]:
    """Where a median is drawn: from where to where, and how high. Of numbers, in parts with equally many trials."""
    if setting.is_choice:
        for place, value in enumerate(setting.values):
            key = value_key(value)
            found = [result(one) for one in trials if value_key(one.settings[setting.name]) == key]
            if found:
                yield place - JITTER / 2, place + JITTER / 2, median(found)
        return
    for part in _parts(setting, trials):
        if len(part) >= FEWEST_IN_PART:
            places = [float(one.settings[setting.name]) for one in part]
            yield places[0], places[-1], median(map(result, part))


def _parts(setting: TriedSetting, trials: Sequence[TrialRow]) -> list[list[TrialRow]]:
    """The trials in the thirds of their values of a number."""
    ordered = sorted(trials, key=lambda one: float(one.settings[setting.name]))
    cuts = [round(len(ordered) * place / 3) for place in range(4)]
    return [ordered[low:high] for low, high in itertools.pairwise(cuts)]


def _setting_said(table: TrialTable, setting: TriedSetting, trials: Sequence[TrialRow]) -> str:
    """What the figure shows: medians by value."""
    unit, title = result_unit(table), result_title(table)
    if not setting.is_choice:
        parts = [median(map(result, part)) for part in _parts(setting, trials) if len(part) >= FEWEST_IN_PART]
        if len(parts) < 3:
            return f"{counted(len(trials), 'trial')}, each a point: too few to say how {title} goes with it."
        low, middle, high = (number(value, unit) for value in parts)
        where = "in the lowest third of the values tried"
        return f"Median {title}: {low} {where}, {middle} in the middle third, {high} in the highest."
    labels = distinct_labels(setting.values, LABEL)
    groups: dict[str, list[float]] = {key: [] for key in labels}
    for one in trials:
        groups[value_key(one.settings[setting.name])].append(result(one))
    medians = [(labels[key], median(found), len(found)) for key, found in groups.items() if found]

    def said(part: tuple[str, float, int], *, first: bool) -> str:
        label, value, count = part
        return f"{number(value, unit)} at {label} ({counted(count, 'trial') if first else f'{count:,}'})"

    if len(medians) <= MOST_SAID:
        return f"Median {title}: {', '.join(said(part, first=not place) for place, part in enumerate(medians))}."
    ordered = sorted(medians, key=lambda part: table.loss(part[1]))
    return f"Best median {title}: {said(ordered[0], first=True)}; worst: {said(ordered[-1], first=False)}."


def _spread_by_value(setting: TriedSetting, trials: Sequence[TrialRow]) -> dict[str, float]:
    """How far beside its choice each trial is drawn, by name: those of one choice evenly, whatever their model."""
    counts: dict[str, int] = {}
    shifts = {}
    for one in trials:
        key = value_key(one.settings[setting.name])
        place = counts[key] = counts.get(key, 0) + 1
        shifts[one.name] = beside(place) * JITTER if place > 1 else 0.0
    return shifts


def _parallel_axis(setting: TriedSetting, title: str) -> tuple[ParallelAxis, Turned]:
    if setting.is_choice:
        last = max(1, len(setting.values) - 1)
        labels = distinct_labels(setting.values, LABEL)
        ticks = tuple((place / last, labels[value_key(value)]) for place, value in enumerate(setting.values))
        return ParallelAxis(title, ticks, is_choice=True), lambda value: setting.place(value) / last
    turned: Turned = math.log if setting.is_log else float
    numbers = [value for value in setting.values if is_number(value)]
    low, high = turned(min(numbers)), turned(max(numbers))
    ends = ((0.0, written_value(min(numbers))), (1.0, written_value(max(numbers))))
    return ParallelAxis(title, ends), lambda value: (turned(value) - low) / (high - low)


def _looks(table: TrialTable) -> dict[str, int]:
    """The look of each base model; one look without a name where trials have one model or none."""
    models = table.models
    if len(models) < 2:
        return {"": 0}
    unnamed = any(table.model_setting not in one.settings for one in table.complete)
    if len(models) + unnamed <= MOST_MODELS:
        kept = {model: look for look, model in enumerate(models)}
        return kept | ({OTHER_MODELS: len(kept)} if unnamed else {})
    return {model: look for look, model in enumerate((*models[: MOST_MODELS - 1], OTHER_MODELS))}


def _model(table: TrialTable, trial: TrialRow, looks: Mapping[str, int]) -> str:
    """The name under which a trial's base model has its look."""
    if "" in looks:
        return ""
    model = str(trial.settings.get(table.model_setting or "", OTHER_MODELS))
    return model if model in looks else OTHER_MODELS


def _points(table: TrialTable, points: Sequence[tuple[float, TrialRow]]) -> list[FrontPoint]:
    return [(cost, result(one), f"{told_of(table, one)}{_told_cost(table, cost)}") for cost, one in points]


def _told_cost(table: TrialTable, cost: float) -> str:
    return "" if table.cost == "cost_usd" else f"; {_taken(table, cost)}"


def _taken(table: TrialTable, cost: float) -> str:
    """What a trial took, with its unit."""
    if table.cost == "cost_usd":
        return dollars(cost)
    name, unit = _cost_axis(table)
    return number(cost, unit) if unit == "seconds" else f"{number(cost, unit)} {name}"


def _cost_axis(table: TrialTable) -> tuple[str, Unit]:
    if table.cost == "cost_usd":
        return "cost of the trial, $", "usd"
    name = printable(table.cost.rpartition(".")[2].replace("_", " "))
    values = [cost for one in table.complete if (cost := table.cost_of(one)) is not None]
    return name, "count" if all(float(value).is_integer() for value in values) else "number"


def _titled(table: TrialTable) -> str:
    return f"{result_title(table)} ({table.better} is better)"


def _capital(text: str) -> str:
    return text[:1].upper() + text[1:]
