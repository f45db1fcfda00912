"""The answers that a judge is to rate: those of a comparison, or of a table from anywhere."""

from __future__ import annotations

import hashlib
import random
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any

from luthier.errors import DataError, SpecError
from luthier.evaluation.leaderboard import Leaderboard
from luthier.experiments.board import Board, SpecResult
from luthier.tables import free_names, row_numbers
from luthier.tasks.prediction import Prediction
from luthier.tasks.task import Rows, Task, is_blank, plain_records

if TYPE_CHECKING:
    import pandas as pd

__all__ = [
    "ANSWER",
    "ANSWER_ID",
    "COLUMNS",
    "AnswersToJudge",
    "answer_id",
    "answers_of_board",
    "answers_of_leaderboard",
    "answers_of_table",
]

ANSWER = "answer"
"""The column that a judge rates."""

COLUMNS = ("spec", "row", "text", ANSWER, "truth")
"""Columns of the table that a judge reads; the other columns of the user's table come last."""

ANSWER_ID = "answer_id"
"""Column of a sheet for people by which their ratings find the answers."""

ONE_SPEC = "answers"
"""What the one maker of the answers of a table is called, where the table has no column `spec`."""


@dataclass(frozen=True)
class AnswersToJudge:
    """Answers of specs to the same rows, in the order of the specs, each in the order of the rows.

    Attributes:
        source: what they are called in messages, such as `run 0123`.
        specs: names of the specs.
        models: the model behind each, empty where it is not known.
        records: a row of the judge's table each; `answer` is `None` where a spec gave none.
        task: the task that was answered; `None` for a table from anywhere.
        run_id: the MLflow run of the comparison; empty where there is none.
        test_digest: of the rows that were answered.
        blank: rows without a text, which are not among the records.
        runs: by spec the MLflow run that measured it, where there is one.
    """

    source: str
    specs: tuple[str, ...]
    models: tuple[str, ...]
    records: tuple[Mapping[str, Any], ...]
    task: Task | None = None
    run_id: str = ""
    test_digest: str = ""
    blank: int = 0
    runs: Mapping[str, str] = field(default_factory=dict)

    @property
    def rows(self) -> int:
        """Rows that each spec answered."""
        return len(self.records) // len(self.specs)

    def limited(self, limit: int | None) -> AnswersToJudge:
        """The answers to at most so many rows, drawn with a fixed seed; the same rows for every spec."""
        if limit is not None and (isinstance(limit, bool) or not isinstance(limit, int) or limit < 1):
            raise DataError(f"limit {limit!r}: give a whole number of rows, 1 or more.")
        if limit is None or limit >= self.rows:
            return self
        kept = sorted(random.Random(7).sample(range(self.rows), limit))
        whole = range(len(self.specs))
        return replace(self, records=tuple(self.records[spec * self.rows + row] for spec in whole for row in kept))

    def of_specs(self, names: Sequence[str]) -> AnswersToJudge:
        """The answers of some specs only; of all where none is named.

        Raises:
            SpecError: there is no spec of that name.
        """
        unknown = [name for name in names if name not in self.specs]
        if unknown:
            raise SpecError(f"{self.source} has no answers of spec {unknown[0]!r}; it has: {', '.join(self.specs)}.")
        chosen = [place for place, name in enumerate(self.specs) if not names or name in names]
        return replace(
            self,
            specs=tuple(self.specs[place] for place in chosen),
            models=tuple(self.models[place] for place in chosen),
            records=tuple(one for k in chosen for one in self.records[k * self.rows : (k + 1) * self.rows]),
        )


def answer_id(record: Mapping[str, Any]) -> str:
    """What tells an answer from every other, whichever spec gave it: the same row and text have the same id.

    Examples:
        >>> answer_id({"spec": "few-shot", "row": 7, "answer": "Late delivery"})
        'ae70adde7e2d'
    """
    # The letter in front keeps spreadsheets from reading a number.
    text = f"{record['row']}\n{record[ANSWER]}".encode("utf-8", "replace")
    return f"a{hashlib.sha256(text).hexdigest()[:11]}"


