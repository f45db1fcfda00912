from __future__ import annotations

from pathlib import Path

import pytest

from luthier.reporting.charts.chart import Axis, Chart, Dots, Parallel, ParallelAxis, ParallelLine
from luthier.reporting.html import write_page
from luthier.reporting.table import Page, Section
from tests.browser import BrowserPage, browser_page

pytestmark = pytest.mark.slow

TOLD = tuple(f"trial {number}" for number in range(5))


def chart_page(folder: Path) -> str:
    """The address of a page with five points on a diagonal and five parallel lines."""
    dots = Dots((0.0, 1.0, 2.0, 3.0, 4.0), (0.0, 1.0, 2.0, 3.0, 4.0), told=TOLD)
    chart = Chart("Points", "Five points.", Axis("x"), Axis("y"), (dots,))
    axes = (ParallelAxis("rate", ((0.0, "0"), (1.0, "4"))), ParallelAxis("F1", ((0.0, "0"), (1.0, "1"))))
    lines = tuple(ParallelLine((place / 4, place / 4), TOLD[place], place / 4) for place in range(5))
    sections = (Section("One", (chart, Parallel("Lines", "Five lines.", axes, lines))),)
    return write_page(Page("Charts", "", (), sections), folder / "page.html").as_uri()


async def drag(page: BrowserPage, start: tuple[float, float], end: tuple[float, float]) -> None:
    for kind, (x, y) in (("mousePressed", start), ("mouseMoved", end), ("mouseReleased", end)):
        await page.send("Input.dispatchMouseEvent", type=kind, x=x, y=y, button="left", buttons=1, clickCount=1)


async def key(page: BrowserPage, name: str) -> None:
    for kind in ("keyDown", "keyUp"):
        await page.send("Input.dispatchKeyEvent", type=kind, key=name, code=name)


async def test_a_pointer_and_the_arrow_keys_find_what_is_said_of_a_point(tmp_path: Path) -> None:
    async with browser_page(tmp_path) as page:
        await page.open(chart_page(tmp_path))
        x, y = await page.value(
            "(() => { const plot = document.querySelector('.lu-plot'); plot.scrollIntoView();"
            " const box = plot.querySelectorAll('circle')[2].getBoundingClientRect();"
            " return [box.x + box.width / 2, box.y + box.height / 2]; })()"
        )
        await page.send("Input.dispatchMouseEvent", type="mouseMoved", x=x + 3, y=y)
        assert await page.value("document.querySelector('.lu-tip').textContent") == "trial 2"
        await page.value("document.querySelector('.lu-plot').focus({preventScroll: true})")
        await key(page, "ArrowRight")
        assert await page.value("document.querySelector('.lu-spoken').textContent") == "trial 3"
        assert page.console == []


async def test_what_a_finger_finds_stays_when_it_is_lifted_and_goes_with_a_touch_elsewhere(tmp_path: Path) -> None:
    async with browser_page(tmp_path) as page:
        await page.open(chart_page(tmp_path))
        await page.send("Emulation.setTouchEmulationEnabled", enabled=True)
        x, y = await page.value(
            "(({x, y, width, height}) => [x + width / 2, y + height / 2])"
            "(document.querySelectorAll('.lu-plot circle')[2].getBoundingClientRect())"
        )
        for at in ((x, y), (x, 5.0)):
            await page.send("Input.dispatchTouchEvent", type="touchStart", touchPoints=[{"x": at[0], "y": at[1]}])
            await page.send("Input.dispatchTouchEvent", type="touchEnd", touchPoints=[])
            shown = await page.value(
                "(({hidden, textContent}) => [hidden, textContent])(document.querySelector('.lu-tip'))"
            )
            assert shown == [at != (x, y), "trial 2"]


async def test_a_range_on_an_axis_leaves_the_lines_that_pass_there_and_says_how_many(tmp_path: Path) -> None:
    async with browser_page(tmp_path) as page:
        await page.open(chart_page(tmp_path))
        await page.value("document.querySelector('.lu-parallel .lu-plot').scrollIntoView({block: 'center'})")
        x, top, height = await page.value(
            "(({x, y, width, height}) => [x + width / 4, y, height])"
            "(document.querySelector('.lu-parallel .lu-plot').getBoundingClientRect())"
        )
        await drag(page, (x, top + 2), (x, top + 0.4 * height))
        shown = "document.querySelectorAll('.lu-path:not(.lu-off)').length"
        assert await page.value(shown) == 2
        said = await page.value("document.querySelector('.lu-count').textContent")
        assert said.startswith("2 of 5 trials")
        await page.value("document.querySelector('.lu-hold').focus({preventScroll: true})")
        await key(page, "Escape")
        assert await page.value(shown) == 5
        await key(page, "ArrowDown")
        assert await page.value(shown) == 1
        assert page.console == []
