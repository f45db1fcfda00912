"""Tables in files: csv, jsonl and parquet, whole or in chunks, in and out.

Cells stay as they are written: a csv cell is text (`001` stays `001`, `NA` stays `NA`), a parquet
column keeps its type, a jsonl value stays the JSON value it was.

A csv has one way to write nothing: an empty cell is null, so an empty text comes back as null. In
a table of one column a blank line is a row too, with a null. What csv or JSON have no form for is
written as text: times as ISO 8601, decimals as their digits, bytes as base64, lists and objects in
a csv cell as JSON. Half of a surrogate pair, which UTF-8 cannot hold, becomes `?` everywhere.
"""

from luthier.tables.reading import (
    FORMATS,
    Record,
    columns_of,
    count_rows,
    existing,
    read_chunks,
    read_table,
    table_format,
)
from luthier.tables.writing import TableWriter, open_writer, write_frame

__all__ = [
    "FORMATS",
    "Record",
    "TableWriter",
    "columns_of",
    "count_rows",
    "existing",
    "open_writer",
    "read_chunks",
    "read_table",
    "table_format",
    "write_frame",
]
