"""The Python 3.11 environment that the dashboards are made in, apart from the user's own.

responsibleai and raiwidgets are frozen on pandas 1.5 and NumPy 1.26, which no Python after 3.11 has. So they are
installed, with everything they need and from hashes alone, into an environment of their own:

    CACHE/rai/DIGEST/           the environment for the lock with this digest, whole or absent
    CACHE/rai/DIGEST/made.json  its files and their sizes; its time of change is when it was last used
    CACHE/rai/making-*/         one that is being made, under the file lock CACHE/rai/lock
"""

from __future__ import annotations

import hashlib
import json
import os
import shutil
import subprocess
import sys
import tempfile
import time
from collections import deque
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from importlib import util
from importlib.resources import files
from pathlib import Path

from luthier.engine.ask_options import Progress
from luthier.engine.progress import shown
from luthier.errors import MissingPart
from luthier.home import cache_folder
from luthier.responsible_ai.child_process import ChildProcess
from luthier.terminals import visible

__all__ = ["FETCHED_MIB", "INSTALLED_MIB", "IsolatedEnvironment", "can_be_made", "fetch_notice"]

FETCHED_MIB = 200
"""Size of the packages as they are fetched, on Linux x86-64; other platforms differ by some MiB."""
INSTALLED_MIB = 700
"""Size of the environment on the disk."""

WAIT_SECONDS = 0.5
UNUSED_DAYS = 30
"""Environments of other locks, which other versions of Luthier may use, are kept so long after their last use."""
TAIL_LINES = 12
SHOWN = 60
"""Characters of a line of uv or pip that the progress shows."""

REDIRECTING = (
    *("PYTHONPATH", "PYTHONHOME", "VIRTUAL_ENV", "CONDA_PREFIX", "UV_PYTHON", "UV_SYSTEM_PYTHON"),
    *("UV_PROJECT", "UV_PROJECT_ENVIRONMENT", "PIP_USER", "PIP_TARGET", "PIP_PREFIX", "PIP_CONSTRAINT"),
    *("PIP_REQUIRE_VIRTUALENV", "UV_CONSTRAINT", "UV_OVERRIDE", "UV_EXCLUDE_NEWER"),
)
"""Variables that would make uv or pip install elsewhere or something else; where packages come from is the user's."""


def fetch_notice() -> str:
    """What making the environment fetches and where it is kept, to be said before it is made."""
    return (
        f"the dashboards need packages of their own: {FETCHED_MIB} MiB are fetched once, and take {INSTALLED_MIB} MiB "
        f"in {cache_folder() / 'rai'}"
    )


def can_be_made() -> bool:
    """Whether there is what makes the environment: a uv, or a Python 3.11 with its venv module."""
    return _uv() is not None or _python_311() is not None


def shipped_lock() -> bytes:
    """The requirements of the dashboards, each with its version and hashes."""
    return files("luthier.responsible_ai").joinpath("isolated/requirements.txt").read_bytes()


@dataclass(frozen=True)
class IsolatedEnvironment:
    """An environment of Python 3.11, made once for a lock and kept in the cache.

    Attributes:
        lock: a requirements file in which every package has its version and hashes.
        needed_mib: what it takes on the disk.
    """

    lock: bytes
    needed_mib: int

    @classmethod
    def of_dashboards(cls) -> IsolatedEnvironment:
        """The environment of the lock that Luthier ships."""
        return cls(shipped_lock(), INSTALLED_MIB)

    @property
    def folder(self) -> Path:
        """Where it is kept; there is nothing before it is made."""
        return cache_folder() / "rai" / hashlib.sha256(self.lock).hexdigest()[:16]

    def find(self) -> Path | None:
        """Its Python, if it has been made and is whole; needs no network, no uv and no other Python."""
        folder = self.folder
        record = folder / "made.json"
        try:
            sizes: dict[str, int] = json.loads(record.read_text(encoding="utf-8"))
        except (OSError, ValueError):
            return None
        if any(_size(folder / name) != size for name, size in sizes.items()):
            return None
        python = _python_of(folder)
        # Without `site` nothing of its packages runs, which would see the keys among this process's variables.
        if not _runs(python, "-I", "-S", "-c", "pass"):
            # It leads to the Python it was made with, which can be removed.
            return None
        with suppress(OSError):  # a cache that cannot be written to will do
            os.utime(record)
        return python

    def make(self, progress: Progress | None = None) -> Path:
        """Its Python; the environment is made first if there is none, or if it is broken.

        Args:
            progress: is told what is done; a line on standard error when absent.

        Raises:
            MissingPart: there is neither uv nor a Python 3.11, or the packages cannot be fetched or written.
        """
        if (python := self.find()) is not None:
            return python
        folder = self.folder
        place = folder.parent
        with _named_fault(place), shown(progress, "dashboards") as display:
            place.mkdir(parents=True, exist_ok=True)
            with _only_one(place / "lock", display):
                # Whoever made these was killed: this process has the lock.
                for left in place.glob("making-*"):
                    shutil.rmtree(left, ignore_errors=True)
                if (python := self.find()) is not None:
                    return python
                _check_room(place, self.needed_mib)
                scratch = Path(tempfile.mkdtemp(prefix="making-", dir=place))
                try:
                    self._fill(scratch, display)
                    if folder.exists():
                        folder.rename(scratch / "broken")
                    (scratch / "new").rename(folder)
                    _remove_unused(place, folder)
                finally:
                    shutil.rmtree(scratch, ignore_errors=True)
        return _python_of(folder)

    def _fill(self, scratch: Path, progress: Progress) -> None:
        new, lock = scratch / "new", scratch / "requirements.txt"
        lock.write_bytes(self.lock)
        for command, cure in _commands(new, lock):
            _run(command, cure, progress)
        sizes = {
            str(file.relative_to(new)): file.stat().st_size
            for file in sorted(new.rglob("*"))
            # Python writes these anew.
            if file.suffix != ".pyc" and not file.is_symlink() and file.is_file()
        }
        (new / "made.json").write_text(json.dumps(sizes), encoding="utf-8")


