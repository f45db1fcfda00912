"""How a text file was saved: its encoding, what stands between cells, and the names of its columns.

Nothing in a csv says so. The encoding is found in all of its bytes. The delimiter is the one under which the first
rows come out as wide as the header, which is more reliable than counting characters as `csv.Sniffer` does (van den
Burg, Nazábal and Sutton 2019 compare such methods).
"""

from __future__ import annotations

import codecs
import csv
import io
import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from functools import lru_cache
from pathlib import Path
from typing import IO, Any

from luthier.errors import DataError
from luthier.tables.sources import open_binary, table_format

__all__ = ["Dialect", "dialect_of", "named_columns", "refuse_title", "open_text"]

SAMPLE_CHARACTERS = 262_144
SAMPLE_ROWS = 300
"""Of a file's beginning, what the delimiter is judged by."""

DELIMITERS = {",": "commas", ";": "semicolons", "\t": "tabs", "|": "vertical bars"}

BYTE_ORDER_MARKS = (
    (codecs.BOM_UTF32_LE, "utf-32"),
    (codecs.BOM_UTF32_BE, "utf-32"),
    (codecs.BOM_UTF8, "utf-8-sig"),
    (codecs.BOM_UTF16_LE, "utf-16"),
    (codecs.BOM_UTF16_BE, "utf-16"),
)

UNDEFINED = bytes([0x81, 0x8D, 0x8F, 0x90, 0x9D])
"""Bytes that cp1252 has no character for."""

ACCENTED = bytes([0x8A, 0x8C, 0x8E, 0x9A, 0x9C, 0x9E, 0x9F, *range(0xC0, 0xD7), *range(0xD8, 0xF7), *range(0xF8, 256)])
"""Letters of cp1252 beyond ASCII."""

SIGN_IN_WORD = re.compile(rb"[a-z][\x80\x82-\x89\x8b\x91\x93-\x95\x98\x99\x9b\xa1-\xac\xae-\xb3\xb5\xb6\xb8-\xbf][a-z]")
"""A sign of cp1252 where a letter belongs: the file was saved in another encoding, such as cp1250 or Mac Roman."""

FOREIGN_WORD = re.compile(rb"[\x80-\xff]{4,}")
"""In a Western language accents stand alone among plain letters; in Cyrillic, Greek or Chinese they do not."""


@dataclass(frozen=True)
class Dialect:
    """How a text file was saved.

    Attributes:
        encoding: name of the codec.
        delimiter: stands between cells.
        quoted: whether double quotes enclose cells; else they are characters like others.
        skips_blanks: whether blanks behind a delimiter belong to it.
        declared: whether the first line is Excel's `sep=`, which is no row.
        columns: names of the columns that are read, in order; the first of the file.
        width: how many columns the header has.
        remarks: what else was found, for a person.
    """

    encoding: str = "utf-8-sig"
    delimiter: str = ","
    quoted: bool = True
    skips_blanks: bool = False
    declared: bool = False
    columns: tuple[str, ...] = ()
    width: int = 0
    remarks: tuple[str, ...] = ()

    @property
    def format(self) -> dict[str, Any]:
        """What `csv.reader` is given. Strict: a quote in the wrong place would otherwise swallow the rows behind it."""
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
        """What is unusual, in words; nothing for a plain csv in UTF-8."""
        unusual = [] if self.delimiter == "," else [f"{self.separator} between cells"]
        unusual += [] if self.encoding == "utf-8-sig" else [f"encoding {self.encoding}"]
        unusual += [] if self.quoted else ["quotes taken as characters"]
        unusual += ["blanks behind delimiters left out"] if self.skips_blanks else []
        return "; ".join([*unusual, *self.remarks])


def dialect_of(file: Path) -> Dialect:
    """How a csv or jsonl file was saved; found once for each state of the file.

    Raises:
        DataError: the file is empty or in an encoding that cannot be told.
    """
    state = file.stat()
    return _dialect(file.resolve(), str(file), state.st_mtime_ns, state.st_size)


@lru_cache(maxsize=64)
def _dialect(file: Path, shown: str, changed_ns: int, size: int) -> Dialect:
    encoding = _encoding_of(file, shown)
    if table_format(file) != "csv":
        return Dialect(encoding)
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


def open_text(file: Path, encoding: str) -> IO[str]:
    """The characters of a file, with line ends as they are."""
    return io.TextIOWrapper(open_binary(file), encoding=encoding, newline="")


def _best(sample: str, whole: bool, encoding: str, tried: Sequence[str]) -> tuple[Dialect, list[list[str]]]:
    """The dialect whose rows fit the header best, and the rows it gives."""
    found: list[tuple[tuple[float, int], Dialect, list[list[str]]]] = []
    for delimiter in tried:
        ways = [Dialect(encoding, delimiter), Dialect(encoding, delimiter, skips_blanks=True)]
        if delimiter == "\t":
            # Databases write tabs and know no quotes: the inch sign of one text would swallow the next rows.
            ways.append(Dialect(encoding, delimiter, quoted=False))
        for way in ways:
            records, broken = _parsed(sample, whole, way)
            if not records:
                continue
            width, rows = len(records[0]), len(records) - 1 + broken
            fit = sum(_fits(record, width) for record in records[1:]) / rows if rows else 1.0
            # One column is what every wrong delimiter finds.
            found.append(((fit if width > 1 else -1.0, width), way, records))
    if not found:
        return Dialect(encoding, tried[0]), []
    # The first of equals, so that the usual dialects win.
    _, best, records = max(found, key=lambda one: one[0])
    return best, records


