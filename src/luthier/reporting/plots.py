"""Figures of leaderboards and audits, as plotly objects for a page."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from html import escape
from typing import TYPE_CHECKING, Any

from luthier.evaluation.agreement import Agreement
from luthier.evaluation.leaderboard import Entry, Leaderboard
from luthier.evaluation.resampling import Interval
from luthier.evaluation.spread import Spread
from luthier.reporting.numbers import interval, metric_format, metric_title, number, printable
from luthier.tasks.types import Measure

if TYPE_CHECKING:
    import plotly.graph_objects as go

__all__ = [
    "calibration_figure",
    "confusion_figure",
    "forest_figure",
    "level_figure",
    "scatter_figure",
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


def forest_figure(found: Mapping[str, Interval], measure: Measure, marks: Mapping[str, float]) -> go.Figure:
    """Every spec's interval in one metric, the first on top.

    Args:
        found: name of a spec to its interval.
        measure: the metric.
        marks: what dotted lines are called, to the value they are drawn at.
    """
    import plotly.graph_objects as go

    names, intervals = [plain(name) for name in found], list(found.values())
    figure = go.Figure(
        go.Scatter(
            x=[one.value for one in intervals],
            y=names,
            mode="markers",
            marker={"color": BLUE, "size": 10},
            error_x={
                "type": "data",
                "symmetric": False,
                "array": [0.0 if one.high is None else one.high - one.value for one in intervals],
                "arrayminus": [0.0 if one.low is None else one.value - one.low for one in intervals],
                "color": BLUE,
                "thickness": 3,
                "width": 0,
            },
            hovertext=[f"{plain(name)}: {interval(one, measure.format)}" for name, one in found.items()],
            hoverinfo="text",
        )
    )
    for text, value in marks.items():
        note = {"text": plain(text), "font": {"color": INK, "size": 12}}
        figure.add_vline(x=value, line=DOTTED, annotation=note, annotation_position="top")
    better = "right" if measure.better == "higher" else "left"
    figure.update_yaxes(autorange="reversed", automargin=True, type="category")
    figure.update_xaxes(title=f"{measure.title} ({measure.better} is better: further {better})", automargin=True)
    return dressed(figure, height=110 + 32 * len(found))


def confusion_figure(board: Leaderboard, entry: Entry) -> go.Figure:
    """How often each label was answered for each true label; colour is the share of the true label's rows."""
    import plotly.graph_objects as go

    truths = [plain(label) for label in board.task.labels]
    answers = [*truths, NO_LABEL]
    counts = [list(line) for line in entry.plots.confusion]
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
    figure = go.Figure(
        go.Heatmap(
            z=shares,
            x=answers,
            y=truths,
            zmin=0,
            zmax=1,
            colorscale=[[0, PALE], [1, DEEP]],
            showscale=False,
            text=counts if numbered else None,
            texttemplate="%{text}" if numbered else None,
            textfont={"color": COUNT},
            hovertext=hover,
            hoverinfo="text",
            xgap=2 if numbered else 0,
            ygap=2 if numbered else 0,
        )
    )
    figure.update_xaxes(title="answered", type="category", showgrid=False, automargin=True)
    figure.update_yaxes(title="true", type="category", autorange="reversed", showgrid=False, automargin=True)
    return dressed(figure, height=min(640, 130 + 38 * len(truths)))


def points_figure(entry: Entry) -> go.Figure:
    """Truth against answer, a point per row; on the dotted line both are the same."""
    import plotly.graph_objects as go

    truths, answers = zip(*entry.plots.points, strict=True)
    ends = [min(*truths, *answers), max(*truths, *answers)]
    figure = go.Figure(go.Scatter(x=ends, y=ends, mode="lines", line=DOTTED, hoverinfo="skip"))
    marker = {"color": BLUE, "size": 7, "opacity": 0.6}
    figure.add_trace(go.Scatter(x=truths, y=answers, mode="markers", marker=marker, name=plain(entry.name)))
    figure.update_xaxes(title="true", automargin=True)
    figure.update_yaxes(title="answered", automargin=True)
    return dressed(figure, height=420)


def calibration_figure(entries: Sequence[Entry]) -> go.Figure:
    """Stated confidence against the share that was right; on the diagonal a model means what it says."""
    import plotly.graph_objects as go

    figure = go.Figure(
        go.Scatter(
            x=[0, 1],
            y=[0, 1],
            mode="lines",
            line=DOTTED,
            hoverinfo="skip",
            name="means what it says",
        )
    )
    for place, entry in enumerate(e for e in entries if e.plots.calibration):
        bins = entry.plots.calibration
        figure.add_trace(
            go.Scatter(
                x=[b.confidence for b in bins],
                y=[b.accuracy for b in bins],
                mode="lines+markers",
                line={"color": COLOURS[place % len(COLOURS)], "width": 2},
                marker={"size": 7},
                name=plain(entry.name),
                hovertext=[
                    f"{plain(entry.name)}: said {number(b.confidence, 'percent')}, "
                    f"right {number(b.accuracy, 'percent')} of {b.rows:,} rows"
                    for b in bins
                ],
                hoverinfo="text",
            )
        )
    figure.update_xaxes(title="stated confidence", range=[0, 1.02], automargin=True)
    figure.update_yaxes(title="share that was right", range=[0, 1.02], automargin=True)
    return dressed(figure, height=420, legend=True)


