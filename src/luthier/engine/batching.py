"""Texts to embed travel together: how many go into one call, what each has from it, and whose fault a refusal is."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import islice
from typing import Any

from luthier.engine.calls import Call, PendingRequest
from luthier.engine.limiter import Limiter
from luthier.providers.exchange import Request
from luthier.replies.reading import ReplyPart, Unreadable, read_answer, read_call

__all__ = ["EmbeddingBatcher", "SplitCall", "disbanded", "in_one_call", "parts_of", "together"]

MOST_TEXTS = 256
"""Services take 2,048. A larger call carries no more a second, and more of it is sent again when one is lost."""

FEWEST_TEXTS = 32
"""While requests are not what is scarce, a call is made smaller than this for no slot's sake."""

MOST_TOKENS = 100_000.0
"""OpenAI refuses calls of more than 300,000; the estimate before the first answer may be off by half."""

# As OpenAI, Azure, vLLM, text-embeddings-inference and gateways say that there were too many texts.
TOO_MANY = re.compile(
    r"batch.?size|too many (inputs|texts|items)|(number|maximum|max) .{0,24}(inputs|texts|items)|array too long|"
    r"at most \d+ (inputs|texts|items)"
)


class EmbeddingBatcher:
    """How many texts a lane puts into one call; learns what its service takes, for as long as the lane lives."""

    def __init__(self) -> None:
        self.most_texts = MOST_TEXTS

    def companions(self, flight: PendingRequest, limiter: Limiter, in_flight: int) -> tuple[PendingRequest, ...]:
        """Who could fly along with the first of a run's queue; they stay in the queue until they are taken."""
        waiting = flight.run.waiting
        texts = self.most_texts
        if limiter.requests is None:
            # Where only time is to be saved, the slots that are free share what waits.
            texts = min(texts, max(FEWEST_TEXTS, -(-len(waiting) // max(1, limiter.slots_left(in_flight)))))
        # More tokens than the bucket holds would wait for a full one, and may be refused as too large.
        room = MOST_TOKENS if limiter.tokens is None else min(MOST_TOKENS, limiter.tokens.burst)
        room -= flight.tokens
        settings = _settings(flight.request)
        found: list[PendingRequest] = []
        for other in islice(waiting, 1, texts):
            room -= other.tokens
            if room < 0 or other.request.operation != "embedding" or _settings(other.request) != settings:
                break
            found.append(other)
        return tuple(found)

    def learn(self, texts: int) -> None:
        """The service does not take more than this in one call."""
        self.most_texts = max(1, min(self.most_texts, texts))

    def parted(
        self, flight: PendingRequest, message: str
    ) -> Iterator[tuple[Sequence[PendingRequest], SplitCall | None]]:
        """The smaller calls to make of one that was refused."""
        members = disbanded(flight)
        half = -(-len(members) // 2)
        halves: SplitCall | None = None
        if TOO_MANY.search(message.lower()):
            self.learn(half)
            half = min(half, self.most_texts)
        else:
            halves = SplitCall(half)
        for begin in range(0, len(members), half):
            yield members[begin : begin + half], halves


@dataclass(slots=True)
class SplitCall:
    """A call refused without a cause that was understood. If both halves go well, it was its size.

    Attributes:
        texts: in the larger half.
        left: halves that have not gone well yet.
    """

    texts: int
    left: int = 2

    def went_well(self, bundles: EmbeddingBatcher) -> None:
        """One of them was answered."""
        self.left -= 1
        if not self.left:
            bundles.learn(self.texts)


def together(flights: Iterable[PendingRequest]) -> list[PendingRequest]:
    """One flight for each run among these, with the others of that run as its companions."""
    runs: dict[Call, list[PendingRequest]] = {}
    for flight in flights:
        runs.setdefault(flight.run, []).append(flight)
    for first, *others in runs.values():
        first.companions = tuple(others)
    return [members[0] for members in runs.values()]


def disbanded(flight: PendingRequest) -> tuple[PendingRequest, ...]:
    """All that flew together, each on its own again."""
    members = flight.members
    flight.companions, flight.halves = (), None
    return members


def in_one_call(flight: PendingRequest) -> Request:
    """What is sent: the request itself, or one call for the texts of all members."""
    request = flight.request
    if request.operation != "embedding":
        return request
    texts = [member.request.body.get("input") for member in flight.members]
    return Request("embedding", {**_settings(request), "input": texts, "encoding_format": "base64"})


def parts_of(flight: PendingRequest, body: bytes) -> Sequence[ReplyPart | Unreadable]:
    """What each member has from an answer of status 200, in their order.

    Raises:
        Unreadable: the answers cannot be told apart.
    """
    if flight.request.operation != "embedding":
        return (ReplyPart(read_answer(body, flight.request.operation), body),)
    return read_call(body, [member.units for member in flight.members])


def _settings(request: Request) -> Mapping[str, Any]:
    return {name: value for name, value in request.body.items() if name != "input"}
