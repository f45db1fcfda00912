"""Models on any other server of the OpenAI protocol: vLLM, Ollama, LM Studio, a gateway."""

from __future__ import annotations

from typing import Any

from luthier.providers.base import plain_body
from luthier.providers.endpoint import Endpoint
from luthier.providers.exchange import Request
from luthier.providers.openai import OpenAI

__all__ = ["Compatible"]


class Compatible(OpenAI):
    """As OpenAI, with the older name of `max_tokens`, which all of them know; the key may be absent."""

    def adapt(self, request: Request, endpoint: Endpoint) -> tuple[str, dict[str, Any]]:
        """The body as it is."""
        return plain_body(request, endpoint, renamed=False)
