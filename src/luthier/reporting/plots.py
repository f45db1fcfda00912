"""The leaderboard's figures, as plotly objects for a page or a notebook."""

from __future__ import annotations

from collections.abc import Sequence
from html import escape
from typing import TYPE_CHECKING, Any

from luthier.evaluation.across import Across
from luthier.evaluation.leaderboard import Entry, Leaderboard
from luthier.evaluation.measures import METRICS
from luthier.evaluation.spread import Spread
from luthier.evaluation.tables import NO_LABEL
from luthier.reporting.numbers import interval, number, percent, printable

if TYPE_CHECKING:
    import plotly.graph_objects as go

__all__ = [
    "across_figure",
    "calibration_figure",
    "confusion_figure",
    "dressed",
    "forest_figure",
    "plain",
    "spread_figure",
]

INK = "#737b87"
"""Readable on white and on black: a page takes the reader's theme, and a figure cannot see it."""

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
            x=[i.value for i in found],
            y=[plain(entry.name) for entry in entries],
            mode="markers",
            marker={"color": BLUE, "size": 10},
            error_x={
                "type": "data",
                "symmetric": False,
                "array": [(i.high if i.high is not None else i.value) - i.value for i in found],
                "arrayminus": [i.value - (i.low if i.low is not None else i.value) for i in found],
                "color": BLUE,
                "thickness": 3,
                "width": 0,
            },
            hovertext=[f"{plain(e.name)}: {interval(e.metrics[name], measure.format)}" for e in entries],
            hoverinfo="text",
        )
    )
    for entry, text in ((board.majority, board.majority.name), (board.ceiling, "people")):
        if entry is not None and name in entry.metrics:
            figure.add_vline(
                x=entry.metrics[name].value,
                line={"color": INK, "dash": "dot", "width": 1.5},
                annotation={"text": plain(text), "font": {"color": INK, "size": 12}},
                annotation_position="top",
            )
    figure.update_yaxes(autorange="reversed", automargin=True, type="category")
    better = "right" if measure.better == "higher" else "left"
    figure.update_xaxes(title=f"{measure.title} ({measure.better} is better: further {better})", automargin=True)
    return dressed(figure, height=110 + 32 * len(entries))


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
            f"true {truth}, answered {answer}: {cell:,} rows ({percent(share)})"
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
            line={"color": INK, "dash": "dot", "width": 1.5},
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
                    f"{plain(entry.name)}: said {percent(b.confidence)}, right {percent(b.accuracy)} of {b.rows:,} rows"
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
            error_x={
                "type": "data",
                "symmetric": False,
                "array": [(mean.high if mean.high is not None else mean.value) - mean.value for mean in means],
                "arrayminus": [mean.value - (mean.low if mean.low is not None else mean.value) for mean in means],
                "color": INK,
                "thickness": 3,
                "width": 0,
            },
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
    figure.update_yaxes(autorange="reversed", automargin=True, type="category")
    better = "right" if measure.better == "higher" else "left"
    figure.update_xaxes(title=f"{measure.title} ({measure.better} is better: further {better})", automargin=True)
    return dressed(figure, height=150 + 32 * len(names), legend=True)


def spread_figure(spread: Spread) -> go.Figure:
    """A box per group over every single draw, so that few draws are not mistaken for a distribution."""
    import plotly.graph_objects as go

    measure = METRICS.get(spread.metric)
    title = measure.title if measure is not None else plain(spread.metric)
    figure = go.Figure()
    for group in spread.groups:
        written = measure.format if measure is not None else "number"
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
                fillcolor="rgba(61,133,198,0.12)",
                hovertext=[f"{plain(group.name)}: {number(value, written)}" for value in group.values],
                hoverinfo="text",
            )
        )
    figure.update_xaxes(type="category", automargin=True)
    better = f" ({measure.better} is better)" if measure is not None else ""
    figure.update_yaxes(title=f"{title}{better}", automargin=True)
    return dressed(figure, height=420)


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
