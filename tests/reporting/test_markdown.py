"""Markdown of pages and of the description of a run: readable, whatever specs are called."""

from __future__ import annotations

import re

from markdown_it import MarkdownIt

from luthier.reporting.markdown import LONGEST, described, listed, page_markdown
from luthier.reporting.scorecard_report import scorecard_page
from luthier.tasks.task import Task
from tests.evaluation.cards import full_card, sensitive
from tests.reporting.conftest import make_board
from tests.reporting.test_board_report import tags
from tests.reporting.test_scorecard_report import hostile_card


def test_a_spec_named_like_markdown_is_shown_as_it_is(stars: Task) -> None:
    board, _ = make_board(stars, ["a", "b"] * 30, names=("a|b_c", "<b>*x*", "tfidf", "weak"))
    said = described(board)
    assert "a\\|b\\_c: QWK" in said
    assert "&lt;b&gt;\\*x\\*" in said


def test_many_specs_fit_by_leaving_out_the_last(stars: Task) -> None:
    names = [f"spec-{n:02}-{'x' * 50}" for n in range(20)]
    board, _ = make_board(stars, ["a", "b"] * 10, names=names)
    said = described(board)
    assert len(said) <= LONGEST
    assert "The best 15 are shown; report.html has all 20." in said
    assert board.entries[14].name in said


def test_a_long_list_ends_with_a_whole_sentence() -> None:
    lines = [f"Sentence {n} is as long as sentences are." for n in range(1000)]
    assert listed(lines).endswith("as sentences are.")


def test_a_page_is_markdown_with_tables_folds_and_no_figure() -> None:
    text = page_markdown(scorecard_page(full_card()))
    assert text.startswith("# Scorecard: stars/3\n")
    assert "| sentences &gt; 12 | 84 | 57% (46%–67%) |" in text
    assert re.search(r"\| metric \| value \| baseline \|\n\| --- \| ---: \| ---: \|\n\| accuracy \|", text)
    assert text.count("<details><summary>") == text.count("</details>") > 3
    assert "injection: **1**, then **5**" in text
    for words in ("dotted", "diamond", "To the right"):
        assert words not in text


def test_every_line_of_a_table_has_as_many_cells_whatever_stands_in_them() -> None:
    card = full_card(sensitive=(sensitive("a|b", groups=("x | y", "new\nline", "`z|`")),))
    tables = re.findall(r"(?:^\|.*\|\n)+", page_markdown(scorecard_page(card)), re.M)
    assert len(tables) > 8
    for table in tables:
        assert len({len(re.findall(r"(?<!\\)\|", line)) for line in table.splitlines()}) == 1


def test_hostile_texts_make_no_tag_no_link_and_no_heading_in_markdown() -> None:
    evil = (
        "# head",
        "1. one",
        "<img src=x>",
        "[a](javascript:b)",
        "![a](b)",
        "- - -",
        "</details><script>",
        "a\n\n# b",
    )
    text = page_markdown(scorecard_page(full_card(limits=evil)))
    limits = text.split("## Known limits")[1].split("## Glossary")[0].strip().splitlines()
    assert len(limits) == len(evil)
    assert not any("<" in line or re.search(r"(?<!\\)\[", line) for line in limits)
    assert not any(re.match(r"- (#|\d+\.|-)", line) for line in limits)


def test_rendered_hostile_texts_are_text() -> None:
    rendered = (
        MarkdownIt("commonmark", {"html": True}).enable("table").render(page_markdown(scorecard_page(hostile_card())))
    )
    found = tags(rendered)
    ours = {"h1", "h2", "h3", "p", "ul", "li", "table", "thead", "tbody", "tr", "th", "td"}
    assert {tag for tag, _ in found} <= ours | {"details", "summary", "blockquote", "strong", "em"}
    assert not any(set(attributes) - {"style"} for _, attributes in found)
    assert sum(tag == "h2" for tag, _ in found) == len(scorecard_page(hostile_card()).sections)
