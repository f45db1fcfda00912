"""How much of a prompt is the same for all rows, which some services bill at a lower price."""

from __future__ import annotations

from collections.abc import Sequence

from luthier.providers.endpoint import Endpoint
from luthier.providers.exchange import Request
from luthier.providers.tokens import TokenGuess, text_units

__all__ = ["caching_note", "shared_prefix"]

CACHING = ("openai", "azure")
"""Providers that cache the beginning of a prompt by themselves and name a price for it."""

SHORTEST_CACHED = 1024
"""Tokens that a prompt must begin with alike; OpenAI and Azure cache no shorter one."""


def shared_prefix(requests: Sequence[Request]) -> str:
    """The text that all requests begin with, turns one after another.

    Examples:
        >>> turns = [{"role": "system", "content": "Rate the review."}, {"role": "user", "content": "Review: bad"}]
        >>> other = [turns[0], {"role": "user", "content": "Review: good"}]
        >>> shared_prefix([Request("chat", {"messages": turns}), Request("chat", {"messages": other})])
        'Rate the review.Review: '
    """
    shared = []
    for texts in zip(*map(_texts, requests), strict=False):
        # What the first and the last in order begin with alike, all between them do too.
        first, last = min(texts), max(texts)
        alike = next((at for at, (a, b) in enumerate(zip(first, last, strict=False)) if a != b), len(first))
        shared.append(first[:alike])
        if first != last:
            break
    return "".join(shared)


def caching_note(requests: Sequence[Request], endpoint: Endpoint) -> list[str]:
    """A note that the service bills part of each prompt as cached, if it is long enough for that."""
    if endpoint.provider not in CACHING or len(requests) < 2:
        return []
    tokens = round(TokenGuess().tokens_of(text_units(shared_prefix(requests))))
    if tokens < SHORTEST_CACHED:
        return []
    return [
        f"All requests begin with the same {tokens:,} tokens or so. The service bills them at its price for cached "
        "input when the last such request was a few minutes ago; the estimate does not count on it."
    ]


def _texts(request: Request) -> list[str]:
    body = request.body
    return [str(turn["content"]) for turn in body["messages"]] if "messages" in body else [str(body.get("prompt", ""))]
