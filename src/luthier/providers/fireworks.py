"""Models at Fireworks, which gives five likeliest tokens at most."""

from __future__ import annotations

from typing import Any

from luthier.providers.base import Provider
from luthier.providers.endpoint import Endpoint
from luthier.providers.exchange import Request

__all__ = ["Fireworks"]

MOST_LIKELIEST = 5
"""Most tokens of one position that are given with their log-probabilities."""


class Fireworks(Provider):
    """Asks for no more likeliest tokens than the service gives, so that no request is refused.

    Probabilities of labels beyond those five are read as at most the fifth; their predictions are marked `censored`.
    """

    def adapt(self, request: Request, endpoint: Endpoint) -> tuple[str, dict[str, Any]]:
        """As the protocol has it, with five likeliest tokens at most."""
        path, body = super().adapt(request, endpoint)
        name = "top_logprobs" if request.operation == "chat" else "logprobs"
        if type(body.get(name)) is int:
            body[name] = min(body[name], MOST_LIKELIEST)
        return path, body
