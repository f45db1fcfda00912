"""Writes results; nothing that Luthier did not write is replaced or removed.

A file or folder is written beside its place and renamed into it, so it appears whole or not at all. A symbolic link
in that place is refused; links among the folders above it are followed.
"""

from __future__ import annotations

import hashlib
import json
import os
import re
import shutil
import stat
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from itertools import islice
from pathlib import Path, PurePath
from typing import IO

from luthier.errors import DataError

__all__ = ["ScratchFile", "check_file", "check_folder", "lock_scratch", "write_file", "write_folder"]

NAMED = 3
"""Number of files that a message names."""

YOUNG_SECONDS = 60.0
"""Scratch folders younger than this are not removed."""

MANIFEST = "written.json"
"""In each folder that Luthier wrote: names and sha256 of its files."""


def check_file(path: str | Path) -> Path:
    """The path, if there is nothing or an ordinary file in its place.

    Raises:
        DataError: a symbolic link, a folder or a device is there.
    """
    file = Path(path)
    try:
        mode = file.lstat().st_mode
    except (FileNotFoundError, NotADirectoryError):
        return file
    except OSError as error:
        raise DataError(f"{file} cannot be written: {error.strerror}. Choose another place.") from error
    if stat.S_ISLNK(mode):
        raise DataError(f"{file} is a symbolic link to {file.readlink()}; name the file itself, or another one.")
    if stat.S_ISDIR(mode):
        raise DataError(f"{file} is a folder; name the file to write.")
    if not stat.S_ISREG(mode):
        raise DataError(f"{file} is a device or a pipe, not a file; name a file to write.")
    return file


class ScratchFile:
    """An open file beside the place it is written for, until `keep` moves it there.

    Opening one removes those that killed processes left for the same place; one that is being written stays.

    Args:
        path: where the file goes.

    Raises:
        DataError: a symbolic link, a folder or a device is there.
        OSError: the folder cannot be written to.
    """

    def __init__(self, path: str | Path) -> None:
        self.target = check_file(path)
        _remove_stale(self.target)
        self.stream, self._path = self._opened()
        while not self._path.exists():
            # Another process took it for a stale one before it was locked.
            self.stream.close()
            self.stream, self._path = self._opened()

    def _opened(self) -> tuple[IO[bytes], Path]:
        descriptor, name = tempfile.mkstemp(prefix=f".{self.target.name}-", suffix=".part", dir=self.target.parent)
        lock_scratch(descriptor)
        return os.fdopen(descriptor, "wb"), Path(name)

    def keep(self) -> None:
        """Moves the file to its place, with the mode the umask allows; an ordinary file there is replaced."""
        self.stream.flush()
        os.fsync(self.stream.fileno())
        if sys.platform == "win32":
            self.stream.close()  # it renames no open file; elsewhere a closed one could be taken for a stale one
        mask = os.umask(0)
        os.umask(mask)
        self._path.chmod(0o666 & ~mask)
        os.replace(self._path, self.target)
        self.stream.close()

    def discard(self) -> None:
        """Closes the file, and removes it unless it was kept."""
        # A full disk refuses the last bytes too; the error that is already on its way says more.
        with suppress(OSError):
            self.stream.close()
        self._path.unlink(missing_ok=True)


def write_file(path: str | Path, content: str | bytes) -> Path:
    """Writes a file whole or not at all, with the mode the umask allows; an ordinary file there is replaced.

    Raises:
        DataError: a symbolic link, a folder or a device is there.
        OSError: the disk refuses.
    """
    scratch = ScratchFile(path)
    try:
        # A text may hold half a surrogate pair, which no file can.
        scratch.stream.write(content.encode("utf-8", "replace") if isinstance(content, str) else content)
        scratch.keep()
    finally:
        scratch.discard()
    return scratch.target


def lock_scratch(descriptor: int) -> None:
    """Marks an open scratch file or folder as in use, until it is closed or its process ends."""
    if sys.platform != "win32":
        import fcntl

        with suppress(OSError):  # some network disks have no locks; nothing is removed there either
            # One that is new is held by a process that looks for stale ones, for a moment; then it is gone.
            fcntl.flock(descriptor, fcntl.LOCK_EX)


def _remove_stale(target: Path) -> None:
    """Removes scratch files and folders for this place that killed processes left; those in use stay."""
    if sys.platform == "win32":
        return
    import fcntl

    ours = re.compile(rf"\.{re.escape(target.name)}-[a-z0-9_]{{8}}\.part")
    for stale in target.parent.iterdir():
        if ours.fullmatch(stale.name) is None or stale.is_symlink() or not (stale.is_file() or stale.is_dir()):
            continue
        with suppress(OSError):  # in use, gone meanwhile, or another user's
            descriptor = os.open(stale, os.O_RDONLY | os.O_NOFOLLOW)
            try:
                fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
                if stale.is_file():
                    stale.unlink()
                # A folder that was moved aside may be the only copy; a young scratch folder may not be locked yet.
                elif {entry.name for entry in stale.iterdir()} <= {"new"} and (
                    time.time() - stale.stat().st_mtime >= YOUNG_SECONDS
                ):
                    shutil.rmtree(stale)
            finally:
                os.close(descriptor)


