"""Figures as files and as parts of a page: well-formed, every row a mark, nothing of a name is markup."""

from __future__ import annotations

import xml.etree.ElementTree as ElementTree
from html.parser import HTMLParser

import pytest

from luthier.evaluation.resampling import Interval
from luthier.reporting.charts.chart import (
    Axis,
    Band,
    Bars,
    Chart,
    Confusion,
    Curve,
    Dots,
    Figure,
    Parallel,
    ParallelAxis,
    ParallelLine,
    Rule,
    Strip,
    Strips,
)
from luthier.reporting.charts.draw import figure_html, figure_svg
from luthier.reporting.charts.svg import Told

SVG = "{http://www.w3.org/2000/svg}"
HOSTILE = "\"><script>alert(1)</script>&lt;' \x00\x1b\u202e\ud800 <!-- ]]> 中文 🎻"

CHART = Chart(
    HOSTILE,
    HOSTILE,
    Axis(HOSTILE, scale="category", categories=(HOSTILE, "b")),
    Axis(HOSTILE, "share"),
    (
        Band((0, 1), (0.2, 0.3), (0.5, 0.6), HOSTILE),
        Curve((0, 1), (0.3, 0.4), HOSTILE, look=1),
        Dots((0, 1), (0.3, 0.4), HOSTILE, 2, (HOSTILE, HOSTILE), (0.2, 0.3), (0.4, 0.5)),
        Bars((-0.5, 0.5, 1.5), (0.1, 0.2), name=HOSTILE, look=3, told=(HOSTILE, HOSTILE)),
        Rule(0.3, HOSTILE),
    ),
)
STRIPS = Strips(
    HOSTILE,
    HOSTILE,
    Axis(HOSTILE, "share"),
    (
        Strip(HOSTILE, (0.1, 0.2, 0.3, 0.4, 0.5), (HOSTILE,) * 5, boxed=True, note=HOSTILE),
        Strip("b", interval=Interval(0.3, 0.2, 0.4)),
    ),
    (Rule(0.25, HOSTILE, across="x"),),
    (HOSTILE,),
)
CONFUSION = Confusion(HOSTILE, HOSTILE, (HOSTILE, "b"), ((3, 1, 2), (0, 4, 0)))
PARALLEL = Parallel(
    HOSTILE,
    HOSTILE,
    (ParallelAxis(HOSTILE, ((0, HOSTILE), (1, "b")), True), ParallelAxis("F1", ((0, ".2"), (1, ".6")))),
    (ParallelLine((0, 0.5), HOSTILE, 0.2), ParallelLine((None, 1), HOSTILE)),
    HOSTILE,
    (HOSTILE,),
)
FIGURES = (CHART, STRIPS, CONFUSION, PARALLEL)


def confusion_of(count: int) -> Confusion:
    counts = tuple(
        tuple(9 if place == other else (place + other) % 3 for other in range(count)) for place in range(count)
    )
    return Confusion("", "said", tuple(f"label {place}" for place in range(count)), counts)


class Tags(HTMLParser):
    """Names of the elements of a page."""

    def __init__(self, html: str) -> None:
        super().__init__()
        self.names: set[str] = set()
        self.feed(html)

    def handle_starttag(self, tag: str, attrs: object) -> None:
        self.names.add(tag)


@pytest.mark.parametrize("figure", FIGURES, ids=lambda one: type(one).__name__)
def test_every_kind_of_figure_is_a_well_formed_file_whatever_names_hold(figure: Figure) -> None:
    root = ElementTree.fromstring(figure_svg(figure).encode())
    assert {one.tag.removeprefix(SVG) for one in root.iter()} <= {
        "svg", "style", "rect", "text", "tspan", "line", "path", "circle", "title",
    }  # fmt: skip
    assert "<script>alert(1)</script>" in root.attrib["aria-label"]


