"""Grids: settings of a spec with a list in place of a value, and the plain specs that stand for their product."""

from __future__ import annotations

import hashlib
import itertools
import json
import math
import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pydantic import BaseModel

from luthier.errors import SpecError
from luthier.spec import GridPoint, Spec
from luthier.spec.setting_paths import check_path, with_setting
from luthier.tasks.task import NAME_PATTERN

__all__ = ["MOST_SPECS", "Grid", "too_many"]

MOST_SPECS = 500
"""Specs on one leaderboard. They make 124,750 pairs, which take about half a minute to compare on one core."""

LONGEST_NAME = 64
LONGEST_VALUE = 24
"""Characters of a value that stands in a name itself; a longer one is named by its place in the list."""

PLAIN_VALUE = re.compile(r"-?[A-Za-z0-9][A-Za-z0-9._-]*")


@dataclass(frozen=True)
class Grid:
    """Lists of settings to try in every combination.

    Attributes:
        name: what the specs' names begin with.
        options: dotted path to the values it takes, in the order of the names.
        source: what holds the grid, for messages and the `luthier.grid` tag.
    """

    name: str
    options: Mapping[str, tuple[Any, ...]]
    source: str

    @classmethod
    def read(cls, given: Any, name: str, model: type[Spec], source: str) -> Grid:
        """The grid a spec's `grid:` block describes; nothing is built yet.

        Args:
            given: dotted paths to lists.
            name: of the spec.
            model: the technique, whose settings the paths must name.
            source: what holds the grid.

        Raises:
            SpecError: a path names no setting of the technique or may not vary, its values are no list to vary over,
                or there are more combinations than a leaderboard holds.
        """
        if not isinstance(given, Mapping) or not given:
            raise SpecError(
                f"{source}: grid: is {_short(given)}; it holds dotted paths with a list each, "
                "as in grid: {prompt.examples.count: [1, 3, 5]}."
            )
        lists: dict[str, Sequence[Any]] = {}
        for path, values in given.items():
            check_path(str(path), model, f"{source}: grid path {path}")
            if isinstance(values, str | bytes | Mapping) or not isinstance(values, Sequence | range):
                raise SpecError(
                    f"{source}: grid path {path} has {_short(values)}, which is no list; a single value belongs into "
                    f"the spec itself, several into a list, as in {path}: [..., ...]."
                )
            if not len(values):
                raise SpecError(f"{source}: grid path {path} has an empty list; give values to try, or leave it out.")
            lists[str(path)] = values
        # Counted first: what would take hours to make is refused at once.
        size = math.prod(len(values) for values in lists.values())
        if size > MOST_SPECS:
            raise too_many(size, f"the grid in {source}")
        options = {path: tuple(_plain(value) for value in values) for path, values in lists.items()}
        for path, plain in options.items():
            repeated = _repeated(plain)
            if repeated is not None:
                raise SpecError(f"{source}: grid path {path} has {_short(repeated)} twice; give each value once.")
        for outer, inner in itertools.permutations(options, 2):
            if inner.startswith(f"{outer}."):
                raise SpecError(f"{source}: grid path {inner} lies within {outer}; vary one of them.")
        return cls(name, options, source)

    @property
    def size(self) -> int:
        """How many specs it stands for; counted, not built."""
        return math.prod(len(values) for values in self.options.values())

    def points(self) -> Iterator[tuple[str, dict[str, Any]]]:
        """Name and settings of every spec, the last path varying fastest; made one at a time."""
        titles = _titles(tuple(self.options))
        said = {path: _said(values) for path, values in self.options.items()}
        for places in itertools.product(*(range(len(values)) for values in self.options.values())):
            parts, settings = [], {}
            for path, place in zip(self.options, places, strict=True):
                parts.append(f"{titles[path]}-{said[path][place]}")
                settings[path] = self.options[path][place]
            yield _fitting(".".join([self.name, *parts]), settings), settings

    def document(self, base: Mapping[str, Any], name: str, settings: Mapping[str, Any]) -> dict[str, Any]:
        """The plain spec's document for one point of the grid."""
        document = dict(base)
        for path, value in settings.items():
            document = with_setting(document, path, value, f"{self.source}: grid path {path}")
        return document | {"name": name}

    def specs(
        self, base: Mapping[str, Any], make: Callable[[dict[str, Any], str], Spec], only: str | None = None
    ) -> list[Spec]:
        """The specs it stands for.

        Args:
            base: the spec's document without the grid.
            make: makes a spec of a document and what to call it in messages.
            only: name of the one that is wanted; all when absent.

        Raises:
            SpecError: a combination is no spec, or two of them would answer alike.
        """
        found: list[Spec] = []
        digests: dict[str, str] = {}
        for name, settings in self.points():
            if only is not None and name != only:
                continue
            spec = make(self.document(base, name, settings), f"{self.source} ({name})")
            if spec.digest in digests:
                raise SpecError(
                    f"{self.source}: {digests[spec.digest]} and {name} would ask the same and answer alike; "
                    "take out of the grid what changes no answer."
                )
            digests[spec.digest] = name
            spec.mark_grid_point(GridPoint(Path(self.source).name, settings, self.name))
            found.append(spec)
        return found

    def names(self, most: int) -> list[str]:
        """The first names."""
        return [name for name, _ in itertools.islice(self.points(), most)]


