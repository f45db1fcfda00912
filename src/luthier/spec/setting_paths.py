"""Blocks of settings, and settings by dotted path, as in `prompt.examples.count`: which there are, how one is set."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from difflib import get_close_matches
from typing import Any, ClassVar, get_args, get_origin

from pydantic import BaseModel, ConfigDict, model_validator

from luthier.errors import SpecError

__all__ = ["SHORT_FORMS", "SettingsBlock", "check_path", "kinds_of", "paths_of", "plain_value", "with_setting"]

FIXED = {
    "name": "a name says which spec it is, not what it does",
    "task": "specs of different tasks cannot stand on one leaderboard; write a spec for each task",
    "technique": "each technique has settings of its own; write a spec for each",
    "schema": "it is the version of the file",
    "grid": "a grid holds no grid",
}
"""Keys of a spec that no path may set, and why."""

SHORT_FORMS = {"prompt.examples": "count", "answer": "method", "head": "method"}
"""Blocks that may be written as one value, and the setting which that value is."""


class SettingsBlock(BaseModel):
    """A block of settings within a spec."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    short_form: ClassVar[str | None] = None
    """The setting that the block may be written as: `head: ordinal` is short for `head: {method: ordinal}`."""

    @model_validator(mode="before")
    @classmethod
    def _from_one_value(cls, given: Any) -> Any:
        alone = cls.short_form is not None and isinstance(given, str | int) and not isinstance(given, bool)
        return {cls.short_form: given} if alone else given


def check_path(path: str, model: type[BaseModel], source: str) -> None:
    """Refuses a path that names no setting of the technique.

    Raises:
        SpecError: names the settings there are where the path leaves them.
    """
    parts = path.split(".")
    if parts[0] in FIXED:
        raise SpecError(f"{source}: a spec cannot vary {parts[0]}: {FIXED[parts[0]]}.")
    here: list[type[BaseModel]] = [model]
    for place, part in enumerate(parts):
        fields = {name: info for kind in here for name, info in kind.model_fields.items()}
        above = ".".join(parts[:place])
        if part not in fields:
            names = sorted(set(fields) - (set(FIXED) if not above else set()))
            where = f"in {above}" if above else "at the top of the spec"
            near = _nearest(path, model)
            hint = f" Did you mean {near}?" if near else ""
            raise SpecError(f"{source}: no setting {part!r} {where}; allowed: {', '.join(names)}.{hint}")
        inner = _classes(fields[part].annotation)
        if dict in inner:
            return
        here = [kind for kind in inner if issubclass(kind, BaseModel)]
        if not here and place + 1 < len(parts):
            raise SpecError(f"{source}: {'.'.join(parts[: place + 1])} is one value; nothing lies beneath it.")


def paths_of(model: type[BaseModel], above: str = "") -> Iterator[str]:
    """The dotted path of every setting of a technique, blocks before what lies in them."""
    for name, info in model.model_fields.items():
        if above or name not in FIXED:
            yield above + name
            for kind in _classes(info.annotation):
                if issubclass(kind, BaseModel) and kind is not model:
                    yield from paths_of(kind, f"{above}{name}.")


def kinds_of(path: str, model: type[BaseModel]) -> frozenset[type] | None:
    """The classes of the values that a setting takes; fixed words such as `auto` count as none.

    Args:
        path: one that `check_path` accepts.
        model: the technique.

    Returns:
        `None` beneath a mapping, where any value may stand.
    """
    here: list[type] = [model]
    for part in path.split("."):
        if dict in here:
            return None
        blocks = [kind for kind in here if issubclass(kind, BaseModel) and part in kind.model_fields]
        here = [inner for kind in blocks for inner in _classes(kind.model_fields[part].annotation)]
    return frozenset(here)


def with_setting(document: Mapping[str, Any], path: str, value: Any, source: str) -> dict[str, Any]:
    """A spec's document with one setting put in.

    Args:
        document: the spec as YAML has it.
        path: the dotted path of the setting.
        value: as in YAML; in Python also an endpoint or another block.
        source: the path and where it stands, for the message.

    Raises:
        SpecError: the document has a single value where the path needs a block.
    """
    return _put(document, path.split("."), plain_value(value), source)


def plain_value(value: Any) -> Any:
    """A value as YAML has it; in Python it may be an endpoint or another block."""
    return value.model_dump(mode="json", exclude_defaults=True) if isinstance(value, BaseModel) else value


def _put(document: Mapping[str, Any], parts: list[str], value: Any, source: str, above: str = "") -> dict[str, Any]:
    head, rest = parts[0], parts[1:]
    if not rest:
        return {**document, head: value}
    where = f"{above}{head}"
    inner = document.get(head)
    if inner is None:
        inner = {}
    elif not isinstance(inner, Mapping):
        if where not in SHORT_FORMS:
            raise SpecError(f"{source}: {where} is {inner!r:.60}, so the path leads nowhere; make it a block.")
        inner = {SHORT_FORMS[where]: inner}
    return {**document, head: _put(inner, rest, value, source, f"{where}.")}


def _nearest(path: str, model: type[BaseModel]) -> str | None:
    """The setting whose path, or whose name alone, is spelled most like this one."""
    every = list(paths_of(model))
    by_name = {one.rpartition(".")[2]: one for one in reversed(every)}
    name = path.rpartition(".")[2]
    found = get_close_matches(path, every, 1, 0.8)
    return next(iter(found or [by_name[near] for near in get_close_matches(name, by_name, 1, 0.7)]), None)


def _classes(annotation: Any) -> list[type]:
    """The classes an annotation allows, those inside unions too; a mapping is `dict`."""
    if isinstance(annotation, type) and get_origin(annotation) is None:
        return [annotation]
    if get_origin(annotation) in (dict, Mapping):
        return [dict]
    return [kind for part in get_args(annotation) for kind in _classes(part)]
