"""Rows that spoil a measurement: a text on both sides of it, a text with two labels, a label without rows."""

from __future__ import annotations

import re
import zlib
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from math import sqrt

from luthier.tasks.task import Rows, Task
from luthier.techniques.prompt.few_shot import same_text
from luthier.tuning.preflight_findings import PreflightFinding, RowExcerpt

__all__ = ["leaked_rows", "row_findings", "without_leaks"]

HELD_OUT = (("train", "validation"), ("train", "test"), ("validation", "test"))
"""Tables that must not share a text; the rows of the first are the ones to give up."""

MOST_SHOWN = 3

ENOUGH_TO_CHOOSE = 200
"""Validation rows from which on an accuracy is known to about .07 on either side."""

FEW = 10
"""A label with fewer training rows is hardly learned."""

SHINGLE_WORDS = 5
SKETCH = 16
SHARED_FOR_A_LOOK = 3
ALIKE = 0.5
"""Two texts are nearly the same when they share half of all runs of five words: one in a dozen words changed."""
LEAST_WORDS = 10
COMMONPLACE = 50
"""A run of words in so many training rows tells nothing about two of them."""

WORD = re.compile(r"\w+")

Tables = Mapping[str, Rows]


def row_findings(task: Task, columns: Sequence[str], tables: Tables) -> list[PreflightFinding]:
    """What a person should know of these rows before paying for training on them.

    Args:
        task: the question.
        columns: those the spec reads.
        tables: labelled rows by `train`, and perhaps `validation` and `test`.
    """
    return [
        *_leaks(tables),
        *_near_leaks(tables),
        *_labels(task, tables),
        *_repeats(tables["train"], columns),
        *_too_small(tables),
    ]


def leaked_rows(tables: Tables, first: str, second: str) -> list[tuple[int, int]]:
    """Positions in `first` whose text stands in `second` too, each with a position there."""
    if first not in tables or second not in tables:
        return []
    there: dict[str, int] = {}
    for position, key in _keys(tables[second]):
        there.setdefault(key, position)
    return [(position, there[key]) for position, key in _keys(tables[first]) if key in there]


def without_leaks(tables: Tables) -> dict[str, list[int]]:
    """Positions to keep of each table so that no text stands in two: the rows that measure stay, the others go."""
    gone: dict[str, set[int]] = {name: set() for name in tables}
    for first, second in HELD_OUT:
        gone.setdefault(first, set()).update(position for position, _ in leaked_rows(tables, first, second))
    return {name: [i for i in range(len(rows)) if i not in gone[name]] for name, rows in tables.items()}


def _leaks(tables: Tables) -> list[PreflightFinding]:
    found = []
    for first, second in HELD_OUT:
        pairs = leaked_rows(tables, first, second)
        if not pairs:
            continue
        there = len({tables[second].texts[other] for _, other in pairs})
        shown = [
            place
            for here, other in pairs[:MOST_SHOWN]
            for place in (RowExcerpt.of(first, tables[first], here), RowExcerpt.of(second, tables[second], other))
        ]
        harm = "so the figures measured on them would be too good"
        if first != "train":
            harm = "so the model would be chosen by rows it is then tested on"
        found.append(
            PreflightFinding(
                f"leak_{first}_{second}",
                True,
                f"{len(pairs):,} {first} rows have a text of the {second} table ({there:,} of its "
                f"{len(tables[second]):,} rows), {harm}.",
                f"Add --drop-leaked to leave them out of the {first} table, or correct the tables.",
                tuple(shown),
            )
        )
    return found


def _near_leaks(tables: Tables) -> list[PreflightFinding]:
    found = []
    marked: dict[str, NearDuplicateIndex] = {}
    for first, second in HELD_OUT:
        if first not in tables or second not in tables:
            continue
        marked[first] = marked.get(first) or NearDuplicateIndex(tables[first])
        pairs = marked[first].near(tables[second])
        if not pairs:
            continue
        here, other, share = max(pairs, key=lambda pair: pair[2])
        found.append(
            PreflightFinding(
                f"near_leak_{first}_{second}",
                False,
                f"{len(pairs):,} {second} rows are nearly the same as a {first} row, up to {share:.0%} alike.",
                "Look at them; figures on such rows are too good.",
                (RowExcerpt.of(first, tables[first], here), RowExcerpt.of(second, tables[second], other)),
            )
        )
    return found


