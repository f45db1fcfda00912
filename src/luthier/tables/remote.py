"""Tables at addresses such as `s3://bucket/table.csv`, by fsspec and the package of the file system.

A table is copied to this machine before it is read, as it is read several times; once for each state it is in. One
that is written lies on this machine until it is whole, and then goes to its address.
"""

from __future__ import annotations

import errno
import re
import shutil
import tempfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from importlib import import_module
from pathlib import Path, PurePath, PurePosixPath
from typing import Any

from luthier.errors import DataError, LuthierError, MissingPart
from luthier.tables.temporary import temporary_folder

__all__ = [
    "WEB",
    "RemotePlace",
    "address_of",
    "copied_files",
    "remote_listing",
    "remote_place",
    "remote_state",
    "remote_target",
]

ADDRESS = re.compile("([a-z][a-z0-9+.-]+):/{1,3}(.*)", re.IGNORECASE | re.DOTALL)
"""A drive of Windows is one letter."""

PACKAGES = {
    "s3": "s3fs",
    "s3a": "s3fs",
    "gs": "gcsfs",
    "gcs": "gcsfs",
    "abfs": "adlfs",
    "abfss": "adlfs",
    "az": "adlfs",
    "http": "aiohttp",
    "https": "aiohttp",
    "sftp": "paramiko",
    "hf": "huggingface_hub",
}
"""Package that fsspec needs for addresses that begin so."""


WEB = ("http", "https")
"""Addresses where there are single files to read, no folders, and nothing is written."""


@dataclass(frozen=True)
class RemotePlace:
    """An address and how its file system is reached.

    Attributes:
        address: as it was given.
        filesystem: of fsspec.
        path: within that file system.
    """

    address: str
    filesystem: Any
    path: str

    @property
    def scheme(self) -> str:
        """What the address begins with."""
        return self.address.partition(":")[0].lower()


def address_of(path: object) -> str | None:
    """The address that a path stands for; `None` for a path on this machine.

    Examples:
        >>> address_of("s3://bucket/t.csv"), address_of("data/t.csv"), address_of("C:/data/t.csv")
        ('s3://bucket/t.csv', None, None)
        >>> address_of(Path("s3://bucket/t.csv"))  # a Path leaves out a slash
        's3://bucket/t.csv'
    """
    found = ADDRESS.fullmatch(path.as_posix() if isinstance(path, PurePath) else str(path))
    if found is None:
        return None
    scheme, rest = found[1].lower(), found[2]
    return f"{scheme}://{'/' if scheme in ('file', 'local') else ''}{rest}"


def remote_place(address: str) -> RemotePlace:
    """The file system of an address.

    Raises:
        MissingPart: fsspec, or the package of the file system, is not installed.
        DataError: there is no such file system, or the address holds a secret.
    """
    scheme = address.partition(":")[0].lower()
    if re.match(r"[^/?#]*:[^/?#]*@", address.partition("://")[2]) or (scheme in WEB and "?" in address):
        # Addresses are shown, and kept in runs.
        place = re.sub(r"//[^/@]*@", "//", address.partition("?")[0])
        raise DataError(
            f"{place} was given with a password or a query, which would be stored with the run. Download the table, or "
            "let the package of the file system find the credentials."
        )
    try:
        with _named_faults(address, "reached"):
            filesystem, path = import_module("fsspec.core").url_to_fs(address)
    except ImportError as error:
        needed = list(dict.fromkeys(["fsspec", PACKAGES.get(scheme, "fsspec")]))
        raise MissingPart(f"{address} needs {' and '.join(needed)}: pip install {' '.join(needed)}") from error
    return RemotePlace(address, filesystem, path)


