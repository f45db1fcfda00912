"""Which models a server has, as it says itself."""

from __future__ import annotations

import json

from luthier.providers import Provider
from luthier.providers.endpoint import Endpoint
from luthier.providers.redaction import sendable
from luthier.providers.transport import Transport, TransportFault

__all__ = ["listed_models"]

LISTING_SECONDS = 10.0


async def listed_models(endpoint: Endpoint, provider: Provider, transport: Transport) -> list[str]:
    """The names of the models a server lists, sorted; empty if it lists none."""
    url, headers = provider.base_url(endpoint) + "/models", await provider.headers(endpoint)
    reply = await transport.get(url, headers, LISTING_SECONDS, direct=endpoint.provider == "local")
    if isinstance(reply, TransportFault) or reply.status != 200:
        return []
    try:
        return sorted(sendable(str(model["id"])) for model in json.loads(reply.body)["data"])
    except (ValueError, KeyError, TypeError):
        return []
