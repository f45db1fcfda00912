"""`init`: from a labelled table in a file to a task and specs, and to the three tables they need."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from luthier.errors import DataError
from luthier.starting.guessing import Guess, guess_task
from luthier.starting.writing import EMBEDDED, write_specs
from luthier.tables import read_table, write_frame

__all__ = ["Started", "start_from_table"]

SPLIT = ("train", "validation", "test")


@dataclass(frozen=True)
class Started:
    """What was guessed and written."""

    guess: Guess
    specs: tuple[Path, ...]
    tables: tuple[Path, ...]
    data: Path
    kept: str = ""
    """What an endpoint file said nothing about."""

    def __str__(self) -> str:
        task = self.guess.task
        width = max(len(label) for label in task.labels)
        most = max(self.guess.counts.values()) or 1
        lines = [f"task {task.name!r}: {task.type}, reads {task.text!r}, answers {task.label!r}"]
        for label, count in self.guess.counts.items():
            lines.append(f"  {label:<{width}} {count:>8,}  {'█' * round(24 * count / most)}")
        lines += [f"  ({reason})" for reason in self.guess.reasons]
        lines.append("written: " + ", ".join(str(path) for path in [*self.specs, *self.tables]))
        lines += [self.kept] if self.kept else []
        folder = self.specs[0].parent
        test = self.tables[2] if self.tables else "TEST_TABLE"
        train = self.tables[0] if self.tables else "TRAIN_TABLE"
        lines.append("Look the files over; a wrong label or order is corrected in task.yaml. Then:")
        lines.append(f"  luthier check {folder}")
        lines.append(f"  luthier compare {folder} --test {test} --train {train}")
        if not self.tables:
            lines.append(f"(luthier init ... --split cuts {self.data} into such tables.)")
        return "\n".join(lines)


def start_from_table(
    data: Path,
    *,
    text: str,
    label: str,
    name: str | None = None,
    labels: list[str] | None = None,
    folder: Path = Path("models"),
    overrides: Mapping[str, Any] | None = None,
    split: bool = False,
    replace: bool = False,
) -> Started:
    """Guesses the task of a labelled table and writes it with specs; see `guess_task` and `write_specs`.

    Raises:
        DataError: the table cannot be read, holds no labels, or files are already there.
    """
    frame = read_table(data)
    guess = guess_task(frame, text=text, label=label, name=name, labels=labels)
    targets = [data.parent / f"{part}.csv" for part in SPLIT]
    if split:
        there = [str(path) for path in targets if path.exists() and (path == data or not replace)]
        if there:
            raise DataError(f"{', '.join(there)} already there; move them, or leave --split out.")
    parts = guess.task.split(frame) if split else ()
    specs = write_specs(guess.task, folder, overrides=overrides, replace=replace)
    for target, part in zip(targets, parts, strict=False):
        write_frame(part, target)
    kept = ""
    if overrides is not None and "embedding" not in overrides:
        kept = (
            f"{guess.task.name}-embedding asks the embedded server, {EMBEDDED['model']}: the endpoint file has no "
            "`embedding:` block with a model that embeds."
        )
    return Started(guess, tuple(specs), tuple(targets) if split else (), data, kept)
