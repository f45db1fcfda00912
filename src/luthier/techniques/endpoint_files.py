"""Endpoint files: an endpoint in place of the one in a spec, and the settings that its model needs."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from pydantic import ValidationError

from luthier.documents import read_yaml
from luthier.errors import SpecError
from luthier.providers.endpoint import Endpoint
from luthier.spec import Spec
from luthier.spec.endpoint_lists import pooled_settings
from luthier.spec.setting_paths import SHORT_FORMS
from luthier.tasks.readable_errors import readable_validation_error

__all__ = ["override_endpoint", "read_endpoint_for", "read_endpoint", "why_unmoved", "unmoved"]

ENDPOINTS = ("endpoint", "embedding")
"""Blocks of an endpoint file with an endpoint; a technique takes the one named by its `endpoint_block`."""

REPLACEABLE = (*ENDPOINTS, "decoding", "answer", "prompt")
"""Blocks an endpoint file may have."""


def read_endpoint(path: str | Path) -> dict[str, Any]:
    """The blocks of an endpoint file, which replace those of a spec.

    The file has the fields of an endpoint, or `endpoint:` with them, or a list of endpoints of one model under
    `endpoints:`; and beside it, as needed, `embedding:`, the endpoint of specs that embed texts, and `decoding:`,
    `answer:` or `prompt:` with settings that its model needs.

    Raises:
        SpecError: the file is not there, is no YAML, or has something else in it.
    """
    file = Path(path)
    document = read_yaml(file, "endpoint", "models/endpoints/ has one for each provider.")
    if isinstance(document, dict) and "provider" in document:
        document = {"endpoint": document}
    if isinstance(document, dict) and "endpoints" in document and "endpoint" not in document:
        try:
            document["endpoint"] = pooled_settings(document.pop("endpoints"))
        except ValueError as error:
            raise SpecError(f"{file}: {error}.") from error
    if not isinstance(document, dict) or "endpoint" not in document or set(document) - set(REPLACEABLE):
        raise SpecError(
            f"{file} is no endpoint: it holds provider, model, ..., or `endpoint:` with them (or `endpoints:` with a "
            f"list) and beside it {', '.join(REPLACEABLE[1:])}."
        )
    for block in ENDPOINTS:
        if block not in document:
            continue
        try:
            Endpoint.model_validate(document[block])
        except ValidationError as error:
            where = file if block == "endpoint" else f"{file}: {block}"
            raise SpecError(f"{where}: {readable_validation_error(error, Endpoint)}") from error
    return document


def read_endpoint_for(path: str | Path, spec: Spec) -> dict[str, Any]:
    """The endpoint of an endpoint file for a model that was fitted from a spec, whose other blocks are fixed.

    Raises:
        SpecError: as `read_endpoint`; the file has no endpoint for such a spec, or changes its other blocks.
    """
    document = read_endpoint(path)
    fixed = [block for block in document if block not in ENDPOINTS and block in type(spec).model_fields]
    if fixed:
        raise SpecError(
            f"{path} also replaces {', '.join(sorted(fixed))}, which is fixed here. Use it where the spec is read: "
            "luthier compare or log SPEC --endpoint FILE."
        )
    if spec.endpoint is not None and spec.endpoint_block not in document:
        raise SpecError(why_unmoved(spec, path))
    block: dict[str, Any] = document.get(spec.endpoint_block, document["endpoint"])
    return block


def override_endpoint(
    document: dict[str, Any], overrides: Mapping[str, Any], technique: type[Spec] | None
) -> dict[str, Any]:
    """A spec's document with the blocks of an endpoint file in place of its own.

    Specs without an endpoint stay as they are, and so do those that the file has no endpoint for: a chat model does
    not embed.
    """
    asked = "endpoint" if technique is None else technique.endpoint_block
    if not {"endpoint", "endpoints"} & set(document) or asked not in overrides:
        return document
    rest = {name: value for name, value in document.items() if name != "endpoints"}
    document = {**rest, "endpoint": overrides[asked]}
    for block, settings in overrides.items():
        if block in ENDPOINTS or (technique is not None and block not in technique.model_fields):
            continue  # Settings of prompts do not concern techniques that write none.
        own = document.get(block, {})
        if block in SHORT_FORMS and not isinstance(own, Mapping):
            own = {SHORT_FORMS[block]: own}
        if not isinstance(own, Mapping):
            continue  # Refused when the spec is read.
        document[block] = {**own, **settings}
    return document


def unmoved(specs: Sequence[Spec], overrides: Mapping[str, Any]) -> list[Spec]:
    """The specs with an endpoint for which the endpoint file has none."""
    return [spec for spec in specs if spec.endpoint is not None and spec.endpoint_block not in overrides]


def why_unmoved(spec: Spec, path: str | Path = "the endpoint file") -> str:
    """A message why a spec keeps its own endpoint, with what to add to the endpoint file."""
    assert spec.endpoint is not None
    block = spec.endpoint_block
    return (
        f"{spec.name} stays at {spec.endpoint.label}: it embeds texts, and {path} has no `{block}:` block. To move it, "
        f"add one with a model that embeds, as in {block}: {{provider: openai, model: text-embedding-3-small}}."
    )
