"""MLflow's scoring protocol: bodies of `/invocations` become a request, predictions and refusals become JSON.

It is read as MLflow 3.17 reads it, with these differences, each on purpose:

- Types and charsets are read without regard to case and quotes; parameters other than the charset are ignored. MLflow
  refuses them. A body without a type gets 415, from MLflow 500.
- A missing prediction is `null`. MLflow writes `NaN`, which is not JSON.
- In a csv body only an empty cell is missing, as everywhere in Luthier: a text "NA" stays one.
- The unwrapped forms of chat models (`messages`, `prompt`, `input`) are refused.
- No message repeats what the client sent.
"""

from __future__ import annotations

import io
import json
import math
from collections.abc import Mapping, Sequence
from email.message import Message
from functools import lru_cache
from json.decoder import JSONArray, JSONObject  # type: ignore[attr-defined]
from typing import Any, get_args

from luthier.serving.refusals import Refusal
from luthier.serving.served_model import Form, ScoringRequest

__all__ = ["LARGE_BYTES", "LARGE_ROWS", "read_request", "write_predictions", "write_refusal"]

LARGE_BYTES = 100_000
"""Of a body: reading more takes over a millisecond, which the server's loop has no time for."""

LARGE_ROWS = 500
"""Of an answer, likewise."""

JSON, CSV, PARQUET = "application/json", "text/csv", "application/vnd.apache.parquet"
FORMS = tuple(form for form in get_args(Form) if form != "table")
FORMS_IN_WORDS = f"{', '.join(FORMS[:-1])} and {FORMS[-1]}"
SPLIT_KEYS = {"columns", "index", "data"}

BLANKS = " \t\r\n"

ROWS_AT_ONCE = 100
"""Rows written or unpacked in one go."""

MOST_COLUMNS = 10_000
"""Of a table; an empty one takes 10 kB for each."""

MOST_UNPACKED = 8
"""Times the size of the largest body that a parquet file may unpack to."""


def read_request(
    body: bytes, content_type: str | None, *, most_rows: int, most_bytes: int, content_encoding: str | None = None
) -> ScoringRequest:
    """Decodes the body of a request.

    Args:
        body: all of it.
        content_type: of its header.
        most_rows: rows in one request.
        most_bytes: bytes of a body; a parquet file may unpack to eight times that.
        content_encoding: of its header.

    Raises:
        Refusal: 400, 413 or 415, with what is allowed.
    """
    if content_encoding not in (None, "", "identity"):
        raise Refusal(
            415, "BAD_REQUEST", "Compressed bodies are not read; send the body without the header Content-Encoding."
        )
    kind = media_type(content_type or "")
    if kind == JSON:
        request = _read_json(body)
    elif kind == CSV:
        request = ScoringRequest("table", _read_csv(body))
    elif kind == PARQUET:
        request = ScoringRequest("table", _read_parquet(body, most_rows, most_bytes * MOST_UNPACKED))
    else:
        raise Refusal(415, "BAD_REQUEST", f"The header Content-Type has to be one of {JSON}, {CSV} and {PARQUET}.")
    if (rows := _rows_of(request)) > most_rows:
        raise _too_many_rows(rows, most_rows)
    return request


@lru_cache(maxsize=64)
def media_type(content_type: str) -> str:
    """The type in a header `Content-Type`, in lower case.

    Raises:
        Refusal: 415 for a charset other than UTF-8.
    """
    header = Message()
    header["content-type"] = content_type
    charset = str(header.get_param("charset", "utf-8")).lower()
    if charset not in ("utf-8", "utf8", "us-ascii", "ascii"):
        raise Refusal(415, "BAD_REQUEST", "The charset of the header Content-Type has to be utf-8.")
    # The class takes what it cannot read for text/plain, which is refused as well.
    return header.get_content_type()


def write_predictions(predictions: Any) -> bytes:
    """The body of an answer: `{"predictions": ...}`, numbers that JSON lacks as `null`."""
    if not isinstance(predictions, list):
        return b'{"predictions": ' + _written(predictions) + b"}"
    # In pieces: the encoder holds the interpreter's lock, and other requests are waiting.
    pieces = [
        _written(predictions[first : first + ROWS_AT_ONCE])[1:-1] for first in range(0, len(predictions), ROWS_AT_ONCE)
    ]
    return b'{"predictions": [' + b", ".join(pieces) + b"]}"


def write_refusal(refusal: Refusal) -> bytes:
    """The body of a refusal, with the keys of MLflow's errors."""
    return json.dumps({"error_code": refusal.error_code, "message": refusal.message}).encode()


