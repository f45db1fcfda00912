"""Charts as SVG: inline in a page, as wide as it is, or as a file of their own.

Places along x are percentages, so that a plot fits every width while its text keeps its size. What takes no
percentages, a path, lies in an inner `<svg>` that is stretched, and its strokes are not. Titles, legend and the names
of categories are HTML around the plot.
"""

from __future__ import annotations

import math
import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from functools import cache
from html import escape
from importlib.resources import files

from luthier.reporting.charts.chart import Band, Bars, Chart, Curve, Dots, Figure, Mark, Rule
from luthier.reporting.charts.scales import Scale, scale_of, tops, values_along
from luthier.reporting.numbers import printable
from luthier.reporting.short_names import short_names, shortened

__all__ = [
    "LOOKS",
    "Told",
    "across",
    "chart_html",
    "chart_svg",
    "element",
    "legend",
    "look_marks",
    "svg_file",
    "symbol",
    "text",
    "told_attributes",
]

LOOKS = 8
"""Colours and shapes; more kinds than this begin again."""

SHAPES = (
    "M4,0A4,4,0,1,1-4,0A4,4,0,1,1,4,0Z",
    "M-3.6,-3.6h7.2v7.2h-7.2z",
    "M0,-4.8L4.4,3.2H-4.4Z",
    "M0,-5L5,0L0,5L-5,0Z",
    "M-4.4,-1.4h3v-3h2.8v3h3v2.8h-3v3h-2.8v-3h-3z",
    "M0,4.8L4.4,-3.2H-4.4Z",
    "M-5,-2h10v4h-10z",
    "M-2,-5h4v10h-4z",
)
"""Of the looks, around their middle: who sees no colours tells them apart, too."""

MOST_ELEMENTS = 1000
"""Dots up to which each is an element; more are one path, which is drawn in a fifth of the time."""

MOST_SILENT = 20
"""The same of dots of which nothing is told: an element of their own is of no use but in print."""

STRETCHED = 1000
"""Width of the coordinates that a path has."""

LONGEST_NAME = 44
"""Characters shown of a name in a legend."""

WIDTH, LEFT, RIGHT, TOP, BOTTOM = 760, 64, 24, 34, 52
"""Of a chart that is a file of its own, and its margins; CSS pixels."""

CHARACTER = 7.2
"""Width of a character of a tick."""

LONGEST_BESIDE = 24
"""Characters of a category that is written to the left of a plot."""


class Told:
    """What is said of points, each text once a page, so that ten charts of one thing repeat none of it."""

    def __init__(self) -> None:
        self._places: dict[str, int] = {}

    def place(self, text: str) -> int:
        """The text's number on the page."""
        return self._places.setdefault(text, len(self._places))

    @property
    def texts(self) -> list[str]:
        """Every text by its number."""
        return list(self._places)


def chart_html(chart: Chart, told: Told | None = None) -> str:
    """The plot, its axes and its legend, without heading and sentence.

    Args:
        chart: what is drawn.
        told: takes what is said of points, for the page's script; without it the points have it themselves.
    """
    x, y = _scales(chart)
    left = 10 + _room_beside(y)
    square = f";max-width:{chart.height + left + 40}px" if chart.square else ""
    return (
        f'<div class="lu-chart" style="padding-left:{left}px{square}">'
        f"{legend(chart.marks)}"
        f'<div class="lu-ytitle">{text(chart.y.title)}</div>'
        f'<svg class="lu-plot" width="100%" height="{chart.height}" role="img" aria-label="{text(chart.said)}">'
        f"{''.join(_plot(chart, x, y, told))}</svg>"
        f"{_categories(x)}"
        f'<div class="lu-xtitle">{text(chart.x.title)}</div></div>'
    )


def chart_svg(chart: Chart) -> str:
    """The chart as an SVG file that needs nothing else: for MLflow's artifact view, a slide, a paper."""
    x, y = _scales(chart)
    left = max(LEFT, 16 + _room_beside(y))
    width = chart.height if chart.square else WIDTH - left - RIGHT
    drawn = "".join(_plot(chart, x, y, None, letters=_letters(width / max(1, len(x.ticks)))))
    return svg_file(
        chart, chart.marks, drawn, left=left, size=(width, chart.height), along=(chart.x.title, chart.y.title)
    )