def _commands(new: Path, lock: Path) -> Iterator[tuple[Sequence[str | Path], str]]:
    """What makes the environment, each with what to do where it fails.

    With uv, which finds a Python 3.11 or fetches one; else with a Python 3.11.
    """
    if (uv := _uv()) is not None:
        # Its scripts are not used; they would name the place where it was made.
        yield (uv, "venv", "--python", "3.11", "--relocatable", new), "Install Python 3.11, or let uv fetch it."
        sync = (uv, "pip", "sync", "--python", _python_of(new), "--require-hashes", "--no-build", lock)
        yield sync, "uv looks for packages where UV_DEFAULT_INDEX or uv.toml says, and not where pip is configured to."
        return
    if (python := _python_311()) is None:
        raise MissingPart(
            "the dashboards need an environment with Python 3.11, and neither uv, which would fetch that Python, nor "
            "a python3.11 with its venv module was found on PATH. Type: pip install uv, or install Python 3.11. "
            "The scorecard needs neither."
        )
    yield (python, "-I", "-m", "venv", new), "Type: pip install uv"
    pip = (_python_of(new), "-I", "-m", "pip", "install", "--require-hashes", "--no-deps", "--only-binary", ":all:")
    quiet = ("--no-input", "--disable-pip-version-check")
    yield (*pip, *quiet, "-r", lock), "pip looks for packages where its configuration says."


def _run(command: Sequence[str | Path], cure: str, progress: Progress) -> None:
    """Runs uv or pip to its end, and shows what it says.

    Raises:
        MissingPart: it failed; with the end of what it said, and the cure.
    """
    variables = {name: value for name, value in os.environ.items() if name not in REDIRECTING}
    said: deque[str] = deque(maxlen=TAIL_LINES)
    with ChildProcess(sys.executable, ("command", *command), variables, joined=True) as child:
        for line in child.lines(WAIT_SECONDS):
            if line:
                said.append(visible(line))
            progress.working("fetching the dashboards' packages", 0.0, None, said[-1].strip()[:SHOWN] if said else "")
        code = child.wait()
    if code != 0:
        lines = "\n".join(said)
        raise MissingPart(
            "the environment of the dashboards could not be made, and nothing of it was kept; the scorecard does not "
            f"need it. What makes it ended with exit code {code} and said:\n{lines}\n{cure}"
        )


@contextmanager
def _only_one(lock: Path, progress: Progress) -> Iterator[None]:
    """Waits until no other process makes an environment."""
    from filelock import FileLock, Timeout

    held = FileLock(lock)
    while not held.is_locked:
        with suppress(Timeout):
            held.acquire(timeout=WAIT_SECONDS)
            continue
        progress.working("waiting for another command that fetches the dashboards' packages", 0.0, None, "")
    try:
        yield
    finally:
        held.release()


def _check_room(place: Path, needed_mib: int) -> None:
    free_mib = shutil.disk_usage(place).free / 2**20
    if free_mib < needed_mib:
        raise MissingPart(
            f"the environment of the dashboards takes {needed_mib:,} MiB, and the disk of {place} has {free_mib:,.0f} "
            "MiB left. Free some, or name another place with LUTHIER_CACHE. The scorecard does not need it."
        )


def _remove_unused(place: Path, kept: Path) -> None:
    oldest = time.time() - UNUSED_DAYS * 86_400
    for record in place.glob("*/made.json"):
        if record.parent != kept and record.stat().st_mtime < oldest:
            shutil.rmtree(record.parent, ignore_errors=True)


def _uv() -> Path | None:
    """A uv that runs: on PATH, or in the package uv of this Python."""
    candidates = [*_on_path("uv")]
    if util.find_spec("uv") is not None:
        from uv import find_uv_bin

        with suppress(FileNotFoundError):
            candidates.append(Path(find_uv_bin()))
    return next((found for found in candidates if _runs(found, "--version")), None)


def _python_311() -> Path | None:
    """A Python 3.11 that runs and makes virtual environments: on PATH, or this one."""
    probe = "import sys, venv, ensurepip; sys.exit(sys.version_info[:2] != (3, 11))"
    candidates = [*_on_path("python3.11"), *_on_path("python3"), *_on_path("python"), Path(sys.executable)]
    return next((found for found in candidates if _runs(found, "-I", "-c", probe)), None)


def _on_path(name: str) -> Iterator[Path]:
    """Every program of that name: the first may be a version manager's shim that fails."""
    for folder in os.get_exec_path():
        if (found := shutil.which(name, path=folder)) is not None:
            yield Path(found)


def _runs(program: Path, *arguments: str) -> bool:
    try:
        return subprocess.run([program, *arguments], capture_output=True, check=False).returncode == 0
    except OSError:
        return False


def _python_of(environment: Path) -> Path:
    return environment / ("Scripts/python.exe" if sys.platform == "win32" else "bin/python")


def _size(file: Path) -> int | None:
    try:
        return file.stat().st_size
    except OSError:
        return None


@contextmanager
def _named_fault(place: Path) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        raise MissingPart(
            f"the environment of the dashboards cannot be written to {place}: {error.strerror or error}. Name another "
            "place with LUTHIER_CACHE. The scorecard does not need it."
        ) from error
