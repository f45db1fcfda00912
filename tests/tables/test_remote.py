"""Tables at addresses: copied once before they are read, written whole, never with a secret in what is shown."""

from __future__ import annotations

import functools
import gzip
import importlib.util
import subprocess
import sys
import threading
from collections.abc import Iterator
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest

from luthier.errors import DataError, MissingPart
from luthier.tables import (
    check_target,
    columns_of,
    count_rows,
    frame_of,
    how_saved,
    open_writer,
    read_table,
    refuse_overlap,
    target_state,
)
from tests.patience import PATIENCE_SECONDS

fsspec = pytest.importorskip("fsspec")


@pytest.fixture
def memory() -> Iterator[Any]:
    """The file system of `memory://`, empty."""
    files = fsspec.filesystem("memory")
    yield files
    files.store.clear()
    files.pseudo_dirs[:] = [""]


def written(target: str, *texts: str) -> None:
    with open_writer(target, ["id", "text"], {}) as writer:
        writer.write([{"id": f"00{number}", "text": text} for number, text in enumerate(texts)])


@pytest.mark.parametrize("name", ["t.csv", "t.csv.gz", "t.jsonl.zst", "t.parquet"])
def test_a_table_comes_back_from_its_address(memory: Any, name: str) -> None:
    written(f"memory://bucket/{name}", "a", "ç")
    assert read_table(f"memory://bucket/{name}").to_dict("records") == [
        {"id": "000", "text": "a"},
        {"id": "001", "text": "ç"},
    ]


def test_an_address_may_be_a_path_object(memory: Any) -> None:
    written("memory://bucket/t.csv", "a")
    assert count_rows(Path("memory://bucket/t.csv")) == 1


def test_a_folder_and_a_pattern_at_an_address_are_one_table(memory: Any) -> None:
    for year in (2023, 2024):
        written(f"memory://bucket/t/year={year}/part.csv", f"of {year}")
    memory.pipe_file("/bucket/t/_SUCCESS", b"")
    memory.pipe_file("/bucket/t/README.md", b"about")
    assert how_saved("memory://bucket/t") == "2 files; year from the names of folders; not read: README.md"
    assert read_table("memory://bucket/t")["year"].tolist() == ["2023", "2024"]
    assert frame_of("memory://bucket/t/year=2024/*.csv")["text"].tolist() == ["of 2024"]
    assert frame_of("memory://bucket/t/year=*")["year"].tolist() == ["2023", "2024"]


def test_a_fault_names_the_address(memory: Any) -> None:
    memory.pipe_file("/bucket/t.csv", b"id,text\n1,a,b\n")
    with pytest.raises(DataError, match="^memory://bucket/t.csv, line 2"):
        read_table("memory://bucket/t.csv")
    memory.pipe_file("/bucket/two/t.csv", b"id,text\n1,a,b\n")
    with pytest.raises(DataError, match="^memory:///?bucket/two/t.csv, line 2"):
        read_table("memory://bucket/two")


def test_a_table_that_changed_is_copied_again(memory: Any) -> None:
    written("memory://bucket/t.csv", "a")
    assert count_rows("memory://bucket/t.csv") == 1
    written("memory://bucket/t.csv", "a", "b")
    assert count_rows("memory://bucket/t.csv") == 2


def test_a_table_of_a_web_server_is_read(tmp_path: Path) -> None:
    (tmp_path / "t.csv.gz").write_bytes(gzip.compress(b"id,text\n001,a\n"))
    handler = functools.partial(SimpleHTTPRequestHandler, directory=str(tmp_path))
    with ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        try:
            address = f"http://127.0.0.1:{server.server_port}"
            assert read_table(f"{address}/t.csv.gz")["id"].tolist() == ["001"]
            with pytest.raises(DataError, match="no file http"):
                read_table(f"{address}/absent.csv")
        finally:
            server.shutdown()
    with pytest.raises(DataError, match="no file http.*onnect"):
        read_table(f"{address}/t.csv.gz")
    with pytest.raises(DataError, match="nothing is written to a web server"):
        check_target(f"{address}/out.csv")


