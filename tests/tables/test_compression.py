"""csv and jsonl compressed by gzip or zstd are read and written like plain ones, and never held whole."""

from __future__ import annotations

import gzip
from collections.abc import Callable
from pathlib import Path

import pyarrow as pa
import pytest

from luthier.errors import DataError
from luthier.tables import Record, columns_of, how_saved, open_writer, read_chunks, read_table

COMPRESSED = ["t.csv.gz", "t.csv.zst", "t.tsv.zst", "t.jsonl.gz", "t.jsonl.zst", "t.ndjson.gz"]


@pytest.mark.parametrize("name", COMPRESSED)
def test_a_compressed_table_comes_back_as_it_was(tmp_path: Path, name: str) -> None:
    rows: list[Record] = [{"id": "001", "text": "a\tb, ç"}, {"id": "002", "text": None}]
    with open_writer(tmp_path / name, ["id", "text"], {}) as writer:
        writer.write(rows)
    assert list(read_chunks(tmp_path / name, 10)) == [rows]
    assert (tmp_path / name).read_bytes()[:2] in (b"\x1f\x8b", b"\x28\xb5"), "it is compressed"


def test_what_others_can_read_is_written(tmp_path: Path) -> None:
    with open_writer(tmp_path / "t.csv.gz", ["text"], {}) as writer:
        writer.write([{"text": "a"}])
    assert gzip.decompress((tmp_path / "t.csv.gz").read_bytes()) == b"text\na\n"


def test_equal_tables_are_equal_files(tmp_path: Path) -> None:
    for name in ("a.csv.gz", "b.csv.gz"):
        with open_writer(tmp_path / name, ["text"], {}) as writer:
            writer.write([{"text": "a"}])
    assert (tmp_path / "a.csv.gz").read_bytes() == (tmp_path / "b.csv.gz").read_bytes()


def zstd(content: bytes) -> bytes:
    sink = pa.BufferOutputStream()
    with pa.CompressedOutputStream(sink, "zstd") as stream:
        stream.write(content)
    return bytes(sink.getvalue())


@pytest.mark.parametrize("pack", [gzip.compress, zstd])
def test_compressed_files_put_together_are_read_to_the_end(tmp_path: Path, pack: Callable[[bytes], bytes]) -> None:
    (tmp_path / "t.csv").write_bytes(pack(b"text\na\n") + pack(b"b\n"))
    assert read_table(tmp_path / "t.csv")["text"].tolist() == ["a", "b"]


@pytest.mark.parametrize("name", ["t.csv.gz", "t.jsonl.zst"])
def test_a_compressed_file_that_was_cut_off_is_a_named_fault(tmp_path: Path, name: str) -> None:
    with open_writer(tmp_path / name, ["text"], {}) as writer:
        writer.write([{"text": f"text {number * 7919 % 1_000}"} for number in range(5_000)])
    whole = (tmp_path / name).read_bytes()
    (tmp_path / name).write_bytes(whole[: len(whole) // 2])
    with pytest.raises(DataError, match=rf"{name} is a broken (gzip|zstd) file: .*[Tt]runcated"):
        columns_of(tmp_path / name)


def test_a_compressed_file_of_another_encoding_says_so(tmp_path: Path) -> None:
    (tmp_path / "t.csv.gz").write_bytes(gzip.compress("text;n\nGrüße;1\n".encode("utf-16")))
    assert how_saved(tmp_path / "t.csv.gz") == "semicolons between cells; encoding utf-16"


@pytest.mark.parametrize("name", ["t.csv.gz", "t.csv.zst"])
def test_a_long_compressed_table_is_read_in_flat_memory(tmp_path: Path, name: str) -> None:
    import tracemalloc

    with open_writer(tmp_path / name, ["text"], {}) as writer:
        for _ in range(50):
            writer.write([{"text": "x" * 200}] * 1_000)
    columns_of(tmp_path / name)
    tracemalloc.start()
    rows = sum(len(chunk) for chunk in read_chunks(tmp_path / name, 1_000))
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert rows == 50_000
    assert peak < 4_000_000, "a small part of the table"
