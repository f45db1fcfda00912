"""The embedded server: found or started when it is first asked."""

from __future__ import annotations

import asyncio
import os
from collections.abc import Mapping

from luthier.errors import EndpointError
from luthier.providers.base import Provider, bearer
from luthier.providers.endpoint import Endpoint
from luthier.providers.local_service import LocalService, attach

__all__ = ["Embedded"]

_WORDLLAMA = "sha256:42c2c88907ace0b0681ac6f9092d6a300a6409a5d2d61071a3fb5e7159370c97"
DIGESTS = {
    "smollm2-135m-instruct": "sha256:bcc81830d10ce7d9e76640cad826a4b79ed3e4547c78a0be5c4f2fb0e2448c70+q8_0",
    "wordllama-256": _WORDLLAMA,
    "wordllama-tunable": _WORDLLAMA,
}
"""Digests of the weights that the embedded server pins, by model name: a plan knows them and starts no server."""


class Embedded(Provider):
    """One server per user; its port and token change with each start, its answers do not."""

    def __init__(self) -> None:
        super().__init__()
        self._services: dict[str, tuple[LocalService, str]] = {}
        self._owner = 0

    async def prepare(self, endpoint: Endpoint, *, again: bool = False) -> None:
        """Attaches to the server, starting it if there is none."""
        if self._owner != os.getpid():
            self._services, self._owner = {}, os.getpid()
        if again or endpoint.model not in self._services:
            service = await asyncio.to_thread(attach, endpoint.model)
            digest = await asyncio.to_thread(service.digest_of, endpoint.model)
            self._services[endpoint.model] = service, digest

    def base_url(self, endpoint: Endpoint) -> str:
        """Where the server listens now."""
        return self._service(endpoint)[0].base_url.rstrip("/")

    async def headers(self, endpoint: Endpoint) -> Mapping[str, str]:
        """The token of this start."""
        return bearer(self._service(endpoint)[0].token)

    def secrets(self, endpoint: Endpoint) -> tuple[str, ...]:
        """The token of this start."""
        found = self._services.get(endpoint.model)
        return (found[0].token,) if found else ()

    def identity(self, endpoint: Endpoint, reported_model: str | None) -> str | None:
        """`local` and the digest of the weights, so that answers outlive the server and not the model."""
        if endpoint.identity:
            return endpoint.identity
        if endpoint.model not in self._services and endpoint.model in DIGESTS:
            # Pinned, so known before the server runs; a plan starts none.
            return f"local:{DIGESTS[endpoint.model]}"
        return f"local:{self._service(endpoint)[1]}"

    def _service(self, endpoint: Endpoint) -> tuple[LocalService, str]:
        if endpoint.model not in self._services:
            raise EndpointError(f"the embedded server has not been started for {endpoint.model}")
        return self._services[endpoint.model]
