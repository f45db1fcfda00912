"""Deployments at Azure, through the v1 data plane, with a key or with Entra."""

from __future__ import annotations

import os
from collections.abc import Mapping
from typing import Any

from luthier.errors import EndpointError, MissingPart
from luthier.providers.base import Provider, bearer
from luthier.providers.endpoint import Endpoint

__all__ = ["Azure"]

SCOPE = "https://ai.azure.com/.default"


class Azure(Provider):
    """A deployment's name says nothing of the model behind it, so the model is asked and made part of the identity."""

    def __init__(self) -> None:
        super().__init__(renames_max_tokens=True)
        self._credential: Any = None
        self._owner = 0
        self._token: str | None = None

    async def headers(self, endpoint: Endpoint) -> Mapping[str, str]:
        """The key as Azure takes it, or the token of the signed-in user."""
        if endpoint.auth == "key":
            return {"Content-Type": "application/json", "api-key": endpoint.key() or ""}
        return bearer(await self._entra_token(endpoint))

    def secrets(self, endpoint: Endpoint) -> tuple[str, ...]:
        """The key, or the token last used."""
        if endpoint.auth == "entra":
            return (self._token,) if self._token else ()
        return endpoint.secrets()

    def identity(self, endpoint: Endpoint, reported_model: str | None) -> str | None:
        """The address and what the deployment says it really is."""
        if endpoint.identity:
            return endpoint.identity
        return f"{endpoint.address} {reported_model}" if reported_model else None

    async def _entra_token(self, endpoint: Endpoint) -> str:
        # A credential's connections belong to the process and loop that made them.
        if self._credential is None or self._owner != os.getpid():
            try:
                from azure.identity.aio import DefaultAzureCredential
            except ImportError as error:
                raise MissingPart(
                    f"{endpoint.label} uses `auth: entra`, which needs azure-identity. "
                    "Type: pip install 'luthier[azure]'"
                ) from error
            self._credential, self._owner = DefaultAzureCredential(), os.getpid()
        try:
            token: str = (await self._credential.get_token(SCOPE)).token
        except Exception as error:  # azure.core has its own tree, which cannot be named without importing it
            raise EndpointError(
                f"no Entra token for {endpoint.address}: {str(error).splitlines()[0]} "
                "Type: az login, or use a key with `auth: key`."
            ) from error
        self._token = token
        return token
