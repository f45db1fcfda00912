"""A task of every type, with a row and its truth: what the tests of all types are run on."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import luthier as lt

__all__ = ["SAMPLES", "Sample"]

TEXT = "Ann Lee wants two of the blue lamps by Friday, and Bob Stone none."


@dataclass(frozen=True)
class Sample:
    """A task, a row of its table, and the truth of the row as a cell has it."""

    name: str
    task: lt.Task
    truth: Any
    row: Mapping[str, Any] = field(default_factory=lambda: {"text": TEXT})

    @property
    def template(self) -> str:
        """A prompt that shows every text of the row."""
        return " | ".join(f"{{{{ {column} }}}}" for column in self.task.text_columns)

    def table(self, rows: int = 1) -> list[dict[str, Any]]:
        """As many rows with numbered texts and their truths."""
        numbered = [{name: f"{number}: {cell}" for name, cell in self.row.items()} for number in range(rows)]
        return [{**row, self.task.label: self.truth} for row in numbered]


SAMPLES = [
    Sample("classification", lt.Task("mood", labels=["good", "bad", "so-so"]), "bad"),
    Sample("paths", lt.Task("kind", labels=["billing/refund", "billing/invoice", "login"]), "billing/invoice"),
    Sample("several labels", lt.Task("tags", multilabel=True, labels=["billing", "login"]), '["login"]'),
    Sample("rating", lt.Task("stars", type="rating", labels=[1, 2, 3, 4, 5]), 4),
    Sample(
        "similarity",
        lt.Task("alike", type="similarity", other="other", scale=[0, 5]),
        3.5,
        {"text": TEXT, "other": "Two blue lamps are to be with Ann Lee by Friday."},
    ),
    Sample("generation", lt.Task("subject", type="generation"), "Two blue lamps for Ann Lee"),
    Sample("one line", lt.Task("title", type="generation", one_line=True, longest_characters=60), "Lamps, by Friday"),
    Sample(
        "spans",
        lt.Task("entities", type="extraction", labels=["person", "day"]),
        '[{"text": "Ann Lee", "label": "person"}, {"text": "Friday", "label": "day"}]',
    ),
    Sample(
        "fields",
        lt.Task("order", type="extraction", fields={"who": "string", "lamps": "integer", "day": "string"}),
        '{"who": "Ann Lee", "lamps": 2, "day": "Friday"}',
    ),
]
