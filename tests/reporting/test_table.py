"""One record of a table, drawn in a terminal, as HTML and as text: values look the same, and nothing is cut."""

from __future__ import annotations

import io

import pytest
from rich.console import Console

from luthier.evaluation.resampling import Interval
from luthier.reporting.html import fragment
from luthier.reporting.table import Bar, Column, Row, Section, Table
from luthier.reporting.terminal import show

TABLE = Table(
    (
        Column("#", "count"),
        Column("spec", kind="name"),
        Column("model", kind="beneath", drop=1),
        Column("quality", "share", brief=3),
        Column("", kind="bar"),
        Column("seconds a row", "seconds", short="p50", drop=2),
        Column("lost", "percent"),
    ),
    (
        Row((1, "few<b>", "a-model", Interval(0.87, 0.82, 0.9), Bar(Interval(0.87, 0.82, 0.9)), 0.4, 0.005), "first"),
        Row((1000, "[red]weak", "", Interval(-0.04, -0.17, 0.08), None, None, 0.0), "reference", rule=True),
    ),
    notes=("The best 2 of 3.",),
)


def printed(table: Table, width: int) -> list[str]:
    written = io.StringIO()
    show(Section("", (table,)), console=Console(file=written, width=width))
    return [line.rstrip() for line in written.getvalue().splitlines()]


def test_a_wide_terminal_has_every_column_and_values_stand_beneath_each_other() -> None:
    lines = printed(TABLE, 90)
    assert lines[0].split() == ["#", "spec", "model", "quality", "seconds", "a", "row", "lost"]
    assert lines[2].split() == ["1", "few<b>", "a-model", ".87", "(.82–.90)", "0.40", "s", "0.5%"]
    assert lines[2].index(".87") == lines[4].index(".04")
    assert lines[-1] == "The best 2 of 3."


@pytest.mark.parametrize(
    ("width", "head"),
    [
        (60, "#  spec  quality  p50  lost"),
        (48, "#  spec  quality  lost"),
        (32, "#  spec  quality  lost"),
    ],
)
def test_a_table_gives_way_step_by_step(width: int, head: str) -> None:
    lines = printed(TABLE, width)
    assert lines[0].split() == head.split()
    assert max(map(len, lines)) <= width
    assert ("(.82–.90)" in " ".join(lines)) == (width > 32)
    assert "a-model" in " ".join(lines), "what has no column stands beneath the name"


def test_a_name_is_text_in_every_writer() -> None:
    assert "[red]weak" in " ".join(printed(TABLE, 90))
    html = fragment(Section("<i>", (TABLE,)))
    assert "few&lt;b&gt;" in html and "&lt;i&gt;" in html
    assert "<b>" not in html and "<i>" not in html


def test_a_row_may_be_written_in_another_unit_than_its_column() -> None:
    table = Table((Column("", kind="name"), Column("change", "gap")), (Row(("a", 0.25)), Row(("b", 0.25), unit="fine")))
    assert [line.split()[-1] for line in printed(table, 40)[2:]] == ["+.250", ".250"]


def test_a_bar_is_drawn_on_the_scale_of_its_column() -> None:
    rows = tuple(Row((Bar(Interval(value, value - 1, value + 1)),)) for value in (1.0, 5.0))
    html = fragment(Section("", (Table((Column("", kind="bar", ticks=(0.0,)),), rows),)))
    assert html.count("<circle") == 2 and 'cx="25.7"' in html and 'x1="6.0"' in html
