"""A page's own parts, seen in a browser: what it shows without a script, and what its script adds."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Awaitable, Callable
from pathlib import Path

import pytest

from luthier.evaluation.resampling import Interval
from luthier.reporting.charts.chart import Axis, Chart, Dots
from luthier.reporting.html import fragment, page_text, write_page
from luthier.reporting.short_names import short_names
from luthier.reporting.table import (
    Answered,
    AnsweredRow,
    Bar,
    Column,
    Example,
    Fold,
    Lines,
    Page,
    Row,
    Section,
    SideBySide,
    Table,
)
from tests.browser import BrowserPage, browser_page

SPECS = ("few-shot", "zero <b>shot</b>")
ROWS = SideBySide(
    SPECS,
    (
        AnsweredRow(7, "Café au lait", "4", (Answered("5", False, "I say five"), Answered("4", True))),
        AnsweredRow(9, "cold pasta", "1", (Answered("1", True), Answered("refused", False)), (("id", "a9"),)),
        AnsweredRow(12, "warm pasta", "2", (Answered("2", True), None)),
    ),
    ("The worst 3 of 8.",),
)
TABLE = Table(
    (
        Column("#", "count"),
        Column("spec", kind="name"),
        Column("quality", "share"),
        Column("", kind="bar"),
        *(Column(f"seconds of every {n}th row", "seconds") for n in range(8)),
    ),
    (
        *(
            Row((place, name, found, Bar(found), *[1.0] * 8))
            for place, name, found in (
                (1, "middle", Interval(0.5, 0.4, 0.6)),
                (2, "high", Interval(0.9, 0.8, 0.95)),
                (3, "low", Interval(0.1, 0.0, 0.2)),
            )
        ),
        Row((None, "always the same", Interval(0.3), None, *[None] * 8), "reference", rule=True),
    ),
)
CHART = Chart("Cost", "Cheaper is left.", Axis("$"), Axis("F1"), (Dots((1.0, 2.0), (0.25, 0.5), told=("</a>", "b")),))
PAGE = Page(
    "Leaderboard",
    "Two specs.",
    ("few-shot leads.",),
    (
        Section("Figures", ("Best first.", TABLE, CHART, Fold("more", (Lines(("one",)),)))),
        Section("Rows", (Section("Worst", (ROWS, Example(("true ", "4"), "text"))),)),
    ),
)


def look(
    tmp_path: Path, look_at: Callable[[BrowserPage], Awaitable[None]], *, width: int = 1280, shown: Page = PAGE
) -> None:
    """Opens the page and looks at it; its script writes nothing to the console and asks for nothing."""

    async def run() -> None:
        async with browser_page(tmp_path) as page:
            await page.open(write_page(shown, tmp_path / "page.html").as_uri(), width=width)
            await look_at(page)
            assert (page.console, page.asked) == ([], [])

    asyncio.run(run())


def test_the_document_of_a_page_has_the_numbers_behind_tables_and_figures() -> None:
    found = json.loads(json.dumps(PAGE.document(), allow_nan=False))
    assert [section["title"] for section in found["sections"]] == ["Figures", "Rows"]
    text, table, chart, fold = found["sections"][0]["blocks"]
    assert text == {"kind": "text", "text": "Best first."}
    assert table["rows"][0]["quality"] == [0.5, 0.4, 0.6]
    assert table["rows"][3]["seconds of every 0th row"] is None
    assert chart["kind"] == "chart" and chart["marks"][0]["y"] == [0.25, 0.5]
    assert fold == {"kind": "section", "title": "more", "blocks": [{"kind": "list", "lines": ["one"]}]}
    (worst,) = found["sections"][1]["blocks"]
    assert worst["blocks"][0]["kind"] == "side_by_side"
    assert worst["blocks"][0]["rows"][0]["answers"][0] == {"value": "5", "right": False, "told": "I say five"}


def test_columns_of_one_title_stay_apart_in_the_document() -> None:
    table = Table((Column("p", "p"), Column("p", "p"), Column("")), (Row((0.1, 0.2, "x")),))
    (found,) = Page("", "", (), (Section("", (table,)),)).document()["sections"][0]["blocks"]
    assert found["rows"] == [{"p": 0.1, "p (2)": 0.2, "column": "x"}]


def test_headings_go_down_one_step_at_a_time_and_sections_are_named() -> None:
    html = page_text(PAGE)
    assert '<section aria-labelledby="part-1">' in html and '<h2 id="part-1">' in html
    assert "<h3><bdi>Cost</bdi></h3>" in html and "<h3><bdi>Worst</bdi></h3>" in html
    assert html.index('href="#report"') < html.index("<h1>") < html.index("<nav") < html.index('<main id="report"')


def test_what_is_right_is_said_in_words_and_signs_and_names_are_text() -> None:
    html = fragment(Section("", (ROWS,)))
    assert html.count(">right:<") == 3 and html.count(">wrong:<") == 2 and html.count("✗") == 2
    assert "not asked" in html and "zero &lt;b&gt;shot&lt;/b&gt;" in html and "<b>shot" not in html
    assert "I say five" in html and "luthier-search" not in html.split("</style>")[1]


def test_what_is_said_of_points_is_data_of_the_page_and_a_title_in_a_notebook() -> None:
    assert '<script type="application/json" id="lu-told">["\\u003c/a\\u003e","b"]</script>' in page_text(PAGE)
    assert "<title>&lt;/a&gt;</title>" in fragment(*PAGE.sections)


def test_styles_of_a_fragment_touch_nothing_else_of_a_notebook() -> None:
    style = fragment(*PAGE.sections).split("<style>")[1].split("</style>")[0]
    depth = 0
    for line in style.splitlines():
        assert depth or not line or line.startswith((".luthier-board", "  ", "}", "/*", "@media", "body[", "html["))
        depth += line.count("{") - line.count("}")
    assert depth == 0


def test_long_names_show_what_tells_them_apart_and_are_whole_on_hover() -> None:
    names = [f"reviews-few-shot-large-model-{n}-examples-with-one-seed-and-more" for n in (4, 16)]
    html = fragment(Section("", (Table((Column("spec", kind="name"),), tuple(Row((name,)) for name in names)),)))
    for name, shown in zip(names, short_names(names).values(), strict=True):
        assert f'<bdi title="{name}">{shown}</bdi>' in html


@pytest.mark.slow
def test_a_table_is_sorted_by_any_column_and_goes_back(tmp_path: Path) -> None:
    names = "[...document.querySelectorAll('.luthier-table tbody th')].map((one) => one.textContent).join()"
    sort = "document.querySelectorAll('.luthier-table thead th')[2]"

    async def look_at(page: BrowserPage) -> None:
        for state, order in (
            ("ascending", "low,middle,high,always the same"),
            ("descending", "high,middle,low,always the same"),
            (None, "middle,high,low,always the same"),
        ):
            await page.value(f"{sort}.querySelector('button').click()")
            assert await page.value(names) == order
            assert await page.value(f"{sort}.getAttribute('aria-sort')") == state

    look(tmp_path, look_at)


@pytest.mark.slow
def test_rows_are_found_by_words_and_by_who_was_wrong(tmp_path: Path) -> None:
    shown = "[...document.querySelectorAll('.luthier-rows > li')].filter((one) => !one.hidden).length"
    search = "document.querySelector('.luthier-search input')"
    wrong = "document.querySelector('.luthier-search select')"
    told = "document.querySelector('.luthier-search output').value"

    async def look_at(page: BrowserPage) -> None:
        async def give(field: str, value: str) -> tuple[int, str]:
            await page.value(f"{field}.value = {value!r}")
            await page.value(f"{field}.dispatchEvent(new Event('input', {{bubbles: true}}))")
            return await page.value(shown), await page.value(told)

        assert await give(search, "PASTA") == (2, "2 of 3 rows")
        assert await give(search, "pasta cold") == (1, "1 of 3 rows")
        assert await give(search, "cafe") == (1, "1 of 3 rows")
        assert await give(search, "") == (3, "3 of 3 rows")
        assert await give(wrong, "1") == (1, "1 of 3 rows")

    look(tmp_path, look_at)


@pytest.mark.slow
def test_of_many_rows_the_first_are_shown_and_all_on_request(tmp_path: Path) -> None:
    shown = "[...document.querySelectorAll('.luthier-rows > li')].filter((one) => !one.hidden).length"
    more = "document.querySelector('.luthier-search button')"
    names = tuple(f"a-spec-whose-name-is-longer-than-a-telephone-is-wide-{n}" for n in range(3))
    answers = (Answered("4", True), Answered("5", False), None)
    rows = tuple(AnsweredRow(n, f"text {n}", "4", answers) for n in range(30))

    async def look_at(page: BrowserPage) -> None:
        assert await page.value("document.documentElement.scrollWidth") == 390
        assert await page.value(shown) == 12
        await page.value(f"{more}.click()")
        assert await page.value(shown) == 30 and await page.value(f"{more}.hidden")

    look(tmp_path, look_at, width=390, shown=Page("", "", (), (Section("Rows", (SideBySide(names, rows),)),)))


@pytest.mark.slow
def test_on_a_telephone_a_wide_table_scrolls_under_its_first_column_and_says_so(tmp_path: Path) -> None:
    name = "document.querySelector('.luthier-table tbody th').getBoundingClientRect().left"

    async def look_at(page: BrowserPage) -> None:
        assert await page.value("document.documentElement.scrollWidth") == 390
        await page.until("!document.querySelector('.luthier-scrolls').hidden")
        assert await page.value("document.querySelector('.luthier-wide').tabIndex") == 0
        left = await page.value("document.querySelector('.luthier-wide').getBoundingClientRect().left")
        await page.value("document.querySelector('.luthier-wide').scrollLeft = 300")
        assert await page.value(name) == left

    look(tmp_path, look_at, width=390)
