"""The colours of charts, computed from their style: they are told from the paper in light and in dark."""

from __future__ import annotations

import re
from importlib.resources import files

import pytest

from luthier.reporting.charts.svg import LOOKS

STYLE = files("luthier.reporting.charts").joinpath("charts.css").read_text("utf-8")
COLOURS = {
    name: (light, dark)
    for name, light, dark in re.findall(r"--lu-([\w-]+): light-dark\((#[0-9a-f]{6}), (#[0-9a-f]{6})\)", STYLE)
}
MATRIX_SHARE = float(re.findall(r"calc\(var\(--share\) \* (\.\d+)\)", STYLE)[0])


def channels(colour: str) -> list[float]:
    return [int(colour[place : place + 2], 16) / 255 for place in (1, 3, 5)]


def mixed(colour: str, paper: str, share: float) -> list[float]:
    return [share * one + (1 - share) * other for one, other in zip(channels(colour), channels(paper), strict=True)]


def luminance(colour: list[float]) -> float:
    """Of sRGB: https://www.w3.org/TR/WCAG22/#dfn-relative-luminance."""
    linear = [one / 12.92 if one <= 0.04045 else ((one + 0.055) / 1.055) ** 2.4 for one in colour]
    return 0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2]


def contrast(one: list[float], other: list[float]) -> float:
    """https://www.w3.org/TR/WCAG22/#dfn-contrast-ratio."""
    high, low = sorted((luminance(one), luminance(other)), reverse=True)
    return (high + 0.05) / (low + 0.05)


def test_the_measure_of_contrast_is_that_of_the_standard() -> None:
    assert contrast(channels("#000000"), channels("#ffffff")) == pytest.approx(21)
    assert contrast(channels("#767676"), channels("#ffffff")) == pytest.approx(4.54, abs=0.01)


@pytest.mark.parametrize("mode", [0, 1], ids=["light", "dark"])
def test_text_and_marks_stand_out_from_their_paper(mode: int) -> None:
    paper = channels(COLOURS["paper"][mode])
    # 4.5 for text, 3 for what is no text: https://www.w3.org/TR/WCAG22/#non-text-contrast.
    assert all(contrast(channels(COLOURS[name][mode]), paper) >= 4.5 for name in ("ink", "soft"))
    dots = [contrast(mixed(COLOURS[str(look)][mode], COLOURS["paper"][mode], 0.78), paper) for look in range(LOOKS)]
    assert min(dots) >= 3, dots


@pytest.mark.parametrize("mode", [0, 1], ids=["light", "dark"])
def test_counts_can_be_read_in_the_darkest_cell_of_a_matrix(mode: int) -> None:
    ink = channels(COLOURS["ink"][mode])
    for look in ("0", "1"):
        assert contrast(ink, mixed(COLOURS[look][mode], COLOURS["paper"][mode], MATRIX_SHARE)) >= 4.5


def test_every_look_has_a_colour() -> None:
    assert {str(look) for look in range(LOOKS)} <= COLOURS.keys()
    for look in range(LOOKS):
        assert all(re.search(rf"\.{kind}{look} {{", STYLE) for kind in "csb")
