"""Workbooks: the first sheet with rows, cells as they are stored."""

from __future__ import annotations

import datetime
import subprocess
import sys
from pathlib import Path

import pytest

from luthier.errors import DataError
from luthier.tables import columns_of, how_saved, open_writer, read_chunks, read_table
from luthier.tasks.task import Task

openpyxl = pytest.importorskip("openpyxl")


def workbook(file: Path, *sheets: list[list[object]]) -> Path:
    book = openpyxl.Workbook()
    book.remove(book.active)
    for number, rows in enumerate(sheets, start=1):
        sheet = book.create_sheet(f"S{number}")
        for row in rows:
            sheet.append(row)
    book.save(file)
    return file


def test_cells_of_a_workbook_stay_as_they_are_stored(tmp_path: Path) -> None:
    day = datetime.datetime(2026, 1, 31)
    file = workbook(
        tmp_path / "t.xlsx",
        [["id", "text", "stars", "on", "yes"], ["001", "a\nb;c", 4, day, True], ["002", None, 4.5, None, False]],
    )
    assert [record for chunk in read_chunks(file, 1) for record in chunk] == [
        {"id": "001", "text": "a\nb;c", "stars": 4, "on": day, "yes": True},
        {"id": "002", "text": None, "stars": 4.5, "on": None, "yes": False},
    ]


def test_whole_numbers_of_a_workbook_are_labels(tmp_path: Path) -> None:
    file = workbook(tmp_path / "t.xlsx", [["text", "stars"], ["good", 5], ["bad", 1.0]])
    task = Task("stars", type="rating", label="stars", labels=[1, 5])
    assert task.rows(read_table(file), labelled=True).labels == ("5", "1")


def test_the_sheet_that_is_read_is_said(tmp_path: Path) -> None:
    file = workbook(tmp_path / "t.xlsx", [], [[None, None], ["text", "label", None], ["a", "b"]], [["notes"], ["x"]])
    assert columns_of(file) == ["text", "label"]
    assert how_saved(file) == "sheet 'S2'; not read: 'S3'"


def test_a_cell_in_a_column_without_a_name_is_never_lost(tmp_path: Path) -> None:
    row: list[object] = ["a", "b"]
    rows: list[list[object]] = [["text", "label", None], *[row] * 400, ["a", "b", "kept"]]
    with pytest.raises(DataError, match="column without a name"):
        read_table(workbook(tmp_path / "t.xlsx", rows))


def test_two_columns_of_one_name_are_refused(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="two columns called text"):
        read_table(workbook(tmp_path / "t.xlsx", [["text", "text"], ["a", "b"]]))


@pytest.mark.parametrize("content", [b"text,label\na,b\n", b"PK\x03\x04 cut off"])
def test_a_file_that_is_no_workbook_is_a_named_fault(tmp_path: Path, content: bytes) -> None:
    file = tmp_path / "t.xlsx"
    file.write_bytes(content)
    with pytest.raises(DataError, match="Excel workbook"):
        read_table(file)


@pytest.mark.parametrize("name", ["out.csv", "out.jsonl", "out.parquet"])
def test_a_workbook_is_copied_with_its_values(tmp_path: Path, name: str) -> None:
    source = workbook(tmp_path / "t.xlsx", [["id", "text", "n"], ["001", "a", 1], ["002", "b", None]])
    with open_writer(tmp_path / name, columns_of(source), {}, like=source) as writer:
        for chunk in read_chunks(source, 1):
            writer.write(chunk)
    assert [str(n) for n in read_table(tmp_path / name)["n"]] == ["1", "None" if name != "out.csv" else "nan"]


@pytest.mark.slow
def test_without_the_extra_the_message_says_how_to_get_it(tmp_path: Path) -> None:
    workbook(tmp_path / "t.xlsx", [["text"], ["a"]])
    program = (
        "import sys; sys.modules['openpyxl'] = None\n"
        "from luthier.errors import MissingPart\n"
        "from luthier.tables import read_table\n"
        "try: read_table('t.xlsx')\n"
        "except MissingPart as error: print(error)\n"
    )
    done = subprocess.run([sys.executable, "-c", program], cwd=tmp_path, capture_output=True, text=True, check=True)
    assert "pip install 'luthier[excel]'" in done.stdout


def test_a_title_above_the_column_names_is_refused(tmp_path: Path) -> None:
    file = workbook(tmp_path / "t.xlsx", [["Tickets"], [], ["id", "text", "label"], ["1", "a", "b"]])
    with pytest.raises(DataError, match="sheet 'S1'.*first row.*'Tickets'"):
        read_table(file)
