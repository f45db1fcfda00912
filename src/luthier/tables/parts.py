"""The files that a table consists of: one, or those of a folder or a pattern, in a stable order.

Files of a folder or pattern are one table: of one format, with the same columns. Folders named like `year=2024` give
a column `year` of texts, as Hive, Spark and Arrow write them. Names that begin with `_` or `.` are not read, such as
Spark's `_SUCCESS`.
"""

from __future__ import annotations

import glob
import os
import re
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from fnmatch import fnmatchcase
from pathlib import Path, PurePosixPath
from urllib.parse import unquote

from luthier.documents import path_of
from luthier.errors import DataError
from luthier.tables.sources import TABLE_ENDINGS, existing_file, is_table_name, table_format
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
        path: a file, a folder, a pattern such as `data/2024-*.csv`, or `-` for standard input.

    Raises:
        DataError: there is no file, a file is not what its name says, or they are no table together.
    """
    given = path_of(path, "a table", DataError)
    if is_standard(given):
        file = standard_input()
        return TableFiles("standard input", table_format(file), (TablePart(file, "standard input"),))
    if given.is_dir():
        return files_together(str(given), given, [name.relative_to(given).as_posix() for name in _files_in(given)])
    if is_pattern(given) and not given.exists():
        return _matching(given)
    return TableFiles(str(given), table_format(existing_file(given)), (TablePart(given, str(given)),))


def is_pattern(path: str | os.PathLike[str]) -> bool:
    """Whether a path holds wildcards."""
    return re.search(r"[*?\[]", str(path)) is not None


def files_together(name: str, root: Path, found: Sequence[str], shown: str | None = None) -> TableFiles:
    """The files of one table.

    Args:
        name: what the table was given as.
        root: the folder they lie in.
        found: their paths within it, with `/` between names.
        shown: what messages call that folder.

    Raises:
        DataError: they are of several formats, have no common folders, or none is a table.
    """
    parts, skipped = list[TablePart](), list[str]()
    for path in sorted(map(PurePosixPath, found), key=lambda path: path.parts):
        if log := next((TRANSACTION_LOGS[part] for part in path.parts if part in TRANSACTION_LOGS), None):
            raise DataError(
                f"{name} is a {log} table; some of its files hold rows that were removed from it. Score it with --mode "
                "spark, or export it to parquet files first."
            )
        if any(part.startswith(("_", ".")) for part in path.parts):
            continue
        file = root / path
        if not is_table_name(path) or file.stat().st_size == 0:
            skipped.append(str(path))
            continue
        part = TablePart(file, f"{shown}/{path}" if shown else str(file), _partitions(path))
        with part.named():
            existing_file(file)
        parts.append(part)
    if not parts:
        there = f" There: {_some(skipped)}." if skipped else ""
        raise DataError(f"{name} holds no table; names of tables end in {TABLE_ENDINGS}.{there}")
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
    return TableFiles(name, table_format(first.file), tuple(parts), tuple(skipped))


def pattern_root(pattern: PurePosixPath) -> PurePosixPath:
    """The folders of a pattern before its first wildcard."""
    literal = []
    for part in pattern.parts[:-1]:
        if is_pattern(part):
            break
        literal.append(part)
    return PurePosixPath(*literal)


def refuse_overlap(source: str | os.PathLike[str], target: str | os.PathLike[str]) -> None:
    """Refuses a target that is the source, or that a later run would read as a part of it.

    Raises:
        DataError: the target is one of these.
    """
    if is_standard(source) or is_standard(target):
        return
    table, output = Path(source).resolve(), Path(target).resolve()
    if table == output:
        raise DataError(f"input and output are the same file {source}; name another output.")
    if (table.is_dir() and output.is_relative_to(table)) or (
        is_pattern(source)
        and any(_fits(place.parts, Path(source).absolute().parts) for place in (output, *output.parents))
    ):
        raise DataError(
            f"the output {target} lies among the files of the input {source}, so the next run would read it. Name an "
            "output elsewhere."
        )


def _matching(pattern: Path) -> TableFiles:
    root = Path(pattern_root(PurePosixPath(pattern.as_posix())))
    found = dict.fromkeys(
        file
        for match in map(Path, glob.glob(str(pattern), recursive=True))  # noqa: PTH207
        for file in (_files_in(match) if match.is_dir() else [match])
    )
    if not found:
        raise DataError(f"no file matches {pattern}.")
    return files_together(str(pattern), root, [file.relative_to(root).as_posix() for file in found])


def _files_in(folder: Path) -> Iterator[Path]:
    """Files at any depth; links to folders are not followed, which may lead in a circle."""
    for above, _, names in os.walk(folder):
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
