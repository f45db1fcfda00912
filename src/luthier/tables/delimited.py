"""csv and its kin: how the file was saved, and its rows one after the other, errors named by line.

No csv file says what stands between its cells. The delimiter is the one under which the first rows come out as wide
as the header, which is more reliable than counting characters as `csv.Sniffer` does (van den Burg, Nazábal and Sutton
2019 compare such methods).
"""

from __future__ import annotations

import csv
import io
import re
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from functools import lru_cache
from pathlib import Path
from typing import Any

from luthier.errors import DataError
from luthier.tables.encodings import PLAIN, encoding_of, open_text
from luthier.tables.sources import refuse_duplicates

__all__ = ["SAMPLE_ROWS", "delimited_columns", "delimited_rows", "dialect_of", "named_columns", "refuse_title"]

SAMPLE_CHARACTERS = 262_144
SAMPLE_ROWS = 300
"""How much of a file's beginning decides about the delimiter."""

DELIMITERS = {",": "commas", ";": "semicolons", "\t": "tabs", "|": "vertical bars"}

LONGEST_CELL = 2**31 - 1


@dataclass(frozen=True)
class Dialect:
    """How a csv was saved.

    Attributes:
        encoding: name of the codec.
        delimiter: the character between cells.
        quoted: whether double quotes enclose cells; otherwise they are ordinary characters.
        skips_blanks: whether blanks after a delimiter belong to the delimiter.
        declared: whether the first line is Excel's `sep=` line, which is not a row.
        columns: names of the columns that are read, in order: the first ones of the file.
        width: number of columns in the header.
        remarks: what else is unusual, as shown to the user.
    """

    encoding: str = PLAIN
    delimiter: str = ","
    quoted: bool = True
    skips_blanks: bool = False
    declared: bool = False
    columns: tuple[str, ...] = ()
    width: int = 0
    remarks: tuple[str, ...] = ()

    @property
    def format(self) -> dict[str, Any]:
        """Arguments of `csv.reader`. Strict, as a misplaced quote would otherwise swallow the rows after it."""
        return {
            "delimiter": self.delimiter,
            "quoting": csv.QUOTE_MINIMAL if self.quoted else csv.QUOTE_NONE,
            "skipinitialspace": self.skips_blanks,
            "strict": True,
        }

    @property
    def separator(self) -> str:
        """The delimiter in words."""
        return DELIMITERS.get(self.delimiter, f"{self.delimiter!r}")

    def __str__(self) -> str:
        """What is unusual about the file; empty for comma-separated UTF-8."""
        unusual = [] if self.delimiter == "," else [f"{self.separator} between cells"]
        unusual += [] if self.encoding == PLAIN else [f"encoding {self.encoding}"]
        unusual += [] if self.quoted else ["quotes taken as characters"]
        unusual += ["blanks behind delimiters left out"] if self.skips_blanks else []
        return "; ".join([*unusual, *self.remarks])


def dialect_of(file: Path) -> Dialect:
    """Finds how a csv was saved, once for each state of the file.

    Raises:
        DataError: the file is empty, or its encoding cannot be told.
    """
    # For the whole process; Python's default of 131,072 characters is shorter than some texts.
    csv.field_size_limit(LONGEST_CELL)
    state = file.stat()
    return _dialect(file.resolve(), str(file), state.st_mtime_ns, state.st_size)


@lru_cache(maxsize=4_096)
def _dialect(file: Path, shown: str, changed_ns: int, size: int) -> Dialect:
    file = Path(shown)
    encoding = encoding_of(file)
    with open_text(file, encoding) as stream:
        sample = stream.read(SAMPLE_CHARACTERS)
        whole = not stream.read(1)
    first, _, rest = sample.partition("\n")
    declared = re.fullmatch(r'"?sep=(.)"?\r?', first, re.IGNORECASE)
    if declared:
        sample = rest
    tried = [declared[1]] if declared else list(DELIMITERS)
    if not declared and ".tsv" in (suffix.lower() for suffix in file.suffixes):
        tried.sort(key=lambda delimiter: delimiter != "\t")
    best, records = _best(sample, whole, encoding, tried)
    if not records:
        raise DataError(f"{shown} is empty; a csv begins with a line of column names.")
    refuse_title(records[0], records[1:], shown)
    columns, remarks = named_columns(records[0], records[1:], sample)
    return replace(best, declared=bool(declared), columns=tuple(columns), width=len(records[0]), remarks=tuple(remarks))


def _best(sample: str, whole: bool, encoding: str, tried: Sequence[str]) -> tuple[Dialect, list[list[str]]]:
    """The dialect whose rows fit the header best, and those rows; no rows for an empty sample."""
    best, found, highest = Dialect(encoding, tried[0]), list[list[str]](), (-2.0, 0)
    for delimiter in tried:
        candidates = [Dialect(encoding, delimiter), Dialect(encoding, delimiter, skips_blanks=True)]
        if delimiter == "\t":
            # Databases write tabs without quoting: an inch sign in one text would swallow the next rows.
            candidates.append(Dialect(encoding, delimiter, quoted=False))
        for dialect in candidates:
            records, broken = _parsed(sample, whole, dialect)
            if not records:
                continue
            width, rows = len(records[0]), len(records) - 1 + broken
            fit = sum(_fits(record, width) for record in records[1:]) / rows if rows else 1.0
            # Every wrong delimiter finds one column. The first of equals wins, so that usual dialects do.
            score = (fit if width > 1 else -1.0, width)
            if score > highest:
                best, found, highest = dialect, records, score
    return best, found


