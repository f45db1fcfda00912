"""The page of several tables: one part per table, then what holds across them; it opens without a network."""

from __future__ import annotations

import io
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from rich.console import Console

from luthier.evaluation.across import across_tables
from luthier.evaluation.leaderboard import Leaderboard
from luthier.evaluation.spread import spread_of
from luthier.reporting.across_report import across_page, across_sections
from luthier.reporting.board_figures import across_strips
from luthier.reporting.html import fragment, page_text, write_page
from luthier.reporting.terminal import show
from luthier.tasks.task import Rows, Task

Boards = Callable[..., tuple[Leaderboard, Rows]]

HOSTILE = '<img src=x onerror="document.documentElement.dataset.pwned=1">'


@pytest.fixture
def two(boards: Boards, stars: Task) -> dict[str, Leaderboard]:
    return {
        "may": boards(stars, [f"text {i}" for i in range(60)])[0],
        HOSTILE: boards(stars, [f"other {i}" for i in range(80)])[0],
    }


def test_the_page_has_a_part_per_table_and_ends_with_what_is_robust(two: dict[str, Leaderboard]) -> None:
    html = page_text(across_page(two, across_tables(two)))
    order = [html.index(f'id="part-{place}"') for place in (1, 2, 3)]
    assert order == sorted(order)
    assert "Across the tables" in html


def test_a_tables_name_is_text_wherever_it_is_shown(two: dict[str, Leaderboard]) -> None:
    across = across_tables(two)
    for html in (page_text(across_page(two, across)), fragment(*across_sections(two, across))):
        assert "<img" not in html


def test_the_figure_has_a_dot_per_table_beside_each_mean_and_the_table_says_the_place(
    two: dict[str, Leaderboard],
) -> None:
    across = across_tables(two)
    figure = across_strips(across)
    assert figure.legend == tuple(two)
    for strip, entry in zip(figure.strips, across.entries, strict=True):
        assert strip.interval == entry.mean
        assert strip.values == tuple(entry.values[name].value for name in two)
    assert f"<small><bdi>#{across.best.ranks['may']}</bdi></small>" in fragment(*across_sections(two, across))


def test_a_table_with_a_long_name_keeps_its_column_in_80_characters(boards: Boards, stars: Task) -> None:
    names = ("reviews-of-restaurants-of-june", "july")
    several = {name: boards(stars, [f"{name} {i}" for i in range(60)])[0] for name in names}
    written = io.StringIO()
    show(across_sections(several, across_tables(several))[-1], console=Console(file=written, width=80))
    heads = written.getvalue().splitlines()[1:4]
    assert "reviews-of-" in heads[0] and "july" in " ".join(heads)


@pytest.mark.slow
def test_the_page_opens_in_a_browser_and_draws_every_figure(
    two: dict[str, Leaderboard], chromium: Any, tmp_path: Path
) -> None:
    spread = spread_of({"count 1": [0.1, 0.2, 0.3], "count 4": [0.5, 0.6, 0.5]}, "qwk")
    page = write_page(across_page(two, across_tables(two), spreads={"may": [spread]}), tmp_path / "page.html")
    opened = chromium(page)
    assert opened.document.count('class="lu-chart lu-strips"') == 2
    assert "data-pwned" not in opened.document.split(">", 2)[1]
    assert not opened.console