def _written(value: Any) -> bytes:
    try:
        return json.dumps(value, allow_nan=False).encode()
    except ValueError:
        return json.dumps(_finite(value), allow_nan=False).encode()


def _finite(value: Any) -> Any:
    if isinstance(value, float):
        return value if math.isfinite(value) else None
    if isinstance(value, Mapping):
        return {name: _finite(inner) for name, inner in value.items()}
    if isinstance(value, list | tuple):
        return [_finite(inner) for inner in value]
    return value


def _invalid(message: str) -> Refusal:
    return Refusal(400, "INVALID_PARAMETER_VALUE", message)


def _too_many_rows(rows: int, most: int) -> Refusal:
    return Refusal(413, "INVALID_PARAMETER_VALUE", f"The request has {rows} rows, more than {most}; send it in parts.")


def _read_json(body: bytes) -> ScoringRequest:
    document = _decoded(body)
    if not isinstance(document, dict):
        raise Refusal(400, "BAD_REQUEST", f"The body has to be a JSON object with one of the keys {FORMS_IN_WORDS}.")
    forms = [form for form in FORMS if form in document]
    if len(forms) != 1:
        given = "none of them" if not forms else f"{' and '.join(forms)}"
        raise Refusal(
            400, "BAD_REQUEST", f"The body has to have exactly one of the keys {FORMS_IN_WORDS}; it has {given}."
        )
    params = document.get("params")
    if params is not None and not isinstance(params, dict):
        raise _invalid("params has to be an object of names and values, or null.")
    form: Form = forms[0]
    data = document[form]
    _check_shape(form, data)
    return ScoringRequest(form, data, params or {})


def _decoded(body: bytes) -> Any:
    try:
        text = body.decode("utf-8-sig")
        if len(body) <= LARGE_BYTES:
            return json.loads(text)
        end = len(text.rstrip(BLANKS))
        found, at = _outer(3)(text, len(text) - len(text.lstrip(BLANKS)))
        if at != end:
            raise json.JSONDecodeError("Extra data", text, at)
        return found
    except UnicodeDecodeError:
        raise Refusal(400, "BAD_REQUEST", "The body is not UTF-8.") from None
    except RecursionError:
        raise Refusal(400, "BAD_REQUEST", "The body's JSON is nested too deep.") from None
    except json.JSONDecodeError as error:
        place = f"line {error.lineno}, column {error.colno}"
        raise Refusal(400, "BAD_REQUEST", f"The body is not JSON: {error.msg} at {place}.") from None
    except ValueError:
        raise Refusal(400, "BAD_REQUEST", "The body's JSON has a number of too many digits.") from None


def _outer(levels: int) -> Any:
    """A decoder whose outer levels are Python's and whose rows are C's.

    The decoder in C holds the interpreter's lock from the first byte to the last, 60 ms for 10 MB. This one gives other
    threads their turn between rows.
    """
    inner = _outer(levels - 1) if levels > 1 else json.JSONDecoder().raw_decode

    def decode(text: str, at: int) -> tuple[Any, int]:
        opening = text[at : at + 1]
        if opening == "{":
            return JSONObject((text, at + 1), True, inner, None, None)  # type: ignore[no-any-return]
        if opening == "[":
            return JSONArray((text, at + 1), inner)  # type: ignore[no-any-return]
        return json.JSONDecoder().raw_decode(text, at)

    return decode


def _check_shape(form: Form, data: Any) -> None:
    if form == "dataframe_split":
        _check_split(data)
    elif form == "dataframe_records":
        if not isinstance(data, list) or not data or not all(isinstance(row, dict) for row in data):
            raise _invalid("dataframe_records has to be a list of one object or more, each with a row's cells by name.")
    elif form == "instances":
        if not isinstance(data, list) or not data:
            raise _invalid("instances has to be a list of one row or more.")
    elif data is None:
        raise _invalid("inputs is null; give the cells as lists by column, or a list of objects.")


def _check_split(data: Any) -> None:
    if not isinstance(data, dict) or "data" not in data or not data.keys() <= SPLIT_KEYS:
        raise _invalid("dataframe_split has to be an object with data, and may have columns and index.")
    rows, columns = data["data"], data.get("columns")
    if not isinstance(rows, list) or not all(isinstance(row, list) for row in rows):
        raise _invalid("data of dataframe_split has to be a list of rows, each a list of cells.")
    if columns is None:
        return
    if not isinstance(columns, list):
        raise _invalid("columns of dataframe_split has to be a list of names.")
    wrong = next((number for number, row in enumerate(rows, 1) if len(row) != len(columns)), None)
    if wrong is not None:
        raise _invalid(
            f"Row {wrong} of dataframe_split has {len(rows[wrong - 1])} cells, and there are {len(columns)} columns."
        )


