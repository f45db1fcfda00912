"""The files that a table consists of: one, or those of a folder or a pattern, in a stable order.

Files of a folder or pattern are one table: of one format, with the same columns. Folders named like `year=2024` give
a column `year` of texts, as Hive, Spark and Arrow write them. Names that begin with `_` or `.` are not read, such as
Spark's `_SUCCESS`.
"""

from __future__ import annotations

import glob
import itertools
import os
import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from fnmatch import fnmatchcase
from pathlib import Path, PurePosixPath
from urllib.parse import unquote

from luthier.documents import path_of
from luthier.errors import DataError
from luthier.tables.remote import address_of, copied_files, remote_listing, remote_place
from luthier.tables.sources import TABLE_ENDINGS, existing_file, is_table_name, refuse_spark_name, table_format
from luthier.tables.standard_streams import is_standard, standard_input

__all__ = ["TableFiles", "TablePart", "is_pattern", "refuse_overlap", "table_files"]

HIVE_NULL = "__HIVE_DEFAULT_PARTITION__"
"""The folder name that stands for null."""

TRANSACTION_LOGS = {"_delta_log": "Delta", ".hoodie": "Hudi"}
"""Folders of a table whose files may hold removed rows."""

NAMED = 3
"""Number of files that a message names."""


@dataclass(frozen=True)
class TablePart:
    """A file of a table.

    Attributes:
        file: where it lies on this machine.
        name: what messages call it.
        partitions: values of the columns that the folders around it name.
    """

    file: Path
    name: str
    partitions: Mapping[str, str | None] = field(default_factory=dict)

    @contextmanager
    def named(self) -> Iterator[Path]:
        """The file; errors call it by the name it was given by."""
        try:
            yield self.file
        except DataError as error:
            if str(self.file) == self.name:
                raise
            raise DataError(str(error).replace(str(self.file), self.name)) from error


@dataclass(frozen=True)
class TableFiles:
    """The files of a table.

    Attributes:
        name: what the table was given as.
        kind: format of the files: `csv`, `jsonl`, `parquet` or `excel`.
        parts: the files in order; at least one.
        not_read: files among them that are left out, for their ending or because they are empty.
    """

    name: str
    kind: str
    parts: tuple[TablePart, ...]
    not_read: tuple[str, ...] = ()

    @property
    def partitions(self) -> tuple[str, ...]:
        """Names of the columns that the folders give."""
        return tuple(self.parts[0].partitions)

    def __str__(self) -> str:
        """How many files there are and what of them is not read; empty for a single file."""
        if len(self.parts) == 1 and not self.not_read and not self.partitions:
            return ""
        said = [f"{len(self.parts):,} file{'' if len(self.parts) == 1 else 's'}"]
        said += [f"{', '.join(self.partitions)} from the names of folders"] if self.partitions else []
        said += [f"not read: {_some(self.not_read)}"] if self.not_read else []
        return "; ".join(said)


def table_files(path: str | os.PathLike[str]) -> TableFiles:
    """Finds the files of a table.

    Args:
        path: a file, a folder, a pattern such as `data/2024-*.csv`, each also at an address such as
            `s3://bucket/folder`, or `-` for standard input.

    Raises:
        DataError: there is no file, a file is not what its name says, or they are no table together.
        MissingPart: the package that reaches the address is not installed.
    """
    refuse_spark_name(path)
    address = address_of(path)
    if address is not None:
        return _remote(address)
    given = path_of(path, "a table", DataError)
    if not str(path):
        raise DataError("the path of a table is empty; name a file, a folder, or - for standard input.")
    if is_standard(given):
        file = standard_input()
        return TableFiles("standard input", table_format(file), (TablePart(file, "standard input"),))
    if given.is_dir():
        return _local(str(given), given, _files_in(given))
    if is_pattern(given) and not given.exists():
        return _matching(given)
    return TableFiles(str(given), table_format(existing_file(given)), (TablePart(given, str(given)),))


def is_pattern(path: str | os.PathLike[str]) -> bool:
    """Whether a path holds wildcards."""
    return re.search(r"[*?\[]", str(path)) is not None


def refuse_overlap(source: str | os.PathLike[str], target: str | os.PathLike[str]) -> None:
    """Refuses a target that is the source, or that a later run would read as a part of it.

    Raises:
        DataError: the target is one of these.
    """
    if is_standard(source) or is_standard(target):
        return
    one, other = address_of(source), address_of(target)
    if one is not None or other is not None:
        _refuse_remote_overlap(one, other)
        return
    table, output = Path(source).resolve(), Path(target).resolve()
    if table == output:
        raise DataError(f"input and output are the same file {source}; name another output.")
    if (table.is_dir() and output.is_relative_to(table)) or (
        is_pattern(source)
        and any(_fits(place.parts, Path(source).absolute().parts) for place in (output, *output.parents))
    ):
        raise DataError(
            f"the output {target} lies among the files of the input {source}, and the next run would read it; name an "
            "output elsewhere."
        )


def _refuse_remote_overlap(source: str | None, target: str | None) -> None:
    if source is None or target is None:
        return
    parts, outputs = PurePosixPath(source).parts, PurePosixPath(target).parts
    if parts == outputs or any(
        outputs[:count] == parts or _fits(outputs[:count], parts) for count in range(1, len(outputs) + 1)
    ):
        raise DataError(
            f"the output {target} is the input {source}, or lies among its files; name an output elsewhere."
        )


def _matching(pattern: Path) -> TableFiles:
    root = Path(_root_of(pattern.as_posix()))
    found = dict.fromkeys(
        file
        for match in map(Path, glob.glob(str(pattern), recursive=True))  # noqa: PTH207
        for file in (_files_in(match) if match.is_dir() else [match])
    )
    if not found:
        raise DataError(f"no file matches {pattern}.")
    return _local(str(pattern), root, found)


