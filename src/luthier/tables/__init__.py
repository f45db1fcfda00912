"""Tables in files and from Python: csv and its kin, jsonl, parquet and Excel, whole or in chunks, in and out.

Cells stay as they are written: a csv cell is text (`001` stays `001`, `NA` stays `NA`), a parquet
column keeps its type, a jsonl value stays the JSON value it was. How a text file was saved (its encoding, what stands
between cells) is found in the file; `how_saved` says what was found.

A csv has one way to write nothing: an empty cell is null, so an empty text comes back as null. In
a table of one column a blank line is a row too, with a null. What csv or JSON have no form for is
written as text: times as ISO 8601, decimals as their digits, bytes as base64, lists and objects in
a csv cell as JSON. Half of a surrogate pair, which UTF-8 cannot hold, becomes `?` everywhere.
"""

from luthier.tables.cells import storable_cells
from luthier.tables.frames import ArrowStream, frame_of, is_table, row_numbers, take_rows
from luthier.tables.readers import Record, columns_of, count_rows, how_saved, read_chunks, read_table
from luthier.tables.series import series_of
from luthier.tables.sources import FORMATS, STANDARD_INPUT, existing_table, table_format, written_format
from luthier.tables.writers import TableWriter, open_writer, write_frame

__all__ = [
    "FORMATS",
    "ArrowStream",
    "STANDARD_INPUT",
    "Record",
    "TableWriter",
    "series_of",
    "columns_of",
    "count_rows",
    "take_rows",
    "existing_table",
    "frame_of",
    "how_saved",
    "is_table",
    "open_writer",
    "read_chunks",
    "read_table",
    "row_numbers",
    "storable_cells",
    "table_format",
    "write_frame",
    "written_format",
]
