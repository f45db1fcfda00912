"""What changed between two texts is told apart by every writer, and nothing in it is read as markup."""

from __future__ import annotations

import io
from pathlib import Path

from rich.console import Console

from luthier.reporting.html import write_page
from luthier.reporting.markdown import page_markdown
from luthier.reporting.table import Page, Section, TextDiff
from luthier.reporting.terminal import show

DIFF = TextDiff.between("Be brief.\n```\nText:", "<b>One word</b>.\n++ and no more [red]\n```\nText:", ("few", "few-2"))
PAGE = Page("prompts", "", (), (Section("What changed", (DIFF,)),))


def test_equal_texts_have_no_diff() -> None:
    assert TextDiff.between("a\nb", "a\nb", ("x", "y")).lines == ()


def test_a_terminal_shows_lines_in_colours_and_a_log_file_without() -> None:
    coloured, plain = io.StringIO(), io.StringIO()
    show(*PAGE.sections, console=Console(file=coloured, force_terminal=True, color_system="standard", width=80))
    show(*PAGE.sections, console=Console(file=plain, width=80))
    assert "\x1b[32m+<b>One word</b>." in coloured.getvalue() and "\x1b[31m-Be brief." in coloured.getvalue()
    assert "\x1b" not in plain.getvalue() and "+++ and no more [red]" in plain.getvalue()


def test_a_page_marks_the_lines_and_escapes_them(tmp_path: Path) -> None:
    write_page(PAGE, tmp_path / "page.html")
    text = (tmp_path / "page.html").read_text()
    assert '<span class="luthier-added">+&lt;b&gt;One word&lt;/b&gt;.</span>' in text
    assert '<span class="luthier-added">+++ and no more [red]</span>' in text
    assert '<span class="luthier-removed">-Be brief.</span>' in text


def test_markdown_fences_a_diff_that_holds_a_fence() -> None:
    text = page_markdown(PAGE)
    assert "````diff\n--- few\n+++ few-2\n" in text and text.rstrip().endswith("````")


def test_a_page_as_json_has_the_lines() -> None:
    [block] = PAGE.document()["sections"][0]["blocks"]
    assert block["kind"] == "diff" and block["lines"][2].startswith("@@")