def _parsed(sample: str, whole: bool, dialect: Dialect) -> tuple[list[list[str]], bool]:
    """Records of a sample from the header on, and whether an error ended them."""
    records: list[list[str]] = []
    try:
        for record in csv.reader(io.StringIO(sample, newline=""), **dialect.format):
            if any(cell.strip() for cell in record) or (records and record):
                records.append(record)
            if len(records) > SAMPLE_ROWS:
                return records, False
    except csv.Error as error:
        return records, whole or "unexpected end of data" not in str(error)
    if not whole and len(records) > 1:
        # The sample ends within it.
        records.pop()
    return records, False


def _fits(record: Sequence[str], width: int) -> bool:
    return len(record) == width or (len(record) > width and not any(cell.strip() for cell in record[width:]))


def named_columns(
    header: Sequence[str], rows: Iterable[Sequence[object]], text: str = ""
) -> tuple[list[str], list[str]]:
    """Names of a header's columns, and remarks on what was changed; empty columns at the end are left out.

    Args:
        header: the cells of the first row.
        rows: rows below it, which show whether a column without a name is empty.
        text: the beginning of the file; a name that stands in quotes there keeps its blanks.
    """
    names = [name if '"' + name.replace('"', '""') + '"' in text else name.strip() for name in header]
    remarks = []
    cut = [name for name, given in zip(names, header, strict=True) if name and name != given]
    if cut:
        remarks.append(f"blanks around {', '.join(map(repr, cut))} in the header left out")
    filled = {place for row in rows for place, cell in enumerate(row) if cell is not None and str(cell).strip()}
    last = max((place for place, name in enumerate(names) if name or place in filled), default=-1)
    if last + 1 < len(names):
        count = len(names) - last - 1
        remarks.append(f"{count} empty column{'' if count == 1 else 's'} without a name at the end left out")
    given = []
    for place, name in enumerate(names[: last + 1]):
        if not name:
            # The name that pandas gives it, so that notebooks and commands use the same one.
            name = f"Unnamed: {place}"
            while name in names:
                name += "_"
            given.append(name)
            names[place] = name
    if given:
        remarks.append(f"column{'' if len(given) == 1 else 's'} without a name called {', '.join(map(repr, given))}")
    return names[: last + 1], remarks


def refuse_title(header: Sequence[object], rows: Iterable[Sequence[object]], file: str | Path) -> None:
    """Refuses a first row that is a title above the column names: one cell, where all rows below have more.

    Raises:
        DataError: the first row is such a title.
    """
    named = [str(cell) for cell in header if cell is not None and str(cell).strip()]
    widths = {len(row) for row in rows if any(cell is not None and str(cell).strip() for cell in row)}
    if len(named) == 1 and len(widths) == 1 and (width := widths.pop()) > 2:
        raise DataError(
            f"{file}: the first row holds one cell, {named[0]!r}, and the rows below it have {width}. A table begins "
            "with the row of column names; delete the rows above it."
        )


def delimited_columns(file: Path) -> list[str]:
    """Names of the columns.

    Raises:
        DataError: the file is empty, its encoding cannot be told, or two columns have one name.
    """
    columns = list(dialect_of(file).columns)
    refuse_duplicates(columns, file)
    return columns


def delimited_rows(file: Path) -> Iterator[dict[str, Any]]:
    """Records in order, empty cells as `None`.

    Raises:
        DataError: a row does not fit the header, or a quote is misplaced; names the line.
    """
    columns = delimited_columns(file)
    dialect = dialect_of(file)
    with open_text(file, dialect.encoding) as stream:
        if dialect.declared:
            stream.readline()
        lines = csv.reader(stream, **dialect.format)
        in_header = True
        while True:
            start = lines.line_num + dialect.declared + 1
            try:
                cells = next(lines, None)
            except (csv.Error, UnicodeDecodeError) as error:
                raise _broken(file, dialect, start, error) from error
            if cells is None:
                return
            if in_header:
                # Blank lines above the header are skipped.
                in_header = not any(cell.strip() for cell in cells)
                continue
            if not cells and dialect.width > 1:
                continue
            if len(cells) != len(columns):
                cells = _fitted(cells, file, dialect, start)
            # In a table of one column a blank line is a null.
            yield {name: cell or None for name, cell in zip(columns, cells or [""], strict=True)}


def _fitted(cells: list[str], file: Path, dialect: Dialect, line: int) -> list[str]:
    """A row without the empty cells after its last column."""
    columns = len(dialect.columns)
    beyond = [place for place, cell in enumerate(cells) if place >= columns and cell.strip()]
    if not cells and columns == 1:
        return cells
    if beyond and beyond[0] < dialect.width:
        raise DataError(
            f"{file}, line {line}: cell {beyond[0] + 1} holds {cells[beyond[0]]!r}, but column {beyond[0] + 1} has no "
            "name. Name it in the header, or empty it."
        )
    if beyond or len(cells) < columns:
        raise DataError(
            f"{file}, line {line}: {len(cells)} cells where the header has {dialect.width}, with "
            f"{dialect.separator} between cells. A text with {dialect.separator} or line breaks stands in double "
            'quotes, and a quote inside it is doubled ("").'
        )
    return cells[:columns]


def _broken(file: Path, dialect: Dialect, line: int, error: Exception) -> DataError:
    if isinstance(error, UnicodeDecodeError):
        return DataError(f"{file} is not {dialect.encoding} near line {line} ({error.reason}); save it as UTF-8.")
    return DataError(
        f"{file}, the row that begins at line {line}: {error}. A text with {dialect.separator}, quotes or line breaks "
        'stands in double quotes, and a quote inside it is doubled ("").'
    )
