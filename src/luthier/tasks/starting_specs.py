"""What `luthier init` writes for a task: its settings, guessed from a table, and its first specs."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

__all__ = ["GuessedSettings", "StartingSpec"]


@dataclass(frozen=True, slots=True)
class StartingSpec:
    """A spec that `luthier init` writes for a task.

    Attributes:
        name: what the name of the task is continued with, as in `TASK-baseline`.
        comment: a sentence above it in the file.
        settings: `technique` and the blocks of it, as in YAML; the endpoint is filled in, and the wording of a prompt,
            which is the task's `question`.
        examples: few-shot examples of a prompt.
        select: how they are chosen, as in YAML.
        remarks: key of `settings` to what the file says beside it.
    """

    name: str
    comment: str
    settings: Mapping[str, Any]
    examples: int = 0
    select: str = "random"
    remarks: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class GuessedSettings:
    """What a type makes of a labelled table.

    Attributes:
        settings: keys of the task beside `name`, `type`, `text` and `label`, such as `labels`.
        reasons: why; a sentence each, shown to the user.
        counts: rows by what is in them, such as their label, shown as bars.
    """

    settings: Mapping[str, Any]
    reasons: tuple[str, ...] = ()
    counts: Mapping[str, int] = field(default_factory=dict)
