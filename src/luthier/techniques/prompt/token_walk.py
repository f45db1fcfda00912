"""Label probabilities from next-token log-probabilities, also for labels of several tokens.

No tokenizer is needed, because the walk goes by text. A node is the beginning of an answer; each returned token that
continues some label leads to a longer node. The probability of a node that continues in one label only goes to that
label; for any other node the next tokens are asked for. Several tokenizations of a label add up, and so do "4" and
" 4", "Good" and "good".
"""

from __future__ import annotations

import math
import sys
from collections.abc import Generator, Sequence
from dataclasses import dataclass
from typing import TypeAlias

from luthier.providers.exchange import TokenChoices

__all__ = ["NEGLIGIBLE", "WalkScores", "apart_at_once", "fold", "most_follow_ups", "most_of_unreturned", "walk"]

NEGLIGIBLE = 1e-3
"""A node with less than this share of the labels' probability is not followed.

Otherwise nearly every row would pay for a second request, about a newline or half a word far down among the likeliest
tokens.
"""

LEAST = 1e-12
"""Least probability that an answer ends where longer labels take all of it; keeps logarithms finite."""


ROUNDING = 1e-6
"""Tolerance for the sum of returned probabilities, as services round log-probabilities."""


@dataclass(frozen=True, slots=True)
class WalkScores:
    """The result of a walk."""

    logprobs: tuple[float, ...]
    """Natural log-probability per label, among the labels only: the probabilities sum to 1."""
    censored: bool
    """Whether a label was not among the returned tokens, so that it has the most it can have."""

    @property
    def probabilities(self) -> tuple[float, ...]:
        """One probability per label, summing to 1."""
        return tuple(math.exp(value) for value in self.logprobs)


Walk: TypeAlias = Generator[list[str], Sequence[TokenChoices], WalkScores | None]
"""Yields texts whose next tokens it needs; is sent the tokens in order."""


def fold(text: str) -> str:
    """Lower case, letter for letter: unlike `str.lower` it never changes the length.

    Examples:
        >>> fold("Good"), len(fold("İ"))
        ('good', 1)
    """
    return "".join(low if len(low := letter.lower()) == 1 else letter for letter in text)


def apart_at_once(words: Sequence[str]) -> bool:
    """Whether the words differ in their first character.

    Examples:
        >>> apart_at_once(["good", "bad"]), apart_at_once(["1", "10"])
        (True, False)
    """
    return len({fold(word)[:1] for word in words}) == len(words)


def most_follow_ups(words: Sequence[str]) -> int:
    """The most texts that a walk asks for after the first.

    Each beginning that several words share may be asked for with and without a space before it, and the space alone.
    Of more spellings, the likeliest are asked for. Beginnings are counted in bytes, as some tokens are part of a
    character.

    Examples:
        >>> most_follow_ups(["1", "2", "3"]), most_follow_ups(["1", "10", "2"]), most_follow_ups(["good", "great"])
        (1, 3, 3)
    """
    spelled = [fold(word).encode("utf-8", "surrogatepass") for word in words]
    begun = {word[:end] for word in spelled for end in range(1, len(word) + 1)}
    shared = sum(sum(word.startswith(start) for word in spelled) > 1 for start in begun)
    return 2 * shared + 1


def walk(words: Sequence[str], *, follow: bool = True, negligible: float = NEGLIGIBLE) -> Walk:
    """Walks over the answers a model may give and returns the probability of each word.

    Args:
        words: the answers, in the order of the labels.
        follow: whether to ask beyond the first token.
        negligible: see `NEGLIGIBLE`; 0 follows every node.

    Returns:
        The scores; `None` if no returned token begins any of the words.

    Examples:
        >>> steps = walk(["1", "10", "2"])
        >>> next(steps)
        ['']
        >>> steps.send([((" 1", math.log(0.6)), (" 2", math.log(0.3)), ("!", math.log(0.1)))])
        [' 1']
        >>> try:
        ...     steps.send([(("0", math.log(0.25)), ("\\n", math.log(0.75)))])
        ... except StopIteration as end:
        ...     [round(p, 3) for p in end.value.probabilities]
        [0.5, 0.167, 0.333]
    """
    trie = _Trie(words)
    known: dict[str, TokenChoices] = {}
    waiting = {"": 1.0}
    left = most_follow_ups(words) if negligible else sys.maxsize
    while waiting:
        if known and not follow:
            break
        if known:
            left -= trie.leave_negligible(waiting, known, negligible, left)
        unknown = [text for text in waiting if text not in known]
        if unknown:
            known.update(zip(unknown, (yield unknown), strict=True))
        moved: dict[str, float] = {}
        for text, mass in waiting.items():
            trie.spread(text, mass, known[text], moved)
        waiting = moved
    return trie.scores()


