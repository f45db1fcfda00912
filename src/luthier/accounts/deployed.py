"""The deployments of an account, as its control plane tells."""

from __future__ import annotations

from typing import Any

from luthier.accounts.azure_control_plane import ControlPlane
from luthier.accounts.records import DeployedModel, Listed
from luthier.model_names import parse_model_name
from luthier.providers.endpoint import Endpoint

__all__ = ["deployments", "has_deployments"]


def has_deployments(endpoint: Endpoint) -> bool:
    """Whether models answer from deployments at this provider, which can be listed."""
    return endpoint.provider == "azure"


def deployments(
    endpoint: Endpoint, *, credential: Any = None, plane: ControlPlane | None = None
) -> Listed[DeployedModel]:
    """Every deployment of the account behind an endpoint; none where the provider has no deployments.

    What Azure refuses, and an endpoint without `resource:`, is the `failure` of what is returned; it is not raised.

    Args:
        endpoint: its `resource` says where the account is; its model is not used.
        credential: of azure-identity; `DefaultAzureCredential` when absent.
        plane: the account's control plane; made from the endpoint when absent.

    Examples:
        >>> from luthier.endpoints import openai
        >>> deployments(openai("gpt-4.1-mini")).whole()
        ()
    """
    if not has_deployments(endpoint):
        return Listed(())
    found = (plane or ControlPlane(endpoint, credential=credential)).list_deployments()
    return Listed(tuple(map(_deployed, found.items)), found.failure)


def _deployed(found: Any) -> DeployedModel:
    properties, sku, system = found.properties, found.sku, found.system_data
    model = properties.model if properties is not None else None
    name, version = (str(model.name or ""), model.version) if model is not None else ("", None)
    made = system.created_at if system is not None else None
    return DeployedModel(
        name=str(found.name),
        model=parse_model_name(name, version=version, vendor=model.format if model is not None else None),
        model_id=name,
        version=version,
        format=model.format if model is not None else None,
        # Where the client knows a state it is a member of an enumeration, else a text.
        state=str(properties.provisioning_state).rsplit(".", 1)[-1] if properties is not None else "unknown",
        sku=sku.name if sku is not None else None,
        capacity=sku.capacity if sku is not None else None,
        created=made.timestamp() if made is not None else None,
        tags=dict(found.tags or {}),
        capabilities=dict((properties.capabilities if properties is not None else None) or {}),
    )
