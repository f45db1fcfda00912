"""Fetches one pinned distribution with pip, checks it, and keeps the few files that are needed.

pip is used for its configuration: indexes, mirrors, proxies and certificates are the user's own.
Nothing of a distribution is installed; of a wheel nothing is run.
"""

from __future__ import annotations

import contextlib
import hashlib
import importlib.util
import json
import os
import re
import shutil
import subprocess
import sys
import sysconfig
import tarfile
import tempfile
import zipfile
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import IO

from filelock import FileLock

from luthier.errors import MissingPart
from luthier.home import cache_folder

__all__ = ["Distribution", "fetch", "is_cached", "pip_command"]

_GOT = re.compile(r"Got\s+([0-9a-f]{64})")


@dataclass(frozen=True)
class Distribution:
    """One file of a package index, pinned by digest, and what to take from it."""

    name: str
    version: str
    sha256: str
    kind: str
    """`wheel` or `sdist`."""
    megabytes: float
    """Size of the download, for messages."""
    members: Mapping[str, str]
    """Path inside the archive -> file name in the cache."""
    what: str
    """Name for users, in messages."""
    tags: Sequence[str] = ()
    """pip options that select the pinned wheel on every platform; only its data is used."""

    @property
    def folder(self) -> Path:
        """Where the files are kept."""
        return _assets_folder() / f"{self.name}-{self.version}-{self.sha256[:12]}"


def is_cached(distribution: Distribution) -> bool:
    """Whether the files are there, each with the size it had when its digest was checked."""
    folder = distribution.folder
    try:
        sizes = json.loads((folder / "files.json").read_text())
        return all((folder / name).stat().st_size == sizes[name] for name in distribution.members.values())
    except (OSError, ValueError, KeyError, TypeError):
        return False


def fetch(distribution: Distribution) -> Path:
    """Returns the folder with the distribution's files, downloading them on first use.

    Processes that want the same files wait for one download. A failure leaves nothing behind.

    Raises:
        MissingPart: No pip, no network, or not the pinned file.
    """
    if is_cached(distribution):
        return distribution.folder
    folder = distribution.folder
    with FileLock(folder.parent / f".{distribution.name}.lock", mode=0o600):
        if is_cached(distribution):
            return folder
        # Left by a killed process: no other one works here while the lock is held.
        for stale in folder.parent.glob(f".{distribution.name}-*.part"):
            shutil.rmtree(stale, ignore_errors=True)
        shutil.rmtree(folder, ignore_errors=True)
        work = Path(tempfile.mkdtemp(prefix=f".{distribution.name}-", suffix=".part", dir=folder.parent))
        try:
            archive = _download(distribution, work)
            kept = work / "kept"
            kept.mkdir()
            _extract(distribution, archive, kept)
            kept.rename(folder)
        except OSError as error:
            raise MissingPart(
                f"{distribution.what} could not be kept in {folder.parent} ({error.strerror or error}); "
                f"it needs {distribution.megabytes * 2.2:.0f} MB there. Free some space, or set LUTHIER_CACHE "
                "to another folder, and try again."
            ) from error
        finally:
            shutil.rmtree(work, ignore_errors=True)
    return folder


def pip_command() -> list[str]:
    """The command that runs pip here: installed, from the wheel that Python carries, by uv, or from the path.

    Raises:
        MissingPart: No pip can be run.
    """
    if importlib.util.find_spec("pip") is not None:
        return [sys.executable, "-P", "-m", "pip"]
    folders = [sysconfig.get_config_var("WHEEL_PKG_DIR")]
    found = importlib.util.find_spec("ensurepip")
    if found is not None and found.origin is not None:
        folders.append(str(Path(found.origin).parent / "_bundled"))
    for folder in folders:
        wheels = sorted(Path(folder).glob("pip-*.whl")) if folder else []
        if wheels:
            return [sys.executable, str(wheels[-1] / "pip")]
    uv = shutil.which("uv")
    if uv is not None:
        return [uv, "tool", "run", "--quiet", "pip"]
    for name in ("pip3", "pip"):
        path = shutil.which(name)
        if path is not None:
            return [path]
    raise MissingPart(
        f"pip is needed to fetch weights and sample data, and {sys.executable} has none; "
        f"type: {sys.executable} -m ensurepip   (or: uv pip install pip)"
    )


def _assets_folder() -> Path:
    try:
        folder = cache_folder() / "assets"
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise MissingPart(
            f"weights and sample data cannot be kept: {error.strerror}: {error.filename}. "
            "Set LUTHIER_CACHE to a folder that you can write to."
        ) from error
    return folder


