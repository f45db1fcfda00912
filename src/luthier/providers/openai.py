"""Models at OpenAI."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from luthier.providers.base import address_identity, bearer, plain_body
from luthier.providers.endpoint import Endpoint
from luthier.providers.exchange import Request

__all__ = ["OpenAI"]


class OpenAI:
    """api.openai.com, or an address that behaves just so."""

    async def prepare(self, endpoint: Endpoint, *, again: bool = False) -> None:
        """Nothing to prepare."""

    def base_url(self, endpoint: Endpoint) -> str:
        """The endpoint's address."""
        return endpoint.address

    async def headers(self, endpoint: Endpoint) -> Mapping[str, str]:
        """The key as a bearer token."""
        return bearer(endpoint.key())

    def secrets(self, endpoint: Endpoint) -> tuple[str, ...]:
        """The key, if its variable is set."""
        return endpoint.secrets()

    def adapt(self, request: Request, endpoint: Endpoint) -> tuple[str, dict[str, Any]]:
        """Chat takes `max_completion_tokens`."""
        return plain_body(request, endpoint, renamed=True)

    def identity(self, endpoint: Endpoint, reported_model: str | None) -> str | None:
        """The address; a model's name there never changes its meaning without a snapshot's name."""
        return address_identity(endpoint)
