"""The page and the terminal of leaderboards whose answers are no labels: objects with fields, and numbers."""

from __future__ import annotations

import json
import random
from collections.abc import Iterator

import pytest

from luthier.evaluation.leaderboard import Leaderboard
from luthier.evaluation.ranking import MOST_PARTS, build_leaderboard
from luthier.reporting.board_details import FEW_PARTS, MOST_PART_ROWS, detail_sections
from luthier.reporting.board_mistakes import mistakes_section
from luthier.reporting.board_report import board_page, board_sections
from luthier.reporting.charts.chart import Chart
from luthier.reporting.html import page_text
from luthier.reporting.table import Block, Fold, Section, SideBySide, Table
from luthier.reporting.terminal import text_of
from luthier.tasks.prediction import CallRecord, Prediction
from luthier.tasks.task import Rows, Task
from tests.evaluation.answering import candidate
from tests.forms import Form, Grade

FORMS = Task("orders", type=Form, text="mail", label="form")
GRADES = Task("essays", type=Grade, text="essay", label="grade")


def forms(fields: int = 4, rows: int = 30, specs: int = 2, text: str = "A mail") -> tuple[Leaderboard, Rows]:
    """Each spec gets some fields wrong, loses some, and answers two rows with nothing."""
    drawn = random.Random(3)
    names = ["customer", "items", "address of delivery, as far as the customer has written one", "note"]
    names += [f"field-{place}" for place in range(fields - len(names))]
    truths = [
        {name: [f"<b>{name}</b>", place] if name == "items" else f"{name} {place}" for name in names[:fields]}
        for place in range(rows)
    ]
    inputs = [{"mail": f"{text} {place}", "form": json.dumps(truth)} for place, truth in enumerate(truths)]
    answers = []
    for _ in range(specs):
        said = [{n: drawn.choice([v, v, "else"]) for n, v in truth.items() if drawn.random() > 0.1} for truth in truths]
        given = [Prediction(one, "ok", call=CallRecord(json.dumps(one))) for one in said]
        given[:2] = [Prediction(None, "off_label", error="not the JSON that was asked for")] * 2
        answers.append(given)
    found = FORMS.rows_of(inputs, truths)
    made = [candidate(f"spec-{place}", one) for place, one in enumerate(answers)]
    return build_leaderboard(FORMS, found, made, resamples=50), found


def grades() -> tuple[Leaderboard, Rows]:
    truths = [float(place % 11) for place in range(40)]
    inputs = [{"essay": f"Essay {place}", "grade": truth} for place, truth in enumerate(truths)]
    made = [
        candidate(f"spec-{size}", [Prediction(t + size * (p % 7) / 3, "ok") for p, t in enumerate(truths)])
        for size in (1, 2)
    ]
    rows = GRADES.rows_of(inputs, truths)
    return build_leaderboard(GRADES, rows, made, resamples=50), rows


def blocks(given: tuple[Block, ...]) -> Iterator[Block]:
    for one in given:
        yield one
        if isinstance(one, Section | Fold):
            yield from blocks(one.blocks)


def parts_of(board: Leaderboard) -> list[Table]:
    [section] = [one for one in detail_sections(board) if one.title == "Field by field"]
    return [one for one in blocks(section.blocks) if isinstance(one, Table)]


def test_the_parts_of_answers_have_a_table_for_the_best_spec_and_one_behind_each_other_name() -> None:
    board, _ = forms(specs=3)
    first, *others = parts_of(board)
    assert [column.title for column in first.columns] == ["field", "precision", "recall", "true", "answered"]
    assert [row.cells[0] for row in first.rows][:2] == ["customer", "items"]
    assert first.rows[0].cells[3] == 30
    assert len(others) == 2


def test_a_saved_leaderboard_keeps_the_parts() -> None:
    board, _ = forms()
    again = Leaderboard.from_document(json.loads(json.dumps(board.to_document())))
    assert again.best.plots.parts == board.best.plots.parts
    assert again.majority.plots.parts == board.majority.plots.parts


def test_a_leaderboard_without_parts_is_written_as_before() -> None:
    assert "parts" not in grades()[0].to_document()["entries"][0]


def test_a_terminal_shows_the_parts_of_the_best_spec_and_says_how_many_more_there_are() -> None:
    few = text_of(*board_sections(forms()[0]))
    assert "Field by field: spec-" in few
    assert "address of delivery" in few
    many = text_of(*board_sections(forms(fields=150)[0]))
    assert f"The most frequent {FEW_PARTS} of 150 parts." in many
    assert many.count("field-") < 20


def test_many_parts_show_those_of_fewer_specs_and_a_page_stays_small() -> None:
    board, rows = forms(fields=500, specs=6)
    assert len(parts_of(board)) == MOST_PART_ROWS // 500
    assert len(page_text(board_page(board, rows))) < 2_000_000
    board, _ = forms(fields=MOST_PARTS + 50, rows=3, specs=1)
    assert len(board.best.plots.parts) == MOST_PARTS


def beside(section: Section) -> SideBySide:
    [found] = [one for one in section.blocks if isinstance(one, SideBySide)]
    return found


def test_objects_are_shown_field_by_field_with_what_differs_marked_and_nothing_run() -> None:
    board, rows = forms()
    shown = beside(mistakes_section(board, rows, 60)).rows[0]
    assert shown.truth.splitlines()[0].startswith("customer: customer ")
    page = page_text(board_page(board, rows))
    assert "<mark>customer: else</mark>" in page
    assert "<b>items</b>" not in page
    assert "&lt;b&gt;items&lt;/b&gt;" in page
    assert "<mark>items" not in page or "<mark>items: else" in page


def test_ten_megabytes_in_an_answer_are_not_ten_megabytes_of_a_page() -> None:
    board, rows = forms(text="long " * 100_000, rows=12)
    long = {"customer": "x" * 10_000_000}
    made = [candidate("long", [Prediction(long, "ok", call=CallRecord("said"))] * 12)]
    board = build_leaderboard(FORMS, rows, made, resamples=50)
    assert len(page_text(board_page(board, rows))) < 400_000


def test_the_constant_answer_has_a_short_name() -> None:
    assert forms()[0].majority.name == 'always {"customer": "customer 0", "items": ["<…'


def test_numbers_are_near_or_far_and_never_called_wrong() -> None:
    board, rows = grades()
    section = mistakes_section(board, rows, 60)
    assert section.title == "Farthest from the truth"
    found = beside(section)
    assert {one.right for row in found.rows for one in row.answers if one} == {None}
    page = page_text(board_page(board, rows))
    assert "Answered wrong by" not in page
    assert "p right" not in page
    assert "p near" in page


def test_a_chart_of_points_names_the_value() -> None:
    [section] = [one for one in detail_sections(grades()[0]) if one.title == "Truth and answer"]
    chart = next(one for one in section.blocks if isinstance(one, Chart))
    assert (chart.x.title, chart.y.title) == ("true grade", "grade answered")


@pytest.mark.parametrize("made", [forms, grades])
def test_the_page_speaks_of_no_labels(made: object) -> None:
    board, rows = made()  # type: ignore[operator]
    page = page_text(board_page(board, rows))
    for unfit in ("Label by label", "this label", "Confusion", "Calibration", "without a label", "no label"):
        assert unfit not in page
