"""A task guessed from a labelled table: its columns, its type and its settings."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING

from luthier.errors import DataError
from luthier.starting.by_type import are_structured, columns_of, guessed_by_type, types_that_fit
from luthier.starting.columns import MOST_LABELS, listed_columns
from luthier.tasks.labels.label_guessing import counted, labels_in_order, numbers_of, scale_of
from luthier.tasks.spellings import missing
from luthier.tasks.task import NAME_PATTERN, Task, plain_records
from luthier.tasks.types import GuessedSettings

if TYPE_CHECKING:
    import pandas as pd

__all__ = ["Guess", "guess_task", "rater_columns"]


@dataclass(frozen=True)
class Guess:
    """A task, and what was found.

    Attributes:
        task: the question.
        counts: rows by what is in them, such as their label.
        reasons: of each guess.
    """

    task: Task
    counts: Mapping[str, int]
    reasons: tuple[str, ...]


def guess_task(
    frame: pd.DataFrame,
    *,
    text: str,
    label: str,
    name: str | None = None,
    labels: list[str] | None = None,
    type_name: str | None = None,
) -> Guess:
    """Guesses the task of a labelled table, to be shown to the user and corrected.

    Args:
        frame: the labelled table.
        text: column that is read.
        label: column that holds the truth.
        name: name of the task; by default the label column's.
        labels: the labels in order, where the guess would be wrong.
        type_name: of the task; `classification` or `rating`, whichever the labels are, when absent.

    Raises:
        SpecError: there is no such type, or what was guessed is no task.
        DataError: a column is missing, or the label column holds nothing of the type.
    """
    columns = [str(column) for column in frame.columns]
    for column, option in ((text, "--text"), (label, "--label")):
        if column not in columns:
            raise DataError(
                f"the table has no column {column!r}; its columns are: {listed_columns(frame)}. Give {option}."
            )
    if type_name is None:
        type_name, guessed = _guess_labels(frame, text, label, labels)
    else:
        guessed = _guess_of_type(frame, text, label, labels, type_name)
    task_name = name or re.sub(r"[^A-Za-z0-9._-]+", "-", label).strip("-._") or "task"
    if not re.match(NAME_PATTERN, task_name):
        task_name = "task"
    task = Task(task_name, type=type_name, text=text, label=label, **guessed.settings)
    reasons = list(guessed.reasons)
    raters = rater_columns(columns, frame, task)
    if raters:
        task = Task(**{**task.document(), "raters": raters})
        reasons.append(f"columns {raters[0]} to {raters[-1]} hold single people's labels: the human ceiling")
    unread = [(row, truth) for row in plain_records(frame) if (truth := task.truth_of(row)).value is None]
    wrong = [truth for row, truth in unread if not missing(row[label])]
    if wrong:
        what = task.kind.value_name
        reasons.append(
            f"{len(wrong):,} rows hold no {what} of the task" + (f": {wrong[0].why}" if wrong[0].why else "")
        )
    # An empty cell may be an answer, such as a text without labels.
    absent = len(unread) - len(wrong)
    if absent:
        reasons.append(f"{absent} rows have no {task.kind.value_name}; leave them out before comparing")
    counts = {value: guessed.counts.get(value, 0) for value in task.labels} if task.labels else guessed.counts
    return Guess(task, counts, tuple(reasons))


def _guess_labels(frame: pd.DataFrame, text: str, label: str, labels: list[str] | None) -> tuple[str, GuessedSettings]:
    """Whether the labels of a column are a rating or classes, and which there are.

    Raises:
        DataError: it holds none, or one only, or so many that they are none.
    """
    cells = [cell for cell in frame[label].tolist() if not missing(cell)]
    if not labels and are_structured(cells):
        raise DataError(
            f"column {label!r} holds lists or objects, which are no labels.{types_that_fit(frame, text, label)}"
        )
    counts = counted(cells)
    if not counts:
        raise DataError(f"column {label!r} holds no label at all.")
    if len(counts) == 1:
        raise DataError(f"column {label!r} holds one label only, {next(iter(counts))!r}; a task needs at least 2.")
    if labels:
        ordered = numbers_of(labels) is not None or scale_of(labels) is not None
        found = list(labels)
        reasons: tuple[str, ...] = ("labels and their order as given",)
    elif len(counts) > MOST_LABELS:
        raise DataError(
            f"column {label!r} holds {len(counts)} distinct values, such as {', '.join(list(counts)[:4])}. More than "
            f"{MOST_LABELS} are not guessed to be labels: group them into fewer, give another --label, or "
            f"name all of them in order with --labels.{types_that_fit(frame, text, label)}"
        )
    else:
        found, ordered, reasons = labels_in_order(counts)
    return "rating" if ordered else "classification", GuessedSettings({"labels": found}, reasons, counts)


def _guess_of_type(
    frame: pd.DataFrame, text: str, label: str, labels: list[str] | None, type_name: str
) -> GuessedSettings:
    """What a type makes of a table; labels that were given count instead of its guess."""
    if not labels:
        return guessed_by_type(columns_of(frame), text, label, type_name)
    counts = counted(cell for cell in frame[label].tolist() if not missing(cell))
    try:
        guessed = guessed_by_type(columns_of(frame), text, label, type_name)
    except DataError:
        # What the guess lacks, such as an order, is given.
        guessed = GuessedSettings({}, (), counts)
    given = {**guessed.settings, "labels": labels}
    return GuessedSettings(given, ("labels and their order as given",), guessed.counts)


def rater_columns(columns: list[str], frame: pd.DataFrame, task: Task) -> list[str]:
    """Columns rater_01, rater_02, ... whose cells are all truths of the task."""
    found = [column for column in columns if re.fullmatch(r"rater[_-]?\d+", column)]
    read = task.kind.read_truth
    return [c for c in found if all(missing(cell) or read(cell) is not None for cell in frame[c].tolist())]
