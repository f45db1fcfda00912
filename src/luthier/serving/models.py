"""The model behind a URI, as a server has it: Luthier's own, or any that MLflow loads."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from luthier.packaging.loading import FoundModel, find_model
from luthier.serving.luthier_served import LuthierServed
from luthier.serving.served_model import ServedModel, ServedModelFacts
from luthier.serving.settings import ServerSettings
from luthier.techniques import Prompt
from luthier.tracking.store_file import REGISTERED, registered_version

__all__ = ["open_model"]

TYPES = {"text": "string", "number": "double"}
PARAM_TYPES = {"temperature": "double", "top_p": "double", "max_tokens": "long", "seed": "long"}


def open_model(
    uri: str,
    settings: ServerSettings,
    endpoint: Mapping[str, Any] | None = None,
    trust: bool = False,
    *,
    known_as: str | None = None,
) -> ServedModel:
    """The model at a URI, ready to be started by a server.

    Args:
        uri: what `luthier.load` takes.
        settings: what the server refuses.
        endpoint: settings that point a Luthier model elsewhere.
        trust: let a model that Luthier did not log run the code it brings along.
        known_as: what the server calls it, such as `models:/stars/3`, where `uri` is a copy of that.

    Raises:
        ModelError: nothing is there, or code would have to be run.
        UserError: a budget is given for a model whose price is not known.
    """
    found = find_model(uri, endpoint, trust=trust)
    return LuthierServed(found.fitted, _facts(found, known_as or uri), settings)


def _facts(found: FoundModel, uri: str) -> ServedModelFacts:
    spec = found.fitted.spec
    name, version = registered(uri) or (spec.name, None)
    task = spec.task
    return ServedModelFacts(
        uri=uri,
        name=name,
        version=version,
        technique=spec.technique,
        columns={column: "string" if column == task.text else "any" for column in spec.columns},
        params={name: PARAM_TYPES[name] for name in (spec.params if isinstance(spec, Prompt) else {})},
        outputs={name: TYPES[kind] for name, kind in task.kind.columns.items()},
        labels=task.labels,
        example=example_of_folder(found.folder.path, spec.columns),
    )


def registered(uri: str) -> tuple[str, str] | None:
    """Name and version of a registered model; `None` where the URI names no such one."""
    if (known := registered_version(uri)) is not None or (named := REGISTERED.fullmatch(uri)) is None:
        return known
    from mlflow import MlflowClient

    return named[1], str(MlflowClient().get_model_version_by_alias(named[1], named[2]).version)


def example_of_folder(folder: Path, columns: tuple[str, ...]) -> tuple[Mapping[str, Any], ...]:
    """The rows that the model was logged with as an example; none where they are not to be read."""
    try:
        document = json.loads((folder / "input_example.json").read_text(encoding="utf-8"))
        rows = [dict(zip(document["columns"], row, strict=True)) for row in document["data"]]
    except (OSError, ValueError, KeyError, TypeError):
        return ()
    return tuple({name: row.get(name) for name in columns} for row in rows)
