"""A spec as YAML that a person reads and edits, and files of it that never replace someone's words."""

from __future__ import annotations

import hashlib
import re
from functools import cache
from pathlib import Path
from typing import Any

import yaml

from luthier.documents import parse_yaml
from luthier.errors import SpecError, UserError
from luthier.outputs import check_file, write_file
from luthier.spec import Spec
from luthier.tasks.task import Task
from luthier.techniques.registry import parse_spec, read_spec

__all__ = ["check_spec_file", "plain_name", "save_spec", "spec_text", "yaml_text"]

LONGEST_NAME = 64

ORDER = ("schema", "name", "task", "technique", "prompt", "answer", "decoding", "head", "dimensions", "endpoint")
"""Keys that come first in a file, as a person would write them."""


def plain_name(given: str) -> str:
    """A name that a spec may have, whatever a file or a model is called; empty where nothing is left of it.

    Examples:
        >>> plain_name("über uns"), plain_name("stars:v2")
        ('ber-uns', 'stars-v2')
    """
    # A job that was paid for is not lost for what its file is called.
    plain = re.sub(r"[^A-Za-z0-9_.-]", "-", given).lstrip("._-")
    if len(plain) > LONGEST_NAME:
        # What tells checkpoints apart stands at the end.
        plain = f"{plain[: LONGEST_NAME - 9]}-{hashlib.sha256(given.encode()).hexdigest()[:8]}"
    return plain


def yaml_text(document: dict[str, Any]) -> str:
    """A spec's document as YAML: keys in the usual order, texts of several lines as blocks."""
    ordered = {key: document[key] for key in ORDER if key in document} | document
    return yaml.dump(ordered, Dumper=_block_dumper(), sort_keys=False, allow_unicode=True, width=120)


def spec_text(spec: Spec, path: Path, head: str, name: str | None = None) -> str:
    """A spec as YAML for a file; its task is that of the `task.yaml` beside it where that is the same.

    Args:
        spec: what is written.
        path: where; nothing is written yet.
        head: a line above it.
        name: instead of the spec's own.
    """
    document = spec.document() | ({} if name is None else {"name": name})
    beside = path.parent / "task.yaml"
    if beside.is_file() and Task.read(beside) == spec.task:
        document["task"] = "task.yaml"
    return f"# {' '.join(head.split())}\n{yaml_text(document)}"


def check_spec_file(spec: Spec, path: str | Path) -> bool:
    """Whether a file holds the spec already; refuses one that it cannot be written to, before anything is paid.

    Raises:
        UserError: another file or a link is there, there is no folder for it, or the name is none.
    """
    file = Path(path)
    if file.suffix not in (".yaml", ".yml") or not plain_name(file.stem):
        raise UserError(f"{str(path)!r} is no name for a spec file; give one that ends in .yaml.")
    if not file.parent.is_dir():
        raise UserError(f"no folder {file.parent} for {file.name}; make it, or give another file.")
    check_file(file)
    if file.exists() and not _holds(file, spec):
        raise UserError(f"{file} is there already and holds something else; give another file.")
    return file.exists()


def save_spec(spec: Spec, path: str | Path, head: str) -> Path:
    """Writes a spec to a file of its own, named after it, so that it can be compared with the one it was made from.

    A file that holds the same spec stays as it is, comments included.

    Args:
        spec: what is written.
        path: the file.
        head: a line above it.

    Raises:
        UserError: as `check_spec_file`, or the disk refuses.
    """
    file = Path(path)
    if check_spec_file(spec, file):
        return file
    text = spec_text(spec, file, head, plain_name(file.stem))
    read = parse_spec(parse_yaml(text), str(file), file.parent)
    assert read.digest == spec.digest and read.endpoint == spec.endpoint, "the file would hold another spec"
    try:
        return write_file(file, text)
    except OSError as error:
        raise UserError(f"{file} cannot be written: {error.strerror}. Give another file.") from error


def _holds(file: Path, spec: Spec) -> bool:
    try:
        found = read_spec(file)
    except SpecError:
        return False
    return found.digest == spec.digest and found.task == spec.task and found.endpoint == spec.endpoint


@cache
def _block_dumper() -> type[yaml.SafeDumper]:
    class BlockDumper(yaml.SafeDumper):
        """Writes texts of several lines as blocks, where YAML can."""

    def written(dumper: yaml.SafeDumper, text: str) -> yaml.ScalarNode:
        return dumper.represent_scalar("tag:yaml.org,2002:str", text, style="|" if "\n" in text else None)

    BlockDumper.add_representer(str, written)
    return BlockDumper
