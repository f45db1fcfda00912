"""Names under each other with their values on one axis: a line of text, beneath it a strip as wide as the page."""

from __future__ import annotations

import math
from collections.abc import Iterator
from statistics import quantiles

from luthier.reporting.charts.chart import Strip, Strips
from luthier.reporting.charts.scales import Scale, beside, scale_of
from luthier.reporting.charts.svg import (
    LOOKS,
    RIGHT,
    WIDTH,
    Told,
    across,
    element,
    legend,
    look_marks,
    svg_file,
    text,
    told_attributes,
)
from luthier.reporting.numbers import interval as written_interval
from luthier.reporting.numbers import number
from luthier.reporting.short_names import short_names

__all__ = ["FEWEST_BOXED", "strips_html", "strips_plot", "strips_svg"]

NAME, STRIP = 19, 22
"""Heights of a name and of the values beneath it, in CSS pixels."""

FEWEST_BOXED = 5
"""Fewer values are no distribution: only the dots are drawn."""

SPREAD = 12
"""Pixels over which dots of a strip are spread, so that those of one value do not hide each other."""


def strips_html(figure: Strips, told: Told | None = None) -> str:
    """The strips and their axis, without heading and sentence; arguments as of `chart_html`."""
    height = _height(figure)
    return (
        f'<div class="lu-chart lu-strips">{legend(look_marks(figure.legend))}'
        f'<svg class="lu-plot" width="100%" height="{height}" role="img" aria-label="{text(figure.said)}">'
        f"{''.join(strips_plot(figure, told))}</svg>"
        f'<div class="lu-xtitle">{text(figure.axis.title)}</div></div>'
    )


def strips_svg(figure: Strips) -> str:
    """The strips as an SVG file that needs nothing else."""
    size = (WIDTH - 2 * RIGHT, _height(figure))
    drawn = "".join(strips_plot(figure, None))
    return svg_file(figure, look_marks(figure.legend), drawn, left=RIGHT, size=size, along=(figure.axis.title, ""))


def strips_plot(figure: Strips, told: Told | None) -> Iterator[str]:
    """What lies inside of the SVG, ticks included."""
    x, height = _scale(figure), _height(figure)
    top = _room_of_rules(figure)
    for tick in x.ticks:
        at = across(x, tick.value)
        yield f'<line class="lu-grid" x1="{at}" x2="{at}" y1="{top}" y2="{height}"/>'
        yield f'<text x="{at}" y="{height + 15}" text-anchor="middle">{text(tick.text)}</text>'
    for rule in figure.rules:
        if x.holds(rule.value):
            at = across(x, rule.value)
            yield f'<line class="lu-rule {rule.style}" x1="{at}" x2="{at}" y1="{top - 4}" y2="{height}"/>'
            side = "end" if x.share(rule.value) > 0.75 else "start" if x.share(rule.value) < 0.25 else "middle"
            yield f'<text x="{at}" y="{top - 8}" text-anchor="{side}">{text(rule.text)}</text>' if rule.text else ""
    shown = short_names(strip.name for strip in figure.strips)
    for place, strip in enumerate(figure.strips):
        yield from _strip(strip, shown[strip.name], x, top + place * (NAME + STRIP), figure, told)


def _strip(strip: Strip, short: str, x: Scale, top: int, figure: Strips, told: Told | None) -> Iterator[str]:
    middle = top + NAME + STRIP / 2
    note = strip.note
    if not note and strip.interval is not None:
        note = written_interval(strip.interval, figure.axis.unit)
    small = f' <tspan class="lu-note">{text(note)}</tspan>' if note else ""
    whole = f"<title>{text(strip.name)}</title>" if short != strip.name else ""
    yield f'<text class="lu-name lu-halo" x="0" y="{top + 14}">{whole}{text(short)}{small}</text>'
    yield f'<line class="lu-grid" x2="100%" y1="{middle}" y2="{middle}"/>'
    values = [value for value in strip.values if math.isfinite(value)]
    if strip.boxed and len(values) >= FEWEST_BOXED:
        yield from _box(values, x, middle, figure)
    if strip.interval is not None:
        yield from _interval(strip, x, middle)
    for place, value in enumerate(strip.values):
        if not x.holds(value):
            continue
        look = strip.looks[place] % LOOKS if strip.looks else 0
        # By their place, the same in every drawing.
        shift = beside(place) * SPREAD if len(values) > 1 else 0.0
        attributes, inner = told_attributes(strip.told, place, told)
        yield element(look, across(x, value), f"{middle + shift:.1f}", attributes, inner, large=False)


def _box(values: list[float], x: Scale, middle: float, figure: Strips) -> Iterator[str]:
    low, median, high = quantiles(values, n=4, method="inclusive")
    left, right = 100 * x.share(low), 100 * x.share(high)
    said = ", ".join(f"{name} {number(v, figure.axis.unit)}" for name, v in _named(low, median, high))
    yield (
        f'<rect class="lu-box" x="{left:.3f}%" width="{max(0.1, right - left):.3f}%" y="{middle - 9}" height="18">'
        f"<title>{text(said)}</title></rect>"
    )
    at = across(x, median)
    yield f'<line class="lu-median" x1="{at}" x2="{at}" y1="{middle - 9}" y2="{middle + 9}"/>'


def _named(low: float, median: float, high: float) -> Iterator[tuple[str, float]]:
    yield "median", median
    yield "middle half from", low
    yield "to", high


def _interval(strip: Strip, x: Scale, middle: float) -> Iterator[str]:
    found = strip.interval
    assert found is not None
    css = "lu-rule" if strip.values else "s0"
    if found.low is not None and found.high is not None:
        ends = [across(x, min(max(end, x.low), x.high)) for end in (found.low, found.high)]
        yield f'<line class="{css} lu-interval" x1="{ends[0]}" x2="{ends[1]}" y1="{middle}" y2="{middle}"/>'
    if not x.holds(found.value):
        return
    at = across(x, found.value)
    if strip.values:
        yield f'<line class="{css} lu-interval" x1="{at}" x2="{at}" y1="{middle - 6}" y2="{middle + 6}"/>'
    else:
        yield f'<circle class="c0" cx="{at}" cy="{middle}" r="5"/>'


def _scale(figure: Strips) -> Scale:
    known: list[float] = [rule.value for rule in figure.rules]
    for strip in figure.strips:
        known += strip.values
        if strip.interval is not None:
            known += [end for end in (strip.interval.value, strip.interval.low, strip.interval.high) if end is not None]
    return scale_of(figure.axis, known)


def _room_of_rules(figure: Strips) -> int:
    return 24 if any(rule.text for rule in figure.rules) else 0


def _height(figure: Strips) -> int:
    return _room_of_rules(figure) + len(figure.strips) * (NAME + STRIP)
