"""A row that was tried, with what every spec and wording made of it; shows itself in a terminal and in a notebook."""

from __future__ import annotations

import difflib
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from luthier.errors import UserError
from luthier.experiments.try_records import Tried
from luthier.experiments.try_report import tried_html, tried_text
from luthier.tasks.task import Task
from luthier.truncation import one_line

__all__ = ["TriedRow", "frame_records", "template_diff"]

LONGEST_TITLE = 90


@dataclass(frozen=True)
class TriedRow:
    """One row, answered by every spec and wording; shows itself in a terminal and in a notebook.

    Attributes:
        task: the question.
        inputs: the row, by column.
        tried: what each spec made of it.
        number: the row's number in its table, from 1; `None` for a text that was typed.
        truth: its label, where the table has one.
        edits: parts of the prompt that were edited: their names with the text before and after.
        spending: what was spent so far, in words.
    """

    task: Task
    inputs: Mapping[str, Any]
    tried: tuple[Tried, ...]
    number: int | None = None
    truth: Any = None
    edits: tuple[tuple[str, str, str], ...] = ()
    spending: str = ""

    @property
    def text(self) -> str:
        """The text of the row."""
        given = self.inputs.get(self.task.text)
        return "" if given is None else str(given)

    @property
    def title(self) -> str:
        """Which row it is, in a line."""
        truth = ""
        if self.truth is not None:
            truth = f" ({self.task.label} is {one_line(self.task.kind.written(self.truth), LONGEST_TITLE)})"
        said = one_line(self.text, LONGEST_TITLE)
        return f"{'' if self.number is None else f'row {self.number:,}: '}{said or '(no text)'}{truth}"

    @property
    def diff(self) -> str:
        """What was edited, as lines with - and +; empty where nothing was."""
        return "\n".join(template_diff(*edit) for edit in self.edits)

    def __iter__(self) -> Iterator[Tried]:
        """What each spec made of it."""
        return iter(self.tried)

    def __len__(self) -> int:
        return len(self.tried)

    def __getitem__(self, which: int | str) -> Tried:
        """By place, or by title."""
        if isinstance(which, int):
            return self.tried[which]
        found = [one for one in self.tried if one.title == which]
        if not found:
            raise UserError(f"nothing here is called {which!r}; there is {', '.join(one.title for one in self.tried)}.")
        return found[0]

    def document(self) -> dict[str, Any]:
        """Plain values for JSON."""
        return {
            "task": self.task.name,
            "row": self.number,
            "inputs": dict(self.inputs),
            "truth": self.truth,
            "edits": [{"part": part, "before": before, "after": after} for part, before, after in self.edits],
            "answers": [one.document() for one in self.tried],
        }

    def whole(self) -> str:
        """As text with every prompt and answer whole; `str` leaves out the middle of long ones."""
        return tried_text(self.tried, self.title, self.truth, self.diff, self.spending, whole=True)

    def __str__(self) -> str:
        return tried_text(self.tried, self.title, self.truth, self.diff, self.spending)

    __repr__ = __str__

    def _repr_html_(self) -> str:
        return tried_html(self.tried, self.title, self.truth, self.diff, self.spending)


def template_diff(part: str, before: str, after: str) -> str:
    """The lines of a template that were taken out and put in, with those around them.

    Examples:
        >>> print(template_diff("template", "Text: {{ text }}\\nAnswer:", "Text: {{ text }}\\nStars:"))
        template:
          Text: {{ text }}
        - Answer:
        + Stars:
    """
    lines = difflib.ndiff(before.splitlines(), after.splitlines())
    return "\n".join([f"{part}:", *(line for line in lines if not line.startswith("?"))])


def frame_records(rows: Sequence[TriedRow]) -> list[dict[str, Any]]:
    """A record for each answer of each row, as a table has it."""
    found = []
    for place, row in enumerate(rows, start=1):
        for one in row.tried:
            call = one.prediction.call
            found.append(
                {
                    "ask": place,
                    "row": row.number,
                    "text": row.text,
                    "truth": row.truth,
                    "spec": one.spec.name,
                    "model": one.spec.base_model,
                    "wording": one.wording,
                    "prompt": getattr(one.spec, "prompt_text", ""),
                    "answer": one.said if one.calls else None,
                    "label": one.label,
                    "state": one.state,
                    "why": one.prediction.error,
                    **{f"p_{label}": share for label, share in one.probabilities.items()},
                    "input_tokens": call.input_tokens,
                    "output_tokens": call.output_tokens,
                    "cost_usd": one.cost_usd,
                    "latency_seconds": call.latency_seconds,
                    "from_journal": one.from_journal,
                }
            )
    return found
