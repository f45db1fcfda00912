"""Nothing is removed or replaced that was not made here, whatever path is given."""

from __future__ import annotations

import os
import sqlite3
import sys
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pandas as pd
import pytest

import luthier as lt
from luthier.endpoints import Journal
from luthier.errors import DataError, UserError
from luthier.outputs import check_file, check_folder, lock_scratch, write_file, write_folder
from luthier.reporting.html import write_page
from luthier.spec import Fitted
from luthier.starting.spec_files import write_specs
from luthier.tables import write_frame
from luthier.techniques import read_fitted
from luthier.tuning.tuned_specs import TunedSpecFile
from luthier_local import sample
from luthier_local.jobs.job_store import JobStore


@pytest.fixture
def fitted() -> Fitted:
    task = lt.Task("mood", labels=["bad", "good"])
    table = pd.DataFrame({"text": ["good day", "bad day"] * 4, "label": ["good", "bad"] * 4})
    return lt.fit(lt.Baseline(task), table)


def everything(folder: Path) -> dict[str, bytes | str]:
    """Every entry below a folder: a file's bytes, a link's target."""
    return {
        str(path.relative_to(folder)): str(path.readlink()) if path.is_symlink() else path.read_bytes()
        for path in sorted(folder.rglob("*"))
        if path.is_symlink() or path.is_file()
    }


@pytest.mark.parametrize("name", ["thesis.docx", "spec.yaml", "written.json", "deep/er/notes.txt", ".git/config"])
def test_a_fitted_folder_never_takes_the_place_of_a_folder_with_other_files(
    name: str, fitted: Fitted, tmp_path: Path
) -> None:
    other = tmp_path / "mine" / name
    other.parent.mkdir(parents=True)
    other.write_text("{}")
    before = everything(tmp_path / "mine")
    with pytest.raises(DataError, match="which Luthier did not write"):
        fitted.save(tmp_path / "mine")
    assert everything(tmp_path / "mine") == before
    assert not list(tmp_path.rglob("*.part"))


def test_a_fitted_folder_takes_the_place_of_an_earlier_one_and_of_an_empty_one(fitted: Fitted, tmp_path: Path) -> None:
    (tmp_path / "empty").mkdir()
    for folder in ("new", "new", "empty", "not/there/yet"):
        assert read_fitted(fitted.save(tmp_path / folder)).digest == fitted.digest
    assert not list(tmp_path.rglob("*.part"))


def test_a_file_put_into_or_changed_in_a_fitted_folder_keeps_it(fitted: Fitted, tmp_path: Path) -> None:
    folder = fitted.save(tmp_path / "fitted")
    (folder / "notes.txt").write_text("mine")
    with pytest.raises(DataError, match=r"holds notes\.txt"):
        fitted.save(folder)
    (folder / "notes.txt").unlink()
    (folder / "spec.yaml").write_text("changed by hand")
    with pytest.raises(DataError, match=r"holds spec\.yaml"):
        fitted.save(folder)
    assert (folder / "spec.yaml").read_text() == "changed by hand"


def test_a_forged_manifest_does_not_make_a_folder_ours(fitted: Fitted, tmp_path: Path) -> None:
    (tmp_path / "mine/deep").mkdir(parents=True)
    (tmp_path / "mine/deep/notes.txt").write_text("mine")
    for known in ('{"deep": ""}', '{"deep": null}', "[]", "{", "[" * 20_000, '{"deep/notes.txt": 1}'):
        (tmp_path / "mine/written.json").write_text(known)
        with pytest.raises(DataError, match="which Luthier did not write"):
            fitted.save(tmp_path / "mine")
    assert (tmp_path / "mine/deep/notes.txt").read_text() == "mine"


def test_a_large_foreign_folder_is_refused_without_being_read(tmp_path: Path) -> None:
    (tmp_path / "mine").mkdir()
    for name in ("a", "b"):
        with (tmp_path / "mine" / name).open("wb") as sparse:
            sparse.truncate(1 << 40)
    with pytest.raises(DataError, match="holds a, b, which"):
        check_folder(tmp_path / "mine")
    with pytest.raises(DataError, match="and more, which Luthier did not write"):
        check_folder("/")


def test_a_link_in_the_place_or_inside_an_earlier_folder_is_refused(fitted: Fitted, tmp_path: Path) -> None:
    real = fitted.save(tmp_path / "real")
    (tmp_path / "link").symlink_to(real)
    (tmp_path / "nowhere").symlink_to(tmp_path / "missing")
    for link in ("link", "nowhere"):
        with pytest.raises(DataError, match="is a symbolic link to"):
            fitted.save(tmp_path / link)
    kept = tmp_path / "elsewhere.yaml"
    (real / "spec.yaml").rename(kept)
    (real / "spec.yaml").symlink_to(kept)
    with pytest.raises(DataError, match=r"holds spec\.yaml"):
        fitted.save(real)
    assert kept.exists()
    assert (real / "spec.yaml").is_symlink()


def test_a_link_above_the_place_is_followed(fitted: Fitted, tmp_path: Path) -> None:
    (tmp_path / "disk").mkdir()
    (tmp_path / "data").symlink_to(tmp_path / "disk")
    fitted.save(tmp_path / "data" / "fitted")
    assert (tmp_path / "disk" / "fitted" / "spec.yaml").is_file()


