"""The leaderboard's figures, as plotly objects for a page or a notebook."""

from __future__ import annotations

from collections.abc import Sequence
from html import escape
from typing import TYPE_CHECKING, Any

from luthier.evaluation.across import Across
from luthier.evaluation.leaderboard import Entry, Leaderboard
from luthier.evaluation.measures import METRICS
from luthier.evaluation.resampling import Interval
from luthier.evaluation.spread import Spread
from luthier.evaluation.tables import NO_LABEL
from luthier.reporting.numbers import interval, metric_format, metric_title, number, printable

if TYPE_CHECKING:
    import plotly.graph_objects as go

__all__ = [
    "BLUE",
    "COLOURS",
    "DOTTED",
    "FILL",
    "INK",
    "across_figure",
    "box",
    "calibration_figure",
    "confusion_figure",
    "dressed",
    "forest_figure",
    "plain",
    "spread_figure",
    "whiskers",
]

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


def forest_figure(board: Leaderboard, metric: str | None = None) -> go.Figure:
    """Every spec's interval in one metric, best on top, with the majority and the human ceiling as lines.

    Args:
        board: what to show.
        metric: the ranking metric when absent.
    """
    import plotly.graph_objects as go

    name = metric or board.ranked_by
    measure = METRICS[name]
    entries = [entry for entry in board.entries if name in entry.metrics]
    found = [entry.metrics[name] for entry in entries]
    figure = go.Figure(
        go.Scatter(
            x=[one.value for one in found],
            y=[plain(entry.name) for entry in entries],
            mode="markers",
            marker={"color": BLUE, "size": 10},
            error_x=whiskers(found, color=BLUE, thickness=3),
            hovertext=[
                f"{plain(e.name)}: {interval(one, measure.format)}" for e, one in zip(entries, found, strict=True)
            ],
            hoverinfo="text",
        )
    )
    for entry, text in ((board.majority, board.majority.name), (board.ceiling, "people")):
        if entry is not None and name in entry.metrics:
            figure.add_vline(
                x=entry.metrics[name].value,
                line=DOTTED,
                annotation={"text": plain(text), "font": {"color": INK, "size": 12}},
                annotation_position="top",
            )
    return _ranked(figure, name, height=110 + 32 * len(entries))


def confusion_figure(board: Leaderboard, entry: Entry) -> go.Figure:
    """How often each label was answered for each true label; colour is the share of the true label's rows."""
    import plotly.graph_objects as go

    truths = [plain(label) for label in board.task.labels]
    answers = [*truths, NO_LABEL]
    counts = [list(line) for line in entry.confusion]
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
    for place, entry in enumerate(e for e in entries if e.calibration):
        bins = entry.calibration
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


def across_figure(across: Across) -> go.Figure:
    """Every spec's metric on each table, a colour per table, with the interval of the mean as a bar."""
    import plotly.graph_objects as go

    measure = METRICS[across.metric]
    names = [plain(entry.name) for entry in across.entries]
    means = [entry.mean for entry in across.entries]
    figure = go.Figure(
        go.Scatter(
            x=[mean.value for mean in means],
            y=names,
            mode="markers",
            name="mean",
            marker={"color": INK, "size": 11, "symbol": "line-ns", "line": {"width": 3, "color": INK}},
            error_x=whiskers(means, thickness=3),
            hovertext=[f"{name}: mean {interval(m, measure.format)}" for name, m in zip(names, means, strict=True)],
            hoverinfo="text",
        )
    )
    for place, table in enumerate(across.tables):
        found = [entry.values[table] for entry in across.entries]
        figure.add_trace(
            go.Scatter(
                x=[one.value for one in found],
                y=names,
                mode="markers",
                name=plain(table),
                marker={"color": COLOURS[place % len(COLOURS)], "size": 9},
                hovertext=[
                    f"{name} on {plain(table)}: {interval(one, measure.format)}"
                    for name, one in zip(names, found, strict=True)
                ],
                hoverinfo="text",
            )
        )
    return _ranked(figure, across.metric, height=150 + 32 * len(names), legend=True)


def spread_figure(spread: Spread) -> go.Figure:
    """A box per group over every single draw, so that few draws are not mistaken for a distribution."""
    import plotly.graph_objects as go

    unit = metric_format(spread.metric)
    figure = go.Figure()
    for group in spread.groups:
        hovers = [f"{plain(group.name)}: {number(value, unit)}" for value in group.values]
        figure.add_trace(box(group.name, group.values, hovers, BLUE))
    figure.update_xaxes(type="category", automargin=True)
    better = f" ({METRICS[spread.metric].better} is better)" if spread.metric in METRICS else ""
    figure.update_yaxes(title=f"{plain(metric_title(spread.metric))}{better}", automargin=True)
    return dressed(figure, height=420)


def box(name: str, values: Sequence[float], hovers: Sequence[str], color: str) -> go.Box:
    """A box over every single value, each of them a point."""
    import plotly.graph_objects as go

    return go.Box(
        y=list(values),
        name=plain(name),
        boxpoints="all",
        jitter=0.5,
        pointpos=0,
        boxmean=True,
        quartilemethod="linear",
        marker={"color": color, "size": 6, "opacity": 0.7},
        line={"color": INK, "width": 1.5},
        fillcolor=FILL,
        hovertext=list(hovers),
        hoverinfo="text",
    )


def whiskers(given: Sequence[Interval], *, color: str = INK, thickness: float = 1.5, width: int = 0) -> dict[str, Any]:
    """Error bars to the bounds of these intervals; none where there are no bounds."""
    return {
        "type": "data",
        "symmetric": False,
        "array": [0.0 if one.high is None else one.high - one.value for one in given],
        "arrayminus": [0.0 if one.low is None else one.value - one.low for one in given],
        "color": color,
        "thickness": thickness,
        "width": width,
    }


def plain(text: str) -> str:
    """Plotly reads a little HTML in labels; names are names."""
    return escape(printable(text))


def _ranked(figure: go.Figure, metric: str, *, height: int, legend: bool = False) -> go.Figure:
    """Axes of a figure with a line per spec, the best on top."""
    measure = METRICS[metric]
    better = "right" if measure.better == "higher" else "left"
    figure.update_yaxes(autorange="reversed", automargin=True, type="category")
    figure.update_xaxes(title=f"{measure.title} ({measure.better} is better: further {better})", automargin=True)
    return dressed(figure, height=height, legend=legend)


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
