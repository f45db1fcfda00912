"""Answers that a packaged model recorded of itself, and their replay: the same model gives them again.

`recorded_answers.json` lies beside `spec.yaml`. It has rows of the test table with their predictions, and what the
service answered to the requests that these rows lead to. A server replays them when it starts, which sends nothing: a
changed template asks other questions, and a changed label list, calibration or head reads the same answers differently.
"""

from __future__ import annotations

import json
import logging
import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from luthier.engine.engine import Engine
from luthier.errors import LuthierError, ModelError
from luthier.journal.journal import Journal, JournalEntry
from luthier.spec import Fitted
from luthier.tasks.prediction import Prediction
from luthier.tasks.task import Rows, Task
from luthier.techniques.fitted_folder import plain_file

logger = logging.getLogger(__name__)

__all__ = [
    "FILE",
    "MOST_ROWS",
    "SCORES_WITHIN",
    "RecordedAnswer",
    "RecordedAnswers",
    "RecordedRow",
    "ReplayResult",
    "difference",
    "plain_cell",
    "read_recorded",
    "recorded_prediction",
    "replay",
]

FILE = "recorded_answers.json"
SCHEMA = 1
LARGEST_FILE = 8_000_000
"""Bytes; what is written has at most `recording.MOST_BYTES`."""

MOST_ROWS = 20
"""Rows that are recorded. A deployment asks them, which is paid for: a file with more was not written by Luthier."""

SCORES_WITHIN = 1e-6
"""By this much a number may differ: another processor rounds the last digits of the same computation otherwise."""

ENTRY_FIELDS = (
    *("operation", "identity", "model", "reported_model", "status", "failure", "error"),
    *("input_tokens", "output_tokens"),
)
TEXTS = ("operation", "identity", "model", "state")
TEXTS_OR_NONE = ("reported_model", "failure", "error")
LARGEST_COUNT = 2**31


@dataclass(frozen=True, slots=True)
class RecordedRow:
    """A row of the test table and what the model answered.

    Attributes:
        inputs: the columns that the model reads.
        prediction: the prediction columns but `error`, `None` where there is no value.
        has_answers: whether everything the service answered for it is recorded, so that it can be replayed.
    """

    inputs: Mapping[str, Any]
    prediction: Mapping[str, Any]
    has_answers: bool

    @property
    def state(self) -> str:
        """The state of the prediction."""
        return str(self.prediction.get("state"))


@dataclass(frozen=True, slots=True)
class RecordedAnswer:
    """What the service answered to one request.

    Attributes:
        entry: as the journal keeps it.
        address: of the endpoint that was asked.
    """

    entry: JournalEntry
    address: str


@dataclass(frozen=True, slots=True)
class RecordedAnswers:
    """What a packaged model recorded of itself.

    Attributes:
        rows: some of those it was measured on, spread over labels and states.
        answers: what the service answered to their requests.
        labels: share of the rows it was measured on whose truth has each label, kind, field or bin of scores.
        rows_measured: how many rows those are; `None` in what an earlier version recorded.
    """

    rows: tuple[RecordedRow, ...] = ()
    answers: tuple[RecordedAnswer, ...] = ()
    labels: Mapping[str, float] = field(default_factory=dict)
    rows_measured: int | None = None

    def rows_of(self, task: Task) -> Rows:
        """The rows as a technique takes them, without their truths."""
        return task.rows_of([row.inputs for row in self.rows])

    def to_json(self) -> str:
        """The text of the file.

        Raises:
            UnicodeDecodeError: an answer is no UTF-8.
        """
        document = {
            "schema": SCHEMA,
            "labels": dict(self.labels),
            "rows_measured": self.rows_measured,
            "rows": [
                {"inputs": dict(row.inputs), "prediction": dict(row.prediction), "has_answers": row.has_answers}
                for row in self.rows
            ],
            "answers": [
                {
                    "key": answer.entry.key.hex(),
                    "address": answer.address,
                    "state": answer.entry.state,
                    **{name: getattr(answer.entry, name) for name in ENTRY_FIELDS},
                    "body": None if answer.entry.body is None else answer.entry.body.decode(),
                }
                for answer in self.answers
            ],
        }
        return json.dumps(document, ensure_ascii=False, indent=1, allow_nan=False)


@dataclass(frozen=True, slots=True)
class ReplayResult:
    """How a replay came out.

    Attributes:
        alike: rows that came out as recorded.
        differing: number of the recorded row, from 1, and how it differs.
        without_answers: rows whose answers of the service were not recorded, so that they cannot be replayed.
    """

    alike: int
    differing: Mapping[int, str]
    without_answers: int

    @property
    def passed(self) -> bool:
        """Whether nothing differs."""
        return not self.differing

    def __str__(self) -> str:
        total = self.alike + len(self.differing)
        if not total:
            return "nothing was recorded that could be replayed"
        words = f"{self.alike} of {total} recorded answers replayed"
        if self.differing:
            number, why = next(iter(self.differing.items()))
            words += f"; row {number}: {why}"
        return words


