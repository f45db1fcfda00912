"""Probabilities of given answers: a walk over a model's next-token log-probabilities.

A node is the text of an answer so far. Each likely next token that some answer can continue with leads
to a longer text; a text that only one answer can follow gives its share to that answer, any other is
asked for its next tokens. So answers of one token and of many are weighed by the same rule, and no
tokenizer has to agree on where a word is cut.
"""

from __future__ import annotations

import asyncio
import math
from collections.abc import Sequence
from dataclasses import dataclass

from luthier_local.backend import Backend, GenerationRequest, Message

__all__ = ["LEAST", "LabelProbabilities", "next_token_request", "label_probabilities"]

TOP = 500
"""Most probable tokens read per node; an answer beyond them gets at most the probability of the last."""

NEGLIGIBLE = 1e-3
"""A node with less than this share of the answers' probability is divided evenly, not followed."""

LONE_SPACE = 0.05
"""A space that stands alone is followed only if it has this share, as before digits in many vocabularies;
else every question would be read twice for nothing."""

LEAST = 1e-12
"""Probability of an answer that no token led to, so that none is exactly zero."""


@dataclass(frozen=True, slots=True)
class LabelProbabilities:
    """The answers' probabilities, which sum to 1, and what they cost."""

    probabilities: tuple[float, ...]
    prompt_tokens: int
    """Tokens of the prompt, counted once."""


def next_token_request(prompt: str, said: str = "") -> GenerationRequest:
    """The request at a node: the prompt as a user's turn, and the answer's text so far as an assistant's turn."""
    turns = [Message("user", prompt)]
    if said:
        turns.append(Message("assistant", said))
    return GenerationRequest(messages=tuple(turns), max_tokens=1, temperature=0, top=TOP)


async def label_probabilities(backend: Backend, prompt: str, answers: Sequence[str]) -> LabelProbabilities:
    """The probability of each answer to the prompt, given that it is one of them.

    Args:
        backend: the model.
        prompt: what a user says.
        answers: different texts, none blank, none with spaces around it.
    """
    walk = _Walk(answers)
    waiting = {"": 1.0}
    prompt_tokens = 0
    while waiting:
        replies = await asyncio.gather(*(backend.generate(next_token_request(prompt, said)) for said in waiting))
        prompt_tokens = prompt_tokens or replies[0].prompt_tokens
        moved: dict[str, float] = {}
        for (said, mass), reply in zip(waiting.items(), replies, strict=True):
            walk.spread(said, mass, reply.steps[0].top if reply.steps else (), moved)
        waiting = walk.without_negligible(moved)
    return LabelProbabilities(walk.probabilities(), prompt_tokens)


class _Walk:
    def __init__(self, answers: Sequence[str]) -> None:
        self._answers = answers
        self._seen = [0.0] * len(answers)
        self._bound = [0.0] * len(answers)

    def spread(self, said: str, mass: float, rivals: Sequence[tuple[str, float]], moved: dict[str, float]) -> None:
        """Moves the share of a node along its tokens: to answers, or to longer texts in `moved`."""
        begun = said.lstrip(" ")
        here = [i for i, answer in enumerate(self._answers) if answer.startswith(begun)]
        whole = next((i for i in here if self._answers[i] == begun), None)
        if not rivals:
            # The model ends its answer here.
            self._divide([whole] if whole is not None else here, mass)
            return
        found: set[int] = set()
        beyond = 0.0
        for token, logprob in rivals:
            p = math.exp(logprob)
            if not begun and token.isspace():
                # A single space precedes the answer; wider whitespace leads away from it.
                if not said and token == " ":
                    moved[token] = mass * p
                continue
            if said and not begun and token[:1] == " ":
                continue
            longer = begun + (token if begun else token.lstrip(" "))
            ahead = [i for i in here if self._answers[i].startswith(longer)] if longer != begun else []
            if not ahead and begun != longer.rstrip():
                ahead = [i for i in here if self._answers[i] == longer.rstrip()]
            if not ahead:
                continue
            found.update(ahead)
            beyond += p
            if len(ahead) == 1:
                self._seen[ahead[0]] += mass * p
            else:
                moved[said + token] = moved.get(said + token, 0.0) + mass * p
        if whole is not None:
            self._seen[whole] += mass * max(1.0 - beyond, 0.0)
            found.add(whole)
        shares = [math.exp(logprob) for _, logprob in rivals]
        most = min(min(shares), max(1.0 - math.fsum(shares), 0.0))
        for i in here:
            if i not in found:
                self._bound[i] += mass * most

    def without_negligible(self, moved: dict[str, float]) -> dict[str, float]:
        """The texts to follow further; the share of each other one is divided evenly among its possible answers."""
        total = math.fsum(self._seen) + math.fsum(moved.values())
        worth = {}
        for said, mass in moved.items():
            if mass >= (LONE_SPACE if said == " " else NEGLIGIBLE) * total:
                worth[said] = mass
            elif said != " ":
                begun = said.lstrip(" ")
                self._divide([i for i, answer in enumerate(self._answers) if answer.startswith(begun)], mass)
        return worth

    def probabilities(self) -> tuple[float, ...]:
        """The answers' probabilities, which sum to one."""
        masses = [max(seen or bound, LEAST) for seen, bound in zip(self._seen, self._bound, strict=True)]
        total = math.fsum(masses)
        return tuple(mass / total for mass in masses)

    def _divide(self, among: Sequence[int], mass: float) -> None:
        for i in among:
            self._seen[i] += mass / len(among)
