"""The isolated environment: made once a lock, whole or absent, with the user's own tools."""

from __future__ import annotations

import base64
import hashlib
import os
import shutil
import signal
import subprocess
import sys
import zipfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TextIO

import pytest

from luthier.errors import MissingPart
from luthier.responsible_ai.environment import (
    FETCHED_MIB,
    INSTALLED_MIB,
    IsolatedEnvironment,
    can_be_made,
    fetch_notice,
)
from luthier.responsible_ai.isolated_program import PROGRAM, start_isolated
from tests.conftest import REPOSITORY
from tests.responsible_ai.conftest import Program, with_uv_of_the_clone

MAKE = """
import signal
import sys
from pathlib import Path
from luthier.responsible_ai.environment import IsolatedEnvironment
# A shell that runs the tests in the background has them ignore Ctrl-C.
signal.signal(signal.SIGINT, signal.default_int_handler)
print(IsolatedEnvironment(Path(sys.argv[1]).read_bytes(), 1).make())
"""


IMPORTS = """
import types
# It needs spaCy, and fetches a file when it is imported; the environment has none of what it needs.
name = "responsibleai_text.utils.feature_extractors"
sys.modules[name] = types.ModuleType(name)
sys.modules[name].extract_features = sys.modules[name].get_text_columns = None
import pandas, pyarrow, responsibleai, raiwidgets.responsibleai_dashboard_input, responsibleai_text, shap
print(sys.version_info[:2], pandas.__version__, responsibleai.__version__)
"""


def wheel(folder: Path) -> Path:
    """A package of one module, as an index would have it."""
    files = {
        "small.py": "NAME = 'small'\n",
        "small-1.0.dist-info/METADATA": "Metadata-Version: 2.1\nName: small\nVersion: 1.0\n",
        "small-1.0.dist-info/WHEEL": "Wheel-Version: 1.0\nRoot-Is-Purelib: true\nTag: py3-none-any\n",
    }
    record = "".join(
        f"{name},sha256={base64.urlsafe_b64encode(hashlib.sha256(text.encode()).digest()).decode().rstrip('=')},"
        f"{len(text)}\n"
        for name, text in files.items()
    )
    files["small-1.0.dist-info/RECORD"] = record + "small-1.0.dist-info/RECORD,,\n"
    path = folder / "small-1.0-py3-none-any.whl"
    with zipfile.ZipFile(path, "w") as packed:
        for name, text in files.items():
            packed.writestr(name, text)
    return path


