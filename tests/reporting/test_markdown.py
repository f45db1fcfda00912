"""The description of a run: readable Markdown, whatever specs are called and however many there are."""

from __future__ import annotations

from luthier.reporting.markdown import LONGEST, described, listed
from luthier.tasks.task import Task
from tests.reporting.conftest import make_board


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
