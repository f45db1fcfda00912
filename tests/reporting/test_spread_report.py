from __future__ import annotations

import io

from rich.console import Console

from luthier.evaluation.spread import spread_of
from luthier.reporting.board_figures import spread_strips
from luthier.reporting.html import fragment
from luthier.reporting.spread_report import spread_section, spread_sentences
from luthier.reporting.terminal import show

SPREAD = spread_of({"1": [0.40, 0.52, 0.31, 0.45], "<5>": [0.58, 0.61, 0.55, 0.57]}, "weighted_f1")


def printed(width: int, encoding: str = "utf-8") -> str:
    raw = io.BytesIO()
    console = Console(file=io.TextIOWrapper(raw, encoding=encoding), width=width)
    show(spread_section(SPREAD), console=console)
    console.file.flush()
    return raw.getvalue().decode(encoding)


def test_every_group_has_a_line_that_fits_the_terminal() -> None:
    for width in (60, 80, 120):
        assert all(len(line) <= width for line in printed(width).splitlines())
    assert printed(80).splitlines()[4].split() == ["<5>", "4", ".55", ".56", ".57", ".59", ".61", ".58", "(.54–.62)"]
    assert printed(60).splitlines()[4].split() == ["<5>", "4", ".55", ".57", ".61", ".58", "(.54–.62)"]


def test_what_differs_is_said_with_its_p() -> None:
    assert "<5> beats 1 by .16 on average (p .029, corrected over 1)" in printed(120).replace("\n", " ")


def test_a_plain_terminal_gets_plain_characters() -> None:
    assert "(.54-.62)" in printed(120, "ascii")


def test_names_are_escaped_in_html() -> None:
    assert "&lt;5&gt;" in fragment(spread_section(SPREAD))
    assert "<5>" not in fragment(spread_section(SPREAD))


def test_the_figure_shows_every_draw() -> None:
    assert [len(strip.values) for strip in spread_strips(SPREAD).strips] == [4, 4]


def test_too_few_draws_to_tell_anything_say_how_many_it_takes() -> None:
    groups = {str(n): [n + 0.1, n + 0.2, n + 0.3] for n in range(6)}
    said = spread_sentences(spread_of(groups, "mse"))[1]
    assert said.startswith("So few draws cannot tell groups apart") and "6 draws or more" in said
    assert not any(
        "too few" in line or "So few" in line
        for line in spread_sentences(spread_of({"1": [0.1, 0.2, 0.3, 0.4], "2": [0.5, 0.6, 0.7, 0.8]}, "accuracy"))
    )