def test_what_is_not_there_is_said(memory: Any) -> None:
    with pytest.raises(DataError, match="no file memory://bucket/t.csv"):
        columns_of("memory://bucket/t.csv")
    with pytest.raises(DataError, match=r"no file matches memory://bucket/\*\.csv"):
        columns_of("memory://bucket/*.csv")


def test_an_interrupted_table_leaves_nothing_at_its_address(memory: Any) -> None:
    with pytest.raises(RuntimeError, match="stop"):
        with open_writer("memory://bucket/t.csv", ["a"], {}) as writer:
            writer.write([{"a": "1"}])
            raise RuntimeError("stop")
    assert memory.find("/") == []


def test_a_change_at_an_address_is_told(memory: Any) -> None:
    assert target_state("memory://bucket/t.csv") is None
    written("memory://bucket/t.csv", "a")
    first = target_state("memory://bucket/t.csv")
    assert first == target_state("memory://bucket/t.csv")
    written("memory://bucket/t.csv", "b")
    assert first != target_state("memory://bucket/t.csv")


def test_an_address_that_cannot_be_written_is_found_out_before_anything_is_paid(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="no folder or bucket for file://.*missing/t.csv"):
        with open_writer(f"file://{tmp_path}/missing/t.csv", ["a"], {}):
            pytest.fail("the block began")


def test_a_table_that_could_not_be_sent_is_kept(tmp_path: Path) -> None:
    (tmp_path / "there").mkdir()
    with pytest.raises(DataError, match="The finished table is ") as caught:
        with open_writer(f"file://{tmp_path}/there/t.csv", ["a"], {}) as writer:
            writer.write([{"a": "1"}])
            (tmp_path / "there").rmdir()
    kept = Path(str(caught.value).rpartition("The finished table is ")[2].rstrip("."))
    assert kept.read_text() == "a\n1\n"
    kept.unlink()
    kept.parent.rmdir()


@pytest.mark.parametrize(
    "address", ["https://account.blob.core.windows.net/t.csv?sig=SECRET", "sftp://me:SECRET@host/t.csv"]
)
def test_an_address_with_a_secret_is_refused_without_showing_it(address: str) -> None:
    with pytest.raises(DataError, match="password or a query") as caught:
        columns_of(address)
    assert "SECRET" not in str(caught.value)


@pytest.mark.parametrize(("source", "target"), [("t.csv", "t.csv"), ("t", "t/out.csv"), ("*.csv", "out.csv")])
def test_an_output_that_the_next_run_would_read_is_refused(source: str, target: str) -> None:
    with pytest.raises(DataError, match="name an output elsewhere"):
        refuse_overlap(f"memory://bucket/{source}", f"memory://bucket/{target}")
    refuse_overlap(f"memory://bucket/{source}", f"memory://other/{target}")


def test_a_package_that_is_missing_is_named() -> None:
    if importlib.util.find_spec("s3fs") is not None:
        pytest.skip("s3fs is installed")
    with pytest.raises(MissingPart, match="pip install fsspec s3fs"):
        check_target("s3://bucket/t.csv")
    with pytest.raises(MissingPart, match="pip install fsspec s3fs"):
        columns_of("s3://bucket/t.csv")


def test_a_file_system_that_there_is_not_is_said() -> None:
    with pytest.raises(DataError, match="Protocol not known: nowhere"):
        columns_of("nowhere://bucket/t.csv")


@pytest.mark.slow
def test_without_fsspec_addresses_say_what_to_install() -> None:
    program = (
        "import sys\n"
        "sys.modules['fsspec'] = None\n"
        "from luthier.tables import columns_of\n"
        "try: columns_of('gs://bucket/t.csv')\n"
        "except ImportError as error: print(error)\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, check=True, timeout=PATIENCE_SECONDS
    )
    assert done.stdout == "gs://bucket/t.csv needs fsspec and gcsfs: pip install fsspec gcsfs\n"
