"""Figures of leaderboards, audits and scorecards, as plotly objects for a page."""

from __future__ import annotations

import textwrap
from collections.abc import Mapping, Sequence
from html import escape
from typing import TYPE_CHECKING, Any

from luthier.evaluation.abstention import Abstention
from luthier.evaluation.agreement import Agreement
from luthier.evaluation.leaderboard import Entry
from luthier.evaluation.resampling import Interval
from luthier.evaluation.spread import Spread
from luthier.reporting.numbers import interval, metric_format, metric_title, number, printable
from luthier.tasks.types import CalibrationBin, Counts, Measure

if TYPE_CHECKING:
    import plotly.graph_objects as go

__all__ = [
    "BLUE",
    "COLOURS",
    "DOTTED",
    "FILL",
    "INK",
    "abstention_figure",
    "axis_label",
    "box_figure",
    "calibration_figure",
    "confusion_figure",
    "drawn",
    "forest_figure",
    "level_figure",
    "plain",
    "points_figure",
    "scatter_figure",
    "scatter_trace",
    "spread_figure",
]

NO_LABEL = "(no label)"
"""Head of the confusion matrix's last column: off label, refused or failed."""

INK = "#737b87"
"""Readable on white and on black: a page takes the reader's theme, and a figure cannot see it."""

DOTTED = {"color": INK, "dash": "dot", "width": 1.5}
FILL = "rgba(61,133,198,0.12)"

BLUE = "#3d85c6"
PALE, DEEP, COUNT = "#f1f6fb", "#6ea8dc", "#10202f"
"""Opaque and never dark, so that the counts read on every cell in any theme."""

COLOURS = ("#3d85c6", "#e08a1e", "#4a9d5b", "#c2504e", "#8a6bbf", "#8c6d5a", "#cf77ae", "#5fa7b0")

MOST_NUMBERED = 15
"""Up to so many labels a confusion matrix has its counts written in the cells."""

LABEL_WIDTH = 28
"""Characters after which a name on an axis goes on in the next line: grids name specs after all their settings."""

Trace = dict[str, Any]


def forest_figure(
    found: Mapping[str, Interval],
    measure: Measure,
    marks: Mapping[str, float],
    tables: Mapping[str, Sequence[Interval]] | None = None,
) -> go.Figure:
    """Every spec's interval in one metric, the first on top.

    Args:
        found: name of a spec to its interval.
        measure: the metric.
        marks: what dotted lines are called, to the value they are drawn at.
        tables: name of a table to the values of the specs there, in their order; a colour each. The intervals are
            those of the means then.
    """
    names, intervals = [axis_label(name) for name in found], list(found.values())
    colour = INK if tables else BLUE
    stroke = {"symbol": "line-ns", "line": {"width": 3, "color": INK}} if tables else {}
    spans = {
        "type": "data",
        "symmetric": False,
        "array": [0.0 if one.high is None else one.high - one.value for one in intervals],
        "arrayminus": [0.0 if one.low is None else one.value - one.low for one in intervals],
        "color": colour,
        "thickness": 3,
        "width": 0,
    }

    def dots(values: Sequence[Interval], where: str, **rest: Any) -> Trace:
        hovers = [
            f"{plain(name)}{where}: {interval(one, measure.format)}" for name, one in zip(found, values, strict=True)
        ]
        return scatter_trace([one.value for one in values], names, hovers, **rest)

    mean = {"color": colour, "size": 10} | stroke
    traces = [dots(intervals, ": mean" if tables else "", name="mean", marker=mean, error_x=spans)]
    for table, values in (tables or {}).items():
        marker = {"color": COLOURS[(len(traces) - 1) % len(COLOURS)], "size": 9}
        traces.append(dots(values, f" on {plain(table)}", name=axis_label(table), marker=marker))
    lines = 1 + max((name.count("<br>") for name in names), default=0)
    figure = drawn(
        traces,
        x={"title": f"{measure.title} ({measure.better} is better)"},
        y={"autorange": "reversed", "type": "category"},
        height=110 + max(32, 12 + 17 * lines) * len(found) + (40 if tables else 0),
        legend=bool(tables),
    )
    for text, value in marks.items():
        note = {"text": plain(text), "font": {"color": INK, "size": 12}}
        figure.add_vline(x=value, line=DOTTED, annotation=note, annotation_position="top")
    return figure


