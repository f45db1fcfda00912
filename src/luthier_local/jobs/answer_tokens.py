"""Answers as tokens: from a probability per answer to the probability of each next token.

A token's probability is the share of the answers that continue with it, so the tokens of an answer (and its
end, where another answer goes on) multiply to the probability of the answer.
"""

from __future__ import annotations

import functools
import math
from collections.abc import Sequence

import numpy as np

from luthier_local.deterministic import END, next_tokens
from luthier_local.jobs.token_table import Floats, Integers
from luthier_local.tokenizer import split_tokens

__all__ = ["AnswerTokens"]


class AnswerTokens:
    """The answers a tuned model knows, as tokens."""

    def __init__(self, answers: Sequence[str]) -> None:
        self.answers = list(answers)
        self.tokens = [tuple(split_tokens(answer)) for answer in answers]
        self.lengths: Integers = np.array([len(tokens) for tokens in self.tokens], np.int64)
        """Tokens of each answer."""

    def next_tokens(self, begun: str, probabilities: Sequence[float]) -> list[tuple[str, float]]:
        """The next token after the text `begun`, best first: (token, log-probability), summing to one.

        Only the end is left where no answer starts with `begun`.
        """
        # Above zero: the logarithm is taken.
        scored = [(answer, math.log(max(p, 1e-30))) for answer, p in zip(self.answers, probabilities, strict=True)]
        return next_tokens(scored, begun, spaced=False, background=())

    @functools.cached_property
    def _branches(self) -> list[tuple[Floats, Integers]]:
        """The places at which answers differ in their next token.

        Per place: which answers continue with which token (tokens x answers, 0 or 1), and each answer's
        token there (-1: not at this place, -2: it ends here).
        """
        found = []
        waiting = [(list(range(len(self.answers))), 0)]
        while waiting:
            classes, depth = waiting.pop()
            groups: dict[str, list[int]] = {}
            for place in classes:
                tokens = self.tokens[place]
                groups.setdefault(tokens[depth] if depth < len(tokens) else END, []).append(place)
            if len(groups) > 1:
                member = np.zeros((len(groups), len(self.answers)), np.float32)
                group_of = np.full(len(self.answers), -1, np.int64)
                for number, (token, places) in enumerate(groups.items()):
                    member[number, places] = 1
                    group_of[places] = -2 if token == END else number
                found.append((member, group_of))
            waiting += [(places, depth + 1) for token, places in groups.items() if token != END]
        return found

    def hits(self, shares: Floats, right: Integers) -> int:
        """Counts the tokens of the right answers that would be predicted, each after the right ones before it.

        Args:
            shares: Probability of each answer, one row per example.
            right: Which answer is right.
        """
        hits = int(self.lengths[right].sum())
        for member, group_of in self._branches:
            groups = group_of[right]
            here = groups >= 0
            if here.any():
                best = (shares[here] @ member.T).argmax(axis=1)
                hits -= int((best != groups[here]).sum())
        return hits
