"""scripts/setup on machines as they are: shims that fail, old Pythons, none at all."""

from __future__ import annotations

import shutil
import subprocess
import sys
from pathlib import Path

import pytest

pytestmark = pytest.mark.slow

REPOSITORY = Path(__file__).resolve().parent.parent
TOOLS = ("bash", "sh", "env", "dirname", "cat", "cksum", "mkdir", "ln")

UV = f"""#!/bin/sh
# Notes what it is asked for, and makes what `uv venv` and `uv pip install` make.
echo "$@" >> uv.log
case "$*" in
  venv*) mkdir -p .venv/bin; ln -sf {sys.executable} .venv/bin/python ;;
  *editable*) ln -sf {sys.executable} .venv/bin/luthier ;;
esac
"""


@pytest.fixture
def machine(tmp_path: Path) -> Path:
    """A clone without an environment, and a PATH on which nothing but a shell lies."""
    clone = tmp_path / "clone"
    (clone / "src").mkdir(parents=True)
    shutil.copytree(REPOSITORY / "scripts", clone / "scripts")
    shutil.copytree(REPOSITORY / "locks", clone / "locks")
    shutil.copy(REPOSITORY / "pyproject.toml", clone)
    (tmp_path / "bin").mkdir()
    for tool in TOOLS:
        found = shutil.which(tool)
        assert found is not None
        (tmp_path / "bin" / tool).symlink_to(found)
    return tmp_path


def put(machine: Path, name: str, text: str) -> None:
    command = machine / "bin" / name
    command.write_text(text)
    command.chmod(0o755)


def set_up(machine: Path) -> subprocess.CompletedProcess[str]:
    environment = {"PATH": str(machine / "bin"), "HOME": str(machine)}
    command = [str(machine / "clone" / "scripts" / "setup")]
    return subprocess.run(command, capture_output=True, text=True, env=environment, check=False)


def asked_of_uv(machine: Path) -> list[str]:
    return (machine / "clone" / "uv.log").read_text().splitlines()


SHIM = "#!/bin/sh\necho 'pyenv: command not found' >&2\nexit 127\n"
"""What a version manager leaves on PATH for a Python that is not active."""


def test_a_shim_that_fails_is_passed_over_for_a_python_that_runs(machine: Path) -> None:
    put(machine, "python3.13", SHIM)
    put(machine, "python3.12", SHIM)
    put(machine, "python3", f'#!/bin/sh\nexec {sys.executable} "$@"\n')
    put(machine, "uv", UV)
    done = set_up(machine)
    assert done.returncode == 0, done.stderr
    assert f"venv --quiet --clear --python {machine / 'bin' / 'python3'} .venv" in asked_of_uv(machine)


def test_without_a_fitting_python_uv_brings_one(machine: Path) -> None:
    put(machine, "python3", SHIM)
    put(machine, "uv", UV)
    done = set_up(machine)
    assert done.returncode == 0, done.stderr
    assert "uv brings Python 3.13" in done.stderr
    assert "venv --quiet --clear --python 3.13 .venv" in asked_of_uv(machine)


def test_a_uv_that_can_bring_none_ends_with_what_to_install(machine: Path) -> None:
    put(machine, "uv", '#!/bin/sh\n[ "$1" = --version ] && exit 0\nexit 1\n')
    done = set_up(machine)
    assert done.returncode == 2
    assert done.stderr.splitlines()[-1].endswith("Install a Python from 3.11 to 3.15, and run this again.")


def test_with_neither_uv_nor_python_it_says_what_to_install(machine: Path) -> None:
    put(machine, "python3", SHIM)
    done = set_up(machine)
    assert done.returncode == 2
    assert "neither uv nor a Python" in done.stderr


def test_a_second_run_asks_uv_nothing(machine: Path) -> None:
    put(machine, "uv", UV)
    assert set_up(machine).returncode == 0
    before = asked_of_uv(machine)
    assert set_up(machine).returncode == 0
    assert asked_of_uv(machine) == before
