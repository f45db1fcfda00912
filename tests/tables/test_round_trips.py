"""Tables in files: what goes in comes out, through Luthier's reader and through others'."""

from __future__ import annotations

import datetime
import decimal
import json
from functools import partial
from pathlib import Path
from typing import Any

import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from luthier.tables import Record, columns_of, open_writer, read_chunks, read_table, write_frame
from luthier.tasks.task import Task
from tests.work import python_calls

AWKWARD = ["a\rb", "a\nb", "a\r\nb", 'say "a"', "  a  ", "a,b", '"', "\t", "a\r", "\ra", "é\u2028\x85", "NA"]

FORMATS = ["t.csv", "t.jsonl", "t.parquet"]


def records_of(file: Path) -> list[Record]:
    return [record for chunk in read_chunks(file, 2) for record in chunk]


def copied(source: Path, target: Path) -> Path:
    with open_writer(target, columns_of(source), {}, like=source) as writer:
        for chunk in read_chunks(source, 2):
            writer.write(chunk)
    return target


def wrote(target: Path, records: list[Record]) -> Path:
    with open_writer(target, list(records[0]), {}) as writer:
        writer.write(records)
    return target


@pytest.mark.parametrize("text", AWKWARD)
@pytest.mark.parametrize("name", FORMATS)
def test_a_text_comes_back_as_it_was(tmp_path: Path, name: str, text: str) -> None:
    records = [{"id": "1", "text": text}, {"id": "2", "text": "next"}]
    assert records_of(wrote(tmp_path / name, records)) == records


@pytest.mark.parametrize("text", AWKWARD)
def test_pandas_reads_the_same_text_from_a_csv(tmp_path: Path, text: str) -> None:
    file = wrote(tmp_path / "t.csv", [{"id": "1", "text": text}, {"id": "2", "text": "next"}])
    assert pd.read_csv(file, keep_default_na=False)["text"].tolist() == [text, "next"]


@pytest.mark.parametrize("name", AWKWARD)
def test_a_column_name_comes_back_as_it_was(tmp_path: Path, name: str) -> None:
    assert columns_of(wrote(tmp_path / "t.csv", [{"id": "1", name: "a"}])) == ["id", name]


def test_an_empty_text_in_a_csv_comes_back_as_null(tmp_path: Path) -> None:
    file = wrote(tmp_path / "t.csv", [{"id": "1", "text": ""}, {"id": "2", "text": None}])
    assert [record["text"] for record in records_of(file)] == [None, None]


@pytest.mark.parametrize("name", ["t.jsonl", "t.parquet"])
def test_an_empty_text_is_not_null_elsewhere(tmp_path: Path, name: str) -> None:
    file = wrote(tmp_path / name, [{"text": ""}, {"text": None}])
    assert [record["text"] for record in records_of(file)] == ["", None]


def test_a_blank_line_of_a_csv_with_one_column_is_a_row(tmp_path: Path) -> None:
    file = tmp_path / "t.csv"
    file.write_text("text\na\n\nb\n")
    assert records_of(file) == [{"text": "a"}, {"text": None}, {"text": "b"}]


def test_a_blank_line_of_a_wider_csv_is_no_row(tmp_path: Path) -> None:
    file = tmp_path / "t.csv"
    file.write_text("id,text\n1,a\n\n2,b\n")
    assert [record["id"] for record in records_of(file)] == ["1", "2"]


def test_a_null_in_a_csv_with_one_column_is_a_row_for_pandas(tmp_path: Path) -> None:
    file = wrote(tmp_path / "t.csv", [{"text": "a"}, {"text": None}, {"text": "b"}])
    assert len(pd.read_csv(file)) == 3


@pytest.mark.parametrize("name", FORMATS)
def test_half_of_a_surrogate_pair_becomes_a_question_mark(tmp_path: Path, name: str) -> None:
    file = wrote(tmp_path / name, [{"id": "1", "text": "good \ud83d"}, {"id": "2", "text": "bad"}])
    assert [record["text"] for record in records_of(file)] == ["good ?", "bad"]


@pytest.mark.parametrize("name", FORMATS)
def test_half_of_a_surrogate_pair_in_a_column_name_becomes_a_question_mark(tmp_path: Path, name: str) -> None:
    assert columns_of(wrote(tmp_path / name, [{"a\ud83d": "1"}])) == ["a?"]


def test_half_of_a_surrogate_pair_inside_a_list_becomes_a_question_mark(tmp_path: Path) -> None:
    source = tmp_path / "t.jsonl"
    source.write_text('{"words": ["a\\ud83d"]}\n')
    assert records_of(copied(source, tmp_path / "t.parquet")) == [{"words": ["a?"]}]


