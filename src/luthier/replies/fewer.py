"""How many likeliest tokens a service gives: one that refuses the number asked for is asked for as many as it has."""

from __future__ import annotations

import re
from typing import Any

from luthier.providers.exchange import Request
from luthier.providers.transport import Reply, TransportFault

__all__ = ["LikeliestLimit"]

MOST_COMMON = 5
"""What most services that give fewer than OpenAI's chat give; tried where a refusal names no number."""

BOUND = re.compile(
    r"max|most|more than|less than|greater|larger|lower|exceed|between|range|limit|up to|<=|\u2264|fewer|too many"
    r"|too (?:large|high|big)|above|only|allowed"
)
CODE = re.compile(r"\"(?:code|status|statuscode|status_code)\"\s*:\s*\"?\d+")
NUMBER = re.compile(r"(?<![\w.-])(?:\d{1,3}|one|two|three|four|five|ten)(?![\w]|\.\d)")
SPELLED = {"one": 1, "two": 2, "three": 3, "four": 4, "five": 5, "ten": 10}


class LikeliestLimit:
    """The most likely tokens a service returns, learned from a refusal. The journal key of a request stays the same."""

    def __init__(self) -> None:
        self.most: int | None = None

    def within(self, request: Request) -> Request:
        """The request, asking for no more than the service gives."""
        asked = _asked(request.body)
        if asked is None or self.most is None or asked <= self.most:
            return request
        name = "top_logprobs" if "top_logprobs" in request.body else "logprobs"
        return Request(request.operation, {**request.body, name: self.most}, request.endpoint)

    def learned(self, reply: Reply | TransportFault, request: Request) -> bool:
        """Whether this refused a number of tokens, so that the request can be sent again with fewer."""
        asked = _asked(request.body)
        if asked is None or isinstance(reply, TransportFault) or reply.status not in (400, 422):
            return False
        said = CODE.sub("", reply.body[:10_000].decode("utf-8", "replace").lower())
        if "logprob" not in said or not BOUND.search(said):
            return False
        numbers = [SPELLED.get(found) or int(found) for found in NUMBER.findall(said) if not found.startswith("00")]
        fewer = [number for number in numbers if 0 < number < asked]
        if not fewer and ((numbers and max(numbers) <= 0) or asked <= MOST_COMMON):
            return False
        found = max(fewer, default=MOST_COMMON)
        self.most = found if self.most is None else min(self.most, found)
        return True


def _asked(body: Any) -> int | None:
    given = body.get("top_logprobs", body.get("logprobs"))
    return given if type(given) is int and given > 1 else None
