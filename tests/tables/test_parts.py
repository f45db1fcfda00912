"""A folder or a pattern of files is one table, in a stable order, with the columns that its folders name."""

from __future__ import annotations

from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from luthier.errors import DataError
from luthier.tables import (
    check_target,
    columns_of,
    count_rows,
    how_saved,
    open_writer,
    read_chunks,
    read_table,
    refuse_overlap,
    written_format,
)


def put(file: Path, content: str) -> Path:
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_text(content)
    return file


@pytest.fixture
def years(tmp_path: Path) -> Path:
    """Two years of a table, as Spark partitions one."""
    put(tmp_path / "t/year=2024/city=S%C3%A3o/part-0.csv", "id,text\n002,b\n")
    put(tmp_path / "t/year=2023/city=__HIVE_DEFAULT_PARTITION__/part-1.csv", "id,text\n001,a\n")
    put(tmp_path / "t/year=2024/city=Rome/part-0.csv", "text,id\nc,003\n")
    put(tmp_path / "t/_SUCCESS", "")
    put(tmp_path / "t/year=2024/city=Rome/.part-0.csv.crc", "x")
    return tmp_path / "t"


def test_a_folder_is_read_in_the_order_of_its_names(years: Path) -> None:
    assert [record for chunk in read_chunks(years, 10) for record in chunk] == [
        {"id": "001", "text": "a", "year": "2023", "city": None},
        {"id": "003", "text": "c", "year": "2024", "city": "Rome"},
        {"id": "002", "text": "b", "year": "2024", "city": "São"},
    ]


def test_chunks_reach_over_the_ends_of_files(years: Path) -> None:
    assert [len(chunk) for chunk in read_chunks(years, 2)] == [2, 1]
    assert count_rows(years) == 3


def test_a_pattern_names_columns_below_its_first_wildcard_only(years: Path) -> None:
    assert columns_of(years / "year=2024" / "*" / "*.csv") == ["text", "id", "city"]
    assert columns_of(years / "year=*") == ["id", "text", "year", "city"]
    assert count_rows(years / "**" / "part-0.csv") == 2


def test_a_file_whose_name_holds_a_wildcard_is_that_file(tmp_path: Path) -> None:
    put(tmp_path / "may[1].csv", "text\na\n")
    put(tmp_path / "may1.csv", "text\nb\n")
    assert read_table(tmp_path / "may[1].csv")["text"].tolist() == ["a"]


def test_a_column_of_the_file_is_kept_with_its_type_where_a_folder_names_it_too(tmp_path: Path) -> None:
    (tmp_path / "t/year=2024").mkdir(parents=True)
    pq.write_table(pa.table({"text": ["a"], "year": [2024]}), tmp_path / "t/year=2024/a.parquet")
    assert read_table(tmp_path / "t").to_dict("records") == [{"text": "a", "year": 2024}]
    assert columns_of(tmp_path / "t") == ["text", "year"]


def test_files_that_are_no_tables_are_said_to_be_left_out(tmp_path: Path) -> None:
    put(tmp_path / "t/a.csv", "text\na\n")
    put(tmp_path / "t/b.csv", "text\nb\n")
    put(tmp_path / "t/c.csv", "")
    put(tmp_path / "t/README.md", "about")
    assert how_saved(tmp_path / "t") == "2 files; not read: README.md, c.csv"


@pytest.mark.parametrize(
    ("second", "said"),
    [
        ("id,text,more\n1,a,b\n", r"b\.csv has a column more, which .*a\.csv lacks"),
        ("id\n1\n", r"b\.csv lacks the column text, which .*a\.csv has"),
    ],
)
def test_files_with_other_columns_are_no_table(tmp_path: Path, second: str, said: str) -> None:
    put(tmp_path / "a.csv", "id,text\n1,a\n")
    put(tmp_path / "b.csv", second)
    with pytest.raises(DataError, match=said):
        columns_of(tmp_path / "*.csv")


def test_files_of_several_formats_are_no_table(tmp_path: Path) -> None:
    put(tmp_path / "a.csv", "text\na\n")
    put(tmp_path / "b.jsonl", '{"text": "b"}\n')
    with pytest.raises(DataError, match=r"several formats: .*a\.csv and .*b\.jsonl"):
        columns_of(tmp_path)


def test_folders_of_several_depths_are_no_table(tmp_path: Path) -> None:
    put(tmp_path / "year=2024/a.csv", "text\na\n")
    put(tmp_path / "b.csv", "text\nb\n")
    with pytest.raises(DataError, match="lies in no such folder.* in year=2024"):
        columns_of(tmp_path)


