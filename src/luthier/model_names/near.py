"""Names that may have been meant: the one place where names are compared by likeness."""

from __future__ import annotations

import re
from collections.abc import Iterable
from difflib import get_close_matches

from luthier.model_names.parsing import parse_model_name

__all__ = ["near_names"]

LEAST_LIKENESS = 0.6
"""Share of common letters, as difflib counts them."""

MARKS = re.compile(r"[^a-z0-9]+")


def near_names(name: str, known: Iterable[str], most: int = 3) -> list[str]:
    """Known names like a name that is not known, the likest first. A guess, to ask "did you mean".

    Other names of the same model come first, whatever they look like.

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
    all_known = list(dict.fromkeys(known))
    key = parse_model_name(name).key
    found = [one for one in all_known if one != name and parse_model_name(one).key == key]
    by_letters: dict[str, list[str]] = {}
    for one in all_known:
        by_letters.setdefault(_letters(one), []).append(one)
    for letters in get_close_matches(_letters(name), by_letters, max(1, most), LEAST_LIKENESS):
        found += [one for one in by_letters[letters] if one != name and one not in found]
    return found[:most]


def _letters(name: str) -> str:
    """A name without the marks and the folders that people leave out."""
    return MARKS.sub("", name.rpartition("/")[2].lower())
