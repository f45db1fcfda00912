"""The small labelled tables that come with Luthier, one or more for each task type."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache
from pathlib import Path

import yaml

from luthier.errors import UserError
from luthier.tasks.known_types import TASK_TYPES

__all__ = ["ExampleTable", "example_table", "example_tables"]

FOLDER = Path(__file__).resolve().parent / "examples"


@dataclass(frozen=True, slots=True)
class ExampleTable:
    """A labelled table for a task type, written for this project.

    Attributes:
        name: of its file.
        type: the task type it is for.
        about: what its rows are.
        label: column with the truths; the text is in `text`.
        after: what to make of the first leaderboard.
    """

    name: str
    type: str
    about: str
    after: str
    label: str = "label"

    @property
    def path(self) -> Path:
        """The file."""
        return FOLDER / f"{self.name}.jsonl"


@cache
def example_tables() -> tuple[ExampleTable, ...]:
    """All of them, in the order in which a type's first is preferred."""
    entries = yaml.safe_load((FOLDER / "examples.yaml").read_text(encoding="utf-8"))
    return tuple(ExampleTable(name, **entry) for name, entry in entries.items())


def example_table(type_name: str | None = None, name: str | None = None) -> ExampleTable:
    """The example for a task type, or the one of this name.

    Args:
        type_name: of the task type; the first example for it is taken.
        name: of the example.

    Raises:
        UserError: there is none.
    """
    tables = example_tables()
    fitting = [one for one in tables if type_name in (None, one.type) and name in (None, one.name)]
    if fitting:
        return fitting[0]
    if name is not None:
        there = ", ".join(f"{one.name} ({one.type})" for one in tables)
        raise UserError(f"no example is called {name!r}" + (f" for {type_name}" if type_name else "") + f": {there}.")
    known = "has no example" if type_name in TASK_TYPES else "is unknown"
    there = ", ".join(dict.fromkeys(one.type for one in tables))
    raise UserError(
        f"task type {type_name!r} {known}; there are examples for: {there}. "
        "For a table of your own: luthier init --data TABLE --type TYPE."
    )
