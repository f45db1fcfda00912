"""Tables in files: a full disk, a broken file and two columns of one name are said, not suffered."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from luthier.errors import DataError
from luthier.tables import columns_of, count_rows, open_writer, read_chunks, read_table, target_state, write_frame

FORMATS = ["out.csv", "out.jsonl", "out.parquet"]

# Random digits, for parquet would fit anything else under the limit.
FILLS_THE_DISK = """
import random, resource, sys
from luthier.errors import DataError
from luthier.tables import open_writer
chunks, rows = int(sys.argv[2]), int(sys.argv[3])
resource.setrlimit(resource.RLIMIT_FSIZE, (2_000, 2_000))
try:
    with open_writer(sys.argv[1], ["text"], {}) as writer:
        for _ in range(chunks):
            writer.write([{"text": str(random.random())} for _ in range(rows)])
except DataError as error:
    print(error)
"""


def fill_the_disk(target: Path, chunks: int, rows: int) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-c", FILLS_THE_DISK, str(target), str(chunks), str(rows)],
        capture_output=True,
        text=True,
        check=True,
    )


@pytest.mark.slow
# Many chunks fail while they are written; a small one waits in memory and fails when the file is closed.
@pytest.mark.parametrize(("chunks", "rows"), [(50, 1_000), (1, 200)])
@pytest.mark.parametrize("name", FORMATS)
def test_a_full_disk_is_a_named_fault(tmp_path: Path, name: str, chunks: int, rows: int) -> None:
    said = fill_the_disk(tmp_path / name, chunks, rows).stdout
    assert said.startswith(f"{tmp_path / name} cannot be written: File too large.")


@pytest.mark.slow
@pytest.mark.parametrize(("chunks", "rows"), [(50, 1_000), (1, 200)])
@pytest.mark.parametrize("name", FORMATS)
def test_a_full_disk_leaves_no_scratch_file(tmp_path: Path, name: str, chunks: int, rows: int) -> None:
    fill_the_disk(tmp_path / name, chunks, rows)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.slow
@pytest.mark.parametrize("name", FORMATS)
def test_a_full_disk_prints_nothing_beside_its_fault(tmp_path: Path, name: str) -> None:
    assert fill_the_disk(tmp_path / name, 50, 1_000).stderr == ""


@pytest.mark.parametrize("name", FORMATS)
def test_a_scratch_file_that_went_away_is_a_named_fault(tmp_path: Path, name: str) -> None:
    with pytest.raises(DataError, match="cannot be written: No such file"):
        with open_writer(tmp_path / name, ["text"], {}):
            next(tmp_path.glob(".*.part")).unlink()


@pytest.mark.parametrize("name", FORMATS)
def test_a_target_that_became_a_folder_leaves_no_scratch_file(tmp_path: Path, name: str) -> None:
    with pytest.raises(DataError, match="cannot be written: Is a directory"):
        with open_writer(tmp_path / name, ["text"], {}) as writer:
            (tmp_path / name).mkdir()
            writer.write([{"text": "a"}])
    assert [path.name for path in tmp_path.iterdir()] == [name]


@pytest.mark.parametrize("name", FORMATS)
def test_an_interrupted_table_leaves_no_scratch_file(tmp_path: Path, name: str) -> None:
    with pytest.raises(KeyboardInterrupt):
        with open_writer(tmp_path / name, ["text"], {}) as writer:
            writer.write([{"text": "a"}])
            raise KeyboardInterrupt
    assert list(tmp_path.iterdir()) == []


@pytest.fixture
def doubled(tmp_path: Path) -> Path:
    file = tmp_path / "t.parquet"
    pq.write_table(pa.Table.from_arrays([pa.array(["a"]), pa.array([1]), pa.array([2])], ["text", "x", "x"]), file)
    return file


@pytest.mark.parametrize(
    "read", [columns_of, read_table, count_rows, lambda file: next(read_chunks(file, 1))],
    ids=["columns_of", "read_table", "count_rows", "read_chunks"],
)  # fmt: skip
def test_a_parquet_file_with_two_columns_of_one_name_is_refused(doubled: Path, read: object) -> None:
    assert callable(read)
    with pytest.raises(DataError, match="two columns called x"):
        read(doubled)


@pytest.mark.parametrize("name", FORMATS)
def test_a_frame_with_two_columns_of_one_name_is_refused(tmp_path: Path, name: str) -> None:
    with pytest.raises(DataError, match="two columns called x"):
        write_frame(pd.DataFrame([[1, 2]], columns=["x", "x"]), tmp_path / name)


def test_a_parquet_file_that_is_broken_further_down_is_a_named_fault(tmp_path: Path) -> None:
    file = tmp_path / "t.parquet"
    pq.write_table(pa.table({"text": [str(n) for n in range(10_000)]}), file)
    content = bytearray(file.read_bytes())
    content[4:2_000] = bytes(1_996)
    file.write_bytes(content)
    with pytest.raises(DataError, match="not a readable parquet file"):
        list(read_chunks(file, 100))


@pytest.mark.parametrize("line", ["9" * 5_000, "[" * 200_000], ids=["digits", "depth"])
def test_a_line_of_json_that_python_cannot_hold_is_named(tmp_path: Path, line: str) -> None:
    file = tmp_path / "t.jsonl"
    file.write_text('{"text": "a"}\n' + line + "\n")
    with pytest.raises(DataError, match="line 2"):
        read_table(file)


@pytest.mark.parametrize("ending", ["csv", "jsonl", "parquet"])
def test_what_a_killed_run_left_is_swept_and_what_is_being_written_stays(tmp_path: Path, ending: str) -> None:
    target = tmp_path / f"out.{ending}"
    left, foreign = tmp_path / f".out.{ending}-a1b2c3d4.part", tmp_path / ".other.csv-a1b2c3d4.part"
    left.write_text("half")
    foreign.write_text("not ours")
    with open_writer(target, ["a"], {}) as first:
        first.write([{"a": "1"}])
        with open_writer(target, ["a"], {}) as second:
            second.write([{"a": "2"}])
    assert sorted(path.name for path in tmp_path.iterdir()) == [foreign.name, f"out.{ending}"]
    assert len(read_table(target)) == 1


def test_nothing_is_written_below_a_file(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    assert target_state(tmp_path / "file" / "out.csv") is None
