"""The answers that a model records of itself: rows of its measurement, and what the journal has about them.

Up to 20 rows of the test table travel with a packaged model. `LUTHIER_RECORDED_ANSWERS=no` leaves them out.
"""

from __future__ import annotations

import os
from collections import Counter, deque
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from luthier.engine.default_engine import default_engine
from luthier.engine.engine import Engine
from luthier.errors import LuthierError, UserError
from luthier.packaging.loading import find_model
from luthier.packaging.recorded_answers import (
    MOST_ROWS,
    RecordedAnswer,
    RecordedAnswers,
    RecordedRow,
    difference,
    plain_cell,
    read_recorded,
    recorded_prediction,
)
from luthier.providers.exchange import Request
from luthier.spec import Fitted
from luthier.tables import free_names
from luthier.tasks.task import Task, plain_records
from luthier.tracking.runs import tag_of
from luthier.tracking.store_file import missing_store
from luthier.tracking.stores import connect

if TYPE_CHECKING:
    import pandas as pd

__all__ = ["VARIABLE", "record_answers", "recorded_of"]

VARIABLE = "LUTHIER_RECORDED_ANSWERS"
"""Environment variable; `no` packages models without rows of the test table."""

MOST_TRIED = 200
"""Rows that are looked at, where many of them cannot be recorded."""

LONGEST_TEXT = 4_000
"""Characters of a row's inputs; longer rows are left out."""

MOST_BYTES = 2_000_000
"""Bytes of all recorded rows and answers."""

PREDICTIONS = "predictions.parquet"

OF_ANSWERS_TABLE = ("row", "text", "truth", "raw", "cost_usd", "latency_seconds", "input_tokens", "output_tokens")
"""Columns that `experiments.answer_tables` writes beside the predictions."""


def recorded_of(model_uri: str) -> RecordedAnswers | None:
    """What a packaged model recorded; of an earlier one, what its run and the journal still have.

    Args:
        model_uri: what `luthier.load` takes.

    Returns:
        `None` for a model that no run measured.

    Raises:
        ModelError: nothing is there, it is not a Luthier model, or its file is damaged.
    """
    found = find_model(model_uri)
    recorded = read_recorded(found.folder.data)
    if recorded is not None or found.folder.run_id is None:
        return recorded
    if missing_store() is not None:
        return None
    connect()
    return record_answers(found.fitted, found.folder.run_id)


def record_answers(fitted: Fitted, run_id: str, engine: Engine | None = None) -> RecordedAnswers | None:
    """Up to 20 rows of a measurement, spread over labels and states, with what the service answered; sends nothing.

    A row that the model would answer otherwise by now, as where the journal was asked anew, is left out.

    Args:
        fitted: what was measured.
        run_id: the run that measured it.
        engine: the one whose journal has the answers; the process's own when absent.

    Returns:
        `None` where the run did not measure this model, or its predictions are not to be had.

    Raises:
        UserError: `LUTHIER_RECORDED_ANSWERS` is neither yes nor no.
    """
    with_rows = _are_rows_wanted()
    frame = _predictions(fitted, run_id)
    if frame is None:
        return None
    task = fitted.spec.task
    shares = _shares(task, frame)
    if not with_rows:
        return RecordedAnswers(labels=shares, rows_measured=len(frame) or None)
    engine = engine or default_engine()
    rows: list[RecordedRow] = []
    answers: dict[bytes, RecordedAnswer] = {}
    size = 0
    records = _inputs(fitted, frame)
    predicted = _recorded_predictions(task, frame)
    for place in _spread(predicted):
        if len(rows) == MOST_ROWS:
            break
        found = _recorded_row(fitted, engine, records[place], predicted[place])
        if found is None:
            continue
        row, its_answers = found
        more = sum(len(one.entry.body or b"") for one in its_answers) + len(str(row.inputs))
        if size + more > MOST_BYTES:
            continue
        size += more
        rows.append(row)
        answers |= {one.entry.key: one for one in its_answers}
    return RecordedAnswers(tuple(rows), tuple(answers.values()), shares, len(frame) or None)


def _are_rows_wanted() -> bool:
    given = os.environ.get(VARIABLE, "yes").strip().lower()
    if given not in ("yes", "no"):
        raise UserError(f"{VARIABLE} is {given!r}; give yes, or no to package models without rows of the test table.")
    return given == "yes"


