"""Exact versions of the packages that a server in a container needs, as they are installed here."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from importlib import metadata
from pathlib import Path

from packaging.requirements import InvalidRequirement, Requirement
from packaging.utils import canonicalize_name

from luthier.errors import MissingPart, ModelError

__all__ = ["RequirementsLock", "locked"]

MACHINES = ("x86_64", "aarch64")
"""Processors that images are built for."""

HASHING_SECONDS = 120.0


@dataclass(frozen=True, slots=True)
class RequirementsLock:
    """Pinned packages with all that they need, for Linux and the minor version of Python that runs here.

    Attributes:
        text: lines for `pip install -r`; names no package index.
        has_hashes: whether each line has the hashes of the package's files, so that `--require-hashes` holds.
        why_no_hashes: what kept them from being found; `None` where they are there.
    """

    text: str
    has_hashes: bool
    why_no_hashes: str | None = None


def locked(requirements: Sequence[str]) -> RequirementsLock:
    """The given requirements and everything that they need, each at the version installed here.

    The hashes come from the package index that uv is set up for; without uv or the index there are none.

    Raises:
        ModelError: another version is installed than a requirement asks for.
        MissingPart: a package that Linux needs is not installed here.
    """
    pins = _pins(requirements)
    text = "".join(f"{line}\n" for line in pins)
    uv = _uv()
    if uv is None:
        return RequirementsLock(text, has_hashes=False, why_no_hashes="there is no uv on PATH; type: pip install uv")
    try:
        done = subprocess.run(
            [uv, "pip", "compile", "--quiet", "--universal", "--python-version", _python_version(), "--no-deps",
             "--generate-hashes", "--no-emit-index-url", "--no-annotate", "--no-header", "-"],
            input=text, capture_output=True, text=True, check=False, timeout=HASHING_SECONDS,
        )  # fmt: skip
    except subprocess.TimeoutExpired:
        why = f"uv had no answer from the package index within {HASHING_SECONDS:.0f} s"
        return RequirementsLock(text, has_hashes=False, why_no_hashes=why)
    if done.returncode != 0:
        said = next(iter(done.stderr.strip().splitlines()), f"exit code {done.returncode}")
        return RequirementsLock(text, has_hashes=False, why_no_hashes=f"uv could not find them: {said.strip()}")
    return RequirementsLock(done.stdout, has_hashes=True)


def _pins(requirements: Sequence[str]) -> list[str]:
    """`NAME==VERSION` of every package, with a marker where one processor alone needs it."""
    found = {machine: _closure(requirements, machine) for machine in MACHINES}
    every = {name: version for versions in found.values() for name, version in versions.items()}
    lines = []
    for name, version in sorted(every.items()):
        where = [machine for machine in MACHINES if name in found[machine]]
        marker = "" if len(where) == len(MACHINES) else f" ; platform_machine == '{where[0]}'"
        lines.append(f"{name}=={version}{marker}")
    return lines


def _closure(requirements: Sequence[str], machine: str) -> dict[str, str]:
    """Version by name of all that the requirements need on Linux with this processor."""
    linux = {"os_name": "posix", "sys_platform": "linux", "platform_system": "Linux", "platform_machine": machine}
    versions: dict[str, str] = {}
    open_ends = [(_parsed(line), "") for line in requirements]
    seen: set[tuple[str, str]] = set()
    while open_ends:
        requirement, wanted_by = open_ends.pop()
        name = canonicalize_name(requirement.name)
        try:
            installed = metadata.distribution(requirement.name)
        except metadata.PackageNotFoundError:
            raise MissingPart(
                f"{requirement.name}, which {wanted_by or 'the model'} needs on Linux, is not installed here, so its "
                f"version is not known. Type: pip install '{requirement.name}', or deploy from a Linux machine."
            ) from None
        if not requirement.specifier.contains(installed.version, prereleases=True) and not wanted_by:
            raise ModelError(
                f"the model was packaged with {requirement.name}{requirement.specifier}, and {installed.version} is "
                f"installed here. Type: pip install '{requirement.name}{requirement.specifier}', then deploy again."
            )
        versions[name] = installed.version
        for extra in {"", *requirement.extras}:
            if (name, extra) in seen:
                continue
            seen.add((name, extra))
            open_ends += [(needed, name) for needed in _needed(installed, {**linux, "extra": extra})]
    return versions


def _needed(installed: metadata.Distribution, environment: Mapping[str, str]) -> Iterator[Requirement]:
    for line in installed.requires or ():
        needed = Requirement(line)
        if needed.marker is None or needed.marker.evaluate(dict(environment)):
            yield needed


def _parsed(line: str) -> Requirement:
    try:
        return Requirement(line)
    except InvalidRequirement as error:
        raise ModelError(f"the model asks for {line!r}, which is no package with a version: {error}") from error


def _python_version() -> str:
    return ".".join(map(str, sys.version_info[:2]))


def _uv() -> str | None:
    """The uv on PATH, or where `scripts/setup` puts it: beside the environment that runs."""
    beside = Path(sys.prefix).parent / ".tools" / ("Scripts" if sys.platform == "win32" else "bin")
    return shutil.which("uv") or shutil.which("uv", path=os.fspath(beside))
