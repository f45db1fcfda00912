"""`init`: from a labelled table in a file to a task and specs, and to the three tables they need."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from luthier.errors import DataError
from luthier.starting.column_guesses import guess_columns
from luthier.starting.guessing import Guess, guess_task
from luthier.starting.sizing import Sizes, sizes_for
from luthier.starting.spec_files import EMBEDDED, asks_embedded, example_count, write_specs
from luthier.tables import STANDARD_INPUT, how_saved, read_table, write_frame
from luthier.tasks.task import Task

if TYPE_CHECKING:
    import pandas as pd

__all__ = ["InitReport", "sizes_of", "init_from_table"]

SPLIT = ("train", "validation", "test")


@dataclass(frozen=True)
class InitReport:
    """What was guessed and written."""

    guess: Guess
    specs: tuple[Path, ...]
    tables: tuple[Path, ...]
    data: Path
    kept: str = ""
    """What an endpoint file said nothing about."""
    remarks: tuple[str, ...] = ()
    """How the table was saved and which columns were guessed."""
    sizes: Sizes | None = None
    """What the embedded model is asked; `None` where a service answers."""

    def __str__(self) -> str:
        task = self.guess.task
        width = max(len(label) for label in task.labels)
        most = max(self.guess.counts.values()) or 1
        lines = [*self.remarks, f"task {task.name!r}: {task.type}, reads {task.text!r}, answers {task.label!r}"]
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
        limit = "" if self.sizes is None else f" --limit {self.sizes.rows}"
        lines.append(f"  luthier compare {folder} --test {test} --train {train}{limit}")
        lines += [] if self.sizes is None else [str(self.sizes)]
        if not self.tables:
            lines.append(f"(luthier init ... --split cuts {self.data} into such tables.)")
        return "\n".join(lines)


def init_from_table(
    data: Path,
    *,
    text: str | None = None,
    label: str | None = None,
    name: str | None = None,
    labels: list[str] | None = None,
    folder: Path = Path("models"),
    overrides: Mapping[str, Any] | None = None,
    split: bool = False,
    replace: bool = False,
) -> InitReport:
    """Guesses the task of a labelled table and writes it with specs; see `guess_task` and `write_specs`.

    The text and the label column are guessed where they are not given (`guess_columns`).

    Raises:
        DataError: the table cannot be read, holds no labels, or files are already there.
    """
    frame = read_table(data)
    saved = how_saved(data)
    text, label, reasons = guess_columns(frame, text, label)
    remarks = ([f"{data}: {saved}"] if saved else []) + list(reasons)
    guess = guess_task(frame, text=text, label=label, name=name, labels=labels)
    parts = guess.task.split(frame) if split else ()
    targets, note = split_targets(data, frame, replace=replace) if split else ([], "")
    remarks += [note] if note else []
    sizes = sizes_of(frame, guess.task) if asks_embedded(overrides) else None
    specs = write_specs(guess.task, folder, overrides=overrides, replace=replace, sizes=sizes)
    for target, part in zip(targets, parts, strict=False):
        write_frame(part, target)
    kept = ""
    if overrides is not None and "embedding" not in overrides:
        kept = (
            f"{guess.task.name}-embedding asks the embedded server, {EMBEDDED['model']}: the endpoint file has no "
            "`embedding:` block with a model that embeds."
        )
    return InitReport(guess, tuple(specs), tuple(targets), data, kept, tuple(remarks), sizes)


def split_targets(data: Path, frame: pd.DataFrame, *, replace: bool) -> tuple[list[Path], str]:
    """Where the parts of a table go, and a remark where those are not the usual names.

    Files that hold other rows than this table's are another table's split, and are never written over.

    Args:
        data: the table's file.
        frame: the table.
        replace: whether the parts of an earlier split of this table are written over.

    Raises:
        DataError: such parts are there and are to be kept.
    """
    folder = data.parent
    stem = "stdin" if str(data) == STANDARD_INPUT else data.name.split(".")[0]
    rows = _row_set(frame)
    others: list[str] = []
    for prefix in ("", f"{stem}-"):
        targets = [folder / f"{prefix}{part}.csv" for part in SPLIT]
        there = [path for path in targets if path.exists()]
        if not there:
            break
        if any(path.resolve() == data.resolve() or not _holds_rows_of(path, rows) for path in there):
            others = others or [str(path) for path in there]
            continue
        if not replace:
            raise DataError(
                f"{', '.join(map(str, there))} already there, from this table; --force writes over them, "
                "and without --split they are kept."
            )
        break
    else:
        raise DataError(
            f"{', '.join(map(str, there))} already there, with rows of another table; move them, or leave --split out."
        )
    if not others:
        return targets, ""
    taken = ", ".join(str(path) for path in targets)
    return targets, f"kept, as they hold another table: {', '.join(others)}; the parts of {data} go to {taken}"


def _holds_rows_of(path: Path, rows: set[tuple[str, ...]]) -> bool:
    try:
        return _row_set(read_table(path)) <= rows
    except DataError:
        # Whatever it is, it is not the part of a table that Luthier wrote.
        return False


def _row_set(frame: pd.DataFrame) -> set[tuple[str, ...]]:
    """The rows of a table as they come back from a csv: the names of its columns with its cells as text."""
    names = tuple(sorted(map(str, frame.columns)))
    cells = frame[list(names)].astype(object).where(frame[list(names)].notna(), "")
    return {names, *(tuple(map(str, row)) for row in cells.itertuples(index=False, name=None))}


def sizes_of(frame: pd.DataFrame, task: Task) -> Sizes:
    """How much of a labelled table the embedded model is asked."""
    given = frame[[task.text, task.label]].dropna()
    return sizes_for(given[task.text].tolist(), given[task.label].tolist(), example_count(task))
