"""Tables as spreadsheets and databases save them: the dialect is found, said, and changes no cell."""

from __future__ import annotations

import gzip
import subprocess
import sys
from pathlib import Path

import pytest

from luthier.errors import DataError
from luthier.tables import columns_of, count_rows, how_saved, open_writer, read_chunks, read_table

ROWS = [("1", "bad soup, really", "negative"), ("2", "great\nsoup", "positive"), ("003", "so so", "neutral")]


def saved(delimiter: str, end: str = "\n") -> str:
    lines = [["id", "text", "label"], *([a, f'"{b}"', c] for a, b, c in ROWS)]
    return end.join(delimiter.join(line) for line in lines) + end


def cells_of(file: Path) -> list[tuple[str | None, ...]]:
    return [tuple(record.values()) for chunk in read_chunks(file, 2) for record in chunk]


@pytest.mark.parametrize(("delimiter", "word"), [(";", "semicolons"), ("\t", "tabs"), ("|", "vertical bars")])
@pytest.mark.parametrize("end", ["\n", "\r\n", "\r"], ids=["LF", "CRLF", "CR"])
@pytest.mark.parametrize("name", ["t.csv", "t.tsv", "t.txt"])
def test_any_usual_delimiter_is_found_and_said(tmp_path: Path, delimiter: str, word: str, end: str, name: str) -> None:
    file = tmp_path / name
    file.write_bytes(saved(delimiter, end).encode())
    assert cells_of(file) == ROWS
    assert how_saved(file) == f"{word} between cells"


@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig"])
def test_a_plain_csv_has_nothing_to_say(tmp_path: Path, encoding: str) -> None:
    file = tmp_path / "t.csv"
    file.write_bytes(saved(",").encode(encoding))
    assert cells_of(file) == ROWS
    assert how_saved(file) == ""


@pytest.mark.parametrize("encoding", ["utf-16", "utf-16-le", "utf-16-be", "utf-32", "cp1252", "latin-1"])
def test_an_encoding_of_a_spreadsheet_is_found(tmp_path: Path, encoding: str) -> None:
    file = tmp_path / "t.csv"
    file.write_bytes("text;label\nGrüße aus Köln, très bien;señor\n".encode(encoding))
    assert cells_of(file) == [("Grüße aus Köln, très bien", "señor")]
    assert "encoding" in how_saved(file)


def test_an_accent_far_down_the_file_decides_its_encoding(tmp_path: Path) -> None:
    file = tmp_path / "t.csv"
    file.write_bytes(b"text,label\n" + b"plain,x\n" * 300_000 + "café,y\n".encode("cp1252"))
    assert [record["text"] for chunk in read_chunks(file, 100_000) for record in chunk][-1] == "café"


@pytest.mark.parametrize(
    ("encoding", "text"),
    [
        ("cp1251", "Очень вкусный суп"),
        ("shift-jis", "とても美味しいスープ"),
        ("gbk", "汤很好喝"),
        ("iso8859-7", "Πολύ καλή σούπα"),
        ("cp850", "très für Köln"),
        ("cp1250", "Dobrá wątróbka, świeża"),
    ],
)
def test_an_encoding_that_is_not_western_is_not_guessed(tmp_path: Path, encoding: str, text: str) -> None:
    file = tmp_path / "t.csv"
    file.write_bytes(f"text,label\n{text},positive\n".encode(encoding))
    with pytest.raises(DataError, match=r"line 2.*iconv"):
        read_table(file)


def test_utf8_with_a_broken_byte_is_not_read_as_another_encoding(tmp_path: Path) -> None:
    file = tmp_path / "t.csv"
    file.write_bytes("text,label\nGrüße aus Köln,x\n".encode() + b"bro\xffken,y\n")
    with pytest.raises(DataError, match="line 3"):
        read_table(file)


def test_excels_line_about_the_delimiter_is_no_row(tmp_path: Path) -> None:
    file = tmp_path / "t.csv"
    file.write_text("sep=;\r\ntext;label\r\na,b;x\r\n", newline="")
    assert cells_of(file) == [("a,b", "x")]


