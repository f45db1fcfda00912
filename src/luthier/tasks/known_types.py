"""Which task types there are, and how one that is not Luthier's is found."""

from __future__ import annotations

import importlib
import sys
from collections.abc import Mapping
from functools import lru_cache
from typing import Any

from luthier.tasks.extraction.span_extraction import SpanExtraction
from luthier.tasks.free_text.generation import FreeText
from luthier.tasks.labels.closed_set import Classes, Ratings
from luthier.tasks.pairs.similarity import Similarity
from luthier.tasks.types import TaskType, TypeSettings

__all__ = ["TASK_TYPES", "name_of_type", "settings_class", "task_type", "type_of_name"]

TASK_TYPES: dict[str, type[TaskType]] = {
    "classification": Classes,
    "rating": Ratings,
    "extraction": SpanExtraction,
    "similarity": Similarity,
    "generation": FreeText,
}
"""Name in a task's `type:` to its class."""


@lru_cache(maxsize=1000)
def task_type(name: str, labels: tuple[str, ...], settings: TypeSettings) -> TaskType:
    """The task type of this name.

    Args:
        name: one of `TASK_TYPES`, or `module:NAME`, a TaskType or a class of one in a module that can be imported.
        labels: the task's, empty for types that are no closed set.
        settings: the task's others.

    Raises:
        ValueError: there is none of this name, or labels or settings are none of its own.
    """
    found = type_of_name(name)
    if isinstance(found, type):
        return found.variant(settings.given).of(labels, settings)
    if labels or settings.given:
        raise ValueError(f"type {name!r} is made already and takes neither labels nor settings; leave them out")
    return found


def settings_class(name: str, given: Mapping[str, Any]) -> type[TypeSettings]:
    """The settings a task of this type has.

    Args:
        name: as for `task_type`.
        given: everything the task says.

    Raises:
        ValueError: there is no type of this name.
    """
    found = type_of_name(name)
    return found.variant(given).Settings if isinstance(found, type) else TypeSettings


def type_of_name(name: str) -> TaskType | type[TaskType]:
    """The class of a type, or the instance that `module:NAME` stands for.

    Raises:
        ValueError: there is none of this name.
    """
    if name in TASK_TYPES:
        return TASK_TYPES[name]
    module, _, attribute = name.partition(":")
    if not attribute:
        raise ValueError(
            f"type {name!r} is unknown; there are: {', '.join(TASK_TYPES)}, and module:NAME for a type of your own"
        )
    try:
        found = getattr(importlib.import_module(module), attribute)
    except (ImportError, AttributeError) as error:
        raise ValueError(f"type {name!r} cannot be imported ({error}); run from its folder with PYTHONPATH=.") from None
    if isinstance(found, TaskType) or (isinstance(found, type) and issubclass(found, TaskType)):
        return found
    raise ValueError(f"type {name!r} is a {type(found).__name__}, not a luthier.tasks.types.TaskType")


def name_of_type(given: object) -> object:
    """The `module:NAME` of a TaskType given in Python; anything else as it is.

    Raises:
        ValueError: no module has it under a name, so that no other process could find it.
    """
    if isinstance(given, type) and issubclass(given, TaskType):
        return f"{given.__module__}:{given.__qualname__}"
    if not isinstance(given, TaskType):
        return given
    module = type(given).__module__
    for name, value in vars(sys.modules[module]).items():
        if value is given:
            return f"{module}:{name}"
    raise ValueError(f"give the {type(given).__name__} a name in its module {module!r}, as in PRICE = Price()")
