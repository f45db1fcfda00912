"""A backend without weights: its answers are a fixed function of the prompt, for tests and demos.

Possible answers (whole phrases) get a log-probability from how the row sounds, and a token's
probability is the share of the phrases that continue with it. So the probability of a label of
several tokens is the same whether it is read at once or walked token by token.
"""

from __future__ import annotations

import hashlib
import math
import random
import re
from collections.abc import Callable, Sequence

from luthier_local.backend import Backend, GeneratedToken, Generation, GenerationRequest
from luthier_local.json_answers import Piece, write_json
from luthier_local.lexicon import BACKGROUND
from luthier_local.prompt_reading import PromptReading, polarity, read_chat, read_prompt
from luthier_local.tokenizer import count_tokens, split_tokens, token_id

__all__ = ["END", "DeterministicBackend"]

END = "<|end|>"
"""Text of the token that ends an answer, seen among the rivals only."""

_DIMENSIONS = 64
_BACKGROUND_SHARE = 0.02
_WORD = re.compile(r"[^\W\d_]+")


class DeterministicBackend(Backend):
    """Answers at once, the same for the same prompt, seed and salt."""

    def __init__(self, digest: str, salt: str = "") -> None:
        super().__init__(digest)
        self._salt = salt

    async def embed(self, texts: Sequence[str]) -> tuple[list[list[float]], int]:
        """Hashed bags of words of 64 numbers, of which one is the text's polarity."""
        return [_embed(text, self._salt) for text in texts], sum(count_tokens(text) for text in texts)

    async def generate(self, request: GenerationRequest) -> Generation:
        """The whole answer, at once."""
        if request.messages is not None:
            reading = read_chat(request.messages, self._salt)
        else:
            reading = read_prompt(request.prompt or "", self._salt)
        limit = request.max_tokens if request.max_tokens is not None else 1 << 30
        hidden = min(limit, 32 + reading.noise[1] % 32) if request.reasoning else 0
        pick = _picker(request, reading)
        if request.schema is not None:
            pieces = write_json(request.schema, reading, pick)
            steps, finish = _spell(pieces, limit - hidden, pick)
        else:
            steps, finish = _speak(reading, limit - hidden, pick, request.stop)
        text = "".join(step.text for step in steps)
        for stop in request.stop:
            if stop and stop in text:
                text, finish = text[: text.index(stop)], "stop"
        steps = [step._replace(top=step.top[: request.top or 0]) for step in steps]
        return Generation(text, steps, finish, request.prompt_tokens, len(steps) + hidden, hidden)


Distribution = list[tuple[str, float]]
Pick = Callable[[Distribution], int]


def _picker(request: GenerationRequest, reading: PromptReading) -> Pick:
    if request.temperature <= 0:
        return lambda distribution: 0
    seeded = random.Random(reading.noise + f"{request.seed}/{request.sample}".encode())
    warmth = request.temperature

    def pick(distribution: Distribution) -> int:
        weights = [math.exp((logprob - distribution[0][1]) / warmth) for _, logprob in distribution]
        return seeded.choices(range(len(weights)), weights)[0]

    return pick


def _speak(reading: PromptReading, limit: int, pick: Pick, stops: Sequence[str]) -> tuple[list[GeneratedToken], str]:
    begun, spaced = reading.begun, reading.spaced
    steps: list[GeneratedToken] = []
    while len(steps) < limit:
        distribution = next_tokens(reading.answers, begun, spaced)
        chosen = pick(distribution)
        token, logprob = distribution[chosen]
        if token == END:
            return steps, "stop"
        steps.append(GeneratedToken(token, logprob, distribution))
        begun += token if begun else token.lstrip(" ")
        if stops and any(stop and stop in "".join(step.text for step in steps) for stop in stops):
            return steps, "stop"
        if len(steps) >= 64:
            return steps, "stop"
    return steps, "length"


def next_tokens(
    answers: Sequence[tuple[str, float]], begun: str, spaced: bool, background: Sequence[str] = BACKGROUND
) -> Distribution:
    """The next token's distribution, best first: (token, log-probability), summing to one.

    Args:
        answers: Possible answers with their unnormalised log-probabilities.
        begun: What of the answer is written already; nothing but the end is left where no answer begins so.
        spaced: Whether the first token of an answer starts with a space.
        background: Tokens that share a little probability everywhere.
    """
    # A prompt may end with the space that the next token would bring along.
    bare = begun.rstrip(" ")
    gap = len(begun) > len(bare)
    matching = [(answer, logit) for answer, logit in answers if answer.startswith(bare)] if bare else answers
    if gap:
        matching = [(answer, logit) for answer, logit in matching if answer[len(bare) :][:1] == " "]
    shares: dict[str, float] = {}
    total = 0.0
    if matching:
        top = max(logit for _, logit in matching)
        for answer, logit in matching:
            weight = math.exp(logit - top)
            token = _continue(answer, begun, spaced)
            shares[token] = shares.get(token, 0.0) + weight
            total += weight
    else:
        shares[END] = total = 1.0
    odd = total * _BACKGROUND_SHARE / max(1, len(background))
    for rank, token in enumerate(background):
        shares[token] = shares.get(token, 0.0) + odd * 2 / (1 + rank)
        total += odd * 2 / (1 + rank)
    normal = math.log(total)
    ranked = [(token, math.log(share) - normal) for token, share in shares.items() if share > 0]
    ranked.sort(key=lambda found: (-found[1], found[0]))
    return ranked


def _continue(answer: str, begun: str, spaced: bool) -> str:
    if not begun:
        # Most answers are one short word: a token, found without a search.
        first = answer if len(answer) <= 6 and answer.isalpha() else split_tokens(answer)[0]
        return " " + first if spaced else first
    if answer == begun:
        return END
    at = 0
    for token in split_tokens(answer):
        if at + len(token) > len(begun):
            return token[max(0, len(begun) - at) :]
        at += len(token)
    return END


def _spell(pieces: Sequence[Piece], limit: int, pick: Pick) -> tuple[list[GeneratedToken], str]:
    steps: list[GeneratedToken] = []
    for text, rivals in pieces:
        written = ""
        for token in split_tokens(text):
            if len(steps) >= limit:
                return steps, "length"
            if rivals:
                distribution = next_tokens(rivals, written, spaced=False)
                found = next((p for t, p in distribution if t == token), -9.0)
            else:
                distribution = next_tokens(((text, 0.0),), written, spaced=False)
                found = distribution[0][1]
            steps.append(GeneratedToken(token, found, distribution))
            written += token
    return steps, "length" if len(steps) >= limit else "stop"


def _embed(text: str, salt: str) -> list[float]:
    vector = [0.0] * _DIMENSIONS
    for word in _WORD.findall(text.lower()[:20_000]) or list(text[:1000]):
        place = token_id(salt + word)
        vector[1 + place % (_DIMENSIONS - 1)] += 1.0 if place & 0x40000000 else -1.0
    vector[0] = 2 * polarity(text) + 0.01
    for i, byte in enumerate(hashlib.blake2b(text.encode("utf-8", "surrogatepass"), digest_size=32).digest()):
        vector[1 + i] += (byte - 127.5) / 4000
    norm = math.sqrt(sum(value * value for value in vector))
    return [value / norm for value in vector]
