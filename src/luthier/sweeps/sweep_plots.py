"""Figures of a sweep's settings, as plotly objects: for one trial as for hundreds, without WebGL and without a network.

Plotly's own parallel coordinates are drawn by WebGL programs that a page's policy forbids, so lines of a scatter stand
in for them.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from luthier.evaluation.trials import is_number, value_key
from luthier.providers.prices import dollars
from luthier.reporting.numbers import number, printable
from luthier.reporting.plots import BLUE, COLOURS, FILL, INK, axis_label, drawn, plain, scatter_trace
from luthier.reporting.setting_words import distinct_labels, short_names, written_settings, written_value
from luthier.sweeps.study_state import StudyState
from luthier.sweeps.sweep_words import STATUS_WORDS, figure_title, figure_unit, written_values
from luthier.sweeps.trial import SweepObjective, SweepTrial

if TYPE_CHECKING:
    import plotly.graph_objects as go

__all__ = [
    "parallel_figure",
    "setting_figures",
]

STOPPED = COLOURS[1]
"""Colour of what early stopping ended; a cross as well, for who sees no colours."""

STRENGTHS = (0.2, 0.3, 0.45, 0.65, 0.95)
"""Opacity of the lines from the worst fifth of the trials to the best: it stands out in every theme."""

MANY = 120
"""Above so many lines they are thin and have no dots."""

MOST_DISTINCT = 12
"""A number with more values than this has a continuous axis; one with few that recur, as a batch size, is a choice."""

JITTER = 0.16
"""Share of the room between two values on a parallel axis that lines of one choice are spread over."""

LOG_SPAN = 30
"""Values that span more than this factor are drawn on a logarithmic axis."""

CHIP, CHIP_INK = "rgba(241,246,251,0.85)", "#10202f"
"""Ground and ink of the values beside an axis that lines pass: pale and dark in every theme."""

CHARACTERS = 160
"""Characters that have room beside each other on a page; parallel axes share them."""

SMALL_HEIGHT = 300

Trace = dict[str, Any]


@dataclass(frozen=True)
class _Axis:
    """Where values of a setting lie between 0 and 1, and which of them are written."""

    place: Callable[[Any], float]
    ticks: tuple[tuple[float, str], ...]
    is_choice: bool


def setting_figures(state: StudyState) -> list[tuple[str, go.Figure]]:
    """Each setting that differs against the objective, with the setting's name: a box per choice, dots for numbers."""
    trials = [trial for trial in state.ranked if trial.status == "complete" and trial.values]
    names = short_names(state.paths)
    found = []
    for path in state.paths:
        given = [trial for trial in trials if path in trial.settings]
        if len({value_key(trial.settings[path]) for trial in given}) > 1:
            found.append((printable(names[path]), _setting_figure(state, path, given)))
    return found