def answers_of_board(board: Board) -> AnswersToJudge:
    """The answers of a comparison that was just made, the best spec first."""
    results: Sequence[SpecResult] = list(board)
    made = [(one.spec.name, one.spec.base_model, one.predictions) for one in results]
    first = results[0]
    found = _answers(f"run {board.run_id}", first.spec.task, first.rows, made, board.run_id, first.rows.digest)
    return replace(found, runs={one.spec.name: one.run_id for one in results})


def answers_of_leaderboard(
    board: Leaderboard, rows: Rows | None, run_id: str, runs: Mapping[str, str]
) -> AnswersToJudge:
    """The answers that the runs of a comparison keep, the best spec first; `runs` are theirs, by the spec.

    Raises:
        DataError: they keep none.
    """
    made = [
        (entry.name, entry.candidate.model, entry.candidate.predictions)
        for entry in board.entries
        if entry.candidate.predictions
    ]
    if rows is None or not made:
        raise DataError(
            f"run {run_id} has no tables of answers (predictions.parquet of its child runs): they are not in this "
            "store, or its specs were never measured. Compare again, or give a table of answers."
        )
    return replace(_answers(f"run {run_id}", board.task, rows, made, run_id, board.test_digest), runs=runs)


def _answers(
    source: str,
    task: Task,
    rows: Rows,
    made: Sequence[tuple[str, str, Sequence[Prediction]]],
    run_id: str,
    test_digest: str,
) -> AnswersToJudge:
    texts = rows.texts
    kept = [place for place, text in enumerate(texts) if text is not None]
    if not kept:
        raise DataError(f"{source} has no row with a text, so there is no answer to judge.")
    own = {task.text, task.label}
    names = free_names([name for name in rows.inputs[0] if name not in own], COLUMNS)
    shared = {
        place: {
            "row": rows.number(place),
            "text": texts[place],
            "truth": None if rows.labels[place] is None else task.kind.written(rows.labels[place]),
        }
        for place in kept
    }
    records = tuple(
        {
            "spec": name,
            **shared[place],
            ANSWER: None if predictions[place].value is None else task.kind.written(predictions[place].value),
            **{free: rows.inputs[place].get(column) for column, free in names.items()},
        }
        for name, _, predictions in made
        for place in kept
    )
    return AnswersToJudge(
        source=source,
        specs=tuple(name for name, _, _ in made),
        models=tuple("" if model == "none" else model for _, model, _ in made),
        records=records,
        task=task,
        run_id=run_id,
        test_digest=test_digest,
        blank=len(rows) - len(kept),
    )


def answers_of_table(table: pd.DataFrame, source: str) -> AnswersToJudge:
    """The answers in a table: column `answer`, and where it has them `text`, `truth`, `spec` and `row`.

    Args:
        table: a line per answer; with a column `spec` those of several specs, which answered the same rows.
        source: what it is called in messages.

    Raises:
        DataError: there is no column `answer`, or the specs answered different rows.
    """
    if ANSWER not in table.columns:
        raise DataError(
            f"{source} has no column {ANSWER!r}, which holds the answers to judge; its columns are: "
            f"{', '.join(map(str, table.columns)) or 'none'}. Rename the right one."
        )
    numbers = row_numbers(table) or tuple(range(1, len(table) + 1))
    lines = [
        {"spec": ONE_SPEC, "row": number, "text": None, "truth": None, **line}
        for number, line in zip(numbers, plain_records(table), strict=True)
    ]
    by_spec: dict[str, dict[Any, dict[str, Any]]] = {}
    for line in lines:
        known = by_spec.setdefault(str(line["spec"]), {})
        if line["row"] in known:
            raise DataError(
                f"{source} has two answers of {line['spec']} to row {line['row']}; give each row once, or name the "
                "specs in a column `spec`."
            )
        blank = is_blank(line[ANSWER])
        known[line["row"]] = line | {"spec": str(line["spec"]), ANSWER: None if blank else str(line[ANSWER])}
    if not by_spec:
        raise DataError(f"{source} has no rows.")
    first, *others = by_spec
    for other in others:
        apart = set(by_spec[first]) ^ set(by_spec[other])
        if apart:
            raise DataError(
                f"{source}: {first} and {other} did not answer the same rows ({len(apart)} are of one of them only), "
                "so they cannot be compared. Leave those rows out."
            )
    records = tuple(by_spec[name][row] for name in by_spec for row in by_spec[first])
    return AnswersToJudge(source=source, specs=tuple(by_spec), models=("",) * len(by_spec), records=records)
