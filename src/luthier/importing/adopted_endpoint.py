"""Where a model of MLflow's own flavor is asked: by its own settings and the environment, as MLflow would do it now."""

from __future__ import annotations

import os
from typing import Any

from luthier.errors import EndpointError
from luthier.importing.adopted_sources import AdoptableSource
from luthier.model_names import parse_model_name
from luthier.providers.endpoint import PUBLIC_ADDRESS

__all__ = ["endpoint_of"]

AZURE, ENTRA = ("azure", "azure_ad", "azuread"), ("azure_ad", "azuread")

KEY = "OPENAI_API_KEY"
"""The variable that MLflow's flavor takes every key from, also those of Azure."""

CURE = "Give the endpoint: --endpoint FILE; `luthier init` writes one for each provider into models/endpoints/."


def endpoint_of(source: AdoptableSource, changed: list[str]) -> dict[str, Any]:
    """The fields of the endpoint.

    Args:
        source: what is asked.
        changed: a list that is told what is asked otherwise than by MLflow.

    Raises:
        EndpointError: nothing tells, or only a file that may come from anywhere does.
    """
    kind = os.environ.get("OPENAI_API_TYPE", "").lower()
    base = os.environ.get("OPENAI_API_BASE") or os.environ.get("OPENAI_BASE_URL") or ""
    named = source.address.get("api_base") or source.address.get("base_url")
    if named is not None and named.rstrip("/") not in (base.rstrip("/"), PUBLIC_ADDRESS["openai"]):
        # Whoever wrote the model would be sent the key.
        raise EndpointError(
            f"it names the address {named}, which your environment does not. A key is not sent where only a stored "
            f"model says so. {CURE}"
        )
    model = source.model
    if kind in AZURE:
        if not base:
            raise EndpointError(f"OPENAI_API_TYPE is {kind}, and OPENAI_API_BASE does not say where. {CURE}")
        deployment = os.environ.get("OPENAI_DEPLOYMENT_NAME") or model
        if deployment is None:
            raise EndpointError(f"it names no model, and OPENAI_DEPLOYMENT_NAME no deployment. {CURE}")
        if os.environ.get("OPENAI_API_VERSION"):
            changed.append("Azure is asked by its v1 protocol, which has no api-version.")
        by = {"auth": "entra"} if kind in ENTRA and not os.environ.get(KEY) else {"api_key_env": KEY}
        priced = {"priced_as": model} if model not in (None, deployment) else {}
        return {"provider": "azure", "model": deployment, "base_url": base, **by, **priced}
    if model is None:
        raise EndpointError(f"it names no model. {CURE}")
    if base and base.rstrip("/") != PUBLIC_ADDRESS["openai"]:
        return {"provider": "compatible", "model": model, "base_url": base, "api_key_env": KEY}
    by_name = parse_model_name(model)
    if source.provider in (None, "openai") and by_name.vendor == "openai" and not by_name.family.startswith("gpt-oss"):
        return {"provider": "openai", "model": model}
    who = "" if source.provider is None else f" of {source.provider}"
    raise EndpointError(f"its model {model}{who} does not tell where it is asked. {CURE}")