def svg_file(
    figure: Figure,
    marks: Sequence[Mark],
    drawn: str,
    *,
    left: int,
    size: tuple[int, int],
    along: tuple[str, str] = ("", ""),
    above: int = 0,
) -> str:
    """A drawing with its title, its legend and the titles of its axes as an SVG file, on light paper.

    Args:
        figure: what is drawn.
        marks: those that have a name are in the legend.
        drawn: the drawing.
        left: its distance from the left, in CSS pixels.
        size: its width and height.
        along: what lies along it, across and up.
        above: room it needs for what stands above it.
    """
    width, height = size
    named = [mark for mark in marks if not isinstance(mark, Rule) and mark.name]
    columns = max(1, width // 230)
    first = TOP + (12 if figure.title else -12)
    top = first + 20 * math.ceil(len(named) / columns) + (22 if along[1] else 6) + above
    whole = (left + width + RIGHT, top + height + BOTTOM)
    shown = short_names((mark.name for mark in named), _letters(width / columns - 24))
    items = "".join(
        f'<svg x="{left + place % columns * width / columns:.0f}" y="{first + 20 * (place // columns)}" '
        f'width="16" height="16" overflow="visible">{symbol(mark)}'
        f'<text x="20" y="12">{text(shown[mark.name])}</text></svg>'
        for place, mark in enumerate(named)
    )
    title = short_names([figure.title], _letters((whole[0] - 24) / 1.25))[figure.title]
    heading = f'<text class="lu-title" x="12" y="22">{text(title)}</text>' if title else ""
    upward = f'<text x="{left}" y="{top - 10}">{text(along[1])}</text>' if along[1] else ""
    middle = f'x="{left + width / 2:.0f}" y="{whole[1] - 10}" text-anchor="middle"'
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" width="{whole[0]}" height="{whole[1]}" '
        f'viewBox="0 0 {whole[0]} {whole[1]}" role="img" aria-label="{text(figure.said)}">'
        f"<style>{_file_style()}</style>"
        f'<rect width="100%" height="100%" class="lu-paper"/>{heading}{items}{upward}'
        f'<svg x="{left}" y="{top}" width="{width}" height="{height}" overflow="visible">{drawn}</svg>'
        f"<text {middle}>{text(along[0])}</text></svg>"
    )


def _letters(pixels: float) -> int:
    """Characters of a tick that have room in a width."""
    return max(3, int(pixels / CHARACTER))


def _room_beside(y: Scale) -> int:
    """Width of what is written to the left of a plot."""
    return round(CHARACTER * max((len(shortened(tick.text, LONGEST_BESIDE)) for tick in y.ticks), default=0))


def symbol(mark: Mark) -> str:
    """What stands for a mark in a legend, in 16 by 16 pixels."""
    if isinstance(mark, Dots):
        return f'<path class="c{mark.look % LOOKS}" transform="translate(8,8)" d="{SHAPES[mark.look % LOOKS]}"/>'
    if isinstance(mark, Curve):
        return f'<path class="{_line_class(mark)}" d="M0,8H16"/>'
    look = 0 if isinstance(mark, Rule) else mark.look % LOOKS
    return f'<rect class="{"b" if isinstance(mark, Band) else "c"}{look}" y="3" width="16" height="10"/>'


def _scales(chart: Chart) -> tuple[Scale, Scale]:
    return scale_of(chart.x, values_along(chart.marks, "x")), scale_of(chart.y, values_along(chart.marks, "y"))


def legend(marks: Sequence[Mark]) -> str:
    """What the marks that have names are called, each behind its symbol; nothing where none has one."""
    named = [mark for mark in marks if not isinstance(mark, Rule) and mark.name]
    shown = short_names((mark.name for mark in named), LONGEST_NAME)
    items = "".join(
        f'<span><svg width="16" height="16" aria-hidden="true">{symbol(mark)}</svg>{_name(mark.name, shown)}</span>'
        for mark in named
    )
    return f'<div class="lu-legend">{items}</div>' if items else ""


def look_marks(names: Sequence[str]) -> tuple[Dots, ...]:
    """What stands in a legend for the looks of dots or lines, from the first look on."""
    return tuple(Dots((), (), name, look) for look, name in enumerate(names))


def _name(name: str, shown: Mapping[str, str]) -> str:
    whole = f' title="{text(name)}"' if shown[name] != name else ""
    return f"<bdi{whole}>{text(shown[name])}</bdi>"


def _categories(x: Scale) -> str:
    """The names under the plot, each as wide as its place."""
    if x.axis.scale != "category":
        return ""
    names = "".join(f'<span title="{text(tick.text)}"><bdi>{text(tick.text)}</bdi></span>' for tick in x.ticks)
    return f'<div class="lu-categories">{names}</div>'