def read_recorded(folder: str | Path) -> RecordedAnswers | None:
    """What the model with this fitted folder recorded; `None` for one that recorded nothing, as earlier ones did.

    Raises:
        ModelError: the file is damaged, or was written by a newer luthier.
    """
    file = plain_file(Path(folder) / FILE, str(folder))
    if not file.is_file():
        return None
    try:
        if file.stat().st_size > LARGEST_FILE:
            raise ValueError(f"it has more than {LARGEST_FILE:,} bytes")
        document = json.loads(file.read_text(encoding="utf-8"))
        if document.get("schema") != SCHEMA:
            raise ValueError(f"it has schema {document.get('schema')!r}, and this luthier reads {SCHEMA}")
        if len(document["rows"]) > MOST_ROWS:
            raise ValueError(f"it has {len(document['rows'])} rows, and at most {MOST_ROWS} are recorded")
        return RecordedAnswers(
            tuple(
                RecordedRow(dict(row["inputs"]), dict(row["prediction"]), bool(row["has_answers"]))
                for row in document["rows"]
            ),
            tuple(_answer(answer) for answer in document["answers"]),
            {str(label): float(share) for label, share in document["labels"].items()},
            _count_or_none(document.get("rows_measured")),
        )
    except (OSError, ValueError, TypeError, KeyError, AttributeError, RecursionError) as error:
        raise ModelError(f"{folder}: its {FILE} cannot be used ({error}). Copy or log the model again.") from error


def _count_or_none(given: Any) -> int | None:
    if given is not None and (type(given) is not int or given < 1):
        raise ValueError(f"rows_measured is {given!r}, and no number of rows")
    return given


def _answer(document: Mapping[str, Any]) -> RecordedAnswer:
    """An answer as the journal takes it.

    Raises:
        ValueError: a field is of another type, or is no text that UTF-8 can write.
    """
    body = document["body"]
    for name in (*TEXTS, *TEXTS_OR_NONE):
        value = document[name]
        if not isinstance(value, str) and (value is not None or name in TEXTS):
            raise ValueError(f"{name} of an answer is no text")
        (value or "").encode()
    for name in ("status", "input_tokens", "output_tokens"):
        value = document[name]
        if type(value) is not int and (value is not None or name != "status"):
            raise ValueError(f"{name} of an answer is no whole number")
        if not 0 <= (value or 0) < LARGEST_COUNT:
            raise ValueError(f"{name} of an answer is out of range")
    entry = JournalEntry(
        key=bytes.fromhex(document["key"]),
        state=document["state"],
        body=None if body is None else body.encode(),
        **{name: document[name] for name in ENTRY_FIELDS},
    )
    return RecordedAnswer(entry, str(document["address"]))


def replay(fitted: Fitted, recorded: RecordedAnswers) -> ReplayResult:
    """Runs the recorded rows through a model with the recorded answers of the service; sends nothing.

    Args:
        fitted: the model, with the endpoint it was packaged with.
        recorded: what it recorded when it was packaged.
    """
    engine = Engine(Journal.in_memory())
    try:
        engine.journal.put(answer.entry for answer in recorded.answers)
        for answer in recorded.answers:
            entry = answer.entry
            if entry.reported_model is not None:
                engine.journal.saw_snapshot(answer.address, entry.model, entry.reported_model)
        rows = recorded.rows_of(fitted.spec.task)
        alike, without, differing = 0, 0, {}
        for place, row in enumerate(recorded.rows):
            if not row.has_answers:
                without += 1
            elif (why := _replayed(engine, fitted, rows.take([place]), row)) is None:
                alike += 1
            else:
                differing[place + 1] = why
        return ReplayResult(alike, differing, without)
    finally:
        engine.close()


def _replayed(engine: Engine, fitted: Fitted, row: Rows, recorded: RecordedRow) -> str | None:
    """How a row that was run again differs; `None` where it does not."""
    try:
        found = engine.recall(fitted.predict(row), fitted.spec.endpoint)
    except Exception as error:  # what was changed in a packaged model may break the technique anywhere
        logger.warning("a recorded row cannot be answered any more", exc_info=not isinstance(error, LuthierError))
        return f"it cannot be answered any more: {error if isinstance(error, LuthierError) else type(error).__name__}"
    if found.missing or found.result is None:
        return "the model asks something else now than when it was recorded"
    return difference(recorded.prediction, recorded_prediction(fitted.spec.task, found.result[0]))


def recorded_prediction(task: Task, prediction: Prediction) -> dict[str, Any]:
    """A prediction as it is recorded and sent: its columns without `error`, whose words may change."""
    return {name: plain_cell(cell) for name, cell in task.kind.record(prediction).items() if name != "error"}


def plain_cell(cell: Any) -> Any:
    """A cell of a prediction column as JSON has it, `None` for a missing number."""
    if cell is None or isinstance(cell, str):
        return cell
    number = float(cell)
    return number if math.isfinite(number) else None


def difference(recorded: Mapping[str, Any], given: Mapping[str, Any]) -> str | None:
    """The first prediction column that is not as recorded, and how; `None` where all are.

    A text is not shown: what a server says of its readiness needs no key.

    Args:
        recorded: prediction columns.
        given: the same, as answered now.
    """
    for name in dict.fromkeys([*recorded, *given]):
        if name == "error":
            continue
        before, now = recorded.get(name), given.get(name)
        if isinstance(before, int | float) and isinstance(now, int | float):
            if not math.isclose(before, now, rel_tol=SCORES_WITHIN, abs_tol=SCORES_WITHIN):
                return f"{name} was {before:.6g} and is {now:.6g}"
        elif name == "state" and before != now:
            return f"state was {before} and is {now}"
        elif before != now:
            return f"{name} is another one" if None not in (before, now) else f"{name} is there once only"
    return None
