"""What a provider has to say about an endpoint."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Protocol

from luthier.providers.endpoint import Endpoint
from luthier.providers.exchange import Request

__all__ = ["PATHS", "Provider", "address_identity", "bearer", "plain_body"]

PATHS = {
    "chat": "/chat/completions",
    "completion": "/completions",
    "embedding": "/embeddings",
    "decision": "/decisions",
}
"""Path of each operation below the base URL."""


class Provider(Protocol):
    """One way to reach models. One object per process serves all endpoints of its kind."""

    async def prepare(self, endpoint: Endpoint, *, again: bool = False) -> None:
        """Makes the endpoint ready to be asked; called once per run, and `again` when it cannot be reached."""

    def base_url(self, endpoint: Endpoint) -> str:
        """Address the paths are appended to."""

    async def headers(self, endpoint: Endpoint) -> Mapping[str, str]:
        """Headers of a request, with the key; asked for each attempt, because tokens expire.

        Raises:
            EndpointError: the key's variable is not set.
        """

    def secrets(self, endpoint: Endpoint) -> tuple[str, ...]:
        """Keys in use now, so that they can be kept out of messages and files."""

    def adapt(self, request: Request, endpoint: Endpoint) -> tuple[str, dict[str, Any]]:
        """Path and body of a request as this service spells them."""

    def identity(self, endpoint: Endpoint, reported_model: str | None) -> str | None:
        """Under what its answers are kept; `None` if the model must be asked what it is first."""


def address_identity(endpoint: Endpoint) -> str:
    """The identity of an endpoint whose address and model name tell models apart."""
    return endpoint.identity or endpoint.address


def bearer(key: str | None) -> Mapping[str, str]:
    """Headers of a JSON request with a bearer key, or without any."""
    headers = {"Content-Type": "application/json"}
    if key is not None:
        headers["Authorization"] = f"Bearer {key}"
    return headers


def plain_body(request: Request, endpoint: Endpoint, *, renamed: bool) -> tuple[str, dict[str, Any]]:
    """Path and body in the protocol's own spelling.

    Args:
        request: what is asked.
        endpoint: whose model and extra fields are added.
        renamed: whether chat takes `max_completion_tokens`, as reasoning models insist.
    """
    body: dict[str, Any] = {"model": endpoint.model, **request.body, **endpoint.extra_body}
    if request.operation == "chat" and "max_tokens" in body:
        if "max_completion_tokens" in endpoint.extra_body:
            del body["max_tokens"]
        elif renamed:
            body["max_completion_tokens"] = body.pop("max_tokens")
    return PATHS[request.operation], body
