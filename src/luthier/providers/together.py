"""Models at Together: the plain protocol, except for how many of the likeliest tokens are asked for."""

from __future__ import annotations

from typing import Any

from luthier.providers.base import Provider
from luthier.providers.endpoint import Endpoint
from luthier.providers.exchange import Request

__all__ = ["Together"]


class Together(Provider):
    """In chat, `logprobs` itself is the number of tokens; there is no `top_logprobs`.

    Answers have the log-probabilities in the shape of completions, which is read wherever it comes.
    """

    def adapt(self, request: Request, endpoint: Endpoint) -> tuple[str, dict[str, Any]]:
        """Path and body of a request as Together spells them."""
        path, body = super().adapt(request, endpoint)
        if request.operation == "chat" and body.get("logprobs"):
            body["logprobs"] = body.pop("top_logprobs", 1)
        return path, body
