"""How servers of the OpenAI protocol are spoken to; a provider overrides what it does otherwise."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

from luthier.providers.endpoint import Endpoint
from luthier.providers.exchange import Request
from luthier.providers.redaction import sendable
from luthier.providers.transport import Reply, Transport, TransportFault

__all__ = ["Provider", "bearer"]

PATHS = {
    "chat": "/chat/completions",
    "completion": "/completions",
    "embedding": "/embeddings",
    "decision": "/decisions",
}
"""Path of each operation below the base URL."""

LISTING_SECONDS = 10.0


class Provider:
    """One way to reach models. One object per process serves all endpoints of its kind.

    Args:
        renames_max_tokens: whether chat takes `max_completion_tokens`, as OpenAI and Azure insist; `max_tokens` is
            the name every compatible server knows.
    """

    def __init__(self, *, renames_max_tokens: bool = False) -> None:
        self._renames_max_tokens = renames_max_tokens

    async def prepare(self, endpoint: Endpoint, *, again: bool = False) -> None:
        """Makes the endpoint ready to be asked; called once per call, and `again` when it cannot be reached."""

    def base_url(self, endpoint: Endpoint) -> str:
        """Address the paths are appended to."""
        return endpoint.address

    async def headers(self, endpoint: Endpoint) -> Mapping[str, str]:
        """Headers of a request, with the key; called for each attempt, because tokens expire.

        Raises:
            EndpointError: the key's variable is not set.
        """
        return bearer(endpoint.key())

    def secrets(self, endpoint: Endpoint) -> tuple[str, ...]:
        """Keys in use now, so that they can be kept out of messages and files."""
        return endpoint.secrets()

    def adapt(self, request: Request, endpoint: Endpoint) -> tuple[str, dict[str, Any]]:
        """Path and body of a request as this service spells them."""
        body: dict[str, Any] = {"model": endpoint.model, **request.body, **endpoint.extra_body}
        if request.operation == "chat" and "max_tokens" in body:
            if "max_completion_tokens" in endpoint.extra_body:
                del body["max_tokens"]
            elif self._renames_max_tokens:
                body["max_completion_tokens"] = body.pop("max_tokens")
        return PATHS[request.operation], body

    def identity(self, endpoint: Endpoint, reported_model: str | None) -> str | None:
        """The name its answers are kept under; `None` if the model must first be asked what it is.

        The address will do where a model's name never changes its meaning without a snapshot's name.
        """
        return endpoint.identity or endpoint.address

    async def send(self, request: Request, endpoint: Endpoint, transport: Transport) -> Reply | TransportFault:
        """Sends a request once, as this service spells it."""
        path, body = self.adapt(request, endpoint)
        packed = json.dumps(body, separators=(",", ":")).encode()
        return await self._fetch(path, endpoint, transport, endpoint.timeout_seconds, packed)

    async def listed_models(self, endpoint: Endpoint, transport: Transport) -> list[str]:
        """The names of the models a server lists, sorted; empty if it lists none."""
        reply = await self.list_models(endpoint, transport, LISTING_SECONDS)
        if isinstance(reply, TransportFault) or reply.status != 200:
            return []
        try:
            return sorted(sendable(str(model["id"])) for model in json.loads(reply.body)["data"])
        except (ValueError, KeyError, TypeError):
            return []

    async def list_models(
        self, endpoint: Endpoint, transport: Transport, timeout_seconds: float
    ) -> Reply | TransportFault:
        """Asks a server for its list of models, as it comes; the cheapest thing that can be asked."""
        return await self._fetch("/models", endpoint, transport, timeout_seconds)

    async def _fetch(
        self, path: str, endpoint: Endpoint, transport: Transport, seconds: float, body: bytes | None = None
    ) -> Reply | TransportFault:
        url, headers = self.base_url(endpoint) + path, await self.headers(endpoint)
        return await transport.send(url, headers, seconds, body, direct=endpoint.provider == "local")


def bearer(key: str | None) -> Mapping[str, str]:
    """Headers of a JSON request with a bearer key, or without any."""
    headers = {"Content-Type": "application/json"}
    if key is not None:
        headers["Authorization"] = f"Bearer {key}"
    return headers
