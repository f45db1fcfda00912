"""Names that may have been meant: the one place where names are compared by likeness."""

from __future__ import annotations

import re
from collections.abc import Iterable
from difflib import get_close_matches

from luthier.model_names.parsing import parse_model_name

__all__ = ["near_names"]

LEAST_LIKENESS = 0.6
"""Share of common letters, as difflib counts them."""

FEWEST_LETTERS = 4
"""Shorter names are in too many others."""

MARKS = re.compile(r"[^a-z0-9]+")


def near_names(name: str, known: Iterable[str], most: int = 3) -> list[str]:
    """Known names like a name that is not known, the likest first. A guess, to ask "did you mean".

    Another name of the same model comes first, then names that begin so or have it in them, then those of like letters;
    each model is named once.

    Args:
        name: what was written.
        known: what could have been.
        most: how many at most.

    Examples:
        >>> near_names("gpt4.1mini", ["gpt-4.1", "gpt-4.1-mini", "o3", "claude-sonnet-5"])
        ['gpt-4.1-mini', 'gpt-4.1']
        >>> near_names("gpt-35-turbo", ["gpt-4-turbo", "gpt-3.5-turbo"], most=1)
        ['gpt-3.5-turbo']
    """
    wanted, letters = parse_model_name(name).key, _letters(name)
    by_letters: dict[str, list[str]] = {}
    for one in known:
        by_letters.setdefault(_letters(one), []).append(one)
    same = [one for names in by_letters.values() for one in names if parse_model_name(one).key == wanted]
    longer = sorted((one for one in by_letters if letters in one), key=len) if len(letters) >= FEWEST_LETTERS else []
    like = get_close_matches(letters, by_letters, 3 * max(1, most), LEAST_LIKENESS)
    found: dict[str, str] = {}
    for one in (*same, *(one for each in (*longer, *like) for one in by_letters[each])):
        if one != name:
            found.setdefault(parse_model_name(one).key, one)
    return list(found.values())[:most]


def _letters(name: str) -> str:
    """A name without the marks and the folders that people leave out."""
    return MARKS.sub("", name.rpartition("/")[2].lower())
