"""Tables in files: nothing is changed on the way through, and faults are named by their line."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from luthier.errors import DataError
from luthier.tables import columns_of, open_writer, read_chunks, read_table
from tests.patience import PATIENCE_SECONDS


def test_csv_cells_stay_as_they_are_written(tmp_path: Path) -> None:
    file = tmp_path / "t.csv"
    file.write_text('id,text\n001,NA\n002,"a, ""b""\nc"\n003,\n')
    assert [r for chunk in read_chunks(file, 10) for r in chunk] == [
        {"id": "001", "text": "NA"},
        {"id": "002", "text": 'a, "b"\nc'},
        {"id": "003", "text": None},
    ]


def test_a_quote_in_the_wrong_place_names_its_row(tmp_path: Path) -> None:
    file = tmp_path / "t.csv"
    file.write_text('id,text\n1,fine\n2,"broken" text\n3,fine\n')
    with pytest.raises(DataError, match="line 3"):
        read_table(file)


def test_a_quote_that_is_never_closed_names_its_row(tmp_path: Path) -> None:
    file = tmp_path / "t.csv"
    file.write_text('id,text\n1,"never closed\n2,b\n')
    with pytest.raises(DataError, match="line 2"):
        read_table(file)


def test_a_row_with_too_many_cells_names_its_line(tmp_path: Path) -> None:
    file = tmp_path / "t.csv"
    file.write_text("id,text\n1,a,b\n")
    with pytest.raises(DataError, match="line 2: 3 cells.*header.* 2"):
        read_table(file)


@pytest.mark.parametrize("name", ["t.csv", "t.jsonl"])
def test_an_empty_file_is_refused(tmp_path: Path, name: str) -> None:
    file = tmp_path / name
    file.write_text("")
    with pytest.raises(DataError, match="empty|no rows"):
        read_table(file)


def test_a_missing_file_shows_the_tables_beside_it(tmp_path: Path) -> None:
    (tmp_path / "test.csv").write_text("a\n1\n")
    with pytest.raises(DataError, match=r"test\.csv"):
        read_table(tmp_path / "tset.csv")


def test_a_line_of_jsonl_that_is_no_object_is_named(tmp_path: Path) -> None:
    file = tmp_path / "t.jsonl"
    file.write_text('{"text": "a"}\n[1]\n')
    with pytest.raises(DataError, match="line 2"):
        read_table(file)


def test_a_text_of_five_megabytes_is_read(tmp_path: Path) -> None:
    file = tmp_path / "t.csv"
    file.write_text("text\n" + "x" * 5_000_000 + "\n")
    assert len(read_table(file)["text"][0]) == 5_000_000


def test_parquet_columns_keep_their_types(tmp_path: Path) -> None:
    source = tmp_path / "in.parquet"
    pq.write_table(
        pa.table({"text": ["a"], "when": pa.array([7], pa.timestamp("us")), "n": pa.array([None], pa.int32())}), source
    )
    target = tmp_path / "out.parquet"
    with open_writer(target, [*columns_of(source), "label"], {"label": "string"}, like=source) as writer:
        for chunk in read_chunks(source, 10):
            writer.write([{**record, "label": "5"} for record in chunk])
    schema = pq.read_schema(target)
    assert schema.field("when").type == pa.timestamp("us")
    assert schema.field("n").type == pa.int32()


def test_jsonl_to_parquet_finds_types_that_appear_late(tmp_path: Path) -> None:
    source = tmp_path / "in.jsonl"
    source.write_text('{"text": "a", "n": null}\n{"text": "b", "n": 1}\n{"text": "c", "n": 1.5, "late": true}\n')
    target = tmp_path / "out.parquet"
    with open_writer(target, columns_of(source), {}, like=source) as writer:
        for chunk in read_chunks(source, 1):
            writer.write(chunk)
    frame = pd.read_parquet(target)
    assert frame["n"].tolist()[1:] == [1.0, 1.5]
    assert frame["late"].tolist() == [None, None, True]


def test_the_target_appears_only_when_it_is_whole(tmp_path: Path) -> None:
    target = tmp_path / "out.csv"
    with pytest.raises(RuntimeError, match="stop"):
        with open_writer(target, ["a"], {}) as writer:
            writer.write([{"a": 1}])
            raise RuntimeError("stop")
    assert list(tmp_path.iterdir()) == []


def test_jsonl_never_holds_nan(tmp_path: Path) -> None:
    target = tmp_path / "out.jsonl"
    with open_writer(target, ["p"], {}) as writer:
        writer.write([{"p": float("nan")}])
    assert json.loads(target.read_text()) == {"p": None}


def test_a_place_that_cannot_be_written_is_found_out_before_anything_is_paid(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(DataError, match="cannot be written"):
        with open_writer(tmp_path / "file" / "out.csv", ["a"], {}):
            pass


def test_an_unknown_ending_says_what_is_allowed(tmp_path: Path) -> None:
    (tmp_path / "t.ods").write_text("")
    with pytest.raises(DataError, match=r"\.csv, \.tsv"):
        read_table(tmp_path / "t.ods")


def test_a_line_of_jsonl_with_one_key_twice_is_named(tmp_path: Path) -> None:
    file = tmp_path / "t.jsonl"
    file.write_text('{"text": "a"}\n{"text": "b", "text": "c"}\n')
    with pytest.raises(DataError, match="line 2 .*two values for text"):
        read_table(file)


@pytest.mark.slow
def test_a_long_parquet_table_is_read_in_flat_memory(tmp_path: Path) -> None:
    for name, groups in (("short", 2), ("long", 20)):
        with pq.ParquetWriter(tmp_path / name, pa.schema([("text", pa.string())])) as writer:
            for group in range(groups):
                writer.write_table(pa.table({"text": [f"{group * 7919 + row}" * 10 for row in range(20_000)]}))
        (tmp_path / name).rename(tmp_path / f"{name}.parquet")
    program = (
        "import sys, pyarrow as pa\n"
        "from luthier.tables import read_chunks\n"
        "for chunk in read_chunks(sys.argv[1], 1_000): pass\n"
        "print(pa.default_memory_pool().max_memory())\n"
    )
    short, long = (
        int(subprocess.run([sys.executable, "-c", program, str(tmp_path / f"{name}.parquet")],
                           capture_output=True, check=True, timeout=PATIENCE_SECONDS).stdout)
        for name in ("short", "long")
    )  # fmt: skip
    assert long < 1.2 * short