def test_decimal_commas_do_not_cut_a_semicolon_table(tmp_path: Path) -> None:
    file = tmp_path / "t.csv"
    file.write_text("price;text;stars\n1,50;good;4,5\n2,75;bad, very;1,0\n")
    assert cells_of(file) == [("1,50", "good", "4,5"), ("2,75", "bad, very", "1,0")]


def test_a_list_inside_a_comma_table_does_not_make_it_a_semicolon_table(tmp_path: Path) -> None:
    file = tmp_path / "t.csv"
    file.write_text("text,tags;ranked\ngood,a;b\nbad,c;d\n")
    assert columns_of(file) == ["text", "tags;ranked"]


def test_inch_signs_in_a_table_with_tabs_are_signs(tmp_path: Path) -> None:
    file = tmp_path / "t.tsv"
    file.write_text('text\tlabel\n"5 inch pipe\ta\n6" pipe\tb\n')
    assert cells_of(file) == [('"5 inch pipe', "a"), ('6" pipe', "b")]
    assert "quotes taken as characters" in how_saved(file)


def test_blanks_in_front_of_quotes_do_not_cut_the_cell(tmp_path: Path) -> None:
    file = tmp_path / "t.csv"
    file.write_text('text, label\n"one, two", "a, b"\n')
    assert cells_of(file) == [("one, two", "a, b")]


def test_blanks_around_a_column_name_are_left_out_and_said(tmp_path: Path) -> None:
    file = tmp_path / "t.csv"
    file.write_text("text, label\nbad soup, negative\n")
    assert columns_of(file) == ["text", "label"]
    assert cells_of(file) == [("bad soup", " negative")]
    assert "'label' in the header" in how_saved(file)


@pytest.mark.parametrize("row", ["bad soup,negative,,", "bad soup,negative", "bad soup,negative,,,,"])
def test_empty_columns_without_a_name_are_left_out_and_said(tmp_path: Path, row: str) -> None:
    file = tmp_path / "t.csv"
    file.write_text(f"text,label,,\n{row}\n{row}\n")
    assert cells_of(file) == [("bad soup", "negative")] * 2
    assert how_saved(file) == "2 empty columns without a name at the end left out"


def test_a_delimiter_at_the_end_of_each_row_is_no_cell(tmp_path: Path) -> None:
    file = tmp_path / "t.csv"
    file.write_text("text;label\nbad soup;negative;\ngreat soup;positive;\n")
    assert cells_of(file) == [("bad soup", "negative"), ("great soup", "positive")]


def test_a_cell_in_a_column_without_a_name_is_never_lost(tmp_path: Path) -> None:
    file = tmp_path / "t.csv"
    file.write_text("text,label,\n" + "a,b,\n" * 1_000 + "a,b,kept\n")
    with pytest.raises(DataError, match="line 1002.* 3 .*'kept'"):
        count_rows(file)


def test_the_index_that_pandas_writes_has_pandas_own_name(tmp_path: Path) -> None:
    file = tmp_path / "t.csv"
    read_csv = pytest.importorskip("pandas").read_csv
    file.write_text(",text,label\n7,good,a\n8,bad,b\n")
    assert columns_of(file) == read_csv(file).columns.tolist() == ["Unnamed: 0", "text", "label"]
    assert read_table(file)["Unnamed: 0"].tolist() == ["7", "8"]


def test_lines_of_blanks_above_the_header_are_no_header(tmp_path: Path) -> None:
    file = tmp_path / "t.csv"
    file.write_text("\n;;\ntext;label;id\na;b;1\n")
    assert cells_of(file) == [("a", "b", "1")]


def test_a_row_too_long_names_what_separates_cells(tmp_path: Path) -> None:
    file = tmp_path / "t.csv"
    file.write_text("id;text\n1;a;b\n2;c\n3;d\n")
    with pytest.raises(DataError, match="line 2: 3 cells.*header.* 2.*semicolons"):
        read_table(file)


