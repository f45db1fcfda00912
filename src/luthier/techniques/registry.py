"""Finds the technique a file names and reads specs and fitted folders."""

from __future__ import annotations

import glob
import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import yaml

from luthier.errors import ModelError, SpecError
from luthier.spec import SCHEMA, Fitted, Spec
from luthier.task import Task
from luthier.techniques.baseline import Baseline
from luthier.techniques.prompt import Prompt

__all__ = ["TECHNIQUES", "read_fitted", "read_spec", "read_specs"]

TECHNIQUES: dict[str, type[Spec]] = {"baseline": Baseline, "prompt": Prompt}
"""Every technique by the name it has in a spec."""


def spec_from(document: Any, source: str, folder: Path) -> Spec:
    """The spec a parsed YAML document describes; `task` may be a path relative to `folder`."""
    if not isinstance(document, dict) or "technique" not in document:
        raise SpecError(f"{source} is not a spec: it needs `technique:`, one of {', '.join(TECHNIQUES)}.")
    document = dict(document)
    schema = document.pop("schema", SCHEMA)
    if schema != SCHEMA:
        raise SpecError(f"{source} has schema {schema!r}; this luthier reads {SCHEMA}. Install a newer luthier.")
    technique = document["technique"]
    if technique not in TECHNIQUES:
        raise SpecError(f"{source}: technique {technique!r} is unknown; allowed: {', '.join(TECHNIQUES)}.")
    if isinstance(document.get("task"), str):
        document["task"] = Task.read(folder / document["task"])
    return TECHNIQUES[technique].make(document, source)


def read_spec(path: str | Path) -> Spec:
    """The spec in a YAML file.

    Raises:
        SpecError: the file is not there, is no YAML, or is not a spec.
    """
    file = Path(path)
    if not file.is_file():
        raise SpecError(f"no spec file {file}. `luthier init --data TABLE --text COLUMN --label COLUMN` writes some.")
    try:
        document = yaml.safe_load(file.read_text(encoding="utf-8"))
    except (yaml.YAMLError, UnicodeDecodeError) as error:
        raise SpecError(f"{file} is not valid YAML: {error}") from error
    if isinstance(document, dict) and "task" not in document:
        beside = file.parent / "task.yaml"
        if beside.is_file():
            document["task"] = "task.yaml"
    if isinstance(document, dict):
        document.setdefault("name", file.stem)
    return spec_from(document, str(file), file.parent)


def read_specs(paths: Sequence[str | Path]) -> list[Spec]:
    """The specs in files, globs and folders; a `task.yaml` among them is the task, not a spec.

    Raises:
        SpecError: nothing was found, two specs share a name, or they answer different tasks.
    """
    files: list[Path] = []
    for given in paths:
        path = Path(given)
        if path.is_dir():
            found = sorted([*path.glob("*.yaml"), *path.glob("*.yml")])
        elif any(mark in str(given) for mark in "*?["):
            found = [Path(name) for name in sorted(glob.glob(str(given)))]
        else:
            found = [path]
        files += [file for file in found if file.name not in ("task.yaml", "task.yml") and file not in files]
    if not files:
        raise SpecError(f"no spec in {', '.join(map(str, paths))}. Give YAML files, globs or a folder, as in models/.")
    specs = [read_spec(file) for file in files]
    check_together(specs)
    return specs


def check_together(specs: Sequence[Spec]) -> None:
    """Refuses specs that cannot stand on one leaderboard."""
    names = [spec.name for spec in specs]
    repeated = sorted({name for name in names if names.count(name) > 1})
    if repeated:
        raise SpecError(f"two specs are called {', '.join(repeated)}; give each its own `name:`.")
    tasks = {spec.task.digest: spec for spec in specs}
    if len(tasks) > 1:
        first, second = list(tasks.values())[:2]
        raise SpecError(
            f"specs {first.name!r} and {second.name!r} answer different tasks, so they cannot be compared; "
            "let both refer to the same task.yaml."
        )


def read_fitted(folder: str | Path) -> Fitted:
    """The fitted folder that `Fitted.save` wrote.

    Raises:
        ModelError: the folder is not one, or was written by a newer luthier.
    """
    import numpy as np

    source = Path(folder)
    try:
        document = yaml.safe_load((source / "spec.yaml").read_text(encoding="utf-8"))
        facts = json.loads((source / "fitted.json").read_text(encoding="utf-8"))
    except (OSError, ValueError, yaml.YAMLError) as error:
        raise ModelError(f"{source} is not a fitted folder: {error}") from error
    if facts.get("schema") != SCHEMA:
        raise ModelError(f"{source} has schema {facts.get('schema')!r}; this luthier reads {SCHEMA}.")
    arrays = {}
    if (source / "arrays.npz").is_file():
        with np.load(source / "arrays.npz", allow_pickle=False) as stored:
            arrays = {name: stored[name] for name in stored.files}
    spec = spec_from(document, str(source / "spec.yaml"), source)
    return Fitted(spec=spec, train_digest=facts["train_digest"], state=facts["state"], arrays=arrays)
