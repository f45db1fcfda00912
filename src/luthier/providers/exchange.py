"""A request to a model and its answer, as plain records."""

from __future__ import annotations

from collections.abc import Generator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Literal, Self, TypeAlias, TypeVar

from luthier.providers.endpoint import Endpoint

if TYPE_CHECKING:
    import numpy as np
    import numpy.typing as npt

__all__ = ["Answer", "Conversation", "FailureKind", "Operation", "Request", "TokenChoices", "Usage", "ProgressEvent"]

Operation = Literal["chat", "completion", "embedding", "decision"]

FailureKind = Literal[
    "rate_limit",  # told to slow down: tried again, and again on the next run
    "transient",  # timeout, broken connection, 5xx, unreadable body: likewise
    "permanent",  # this request can never work as it is (400, 404, too long)
    "content",  # the service will not process this text
    "quota",  # the account has nothing left: stops the call
    "access",  # the key or its rights: stops the call
    "stopped",  # never sent: budget reached or interrupted
]


@dataclass(frozen=True, slots=True)
class Request:
    """One request in the OpenAI protocol, without what belongs to the endpoint.

    Attributes:
        operation: which call of the protocol.
        body: its body without `model`; plain JSON values. `max_tokens` is spelled so here and
            renamed for services that want `max_completion_tokens`. An embedding asks about ONE text
            (`{"input": text}`, with `dimensions` where the model takes them); the engine sends many in a call.
        endpoint: the one to ask, where it is not that of the whole conversation.
    """

    operation: Operation
    body: Mapping[str, Any]
    endpoint: Endpoint | None = None


@dataclass(frozen=True, slots=True)
class Usage:
    """Tokens as the service counted them, or as they were guessed where it did not.

    Attributes:
        input_tokens: of the question.
        output_tokens: of the answer, thoughts included.
        cached_input_tokens: those of the question that the service had cached.
        estimated: whether a count is a guess, because the service gave none.
    """

    input_tokens: int = 0
    output_tokens: int = 0
    cached_input_tokens: int = 0
    estimated: bool = False

    def __add__(self, other: Usage) -> Usage:
        """The sum of both."""
        return Usage(
            self.input_tokens + other.input_tokens,
            self.output_tokens + other.output_tokens,
            self.cached_input_tokens + other.cached_input_tokens,
            self.estimated or other.estimated,
        )


TokenChoices = tuple[tuple[str, float], ...]
"""The likeliest tokens at one position: (text, natural log-probability), likeliest first."""


@dataclass(frozen=True, slots=True)
class Answer:
    """What came back for one request; `failure` is `None` when there is an answer to read.

    Attributes:
        text: what the model wrote; for chat without content the empty string.
        refusal: the model's own words of refusal, if it refused.
        finish_reason: `length` for an answer that was cut and `content_filter` for one that was withheld, however the
            service spells them; else as the service says.
        choices: the likeliest tokens per generated position, empty when log-probabilities were
            not asked for or not given. A service's sentinel for minus infinity (-9999) is left out.
        embedding: the vector of an embedding, as little-endian 32-bit floats; see `vector`.
        decided: of a decision, (label, probability) in the order the service gives them; a predicate's are
            `true` and `false`.
        usage: tokens.
        cost_usd: price of the original call; `None` when the price is unknown.
        latency_seconds: of the original call that succeeded.
        model: what the service says it was.
        from_journal: whether this was paid for earlier.
        failure: why there is no answer.
        status: HTTP status of the last attempt, `None` if there was none.
        error: the service's message, without keys.
    """

    text: str = ""
    refusal: str | None = None
    finish_reason: str | None = None
    choices: tuple[TokenChoices, ...] = ()
    embedding: bytes = b""
    decided: tuple[tuple[str, float], ...] = ()
    usage: Usage = field(default_factory=Usage)
    cost_usd: float | None = None
    latency_seconds: float | None = None
    model: str | None = None
    from_journal: bool = False
    failure: FailureKind | None = None
    status: int | None = None
    error: str | None = None

    @property
    def vector(self) -> npt.NDArray[np.float32]:
        """The embedding as an array of shape (dimensions,); empty for other operations."""
        import numpy as np

        return np.frombuffer(self.embedding, dtype="<f4")


class ProgressEvent(tuple[Request, ...]):
    """A round without requests: a technique reports on work of its own, for the progress display.

    Args:
        what: the work, in a word or two, as in `AutoML`.
        done: how much is done, in the unit of `total`.
        total: how much there is; `None` when that is not known.
        said: the latest result, in a few words.
    """

    what: str
    done: float
    total: float | None
    said: str

    def __new__(cls, what: str, done: float, total: float | None = None, said: str = "") -> Self:
        """An empty round with these facts."""
        event = super().__new__(cls)
        event.what, event.done, event.total, event.said = what, done, total, said
        return event


Result = TypeVar("Result")
Conversation: TypeAlias = Generator[Sequence[Request], Sequence[Answer], Result]
"""A technique without I/O: a generator that yields requests, is sent their answers in order, and returns a result."""