def parallel_figure(state: StudyState) -> go.Figure | None:
    """An axis per setting that differs and one of the objective, a line per complete trial.

    `None` where fewer than two settings differ.
    """
    trials = [trial for trial in reversed(state.ranked) if trial.status == "complete" and trial.values]
    paths = [path for path in state.paths if len({value_key(one.settings.get(path)) for one in trials}) > 1]
    if len(paths) < 2 or len(trials) < 2:
        return None
    names, aim = short_names(state.paths), state.facts.objectives[0]
    room = max(5, min(18, CHARACTERS // (len(paths) + 1) - 2))
    axes = [_axis(state, path, [one.settings[path] for one in trials if path in one.settings], room) for path in paths]
    values = [one.values[0] for one in trials]
    unit = figure_unit(aim.metric)
    reach = _scale(values, is_log=False)
    axes.append(
        _Axis(reach, tuple((reach(end), number(end, unit)) for end in sorted({min(values), max(values)})), False)
    )
    traces: list[Trace] = []
    for place, group in enumerate(_fifths(trials)):
        look = {"color": f"rgba(61,133,198,{STRENGTHS[place]})", "width": 0.8 if len(trials) > MANY else 1.4}
        traces.append(_lines(group, paths, axes, state, look, dots=len(trials) <= MANY))
    traces.append(
        _lines([one for one in trials if one is state.best], paths, axes, state, {"color": STOPPED, "width": 3.5})
    )
    figure = drawn(
        [one for one in traces if one["x"]],
        x={
            "tickvals": list(range(len(axes))),
            "ticktext": [axis_label(names[path]) for path in paths] + [axis_label(figure_title(aim.metric))],
            "range": [-0.25, len(axes) - 0.45],
            "side": "top",
            "showgrid": False,
        },
        y={"visible": False, "range": [-0.1, 1.1]},
        height=460,
    )
    for place, axis in enumerate(axes):
        figure.add_vline(x=place, line={"color": INK, "width": 1})
        for height, text in axis.ticks:
            figure.add_annotation(
                x=place,
                y=height,
                text=plain(text),
                showarrow=False,
                xanchor="left",
                xshift=4,
                borderpad=1,
                bgcolor=CHIP,
                font={"color": CHIP_INK, "size": 11},
            )
    return figure.update_layout(margin={"l": 20, "r": 60, "t": 60, "b": 16})


def _setting_figure(state: StudyState, path: str, trials: Sequence[SweepTrial]) -> go.Figure:
    aim = state.facts.objectives[0]
    y: Trace = {"title": _title(aim)}
    values = [trial.settings[path] for trial in trials]
    if not _is_choice(values):
        points = [(value, trial.values[0], trial) for value, trial in zip(values, trials, strict=True)]
        dots = _dots(state, points, {"color": BLUE, "size": 8, "opacity": 0.6})
        return drawn([dots], x=_log(_is_log(state, path, values)), y=y, height=SMALL_HEIGHT)
    labels = distinct_labels(values)
    groups: dict[str, list[SweepTrial]] = {text: [] for text in labels.values()}
    for value, trial in zip(values, trials, strict=True):
        groups[labels[value_key(value)]].append(trial)
    boxes = [
        {
            "type": "box",
            "name": axis_label(name),
            "y": [trial.values[0] for trial in group],
            "boxpoints": "all",
            "jitter": 0.5,
            "pointpos": 0,
            "quartilemethod": "linear",
            "marker": {"color": BLUE, "size": 6, "opacity": 0.6},
            # Below five trials a box is not a distribution: only the dots are drawn.
            "line": {"color": INK, "width": 1.2 if len(group) >= 5 else 0},
            "fillcolor": FILL if len(group) >= 5 else "rgba(0,0,0,0)",
            "hovertext": [_hover(state, trial) for trial in group],
            "hoverinfo": "text",
        }
        for name, group in groups.items()
    ]
    return drawn(boxes, x={"type": "category"}, y=y, height=SMALL_HEIGHT)


def _lines(
    trials: Sequence[SweepTrial],
    paths: Sequence[str],
    axes: Sequence[_Axis],
    state: StudyState,
    line: Trace,
    *,
    dots: bool = True,
) -> Trace:
    """One trace for many trials, with gaps between them; a setting that a trial does not have leaves a gap too."""
    x: list[float | None] = []
    y: list[float | None] = []
    hovers: list[str] = []
    for trial in trials:
        told = _hover(state, trial)
        # Spread by the trial's number, the same on every axis: lines of one choice show how many there are.
        shift = (trial.number * 0.618034) % 1 - 0.5
        for place, (path, axis) in enumerate(zip([*paths, None], axes, strict=True)):
            given = trial.values[0] if path is None else trial.settings.get(path, _ABSENT)
            room = JITTER / max(1, len(axis.ticks) - 1) if axis.is_choice else 0.0
            x.append(place)
            y.append(None if given is _ABSENT else axis.place(given) + shift * room)
            hovers.append(told)
        _gap(x, y, hovers)
    # Also without dots: a pointer finds the points of a line, not the line between them.
    marker = {"size": 5 if dots else 1, "color": line["color"]}
    return scatter_trace(x, y, hovers, mode="lines+markers", line=line, marker=marker)


def _gap(x: list[float | None], y: list[float | None], hovers: list[str]) -> None:
    """Ends a line, so that the next one of the trace does not begin at its end."""
    x.append(None)
    y.append(None)
    hovers.append("")


def _fifths(trials: Sequence[SweepTrial]) -> list[Sequence[SweepTrial]]:
    """The trials, the worst first, in as many groups as there are shades."""
    cuts = [round(len(trials) * place / len(STRENGTHS)) for place in range(len(STRENGTHS) + 1)]
    return [trials[low:high] for low, high in itertools.pairwise(cuts)]


def _axis(state: StudyState, path: str, values: Sequence[Any], room: int) -> _Axis:
    if _is_choice(values):
        labels = distinct_labels(values, room)
        places = {key: place / max(1, len(labels) - 1) for place, key in enumerate(labels)}
        ticks = tuple((places[key], text) for key, text in labels.items())
        return _Axis(lambda value: places[value_key(value)], ticks, True)
    reach = _scale(values, is_log=_is_log(state, path, values))
    return _Axis(reach, tuple((reach(end), written_value(end)) for end in (min(values), max(values))), False)


def _scale(values: Sequence[float], *, is_log: bool) -> Callable[[float], float]:
    """Where a number lies between the least and the greatest, or its logarithm between theirs."""
    turned: Callable[[float], float] = math.log if is_log else float
    low, high = turned(min(values)), turned(max(values))
    return lambda value: 0.5 if high == low else (turned(value) - low) / (high - low)


def _log(is_log: bool) -> Trace:
    return {"type": "log", "dtick": "D2"} if is_log else {}


def _is_log(state: StudyState, path: str, values: Sequence[float]) -> bool:
    """Whether it is searched by its logarithm; where the space does not say, whether its values are far apart."""
    rule = state.facts.document.get("space", {}).get(path)
    return "log_uniform" in rule if isinstance(rule, Mapping) else _spans(values)


def _spans(values: Sequence[float]) -> bool:
    return min(values) > 0 and max(values) / min(values) > LOG_SPAN


def _is_choice(values: Sequence[Any]) -> bool:
    distinct = len(set(map(value_key, values)))
    return not all(map(is_number, values)) or distinct <= min(MOST_DISTINCT, len(values) // 2)


def _dots(state: StudyState, points: Sequence[tuple[Any, float, SweepTrial]], marker: Trace, **rest: Any) -> Trace:
    hovers = [_hover(state, trial) for *_, trial in points]
    return scatter_trace([x for x, *_ in points], [y for _, y, _ in points], hovers, marker=marker, **rest)


def _hover(state: StudyState, trial: SweepTrial) -> str:
    """What is said of a trial where a pointer rests on it."""
    lines = [
        f"trial {trial.number}: {written_values(state.facts.objectives, trial.values) or STATUS_WORDS[trial.status]}"
    ]
    lines += [part for part in written_settings(trial.settings).split(", ") if part]
    lines += [dollars(trial.cost_usd)] if trial.cost_usd is not None else []
    return "<br>".join(map(plain, lines))


def _title(aim: SweepObjective) -> str:
    return plain(f"{figure_title(aim.metric)} ({aim.better} is better)")


_ABSENT = object()
