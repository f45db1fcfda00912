"""Reads fitted folders. Every file is checked before it is used, as a packaged model may come from anywhere."""

from __future__ import annotations

import hashlib
import json
import re
import zipfile
import zlib
from pathlib import Path
from typing import Any

import yaml

from luthier.documents import parse_yaml
from luthier.errors import ModelError
from luthier.spec import FILES, SCHEMA, Fitted
from luthier.techniques.registry import parse_spec

__all__ = ["plain_file", "read_fitted"]

LARGEST_ARRAYS = 2_000_000_000
"""Bytes that the arrays of a fitted folder may unpack to."""


def read_fitted(folder: str | Path) -> Fitted:
    """The fitted folder that `Fitted.save` wrote.

    Raises:
        ModelError: the folder is not one, or was written by a newer luthier.
    """
    source = Path(folder)
    try:
        document = parse_yaml(plain_file(source / "spec.yaml", str(source)).read_text(encoding="utf-8"))
        facts = json.loads(plain_file(source / "fitted.json", str(source)).read_text(encoding="utf-8"))
    except (OSError, ValueError, yaml.YAMLError, RecursionError) as error:
        raise ModelError(f"{source} is not a fitted folder: {error}") from error
    if not isinstance(facts, dict) or facts.get("schema") != SCHEMA:
        found = facts.get("schema") if isinstance(facts, dict) else facts
        raise ModelError(f"{source} has schema {found!r}; this luthier reads {SCHEMA}.")
    if not isinstance(document, dict) or not isinstance(document.get("task"), dict):
        raise ModelError(f"{source}: its spec.yaml does not hold its task, as a fitted folder's does.")
    _refuse_damaged(source, facts.get("sha256"))
    arrays = _stored_arrays(plain_file(source / "arrays.npz", str(source)), str(source))
    kept = plain_file(source / FILES, str(source))
    try:
        files = {file.name: plain_file(file, str(source)).read_bytes() for file in sorted(kept.glob("*"))}
    except OSError as error:
        raise ModelError(f"{source}: {FILES}/ cannot be read ({error.strerror}: {error.filename}).") from error
    spec = parse_spec(document, str(source / "spec.yaml"), source)
    state, train_digest = facts.get("state"), facts.get("train_digest")
    if not isinstance(state, dict) or not isinstance(train_digest, str | None):
        raise ModelError(f"{source}: its fitted.json has no state, as a fitted folder's does.")
    labels, rows = _trained_on(facts, str(source))
    return Fitted(spec, train_digest, state, arrays, files, labels, rows)


def _trained_on(facts: dict[str, Any], source: str) -> tuple[dict[str, int], int]:
    """Training rows per label, and of all labels; earlier versions wrote neither, or the first only."""
    given, rows = facts.get("train_labels", {}), facts.get("train_rows", 0)
    if not isinstance(given, dict) or not all(type(count) is int and count >= 0 for count in (*given.values(), rows)):
        raise ModelError(f"{source}: the train_labels of its fitted.json are no counts of rows by label.")
    return given, rows


def _refuse_damaged(source: Path, digests: Any) -> None:
    """Refuses a folder whose files have other digests than when they were written; earlier versions wrote none."""
    for name, digest in digests.items() if isinstance(digests, dict) else ():
        if not re.fullmatch(rf"arrays\.npz|{FILES}/[^/]+", str(name)):
            raise ModelError(f"{source}: its fitted.json names {str(name)!r}, which no fitted folder holds.")
        file = plain_file(source / str(name), str(source))
        if not file.is_file() or hashlib.sha256(file.read_bytes()).hexdigest() != digest:
            raise ModelError(
                f"{source}: its {name} is {'damaged' if file.is_file() else 'missing'}. Copy the folder again, or fit "
                "and log the model anew."
            )


def _stored_arrays(file: Path, source: str) -> dict[str, Any]:
    """The arrays of a fitted folder, within the size that is allowed.

    Raises:
        ModelError: the file is damaged, contains something other than numbers and texts, or unpacks to too much.
    """
    import numpy as np

    if not file.is_file():
        return {}
    try:
        with zipfile.ZipFile(file) as packed:
            unpacked = sum(member.file_size for member in packed.infolist())
        if unpacked > LARGEST_ARRAYS:
            raise ValueError(f"it unpacks to {unpacked:,} bytes, and {LARGEST_ARRAYS:,} are allowed")
        with np.load(file, allow_pickle=False) as stored:
            return {name: np.asarray(stored[name]) for name in stored.files}
    except (
        OSError,
        ValueError,
        KeyError,
        EOFError,
        RuntimeError,
        MemoryError,
        zipfile.BadZipFile,
        zlib.error,
    ) as error:
        raise ModelError(
            f"{source}: its arrays.npz cannot be used ({error}). Copy the folder again, or fit and log the model anew."
        ) from error


def plain_file(file: Path, source: str) -> Path:
    """The file; not a symbolic link, which may lead out of the folder, and not a pipe or a device.

    Args:
        file: a file of a packaged model or a fitted folder.
        source: the name of the model or folder, for messages.

    Raises:
        ModelError: it is one.
    """
    if file.is_symlink():
        raise ModelError(
            f"{source}: {file.name} is a symbolic link to {file.readlink()}; a packaged model holds its own files. "
            "Copy it with its links resolved (cp -rL) if you trust where they lead."
        )
    if file.exists() and not file.is_file() and not file.is_dir():
        # Opening a pipe would block.
        raise ModelError(f"{source}: {file.name} is a pipe or a device; a packaged model holds files only.")
    return file
