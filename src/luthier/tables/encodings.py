"""The encoding of a text file, found in all of its bytes; no csv or jsonl file names its own.

UTF-8, UTF-16 and UTF-32 are recognised, and cp1252, which Excel writes in Western countries. No other encoding is
guessed: a wrong guess would change every text and give no sign of it.
"""

from __future__ import annotations

import codecs
import io
import re
from functools import lru_cache
from pathlib import Path
from typing import IO

from luthier.errors import DataError
from luthier.tables.contents import open_binary

__all__ = ["PLAIN", "encoding_of", "open_text"]

PLAIN = "utf-8-sig"
"""The usual encoding: UTF-8 with or without a byte order mark."""

BYTE_ORDER_MARKS = (
    (codecs.BOM_UTF32_LE, "utf-32"),
    (codecs.BOM_UTF32_BE, "utf-32"),
    (codecs.BOM_UTF8, PLAIN),
    (codecs.BOM_UTF16_LE, "utf-16"),
    (codecs.BOM_UTF16_BE, "utf-16"),
)

UNDEFINED = bytes([0x81, 0x8D, 0x8F, 0x90, 0x9D])
"""Bytes that cp1252 has no character for."""

ACCENTED = bytes([0x8A, 0x8C, 0x8E, 0x9A, 0x9C, 0x9E, 0x9F, *range(0xC0, 0xD7), *range(0xD8, 0xF7), *range(0xF8, 256)])
"""Letters of cp1252 beyond ASCII."""

SIGN_IN_WORD = re.compile(rb"[a-z][\x80\x82-\x89\x8b\x91\x93-\x95\x98\x99\x9b\xa1-\xac\xae-\xb3\xb5\xb6\xb8-\xbf][a-z]")
"""A symbol of cp1252 between letters: the file was saved in another encoding, such as cp1250 or Mac Roman."""

FOREIGN_WORD = re.compile(rb"[\x80-\xff]{4,}")
"""In Western languages accented letters stand alone among plain ones; in Cyrillic, Greek or Chinese they do not."""


def open_text(file: Path, encoding: str) -> IO[str]:
    """A stream of a file's characters, with line ends as they are."""
    return io.TextIOWrapper(open_binary(file), encoding=encoding, newline="")


def encoding_of(file: Path) -> str:
    """Name of the codec that reads a text file; found once for each state of the file.

    Raises:
        DataError: the encoding cannot be told.
    """
    state = file.stat()
    return _encoding(file.resolve(), str(file), state.st_mtime_ns, state.st_size)


@lru_cache(maxsize=4_096)
def _encoding(file: Path, shown: str, changed_ns: int, size: int) -> str:
    file = Path(shown)
    with open_binary(file) as stream:
        first = stream.read(4_096)
    for mark, encoding in BYTE_ORDER_MARKS:
        if first.startswith(mark):
            return encoding
    even, odd = first[::2].count(0), first[1::2].count(0)
    if max(even, odd) * 5 > len(first) and first:
        return "utf-16-le" if odd > even else "utf-16-be"
    line = _line_that_is_not_utf8(file)
    if line is not None:
        _refuse_unless_cp1252(file, line)
    return PLAIN if line is None else "cp1252"


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


def _refuse_unless_cp1252(file: Path, line: int) -> None:
    """Refuses a file whose bytes are not UTF-8 from `line` on and do not look like cp1252 either."""
    decoder = codecs.getincrementaldecoder("utf-8")("surrogateescape")
    plain = bytes(range(128))
    whole = broken = accented = undefined = signs = runs = 0
    with open_binary(file) as stream:
        while chunk := stream.read(1 << 20):
            beyond = [character for character in decoder.decode(chunk) if character > "\x7f"]
            whole += len(beyond)
            broken += sum("\udc80" <= character <= "\udcff" for character in beyond)
            high = chunk.translate(None, plain)
            accented += len(high) - len(high.translate(None, ACCENTED))
            undefined += len(high) - len(high.translate(None, UNDEFINED))
            signs += len(SIGN_IN_WORD.findall(chunk))
            runs += len(FOREIGN_WORD.findall(chunk))
    if whole - broken > broken:
        raise DataError(
            f"{file} is UTF-8, except for bytes near line {line}; it was cut off, or put together from files of two "
            "encodings. Save it as UTF-8 again."
        )
    if undefined or max(signs, runs) > accented // 20:
        raise DataError(
            f"{file} is neither UTF-8 (see line {line}) nor cp1252. Save it as UTF-8, or convert it: "
            f"iconv -f ENCODING -t UTF-8 {file} > utf8.csv"
        )
