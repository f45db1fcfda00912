"""The leaderboard's figures, as plotly objects for a page or a notebook."""

from __future__ import annotations

from collections.abc import Sequence
from html import escape
from typing import TYPE_CHECKING, Any

from luthier.evaluation.leaderboard import Entry, Leaderboard
from luthier.evaluation.measures import METRICS
from luthier.evaluation.tables import NO_LABEL
from luthier.reporting.numbers import interval, percent, printable

if TYPE_CHECKING:
    import plotly.graph_objects as go

__all__ = ["calibration_figure", "confusion_figure", "forest_figure"]

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
            y=[_safe(entry.name) for entry in entries],
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
            hovertext=[f"{_safe(e.name)}: {interval(e.metrics[name], measure.format)}" for e in entries],
            hoverinfo="text",
        )
    )
    for entry, text in ((board.majority, board.majority.name), (board.ceiling, "people")):
        if entry is not None and name in entry.metrics:
            figure.add_vline(
                x=entry.metrics[name].value,
                line={"color": INK, "dash": "dot", "width": 1.5},
                annotation={"text": _safe(text), "font": {"color": INK, "size": 12}},
                annotation_position="top",
            )
    figure.update_yaxes(autorange="reversed", automargin=True, type="category")
    better = "right" if measure.better == "higher" else "left"
    figure.update_xaxes(title=f"{measure.title} ({measure.better} is better: further {better})", automargin=True)
    return _dressed(figure, height=110 + 32 * len(entries))


def confusion_figure(board: Leaderboard, entry: Entry) -> go.Figure:
    """How often each label was answered for each true label; colour is the share of the true label's rows."""
    import plotly.graph_objects as go

    truths = [_safe(label) for label in board.task.labels]
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
    return _dressed(figure, height=min(640, 130 + 38 * len(truths)))


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
                name=_safe(entry.name),
                hovertext=[
                    f"{_safe(entry.name)}: said {percent(b.confidence)}, right {percent(b.accuracy)} of {b.rows:,} rows"
                    for b in bins
                ],
                hoverinfo="text",
            )
        )
    figure.update_xaxes(title="stated confidence", range=[0, 1.02], automargin=True)
    figure.update_yaxes(title="share that was right", range=[0, 1.02], automargin=True)
    return _dressed(figure, height=420, legend=True)


def _safe(text: str) -> str:
    """Plotly reads a little HTML in labels; names are names."""
    return escape(printable(text))


def _dressed(figure: go.Figure, *, height: int, legend: bool = False) -> go.Figure:
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
