"""Where ticks and points lie: at one value they are at one place."""

from __future__ import annotations

import math
import xml.etree.ElementTree as ElementTree
from datetime import UTC, datetime

import pytest

from luthier.reporting.charts.chart import Axis, Chart, Dots, Strip, Strips
from luthier.reporting.charts.draw import figure_html, figure_svg
from luthier.reporting.charts.scales import scale_of, ticks_of

SVG = "{http://www.w3.org/2000/svg}"


def drawn(html: str) -> ElementTree.Element:
    """The plot of a chart as elements."""
    begin = html.index('<svg class="lu-plot"')
    return ElementTree.fromstring(html[begin : html.rindex("</svg>") + 6])


def test_a_tick_stands_at_the_point_of_its_value() -> None:
    values = (0.2, 0.4, 0.6)
    plot = drawn(figure_html(Chart("", "said", Axis("x"), Axis("y", "share"), (Dots(values, values),))))
    points = [(one.attrib["cx"], float(one.attrib["cy"])) for one in plot.iter("circle")]
    texts = [(one.text, one.attrib) for one in plot.iter("text")]
    across = {text: at["x"] for text, at in texts if at.get("text-anchor") == "middle"}
    down = {text: float(at["y"]) for text, at in texts if at.get("text-anchor") == "end"}
    assert [across["0.2"], across["0.4"], across["0.6"]] == [x for x, _ in points]
    assert [down[".2"], down[".4"], down[".6"]] == [y for _, y in points]


def test_a_known_point_lies_where_arithmetic_says() -> None:
    axis = Axis("", range=(0.0, 4.0))
    plot = drawn(figure_html(Chart("", "said", axis, axis, (Dots((1.0,), (3.0,)),), height=200)))
    (point,) = plot.iter("circle")
    assert (point.attrib["cx"], float(point.attrib["cy"])) == ("25.000%", 50.0)


def test_a_logarithmic_axis_has_equal_factors_at_equal_distances() -> None:
    scale = scale_of(Axis("", scale="log", range=(0.001, 1000.0)), ())
    assert [round(scale.share(10.0**power), 9) for power in (-3, 0, 3)] == [0, 0.5, 1]
    seen = scale_of(Axis("", scale="log"), (0.0, -1.0, math.nan, 1.0, 100.0))
    assert 0 < seen.low < 1 < 100 < seen.high


@pytest.mark.parametrize(
    ("low", "high"),
    [(0.0, 1.0), (0.25, 0.604), (-3.0, 7.0), (0.0, 1e-7), (1e6, 3e9), (0.4999, 0.5001), (-0.02, -0.01), (99.0, 101.0)],
)
@pytest.mark.parametrize("unit", ["number", "share", "percent", "usd", "seconds", "count"])
def test_ticks_are_few_in_order_inside_and_written_differently(low: float, high: float, unit: str) -> None:
    ticks = ticks_of(Axis("", unit), low, high)  # type: ignore[arg-type]
    values = [tick.value for tick in ticks]
    assert values == sorted(values) and len(ticks) <= 5
    assert all(low - 1e-9 * (high - low) <= value <= high + 1e-9 * (high - low) for value in values)
    assert len({tick.text for tick in ticks}) == len(ticks)


@pytest.mark.parametrize("seconds", [90, 3600, 20_000, 86_400, 5e5, 4e6, 4e7, 4e8])
def test_times_are_told_apart_and_lie_inside(seconds: float) -> None:
    begin = datetime(2026, 11, 28, 9, 17, tzinfo=UTC).timestamp()
    ticks = ticks_of(Axis("", scale="time"), begin, begin + seconds)
    assert 1 <= len(ticks) <= 7 and len({tick.text for tick in ticks}) == len(ticks)
    assert all(begin <= tick.value <= begin + seconds for tick in ticks)


def test_one_value_alone_has_an_axis_around_it() -> None:
    for value in (0.0, 0.5, -3.0, 1e9):
        scale = scale_of(Axis(""), (value,))
        assert scale.low < value < scale.high


def test_a_strip_has_its_values_over_the_ticks_of_its_axis_in_a_file_too() -> None:
    root = ElementTree.fromstring(
        figure_svg(Strips("", "said", Axis("F1", "share", range=(0.0, 1.0)), (Strip("a", (0.5,)),)))
    )
    (point,) = root.iter(f"{SVG}circle")
    (tick,) = (one for one in root.iter(f"{SVG}text") if one.text == ".50")
    assert point.attrib["cx"] == tick.attrib["x"] == "50.000%"
