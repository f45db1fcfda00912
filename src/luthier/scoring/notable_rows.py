"""The rows of a score that a person looks at: those without a value, and the slowest. A bounded number is kept."""

from __future__ import annotations

import heapq
import re
from collections import Counter
from collections.abc import Sequence

from luthier.evaluation.score_summary import ErrorCount, RowExample, SlowRow
from luthier.tables import Record
from luthier.tasks.prediction import Prediction

__all__ = ["NotableRows"]

MOST_SLOW = 10
MOST_EXAMPLES = 5
"""Rows of each state that has no value."""

MOST_ERRORS = 50
"""Errors that are told apart."""

LONGEST_TEXT = 500
"""Characters of a text, an answer or an error."""

WITHOUT_VALUE = ("failed", "refused", "off_label")


class NotableRows:
    """Rows without a value by their reason, examples of them, and the rows whose calls took longest.

    Args:
        texts: names of the columns of texts.
    """

    def __init__(self, texts: Sequence[str] = ("text",)) -> None:
        self._texts = texts
        self._errors: Counter[tuple[str, str]] = Counter()
        self._first: dict[tuple[str, str], tuple[str, int]] = {}
        self._examples: dict[str, list[RowExample]] = {state: [] for state in WITHOUT_VALUE}
        # The quickest of the slow ones is the first; the row's number decides between equal ones.
        self._slow: list[tuple[float, int, SlowRow]] = []

    def add(self, first_row: int, records: Sequence[Record], predictions: Sequence[Prediction]) -> None:
        """Looks at rows.

        Args:
            first_row: number of the first one in the table, from 1.
            records: the rows as they were read.
            predictions: one for each.
        """
        for row, (record, prediction) in enumerate(zip(records, predictions, strict=True), first_row):
            if prediction.state in self._examples:
                self._note_error(row, record, prediction)
            call = prediction.call
            if call.latency_seconds is not None and not call.from_journal:
                self._note_time(row, record, prediction, call.latency_seconds)

    @property
    def errors(self) -> tuple[ErrorCount, ...]:
        """Why rows have no value, the most frequent reason first."""
        return tuple(
            ErrorCount(state, self._first[state, kind][0], rows, self._first[state, kind][1])
            for (state, kind), rows in self._errors.most_common()
        )

    @property
    def examples(self) -> tuple[RowExample, ...]:
        """The first rows of each state that has no value."""
        return tuple(example for examples in self._examples.values() for example in examples)

    @property
    def slowest(self) -> tuple[SlowRow, ...]:
        """The rows whose calls took longest, the slowest first."""
        return tuple(slow for _, _, slow in sorted(self._slow, key=lambda one: (-one[0], one[1])))

    def _text(self, record: Record) -> str:
        return _cut("\n\n".join(str(cell) for name in self._texts if (cell := record.get(name)) is not None))

    def _note_error(self, row: int, record: Record, prediction: Prediction) -> None:
        error = _cut(prediction.error)
        # Request ids and waiting times differ from row to row.
        key = prediction.state, re.sub(r"[0-9a-f-]{8,}|\d+", "#", error)
        if key not in self._errors and len(self._errors) >= MOST_ERRORS:
            key, error = (prediction.state, ""), "other errors"
        self._errors[key] += 1
        self._first.setdefault(key, (error, row))
        examples = self._examples[prediction.state]
        if len(examples) < MOST_EXAMPLES:
            raw = _cut(prediction.call.raw)
            examples.append(RowExample(row, prediction.state, self._text(record), raw, error))

    def _note_time(self, row: int, record: Record, prediction: Prediction, seconds: float) -> None:
        if len(self._slow) == MOST_SLOW and seconds <= self._slow[0][0]:
            return
        call = prediction.call
        slow = SlowRow(row, seconds, prediction.state, call.input_tokens, call.output_tokens, self._text(record))
        keep = heapq.heappush if len(self._slow) < MOST_SLOW else heapq.heappushpop
        keep(self._slow, (seconds, -row, slow))


def _cut(text: object) -> str:
    shown = "" if text is None or text != text else str(text)
    return shown if len(shown) <= LONGEST_TEXT else f"{shown[:LONGEST_TEXT]} … ({len(shown) - LONGEST_TEXT:,} more)"