def _local(name: str, root: Path, files: Iterable[Path]) -> TableFiles:
    # A link that leads nowhere is refused where it is read.
    sizes = {
        PurePosixPath(file.relative_to(root).as_posix()): file.stat().st_size if file.exists() else 1 for file in files
    }
    chosen, left_out = _chosen(name, sizes)
    return _together(name, [TablePart(root / path, str(root / path), _partitions(path)) for path in chosen], left_out)


def _remote(address: str) -> TableFiles:
    """The files at an address, copied to this machine."""
    place = remote_place(address)
    root, found = remote_listing(place, PurePosixPath(_root_of(place.path)) if is_pattern(place.path) else None)
    if root is None:
        # Refused before it is copied.
        kind = table_format(PurePosixPath(place.path))
        name = PurePosixPath(place.path).name
        part = TablePart(copied_files(place, {place.path: (name, found[place.path])}) / name, address)
        with part.named() as file:
            existing_file(file)
        return TableFiles(address, kind, (part,))
    inside = {PurePosixPath(path.removeprefix(root).lstrip("/")): path for path in found}
    chosen, left_out = _chosen(address, {path: int(found[inside[path]]["size"] or 0) for path in inside})
    folder = copied_files(place, {inside[path]: (str(path), found[inside[path]]) for path in chosen})
    named = place.filesystem.unstrip_protocol
    return _together(
        address, [TablePart(folder / path, named(inside[path]), _partitions(path)) for path in chosen], left_out
    )


def _chosen(name: str, sizes: Mapping[PurePosixPath, int]) -> tuple[list[PurePosixPath], list[str]]:
    """The files that are read, in order, and those that are left out and said to be.

    Args:
        name: what the table was given as.
        sizes: bytes of every file, by its path within the folder.

    Raises:
        DataError: none is a table, or they are the files of a table with a transaction log.
    """
    chosen, left_out = list[PurePosixPath](), list[str]()
    for path in sorted(sizes, key=lambda path: path.parts):
        if log := next((TRANSACTION_LOGS[part] for part in path.parts if part in TRANSACTION_LOGS), None):
            cure = f"Score delta:{name} with --mode spark, or export" if log == "Delta" else "Export"
            raise DataError(
                f"{name} is a {log} table; some of its files hold rows that were removed from it. {cure} it to parquet "
                "files first."
            )
        if any(part.startswith(("_", ".")) for part in path.parts):
            continue
        if is_table_name(path) and sizes[path] > 0:
            chosen.append(path)
        else:
            left_out.append(str(path))
    if not chosen:
        there = f" There: {_some(left_out)}." if left_out else ""
        raise DataError(f"{name} holds no table; names of tables end in {TABLE_ENDINGS}.{there}")
    return chosen, left_out


def _together(name: str, parts: Sequence[TablePart], left_out: Sequence[str]) -> TableFiles:
    """The files of one table.

    Raises:
        DataError: they are of several formats, or have no common folders.
    """
    for part in parts:
        with part.named() as file:
            existing_file(file)
    first = parts[0]
    for part in parts:
        if table_format(part.file) != table_format(first.file):
            raise DataError(
                f"{name} holds files of several formats: {first.name} and {part.name}. Name those of one, such as "
                f"'{name}/*{first.file.suffix}'."
            )
        if set(part.partitions) != set(first.partitions):
            raise DataError(
                f"{name} has folders that do not fit: {first.name} lies in {_folders(first)}, {part.name} in "
                f"{_folders(part)}. Name the files of one kind of folder."
            )
    return TableFiles(name, table_format(first.file), tuple(parts), tuple(left_out))


def _root_of(pattern: str) -> str:
    """The folders of a pattern before its first wildcard."""
    above = PurePosixPath(pattern).parts[:-1]
    return str(PurePosixPath(*itertools.takewhile(lambda part: not is_pattern(part), above)))


def _files_in(folder: Path) -> Iterator[Path]:
    """Files at any depth; links to folders are not followed, which may lead in a circle."""

    def refuse(error: OSError) -> None:
        raise DataError(f"{error.filename} cannot be read: {error.strerror}.") from error

    for above, _, names in os.walk(folder, onerror=refuse):
        yield from (Path(above, name) for name in names)


def _partitions(path: PurePosixPath) -> dict[str, str | None]:
    """The columns that folders name.

    Examples:
        >>> _partitions(PurePosixPath("year=2024/city=Sao%20Paulo/part-0.csv"))
        {'year': '2024', 'city': 'Sao Paulo'}
    """
    named = (re.fullmatch("([^=]+)=(.*)", folder) for folder in path.parts[:-1])
    return {unquote(m[1]): None if m[2] == HIVE_NULL else unquote(m[2]) for m in named if m is not None}


def _fits(parts: Sequence[str], pattern: Sequence[str]) -> bool:
    """Whether a path, part by part, is one that the pattern matches; `**` stands for any number of parts."""
    if not pattern:
        return not parts
    if pattern[0] == "**":
        return any(_fits(parts[skipped:], pattern[1:]) for skipped in range(len(parts) + 1))
    return bool(parts) and fnmatchcase(parts[0], pattern[0]) and _fits(parts[1:], pattern[1:])


def _folders(part: TablePart) -> str:
    return "/".join(f"{name}={value}" for name, value in part.partitions.items()) or "no such folder"


def _some(names: Sequence[str]) -> str:
    return ", ".join(names[:NAMED]) + (f" and {len(names) - NAMED:,} more" if len(names) > NAMED else "")
