"""Finds the technique a file names and reads specs and fitted folders."""

from __future__ import annotations

import glob
import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import yaml
from pydantic import ValidationError

from luthier.endpoints.endpoint import Endpoint
from luthier.errors import ModelError, SpecError
from luthier.spec import FILES, SCHEMA, Fitted, Spec
from luthier.task import Task, readable_validation_error
from luthier.techniques.baseline import Baseline
from luthier.techniques.finetune import FineTune
from luthier.techniques.prompt import Prompt

__all__ = ["TECHNIQUES", "endpoint_alone", "read_endpoint", "read_fitted", "read_spec", "read_specs"]

TECHNIQUES: dict[str, type[Spec]] = {"baseline": Baseline, "prompt": Prompt, "fine-tune": FineTune}
"""Every technique by the name it has in a spec."""

REPLACEABLE = ("endpoint", "decoding", "answer", "prompt")
"""Blocks of a spec that an endpoint file may replace."""


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


def read_yaml(file: Path, what: str, cure: str) -> Any:
    """The document in a YAML file."""
    if not file.is_file():
        raise SpecError(f"no {what} file {file}. {cure}")
    try:
        return yaml.safe_load(file.read_text(encoding="utf-8"))
    except (yaml.YAMLError, UnicodeDecodeError) as error:
        raise SpecError(f"{file} is not valid YAML: {error}") from error


def read_endpoint(path: str | Path) -> dict[str, Any]:
    """What a file puts in place of a spec's own blocks: an endpoint, and settings its model wants.

    The file holds an endpoint's fields, or `endpoint:` with them and beside it `decoding:`, `answer:`
    or `prompt:` entries for models that want other settings.

    Raises:
        SpecError: the file is not there, is no YAML, or has something else in it.
    """
    file = Path(path)
    document = read_yaml(file, "endpoint", "models/endpoints/ has one for each provider.")
    if isinstance(document, dict) and "provider" in document:
        document = {"endpoint": document}
    if not isinstance(document, dict) or "endpoint" not in document or set(document) - set(REPLACEABLE):
        raise SpecError(f"{file} is no endpoint: it holds provider, model, ... or {', '.join(REPLACEABLE)}.")
    try:
        Endpoint.model_validate(document["endpoint"])
    except ValidationError as error:
        raise SpecError(f"{file}: {readable_validation_error(error, Endpoint)}") from error
    return document


def endpoint_alone(path: str | Path) -> dict[str, Any]:
    """The endpoint block of an endpoint file, for what takes no other block.

    Raises:
        SpecError: as `read_endpoint`, or the file replaces more than the endpoint.
    """
    document = read_endpoint(path)
    more = sorted(set(document) - {"endpoint"})
    if more:
        raise SpecError(
            f"{path} also replaces {', '.join(more)}, which is fixed here. Use it where the spec is read: "
            "luthier compare or log SPEC --endpoint FILE."
        )
    block: dict[str, Any] = document["endpoint"]
    return block


def elsewhere(document: dict[str, Any], overrides: Mapping[str, Any]) -> dict[str, Any]:
    """A spec's document with the blocks of an endpoint file in place of its own; specs without endpoint stay."""
    if "endpoint" not in document:
        return document
    document = dict(document)
    for block, settings in overrides.items():
        document[block] = settings if block == "endpoint" else {**document.get(block, {}), **settings}
    return document


def read_spec(path: str | Path, overrides: Mapping[str, Any] | None = None) -> Spec:
    """The spec in a YAML file.

    Args:
        path: the file.
        overrides: what `read_endpoint` gave, to ask another endpoint than the spec's own.

    Raises:
        SpecError: the file is not there, is no YAML, or is not a spec.
    """
    file = Path(path)
    document = read_yaml(file, "spec", "`luthier init --data TABLE --text COLUMN --label COLUMN` writes some.")
    if isinstance(document, dict) and overrides:
        document = elsewhere(document, overrides)
    if isinstance(document, dict) and "task" not in document:
        beside = file.parent / "task.yaml"
        if beside.is_file():
            document["task"] = "task.yaml"
    if isinstance(document, dict):
        document.setdefault("name", file.stem)
    return spec_from(document, str(file), file.parent)


def read_specs(paths: Sequence[str | Path], overrides: Mapping[str, Any] | None = None) -> list[Spec]:
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
            found = [Path(name) for name in sorted(glob.glob(str(given)))]  # noqa: PTH207  (a pattern may be absolute)
        else:
            found = [path]
        files += [file for file in found if file.name not in ("task.yaml", "task.yml") and file not in files]
    if not files:
        raise SpecError(f"no spec in {', '.join(map(str, paths))}. Give YAML files, globs or a folder, as in models/.")
    specs = [read_spec(file, overrides) for file in files]
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
    files = {file.name: file.read_bytes() for file in sorted((source / FILES).glob("*"))}
    spec = spec_from(document, str(source / "spec.yaml"), source)
    return Fitted(spec=spec, train_digest=facts["train_digest"], state=facts["state"], arrays=arrays, files=files)