def _plot(chart: Chart, x: Scale, y: Scale, told: Told | None, letters: int = 0) -> Iterator[str]:
    """What lies inside of the axes, and the ticks beside them; names of categories along x with so many letters."""
    height = chart.height
    for tick in y.ticks:
        at = _down(y, tick.value, height)
        yield f'<line class="lu-grid" x2="100%" y1="{at}" y2="{at}"/>'
        written = text(shortened(tick.text, LONGEST_BESIDE))
        yield f'<text x="-8" y="{at}" dy=".35em" text-anchor="end">{written}</text>'
    for tick in x.ticks:
        at = across(x, tick.value)
        written = tick.text
        if x.axis.scale == "category":
            written = shortened(tick.text, letters) if letters else ""
        else:
            yield f'<line class="lu-grid" x1="{at}" x2="{at}" y2="{height}"/>'
        if written:
            yield f'<text x="{at}" y="{height + 17}" text-anchor="middle">{text(written)}</text>'
    yield f'<line class="lu-axis" x2="100%" y1="{height}" y2="{height}"/>'
    for mark in chart.marks:
        yield from _mark(mark, x, y, height, told)


def _mark(mark: Mark, x: Scale, y: Scale, height: int, told: Told | None) -> Iterator[str]:
    if isinstance(mark, Rule):
        yield from _rule(mark, x, y, height)
    elif isinstance(mark, Dots):
        yield from _dots(mark, x, y, height, told)
    elif isinstance(mark, Bars):
        yield from _bars(mark, x, y, height, told)
    else:
        path = _line_path(mark, x, y, height) if isinstance(mark, Curve) else _band_path(mark, x, y, height)
        css = _line_class(mark) if isinstance(mark, Curve) else f"b{mark.look % LOOKS}"
        yield _stretched(f'<path class="{css}" d="{path}"/>', height)


def _rule(rule: Rule, x: Scale, y: Scale, height: int) -> Iterator[str]:
    scale = x if rule.across == "x" else y
    if not scale.holds(rule.value):
        return
    if rule.across == "x":
        at = across(x, rule.value)
        yield f'<line class="lu-rule {rule.style}" x1="{at}" x2="{at}" y2="{height}"/>'
        # Beside the line, on the side that has room.
        side, shift = ("end", -4) if x.share(rule.value) > 0.6 else ("start", 4)
        where = f'x="{at}" dx="{shift}" y="11" text-anchor="{side}"'
    else:
        down = _down(y, rule.value, height)
        yield f'<line class="lu-rule {rule.style}" x2="100%" y1="{down}" y2="{down}"/>'
        where = f'x="100%" dx="-2" y="{down}" dy="{12 if y.share(rule.value) > 0.9 else -5}" text-anchor="end"'
    if rule.text:
        yield f'<text class="lu-halo" {where}>{text(rule.text)}</text>'


def _dots(dots: Dots, x: Scale, y: Scale, height: int, told: Told | None) -> Iterator[str]:
    look = dots.look % LOOKS
    drawn = [i for i in range(len(dots.x)) if x.holds(dots.x[i]) and y.holds(dots.y[i])]
    for i in drawn if dots.low else ():
        at = across(x, dots.x[i])
        ends = [_down(y, min(max(end, y.low), y.high), height) for end in (dots.low[i], dots.high[i])]
        yield f'<line class="s{look} lu-span" x1="{at}" x2="{at}" y1="{ends[0]}" y2="{ends[1]}"/>'
    if len(drawn) > (MOST_ELEMENTS if dots.told else MOST_SILENT):
        yield _many(dots, drawn, x, y, height, told)
        return
    for i in drawn:
        attributes, inner = told_attributes(dots.told, i, told)
        yield element(look, across(x, dots.x[i]), _down(y, dots.y[i], height), attributes, inner, large=dots.large)


def element(look: int, at: str, down: str, attributes: str, inner: str, *, large: bool) -> str:
    """A dot in the colour and shape of its look."""
    css = f"c{look} lu-dot{' lu-large' if large else ''}"
    if look == 0:
        return f'<circle class="{css}" cx="{at}" cy="{down}" r="{6 if large else 4}"{attributes}>{inner}</circle>'
    scale = ' transform="scale(1.5)"' if large else ""
    return (
        f'<svg class="{css}" x="{at}" y="{down}" overflow="visible"{attributes}>'
        f'<path d="{SHAPES[look]}"{scale}>{inner}</path></svg>'
    )