def test_a_folder_that_fails_half_way_leaves_the_earlier_one(tmp_path: Path) -> None:
    place = tmp_path / "place" / "it"

    def works(folder: Path) -> None:
        (folder / "a").write_text("first")

    def fails(folder: Path) -> None:
        (folder / "a").write_text("second")
        raise ValueError("half way")

    write_folder(place, works)
    with pytest.raises(ValueError, match="half way"):
        write_folder(place, fails)
    assert (place / "a").read_text() == "first"
    assert list(place.parent.iterdir()) == [place]


def test_a_file_is_no_folder_and_a_folder_no_file(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("mine")
    with pytest.raises(DataError, match="is a file, not a folder"):
        check_folder(tmp_path / "file")
    with pytest.raises(DataError, match="is a folder; name the file"):
        check_file(tmp_path)
    os.mkfifo(tmp_path / "pipe")
    with pytest.raises(DataError, match="a device or a pipe"):
        write_file(tmp_path / "pipe", "x")


def linked(tmp_path: Path, name: str) -> tuple[Path, Path]:
    real = tmp_path / "real"
    real.write_text("mine")
    link = tmp_path / name
    link.parent.mkdir(exist_ok=True)
    link.symlink_to(real)
    return real, link


def test_no_output_file_takes_the_place_of_a_link(tmp_path: Path) -> None:
    task = lt.Task("mood", labels=["bad", "good"])
    frame = pd.DataFrame({"text": ["a"]})
    writers: dict[str, Callable[[Path], object]] = {
        "out.csv": lambda path: write_frame(frame, path),
        "out.parquet": lambda path: write_frame(frame, path),
        "page.html": lambda path: write_page("<html>", path),
        "tuned.yaml": lambda path: TunedSpecFile(path).check(),
        "models/task.yaml": lambda path: write_specs(task, path.parent, replace=True),
        "data/train.csv": lambda path: sample.write_sample(path.parent),
    }
    for name, write in writers.items():
        if name.startswith("data") and not sample.SAMPLE.folder.exists():
            continue
        real, link = linked(tmp_path, name)
        with pytest.raises(UserError, match="is a symbolic link to"):
            write(link)
        assert link.is_symlink(), name
        assert real.read_text() == "mine", name


def test_a_file_that_many_write_at_once_is_whole_and_is_that_of_one(tmp_path: Path) -> None:
    with ThreadPoolExecutor(8) as pool:
        list(pool.map(lambda number: write_file(tmp_path / "out.txt", f"{number}" * 1000), range(100, 400)))
    assert list(tmp_path.iterdir()) == [tmp_path / "out.txt"]
    written = (tmp_path / "out.txt").read_text()
    assert written == written[:3] * 1000


def test_a_page_replaces_a_page_and_nothing_else(tmp_path: Path) -> None:
    page = '<head><meta name="generator" content="Luthier"></head>'
    for text in (page, page + "new"):
        write_page(text, tmp_path / "page.html")
    assert (tmp_path / "page.html").read_text() == page + "new"
    (tmp_path / "index.html").write_text("<html>my own site")
    with pytest.raises(DataError, match="not a page"):
        write_page(page, tmp_path / "index.html")
    assert (tmp_path / "index.html").read_text() == "<html>my own site"


@pytest.mark.slow
def test_the_sample_is_not_written_over_tables_of_the_same_name(tmp_path: Path) -> None:
    (tmp_path / "data").mkdir()
    (tmp_path / "data" / "test.csv").write_text("text,label\nmine,1\n")
    with pytest.raises(DataError, match=r"test\.csv.*sample tables"):
        sample.write_sample(tmp_path / "data")
    assert everything(tmp_path / "data") == {"test.csv": b"text,label\nmine,1\n"}


def test_a_journal_is_not_made_inside_the_database_of_another_program(tmp_path: Path) -> None:
    for version in (0, 1, 3):
        file = tmp_path / f"shop-{version}.db"
        with sqlite3.connect(file) as shop:
            shop.execute("CREATE TABLE answers (id INTEGER)")
            shop.execute("INSERT INTO answers VALUES (1)")
            shop.execute(f"PRAGMA user_version = {version}")
        shop.close()
        before = file.read_bytes()
        with pytest.raises(UserError, match="of another program"):
            Journal(file).purge()
        assert file.read_bytes() == before


def test_the_embedded_server_sweeps_only_what_it_made(tmp_path: Path) -> None:
    store = JobStore(tmp_path / "jobs")
    for name in ("models/stars.yaml", "work/thesis.txt", "files/photo.png"):
        (tmp_path / "jobs" / name).write_text("mine")
        os.utime(tmp_path / "jobs" / name, (1, 1))
    store.sweep()
    store.close()
    assert {path.name for path in tmp_path.glob("jobs/*/*")} == {"stars.yaml", "thesis.txt", "photo.png"}


@pytest.mark.skipif(sys.platform == "win32", reason="nothing is swept there")
def test_scratch_folders_of_killed_runs_are_swept_and_others_stay(tmp_path: Path) -> None:
    killed, filling, aside = (tmp_path / f".made-{name}.part" for name in ("aaaaaaaa", "bbbbbbbb", "cccccccc"))
    for scratch in (killed, filling, aside):
        (scratch / "new").mkdir(parents=True)
    (aside / "old").mkdir()
    for scratch in (killed, filling, aside):
        os.utime(scratch, (0, 0))
    foreign = tmp_path / ".made-notes.part"
    foreign.mkdir()
    held = os.open(filling, os.O_RDONLY)
    lock_scratch(held)
    write_folder(tmp_path / "made", lambda folder: (folder / "a").touch())
    os.close(held)
    assert sorted(entry.name for entry in tmp_path.iterdir()) == [filling.name, aside.name, foreign.name, "made"]
