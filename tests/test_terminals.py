"""Rows may hold what a terminal obeys or a spreadsheet runs; commands show and escape it."""

from __future__ import annotations

import csv
from pathlib import Path

import pandas as pd
import pytest

import luthier as lt
from luthier.providers.endpoint import openai
from luthier.tables import open_writer
from luthier.terminals import visible

HOSTILE = "fine\x1b]0;owned\x07 \x1b[2Jgone\r\u202eabc\u200b\x9b31m"


def test_a_preview_prints_no_control_characters_of_rows() -> None:
    spec = lt.Prompt(lt.Task("mood", labels=["good", "bad"]), "{{ text }}", endpoint=openai("m"), name="plain")
    shown = str(spec.preview(pd.DataFrame({"text": [HOSTILE, "zwei\n\tdrei ü 🙂"]})))
    assert not set(shown) & set("\x1b\x07\r\u202e\u200b\x9b")
    assert "\\x1b[2Jgone\\r\\u202eabc" in shown
    assert "zwei\n\tdrei ü 🙂" in shown


def test_emoji_and_scripts_that_need_joiners_stay_whole() -> None:
    for text in ("👩\u200d💻", "می\u200cخواهم", "नमस्ते", "e\u0301"):
        assert visible(text) == text


@pytest.mark.parametrize("name", ["out.csv", "out.tsv"])
def test_formulas_are_escaped_on_request_and_numbers_are_not(tmp_path: Path, name: str) -> None:
    cells = ["=1+1", "+1+1", "-1+cmd", "@SUM(A1)", "\t=1", "\r=1", " =1", "＝1", "-1", "+1.5e3", "a=b", -2, -2.5, None]
    with open_writer(tmp_path / name, ["=id"], {}, escape_formulas=True) as writer:
        writer.write([{"=id": cell} for cell in cells])
    with (tmp_path / name).open(newline="") as file:
        read = list(csv.reader(file, delimiter="\t" if name.endswith("tsv") else ","))
    expected = ["'" + str(cell) for cell in cells[:8]] + ["-1", "+1.5e3", "a=b", "-2", "-2.5", ""]
    assert [row[0] for row in read] == ["'=id", *expected]


def test_without_the_request_texts_are_written_as_they_are(tmp_path: Path) -> None:
    with open_writer(tmp_path / "out.csv", ["text"], {}) as writer:
        writer.write([{"text": "=1+1"}])
    assert (tmp_path / "out.csv").read_text() == "text\n=1+1\n"