def test_a_table_with_half_of_a_surrogate_pair_is_read_whole(tmp_path: Path) -> None:
    source = tmp_path / "t.jsonl"
    source.write_text('{"text\\ud83d": "a\\ud83d"}\n')
    assert read_table(source).iloc[0].tolist() == ["a\ud83d"]


TYPED = pa.table(
    {
        "text": pa.array(["a", None, "c"]),
        "whole": pa.array([1, 2, 3], pa.int32()),
        "whole_or_null": pa.array([1, None, 2**53 + 1], pa.int64()),
        "unsigned_or_null": pa.array([2**64 - 1, None, 1], pa.uint64()),
        "yes": pa.array([True, False, True]),
        "yes_or_null": pa.array([True, None, False]),
        "real": pa.array([1.5, None, 3.0], pa.float32()),
        "kind": pa.array(["x", None, "x"]).dictionary_encode(),
        "number_kind": pa.array([7, None, 7]).dictionary_encode(),
        "when": pa.array([0, None, 1_500_000], pa.timestamp("us", "UTC")),
        "nanos": pa.array([1, None, 2], pa.timestamp("ns")),
        "day": pa.array([datetime.date(2026, 1, 31), None, None]),
        "clock": pa.array([datetime.time(12, 30), None, None]),
        "took": pa.array([1_500_000, None, 0], pa.duration("us")),
        "price": pa.array([decimal.Decimal("1.10"), None, None]),
        "raw": pa.array([b"\xff", None, b"a"]),
        "words": pa.array([["a", None], None, []]),
        "object": pa.array([{"n": 1, "at": [1.5]}, None, {"n": None, "at": None}]),
        "pairs": pa.array([[("a", 1)], None, []], pa.map_(pa.string(), pa.int64())),
        "nothing": pa.nulls(3),
    }
)


@pytest.fixture
def typed(tmp_path: Path) -> Path:
    file = tmp_path / "typed.parquet"
    pq.write_table(TYPED, file)
    return file


def inputs_of(file: Path) -> list[dict[str, Any]]:
    return [dict(row) for row in Task("t", labels=["x", "y"]).rows(read_table(file)).inputs]


@pytest.mark.parametrize("column", TYPED.column_names)
def test_a_parquet_column_reads_the_same_whole_and_in_chunks(typed: Path, column: str) -> None:
    assert [repr_of(row[column]) for row in inputs_of(typed)] == [repr_of(row[column]) for row in records_of(typed)]


def repr_of(value: object) -> tuple[object, str]:
    """The value and what a prompt says in its place."""
    return value, str(value)


def test_a_jsonl_table_reads_the_same_whole_and_in_chunks(tmp_path: Path) -> None:
    file = tmp_path / "t.jsonl"
    rows = [
        {"text": "a", "n": 1, "mixed": 1, "yes": True, "real": 1.5, "big": 2**70, "list": [1], "late": None},
        {"text": None, "n": None, "mixed": 1.0, "yes": None, "real": None, "big": 1, "list": None, "late": "x"},
        {"text": "", "n": 3, "mixed": "1", "yes": False, "real": 2.0, "big": None, "list": [], "late": {"a": 1}},
        {"text": "b", "n": 0, "mixed": True, "yes": True, "real": 0.0, "big": 2, "list": [None], "late": None},
    ]
    file.write_text("".join(json.dumps(row) + "\n" for row in rows))
    assert [repr(row) for row in inputs_of(file)] == [repr(row) for row in records_of(file)]


def test_a_csv_table_reads_the_same_whole_and_in_chunks(tmp_path: Path) -> None:
    file = tmp_path / "t.csv"
    file.write_text('text,n,empty\nNA,001,\n"a\nb",,\n,3,\n')
    assert inputs_of(file) == records_of(file)


def test_a_table_keeps_the_usual_types_where_they_hold_every_value(typed: Path) -> None:
    frame = read_table(typed)
    kinds = [str(frame[name].dtype) for name in ("whole", "yes", "real", "when")]
    assert kinds == ["int32", "bool", "float32", "datetime64[us, UTC]"]


def test_the_index_pandas_left_in_a_parquet_file_is_a_column_both_ways(tmp_path: Path) -> None:
    file = tmp_path / "t.parquet"
    pd.DataFrame({"text": ["a", "b"]}, index=pd.Index([7, 8], name="id")).to_parquet(file)
    assert inputs_of(file) == records_of(file)


