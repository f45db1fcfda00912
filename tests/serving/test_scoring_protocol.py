"""Bodies of /invocations as MLflow's protocol has them, and what is refused of them."""

from __future__ import annotations

import io
import json
import random
from typing import Any

import pyarrow as pa
import pytest
from pyarrow import parquet

from luthier.serving.refusals import Refusal
from luthier.serving.scoring_protocol import LARGE_BYTES, read_request, write_predictions, write_refusal
from luthier.serving.served_model import ScoringRequest
from tests.work import python_calls

SECRET = "the soup was cold"


def read(body: Any, content_type: str | None = "application/json", **limits: Any) -> ScoringRequest:
    given = body if isinstance(body, bytes) else json.dumps(body).encode()
    return read_request(given, content_type, **{"most_rows": 100, "most_bytes": 10_000, **limits})


def refusal(body: Any, content_type: str | None = "application/json", **limits: Any) -> Refusal:
    with pytest.raises(Refusal) as refused:
        read(body, content_type, **limits)
    assert SECRET not in refused.value.message
    return refused.value


def parquet_of(table: pa.Table, **settings: Any) -> bytes:
    file = io.BytesIO()
    parquet.write_table(table, file, **settings)
    return file.getvalue()


@pytest.mark.parametrize(
    ("form", "data"),
    [
        ("dataframe_split", {"columns": ["text"], "data": [["a"]]}),
        ("dataframe_split", {"index": [7], "columns": ["text"], "data": [["a"]]}),
        ("dataframe_split", {"data": [["a"]]}),
        ("dataframe_records", [{"text": "a"}]),
        ("instances", ["a", "b"]),
        ("instances", [{"text": "a"}]),
        ("inputs", {"text": ["a", "b"]}),
        ("inputs", [{"text": "a"}]),
        ("inputs", {"text": "a"}),
    ],
)
def test_the_four_forms_are_read_as_they_are(form: str, data: Any) -> None:
    assert read({form: data}) == ScoringRequest(form, data)  # type: ignore[arg-type]


def test_params_come_along_and_may_be_null() -> None:
    assert read({"inputs": ["a"], "params": {"temperature": 0}}).params == {"temperature": 0}
    assert read({"inputs": ["a"], "params": None}).params == {}
    assert refusal({"inputs": ["a"], "params": ["temperature"]}).status == 400


def test_other_keys_are_ignored_as_mlflow_ignores_them() -> None:
    assert read({"inputs": ["a"], "client": "x"}).data == ["a"]


@pytest.mark.parametrize(
    "content_type",
    ["application/json", "Application/JSON", "application/json; charset=utf-8", 'application/json;charset="UTF-8"',
     "application/json; charset=US-ASCII", "application/json; version=1"],
)  # fmt: skip
def test_types_are_read_without_regard_to_case_quotes_and_parameters(content_type: str) -> None:
    assert read({"inputs": ["a"]}, content_type).data == ["a"]


@pytest.mark.parametrize(
    "content_type", [None, "", "text/plain", "application/xml", "json", "application/json; charset=latin-1"]
)
def test_other_types_and_charsets_get_415(content_type: str | None) -> None:
    assert refusal({"inputs": [SECRET]}, content_type).status == 415


def test_a_compressed_body_gets_415() -> None:
    assert refusal(b"\x1f\x8b", content_encoding="gzip").status == 415


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"{",
        b'{"inputs": ["the soup was cold"',
        b'{"inputs": ["the soup was cold",]}',
        b'{"inputs": [1]} the soup was cold',
        b'{"inputs": "\xff"}',
        b'["the soup was cold"]',
        b'"the soup was cold"',
        b"null",
        b"1" * 5_000,
        b"[" * 50_000,
        b'{"a":' * 50_000,
        b'{"inputs": ' + b"[" * 50_000,
        b'{"inputs": ' + b"[" * LARGE_BYTES,
        b" " * LARGE_BYTES + b'{"inputs": ["the soup was cold"',
        b'{"inputs": ["' + b"x" * LARGE_BYTES + b'"]} the soup was cold',
    ],
)
def test_what_is_not_json_of_an_object_gets_400(body: bytes) -> None:
    assert refusal(body).status == 400


@pytest.mark.parametrize(
    "document",
    [
        {},
        {SECRET: 1},
        {"messages": [{"role": "user", "content": SECRET}]},
        {"inputs": [SECRET], "instances": [SECRET]},
        {"inputs": [SECRET], "dataframe_split": {"data": [[SECRET]]}},
        {"inputs": None},
        {"instances": SECRET},
        {"instances": []},
        {"dataframe_records": []},
        {"dataframe_records": {"text": SECRET}},
        {"dataframe_records": [SECRET]},
        {"dataframe_split": [[SECRET]]},
        {"dataframe_split": {"columns": ["text"]}},
        {"dataframe_split": {"columns": ["text"], "data": [[SECRET, SECRET]]}},
        {"dataframe_split": {"columns": "text", "data": [[SECRET]]}},
        {"dataframe_split": {"data": [[SECRET]], SECRET: 1}},
        {"dataframe_split": {"data": {"text": SECRET}}},
    ],
)
def test_other_shapes_get_400_and_no_cell_back(document: Any) -> None:
    assert refusal(document).status == 400


