"""Any figure as HTML for a page or a notebook, and as an SVG file."""

from __future__ import annotations

from luthier.reporting.charts.chart import Chart, Confusion, Figure, Strips
from luthier.reporting.charts.confusion import confusion_html, confusion_svg
from luthier.reporting.charts.parallel import parallel_html, parallel_svg
from luthier.reporting.charts.strips import strips_html, strips_svg
from luthier.reporting.charts.svg import Told, chart_html, chart_svg

__all__ = ["figure_html", "figure_svg"]


def figure_html(figure: Figure, told: Told | None = None) -> str:
    """The figure without heading and sentence.

    Args:
        figure: what is drawn.
        told: takes what is said of points, for the page's script; without it the points have it themselves.
    """
    if isinstance(figure, Chart):
        return chart_html(figure, told)
    if isinstance(figure, Strips):
        return strips_html(figure, told)
    return confusion_html(figure) if isinstance(figure, Confusion) else parallel_html(figure, told)


def figure_svg(figure: Figure) -> str:
    """The figure with its title as an SVG file that needs nothing else, on light paper."""
    if isinstance(figure, Chart):
        return chart_svg(figure)
    if isinstance(figure, Strips):
        return strips_svg(figure)
    return confusion_svg(figure) if isinstance(figure, Confusion) else parallel_svg(figure)