def test_parquet_to_parquet_keeps_every_value(typed: Path, tmp_path: Path) -> None:
    assert pq.read_table(copied(typed, tmp_path / "out.parquet")).to_pylist() == TYPED.to_pylist()


SPELLED = {
    "whole_or_null": 1,
    "when": "1970-01-01T00:00:00+00:00",
    "nanos": "1970-01-01T00:00:00.000000001",
    "day": "2026-01-31",
    "clock": "12:30:00",
    "took": "P0DT0H0M1.5S",
    "price": "1.10",
    "raw": "/w==",
    "words": ["a", None],
    "object": {"n": 1, "at": [1.5]},
    "pairs": [["a", 1]],
    "nothing": None,
}


@pytest.mark.parametrize("column", SPELLED)
def test_a_parquet_value_is_spelled_in_jsonl(typed: Path, tmp_path: Path, column: str) -> None:
    out = copied(typed, tmp_path / "out.jsonl")
    assert json.loads(out.read_text().splitlines()[0])[column] == SPELLED[column]


@pytest.mark.parametrize("column", SPELLED)
def test_a_parquet_value_is_spelled_in_csv(typed: Path, tmp_path: Path, column: str) -> None:
    value = SPELLED[column]
    spelled = json.dumps(value) if isinstance(value, list | dict) else None if value is None else str(value)
    assert records_of(copied(typed, tmp_path / "out.csv"))[0][column] == spelled


def test_nan_inside_a_list_is_null_in_the_json_of_a_csv_cell(tmp_path: Path) -> None:
    file = wrote(tmp_path / "t.csv", [{"id": "1", "list": [float("nan"), 1.5]}])
    assert records_of(file)[0]["list"] == "[null, 1.5]"


def test_a_frame_with_arrays_is_written(tmp_path: Path) -> None:
    source, target = tmp_path / "in.parquet", tmp_path / "out.jsonl"
    pq.write_table(pa.table({"words": [["a", "b"]]}), source)
    write_frame(pd.read_parquet(source), target)
    assert json.loads(target.read_text()) == {"words": ["a", "b"]}


def test_renamed_columns_keep_their_own_types(tmp_path: Path) -> None:
    source, target = tmp_path / "in.parquet", tmp_path / "out.parquet"
    pq.write_table(pa.table({"label": pa.array([5], pa.int8()), "label_input": pa.array([True])}), source)
    names = {"label": "label_input", "label_input": "label_input_input"}
    with open_writer(target, [*names.values(), "label"], {"label": "string"}, like=source, renamed=names) as writer:
        writer.write([{"label_input": 5, "label_input_input": True, "label": "x"}])
    assert pq.read_schema(target).types == [pa.int8(), pa.bool_(), pa.string()]


MIXTURES = {
    "beyond 64 bits": [1, 2**70, None],
    "beyond 64 bits, far below": [*[1] * 9_000, 2**70],
    "kinds": [1, "a", 1.5, True],
    "a whole number no float holds": [*[2**60 + 1] * 9_000, 1.5],
    "an object without keys": [{}, None],
    "objects of several kinds": [{"a": 1}, {"a": "b"}],
    "a list of kinds": [[1, "a"], None],
    "beyond 64 bits in a list": [[2**70]],
}


@pytest.mark.parametrize("values", MIXTURES.values(), ids=MIXTURES)
def test_values_without_a_common_type_become_json_text_in_parquet(tmp_path: Path, values: list[Any]) -> None:
    source = tmp_path / "t.jsonl"
    source.write_text("".join(json.dumps({"n": value}) + "\n" for value in values))
    written = pq.read_table(copied(source, tmp_path / "t.parquet"))["n"].to_pylist()
    assert written == [value if value is None or isinstance(value, str) else json.dumps(value) for value in values]


def test_objects_that_gain_keys_lose_nothing_in_parquet(tmp_path: Path) -> None:
    source = tmp_path / "t.jsonl"
    source.write_text('{"o": {"a": 1}}\n' * 9_000 + '{"o": {"a": 1.5, "b": "x"}}\n')
    assert records_of(copied(source, tmp_path / "t.parquet"))[-1] == {"o": {"a": 1.5, "b": "x"}}


def test_a_parquet_table_is_written_in_as_much_work_per_chunk_when_many_wait(tmp_path: Path) -> None:
    def write(chunks: int) -> None:
        with open_writer(tmp_path / "t.parquet", ["n"], {}) as writer:
            for number in range(chunks):
                writer.write([{"n": number}])

    few, many = (python_calls(partial(write, chunks)).total() for chunks in (200, 2_000))
    assert many < 11 * few
