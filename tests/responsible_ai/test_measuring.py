"""Columns of a table are analysed for what they hold, however the table was saved."""

from __future__ import annotations

from luthier.responsible_ai.measuring import with_numbers
from luthier.tasks.task import Rows
from tests.conftest import stars


def test_numbers_of_a_csv_are_numbers_and_postcodes_are_texts() -> None:
    lines = [("41", "1.5", "01234", "7", "x"), ("", "-2e3", "94110", "8", "3"), (" 9 ", "0", "10001", "9", "4")]
    names = ("age", "balance", "postcode", "text", "mixed")
    rows = Rows(tuple(dict(zip(names, line, strict=True)) for line in lines), (None,) * 3, "text")
    found = with_numbers(rows, stars()).inputs
    assert [row["age"] for row in found] == [41, None, 9]
    assert [row["balance"] for row in found] == [1.5, -2000.0, 0.0]
    assert [row["postcode"] for row in found] == ["01234", "94110", "10001"]
    assert [row["text"] for row in found] == ["7", "8", "9"]
    assert [row["mixed"] for row in found] == ["x", "3", "4"]