@pytest.mark.parametrize("name", ["t.csv.gz", "t.csv"])
def test_a_packed_table_is_read_as_it_is(tmp_path: Path, name: str) -> None:
    file = tmp_path / name
    file.write_bytes(gzip.compress(saved(";").encode()))
    assert cells_of(file) == ROWS


@pytest.mark.parametrize(
    ("content", "cure"),
    [(b"PK\x03\x04....", ".xlsx"), (b"\xd0\xcf\x11\xe0....", "old Excel"), (b"PAR1....", ".parquet")],
)
def test_a_table_under_a_wrong_name_says_what_it_is(tmp_path: Path, content: bytes, cure: str) -> None:
    file = tmp_path / "t.csv"
    file.write_bytes(content)
    with pytest.raises(DataError, match=cure):
        read_table(file)


def test_a_table_changed_meanwhile_is_looked_at_again(tmp_path: Path) -> None:
    file = tmp_path / "t.csv"
    file.write_text("text,label\na,b\n")
    assert columns_of(file) == ["text", "label"]
    file.write_text("text;label;id\na;b;1\n")
    assert columns_of(file) == ["text", "label", "id"]


def test_a_tsv_comes_back_as_it_was(tmp_path: Path) -> None:
    file = tmp_path / "out.tsv"
    with open_writer(file, ["id", "text"], {}) as writer:
        writer.write([{"id": "1", "text": "a\tb"}, {"id": "2", "text": "c,d\ne"}])
    assert cells_of(file) == [("1", "a\tb"), ("2", "c,d\ne")]
    assert file.read_text().startswith("id\ttext\n")


@pytest.mark.parametrize("name", ["out.xlsx", "out.txt", "out.parquet.gz", "out.csv.bz2"])
def test_a_table_is_not_written_under_a_name_that_would_lie(tmp_path: Path, name: str) -> None:
    with pytest.raises(DataError, match="the name of an output ends in"):
        with open_writer(tmp_path / name, ["a"], {}):
            pass


READ_TWICE = """
from luthier.tables import columns_of, count_rows, how_saved, read_table
print(columns_of("-"), count_rows("-"), how_saved("-"), read_table("-")["id"].tolist())
"""


@pytest.mark.slow
@pytest.mark.parametrize("content", [saved(";").encode(), gzip.compress(saved(";").encode())], ids=["plain", "packed"])
def test_a_table_on_standard_input_is_read_as_often_as_needed(content: bytes) -> None:
    done = subprocess.run([sys.executable, "-c", READ_TWICE], input=content, capture_output=True, check=True)
    assert done.stdout.decode() == "['id', 'text', 'label'] 3 semicolons between cells ['1', '2', '003']\n"


def test_jsonl_of_a_windows_shell_is_read(tmp_path: Path) -> None:
    file = tmp_path / "t.jsonl"
    file.write_bytes('{"text": "Grüße"}\r\n'.encode("utf-16"))
    assert cells_of(file) == [("Grüße",)]


def test_a_long_table_is_read_in_flat_memory(tmp_path: Path) -> None:
    import tracemalloc

    file = tmp_path / "t.csv"
    with file.open("w") as stream:
        stream.write("text;label\n")
        stream.writelines(f"{'x' * 200} {n};a\n" for n in range(50_000))
    tracemalloc.start()
    rows = sum(len(chunk) for chunk in read_chunks(file, 1_000))
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert rows == 50_000
    assert peak < 8_000_000, "a tenth of the table"


@pytest.mark.parametrize("title", ["Tickets", "Tickets,,", "Tickets\n"])
def test_a_title_above_the_column_names_is_refused(tmp_path: Path, title: str) -> None:
    (tmp_path / "t.csv").write_text(f"{title}\nid,text,label\n1,a,b\n2,c,d\n")
    with pytest.raises(DataError, match="first row.*'Tickets'.* 3"):
        columns_of(tmp_path / "t.csv")


def test_a_table_of_one_column_has_no_title(tmp_path: Path) -> None:
    (tmp_path / "t.csv").write_text("text\na\nb, c\n")
    assert columns_of(tmp_path / "t.csv") == ["text"]