@pytest.fixture
def environment(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> IsolatedEnvironment:
    """The environment of one small package, which a folder has; there is no network and an empty cache."""
    with_uv_of_the_clone(monkeypatch)
    if not can_be_made():
        pytest.skip("neither uv nor a Python 3.11 is here")
    (tmp_path / "wheels").mkdir()
    digest = hashlib.sha256(wheel(tmp_path / "wheels").read_bytes()).hexdigest()
    for tool in ("UV", "PIP"):
        monkeypatch.setenv(f"{tool}_NO_INDEX", "1")
        monkeypatch.setenv(f"{tool}_FIND_LINKS", str(tmp_path / "wheels"))
    monkeypatch.setenv("LUTHIER_CACHE", str(tmp_path / "cache"))
    return IsolatedEnvironment(f"small==1.0 --hash=sha256:{digest}\n".encode(), 1)


def put(folder: Path, name: str, text: str) -> None:
    """A command first on PATH."""
    folder.mkdir(exist_ok=True)
    (folder / name).write_text(text)
    (folder / name).chmod(0o755)


def name_in(python: Path) -> str:
    program = "import small, sys; print(small.NAME, *sys.version_info[:2])"
    return subprocess.run([python, "-I", "-c", program], capture_output=True, text=True, check=True).stdout.strip()


def kept(environment: IsolatedEnvironment) -> set[str]:
    return {entry.name for entry in environment.folder.parent.iterdir()} - {"lock"}


def test_once_made_it_needs_no_tool_and_no_network(
    environment: IsolatedEnvironment, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert environment.find() is None
    python = environment.make()
    assert name_in(python) == "small 3 11"
    monkeypatch.setenv("PATH", "")
    assert environment.make() == environment.find() == python
    assert kept(environment) == {environment.folder.name}


@pytest.mark.slow
def test_another_lock_has_an_environment_of_its_own(environment: IsolatedEnvironment) -> None:
    environment.make()
    assert IsolatedEnvironment(environment.lock + b"# of a later version\n", 1).find() is None


@pytest.mark.slow
def test_two_commands_at_the_same_time_make_it_once(
    environment: IsolatedEnvironment, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    uv = shutil.which("uv")
    if uv is None:
        pytest.skip("there is no uv here")
    put(tmp_path / "bin", "uv", f'#!/bin/sh\necho "$@" >> {tmp_path}/asked\nexec {uv} "$@"\n')
    monkeypatch.setenv("PATH", f"{tmp_path / 'bin'}{os.pathsep}{os.environ['PATH']}")
    (tmp_path / "lock.txt").write_bytes(environment.lock)
    command = [sys.executable, "-c", MAKE, str(tmp_path / "lock.txt")]
    both = [subprocess.Popen(command, stdout=subprocess.PIPE, text=True) for _ in range(2)]
    said = {process.communicate()[0].strip() for process in both}
    assert said == {str(environment.find())}
    assert [line.split()[0] for line in (tmp_path / "asked").read_text().splitlines()].count("venv") == 1


@contextmanager
def fetching(environment: IsolatedEnvironment, folder: Path) -> Iterator[tuple[subprocess.Popen[bytes], TextIO]]:
    """A command in the middle of the fetch, and a file that ends when nothing fetches any more."""
    os.mkfifo(folder / "life")
    answer = '[ "$1" = --version ] && exit 0'
    put(folder / "bin", "uv", f"#!/bin/sh\n{answer}\nexec 3> {folder}/life\necho fetching >&3\nexec sleep 600\n")
    (folder / "lock.txt").write_bytes(environment.lock)
    variables = {**os.environ, "PATH": f"{folder / 'bin'}{os.pathsep}{os.environ['PATH']}"}
    command = [sys.executable, "-c", MAKE, str(folder / "lock.txt")]
    with subprocess.Popen(command, env=variables) as process, (folder / "life").open() as life:
        assert life.readline() == "fetching\n"
        yield process, life


@pytest.mark.slow
def test_killed_while_it_fetches_the_next_run_starts_clean(environment: IsolatedEnvironment, tmp_path: Path) -> None:
    with fetching(environment, tmp_path) as (process, life):
        process.kill()
        assert life.read() == ""
    assert len(kept(environment)) == 1
    assert environment.find() is None
    assert name_in(environment.make()) == "small 3 11"
    assert kept(environment) == {environment.folder.name}


@pytest.mark.slow
def test_sigterm_ends_the_fetch(environment: IsolatedEnvironment, tmp_path: Path) -> None:
    with fetching(environment, tmp_path) as (process, life):
        process.terminate()
        assert life.read() == ""


@pytest.mark.slow
def test_ctrl_c_ends_the_fetch_and_leaves_nothing(environment: IsolatedEnvironment, tmp_path: Path) -> None:
    with fetching(environment, tmp_path) as (process, life):
        process.send_signal(signal.SIGINT)
        assert life.read() == ""
    assert kept(environment) == set()


def test_a_package_with_another_hash_is_refused(environment: IsolatedEnvironment) -> None:
    other = IsolatedEnvironment(b"small==1.0 --hash=sha256:" + b"0" * 64 + b"\n", 1)
    with pytest.raises(MissingPart, match=r"(?si)small.*hash|hash.*small"):
        other.make()
    assert kept(other) == set()


@pytest.mark.slow
def test_a_package_that_cannot_be_had_is_named(environment: IsolatedEnvironment) -> None:
    other = IsolatedEnvironment(b"absent==1.0 --hash=sha256:" + b"0" * 64 + b"\n", 1)
    with pytest.raises(MissingPart, match=r"(?s)scorecard.*absent"):
        other.make()
    assert kept(other) == set()


def test_a_file_that_is_gone_is_noticed(environment: IsolatedEnvironment) -> None:
    python = environment.make()
    next(environment.folder.rglob("small.py")).unlink()
    assert environment.find() is None
    assert name_in(environment.make()) == "small 3 11"
    assert environment.find() == python
    assert kept(environment) == {environment.folder.name}


@pytest.mark.slow
def test_a_python_that_is_gone_is_noticed(environment: IsolatedEnvironment, tmp_path: Path) -> None:
    python = environment.make()
    python.unlink()
    python.symlink_to(tmp_path / "uninstalled" / "python3.11")
    assert environment.find() is None
    assert name_in(environment.make()) == "small 3 11"


@pytest.mark.slow
def test_environments_of_other_versions_go_a_month_after_their_last_use(environment: IsolatedEnvironment) -> None:
    month_ago = 1_700_000_000
    for name in ("used-lately", "long-unused"):
        (environment.folder.parent / name).mkdir(parents=True)
        (environment.folder.parent / name / "made.json").write_text("{}")
    os.utime(environment.folder.parent / "long-unused" / "made.json", (month_ago, month_ago))
    environment.make()
    assert kept(environment) == {environment.folder.name, "used-lately"}


@pytest.mark.slow
def test_commands_that_fail_are_passed_over(
    environment: IsolatedEnvironment, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("uv", "python3.11", "python3"):
        put(tmp_path / "shims", name, f"#!/bin/sh\necho 'pyenv: {name}: command not found' >&2\nexit 127\n")
    monkeypatch.setenv("PATH", f"{tmp_path / 'shims'}{os.pathsep}{os.environ['PATH']}")
    assert name_in(environment.make()) == "small 3 11"


def test_without_uv_and_python_it_says_what_to_install(
    environment: IsolatedEnvironment, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    put(tmp_path / "bin", "python3.11", "#!/bin/sh\nexit 127\n")
    monkeypatch.setenv("PATH", str(tmp_path / "bin"))
    # What this test runs on may be a Python 3.11 itself.
    monkeypatch.setattr(sys, "executable", str(tmp_path / "bin" / "python3.11"))
    assert not can_be_made()
    with pytest.raises(MissingPart, match=r"Python 3\.11.*pip install uv.*scorecard"):
        environment.make()
    assert kept(environment) == set()


@pytest.mark.slow
def test_without_uv_a_python_311_makes_it(
    environment: IsolatedEnvironment, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    # A version manager's command needs more on PATH than itself.
    ask = ["python3.11", "-c", "import sys; print(sys.executable)"]
    try:
        real = subprocess.run(ask, capture_output=True, text=True, check=True).stdout.strip()
    except (OSError, subprocess.CalledProcessError):
        pytest.skip("there is no Python 3.11 on PATH here")
    put(tmp_path / "bin", "python3.11", f'#!/bin/sh\nexec {real} "$@"\n')
    monkeypatch.setenv("PATH", str(tmp_path / "bin"))
    assert name_in(environment.make()) == "small 3 11"


def test_a_disk_that_is_too_full_is_told_before_anything_is_fetched(environment: IsolatedEnvironment) -> None:
    with pytest.raises(MissingPart, match=r"takes 1,000,000,000 MiB.*LUTHIER_CACHE"):
        IsolatedEnvironment(environment.lock, 1_000_000_000).make()


def test_a_cache_that_is_a_file_is_named(environment: IsolatedEnvironment) -> None:
    environment.folder.parent.write_text("in the way")
    with pytest.raises(MissingPart, match=r"rai.*LUTHIER_CACHE"):
        environment.make()


def test_what_is_fetched_and_where_it_is_kept_is_said_first(environment: IsolatedEnvironment) -> None:
    assert f"{FETCHED_MIB} MiB" in fetch_notice()
    assert str(environment.folder.parent) in fetch_notice()


def test_the_guide_has_the_same_sizes() -> None:
    guide = (REPOSITORY / "docs" / "responsible-ai.md").read_text(encoding="utf-8")
    assert f"about {FETCHED_MIB} MiB, {INSTALLED_MIB} MiB on disk" in guide


def test_the_shipped_lock_names_hashes_and_no_address() -> None:
    lines = IsolatedEnvironment.of_dashboards().lock.decode().splitlines()
    assert not [line for line in lines if "://" in line or line.startswith("-")]
    pinned = [line for line in lines if line[0].isalnum()]
    assert all("==" in line and line.endswith("\\") for line in pinned)


@pytest.mark.slow
def test_the_real_environment_has_both_dashboards_and_the_size_it_is_said_to_have(
    isolated_python: Path, program: Program
) -> None:
    folder = program(IMPORTS)
    shutil.copytree(PROGRAM / "absent", folder / "absent")
    with start_isolated(isolated_python, program=folder) as child:
        said = list(child.lines(60.0))
        assert child.wait() == 0, child.errors()
    assert said[0] == "(3, 11) 1.5.3 0.36.0"
    found = IsolatedEnvironment.of_dashboards()
    assert found.find() == isolated_python
    mib = sum(file.lstat().st_size for file in found.folder.rglob("*") if file.suffix != ".pyc") / 2**20
    assert mib == pytest.approx(INSTALLED_MIB, rel=0.15)
