"""Running the program in the other environment: what it sees, what it says, how it ends."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from luthier.engine.report import Report
from luthier.errors import UserError
from luthier.providers.exchange import Answer
from luthier.responsible_ai.isolated_program import run_isolated
from tests.conftest import KEY
from tests.responsible_ai.conftest import Program

PYTHON = Path(sys.executable)
"""Any Python runs the launcher; only the dashboards need the environment."""


class Display:
    """Keeps what a run shows."""

    def __init__(self) -> None:
        self.report = Report()
        self.shown: list[tuple[str, float, float | None]] = []

    def expect(self, requests: int) -> None: ...

    def completed(self, answer: Answer) -> None: ...

    def retried(self, wait_seconds: float) -> None: ...

    def working(self, what: str, done: float, total: float | None, said: str) -> None:
        self.shown.append((what, done, total))


def seen_by(folder: Path, *arguments: str) -> dict[str, str]:
    run_isolated(PYTHON, *arguments, program=folder)
    seen: dict[str, str] = json.loads(Path("seen.json").read_text())
    return seen


def test_it_sees_no_key(program: Program, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("OPENAI_API_KEY", "STARS_KEY", "AWS_SECRET_ACCESS_KEY", "HF_TOKEN"):
        monkeypatch.setenv(name, KEY)
    seen = seen_by(program("json.dump(dict(os.environ), open(sys.argv[1], 'w'))"), str(tmp_path / "seen.json"))
    assert KEY not in seen.values()
    assert seen["PATH"] == os.environ["PATH"]


def test_it_looks_nothing_up_on_the_network(program: Program, tmp_path: Path) -> None:
    seen = seen_by(program("json.dump(dict(os.environ), open(sys.argv[1], 'w'))"), str(tmp_path / "seen.json"))
    assert seen["HF_HUB_OFFLINE"] == "1"


def test_it_imports_neither_from_pythonpath_nor_from_the_working_folder(
    program: Program, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for folder in (tmp_path, tmp_path / "path"):
        folder.mkdir(exist_ok=True)
        (folder / "json.py").write_text("1 / 0")
    monkeypatch.setenv("PYTHONPATH", str(tmp_path / "path"))
    seen = seen_by(program("from small import __main__\njson.dump(sys.path, open(sys.argv[1], 'w'))"), "seen.json")
    assert str(tmp_path / "path") not in seen
    assert not {"", str(tmp_path)} & set(seen)


def test_its_steps_are_shown(program: Program) -> None:
    display = Display()
    code = "print(json.dumps({'step': 'error tree', 'done': 3, 'of': 4}))\nprint('some package says hello')"
    run_isolated(PYTHON, program=program(code), progress=display)
    assert ("error tree", 3, 4) in display.shown


def test_its_time_and_memory_are_reported(program: Program) -> None:
    usage = run_isolated(PYTHON, program=program("taken = b'x' * (200 << 20)"))
    assert usage.seconds > 0
    if sys.platform.startswith("linux"):
        assert usage.peak_mib is not None
        assert 200 < usage.peak_mib < 400


def test_what_the_user_can_correct_is_told_as_it_is_said(program: Program) -> None:
    with pytest.raises(UserError, match=r"^no row has a text$"):
        run_isolated(PYTHON, program=program("print(json.dumps({'error': 'no row has a text'})); sys.exit(1)"))


def test_a_fault_of_the_program_keeps_its_traceback(program: Program) -> None:
    with pytest.raises(RuntimeError, match=r"(?s)exit code 1.*ZeroDivisionError: division by zero"):
        run_isolated(PYTHON, program=program("1 / 0"))


def test_a_program_that_is_killed_names_the_memory(program: Program) -> None:
    with pytest.raises(UserError, match="memory"):
        run_isolated(PYTHON, program=program("os.kill(os.getpid(), 9)"))


def test_a_mac_without_openmp_is_told_what_to_install(program: Program) -> None:
    said = "OSError: dlopen(lib_lightgbm.dylib, 0x0006): Library not loaded: @rpath/libomp.dylib"
    with pytest.raises(UserError, match="brew install libomp"):
        run_isolated(PYTHON, program=program(f"sys.exit({said!r})"))


def test_it_ends_when_the_command_is_killed(program: Program, tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "life")
    folder = program("life = open(sys.argv[1], 'w')\nprint('up', file=life, flush=True)\nimport time; time.sleep(600)")
    run = "import sys; from pathlib import Path; from luthier.responsible_ai.isolated_program import run_isolated\n"
    run += "run_isolated(Path(sys.executable), sys.argv[1], program=Path(sys.argv[2]))"
    command = [sys.executable, "-c", run, str(tmp_path / "life"), str(folder)]
    with subprocess.Popen(command) as process, (tmp_path / "life").open() as life:
        assert life.readline() == "up\n"
        process.kill()
        # It comes to the end of the file when the program has ended.
        assert life.read() == ""
