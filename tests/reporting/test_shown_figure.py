"""A figure of its own, in a notebook and as a file."""

from __future__ import annotations

import json
import xml.etree.ElementTree as ET
from pathlib import Path

import pytest

from luthier.errors import DataError
from luthier.reporting.charts.chart import Axis, Chart, Dots
from luthier.reporting.shown_figure import ShownFigure

EVIL = "<script>alert(1)</script>"
SHOWN = ShownFigure(Chart(EVIL, "Two trials.", Axis("trial"), Axis("$"), (Dots((0, 1), (0.2, 0.4), told=(EVIL, "b")),)))


def test_a_notebook_shows_the_figure_with_what_it_says_and_runs_no_script() -> None:
    html = SHOWN._repr_html_()
    assert html.count("<circle") == 2
    assert "Two trials." in html
    assert "<script" not in html


def test_it_is_saved_as_an_svg_file_in_a_new_folder(tmp_path: Path) -> None:
    file = SHOWN.save(tmp_path / "figures" / "cost.svg")
    root = ET.parse(file).getroot()
    assert root.tag == "{http://www.w3.org/2000/svg}svg"
    assert SHOWN.save(file) == file, "a figure is drawn again"


def test_another_kind_of_file_is_refused_with_a_name_that_works(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"cost\.svg"):
        SHOWN.save(tmp_path / "cost.png")
    with pytest.raises(DataError, match=r"folder\.svg is a folder"):
        (tmp_path / "folder.svg").mkdir()
        SHOWN.save(tmp_path / "folder.svg")


def test_the_data_behind_it_is_json() -> None:
    assert json.loads(json.dumps(SHOWN.document()))["marks"][0]["y"] == [0.2, 0.4]
