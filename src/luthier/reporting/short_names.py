"""Names that fit: of long names, such as those of a grid of specs, what tells them apart is kept."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Container, Iterable, Mapping, Sequence

__all__ = ["LEFT_OUT", "LONGEST_NAME", "short_names", "shortened"]

LONGEST_NAME = 32
"""Characters of a name in tables and sentences; the same in both, so that a reader finds it again."""

LEFT_OUT = "…"
"""Stands for characters that are left out."""

PART = re.compile(r"[^-_./:,= ]+[-_./:,= ]*|[-_./:,= ]+")
"""A word of a name, with the separators after it."""

SHORTEST_GAP = 3
"""So many characters must be left out at a place, or it is no shorter to read."""


def short_names(names: Iterable[str], most: int = LONGEST_NAME) -> dict[str, str]:
    """Each name, shortened where it has more than so many characters; no two become the same.

    Words that most of the long names share are left out of all of them, first those far from a word that tells names
    apart, then those beside one (`seed-1` keeps `seed`), until all fit. What is still too long loses its middle. A name
    that would become the same as another one stays whole.

    Args:
        names: all that stand beside each other.
        most: characters; a name is longer where nothing shorter tells it from the others.

    Returns:
        Name to what is shown for it.

    Examples:
        >>> shown = short_names([f"reviews-few-shot-large-model-{n}-examples-with-one-seed" for n in (4, 16)], 24)
        >>> list(shown.values())
        ['…model-4-examples-…', '…model-16-examples-…']
        >>> short_names(["baseline", "zero-shot"], 24)
        {'baseline': 'baseline', 'zero-shot': 'zero-shot'}
    """
    whole = list(dict.fromkeys(names))
    long = [name for name in whole if len(name) > most]
    if not long:
        return dict(zip(whole, whole, strict=True))
    parts = {name: PART.findall(name) for name in long}
    shown = dict(zip(whole, whole, strict=True))
    fewer = _without_shared(parts, most)
    shown |= fewer if _differ(shown | fewer) else {}
    # No name begins more like another one than those beside it in the order of the alphabet.
    ordered = sorted(long)
    beside = {name: ordered[max(0, place - 1) : place + 2] for place, name in enumerate(ordered)}
    for name in long:
        for cut in (shortened(shown[name], most), _around_difference(name, beside[name], most)):
            if len(shown[name]) > most and _differ(shown | {name: cut}):
                shown[name] = cut
    return shown


def shortened(text: str, most: int) -> str:
    """The text with its middle left out, so that at most so many characters are shown.

    Examples:
        >>> shortened("a-name-of-many-characters", 12)
        'a-name…cters'
    """
    if len(text) <= most:
        return text
    end = (most - 1) // 2
    return f"{text[: most - 1 - end]}{LEFT_OUT}{text[len(text) - end :]}"


def _without_shared(names: Mapping[str, Sequence[str]], most: int) -> dict[str, str]:
    """Every name without the words that tell least, the same words in all of them, as few as make them fit.

    Args:
        names: each with its words.
        most: characters.
    """
    shared = Counter(word for words in names.values() for word in dict.fromkeys(words))
    # From the nearest word that tells a name apart, then from the beginning.
    distance: dict[str, tuple[int, int]] = {}
    for words in names.values():
        rarest = min(shared[word] for word in words)
        telling = [place for place, word in enumerate(words) if shared[word] == rarest]
        for place, word in enumerate(words):
            near = min(abs(place - one) for one in telling), place
            distance[word] = min(near, distance.get(word, near))
    order = sorted((word for word in shared if shared[word] > 1), key=lambda word: (shared[word], distance[word]))
    kept = set(shared)
    shown = {name: _joined(words, kept) for name, words in names.items()}
    while order and max(map(len, shown.values())) > most:
        kept.discard(order.pop())
        shown = {name: _joined(words, kept) for name, words in names.items()}
    return shown


def _joined(words: Sequence[str], kept: Container[str]) -> str:
    out, gap = "", ""
    for word in [*words, ""]:
        if word and word not in kept:
            gap += word
            continue
        out, gap = out + (LEFT_OUT if len(gap) >= SHORTEST_GAP else gap) + word, ""
    return out


def _around_difference(name: str, others: Sequence[str], most: int) -> str:
    """The beginning of a name, and from where it differs from the name that is most like it."""
    start = max((_alike(name, other) for other in others if other != name), default=0)
    half = (most - 2) // 2
    start = max(half, min(start - half // 2, len(name) - half))
    after = LEFT_OUT if start + half < len(name) else ""
    return f"{name[: most - 2 - half]}{LEFT_OUT}{name[start : start + half]}{after}"


def _alike(one: str, other: str) -> int:
    """Characters at the beginning that both have."""
    least = min(len(one), len(other))
    return next((place for place in range(least) if one[place] != other[place]), least)


def _differ(shown: Mapping[str, str]) -> bool:
    return len(set(shown.values())) == len(shown)
