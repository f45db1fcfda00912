"""Parallel coordinates as SVG: an axis per setting and one for the result, a line per trial, chosen by brushing."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from luthier.reporting.charts.chart import Parallel, ParallelAxis, ParallelLine
from luthier.reporting.charts.scales import beside
from luthier.reporting.charts.svg import LOOKS, Told, legend, look_marks, svg_file, text, told_attributes
from luthier.reporting.short_names import shortened

__all__ = ["parallel_html", "parallel_plot", "parallel_svg"]

HEIGHT = 300
MOST_LINES = 1000
"""More are thinned to these evenly by rank, the best kept: a browser does not follow a brush over more."""

WIDTH = 1000
"""Of the coordinates that lines are drawn in; they are stretched to the page."""

LEAST_WIDTH = 720
"""Of a file, in CSS pixels; many axes make it wider."""

SPREAD = 0.05
"""Share of an axis over which lines of one choice are spread, so that their number shows."""


def parallel_html(figure: Parallel, told: Told | None = None) -> str:
    """Axes and lines, without heading and sentence; arguments as of `chart_html`."""
    lines = shown_lines(figure)
    note = f" {_sampled(figure, lines)}" if len(figure.lines) > len(lines) else ""
    heads = "".join(f'<span title="{text(axis.title)}"><bdi>{text(axis.title)}</bdi></span>' for axis in figure.axes)
    return (
        f'<div class="lu-chart lu-parallel" data-what="{text(figure.what)}">{legend(look_marks(figure.legend))}'
        f'<div class="lu-scroll" role="region" tabindex="0" aria-label="{text(figure.said)}">'
        f'<div style="min-width:{90 * len(figure.axes)}px"><div class="lu-heads">{heads}</div>'
        f'<svg class="lu-plot" width="100%" height="{HEIGHT}" role="img" aria-label="{text(figure.said)}">'
        f"{''.join(parallel_plot(figure, lines, told))}</svg></div></div>"
        f'<p class="lu-count" aria-live="polite">{len(lines):,} {text(figure.what)}.{note}</p></div>'
    )


def parallel_svg(figure: Parallel) -> str:
    """Axes and lines as an SVG file that needs nothing else."""
    count = len(figure.axes)
    width = max(LEAST_WIDTH, 90 * count)
    most = max(3, int(width / max(1, count) / 7))
    heads = "".join(
        f'<text class="lu-name" x="{100 * _place(place, count):.3f}%" y="-10" text-anchor="middle">'
        f"{text(shortened(axis.title, most))}</text>"
        for place, axis in enumerate(figure.axes)
    )
    lines = shown_lines(figure)
    drawn = heads + "".join(parallel_plot(figure, lines, None))
    said = f"{len(lines):,} {figure.what}" if len(lines) == len(figure.lines) else _sampled(figure, lines)
    return svg_file(figure, look_marks(figure.legend), drawn, left=16, size=(width, HEIGHT), along=(said, ""), above=20)


def _sampled(figure: Parallel, lines: Sequence[ParallelLine]) -> str:
    return f"An even sample of {len(lines):,} of {len(figure.lines):,} {figure.what} is drawn."


def shown_lines(figure: Parallel) -> Sequence[ParallelLine]:
    """The lines that are drawn."""
    count = len(figure.lines)
    if count <= MOST_LINES:
        return figure.lines
    return [figure.lines[round(place * (count - 1) / (MOST_LINES - 1))] for place in range(MOST_LINES)]


def parallel_plot(figure: Parallel, lines: Sequence[ParallelLine], told: Told | None) -> Iterator[str]:
    """What lies inside of the SVG."""
    axes = figure.axes
    box = f'viewBox="0 0 {WIDTH} {HEIGHT}" preserveAspectRatio="none"'
    yield f'<svg class="lu-lines" width="100%" height="{HEIGHT}" {box}>'
    for place, line in enumerate(lines):
        attributes, inner = told_attributes((line.told,), 0, told)
        shift = beside(place) * SPREAD
        kept = [None if at is None else round(at, 4) for at in line.places]
        places = ",".join("" if at is None else f"{at:g}" for at in kept)
        yield (
            f'<path class="s{line.look % LOOKS} lu-path" style="stroke-opacity:{0.12 + 0.7 * line.strength**2:.2f}" '
            f'd="{_path(axes, line, shift)}" data-at="{places}"{attributes}>{inner}</path>'
        )
    yield "</svg>"
    for place, axis in enumerate(axes):
        at = f"{100 * _place(place, len(axes)):.3f}%"
        yield f'<line class="lu-axis" x1="{at}" x2="{at}" y2="{HEIGHT}"/>'
        # An axis at the right end has its ticks to the left.
        side, shift = ("end", -6) if place == len(axes) - 1 and len(axes) > 1 else ("start", 6)
        for height, written in axis.ticks:
            down = min(max(HEIGHT * (1 - height), 9), HEIGHT - 3)
            where = f'x="{at}" dx="{shift}" y="{down:.1f}" dy=".35em" text-anchor="{side}"'
            yield f'<text class="lu-halo" {where}>{text(written)}</text>'


def _place(place: int, count: int) -> float:
    """Where an axis stands, between 0 and 1, each in the middle of its share of the width."""
    return (place + 0.5) / count


def _path(axes: Sequence[ParallelAxis], line: ParallelLine, shift: float) -> str:
    parts: list[str] = []
    joined = False
    for place, (axis, at) in enumerate(zip(axes, line.places, strict=True)):
        if at is None:
            joined = False
            continue
        moved = min(max(at + (shift if axis.is_choice else 0.0), 0.0), 1.0)
        parts.append(f"{'L' if joined else 'M'}{WIDTH * _place(place, len(axes)):.0f},{HEIGHT * (1 - moved):.1f}")
        joined = True
    return "".join(parts)
