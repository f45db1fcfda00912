"""The installed Luthier as a wheel."""

from __future__ import annotations

import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

import luthier
from luthier.deployments.luthier_wheel import wheel_name, write_wheel
from tests.patience import PATIENCE_SECONDS


def test_the_same_code_makes_the_same_bytes(tmp_path: Path) -> None:
    for name in ("one", "other"):
        (tmp_path / name).mkdir()
        assert write_wheel(tmp_path / name).name == wheel_name()
    assert (tmp_path / "one" / wheel_name()).read_bytes() == (tmp_path / "other" / wheel_name()).read_bytes()


def test_every_file_of_the_package_is_in_it_and_nothing_compiled(tmp_path: Path) -> None:
    source = Path(luthier.__file__).parent
    with zipfile.ZipFile(write_wheel(tmp_path)) as archive:
        names = set(archive.namelist())
    files = {f"luthier/{file.relative_to(source).as_posix()}" for file in source.rglob("*") if file.is_file()}
    assert {name for name in files if "__pycache__" not in name} <= names
    assert not [name for name in names if "__pycache__" in name]


@pytest.mark.slow
def test_unpacked_it_is_an_installed_package_with_its_command(tmp_path: Path) -> None:
    wheel = write_wheel(tmp_path)
    target = tmp_path / "site"
    subprocess.run(
        [sys.executable, "-m", "zipfile", "-e", str(wheel), str(target)], check=True, timeout=PATIENCE_SECONDS
    )
    said = subprocess.run(
        [sys.executable, "-S", "-c", "from importlib.metadata import distribution as d; f = d('luthier'); "
         "print(f.version, [e.name for e in f.entry_points if e.group == 'console_scripts'], "
         "all((f.locate_file(p)).is_file() for p in f.files))"],
        env={"PYTHONPATH": str(target)}, capture_output=True, text=True, check=True, timeout=PATIENCE_SECONDS,
    ).stdout  # fmt: skip
    assert said.strip() == f"{luthier.__version__} ['luthier'] True"