def confusion_figure(labels: Sequence[str], confusion: Counts) -> go.Figure:
    """How often each label was answered for each true label; colour is the share of the true label's rows.

    Args:
        labels: of the task, in its order.
        confusion: rows per true label (line) and answer (column, the last for rows without a label).
    """
    truths = [plain(label) for label in labels]
    answers = [*truths, NO_LABEL]
    counts = [list(line) for line in confusion]
    if not any(line[-1] for line in counts):
        answers, counts = answers[:-1], [line[:-1] for line in counts]
    shares = [[cell / max(sum(line), 1) for cell in line] for line in counts]
    hover = [
        [
            f"true {truth}, answered {answer}: {cell:,} rows ({number(share, 'percent')})"
            for answer, cell, share in zip(answers, line, parts, strict=True)
        ]
        for truth, line, parts in zip(truths, counts, shares, strict=True)
    ]
    numbered = len(truths) <= MOST_NUMBERED
    cells = {
        "type": "heatmap",
        "z": shares,
        "x": answers,
        "y": truths,
        "zmin": 0,
        "zmax": 1,
        "colorscale": [[0, PALE], [1, DEEP]],
        "showscale": False,
        "text": counts if numbered else None,
        "texttemplate": "%{text}" if numbered else None,
        "textfont": {"color": COUNT},
        "hovertext": hover,
        "hoverinfo": "text",
        "xgap": 2 if numbered else 0,
        "ygap": 2 if numbered else 0,
    }
    return drawn(
        [cells],
        x={"title": "answered", "type": "category", "showgrid": False},
        y={"title": "true", "type": "category", "autorange": "reversed", "showgrid": False},
        height=min(640, 130 + 38 * len(truths)),
    )


def points_figure(entry: Entry) -> go.Figure:
    """Truth against answer, a point per row; on the dotted line both are the same."""
    truths, answers = zip(*entry.plots.points, strict=True)
    ends = min(*truths, *answers), max(*truths, *answers)
    hovers = [f"true {truth:g}, answered {answer:g}" for truth, answer in entry.plots.points]
    rows = scatter_trace(truths, answers, hovers, marker={"color": BLUE, "size": 7, "opacity": 0.6})
    return drawn([_diagonal(ends), rows], x={"title": "true"}, y={"title": "answered"})


def calibration_figure(found: Mapping[str, Sequence[CalibrationBin]]) -> go.Figure:
    """Stated confidence against the share that was right; on the diagonal a model means what it says.

    Args:
        found: name of a spec to its bins.
    """
    traces = [_diagonal((0, 1), name="means what it says")]
    for place, (name, bins) in enumerate(found.items()):
        hovers = [
            f"{plain(name)}: said {number(b.confidence, 'percent')}, "
            f"right {number(b.accuracy, 'percent')} of {b.rows:,} rows"
            for b in bins
        ]
        look = {"color": COLOURS[place % len(COLOURS)], "width": 2}
        values = [b.confidence for b in bins], [b.accuracy for b in bins]
        line = scatter_trace(
            *values, hovers, mode="lines+markers", line=look, marker={"size": 7}, name=axis_label(name)
        )
        traces.append(line)
    range_ = [0, 1.02]
    return drawn(
        traces,
        x={"title": "stated confidence", "range": range_},
        y={"title": "share that was right", "range": range_},
        legend=True,
    )