def _predictions(fitted: Fitted, run_id: str) -> pd.DataFrame | None:
    import mlflow
    import pandas as pd
    from mlflow.exceptions import MlflowException

    client = mlflow.MlflowClient()
    try:
        if tag_of(client.get_run(run_id).data.tags, "fitted_digest") != fitted.digest:
            return None
        if all(file.path != PREDICTIONS for file in client.list_artifacts(run_id)):
            return None
        file = Path(mlflow.artifacts.download_artifacts(run_id=run_id, artifact_path=PREDICTIONS))
    except (MlflowException, OSError):
        # The run or its files are deleted, or elsewhere: the model is as good without.
        return None
    frame = pd.read_parquet(file)
    return frame if {"text", "truth", *fitted.spec.task.kind.columns} <= set(frame.columns) else None


def _shares(task: Task, frame: pd.DataFrame) -> dict[str, float]:
    kind = task.kind
    truths = [truth for truth in map(kind.read_truth, frame["truth"]) if truth is not None]
    counts = Counter(part for truth in truths for part in set(kind.counted_in(truth)))
    return {part: counts[part] / len(truths) for part in kind.counted} if truths else {}


def _inputs(fitted: Fitted, frame: pd.DataFrame) -> list[dict[str, Any]]:
    """The columns that the model reads, under their own names."""
    spec = fitted.spec
    others = [name for name in spec.columns if name != spec.task.text]
    taken = (*OF_ANSWERS_TABLE, *spec.task.kind.columns)
    names = {"text": spec.task.text} | {free: name for name, free in free_names(others, taken).items()}
    if not set(names) <= set(frame.columns):
        return [{} for _ in range(len(frame))]
    return plain_records(frame[list(names)].rename(columns=names))


def _recorded_predictions(task: Task, frame: pd.DataFrame) -> list[dict[str, Any]]:
    names = [name for name in task.kind.columns if name != "error"]
    return [{name: plain_cell(cell) for name, cell in row.items()} for row in plain_records(frame[names])]


def _spread(predicted: Sequence[Mapping[str, Any]]) -> Iterator[int]:
    """Places of rows, in turn one of each label and state that was predicted."""
    groups: dict[tuple[Any, str], deque[int]] = {}
    for place, row in enumerate(predicted):
        if row["state"] != "failed":
            groups.setdefault((next(iter(row.values())), row["state"]), deque()).append(place)
    waiting = deque(groups.values())
    for _ in range(MOST_TRIED):
        if not waiting:
            return
        group = waiting.popleft()
        yield group.popleft()
        if group:
            waiting.append(group)


def _recorded_row(
    fitted: Fitted, engine: Engine, inputs: Mapping[str, Any], measured: Mapping[str, Any]
) -> tuple[RecordedRow, list[RecordedAnswer]] | None:
    task = fitted.spec.task
    if task.text not in inputs or sum(len(str(cell)) for cell in inputs.values()) > LONGEST_TEXT:
        return None
    if any(not isinstance(cell, str | int | float | None) for cell in inputs.values()):
        # A time or a list is spelled otherwise in JSON, and the model would be asked something else.
        return None
    try:
        found = engine.recall(fitted.predict(task.rows_of((inputs,))), fitted.spec.endpoint)
    except LuthierError:
        # Its cells cannot be had from the table as they were.
        return None
    if found.missing or found.result is None:
        return RecordedRow(inputs, measured, False), []
    now = recorded_prediction(task, found.result[0])
    if difference(measured, now) is not None:
        return None
    answers = _answers(fitted, engine, [request for requests in found.rounds for request in requests])
    return RecordedRow(inputs, now, answers is not None), answers or []


def _answers(fitted: Fitted, engine: Engine, requests: Sequence[Request]) -> list[RecordedAnswer] | None:
    """What the journal has of requests; `None` where a body is no text."""
    answers = []
    for request, entry in zip(requests, engine.entries(requests, fitted.spec.endpoint), strict=True):
        endpoint = request.endpoint or fitted.spec.endpoint
        if entry is None or endpoint is None:
            return None
        try:
            (entry.body or b"").decode()
        except UnicodeDecodeError:
            return None
        answers.append(RecordedAnswer(entry, endpoint.address))
    return answers
