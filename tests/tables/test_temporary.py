"""Copies of tables do not pile up: those of a process that was killed are removed, those in use stay."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from tests.patience import PATIENCE_SECONDS

PROGRAM = """
import os, sys, time
from luthier.tables.temporary import temporary_folder
folder = temporary_folder()
(folder / "table.csv").write_text("text")
os.utime(folder, (0, 0))
print(folder, flush=True)
if sys.argv[1] == "stay": sys.stdin.read()
if sys.argv[1] == "killed": os.kill(os.getpid(), 9)
"""


def start(ending: str) -> tuple[subprocess.Popen[str], Path]:
    process = subprocess.Popen(
        [sys.executable, "-c", PROGRAM, ending], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    )
    assert process.stdout is not None
    return process, Path(process.stdout.readline().strip())


@pytest.mark.slow
@pytest.mark.skipif(sys.platform == "win32", reason="nothing is removed there")
def test_the_next_process_removes_what_a_killed_one_left(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TMPDIR", str(tmp_path))
    killed, left = start("killed")
    killed.communicate(timeout=PATIENCE_SECONDS)
    running, used = start("stay")
    (tmp_path / "luthier-table-young").mkdir()
    ended, own = start("end")
    ended.communicate(timeout=PATIENCE_SECONDS)
    there = {path for path in tmp_path.iterdir() if path.is_dir()}
    running.communicate("", timeout=PATIENCE_SECONDS)
    assert left not in there
    assert own not in there
    assert there == {used, tmp_path / "luthier-table-young"}