def _parsed(sample: str, whole: bool, dialect: Dialect) -> tuple[list[list[str]], bool]:
    """Records of a sample from the header on, and whether it broke off at a fault."""
    lines = csv.reader(io.StringIO(sample, newline=""), **dialect.format)
    records: list[list[str]] = []
    broken = False
    try:
        for record in lines:
            if records and not record:
                continue
            if records or any(cell.strip() for cell in record):
                records.append(record)
            if len(records) > SAMPLE_ROWS:
                return records, False
    except csv.Error as fault:
        broken = whole or "unexpected end of data" not in str(fault)
        return records, broken
    if not whole and len(records) > 1:
        # The sample ends within it.
        records.pop()
    return records, False


def _fits(record: Sequence[str], width: int) -> bool:
    return len(record) == width or (len(record) > width and not any(cell.strip() for cell in record[width:]))


def named_columns(
    header: Sequence[str], rows: Iterable[Sequence[object]], text: str = ""
) -> tuple[list[str], list[str]]:
    """Names of a header's columns, and what was done to them; shorter than the header where its end is empty.

    Args:
        header: the cells of the first row.
        rows: rows below it, which say whether a column without a name is empty.
        text: the file's beginning, where a name in quotes keeps its blanks.
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
            # The name that pandas gives it, so that a notebook and a command speak of the same column.
            name = f"Unnamed: {place}"
            while name in names:
                name += "_"
            given.append(name)
            names[place] = name
    if given:
        remarks.append(f"column{'' if len(given) == 1 else 's'} without a name called {', '.join(map(repr, given))}")
    return names[: last + 1], remarks


def refuse_title(header: Sequence[object], rows: Iterable[Sequence[object]], file: str | Path) -> None:
    """Stops at a first row that is a title above the column names: one cell, where every row below has more.

    Raises:
        DataError: there is such a row.
    """
    named = [str(cell) for cell in header if cell is not None and str(cell).strip()]
    widths = {len(row) for row in rows if any(cell is not None and str(cell).strip() for cell in row)}
    if len(named) == 1 and len(widths) == 1 and (width := widths.pop()) > 2:
        raise DataError(
            f"{file}: the first row holds one cell, {named[0]!r}, and the rows below it have {width}. A table begins "
            "with the row of column names; delete the rows above it."
        )


def _encoding_of(file: Path, shown: str) -> str:
    with open_binary(file) as stream:
        first = stream.read(4_096)
    for mark, encoding in BYTE_ORDER_MARKS:
        if first.startswith(mark):
            return encoding
    even, odd = first[::2].count(0), first[1::2].count(0)
    if max(even, odd) * 5 > len(first) and first:
        return "utf-16-le" if odd > even else "utf-16-be"
    line = _line_that_is_not_utf8(file)
    return "utf-8-sig" if line is None else _encoding_of_one_byte(file, shown, line)


def _line_that_is_not_utf8(file: Path) -> int | None:
    decoder = codecs.getincrementaldecoder("utf-8")()
    line = 1
    with open_binary(file) as stream:
        while True:
            chunk = stream.read(1 << 20)
            try:
                decoder.decode(chunk, final=not chunk)
            except UnicodeDecodeError as fault:
                return line + fault.object[: fault.start].count(b"\n")
            if not chunk:
                return None
            line += chunk.count(b"\n")


def _encoding_of_one_byte(file: Path, shown: str, line: int) -> str:
    """cp1252, which Excel writes in the West, unless the bytes say that it is something else.

    Raises:
        DataError: it is; no other encoding is guessed, for a wrong one changes every text without a sign.
    """
    decoder = codecs.getincrementaldecoder("utf-8")("surrogateescape")
    whole = broken = accented = undefined = signs = runs = 0
    plain = bytes(range(128))
    with open_binary(file) as stream:
        while chunk := stream.read(1 << 20):
            characters = decoder.decode(chunk)
            broken += sum("\udc80" <= character <= "\udcff" for character in characters if character > "\x7f")
            whole += sum(character > "\x7f" for character in characters)
            high = chunk.translate(None, plain)
            accented += len(high) - len(high.translate(None, ACCENTED))
            undefined += len(high) - len(high.translate(None, UNDEFINED))
            signs += len(SIGN_IN_WORD.findall(chunk))
            runs += len(FOREIGN_WORD.findall(chunk))
    if whole - broken > broken:
        raise DataError(
            f"{shown} is UTF-8, but for bytes near line {line} that are not; it was cut, or put together from files "
            "of two encodings. Save it as UTF-8 again."
        )
    if undefined or max(signs, runs) > accented // 20:
        raise DataError(
            f"{shown} is not UTF-8 (see line {line}) and not cp1252 either. Save it as UTF-8, or convert it: "
            f"iconv -f ENCODING -t UTF-8 {shown} > utf8.csv"
        )
    return "cp1252"
