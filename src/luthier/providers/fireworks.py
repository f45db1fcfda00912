"""Models at Fireworks: five likeliest tokens at most, and deployments that wake up when they are asked."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from luthier.providers.base import Provider
from luthier.providers.endpoint import Endpoint
from luthier.providers.exchange import Request
from luthier.providers.transport import Reply, Transport, TransportFault

__all__ = ["Fireworks"]

MOST_LIKELIEST = 5
"""Most tokens of one position that are given with their log-probabilities."""

WAKING = b"DEPLOYMENT_SCALING_UP"
"""Code of the 503 that a deployment without a replica answers with, until it has one: for some minutes."""

WAKING_SECONDS = "10"


class Fireworks(Provider):
    """Asks for no more likeliest tokens than the service gives, and waits for a deployment that wakes up.

    Labels beyond the five likeliest tokens have at most the probability of the fifth; such predictions are `censored`.
    """

    def adapt(self, request: Request, endpoint: Endpoint) -> tuple[str, dict[str, Any]]:
        """As the protocol has it, with five likeliest tokens at most."""
        path, body = super().adapt(request, endpoint)
        name = "top_logprobs" if request.operation == "chat" else "logprobs"
        if type(body.get(name)) is int:
            body[name] = min(body[name], MOST_LIKELIEST)
        return path, body

    async def send(self, request: Request, endpoint: Endpoint, transport: Transport) -> Reply | TransportFault:
        """Sends a request once; of a deployment that wakes up, the answer says how long to wait.

        A wait that the service asks for does not use up the attempts of a request.
        """
        reply = await super().send(request, endpoint, transport)
        if isinstance(reply, TransportFault) or reply.status != 503 or WAKING not in reply.body:
            return reply
        headers = {name.lower(): value for name, value in reply.headers.items()}
        return replace(reply, headers={"retry-after": WAKING_SECONDS, **headers})