class NearDuplicateIndex:
    """Rows by the smallest hashes of their runs of five words.

    Only texts that share some of their sixteen smallest hashes are looked at closely, so that the work grows with
    the rows and not with the pairs.

    Args:
        rows: those to be found again.
    """

    def __init__(self, rows: Rows) -> None:
        self._texts = dict(_keys(rows))
        self._rows_of: dict[int, list[int]] = {}
        for position, text in self._texts.items():
            for mark in _sketch(_runs(text)):
                self._rows_of.setdefault(mark, []).append(position)

    def near(self, other: Rows) -> list[tuple[int, int, float]]:
        """For each row of `other` the row most like it, where they are nearly but not exactly the same."""
        pairs = []
        for place, text in _keys(other):
            runs = _runs(text)
            marks = [mark for mark in _sketch(runs) if len(self._rows_of.get(mark, ())) <= COMMONPLACE]
            shared = Counter(position for mark in marks for position in self._rows_of.get(mark, ()))
            best = (0.0, -1)
            for position, count in shared.items():
                if count >= SHARED_FOR_A_LOOK and self._texts[position] != text:
                    theirs = _runs(self._texts[position])
                    best = max(best, (len(runs & theirs) / len(runs | theirs), position))
            if best[0] >= ALIKE:
                pairs.append((best[1], place, best[0]))
        return pairs


def _labels(task: Task, tables: Tables) -> Iterator[PreflightFinding]:
    counted = {name: Counter(rows.labels[i] for i, _ in _keys(rows)) for name, rows in tables.items()}
    missing = [label for label in task.labels if not counted["train"][label]]
    if missing:
        said = f"label {missing[0]}" if len(missing) == 1 else f"labels {', '.join(missing)}"
        yield PreflightFinding(
            "label_missing",
            True,
            f"no training row has {said}, so a tuned model never answers it.",
            "Give rows that have it, or take it out of `labels:` in the task.",
        )
    few = [f"{label} ({counted['train'][label]})" for label in task.labels if 0 < counted["train"][label] < FEW]
    if few:
        yield PreflightFinding(
            "label_rare", False, f"fewer than {FEW} training rows have label {', '.join(few)}; it is hardly learned."
        )
    for name in ("validation", "test"):
        absent = [label for label in task.labels if name in tables and not counted[name][label]]
        if absent:
            yield PreflightFinding(
                "label_missing_held_out",
                False,
                f"no {name} row has label {', '.join(absent)}; whether it is learned cannot be seen there.",
            )


def _repeats(train: Rows, columns: Sequence[str]) -> Iterator[PreflightFinding]:
    alike: dict[tuple[str, ...], list[int]] = {}
    for position, _ in _keys(train):
        read = tuple(same_text(train.inputs[position].get(column)) for column in columns)
        alike.setdefault(read, []).append(position)
    groups = [positions for positions in alike.values() if len(positions) > 1]
    torn = [positions for positions in groups if len({train.labels[i] for i in positions}) > 1]
    if torn:
        rows = sum(map(len, torn))
        yield PreflightFinding(
            "contradictions",
            False,
            f"{len(torn):,} training texts stand under different labels ({rows:,} rows); no model can learn both.",
            "Correct them or leave them out.",
            tuple(RowExcerpt.of("train", train, i) for i in _two_labels(torn[0], train)),
        )
    again = sum(len(positions) - 1 for positions in groups if positions not in torn)
    if again:
        first = next(positions for positions in groups if positions not in torn)
        yield PreflightFinding(
            "duplicates",
            False,
            f"{again:,} training rows repeat another with the same label; each is paid for and weighs double.",
            "",
            tuple(RowExcerpt.of("train", train, i) for i in first[:2]),
        )


def _two_labels(positions: Sequence[int], rows: Rows) -> list[int]:
    first: dict[str | None, int] = {}
    for position in positions:
        first.setdefault(rows.labels[position], position)
    return list(first.values())[:MOST_SHOWN]


def _too_small(tables: Tables) -> Iterator[PreflightFinding]:
    if "validation" not in tables:
        yield PreflightFinding(
            "no_validation",
            False,
            "no validation rows, so the service reports no validation loss and nothing can be chosen by.",
            "Add --validation TABLE.",
        )
        return
    rows = sum(1 for _ in _keys(tables["validation"]))
    if 0 < rows < ENOUGH_TO_CHOOSE:
        yield PreflightFinding(
            "validation_small",
            False,
            f"with {rows} validation rows an accuracy is known to about {0.98 / sqrt(rows):.2f} on either side; where "
            "epochs or settings differ by less, the choice among them is chance.",
        )


def _keys(rows: Rows) -> Iterator[tuple[int, str]]:
    """Positions of the rows with a text, and what makes two texts the same."""
    for position, text in enumerate(rows.texts):
        if text is not None:
            yield position, same_text(text)


def _runs(text: str) -> set[str]:
    words = WORD.findall(text)
    if len(words) < LEAST_WORDS:
        return set()
    return {" ".join(words[i : i + SHINGLE_WORDS]) for i in range(len(words) - SHINGLE_WORDS + 1)}


def _sketch(runs: set[str]) -> list[int]:
    return sorted({zlib.crc32(run.encode()) for run in runs})[:SKETCH]
