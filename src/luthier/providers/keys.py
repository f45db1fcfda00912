"""The key under which an answer is kept: a hash of the request and the model, not of how it was fetched."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Sequence

from luthier.providers.endpoint import Endpoint
from luthier.providers.exchange import Request

__all__ = ["answer_key", "answer_keys", "key_prefix"]

VERSION = 1
"""Part of every key: raised if what makes two requests the same is ever understood differently."""


def key_prefix(endpoint: Endpoint, identity: str) -> bytes:
    """The part of the key that all requests to an endpoint share, in canonical form."""
    return canonical([VERSION, identity, endpoint.model, endpoint.extra_body])


def answer_key(prefix: bytes, request: Request) -> bytes:
    """sha256 of the canonical form of one request to one model.

    Raises:
        ValueError: the body holds something JSON cannot express, such as NaN.
    """
    # The 0 told repeated questions apart in the first version of the key; without it no journal would be found again.
    return hashlib.sha256(prefix + canonical([request.operation, 0, request.body])).digest()


def answer_keys(prefix: bytes, requests: Sequence[Request]) -> list[bytes | None]:
    """The keys of requests, `None` for one that cannot be written as JSON; such a request fails without being sent."""
    keys: list[bytes | None] = []
    for request in requests:
        try:
            keys.append(answer_key(prefix, request))
        except (ValueError, TypeError):
            keys.append(None)
    return keys


def canonical(value: object) -> bytes:
    """JSON with sorted keys and no spaces, in ASCII: equal values give equal bytes."""
    return json.dumps(value, sort_keys=True, separators=(",", ":"), ensure_ascii=True, allow_nan=False).encode()
