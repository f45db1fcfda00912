"""What metrics and logs are told of a request that has been answered: no text, no key."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol

from luthier.serving.served_model import ScoringAnswer

__all__ = ["Observer", "ServedRequest"]


@dataclass(frozen=True, slots=True)
class ServedRequest:
    """A request and how it was answered.

    Attributes:
        request_id: as the header `X-Request-Id` has it.
        method: of HTTP.
        path: one that the server has; `other` for all the rest, so that a client cannot fill the metrics.
        status: of HTTP; 499 where the client went before it was answered.
        seconds: from the end of the request's headers to the end of the answer.
        key: label of the API key, `None` where none was needed or it was wrong.
        error_code: of the refusal.
        answer: the predictions and their counts; `None` where there are none.
    """

    request_id: str
    method: str
    path: str
    status: int
    seconds: float
    key: str | None = None
    error_code: str | None = None
    answer: ScoringAnswer | None = None


class Observer(Protocol):
    """Is told of every request, on the loop: it returns at once."""

    def began(self, path: str) -> None:
        """A request's headers have come."""
        ...

    def observed(self, request: ServedRequest) -> None:
        """It has been answered, or its client has gone; called once for each `began`."""
        ...