def _rows_of(request: ScoringRequest) -> int:
    data = request.data
    if request.form == "table":
        return int(data.num_rows)
    if request.form == "dataframe_split":
        return len(data["data"])
    if isinstance(data, dict):
        return max((len(cells) for cells in data.values() if isinstance(cells, list)), default=1)
    return len(data) if isinstance(data, list) else 1


def _read_csv(body: bytes) -> Any:
    import pyarrow as pa
    from pyarrow import csv

    broken: list[Any] = []

    def remember(row: Any) -> str:
        broken.append(row)
        return "error"

    # One block, so that a long row never straddles two.
    whole = csv.ReadOptions(block_size=len(body) + 1, use_threads=False)
    quoting = csv.ParseOptions(newlines_in_values=True, invalid_row_handler=remember)
    _check_columns(_columns_of(body))
    try:
        # Where pyarrow hands out a row of other bytes it prints a traceback of its own.
        body.decode()
        names = csv.open_csv(io.BytesIO(body), whole, quoting).schema.names
        texts = csv.ConvertOptions(
            column_types=dict.fromkeys(names, pa.string()), null_values=[""], strings_can_be_null=True
        )
        table = csv.read_csv(io.BytesIO(body), whole, quoting, texts)
    except (pa.ArrowInvalid, UnicodeDecodeError):
        raise _unreadable_csv(
            f" Row {broken[0].number} has {broken[0].actual_columns} cells." if broken else ""
        ) from None
    _refuse_repeated(names)
    return table


def _columns_of(body: bytes) -> int:
    """Names in the first line, counted before pyarrow sees it: half a megabyte of commas takes it gigabytes."""
    import csv

    try:
        lines = csv.reader(io.TextIOWrapper(io.BytesIO(body), "utf-8-sig", newline=""))
        return len(next(lines, []))
    except (csv.Error, UnicodeDecodeError):
        raise _unreadable_csv("") from None


def _unreadable_csv(where: str) -> Refusal:
    return _invalid(
        "The csv cannot be read. It has to be UTF-8 with a line of column names, commas between cells, and as many "
        f"cells in each row as there are columns.{where}"
    )


def _check_columns(columns: int) -> None:
    if columns > MOST_COLUMNS:
        raise _invalid(f"The table has {columns} columns, more than {MOST_COLUMNS}.")


def _read_parquet(body: bytes, most_rows: int, most_bytes: int) -> Any:
    import pyarrow as pa
    from pyarrow import parquet

    try:
        file = parquet.ParquetFile(pa.BufferReader(body))
        if file.metadata.num_rows > most_rows:
            raise _too_many_rows(file.metadata.num_rows, most_rows)
        _check_columns(file.metadata.num_columns)
        _refuse_repeated(file.schema_arrow.names)
        too_much = Refusal(413, "INVALID_PARAMETER_VALUE", "The parquet file unpacks to too much; send it in parts.")
        # What it says of itself, before anything is unpacked.
        groups = [file.metadata.row_group(place) for place in range(file.metadata.num_row_groups)]
        values = sum(group.column(place).num_values for group in groups for place in range(group.num_columns))
        if max(values, sum(group.total_byte_size for group in groups)) > most_bytes:
            raise too_much
        # A text in a dictionary may be in every row: as many as are unpacked at once stay within the limit.
        largest = max((group.total_byte_size for group in groups), default=0)
        rows = max(1, min(ROWS_AT_ONCE, most_bytes // max(largest, 1)))
        batches, unpacked = [], 0
        for batch in file.iter_batches(batch_size=rows, use_threads=False):
            plain = pa.RecordBatch.from_pydict(
                {
                    name: column.dictionary_decode() if pa.types.is_dictionary(column.type) else column
                    for name, column in zip(batch.schema.names, batch.columns, strict=True)
                }
            )
            unpacked += plain.nbytes
            if unpacked > most_bytes:
                raise too_much
            batches.append(plain)
        return pa.Table.from_batches(batches) if batches else file.schema_arrow.empty_table()
    except (pa.ArrowException, OSError, ValueError):
        raise _invalid("The parquet file cannot be read.") from None


def _refuse_repeated(names: Sequence[str]) -> None:
    if len(set(names)) < len(names):
        raise _invalid("Two columns have one name.")