def too_many(count: int, what: str) -> SpecError:
    """The refusal of more specs than a leaderboard holds, with what to do instead."""
    return SpecError(
        f"{what} stands for {count:,} specs; a leaderboard holds {MOST_SPECS}, because each two are compared and so "
        "many could hardly be told apart. Give fewer values, compare a few settings at a time and go on from the "
        "winner, or let examples be chosen by `select: searched`, which drops losing samples early."
    )


def _titles(paths: Sequence[str]) -> dict[str, str]:
    """What each setting is called in names: the end of its path, as far as it takes to tell it from the others."""
    titles = {}
    for path in paths:
        parts = path.split(".")
        for length in range(1, len(parts) + 1):
            end = parts[-length:]
            if not any(other != path and other.split(".")[-length:] == end for other in paths):
                break
        titles[path] = re.sub(r"[^A-Za-z0-9_-]", "-", "-".join(end))
    return titles


def _said(values: Sequence[Any]) -> list[str]:
    """Each value as it stands in a name: itself where it is a short word or number, else its place in the list.

    A later value gives way to an earlier one, so that a list that grows keeps the names it has.
    """
    said: list[str] = []
    for place, value in enumerate(values, start=1):
        if value is None or isinstance(value, bool):
            text = str(value).lower()
        else:
            text = str(value) if isinstance(value, str | int | float) else ""
        if not PLAIN_VALUE.fullmatch(text) or len(text) > LONGEST_VALUE:
            text = str(place)
        while text in said:
            text += "x"
        said.append(text)
    return said


def _fitting(name: str, settings: Mapping[str, Any]) -> str:
    """The name itself, or its beginning and a digest of the settings where it is too long."""
    if len(name) <= LONGEST_NAME and re.match(NAME_PATTERN, name):
        return name
    digest = hashlib.sha256(json.dumps(settings, sort_keys=True, default=str).encode()).hexdigest()[:8]
    return f"{name[: LONGEST_NAME - 9].rstrip('._-')}-{digest}"


def _repeated(values: Sequence[Any]) -> Any:
    """A value that stands there twice, 1 and 1.0 being the same and 1 and true not; `None` where there is none."""
    seen = [(isinstance(value, bool), value) for value in values]
    if values.count(None) > 1:
        return "null"
    return next((value for place, (_, value) in enumerate(seen) if seen[place] in seen[:place]), None)


def _plain(value: Any) -> Any:
    """A value as YAML has it; in Python it may be an endpoint or another block."""
    return value.model_dump(mode="json", exclude_defaults=True) if isinstance(value, BaseModel) else value


def _short(value: Any) -> str:
    text = repr(value)
    return text if len(text) <= 60 else f"{text[:57]}..."
