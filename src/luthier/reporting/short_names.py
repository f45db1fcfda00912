"""Names that fit: of long names, such as those of a grid of specs, what tells them apart is kept."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Container, Iterable, Mapping, Sequence

__all__ = ["LEFT_OUT", "short_names", "shortened"]

LEFT_OUT = "…"
"""Stands for characters that are left out."""

PART = re.compile(r"[^-_./:,= ]+[-_./:,= ]*|[-_./:,= ]+")
"""A word of a name, with the separators after it."""

SHORTEST_GAP = 3
"""So many characters must be left out at a place, or it is no shorter to read."""


def short_names(names: Iterable[str], most: int) -> dict[str, str]:
    """Each name, shortened where it has more than so many characters; no two become the same.

    Words that the most of the long names share are left out first, those far from a word that tells names apart before
    those beside one (`seed-1` keeps `seed`), until the name fits. What is still too long loses its middle. A name that
    would become the same as another one stays whole.

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
    shared = Counter(part for found in parts.values() for part in set(found))
    shown = dict(zip(whole, whole, strict=True))
    fewer = {name: _fitting(found, [shared[part] for part in found], most) for name, found in parts.items()}
    shown |= fewer if _differ(shown | fewer) else {}
    for name in long:
        for cut in (shortened(shown[name], most), _around_difference(name, long, most)):
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


def _fitting(parts: Sequence[str], shared: Sequence[int], most: int) -> str:
    """The name without the words that tell least, as many as make it fit.

    Args:
        parts: its words.
        shared: how many names have each.
        most: characters.
    """
    telling = [place for place, count in enumerate(shared) if count == min(shared)]
    order = sorted(
        (place for place in range(len(parts)) if shared[place] > 1),
        key=lambda place: (shared[place], min(abs(place - one) for one in telling)),
    )
    kept = set(range(len(parts)))
    while order and len(_joined(parts, kept)) > most:
        kept.discard(order.pop())
    return _joined(parts, kept)


def _joined(parts: Sequence[str], kept: Container[int]) -> str:
    out, gap = "", ""
    for place, part in enumerate([*parts, ""]):
        if part and place not in kept:
            gap += part
            continue
        out, gap = out + (LEFT_OUT if len(gap) >= SHORTEST_GAP else gap) + part, ""
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