def test_a_delta_table_is_not_read_as_its_files(tmp_path: Path) -> None:
    put(tmp_path / "_delta_log/00000000000000000000.json", "{}")
    pq.write_table(pa.table({"text": ["removed"]}), tmp_path / "a.parquet")
    with pytest.raises(DataError, match="is a Delta table.*Score delta:.* with --mode spark"):
        columns_of(tmp_path)


def test_a_folder_or_a_pattern_without_tables_says_what_is_there(tmp_path: Path) -> None:
    put(tmp_path / "t/notes.md", "x")
    with pytest.raises(DataError, match=r"holds no table.*There: notes\.md"):
        columns_of(tmp_path / "t")
    with pytest.raises(DataError, match=r"no file matches .*\*\.csv"):
        columns_of(tmp_path / "*.csv")


@pytest.mark.parametrize("name", ["delta:/lake/reviews", "delta:reviews", "table:sales.reviews"])
def test_a_table_of_spark_says_how_it_is_scored(name: str) -> None:
    for look in (columns_of, check_target):
        with pytest.raises(DataError, match=f"{name} is a table of Spark; add --mode spark"):
            look(name)


def test_a_link_that_leads_nowhere_and_an_empty_path_are_said(tmp_path: Path) -> None:
    (tmp_path / "t.csv").symlink_to(tmp_path / "gone.csv")
    for path in (tmp_path / "t.csv", tmp_path, tmp_path / "*.csv"):
        with pytest.raises(DataError, match=r"t\.csv is a symbolic link to .*gone\.csv, which does not exist"):
            columns_of(path)
    with pytest.raises(DataError, match="the path of a table is empty"):
        columns_of("")
    with pytest.raises(DataError, match="the path of the output is empty"):
        written_format("")


def test_a_fault_names_the_file_it_is_in(tmp_path: Path) -> None:
    put(tmp_path / "a.csv", "id,text\n1,a\n")
    put(tmp_path / "b.csv", "id,text\n1,a\n2,b,c\n")
    with pytest.raises(DataError, match=r"b\.csv, line 3"):
        read_table(tmp_path / "*.csv")


def test_parquet_files_of_several_types_have_one_that_holds_both(tmp_path: Path) -> None:
    pq.write_table(pa.table({"n": pa.array([1], pa.int32())}), tmp_path / "a.parquet")
    pq.write_table(pa.table({"n": pa.array([2**40], pa.int64())}), tmp_path / "b.parquet")
    assert read_table(tmp_path / "*.parquet")["n"].tolist() == [1, 2**40]
    pq.write_table(pa.table({"n": ["x"]}), tmp_path / "c.parquet")
    with pytest.raises(DataError, match=r"c\.parquet has other types than .*a\.parquet"):
        columns_of(tmp_path / "*.parquet")


def test_a_written_table_has_the_types_of_the_files_it_is_like(tmp_path: Path) -> None:
    (tmp_path / "in/day=01").mkdir(parents=True)
    pq.write_table(pa.table({"n": pa.array([1], pa.int32())}), tmp_path / "in/day=01/a.parquet")
    with open_writer(tmp_path / "out.parquet", columns_of(tmp_path / "in"), {}, like=tmp_path / "in") as writer:
        for chunk in read_chunks(tmp_path / "in", 10):
            writer.write(chunk)
    assert pq.read_schema(tmp_path / "out.parquet") == pa.schema([("n", pa.int32()), ("day", pa.string())])
    assert pq.read_table(tmp_path / "out.parquet").to_pylist() == [{"n": 1, "day": "01"}]


@pytest.mark.parametrize(
    ("source", "target"),
    [("t.csv", "t.csv"), ("t", "t/out.csv"), ("*.csv", "out.csv"), ("**/*.csv", "t/out.csv"), ("d*", "data/out.csv")],
)
def test_an_output_that_the_next_run_would_read_is_refused(tmp_path: Path, source: str, target: str) -> None:
    put(tmp_path / "t/a.csv", "text\na\n")
    with pytest.raises(DataError, match="name another output|name an output elsewhere"):
        refuse_overlap(tmp_path / source, tmp_path / target)


@pytest.mark.parametrize(("source", "target"), [("may-*.csv", "scored.csv"), ("t", "out.csv"), ("-", "-")])
def test_an_output_beside_the_input_is_not_refused(tmp_path: Path, source: str, target: str) -> None:
    (tmp_path / "t").mkdir()
    refuse_overlap("-" if source == "-" else tmp_path / source, "-" if target == "-" else tmp_path / target)