def abstention_figure(found: Abstention) -> go.Figure:
    """Accuracy of the answered rows against the share of rows that is answered, with its interval."""
    points = found.points
    coverage = [one.coverage.value for one in points]
    hovers = [
        f"confidence of at least {one.threshold:g}: answers {number(one.coverage.value, 'percent')} of the rows, "
        f"right on {interval(one.accuracy, 'percent')} of them"
        for one in points
    ]
    edge = {"mode": "lines", "line": {"width": 0}}
    traces = [
        scatter_trace(coverage, [one.accuracy.high for one in points], "", **edge) | {"hoverinfo": "skip"},
        scatter_trace(coverage, [one.accuracy.low for one in points], "", **edge, fill="tonexty", fillcolor=FILL)
        | {"hoverinfo": "skip"},
        scatter_trace(
            coverage,
            [one.accuracy.value for one in points],
            hovers,
            mode="lines+markers",
            line={"color": BLUE, "width": 2},
            marker={"size": 6},
        ),
    ]
    if found.advised is not None:
        advised = found.advised
        hover = f"advised, on rows that had no part in choosing it: {advised.threshold:g}"
        marker = {"color": COLOURS[1], "size": 12, "symbol": "diamond"}
        traces.append(scatter_trace([advised.coverage.value], [advised.accuracy.value], [hover], marker=marker))
    return drawn(
        traces,
        x={"title": "share of rows answered", "range": [1.02, 0], "tickformat": ".0%"},
        y={"title": "share of those that is right", "tickformat": ".0%"},
    )


def spread_figure(spread: Spread) -> go.Figure:
    """A box per group over every single draw, so that few draws are not mistaken for a distribution."""
    unit = metric_format(spread.metric)
    boxes = [
        _box(one.name, one.values, BLUE, [f"{plain(one.name)}: {number(value, unit)}" for value in one.values])
        for one in spread.groups
    ]
    better = f" ({spread.measure.better} is better)" if spread.measure else ""
    return drawn(boxes, x={"type": "category"}, y={"title": f"{plain(metric_title(spread.metric))}{better}"})


def box_figure(agreements: Sequence[Agreement]) -> go.Figure:
    """Reported minus measured, a box per metric over every single model."""
    boxes = [
        _box(
            metric_title(one.metric), one.pairs.differences.tolist(), COLOURS[place % len(COLOURS)], _model_hovers(one)
        )
        for place, one in enumerate(agreements)
    ]
    figure = drawn(boxes, x={"type": "category"}, y={"title": "reported minus measured"})
    return figure.add_hline(y=0, line=DOTTED)


def scatter_figure(agreement: Agreement) -> go.Figure:
    """Measured against reported, one point per model; on the dotted line the service is right."""
    pairs, title = agreement.pairs, plain(metric_title(agreement.metric))
    both = [*pairs.reported, *pairs.measured]
    room = 0.06 * (max(both) - min(both)) or 0.05
    ends = min(both) - room, max(both) + room
    return drawn(
        [_diagonal(ends), _models(agreement, pairs.reported, pairs.measured)],
        x={"title": f"reported {title}", "range": ends},
        y={"title": f"measured {title}", "range": ends, "scaleanchor": "x"},
    )


