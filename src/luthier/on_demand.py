"""Names of a package that are imported when they are first used."""

from __future__ import annotations

import sys
from collections.abc import Callable, Mapping, Sequence
from importlib import import_module
from typing import Any

__all__ = ["on_demand"]


def on_demand(package: str, names_of: Mapping[str, Sequence[str]]) -> Callable[[str], Any]:
    """The `__getattr__` of a package whose names lie in other modules.

    Args:
        package: its name; its `__all__` is what a wrong name is told.
        names_of: module to the names that are taken from it.
    """
    module_of = {name: module for module, names in names_of.items() for name in names}

    def attribute(name: str) -> Any:
        here = sys.modules[package]
        if name not in module_of:
            raise AttributeError(f"{package} has no {name!r}; it has: {', '.join(here.__all__)}")
        value = getattr(import_module(module_of[name]), name)
        setattr(here, name, value)
        return value

    return attribute
