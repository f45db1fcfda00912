"""How a model of the catalogue is asked: the `endpoint:` of a spec."""

from __future__ import annotations

import re
from typing import Any

from luthier.model_catalogue.catalogue import ASKED
from luthier.model_catalogue.records import CatalogueModel

__all__ = ["endpoint_of", "endpoint_text"]

KEYS = {
    "openai": "OPENAI_API_KEY",
    "azure": "AZURE_OPENAI_API_KEY",
    "together": "TOGETHER_API_KEY",
    "fireworks": "FIREWORKS_API_KEY",
}

AZURE_ADDRESS = "https://YOUR-RESOURCE.openai.azure.com"
PLAIN = re.compile(r"[A-Za-z][\w./:-]*[\w]")
"""Texts that YAML takes as they are."""

VLLM_ADDRESS = "http://127.0.0.1:8000/v1"


def endpoint_of(model: CatalogueModel) -> dict[str, Any]:
    """The values of an `endpoint:` for a model; what only the user knows is in capitals.

    Examples:
        >>> from luthier.model_catalogue import catalogue_models
        >>> endpoint_of(catalogue_models([]).named("gpt-4.1-mini", "openai")[0])
        {'provider': 'openai', 'model': 'gpt-4.1-mini', 'api_key_env': 'OPENAI_API_KEY'}
    """
    provider = model.provider
    if provider == "azure":
        deployed = {"base_url": AZURE_ADDRESS, "model": "YOUR-DEPLOYMENT", "priced_as": model.id}
        return {"provider": provider, **deployed, "api_key_env": KEYS[provider]}
    if provider == "vllm":
        price = {"input_usd_per_million": 0, "output_usd_per_million": 0}
        return {"provider": provider, "base_url": VLLM_ADDRESS, "model": model.id, "price": price}
    if provider in ASKED:
        key = {"api_key_env": KEYS[provider]} if provider in KEYS else {}
        return {"provider": provider, "model": model.id, **key}
    known = {kind: model.value(f"{kind}_usd_per_million") for kind in ("input", "output")}
    if None in known.values():
        price_of: dict[str, Any] = {}
    else:
        price_of = {"price": {f"{kind}_usd_per_million": value for kind, value in known.items()}}
    address = {"base_url": "https://ADDRESS-OF-THE-SERVICE/v1", "model": model.id, "api_key_env": "YOUR_KEY"}
    return {"provider": "compatible", **address, **price_of}


def endpoint_text(model: CatalogueModel) -> str:
    """The `endpoint:` of a spec on one line of YAML, to be pasted.

    Examples:
        >>> from luthier.model_catalogue import catalogue_models
        >>> endpoint_text(catalogue_models([]).named("wordllama-256", "local")[0])
        'endpoint: {provider: local, model: wordllama-256}'
    """
    return f"endpoint: {_flow(endpoint_of(model))}"


def _flow(value: Any) -> str:
    if isinstance(value, dict):
        return "{" + ", ".join(f"{key}: {_flow(one)}" for key, one in value.items()) + "}"
    if isinstance(value, float):
        return f"{value:g}"
    # A name such as `meta/llama:free` is quoted where YAML would read more into it.
    return str(value) if not isinstance(value, str) or PLAIN.fullmatch(value) else f'"{value}"'
