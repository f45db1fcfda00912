"""An audit's figures, as plotly objects for a page or a notebook."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from luthier.evaluation.agreement import Agreement
from luthier.evaluation.decomposition import CHANGES, Decomposition
from luthier.evaluation.resampling import Interval
from luthier.reporting.audit_sentences import figure as written
from luthier.reporting.audit_sentences import gap
from luthier.reporting.numbers import metric_title
from luthier.reporting.plots import BLUE, COLOURS, DOTTED, FILL, INK, box, dressed, plain, whiskers

if TYPE_CHECKING:
    from collections.abc import Sequence

    import plotly.graph_objects as go

__all__ = ["box_figure", "level_figure", "parts_figure", "scatter_figure"]


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


def box_figure(agreements: Sequence[Agreement]) -> go.Figure:
    """Reported minus measured, a box per metric over every single model."""
    import plotly.graph_objects as go

    figure = go.Figure()
    for place, one in enumerate(agreements):
        values = [float(value) for value in one.pairs.differences]
        figure.add_trace(box(metric_title(one.metric), values, _hovers(one), COLOURS[place % len(COLOURS)]))
    figure.add_hline(y=0, line=DOTTED)
    figure.update_xaxes(type="category", automargin=True)
    figure.update_yaxes(title="reported minus measured", automargin=True)
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
            annotation={"text": f"{words} {gap(value)}", "font": {"color": INK, "size": 12}},
            annotation_position="right",
        )
    found = agreement.difference
    figure.add_hrect(y0=found.low, y1=found.high, fillcolor=FILL, line_width=0, layer="below")
    figure.add_hline(y=0, line={"color": INK, "dash": "dot", "width": 1})
    if agreement.slope is not None:
        ends = np.array([levels.min(), levels.max()])
        line = found.value + agreement.slope.value * (ends - levels.mean())
        figure.add_trace(
            go.Scatter(
                x=ends.tolist(),
                y=line.tolist(),
                mode="lines",
                line={"color": COLOURS[1], "width": 1.5},
                hovertext=f"grows by {gap(agreement.slope.value / 10)} per .1",
                hoverinfo="text",
            )
        )
    figure.update_xaxes(title=f"mean of reported and measured {metric_title(agreement.metric)}", automargin=True)
    figure.update_yaxes(title="reported minus measured", automargin=True)
    # The lines are named beside the plot, where no model lies.
    return dressed(figure, height=420).update_layout(margin_r=120)


def parts_figure(one: Decomposition) -> go.Figure:
    """The parts of one metric's difference with their intervals, in the order of the chain, and the whole beneath."""
    import plotly.graph_objects as go

    names = [CHANGES[part.changes] for part in one.parts]
    # A chain may change the same thing twice, and an axis of categories would draw both on one line.
    labels = [
        f"{place + 1}. {plain(name)}" if names.count(name) > 1 else plain(name) for place, name in enumerate(names)
    ]
    shares = [part.share for part in one.parts]
    figure = go.Figure(
        go.Bar(
            x=[share.value for share in shares] + [one.difference],
            y=[*labels, "reported minus measured"],
            orientation="h",
            marker={"color": [BLUE] * len(shares) + [INK], "opacity": 0.75},
            error_x=whiskers([*shares, Interval(one.difference)], width=4),
            hovertext=[f"{label}: {gap(share)}" for label, share in zip(labels, shares, strict=True)]
            + [f"reported {written(one.reported)}, measured {written(one.measured.value)}: {gap(one.difference)}"],
            hoverinfo="text",
        )
    )
    figure.add_vline(x=0, line={"color": INK, "width": 1})
    figure.update_xaxes(title=f"share of the difference in {metric_title(one.metric)}", automargin=True)
    figure.update_yaxes(autorange="reversed", automargin=True, type="category")
    return dressed(figure, height=110 + 38 * (len(shares) + 1))


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
        f"{plain(name)}: reported {written(said)}, measured {written(found)} ({gap(said - found)})"
        for name, said, found in zip(pairs.ids, pairs.reported, pairs.measured, strict=True)
    ]


def _ends(values: list[float]) -> tuple[float, float]:
    low, high = min(values), max(values)
    room = 0.06 * (high - low) or 0.05
    return low - room, high + room
