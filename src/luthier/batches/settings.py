"""What a service takes at a time, and how patient Luthier is with it."""

from __future__ import annotations

from dataclasses import dataclass

from luthier.replies.late_listing import LISTED_SECONDS

__all__ = ["BatchSettings"]


@dataclass(frozen=True, slots=True, kw_only=True)
class BatchSettings:
    """Sizes of batches and times between looks.

    Attributes:
        most_lines: requests in one batch; OpenAI takes 50,000, Azure 100,000.
        most_bytes: size of a batch's file; both take 200 MB.
        enqueued_tokens: input tokens that may wait at the service for one model; where absent, what the service says
            when it refuses a batch is obeyed.
        most_attempts: batches that a request may be in before it is left without an answer for now.
        poll_seconds: between two looks at the batches that run; the first looks come sooner.
        settle_seconds: how long after an order without an answer its batch may still turn up in the service's list.
    """

    most_lines: int = 50_000
    most_bytes: int = 200_000_000
    enqueued_tokens: int | None = None
    most_attempts: int = 3
    poll_seconds: float = 30.0
    settle_seconds: float = LISTED_SECONDS