@pytest.mark.parametrize(
    "document",
    [
        {"inputs": {"text": ["a", "b"]}},
        {"inputs": [{"text": "a"}]},
        {"inputs": ["a", "b"]},
        {"inputs": "a"},
        {"instances": [{"text": "a"}, {"text": "b"}]},
        {"instances": [["a"], ["b"]]},
        {"dataframe_records": [{"text": "a"}]},
        {"dataframe_records": [{"text": "a"}, {"code": 1}]},
        {"dataframe_records": {"text": ["a"]}},
        {"dataframe_split": {"data": [["a"]]}},
        {"dataframe_split": {"data": []}},
        {"dataframe_split": {"columns": ["text"], "data": [["a"]], "index": [4]}},
        {"dataframe_split": {"columns": ["text"], "data": [["a", "b"]]}},
        {"dataframe_split": {"columns": ["text"], "data": [["a"]], "dtype": "str"}},
        {"dataframe_split": {"columns": ["text"]}},
        {"dataframe_split": [["a"]]},
        {"inputs": ["a"], "instances": ["a"]},
        {"inputs": ["a"], "id": 7},
        {"rows": ["a"]},
        {},
        ["a"],
        "a",
    ],
)
def test_what_mlflow_reads_is_read_and_what_it_refuses_is_refused(document: Any) -> None:
    from mlflow.exceptions import MlflowException
    from mlflow.pyfunc.scoring_server import _split_data_and_params, infer_and_parse_data

    def is_read_by_mlflow() -> bool:
        try:
            infer_and_parse_data(_split_data_and_params(json.dumps(document))[0])
        except MlflowException:
            return False
        return True

    def is_read() -> bool:
        try:
            read(document)
        except Refusal:
            return False
        return True

    assert is_read() == is_read_by_mlflow()


@pytest.mark.parametrize(
    "document",
    [
        {"inputs": ["a"] * 11},
        {"inputs": {"text": ["a"] * 11}},
        {"instances": ["a"] * 11},
        {"dataframe_records": [{"text": "a"}] * 11},
        {"dataframe_split": {"columns": ["text"], "data": [["a"]] * 11}},
    ],
)
def test_too_many_rows_get_413(document: Any) -> None:
    assert refusal(document, most_rows=10).status == 413
    assert read(document, most_rows=11)


def test_a_large_body_is_read_as_a_small_one_is() -> None:
    drawn = random.Random(4)
    cells: list[Any] = [
        'é\u2028\\"\U0001f600',
        "",
        None,
        True,
        -1.5e-7,
        12345678901234567890,
        [1, {"a": []}],
        {"b": {}},
    ]
    rows = [[drawn.choice(cells) for _ in range(4)] for _ in range(5_000)]
    for document in (
        {"dataframe_split": {"columns": list("abcd"), "data": rows}, "params": {"x": 1}},
        {"dataframe_records": [dict(zip("abcd", row, strict=True)) for row in rows]},
        {"inputs": {name: [row[place] for row in rows] for place, name in enumerate("abcd")}},
    ):
        for indent in (None, 1):
            body = b"\n " + json.dumps(document, indent=indent).encode() + b"\r\n"
            assert len(body) > LARGE_BYTES
            read_as = read(body, most_rows=5_000)
            assert read_as.data == json.loads(body)[read_as.form]


def test_other_threads_can_have_their_turn_at_each_row_of_a_large_body() -> None:
    body = json.dumps({"dataframe_split": {"columns": ["text"], "data": [["x" * 30]] * 20_000}}).encode()
    assert len(body) > LARGE_BYTES
    # The interpreter looks at each call of a function in Python whether another thread waits. Python's own decoder, in
    # C from the first byte to the last, makes a handful of them.
    calls = python_calls(lambda: read(body, most_rows=20_000))
    assert calls["JSONDecoder.raw_decode"] >= 20_000


def test_csv_cells_are_texts_and_empty_ones_are_missing() -> None:
    body = b'\xef\xbb\xbftext,code\n"a, b\nc",001\n,NA\n'
    assert read(body, "text/csv").data.to_pylist() == [
        {"text": "a, b\nc", "code": "001"},
        {"text": None, "code": "NA"},
    ]