def _download(distribution: Distribution, work: Path) -> Path:
    requirement = f"{distribution.name}=={distribution.version}"
    listed = work / "requirements.txt"
    listed.write_text(f"{requirement} --hash=sha256:{distribution.sha256}\n")
    target, scratch = work / "download", work / "scratch"
    target.mkdir()
    scratch.mkdir()
    form = "--only-binary" if distribution.kind == "wheel" else "--no-binary"
    command = [
        *pip_command(), "download", "--no-deps", "--require-hashes", "--no-input", "--disable-pip-version-check",
        *([] if os.isatty(2) else ["--quiet"]), form, ":all:", *distribution.tags,
        "--dest", str(target), "--requirement", str(listed),
    ]  # fmt: skip
    print(f"Fetching {distribution.what} ({distribution.megabytes:.0f} MB, once)", file=sys.stderr, flush=True)
    # pip shows its own progress on a terminal, and writes its errors to stderr.
    done = subprocess.run(
        command, stdin=subprocess.DEVNULL, stdout=2, stderr=subprocess.PIPE, text=True, errors="replace", check=False,
        env=_environment(scratch),
    )  # fmt: skip
    files = list(target.iterdir())
    if done.returncode != 0 or len(files) != 1:
        got = _GOT.search(done.stderr)
        if got is not None:
            raise _wrong_digest(distribution, got.group(1))
        lines = [line.strip() for line in done.stderr.splitlines() if line.strip()]
        errors = [line for line in lines if line.startswith("ERROR")] or lines
        raise MissingPart(
            f"{distribution.what} ({requirement}, {distribution.megabytes:.0f} MB) could not be fetched "
            f"from your package index. pip said: {' | '.join(errors[-3:]) or 'nothing'}\n"
            f"To see why, type: {' '.join(pip_command())} download --no-deps {requirement}\n"
            f"Without a network, copy {distribution.folder} from a machine that has it."
        )
    with files[0].open("rb") as file:
        got_digest = hashlib.file_digest(file, "sha256").hexdigest()
    if got_digest != distribution.sha256:
        raise _wrong_digest(distribution, got_digest)
    return files[0]


def _wrong_digest(distribution: Distribution, got: str) -> MissingPart:
    return MissingPart(
        f"{distribution.what} ({distribution.name}=={distribution.version}) arrived as another file than the "
        f"pinned one: expected sha256 {distribution.sha256}, got {got}. Nothing of it was kept. A mirror may "
        f"have repackaged or cut it; clear pip's cache and try again: {' '.join(pip_command())} cache purge"
    )


def _environment(scratch: Path) -> dict[str, str]:
    environment = {**os.environ, "TMPDIR": str(scratch), "TEMP": str(scratch), "TMP": str(scratch)}
    # A virtual environment is required of installs, not of this.
    environment.pop("PIP_REQUIRE_VIRTUALENV", None)
    for name in ("UV_DEFAULT_INDEX", "UV_INDEX_URL"):
        index = os.environ.get(name)
        if index and "PIP_INDEX_URL" not in environment:
            # uv writes a named index as name=URL.
            environment["PIP_INDEX_URL"] = re.sub(r"^[\w-]+=(?=\w+:)", "", index)
    return environment


def _extract(distribution: Distribution, archive: Path, kept: Path) -> None:
    sizes = {}
    with _members(archive) as open_member:
        for inside, name in distribution.members.items():
            # The name on disk is ours, never the archive's: nothing can be written elsewhere.
            try:
                with open_member(inside) as source, (kept / name).open("wb") as copy:
                    shutil.copyfileobj(source, copy, 1 << 20)
                    copy.flush()
                    os.fsync(copy.fileno())
            except (KeyError, zipfile.BadZipFile, tarfile.TarError, EOFError) as error:
                raise MissingPart(
                    f"{distribution.name}=={distribution.version} has no readable {inside}: {error}"
                ) from error
            sizes[name] = (kept / name).stat().st_size
    (kept / "files.json").write_text(json.dumps(sizes, indent=1))


@contextlib.contextmanager
def _members(archive: Path) -> Iterator[Callable[[str], IO[bytes]]]:
    if archive.suffix == ".whl":
        with zipfile.ZipFile(archive) as zipped:
            yield lambda name: zipped.open(name)
        return
    with tarfile.open(archive) as packed:

        def member(name: str) -> IO[bytes]:
            found = packed.extractfile(name)
            if found is None:
                raise KeyError(name)
            return found

        yield member