def _many(dots: Dots, drawn: Sequence[int], x: Scale, y: Scale, height: int, told: Told | None) -> str:
    """Thousands of points as one path of strokes without a length; in print they come out a little wide."""
    path = "".join(f"M{STRETCHED * x.share(dots.x[i]):.1f},{height * (1 - y.share(dots.y[i])):.1f}h0" for i in drawn)
    said = ""
    if dots.told and told is not None:
        said = f' data-told="{",".join(str(told.place(dots.told[i])) for i in drawn)}"'
    return _stretched(f'<path class="s{dots.look % LOOKS} lu-many" d="{path}"{said}/>', height)


def _bars(bars: Bars, x: Scale, y: Scale, height: int, told: Told | None) -> Iterator[str]:
    base = bars.base or (0.0,) * len(bars.heights)
    for i, (low, top) in enumerate(zip(base, tops(bars), strict=True)):
        if top == low:
            continue
        left, right = (100 * x.share(edge) for edge in bars.edges[i : i + 2])
        down, end = _down(y, top, height), _down(y, low, height)
        number, inner = told_attributes(bars.told, i, told)
        yield (
            f'<rect class="c{bars.look % LOOKS} lu-bar" x="{left:.3f}%" width="{right - left:.3f}%" y="{down}" '
            f'height="{float(end) - float(down):.1f}"{number}>{inner}</rect>'
        )


def told_attributes(texts: Sequence[str], place: int, told: Told | None) -> tuple[str, str]:
    """What is said of an element: its number on the page, or a title inside it."""
    if not texts:
        return "", ""
    if told is not None:
        return f' data-told="{told.place(texts[place])}"', ""
    return "", f"<title>{text(texts[place])}</title>"


def _line_path(line: Curve, x: Scale, y: Scale, height: int) -> str:
    parts: list[str] = []
    before: float | None = None
    for across, up in zip(line.x, line.y, strict=True):
        if not (math.isfinite(across) and math.isfinite(up)):
            before = None
            continue
        at, down = STRETCHED * x.share(across), height * (1 - y.share(up))
        if before is None:
            parts.append(f"M{at:.1f},{down:.1f}")
        else:
            parts.append(f"H{at:.1f}V{down:.1f}" if line.stepped else f"L{at:.1f},{down:.1f}")
        before = down
    return "".join(parts)


def _band_path(band: Band, x: Scale, y: Scale, height: int) -> str:
    def places(values: Iterable[float], ups: Iterable[float]) -> list[str]:
        return [
            f"{STRETCHED * x.share(at):.1f},{height * (1 - y.share(min(max(up, y.low), y.high))):.1f}"
            for at, up in zip(values, ups, strict=True)
        ]

    there, back = places(band.x, band.high), places(band.x[::-1], band.low[::-1])
    return f"M{'L'.join([*there, *back])}Z"


def _stretched(inner: str, height: int) -> str:
    return (
        f'<svg width="100%" height="{height}" viewBox="0 0 {STRETCHED} {height}" preserveAspectRatio="none">'
        f"{inner}</svg>"
    )


def _line_class(line: Curve) -> str:
    look = "lu-rule" if line.look is None else f"s{line.look % LOOKS}"
    return f"lu-line {look} {line.style} {line.weight}"


def across(x: Scale, value: float) -> str:
    """Where a value lies along x, as SVG writes it."""
    return f"{100 * x.share(value):.3f}%"


def _down(y: Scale, value: float, height: int) -> str:
    return f"{height * (1 - y.share(value)):.1f}"


def text(given: str) -> str:
    """A text that is text in HTML, whatever it holds."""
    return escape(printable(given))


@cache
def _file_style() -> str:
    """charts.css for a file of its own, with the light colours themselves: few programs but browsers know variables."""
    style = files("luthier.reporting.charts").joinpath("charts.css").read_text("utf-8")
    rules = [line for line in style.splitlines() if not re.match(r"\s+--|:root|@media|\}", line)]
    # The share of a cell is a variable of HTML; tables are drawn by other means in a file.
    rules = [line for line in rules if "--share" not in line]
    light = dict(re.findall(r"(--lu-[\w-]+): light-dark\((#\w+),", style))
    return re.sub(r"var\((--lu-[\w-]+)\)", lambda found: light[found[1]], "\n".join(rules))
