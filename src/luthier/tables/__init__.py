"""Tables in files and from Python, whole or in chunks, read and written: csv, jsonl, parquet and Excel.

A table is one file, or the files of a folder or a pattern, here or at an address such as `s3://bucket/folder`; csv
and jsonl may be compressed by gzip or zstd.

Cells stay as they are written: a csv cell is text (`001` stays `001`, `NA` stays `NA`), a parquet column keeps its
type, a jsonl value stays the same JSON value. The encoding of a text file and its delimiter are detected; `how_saved`
reports them.

In a csv an empty cell is null, so an empty text comes back as null; in a table of one column a blank line is a row
with a null. Values that csv or JSON cannot express are written as text: times as ISO 8601, decimals as their digits,
bytes as base64, lists and objects in a csv cell as JSON. Half of a surrogate pair, which UTF-8 cannot hold, becomes
`?` everywhere.
"""

from luthier.tables.cells import storable_cells
from luthier.tables.digests import RowsDigest
from luthier.tables.frames import ArrowStream, frame_of, is_table, row_numbers, take_rows
from luthier.tables.parts import refuse_overlap, table_files
from luthier.tables.readers import Record, columns_of, count_rows, how_saved, read_chunks, read_table
from luthier.tables.remote import address_of
from luthier.tables.series import frame_of_records, series_of, text_series, utf8_frame
from luthier.tables.sources import FORMATS, free_names, table_format
from luthier.tables.standard_streams import STANDARD_STREAM, is_standard, keep_standard_output
from luthier.tables.targets import check_target, target_state, written_format
from luthier.tables.writers import TableWriter, open_writer, write_frame

__all__ = [
    "FORMATS",
    "ArrowStream",
    "STANDARD_STREAM",
    "Record",
    "RowsDigest",
    "TableWriter",
    "series_of",
    "columns_of",
    "count_rows",
    "take_rows",
    "address_of",
    "check_target",
    "is_standard",
    "target_state",
    "keep_standard_output",
    "refuse_overlap",
    "table_files",
    "free_names",
    "frame_of",
    "how_saved",
    "is_table",
    "open_writer",
    "read_chunks",
    "read_table",
    "row_numbers",
    "storable_cells",
    "frame_of_records",
    "text_series",
    "utf8_frame",
    "table_format",
    "write_frame",
    "written_format",
]