def test_csv_rows_may_be_longer_than_a_block_of_the_reader() -> None:
    long = "x" * 3_000_000
    assert read(f"text\n{long}\n{long}\n".encode(), "text/csv").data["text"].to_pylist() == [long, long]


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"text,text\nthe soup was cold,1\n",
        b"text,code\nthe soup was cold\n",
        b"text,code\nthe soup was cold,1,2\n",
        b"text\nthe soup was cold \xff\n",
        b"text\nthe soup, was cold \xff\n",
    ],
)
def test_a_csv_that_is_none_gets_400_and_no_cell_back(body: bytes) -> None:
    assert refusal(body, "text/csv").status == 400


def test_parquet_keeps_its_types() -> None:
    table = pa.table({"text": ["a", None], "count": [1, 2]})
    assert read(parquet_of(table), "application/vnd.apache.parquet").data.equals(table)


def test_a_parquet_file_that_is_none_gets_400() -> None:
    whole = parquet_of(pa.table({"text": [SECRET] * 50}))
    for broken in (b"", b"PAR1", whole[:-9], whole[:40] + b"\0" * 60 + whole[100:]):
        assert refusal(broken, "application/vnd.apache.parquet").status == 400


@pytest.mark.slow
def test_a_parquet_file_that_unpacks_to_far_more_than_it_is_gets_413() -> None:
    bomb = parquet_of(pa.table({"text": ["x" * 1_000_000] * 500}))
    assert len(bomb) < 2_000_000
    refused = refusal(bomb, "application/vnd.apache.parquet", most_rows=1_000, most_bytes=2_000_000)
    assert (refused.status, "unpacks" in refused.message) == (413, True)


def test_a_table_of_more_columns_than_memory_has_room_for_gets_400() -> None:
    # pyarrow takes 20 s and 3.6 GB for the first.
    for body in (b"a," * 300_000, b'"a\nb",' * 20_000, ",".join(f"{n}" for n in range(10_001)).encode()):
        refused = refusal(body, "text/csv")
        assert (refused.status, "columns" in refused.message) == (400, True)
    wide = parquet_of(pa.table({f"{number}": [1] for number in range(10_001)}))
    assert refusal(wide, "application/vnd.apache.parquet").status == 400


@pytest.mark.parametrize("kept_as", ["dictionary", "string"])
def test_a_parquet_file_with_one_long_text_in_many_rows_gets_413(kept_as: str) -> None:
    texts = pa.array(["x" * 1_000_000] * 100)
    same = pa.table({"text": texts.dictionary_encode() if kept_as == "dictionary" else texts})
    bomb = parquet_of(same, compression="none", dictionary_pagesize_limit=2**30)
    assert len(bomb) < 4_000_000
    refused = refusal(bomb, "application/vnd.apache.parquet", most_bytes=2_000_000)
    assert (refused.status, "unpacks" in refused.message) == (413, True)


def test_a_parquet_file_of_a_long_list_of_nothing_gets_413() -> None:
    bomb = parquet_of(pa.table({"text": pa.array([[None] * 20_000_000], pa.list_(pa.int8()))}))
    assert len(bomb) < 1_000_000
    assert refusal(bomb, "application/vnd.apache.parquet", most_bytes=2_000_000).status == 413


def test_parquet_texts_that_are_kept_as_categories_are_texts() -> None:
    table = pa.table({"text": pa.array(["a", None, "a"]).dictionary_encode()})
    assert read(parquet_of(table), "application/vnd.apache.parquet").data.to_pylist() == [
        {"text": "a"},
        {"text": None},
        {"text": "a"},
    ]


def test_rows_of_csv_and_parquet_are_counted() -> None:
    table = pa.table({"text": ["a"] * 11})
    assert refusal(parquet_of(table), "application/vnd.apache.parquet", most_rows=10).status == 413
    assert refusal(b"text\n" + b"a\n" * 11, "text/csv", most_rows=10).status == 413


def test_what_json_has_no_number_for_becomes_null() -> None:
    rows = [{"stars": float("nan"), "shares": {"1": float("inf"), "2": [0.5, float("-inf")]}}]
    assert json.loads(write_predictions(rows)) == {
        "predictions": [{"stars": None, "shares": {"1": None, "2": [0.5, None]}}]
    }


@pytest.mark.parametrize("predictions", [[], [1], [{"a": "é"}] * 1_234, {"a": [1, 2]}, "text", None])
def test_predictions_of_any_shape_come_back_as_they_are(predictions: Any) -> None:
    written = write_predictions(predictions)
    assert json.loads(written) == {"predictions": predictions}
    assert written.isascii()


def test_a_refusal_has_the_keys_of_mlflows_errors() -> None:
    assert json.loads(write_refusal(Refusal(400, "BAD_REQUEST", "Why."))) == {
        "error_code": "BAD_REQUEST",
        "message": "Why.",
    }
