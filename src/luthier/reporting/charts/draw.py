"""Any figure as HTML for a page or a notebook."""

from __future__ import annotations

from luthier.reporting.charts.chart import Chart, Confusion, Parallel, Strips
from luthier.reporting.charts.svg import Told, chart_html

__all__ = ["figure_html"]


def figure_html(figure: Chart | Strips | Confusion | Parallel, told: Told | None = None) -> str:
    """The figure without heading and sentence.

    Args:
        figure: what is drawn.
        told: takes what is said of points, for the page's script; without it the points have it themselves.
    """
    if isinstance(figure, Chart):
        return chart_html(figure, told)
    raise NotImplementedError(type(figure).__name__)