def check_folder(path: str | Path) -> Path:
    """The absolute path, if there is nothing, an empty folder or a folder that Luthier wrote in its place.

    Raises:
        DataError: anything else is there; it is left as it is.
    """
    folder = Path(path).absolute()
    if folder.is_symlink():
        raise DataError(f"{path} is a symbolic link to {folder.readlink()}; name the folder itself, or another one.")
    if not folder.exists():
        return folder
    if not folder.is_dir():
        raise DataError(f"{path} is a file, not a folder; name a folder that does not exist yet.")
    with _named_fault(path):
        foreign = list(islice(_foreign(folder), NAMED + 1))
    if foreign:
        named = ", ".join(foreign[:NAMED]) + (" and more" if len(foreign) > NAMED else "")
        raise DataError(
            f"{path} holds {named}, which Luthier did not write; nothing there was changed. "
            "Name a folder that does not exist yet, or move these away."
        )
    return folder


def write_folder(path: str | Path, fill: Callable[[Path], None]) -> Path:
    """Writes a folder whole or not at all; an empty folder, and one that Luthier wrote, is replaced.

    Args:
        path: the folder.
        fill: writes the files into a scratch folder beside it.

    Raises:
        DataError: something else is there, or the disk refuses.
    """
    target = check_folder(path)
    with _named_fault(path):
        target.parent.mkdir(parents=True, exist_ok=True)
        _remove_stale(target)
        scratch = Path(tempfile.mkdtemp(prefix=f".{target.name}-", suffix=".part", dir=target.parent))
    held = _locked_folder(scratch)
    try:
        with _named_fault(path):
            new = scratch / "new"
            new.mkdir()
            fill(new)
            written = {str(file.relative_to(new)): _sha256(file) for file in sorted(_files(new))}
            (new / MANIFEST).write_text(json.dumps(written, indent=1), encoding="utf-8")
            _swap(new, target, scratch / "old")
    finally:
        # An earlier folder is removed only once another one is in its place.
        if target.exists() or not (scratch / "old").exists():
            shutil.rmtree(scratch, ignore_errors=True)
        if held is not None:
            os.close(held)
    return target


def _locked_folder(folder: Path) -> int | None:
    if sys.platform == "win32":
        return None  # opens no folders; nothing is removed there either
    descriptor = os.open(folder, os.O_RDONLY | os.O_NOFOLLOW)
    lock_scratch(descriptor)
    return descriptor


def _swap(new: Path, target: Path, old: Path) -> None:
    if not target.exists():
        new.rename(target)
        return
    target.rename(old)
    try:
        # Checked again where nothing else writes: files that arrived meanwhile are not removed.
        if foreign := next(_foreign(old), None):
            raise DataError(f"{target} now holds {foreign}, which Luthier did not write; it is left as it is.")
        new.rename(target)
    except BaseException:
        old.rename(target)
        raise


def _foreign(folder: Path) -> Iterator[str]:
    """Entries that Luthier did not write, or that changed since; folders without any of its files are not read."""
    known = _manifest(folder)
    above = {str(part) for name in known for part in PurePath(name).parents}
    unread = [folder]
    while unread:
        for entry in sorted(unread.pop().iterdir()):
            name = str(entry.relative_to(folder))
            if name in above and entry.is_dir() and not entry.is_symlink():
                unread.append(entry)
            elif (known and name == MANIFEST) or (
                name in known and entry.is_file() and not entry.is_symlink() and known[name] == _sha256(entry)
            ):
                continue
            else:
                yield name


def _manifest(folder: Path) -> dict[str, str]:
    """The files that Luthier wrote into a folder and their sha256; empty where the manifest is not its own."""
    file = folder / MANIFEST
    if file.is_symlink() or not file.is_file():
        return {}
    try:
        known = json.loads(file.read_text(encoding="utf-8"))
    except (ValueError, RecursionError):
        return {}
    is_ours = isinstance(known, dict) and all(re.fullmatch("[0-9a-f]{64}", str(digest)) for digest in known.values())
    return known if is_ours else {}


def _files(folder: Path) -> Iterator[Path]:
    """Files, links and empty folders in a folder, at any depth; links are not followed."""
    for entry in sorted(folder.iterdir()):
        if entry.is_dir() and not entry.is_symlink() and any(entry.iterdir()):
            yield from _files(entry)
        else:
            yield entry


def _sha256(file: Path) -> str:
    with file.open("rb") as stream:
        return hashlib.file_digest(stream, "sha256").hexdigest()


@contextmanager
def _named_fault(path: str | Path) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        raise DataError(f"{path} cannot be written: {error.strerror or error}. Choose another place.") from error
