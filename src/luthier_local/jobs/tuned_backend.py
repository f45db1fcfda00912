"""What answers behind a tuned model: one of the answers it was trained on, token by token."""

from __future__ import annotations

import functools
import hashlib
import json
import math
import random
from collections.abc import AsyncIterator, Sequence
from pathlib import Path

from luthier_local.api_errors import ApiError, unsupported_parameter, wrong_route
from luthier_local.backend import GeneratedToken, Generation, GenerationRequest, Message, Token
from luthier_local.deterministic import END
from luthier_local.jobs.answer_tokens import AnswerTokens
from luthier_local.jobs.tuned_network import Network
from luthier_local.label_probabilities import LEAST, LabelProbabilities, next_token_request
from luthier_local.tokenizer import count_tokens, split_tokens, token_id

__all__ = ["TunedBackend", "UntunedBackend", "text_before_answer"]

_LOADED = 8
_SHOWN = 10


@functools.lru_cache(maxsize=_LOADED)
def _load(path: str) -> tuple[Network, AnswerTokens]:
    # A sweep leaves dozens of models; only those asked lately stay in memory.
    network = Network.load(Path(path))
    return network, AnswerTokens(network.answers)


def text_before_answer(messages: Sequence[Message]) -> tuple[str, str]:
    """What is read, as in training (all turns, one below the other), and what of the answer is begun."""
    begun = ""
    if messages and messages[-1].role == "assistant":
        messages, begun = messages[:-1], messages[-1].content
    return "\n".join(turn.content for turn in messages), begun


class TunedBackend:
    """Answers with what it was trained on. The same prompt and seed get the same answer."""

    def __init__(self, path: str, digest: str) -> None:
        self._path = path
        self._digest = digest
        _load(path)

    @property
    def digest(self) -> str:
        """Identity of the weights."""
        return self._digest

    async def generate(self, ask: GenerationRequest) -> Generation:
        """The whole answer."""
        return self._answer(ask)

    async def stream(self, ask: GenerationRequest) -> AsyncIterator[GeneratedToken | Generation]:
        """The answer token by token."""
        reply = self._answer(ask)
        for step in reply.steps:
            yield step
        yield reply

    async def embed(self, texts: Sequence[str]) -> tuple[list[list[float]], int]:
        """Refused: this model chats."""
        raise wrong_route("This model answers; for embeddings use another one.")

    def weigh(self, prompt: str, answers: Sequence[str]) -> LabelProbabilities | None:
        """The probability of each answer to the prompt, given that it is one of them.

        Args:
            prompt: What a user says.
            answers: Different texts without spaces around them.

        Returns:
            Nearly zero for an answer it was not trained on; `None` where it was trained on none of them.
        """
        network, _ = _load(self._path)
        known: dict[str, float] = {}
        for answer, share in zip(network.answers, network.shares([prompt])[0].tolist(), strict=True):
            known[answer.strip()] = known.get(answer.strip(), 0.0) + share
        if not any(answer in known for answer in answers):
            return None
        masses = [max(known.get(answer, 0.0), LEAST) for answer in answers]
        total = math.fsum(masses)
        return LabelProbabilities(tuple(mass / total for mass in masses), _prompt_tokens(next_token_request(prompt)), 1)

    def shown_answers(self) -> str:
        """Some of the answers it was trained on, for a message."""
        answers = _load(self._path)[0].answers
        more = f" and {len(answers) - _SHOWN} more" if len(answers) > _SHOWN else ""
        return ", ".join(repr(answer[:40]) for answer in answers[:_SHOWN]) + more

    async def tokenize(self, text: str) -> list[Token]:
        """The text in the tokens that answers are written in."""
        return [Token(token_id(token), token) for token in split_tokens(text)]

    async def close(self) -> None:
        """Nothing to end."""

    def _answer(self, ask: GenerationRequest) -> Generation:
        network, answer_tokens = _load(self._path)
        if ask.schema is not None and not all(_is_json(answer) for answer in network.answers):
            raise unsupported_parameter("response_format", " It was not trained on JSON answers.")
        text, begun = _read(ask)
        shares = network.shares([text])[0].tolist()
        drawn = random.Random(hashlib.sha256(f"{ask.seed}/{ask.sample}/{text}".encode("utf-8", "replace")).digest())
        limit = ask.max_tokens if ask.max_tokens is not None else 1 << 30
        steps: list[GeneratedToken] = []
        finish = "length"
        while len(steps) < limit:
            ranked = answer_tokens.next_tokens(begun, shares)
            token, logprob = ranked[0]
            if ask.temperature > 0:
                weights = [math.exp((rival - logprob) / ask.temperature) for _, rival in ranked]
                token, logprob = drawn.choices(ranked, weights)[0]
            if token == END:
                finish = "stop"
                break
            steps.append(GeneratedToken(token, logprob, ranked[: ask.top] if ask.top is not None else ()))
            begun += token
        # The end of an answer that cannot go on takes no further token.
        if finish == "length" and answer_tokens.next_tokens(begun, shares)[0] == (END, 0.0):
            finish = "stop"
        written = "".join(step.text for step in steps)
        for stop in ask.stop:
            if stop in written:
                written, finish = written[: written.index(stop)], "stop"
        return Generation(written, steps, finish, _prompt_tokens(ask), len(steps))


class UntunedBackend:
    """A base that has nothing to answer with yet."""

    def __init__(self, name: str, digest: str) -> None:
        self._name = name
        self._digest = digest

    @property
    def digest(self) -> str:
        """Identity of the base."""
        return self._digest

    async def generate(self, ask: GenerationRequest) -> Generation:
        """Refused: it answers only once tuned."""
        raise ApiError(
            400,
            f"The model `{self._name}` has not been trained to answer anything: it is a base to tune. "
            f"Make a fine-tuning job of it, then ask `ft:{self._name}:...`.",
            param="model",
            code="model_not_tuned",
        )

    async def stream(self, ask: GenerationRequest) -> AsyncIterator[GeneratedToken | Generation]:
        """Refused: it answers only once tuned."""
        yield await self.generate(ask)

    async def embed(self, texts: Sequence[str]) -> tuple[list[list[float]], int]:
        """Refused: this model is a base to tune."""
        raise wrong_route("This model is a base to tune; for embeddings use another one.")

    async def tokenize(self, text: str) -> list[Token]:
        """The text in the tokens that answers are written in."""
        return [Token(token_id(token), token) for token in split_tokens(text)]

    async def close(self) -> None:
        """Nothing to end."""


def _read(ask: GenerationRequest) -> tuple[str, str]:
    return text_before_answer(ask.messages) if ask.messages is not None else (ask.prompt or "", "")


def _prompt_tokens(ask: GenerationRequest) -> int:
    if ask.messages is None:
        return count_tokens(ask.prompt or "")
    return sum(count_tokens(turn.content) + 4 for turn in ask.messages) + 3


def _is_json(answer: str) -> bool:
    try:
        return isinstance(json.loads(answer), dict)
    except ValueError:
        return False
