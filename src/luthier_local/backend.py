"""The interface between the protocol and a model: one request in, one generation out."""

from __future__ import annotations

from collections.abc import AsyncIterator, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

from luthier_local.api_errors import wrong_route
from luthier_local.tokenizer import count_tokens, split_tokens, token_id

__all__ = ["GenerationRequest", "Backend", "Message", "Generation", "GeneratedToken", "Token"]


class Message(NamedTuple):
    """One turn of a chat."""

    role: str
    content: str


class Token(NamedTuple):
    """A token of the backend's tokenizer: its id and its text."""

    id: int
    text: str


class GeneratedToken(NamedTuple):
    """One generated token, its log-probability, and the most probable tokens at its place, best first."""

    text: str
    logprob: float
    top: Sequence[tuple[str, float]]


@dataclass(frozen=True, slots=True)
class GenerationRequest:
    """The request for one answer. Exactly one of `prompt` and `messages` is given."""

    prompt: str | None = None
    messages: tuple[Message, ...] | None = None
    max_tokens: int | None = None
    temperature: float = 1.0
    seed: int | None = None
    stop: tuple[str, ...] = ()
    top: int | None = None
    """How many of the most probable tokens are wanted per place; `None`: no log-probabilities."""
    schema: dict[str, Any] | None = None
    """JSON schema the answer must satisfy; `{}`: any JSON object."""
    sample: int = 0
    """Which of the `n` answers this is."""
    reasoning: bool = False

    @property
    def prompt_tokens(self) -> int:
        """Tokens of the prompt for a backend without a tokenizer of its own; a turn takes four more."""
        if self.messages is None:
            return count_tokens(self.prompt or "")
        return sum(count_tokens(turn.content) + 4 for turn in self.messages) + 3


@dataclass(frozen=True, slots=True)
class Generation:
    """A generated answer."""

    text: str
    steps: Sequence[GeneratedToken]
    finish: str
    """`stop` or `length`."""
    prompt_tokens: int
    completion_tokens: int
    reasoning_tokens: int = 0
    cached_tokens: int = 0


class Backend:
    """What answers for a model card. A request that a subclass does not implement is refused.

    Args:
        digest: Identity of the weights.
    """

    def __init__(self, digest: str) -> None:
        self.digest = digest

    async def generate(self, request: GenerationRequest) -> Generation:
        """The whole answer."""
        raise wrong_route("This model only embeds; use v1/embeddings.")

    async def stream(self, request: GenerationRequest) -> AsyncIterator[GeneratedToken | Generation]:
        """The answer token by token; the last item is the whole of it."""
        generation = await self.generate(request)
        for token in generation.steps:
            yield token
        yield generation

    async def embed(self, texts: Sequence[str]) -> tuple[list[list[float]], int]:
        """One vector per text, and the tokens they took."""
        raise wrong_route("You are not allowed to generate embeddings from this model", 403)

    async def tokenize(self, text: str) -> list[Token]:
        """The tokens of a text; joined, they give the text again where the tokenizer allows it."""
        return [Token(token_id(token), token) for token in split_tokens(text)]

    async def close(self) -> None:
        """Ends what the backend started."""
