"""What models are listed for, told from a task, its file or its type."""

from __future__ import annotations

from pathlib import Path

from luthier.errors import UserError
from luthier.model_catalogue.facts import TASKS
from luthier.tasks.known_types import TASK_TYPES, type_of_name
from luthier.tasks.task import Task

__all__ = ["listed_for"]

WRITTEN = "generation"
"""What models are listed for that answer a type of the user's own, which is asked by prompts."""


def listed_for(given: str) -> str:
    """The entry of `TASKS` for a task.

    Args:
        given: one of them, a type of tasks, `module:NAME` for one's own, or the file of a task. What is none of these
            is given back, and refused where models are chosen.

    Raises:
        UserError: the type cannot be imported.
        SpecError: the file is not there, or holds no task.

    Examples:
        >>> listed_for("similarity"), listed_for("luthier.tasks.labels.closed_set:Ratings")
        ('similarity', 'rating')
    """
    if given in TASKS:
        return given
    if Path(given).suffix in (".yaml", ".yml"):
        return listed_for(Task.read(given).type)
    if given not in TASK_TYPES and ":" not in given:
        return given
    try:
        found = type_of_name(given)
    except ValueError as error:
        raise UserError(f"--task: {error}.") from None
    kind = found if isinstance(found, type) else type(found)
    names = {known: name for name, known in TASK_TYPES.items()}
    return next((names[one] for one in kind.__mro__ if names.get(one) in TASKS), WRITTEN)
