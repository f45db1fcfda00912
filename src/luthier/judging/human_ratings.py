"""What people say of the same answers: columns of the answers' own table, or of a further one."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from luthier.errors import DataError, UserError
from luthier.judging.answers_to_judge import ANSWER_ID, COLUMNS, AnswersToJudge, answer_id
from luthier.tables import frame_of
from luthier.tasks.task import Task, is_blank, plain_records

if TYPE_CHECKING:
    import pandas as pd

__all__ = ["HUMAN", "HumanRatings", "human_ratings", "is_table_name"]

HUMAN = "human"
"""Column of a sheet that a person fills in."""

HumanRatings = Mapping[str, Sequence[Any | None]]
"""By rater the label of each answer, `None` where that person gave none; as many as there are answers."""

JUDGED = (
    *COLUMNS,
    ANSWER_ID,
    "state",
    "error",
    "raw",
    "expected",
    "cost_usd",
    "latency_seconds",
    "input_tokens",
    "output_tokens",
)
"""Columns of a table of judged answers that hold no person's rating."""

TABLE_ENDS = (".csv", ".tsv", ".parquet", ".jsonl", ".json", ".xlsx", ".gz", ".zst", ".feather", ".arrow")


def is_table_name(given: str) -> bool:
    """Whether a text names a table and not a column."""
    return Path(given).suffix.lower() in TABLE_ENDS or Path(given).is_file()


def human_ratings(task: Task, answers: AnswersToJudge, given: Sequence[Any]) -> tuple[HumanRatings, int]:
    """People's ratings of the answers, and how many lines of ratings are about other answers.

    Args:
        task: of the judge, whose labels they are.
        answers: that are judged.
        given: names of columns, and at most one table: a path or a DataFrame with the columns and `answer_id`, or
            `row` (and `spec`, where there are several). Without a table the columns are those of the answers' own
            table; without columns those of the task (`label`, `raters`), else all that hold labels of the judge.

    Raises:
        DataError: a column is missing, holds something else than labels, or no answer has a rating.
        UserError: two tables were given.
    """
    if not given:
        return {}, 0
    tables = [one for one in given if not isinstance(one, str) or is_table_name(one)]
    names = [one for one in given if isinstance(one, str) and not is_table_name(one)]
    if len(tables) > 1:
        raise UserError("people's ratings are in one table; put those of several people into columns of it.")
    if tables:
        source = str(tables[0]) if isinstance(tables[0], str | Path) else "the table of people's ratings"
        lines, others = _by_answer(answers, frame_of(tables[0], source), source)
    else:
        source, lines, others = answers.source, list(answers.records), []
    unrated = DataError(
        f"no answer of {answers.source} has a rating in {source}. Ratings belong to an answer by the `answer_id` of "
        "a sheet, which is of this text as answer to this row, or by `spec` and `row`, its number in the table that "
        "was compared on."
    )
    if not any(map(any, (line.values() for line in lines))):
        raise unrated
    columns = names or _rating_columns(task, lines, source)
    if not tables:
        _refuse_truths(answers, columns)
    found = {column: _read(task, lines, column, source) for column in columns}
    if not any(label is not None for labels in found.values() for label in labels):
        raise unrated
    return found, sum(any(not is_blank(line[column]) for column in columns) for line in others)


def _refuse_truths(answers: AnswersToJudge, columns: Sequence[str]) -> None:
    """Refuses columns in which people answered the question itself: they are no ratings of a spec's answers."""
    asked = set() if answers.task is None else {"truth", *answers.task.raters}
    wrong = [column for column in columns if column in asked]
    if wrong:
        raise DataError(
            f"column {wrong[0]!r} holds what people answered to the texts themselves, and the judge is held against "
            "people's ratings of the specs' answers. luthier judge --sheet FILE writes a table for these."
        )


def _by_answer(
    answers: AnswersToJudge, table: pd.DataFrame, source: str
) -> tuple[list[Mapping[str, Any]], list[Mapping[str, Any]]]:
    """The line of the table about each answer, empty where there is none, and the lines about no answer."""
    if ANSWER_ID in table.columns:
        keys, ids = [ANSWER_ID], [(answer_id(one),) for one in answers.records]
        return _matched(table, keys, ids, source)
    keys = ["row"] if len(answers.specs) == 1 and "spec" not in table.columns else ["spec", "row"]
    missing = [key for key in keys if key not in table.columns]
    if missing:
        raise DataError(
            f"{source} has no column {', '.join(map(repr, missing))}: people's ratings are found by "
            f"{' and '.join(keys)}. luthier judge --sheet FILE writes a table to be filled in."
        )
    return _matched(table, keys, [tuple(_key(one[name]) for name in keys) for one in answers.records], source)


def _matched(
    table: pd.DataFrame, keys: Sequence[str], wanted: Sequence[tuple[str, ...]], source: str
) -> tuple[list[Mapping[str, Any]], list[Mapping[str, Any]]]:
    known: dict[tuple[str, ...], Mapping[str, Any]] = {}
    for line in plain_records(table):
        key = tuple(_key(line[name]) for name in keys)
        if key in known:
            raise DataError(f"{source} has two lines of {' and '.join(keys)} {', '.join(key)}; leave one of them out.")
        known[key] = line
    columns = [str(column) for column in table.columns]
    nothing: Mapping[str, Any] = dict.fromkeys(columns)
    asked = set(wanted)
    return [known.get(key, nothing) for key in wanted], [line for key, line in known.items() if key not in asked]


def _key(cell: Any) -> str:
    # Row 7 of a file with an empty cell below is read as 7.0.
    return str(int(cell)) if isinstance(cell, float) and cell.is_integer() else str(cell)


def _rating_columns(task: Task, lines: Sequence[Mapping[str, Any]], source: str) -> list[str]:
    there = list(lines[0])
    own = [column for column in (task.label, *task.raters) if column in there]
    if task.raters and set(task.raters) <= set(there):
        # The label column is then made of theirs.
        own = list(task.raters)
    if own:
        return own
    free = [column for column in there if column not in JUDGED]
    labels = [column for column in free if column == HUMAN or _holds_labels(task, [line[column] for line in lines])]
    if not labels:
        raise DataError(
            f"{source} has no column of ratings: none is called {task.label!r}, and none of "
            f"{', '.join(free) or 'the others'} holds labels of the judge ({', '.join(task.labels)}). Name it with "
            "--human COLUMN (human=)."
        )
    return labels


def _holds_labels(task: Task, cells: Sequence[Any]) -> bool:
    """Whether most are labels; reading the column names the cell that is not."""
    said = [cell for cell in cells if not is_blank(cell)]
    return bool(said) and sum(task.canonical_label(cell) is not None for cell in said) > len(said) / 2


def _read(task: Task, lines: Sequence[Mapping[str, Any]], column: str, source: str) -> list[Any | None]:
    if column not in lines[0]:
        raise DataError(f"{source} has no column {column!r} with people's ratings; it has: {', '.join(lines[0])}.")
    found: list[Any | None] = []
    for line in lines:
        cell = line[column]
        label = None if is_blank(cell) else task.canonical_label(cell)
        if label is None and not is_blank(cell):
            raise DataError(
                f"column {column!r} of {source} holds {str(cell)[:40]!r} (row {line.get('row')}), which is no label of "
                f"the judge: {', '.join(task.labels)}. Correct it or leave the cell empty. If people's ratings are in "
                "another column, name it: --human COLUMN (human=)."
            )
        found.append(label)
    return found
