"""What a column of labels says about a task whose texts may have several, or whose labels are paths."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Sequence
from typing import Any

from luthier.tasks.labels.multilabel import listed
from luthier.tasks.spellings import missing, spelling
from luthier.tasks.types import GuessedSettings

__all__ = ["guessed_hierarchy", "guessed_sets"]

SEPARATORS = (";", "|", ",")
LONGEST_LABEL = 60
MOST_LABELS = 500

EMPTY = ("none", "[]", "")


def guessed_sets(cells: Sequence[object]) -> GuessedSettings | None:
    """The settings of a task with several labels, where the cells are lists; `None` where they are single labels."""
    there = [cell for cell in cells if not missing(cell)]
    sets = [_listed(cell) for cell in there]
    how = "each cell is a list"
    if any(one is None for one in sets):
        separator = next((mark for mark in SEPARATORS if _separates(mark, there)), None)
        if separator is None:
            return None
        sets = [_pieces(str(cell), separator) for cell in there]
        how = f"cells list labels with {separator!r} between"
    counts = Counter(label for one in sets for label in set(one or ()))
    if not 2 <= len(counts) <= MOST_LABELS:
        return None
    empty = sum(not one for one in sets)
    shown = Counter(dict(counts.most_common()))
    reasons = (
        f"{len(counts)} labels, several for a row: {how} (multilabel: true)",
        *((f"{empty:,} rows have no label",) if empty else ()),
        *(("an empty cell is a row without a truth: write [] where no label fits",) if len(there) < len(cells) else ()),
    )
    return GuessedSettings({"multilabel": True, "labels": sorted(counts)}, reasons, shown)


def guessed_hierarchy(labels: Sequence[str]) -> str | None:
    """What separates the levels of these labels, most of which have several; `None` where they have none."""
    for mark in ("/", ">", "::"):
        paths = [label.split(mark) for label in labels]
        deep = sum(len(path) > 1 for path in paths)
        if not all(part.strip() for path in paths for part in path) or 2 * deep <= len(labels):
            continue
        if len({path[0] for path in paths if len(path) > 1}) < deep:
            return mark
    return None


def _listed(cell: object) -> list[str] | None:
    found: Any = listed(cell.strip()) if isinstance(cell, str) else cell
    if hasattr(found, "tolist"):
        found = found.tolist()
    if not isinstance(found, list | tuple | set):
        return None
    return [spelling(label) for label in found if not missing(label)]


def _pieces(cell: str, separator: str) -> list[str]:
    if cell.strip().casefold() in EMPTY:
        return []
    return [piece for piece in re.split(rf"\s*{re.escape(separator)}\s*", cell.strip()) if piece]


def _separates(separator: str, cells: Sequence[object]) -> bool:
    """Whether cells are lists with this mark between: the pieces are short, and each is found in other cells too."""
    sets = [_pieces(str(cell), separator) for cell in cells]
    several = [one for one in sets if len(one) > 1]
    if not several:
        return False
    times = Counter(piece for one in sets for piece in set(one))
    # A single label with a comma in its name always stands in the same company.
    company = {piece: {tuple(one) for one in sets if piece in one} for one in several for piece in one}
    together = sum(len(company[piece]) > 1 for piece in company)
    return together * 4 >= len(company) * 3 and len(times) <= MOST_LABELS and max(map(len, times)) <= LONGEST_LABEL