def spread_figure(spread: Spread) -> go.Figure:
    """A box per group over every single draw, so that few draws are not mistaken for a distribution."""
    import plotly.graph_objects as go

    unit = metric_format(spread.metric)
    figure = go.Figure()
    for group in spread.groups:
        figure.add_trace(
            go.Box(
                y=list(group.values),
                name=plain(group.name),
                boxpoints="all",
                jitter=0.5,
                pointpos=0,
                boxmean=True,
                quartilemethod="linear",
                marker={"color": BLUE, "size": 6, "opacity": 0.7},
                line={"color": INK, "width": 1.5},
                fillcolor=FILL,
                hovertext=[f"{plain(group.name)}: {number(value, unit)}" for value in group.values],
                hoverinfo="text",
            )
        )
    figure.update_xaxes(type="category", automargin=True)
    better = f" ({spread.measure.better} is better)" if spread.measure else ""
    figure.update_yaxes(title=f"{plain(metric_title(spread.metric))}{better}", automargin=True)
    return dressed(figure, height=420)


def scatter_figure(agreement: Agreement) -> go.Figure:
    """Measured against reported, one point per model; on the dotted line the service is right."""
    import plotly.graph_objects as go

    pairs = agreement.pairs
    low, high = _ends([*pairs.reported, *pairs.measured])
    figure = go.Figure(
        go.Scatter(
            x=[low, high],
            y=[low, high],
            mode="lines",
            line=DOTTED,
            hoverinfo="skip",
        )
    )
    figure.add_trace(_points(agreement, list(pairs.reported), list(pairs.measured)))
    figure.update_xaxes(title=f"reported {metric_title(agreement.metric)}", range=[low, high], automargin=True)
    figure.update_yaxes(
        title=f"measured {metric_title(agreement.metric)}", range=[low, high], automargin=True, scaleanchor="x"
    )
    return dressed(figure, height=420)


def level_figure(agreement: Agreement) -> go.Figure:
    """The difference against the mean of both values, with its mean and the limits of agreement."""
    import plotly.graph_objects as go

    levels, differences = agreement.pairs.levels, agreement.pairs.differences
    figure = go.Figure(_points(agreement, levels.tolist(), differences.tolist()))
    for value, dash, words in (
        (agreement.upper_limit.value, "dash", "upper limit"),
        (agreement.difference.value, "solid", "mean"),
        (agreement.lower_limit.value, "dash", "lower limit"),
    ):
        figure.add_hline(
            y=value,
            line={"color": BLUE if dash == "solid" else INK, "dash": dash, "width": 1.5},
            annotation={"text": f"{words} {number(value, 'gap')}", "font": {"color": INK, "size": 12}},
            annotation_position="right",
        )
    found = agreement.difference
    figure.add_hrect(y0=found.low, y1=found.high, fillcolor=FILL, line_width=0, layer="below")
    figure.add_hline(y=0, line={"color": INK, "dash": "dot", "width": 1})
    if agreement.slope is not None:
        ends = [float(levels.min()), float(levels.max())]
        line = [found.value + agreement.slope.value * (end - float(levels.mean())) for end in ends]
        figure.add_trace(
            go.Scatter(
                x=ends,
                y=line,
                mode="lines",
                line={"color": COLOURS[1], "width": 1.5},
                hovertext=f"grows by {number(agreement.slope.value / 10, 'gap')} per .1",
                hoverinfo="text",
            )
        )
    figure.update_xaxes(title=f"mean of reported and measured {metric_title(agreement.metric)}", automargin=True)
    figure.update_yaxes(title="reported minus measured", automargin=True)
    # The lines are named beside the plot, where no model lies.
    return dressed(figure, height=420).update_layout(margin_r=120)


def plain(text: str) -> str:
    """Plotly reads a little HTML in labels; names are names."""
    return escape(printable(text))


def dressed(figure: go.Figure, *, height: int, legend: bool = False) -> go.Figure:
    """The figure in the colours and margins that all of ours have, readable in light and dark themes."""
    lines: dict[str, Any] = {"gridcolor": "rgba(115,123,135,0.25)", "zeroline": False, "linecolor": INK}
    figure.update_xaxes(**lines)
    figure.update_yaxes(**lines)
    figure.update_layout(
        template="none",
        height=height,
        margin={"l": 60, "r": 24, "t": 28, "b": 48},
        paper_bgcolor="rgba(0,0,0,0)",
        plot_bgcolor="rgba(0,0,0,0)",
        font={"color": INK, "size": 13, "family": "system-ui, sans-serif"},
        showlegend=legend,
        hoverlabel={"align": "left"},
    )
    return figure


def _points(agreement: Agreement, x: list[float], y: list[float]) -> go.Scatter:
    import plotly.graph_objects as go

    return go.Scatter(
        x=x,
        y=y,
        mode="markers",
        marker={"color": BLUE, "size": 9, "opacity": 0.75},
        hovertext=_hovers(agreement),
        hoverinfo="text",
    )


def _hovers(agreement: Agreement) -> list[str]:
    pairs = agreement.pairs
    return [
        f"{plain(name)}: reported {number(said, 'fine')}, measured {number(found, 'fine')}, "
        f"difference {number(said - found, 'gap')}"
        for name, said, found in zip(pairs.ids, pairs.reported, pairs.measured, strict=True)
    ]


def _ends(values: list[float]) -> tuple[float, float]:
    low, high = min(values), max(values)
    room = 0.06 * (high - low) or 0.05
    return low - room, high + room