def remote_listing(place: RemotePlace, root_of_pattern: PurePosixPath | None) -> tuple[str | None, dict[str, Any]]:
    """The folder of the files at an address, `None` for a single file, and what is known of each by its path.

    Args:
        place: a file, a folder or a pattern.
        root_of_pattern: for a pattern, the folders of its path before the first wildcard.

    Raises:
        DataError: there is nothing, or it cannot be reached.
    """
    files = place.filesystem
    with _named_faults(place.address, "read"):
        files.invalidate_cache()
        if root_of_pattern is not None and not files.exists(place.path):
            found = files.glob(place.path, detail=True)
            for path in [path for path, known in found.items() if known["type"] == "directory"]:
                del found[path]
                found |= files.find(path, detail=True)
            if not found:
                raise DataError(f"no file matches {place.address}.")
            return str(root_of_pattern), found
        known = files.info(place.path)
        # A page of the web may look like a folder of links.
        if known["type"] != "directory" or place.scheme in WEB:
            return None, {place.path: known}
        return place.path.rstrip("/"), files.find(place.path, detail=True)


_copies: dict[tuple[str, str], Path] = {}
"""Folder of the copy of each address, and of each state of the files there."""


def copied_files(place: RemotePlace, files: Mapping[str, tuple[str, Any]]) -> Path:
    """Copies files to this machine, once for each of their states, for as long as the process lives.

    Args:
        place: where they are from.
        files: path of each within its file system, with its path in the copy and what is known of it.

    Returns:
        The folder of the copies.

    Raises:
        DataError: they cannot be read, or there is no room for them.
    """
    state = (place.address, str(files))
    if state in _copies:
        return _copies[state]
    folder = temporary_folder()
    local = [folder / inner for inner, _ in files.values()]
    with _named_faults(place.address, "copied"):
        for file in local:
            file.parent.mkdir(parents=True, exist_ok=True)
        place.filesystem.get(list(files), [str(file) for file in local])
    _copies[state] = folder
    return folder


def remote_state(address: str) -> list[str | int] | None:
    """What tells a change of the file at an address; `None` where there is none.

    Raises:
        DataError: the address cannot be reached.
    """
    place = remote_place(address)
    with _named_faults(address, "reached"):
        place.filesystem.invalidate_cache()
        if not place.filesystem.exists(place.path):
            return None
        return [place.filesystem.ukey(place.path)]


@contextmanager
def remote_target(address: str) -> Iterator[Path]:
    """A file on this machine that goes to an address when the block ends without an error.

    An empty file is written there and removed first: what cannot be written is found out before anything is paid for.

    Raises:
        DataError: nothing can be written there. A finished table that could not be sent stays on this machine.
    """
    place = remote_place(address)
    name = PurePosixPath(place.path).name
    folder = temporary_folder()
    tried = f"{place.path.removesuffix(name)}.{folder.name}-{name}"
    try:
        with _named_faults(address, "written"):
            place.filesystem.pipe_file(tried, b"")
            place.filesystem.rm_file(tried)
        yield folder / name
        try:
            with _named_faults(address, "written"):
                place.filesystem.put_file(str(folder / name), place.path)
                place.filesystem.invalidate_cache()
        except DataError as error:
            kept = Path(tempfile.mkdtemp(prefix="luthier-kept-")) / name
            shutil.move(folder / name, kept)
            raise DataError(f"{error} The finished table is {kept}.") from error
    finally:
        shutil.rmtree(folder, ignore_errors=True)


@contextmanager
def _named_faults(address: str, done: str) -> Iterator[None]:
    """Errors of a file system as one that names the address and the reason."""
    try:
        yield
    except (LuthierError, ImportError):
        raise
    except FileNotFoundError as error:
        missing = "no folder or bucket for" if done == "written" else "no file"
        # A web server that is not there counts as a file that is not there.
        why = f" ({error.__cause__})" if isinstance(error.__cause__, OSError) else ""
        raise DataError(f"{missing} {address}{why}.") from error
    except Exception as error:  # every package has classes of its own, which have nothing in common
        if isinstance(error, OSError) and error.errno == errno.ENOSPC:
            raise DataError(
                f"{address} cannot be {done}: no room in {tempfile.gettempdir()}. Set TMPDIR to a folder with more."
            ) from error
        package = PACKAGES.get(address.partition(":")[0].lower(), "fsspec")
        # Some list every way in which they looked for credentials.
        reason = next(iter(str(error).strip().splitlines()), type(error).__name__).rstrip(".")
        raise DataError(
            f"{address} cannot be {done}: {reason}. Check the address and the credentials that {package} finds."
        ) from error