def level_figure(agreement: Agreement) -> go.Figure:
    """The difference against the mean of both values, with its mean and the limits of agreement."""
    levels, differences, found = agreement.pairs.levels, agreement.pairs.differences, agreement.difference
    traces = [_models(agreement, levels.tolist(), differences.tolist())]
    if agreement.slope is not None:
        ends = [float(levels.min()), float(levels.max())]
        line = [found.value + agreement.slope.value * (end - float(levels.mean())) for end in ends]
        hover = f"grows by {number(agreement.slope.value / 10, 'gap')} per .1"
        traces.append(scatter_trace(ends, line, hover, mode="lines", line={"color": COLOURS[1], "width": 1.5}))
    title = f"mean of reported and measured {plain(metric_title(agreement.metric))}"
    figure = drawn(traces, x={"title": title}, y={"title": "reported minus measured"})
    for value, dash, words in (
        (agreement.upper_limit.value, "dash", "upper limit"),
        (found.value, "solid", "mean"),
        (agreement.lower_limit.value, "dash", "lower limit"),
    ):
        figure.add_hline(
            y=value,
            line={"color": BLUE if dash == "solid" else INK, "dash": dash, "width": 1.5},
            annotation={"text": f"{words} {number(value, 'gap')}", "font": {"color": INK, "size": 12}},
            annotation_position="right",
        )
    figure.add_hrect(y0=found.low, y1=found.high, fillcolor=FILL, line_width=0, layer="below")
    figure.add_hline(y=0, line={"color": INK, "dash": "dot", "width": 1})
    # The lines are named beside the plot, where no model lies.
    return figure.update_layout(margin_r=120)


def plain(text: str) -> str:
    """Plotly reads a little HTML in labels; names are names."""
    return escape(printable(text))


def axis_label(name: str) -> str:
    """A name on an axis or in a legend, in as many lines as it takes."""
    return "<br>".join(map(escape, textwrap.wrap(printable(name), LABEL_WIDTH))) or " "


def drawn(traces: list[Trace], *, x: Trace, y: Trace, height: int = 420, legend: bool = False) -> go.Figure:
    """A figure in the colours and margins that all of ours have, readable in light and dark themes."""
    import plotly.graph_objects as go

    axis = {"gridcolor": "rgba(115,123,135,0.25)", "zeroline": False, "linecolor": INK, "automargin": True}
    layout = {
        "template": "none",
        "height": height,
        "margin": {"l": 60, "r": 24, "t": 28, "b": 48},
        "paper_bgcolor": "rgba(0,0,0,0)",
        "plot_bgcolor": "rgba(0,0,0,0)",
        "font": {"color": INK, "size": 13, "family": "system-ui, sans-serif"},
        "showlegend": legend,
        "hoverlabel": {"align": "left"},
        "xaxis": axis | x,
        "yaxis": axis | y,
    }
    return go.Figure(traces, layout)


def scatter_trace(x: Sequence[Any], y: Sequence[Any], hover: str | list[str], **rest: Any) -> Trace:
    """Dots, unless `mode` says otherwise, each with what is said where a pointer rests on it."""
    return {"type": "scatter", "x": x, "y": y, "mode": "markers", "hovertext": hover, "hoverinfo": "text"} | rest


def _diagonal(ends: tuple[float, float], **rest: Any) -> Trace:
    return scatter_trace(ends, ends, "", mode="lines", line=DOTTED, **rest) | {"hoverinfo": "skip"}


def _box(name: str, values: Sequence[float], colour: str, hovers: list[str]) -> Trace:
    return {
        "type": "box",
        "y": values,
        "name": axis_label(name),
        "boxpoints": "all",
        "jitter": 0.5,
        "pointpos": 0,
        "boxmean": True,
        "quartilemethod": "linear",
        "marker": {"color": colour, "size": 6, "opacity": 0.7},
        "line": {"color": INK, "width": 1.5},
        "fillcolor": FILL,
        "hovertext": hovers,
        "hoverinfo": "text",
    }


def _models(agreement: Agreement, x: Sequence[float], y: Sequence[float]) -> Trace:
    return scatter_trace(x, y, _model_hovers(agreement), marker={"color": BLUE, "size": 9, "opacity": 0.75})


def _model_hovers(agreement: Agreement) -> list[str]:
    pairs = agreement.pairs
    return [
        f"{plain(name)}: reported {number(said, 'fine')}, measured {number(found, 'fine')}, "
        f"difference {number(said - found, 'gap')}"
        for name, said, found in zip(pairs.ids, pairs.reported, pairs.measured, strict=True)
    ]
