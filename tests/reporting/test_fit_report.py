from __future__ import annotations

import io

from rich.console import Console

from luthier.reporting.fit_report import fit_sections
from luthier.reporting.terminal import show


def trials(count: int) -> list[dict[str, object]]:
    return [
        {"trial": n, "measure": "qwk", "settings": {"C": 0.01 * n, "class_weight": None}, "score": 0.5, "best": 0.5}
        for n in range(1, count + 1)
    ]


def printed(count: int) -> str:
    written = io.StringIO()
    sections = fit_sections({"trials": trials(count)}, ["Best of all: \x1b[31mC 0.01."])
    show(*sections, console=Console(file=written, width=80))
    return written.getvalue()


def test_the_first_ten_are_shown_and_the_rest_is_counted() -> None:
    lines = printed(12).splitlines()
    assert lines[0] == "trials: the best 10 of 12; measure qwk"
    assert sum("C 0." in line for line in lines) == 11  # ten rows and the note


def test_what_is_the_same_in_all_rows_has_no_column() -> None:
    head = printed(3).splitlines()[1]
    assert head.split() == ["trial", "settings", "score"]


def test_settings_stand_in_one_cell() -> None:
    assert "C 0.01, class_weight none" in printed(2)


def test_a_note_cannot_command_the_terminal() -> None:
    assert "\x1b" not in printed(1)


def test_an_empty_table_prints_nothing() -> None:
    assert fit_sections({"trials": []}) == []


def test_a_text_without_room_is_left_out_rather_than_shown_a_character_wide() -> None:
    row = {f"number-{n}": 0.1234 for n in range(6)} | {"positions": "1 22 333 4444 55555", "by": "cut", "winner": True}
    written = io.StringIO()
    sections = fit_sections({"samples": [row, row | {"positions": "2", "by": None}]})
    show(*sections, console=Console(file=written, width=80))
    head = written.getvalue().splitlines()[1].split()
    assert head == [f"number-{n}" for n in range(6)] + ["by", "winner"]
    assert "yes" in written.getvalue()
