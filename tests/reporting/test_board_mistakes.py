"""The rows the best spec got wrong, with the answers of several specs beside each other."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

from luthier.evaluation.leaderboard import Leaderboard
from luthier.evaluation.ranking import build_leaderboard
from luthier.reporting.board_mistakes import MOST_BESIDE, ROOM, mistakes_section
from luthier.reporting.table import SideBySide
from luthier.tasks.prediction import CallRecord, Prediction
from luthier.tasks.task import Rows, Task
from tests.evaluation.answering import MOOD, candidate, table

Boards = Callable[..., tuple[Leaderboard, Rows]]


def moods() -> tuple[Leaderboard, Rows]:
    """Six rows: the best spec has two wrong, of which the other has one right; the other refuses two more."""
    rows = table(MOOD, ["good"] * 6)
    best = [Prediction(label, "ok", call=CallRecord(f"it is {label}")) for label in ["good"] * 4 + ["bad"] * 2]
    other = [Prediction("good", "ok")] * 2 + [Prediction(None, "refused", error="I would rather not")] * 2
    other += [Prediction("good", "ok"), Prediction("bad", "ok")]
    return build_leaderboard(MOOD, rows, [candidate("best", best), candidate("other", other)], resamples=50), rows


def beside(board: Leaderboard, rows: Rows, most: int = 60) -> SideBySide:
    [found] = [block for block in mistakes_section(board, rows, most).blocks if isinstance(block, SideBySide)]
    return found


def test_the_best_specs_wrong_rows_come_first_with_every_answer_and_whether_it_is_right() -> None:
    found = beside(*moods())
    assert found.specs == ("best", "other")
    assert [row.number for row in found.rows] == [5, 6, 3, 4]
    first, refused = found.rows[0].answers, found.rows[2].answers
    assert [(one.value, one.right) for one in first if one] == [("bad", False), ("good", True)]
    assert [(one.value, one.right) for one in refused if one] == [("good", True), ("refused", False)]
    assert refused[1] is not None and refused[1].told == "I would rather not"
    assert first[0] is not None and first[0].told == "it is bad"


def test_rows_that_every_spec_got_wrong_are_counted_as_doubts_about_the_table() -> None:
    said = " ".join(block for block in mistakes_section(*moods(), 60).blocks if isinstance(block, str))
    assert "best is wrong on 2 rows. On 1 of them another spec shown is right; both specs are wrong on 1" in said


def test_what_is_not_shown_is_said(boards: Boards, stars: Task) -> None:
    board, rows = boards(stars, [f"text {i}" for i in range(100)], names=[f"spec-{place}" for place in range(9)])
    found = beside(board, rows, 6)
    assert len(found.specs) == MOST_BESIDE
    assert len(found.rows) <= 6 + MOST_BESIDE
    assert "rows that a spec shown here got wrong" in found.notes[0]
    assert "of 9 specs" in found.notes[1]


def test_long_texts_make_fewer_rows_and_not_a_larger_page(boards: Boards, stars: Task) -> None:
    board, rows = boards(stars, ["long text " * 1000] * 300)
    assert len(beside(board, rows, 300).rows) <= ROOM // 900 + 1


def test_specs_without_a_wrong_answer_and_pages_without_rows_are_sentences() -> None:
    board, rows = moods()
    right = replace(board.best.candidate, predictions=(Prediction("good", "ok"),) * 6)
    clean = build_leaderboard(MOOD, rows, [right], resamples=50)
    assert mistakes_section(clean, rows, 60).blocks == ("best got no row wrong.",)
    assert "made without the rows" in str(mistakes_section(clean, None, 60).blocks[0])
