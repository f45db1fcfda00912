"""Row by row what a spec answered, beside everything that tells the user's rows apart."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from luthier.errors import DataError
from luthier.tables import free_names, series_of, storable_cells, text_series
from luthier.tasks.prediction import CallRecord, Prediction
from luthier.tasks.task import Rows, Task, is_blank

if TYPE_CHECKING:
    import pandas as pd

__all__ = ["answers_frame", "answers_table", "read_answers"]

OWN = ("row", "text", "truth", "raw", "cost_usd", "latency_seconds", "input_tokens", "output_tokens")
"""Columns of a table of answers beside those of the prediction and of the user's table."""


def answers_frame(task: Task, rows: Rows, predictions: Sequence[Prediction]) -> pd.DataFrame:
    """Number of the row in its table, text, truth, prediction columns, raw answer, cost, latency, other columns.

    Of several texts of a row, `text` is the first. The index is that of the user's DataFrame, so that
    `frame.loc[answers.index]` are the rows as they were given. A column of the table that has the name of a column here
    is called `NAME_input`.
    """
    import pandas as pd

    numbers = list(rows.numbers or range(1, len(rows) + 1))
    text_values = task.kind.value_column == "text"
    truths = [task.kind.cell(label) for label in rows.labels]
    columns: dict[str, pd.Series[Any]] = {
        "row": pd.Series(numbers, dtype="int64"),
        "text": text_series(None if is_blank(row[rows.text]) else str(row[rows.text]) for row in rows.inputs),
        "truth": text_series(truths) if text_values else pd.Series(truths, dtype="float64"),
    }
    answered = task.kind.frame(predictions)
    columns |= {str(name): answered[name] for name in answered.columns}
    columns |= {
        "raw": text_series(p.call.raw for p in predictions),
        "cost_usd": pd.Series([p.call.cost_usd for p in predictions], dtype="float64"),
        "latency_seconds": pd.Series([p.call.latency_seconds for p in predictions], dtype="float64"),
        "input_tokens": pd.Series([p.call.input_tokens for p in predictions], dtype="int64"),
        "output_tokens": pd.Series([p.call.output_tokens for p in predictions], dtype="int64"),
    }
    # The two that are there already under names of their own.
    others = [name for name in (rows.inputs[0] if rows.inputs else ()) if name not in (task.text, task.label)]
    for name, free in free_names(others, tuple(columns)).items():
        columns[free] = series_of([row.get(name) for row in rows.inputs])
    frame = pd.DataFrame(columns)
    frame.index = index_of(rows, numbers)
    return frame


def answers_table(task: Task, rows: Rows, predictions: Sequence[Prediction]) -> pd.DataFrame:
    """As `answers_frame`, for files: an index that says more than the row's place as columns, cells a file can hold."""
    frame = answers_frame(task, rows, predictions)
    if rows.index:
        named = [name or f"index{place or ''}" for place, name in enumerate(rows.index_names)]
        levels = list(enumerate(free_names(named, tuple(frame.columns)).values()))
        for place, name in reversed(levels):
            frame.insert(1, name, series_of(frame.index.get_level_values(place).tolist()).to_numpy())
    for name in frame.columns:
        if frame[name].dtype == object:
            frame[name] = series_of(storable_cells(frame[name].tolist())).to_numpy()
    return frame.reset_index(drop=True)


def read_answers(task: Task, table: pd.DataFrame) -> tuple[Rows, tuple[Prediction, ...]]:
    """The rows and predictions that `answers_table` wrote.

    Labels of an index are columns of the rows. Whether a row was answered from the journal is not in the table.

    Raises:
        DataError: the table lacks a column of this task's answers.
    """
    kind = task.kind
    missing = [name for name in (*OWN, *kind.columns) if name not in table.columns]
    if missing:
        raise DataError(f"these are no answers of task {task.name!r}: the table lacks {', '.join(missing)}.")
    others = {name: name for name in table.columns if name not in {*OWN, *kind.columns}}
    # What is read goes by its own name again; the rest is told apart from the columns here.
    others |= {free: name for name, free in free_names(kind.further_columns, (*OWN, *kind.columns)).items()}
    shares = [f"p_{part}" for part in kind.parts if f"p_{part}" in kind.columns]
    whole = table.astype(object).where(table.notna(), None)
    lines: list[dict[Any, Any]] = whole.to_dict("records")
    truths = tuple(None if line["truth"] is None else kind.read_truth(line["truth"]) for line in lines)
    inputs = tuple(
        {task.text: line["text"], task.label: truth} | {name: line.get(column) for column, name in others.items()}
        for line, truth in zip(lines, truths, strict=True)
    )
    predictions = []
    for line in lines:
        scores = [line[name] for name in shares]
        predictions.append(
            Prediction(
                value=kind.recorded(line),
                state=line["state"],
                scores=tuple(scores) if scores and None not in scores else None,
                error=line["error"],
                call=CallRecord(
                    raw=line["raw"],
                    cost_usd=line["cost_usd"],
                    latency_seconds=line["latency_seconds"],
                    input_tokens=int(line["input_tokens"]),
                    output_tokens=int(line["output_tokens"]),
                ),
            )
        )
    rows = replace(task.rows_of(inputs, truths), numbers=tuple(int(line["row"]) for line in lines))
    return rows, tuple(predictions)


def index_of(rows: Rows, numbers: list[int]) -> pd.Index[Any]:
    """The index of the DataFrame the rows come from."""
    import pandas as pd

    if not rows.index:
        return pd.Index([number - 1 for number in numbers]) if rows.numbers else pd.RangeIndex(len(numbers))
    if len(rows.index_names) > 1:
        return pd.MultiIndex.from_tuples(list(rows.index), names=list(rows.index_names))
    found: pd.Index[Any] = pd.Index(list(rows.index), name=rows.index_names[0], tupleize_cols=False)
    return found
