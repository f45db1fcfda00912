"""Every kind of page can be used with a keyboard, a screen reader and on a telephone, and runs no text of strangers."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from luthier.evaluation.leaderboard import Leaderboard
from luthier.evaluation.resampling import Interval
from luthier.evaluation.trials import TrialRow, TrialTable
from luthier.reporting.audit_report import audit_page
from luthier.reporting.board_report import board_page
from luthier.reporting.html import write_page
from luthier.reporting.score_report import score_page
from luthier.reporting.table import Page
from luthier.reporting.trials_report import trials_page
from luthier.tasks.task import Rows, Task
from tests.accessibility import faults_of
from tests.browser import browser_page
from tests.reporting.test_audit_report import made
from tests.reporting.test_board_report import HOSTILE, hostile_board
from tests.reporting.test_score_report import scored

pytestmark = pytest.mark.slow

Boards = Callable[..., tuple[Leaderboard, Rows]]

MANY_LANGUAGES = ("好的产品，推荐", "منتج رائع جدا", "très bien 👍🏽", "plain words")
LONGEST = 700_000
"""Bytes of a page of ten specs on a thousand rows, so that it can be mailed."""


def trials(names: tuple[str, ...] = ("a", "b")) -> TrialTable:
    generator = np.random.default_rng(3)
    rows = tuple(
        TrialRow(
            f"{names[place % len(names)]} {place}",
            {"base_model": names[place % len(names)], "epochs": place % 3, "rate": float(generator.uniform(0.1, 1))},
            Interval(float(generator.uniform(0.3, 0.6))),
            cost_usd=0.1 * (place % 7),
        )
        for place in range(60)
    )
    return TrialTable("trials.csv", "accuracy", "higher", ("base_model", "epochs", "rate"), rows, "base_model")


@pytest.fixture
def pages(stars: Task, boards: Boards) -> dict[str, Page]:
    texts = [f"{MANY_LANGUAGES[place % 4]} {place}" for place in range(400)]
    board, rows = boards(stars, texts)
    return {
        "board": board_page(board, rows),
        "audit": audit_page(made()),
        "score": score_page(
            scored({f"a label of a bank {place}, whose name goes on": 5 + place for place in range(77)})
        ),
        "trials": trials_page(trials()),
    }


@pytest.mark.parametrize(
    ("width", "dark"), [(1200, False), (1200, True), (390, False)], ids=["light", "dark", "telephone"]
)
async def test_no_page_has_a_serious_fault_or_is_wider_than_its_window(
    pages: dict[str, Page], tmp_path: Path, width: int, dark: bool
) -> None:
    async with browser_page(tmp_path) as page:
        for name, one in pages.items():
            file = write_page(one, tmp_path / f"{name}.html")
            await page.open(file.as_uri(), width=width, dark=dark)
            await page.until("document.documentElement.dataset.drawn === 'yes'")
            assert await faults_of(page) == [], name
            assert await page.value("document.documentElement.scrollWidth") <= width, name
        assert page.console == []
        assert page.asked == []


async def test_the_checker_finds_a_fault_that_was_put_there(pages: dict[str, Page], tmp_path: Path) -> None:
    file = write_page(pages["audit"], tmp_path / "audit.html")
    text = file.read_text("utf-8").replace("</main>", '<button style="color: #ddd; background: #fff"></button></main>')
    file.write_text(text, "utf-8")
    async with browser_page(tmp_path) as page:
        await page.open(file.as_uri())
        assert any(fault.startswith("button-name") for fault in await faults_of(page))


async def test_texts_of_strangers_run_nothing_on_any_page_even_without_its_policy(
    boards: Boards, tmp_path: Path
) -> None:
    board, rows = hostile_board(boards)
    hostile = {
        "board": board_page(board, rows),
        "audit": audit_page(made(name=HOSTILE[1])),
        "score": score_page(scored(dict.fromkeys(HOSTILE, 5), "".join(HOSTILE))),
        "trials": trials_page(trials(HOSTILE)),
    }
    async with browser_page(tmp_path) as page:
        for name, one in hostile.items():
            file = write_page(one, tmp_path / f"{name}.html")
            policy = file.read_text("utf-8").index('<meta http-equiv="Content-Security-Policy"')
            text = file.read_text("utf-8")
            file.write_text(text[:policy] + text[text.index(">", policy) + 1 :], "utf-8")
            await page.open(file.as_uri())
            await page.until("document.documentElement.dataset.drawn === 'yes'")
            # What is said of a point is shown as text, too.
            await page.value("document.querySelectorAll('.lu-plot').forEach((one) => one.focus())")
            assert await page.value("document.documentElement.dataset.pwned ?? 'no'") == "no", name
        assert page.asked == []


def test_a_page_of_ten_specs_on_a_thousand_rows_is_small_enough_to_mail(
    stars: Task, boards: Boards, tmp_path: Path
) -> None:
    texts = [f"row {place}: " + "words of a review that goes on and on, " * 12 for place in range(1000)]
    names = tuple(f"few-shot-examples-{place}-temperature-0-of-a-model-with-a-long-name-{place}" for place in range(10))
    board, rows = boards(stars, texts, names=names)
    assert write_page(board_page(board, rows), tmp_path / "page.html").stat().st_size < LONGEST
