"""Files that state facts of models: the one that comes with Luthier, and a user's `catalogue.yaml`."""

from __future__ import annotations

import difflib
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, date, datetime
from pathlib import Path
from typing import Any

from luthier.documents import parse_yaml
from luthier.errors import UserError
from luthier.model_catalogue.facts import FACTS
from luthier.model_catalogue.records import Fact
from luthier.terminals import visible

__all__ = ["CatalogueFileError", "Statement", "read_statements"]

OWN_KEYS = ("provider", "models", "source", "seen")
"""Keys of a statement beside the names of facts."""

SHAPE = "{provider: azure, models: [gpt-4.1-mini], context_tokens: 1000000}"


class CatalogueFileError(UserError):
    """A file of facts says something that cannot be read."""


@dataclass(frozen=True)
class Statement:
    """Facts that models of a provider have in common.

    Attributes:
        provider: as `CatalogueModel.provider`.
        models: their names there.
        facts: by name.
    """

    provider: str
    models: tuple[str, ...]
    facts: Mapping[str, Fact]


def read_statements(file: Path, *, trusted: bool = False) -> list[Statement]:
    """The statements in a YAML file.

    A statement without `source` has the file for its source; without `seen`, the day the file was last written.

    Args:
        file: its path.
        trusted: it comes with Luthier, so that it may be read fast and without bounds.

    Raises:
        CatalogueFileError: the file is no YAML, or a statement is wrong; the message has the line and what is allowed.
    """
    import yaml

    try:
        text = file.read_text(encoding="utf-8")
        given = yaml.load(text, getattr(yaml, "CSafeLoader", yaml.SafeLoader)) if trusted else parse_yaml(text)
    except (yaml.YAMLError, UnicodeDecodeError, OSError) as error:
        raise CatalogueFileError(f"{file} cannot be read: {error}") from error
    if given is None:
        return []
    if not isinstance(given, list):
        raise CatalogueFileError(f"{file} is not a list of statements. Begin each with a dash, as in: - {SHAPE}")
    written = datetime.fromtimestamp(file.stat().st_mtime, UTC).date()
    found = []
    for place, one in enumerate(given):
        try:
            found.append(_statement(one, str(file), written))
        except _WrongError as error:
            line = _line(text, place, error.key)
            raise CatalogueFileError(f"{file}, line {line}: {visible(str(error))}") from None
    return found


class _WrongError(Exception):
    """What is wrong with a statement, and at which of its keys."""

    def __init__(self, message: str, key: str | None = None) -> None:
        super().__init__(message)
        self.key = key


def _statement(given: Any, file: str, written: date) -> Statement:
    if not isinstance(given, dict):
        raise _WrongError(f"a statement has keys and values, as in: - {SHAPE}")
    for key in given:
        if key not in FACTS and key not in OWN_KEYS:
            near = difflib.get_close_matches(str(key), [*FACTS, *OWN_KEYS], 1)
            meant = f" Did you mean {near[0]!r}?" if near else ""
            raise _WrongError(f"{key!r} is no fact.{meant} Allowed: {', '.join([*OWN_KEYS, *FACTS])}", key)
    provider, models = given.get("provider"), given.get("models")
    names = [models] if isinstance(models, str) else models
    if not isinstance(provider, str) or not provider:
        raise _WrongError("`provider:` is missing; write openai, azure, together, or what you call it", "provider")
    if not isinstance(names, list) or not names or not all(isinstance(name, str) and name for name in names):
        raise _WrongError("`models:` is a name or a list of names, as in [gpt-4.1-mini]", "models")
    source, seen = given.get("source", file), given.get("seen", written)
    if not isinstance(source, str) or not source:
        raise _WrongError("`source:` is a text, such as the address of a page", "source")
    if type(seen) is not date:
        raise _WrongError(f"`seen:` is {seen!r}; write a day, as in 2026-11-29", "seen")
    facts = {
        name: Fact(_checked(name, value), source, seen)
        for name, value in given.items()
        if name in FACTS and value is not None
    }
    return Statement(provider, tuple(names), facts)


def _checked(name: str, value: Any) -> Any:
    """A fact's value as the catalogue has it."""
    values, allowed = FACTS[name].values, FACTS[name].allowed

    def wrong(what: str) -> _WrongError:
        return _WrongError(f"`{name}:` is {value!r}; it is {what}", name)

    if values == "yes or no":
        if not isinstance(value, bool):
            raise wrong("yes or no")
        return value
    if values in ("usd", "tokens"):
        number = isinstance(value, int | float) and not isinstance(value, bool) and math.isfinite(value)
        if not number or value < 0 or (values == "tokens" and (value != int(value) or value == 0)):
            raise wrong("an amount in US dollars, 0 or more" if values == "usd" else "a whole number of tokens")
        return float(value) if values == "usd" else int(value)
    if values == "date":
        if type(value) is not date:
            raise wrong("a day, as in 2027-01-14")
        return value
    texts = [value] if isinstance(value, str) else value
    if not isinstance(texts, list) or not all(isinstance(text, str) for text in texts):
        raise wrong("a text" if values == "text" else "a list of texts")
    unknown = [text for text in texts if allowed and text not in allowed]
    if unknown:
        raise wrong(f"{'one' if values == 'text' else 'some'} of {', '.join(allowed)}")
    if values == "text" and len(texts) != 1:
        raise wrong("a text")
    return texts[0] if values == "text" else tuple(texts)


def _line(text: str, place: int, key: str | None) -> int:
    """The line of a statement in a file that is YAML, or of one of its keys."""
    import yaml

    root = yaml.compose(text, Loader=yaml.SafeLoader)
    assert isinstance(root, yaml.SequenceNode)
    node = root.value[place]
    pairs: Sequence[Any] = node.value if isinstance(node, yaml.MappingNode) else ()
    marks = [name.start_mark for name, _ in pairs if key is not None and name.value == str(key)]
    return int((marks[0] if marks else node.start_mark).line) + 1