@pytest.mark.parametrize("figure", FIGURES, ids=lambda one: type(one).__name__)
@pytest.mark.parametrize("told", [None, Told()], ids=["notebook", "page"])
def test_names_are_text_in_a_page(figure: Figure, told: Told | None) -> None:
    html = figure_html(figure, told)
    assert "script" not in Tags(html).names and "<!--" not in html
    assert ("<title>" not in html or figure is STRIPS) if told else "alert(1)" in html


@pytest.mark.parametrize("figure", FIGURES, ids=lambda one: type(one).__name__)
def test_a_file_needs_neither_variables_nor_functions_of_new_browsers(figure: Figure) -> None:
    style = figure_svg(figure).split("<style>")[1].split("</style>")[0]
    assert "var(" not in style and "light-dark" not in style and "#2a6db0" in style


@pytest.mark.parametrize("count", [2, 5, 77])
def test_a_matrix_has_all_labels_as_heads_and_all_counts_as_cells(count: int) -> None:
    html = figure_html(confusion_of(count))
    assert html.count('scope="col"') == html.count('scope="row"') == count
    assert html.count("<td") == count * count + 1
    assert all(f">label {place}</bdi>" in html for place in range(count))
    file = ElementTree.fromstring(figure_svg(confusion_of(count)))
    written = [one.text for one in file.iter(f"{SVG}text")]
    assert [written.count(f"label {place}") for place in range(count)] == [2] * count
    assert float(file.attrib["width"]) >= 21 * count


def test_a_column_for_rows_without_a_label_is_there_only_where_there_are_such_rows() -> None:
    assert "(no label)" in figure_html(CONFUSION)
    assert "(no label)" not in figure_html(Confusion("", "", ("a", "b"), ((3, 1, 0), (0, 4, 0))))


def test_dots_are_elements_up_to_a_thousand_and_one_path_above_with_all_that_is_said() -> None:
    for count, elements in ((1000, 1000), (10_000, 0)):
        told = Told()
        x = tuple(map(float, range(count)))
        dots = Dots(x, x, told=tuple(f"row {place}" for place in range(count)))
        html = figure_html(Chart("", "said", Axis("x"), Axis("y"), (dots,)), told)
        assert html.count("<circle") == elements
        assert len(told.texts) == count
        if not elements:
            assert html.count("h0") == count and len(html) < 35 * count


def test_more_lines_than_a_brush_follows_are_an_even_sample_that_is_said_and_keeps_the_best() -> None:
    axes = (ParallelAxis("a", ((0, "0"), (1, "1"))), ParallelAxis("F1", ((0, "0"), (1, "1"))))
    lines = tuple(ParallelLine((0.5, place / 2500), f"trial {place}") for place in range(2501))
    told = Told()
    html = figure_html(Parallel("", "said", axes, lines), told)
    assert html.count("<path") == 1000 and "1,000 of 2,501 trials" in html
    assert {"trial 0", "trial 2500"} <= set(told.texts)


def test_a_box_is_drawn_from_five_values_on() -> None:
    def boxes(count: int) -> int:
        strip = Strip("a", tuple(place / 10 for place in range(count)), boxed=True)
        return figure_html(Strips("", "said", Axis("x"), (strip,))).count("lu-box")

    assert (boxes(4), boxes(5)) == (0, 1)


def test_a_figure_without_a_finite_value_is_drawn_empty() -> None:
    nothing = float("nan")
    empty = Chart("", "said", Axis("x"), Axis("y", scale="log"), (Dots((nothing, 1.0), (1.0, -1.0)),))
    assert "<circle" not in figure_html(empty)
    ElementTree.fromstring(figure_svg(Strips("", "said", Axis("x"), (Strip("a", (nothing,)),))))
    ElementTree.fromstring(figure_svg(Strips("", "said", Axis("x"), ())))
    ElementTree.fromstring(figure_svg(Confusion("", "said", (), ())))
    ElementTree.fromstring(figure_svg(Parallel("", "said", (), ())))