def most_of_unreturned(choices: TokenChoices) -> float:
    """The largest probability that a token can have that was not returned.

    At most that of the least likely returned token, and at most what the returned ones leave over: otherwise a service
    that returns few tokens would make the labels it left out as likely as its first choice.

    Examples:
        >>> round(most_of_unreturned((("a", math.log(0.5)), ("b", math.log(0.01)))), 3)
        0.01
        >>> round(most_of_unreturned((("a", math.log(0.9)),)), 3)
        0.1
    """
    shares = [math.exp(logprob) for _, logprob in choices]
    return min(min(shares), max(1.0 - math.fsum(shares), 0.0) + ROUNDING)


class _Trie:
    def __init__(self, words: Sequence[str]) -> None:
        folded = [fold(word) for word in words]
        # Words that differ by case only can be told apart by case only.
        self._fold = fold if len(set(folded)) == len(folded) else str
        self._words = folded if self._fold is fold else list(words)
        self._seen = [0.0] * len(words)
        self._shared = [0.0] * len(words)
        self._bound = [0.0] * len(words)

    def spread(self, text: str, mass: float, choices: TokenChoices, moved: dict[str, float]) -> None:
        """Moves the probability of a node along its tokens: to labels, or to longer texts in `moved`."""
        body = self._fold(text.lstrip())
        here = self._following(body)
        whole = next((i for i in here if self._words[i] == body), None)
        if not choices:
            # No tokens: some services return none where the answer ends.
            if whole is not None:
                self._seen[whole] += mass
            else:
                self._share(here, mass)
            return
        found: set[int] = set()
        longer = 0.0
        for token, logprob in choices:
            p = math.exp(logprob)
            if not body and token.isspace():
                # A space leads to the answer; a new line leads away from it.
                if not text and "\n" not in token:
                    moved[token] = moved.get(token, 0.0) + mass * p
                continue
            if text and not body and token[:1].isspace():
                continue
            begun = body + self._fold(token if body else token.lstrip())
            ahead = [i for i in here if self._words[i].startswith(begun)] if begun != body else []
            if not ahead:
                ended = begun.rstrip()
                ahead = [i for i in here if self._words[i] == ended and ended != body]
            if not ahead:
                continue
            found.update(ahead)
            longer += p
            if len(ahead) == 1:
                self._seen[ahead[0]] += mass * p
            else:
                moved[text + token] = moved.get(text + token, 0.0) + mass * p
        if whole is not None:
            self._seen[whole] += mass * max(1.0 - longer, LEAST)
            found.add(whole)
        bound = mass * most_of_unreturned(choices)
        for i in here:
            if i not in found:
                self._bound[i] += bound

    def leave_negligible(
        self, waiting: dict[str, float], known: dict[str, TokenChoices], negligible: float, most: int
    ) -> int:
        """Divides the probability of negligible texts among their labels; returns how many texts are asked."""
        total = sum(self._seen) + sum(waiting.values())
        unknown = sorted((text for text in waiting if text not in known), key=lambda text: -waiting[text])
        asked = [text for text in unknown if waiting[text] >= negligible * total][:most]
        for text in unknown:
            if text not in asked:
                self._share(self._following(self._fold(text.lstrip())), waiting.pop(text))
        return len(asked)

    def scores(self) -> WalkScores | None:
        """Log-probabilities among the labels; `None` if no label was seen."""
        if not any(self._seen):
            return None
        masses = []
        for seen, shared, bound in zip(self._seen, self._shared, self._bound, strict=True):
            masses.append(max(seen + shared if seen else shared + bound, LEAST**2))
        normal = math.log(math.fsum(masses))
        return WalkScores(tuple(math.log(mass) - normal for mass in masses), not all(self._seen))

    def _following(self, body: str) -> list[int]:
        return [i for i, word in enumerate(self._words) if word.startswith(body)]

    def _share(self, labels: Sequence[int], mass: float) -> None:
        for i in labels:
            self._shared[i] += mass / len(labels)
