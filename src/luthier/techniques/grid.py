"""Grids: settings of a spec with a list in place of a value, and the plain specs that stand for their product."""

from __future__ import annotations

import hashlib
import itertools
import json
import math
import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from luthier.errors import SpecError
from luthier.spec import GridPoint, Spec
from luthier.spec.setting_paths import check_path, plain_value, with_setting
from luthier.tasks.task import NAME_PATTERN

__all__ = ["MOST_SPECS", "expand", "read_options", "too_many"]

MOST_SPECS = 500
"""Specs on one leaderboard. They make 124,750 pairs, which take about half a minute to compare on one core."""

LONGEST_NAME = 64
LONGEST_VALUE = 24
"""Characters of a value that a name holds; a longer value is named by its place in the list."""

PLAIN_VALUE = re.compile(r"-?[A-Za-z0-9][A-Za-z0-9._-]*")


def read_options(given: Any, technique: type[Spec], source: str) -> dict[str, tuple[Any, ...]]:
    """The values of each dotted path of a `grid:` block.

    Raises:
        SpecError: a path names no setting of the technique or may not vary, its values are no list to vary over,
            or there are more combinations than a leaderboard holds.
    """
    if not isinstance(given, Mapping) or not given:
        raise SpecError(
            f"{source}: grid: is {given!r:.60}; it holds dotted paths with a list each, "
            "as in grid: {prompt.examples.count: [1, 3, 5]}."
        )
    for path, values in given.items():
        check_path(str(path), technique, f"{source}: grid path {path}")
        if isinstance(values, str | bytes | Mapping) or not isinstance(values, Sequence):
            raise SpecError(
                f"{source}: grid path {path} has {values!r:.60}, which is no list; a single value belongs into "
                f"the spec itself, several into a list, as in {path}: [..., ...]."
            )
        if not len(values):
            raise SpecError(f"{source}: grid path {path} has an empty list; give values to try, or leave it out.")
    # Counted before the lists are made: a product of ranges may be too large for memory.
    size = math.prod(map(len, given.values()))
    if size > MOST_SPECS:
        raise too_many(size, f"the grid in {source}")
    options = {str(path): tuple(plain_value(value) for value in values) for path, values in given.items()}
    for path, plain in options.items():
        # 1 and 1.0 are the same value; 1 and true are not.
        seen = [(isinstance(value, bool), value) for value in plain]
        for place, (_, value) in enumerate(seen):
            if seen[place] in seen[:place]:
                said = "null" if value is None else f"{value!r:.60}"
                raise SpecError(f"{source}: grid path {path} has {said} twice; give each value once.")
    for outer, inner in itertools.permutations(options, 2):
        if inner.startswith(f"{outer}."):
            raise SpecError(f"{source}: grid path {inner} lies within {outer}; vary one of them.")
    return options


def expand(
    base: Mapping[str, Any], technique: type[Spec], options: Mapping[str, tuple[Any, ...]], source: str
) -> list[Spec]:
    """The specs of a grid, the last path varying fastest.

    Args:
        base: the document that they share, with its name.
        technique: makes specs of documents.
        options: from `read_options`.
        source: what holds the grid, for messages and the `luthier.grid` tag.

    Raises:
        SpecError: a combination is no spec, or two of them would answer alike.
    """
    titles = _titles(tuple(options))
    written = {path: _written(values) for path, values in options.items()}
    found: dict[str, Spec] = {}
    for places in itertools.product(*(range(len(values)) for values in options.values())):
        chosen = dict(zip(options, places, strict=True))
        settings = {path: options[path][place] for path, place in chosen.items()}
        parts = [f"{titles[path]}-{written[path][place]}" for path, place in chosen.items()]
        name = _short_enough(".".join([str(base["name"]), *parts]), settings)
        document = dict(base)
        for path, value in settings.items():
            document = with_setting(document, path, value, f"{source}: grid path {path}")
        spec = technique.make(document | {"name": name}, f"{source} ({name})")
        if spec.digest in found:
            raise SpecError(
                f"{source}: {found[spec.digest].name} and {name} would ask the same and answer alike; "
                "take out of the grid what changes no answer."
            )
        spec.mark_grid_point(GridPoint(Path(source).name, settings, str(base["name"])))
        found[spec.digest] = spec
    return list(found.values())


def too_many(count: int, what: str) -> SpecError:
    """The error for more specs than a leaderboard holds, with what to do instead."""
    return SpecError(
        f"{what} stands for {count:,} specs; a leaderboard holds {MOST_SPECS}, because each two are compared and so "
        "many could hardly be told apart. Give fewer values, compare a few settings at a time and go on from the "
        "winner, or let examples be chosen by `select: searched`, which drops losing samples early."
    )


def _titles(paths: Sequence[str]) -> dict[str, str]:
    """The title of each path in names: as much of its end as tells it from the others."""
    titles = {}
    for path in paths:
        parts = path.split(".")
        for length in range(1, len(parts) + 1):
            end = parts[-length:]
            if not any(other != path and other.split(".")[-length:] == end for other in paths):
                break
        titles[path] = re.sub(r"[^A-Za-z0-9_-]", "-", "-".join(end))
    return titles


def _written(values: Sequence[Any]) -> list[str]:
    """Each value as names hold it: a short word or number as it is, anything else by its place in the list.

    Of two that read alike the later one is changed, so that a list that grows keeps the names it has.
    """
    written: list[str] = []
    for place, value in enumerate(values, start=1):
        if value is None or isinstance(value, bool):
            text = str(value).lower()
        else:
            text = str(value) if isinstance(value, str | int | float) else ""
        if not PLAIN_VALUE.fullmatch(text) or len(text) > LONGEST_VALUE:
            text = str(place)
        while text in written:
            text += "x"
        written.append(text)
    return written


def _short_enough(name: str, settings: Mapping[str, Any]) -> str:
    """The name, or its beginning and a digest of the settings where it is too long."""
    if len(name) <= LONGEST_NAME and re.match(NAME_PATTERN, name):
        return name
    digest = hashlib.sha256(json.dumps(settings, sort_keys=True, default=str).encode()).hexdigest()[:8]
    return f"{name[: LONGEST_NAME - 9].rstrip('._-')}-{digest}"
