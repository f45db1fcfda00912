"""A task guessed from a labelled table: its columns, its labels and their order, and words a model can say for them."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass
from typing import TYPE_CHECKING

from luthier.errors import DataError
from luthier.tasks.spellings import Spellings, composed, missing, number_of, spelling
from luthier.tasks.task import NAME_PATTERN, Task

if TYPE_CHECKING:
    import pandas as pd

__all__ = ["Guess", "guess_columns", "guess_task"]

TEXT_NAME = ("text", "review", "comment", "message", "body", "content", "description", "sentence", "document", "input")
LABEL_NAME = ("label", "labels", "class", "category", "target", "sentiment", "stars", "rating", "score", "verdict", "y")
"""Usual names of such columns, the most telling first."""

SAMPLE_ROWS = 5_000
"""Rows that columns are guessed from."""

MOST_LABELS = 50
"""A column with more distinct values most likely holds numbers or texts."""

MOST_FILLED = 11
"""Length of a rating, as from 0 to 10, up to which numbers that never occur are added."""

PADDED = re.compile(r"[+-]?0\d+")

SCALES = (
    ("very negative", "negative", "neutral", "positive", "very positive"),
    ("negative", "neutral", "positive"),
    ("strongly disagree", "disagree", "neutral", "agree", "strongly agree"),
    ("terrible", "poor", "okay", "good", "excellent"),
    ("very bad", "bad", "okay", "good", "very good"),
    ("poor", "fair", "good", "very good", "excellent"),
    ("never", "rarely", "sometimes", "often", "always"),
    ("none", "low", "medium", "high", "critical"),
    ("trivial", "minor", "major", "critical", "blocker"),
    ("small", "medium", "large"),
)
"""Known scales, lowest first."""


@dataclass(frozen=True)
class Guess:
    """A task, how often each of its labels occurs, and the reasons for each guess."""

    task: Task
    counts: dict[str, int]
    reasons: tuple[str, ...]


def guess_columns(frame: pd.DataFrame, text: str | None, label: str | None) -> tuple[str, str, tuple[str, ...]]:
    """The text column and the label column, and a reason for each that was guessed.

    Args:
        frame: the labelled table.
        text: the text column, where it is known.
        label: the label column, where it is known.

    Raises:
        DataError: no column qualifies, or several do; names them and the option to give.
    """
    reasons = []
    shown = frame.head(SAMPLE_ROWS)
    if text is None:
        text, why = _guess_text(shown, label)
        reasons.append(f"text column guessed: {text!r}, {why}; --text COLUMN names another")
    if label is None:
        label, why = _guess_label(shown, text)
        reasons.append(f"label column guessed: {label!r}, {why}; --label COLUMN names another")
    return text, label, tuple(reasons)


def _guess_text(frame: pd.DataFrame, label: str | None) -> tuple[str, str]:
    lengths = {}
    for name in frame.columns:
        cells = [cell for cell in frame[name].tolist() if not missing(cell)]
        # Texts consist of words; links and keys, which may be longer, do not.
        texts = [cell for cell in cells if isinstance(cell, str) and re.search(r"\w\W+\w|[^\x00-\x7f]{4}", cell)]
        if name != label and cells and len(texts) * 2 > len(cells):
            lengths[str(name)] = sum(map(len, texts)) / len(texts)
    named = [name for usual in TEXT_NAME for name in lengths if name.lower() == usual]
    if named:
        return named[0], "by its name"
    if not lengths:
        raise DataError(f"no column of the table holds texts; its columns are: {_listed(frame)}. Give --text COLUMN.")
    longest = max(lengths, key=lambda name: lengths[name])
    return longest, "which has the longest texts" if len(lengths) > 1 else "the only one with texts"


def _guess_label(frame: pd.DataFrame, text: str) -> tuple[str, str]:
    kinds = {}
    for name in frame.columns:
        if name == text or re.fullmatch(r"rater[_-]?\d+", str(name)):
            continue
        cells = [spelling(cell) for cell in frame[name].tolist() if not missing(cell)]
        # Even in a short table some label repeats; keys never do.
        if 2 <= len(set(cells)) <= min(MOST_LABELS, len(cells) - 1):
            kinds[str(name)] = len(set(cells))
    named = [name for usual in LABEL_NAME for name in kinds if name.lower() == usual]
    if named:
        return named[0], "by its name"
    if len(kinds) == 1:
        name, count = next(iter(kinds.items()))
        return name, f"the only one with few values ({count})"
    if kinds:
        which = ", ".join(f"{name} ({count} values)" for name, count in kinds.items())
        raise DataError(f"several columns could hold the labels: {which}. Give --label COLUMN.")
    raise DataError(
        f"no column of the table has 2 to {MOST_LABELS} values that repeat, as labels do; its columns are: "
        f"{_listed(frame)}. Give --label COLUMN."
    )


def _listed(frame: pd.DataFrame) -> str:
    return ", ".join(map(str, frame.columns))


def guess_task(
    frame: pd.DataFrame, *, text: str, label: str, name: str | None = None, labels: list[str] | None = None
) -> Guess:
    """Guesses the task of a labelled table, to be shown to the user and corrected.

    Args:
        frame: the labelled table.
        text: column that is read.
        label: column that holds the truth.
        name: name of the task; by default the label column's.
        labels: the labels in order, where the guess would be wrong.

    Raises:
        DataError: a column is missing, or the label column holds no labels.
    """
    columns = [str(column) for column in frame.columns]
    for column, option in ((text, "--text"), (label, "--label")):
        if column not in columns:
            raise DataError(f"the table has no column {column!r}; its columns are: {_listed(frame)}. Give {option}.")
    cells = [cell for cell in frame[label].tolist() if not missing(cell)]
    counts = counted(cells)
    if not counts:
        raise DataError(f"column {label!r} holds no label at all.")
    if len(counts) == 1:
        raise DataError(f"column {label!r} holds one label only, {next(iter(counts))!r}; a task needs at least 2.")
    reasons = []
    if labels:
        found, ordered = list(labels), numbers_of(labels) is not None or scale_of(labels) is not None
        reasons.append("labels and their order as given")
    elif len(counts) > MOST_LABELS:
        raise DataError(
            f"column {label!r} holds {len(counts)} distinct values, such as {', '.join(list(counts)[:4])}. More than "
            f"{MOST_LABELS} are not guessed to be labels: group them into fewer, give another --label, or "
            "name all of them in order with --labels."
        )
    elif numbers_of(counts) is not None:
        gaps = between(list(counts))
        if gaps:
            reasons.append(f"{', '.join(gaps)} added: not in the table, but between labels that are")
        found = sorted([*counts, *gaps], key=lambda label: number_of(label) or 0)
        ordered = len(found) > 2
        reasons.append("all labels are numbers: a rating, lowest first" if ordered else "two numbers: two classes")
    elif (scale := scale_of(list(counts))) is not None:
        found, ordered = scale, len(scale) > 2
        reasons.append("the labels are words of a known scale" + (": a rating, lowest first" if ordered else ""))
    else:
        found, ordered = sorted(counts), False
        reasons.append(
            "the labels are words: classes without order (say `type: rating` and order them if there is one)"
        )
    task_name = name or re.sub(r"[^A-Za-z0-9._-]+", "-", label).strip("-._") or "task"
    if not re.match(NAME_PATTERN, task_name):
        task_name = "task"
    task = Task(
        task_name, type="rating" if ordered else "classification", text=text, label=label, labels=found,
        raters=rater_columns(columns, frame, found),
    )  # fmt: skip
    if task.raters:
        reasons.append(f"columns {task.raters[0]} to {task.raters[-1]} hold single people's labels: the human ceiling")
    dropped = sum(count for value, count in counts.items() if task.canonical_label(value) is None)
    if dropped:
        reasons.append(f"{dropped} rows hold a label that is not in the list")
    absent = len(frame) - len(cells)
    if absent:
        reasons.append(f"{absent} rows have no label; leave them out before comparing")
    return Guess(task, {value: counts.get(value, 0) for value in task.labels}, tuple(reasons))


def counted(cells: Iterable[object]) -> Counter[str]:
    """How often each label occurs; spellings that look the same count as the most frequent one."""
    spelled = Counter(spelling(cell) for cell in cells)
    usual: dict[str, str] = {}
    for label, _ in spelled.most_common():
        usual.setdefault(composed(label), label)
    found: Counter[str] = Counter()
    for label, count in spelled.items():
        found[usual[composed(label)]] += count
    return found


def rater_columns(columns: list[str], frame: pd.DataFrame, labels: list[str]) -> list[str]:
    """Columns rater_01, rater_02, ... whose cells are all labels."""
    known = Spellings(labels)
    found = [column for column in columns if re.fullmatch(r"rater[_-]?\d+", column)]
    return [c for c in found if all(missing(cell) or known.find(cell) is not None for cell in frame[c].tolist())]


def scale_of(labels: list[str]) -> list[str] | None:
    """The labels in the order of the known scale they come from; `None` where there is none."""
    lower = {value.strip().lower(): value for value in labels}
    for scale in SCALES:
        if set(lower) <= set(scale):
            return [lower[word] for word in scale if word in lower]
    return None


def numbers_of(labels: Iterable[object]) -> list[float] | None:
    """The labels as numbers, in order; `None` where one is not a number, or two are the same number."""
    numbers = [number for label in labels if (number := number_of(str(label))) is not None]
    return numbers if numbers and len(set(numbers)) == len(list(labels)) else None


def between(labels: list[str]) -> list[str]:
    """Integers missing between a rating's labels, spelled like them; none for long ranges or fractions.

    Examples:
        >>> between(["001", "002", "004"]), between(["-1", "+1"]), between(["1", "90"])
        (['003'], ['0'], [])
    """
    numbers = numbers_of(labels) or []
    if not numbers or not all(number.is_integer() for number in numbers):
        return []
    whole = range(int(min(numbers)), int(max(numbers)) + 1)
    if not 2 < len(whole) <= MOST_FILLED:
        return []
    width = min(len(label.lstrip("+-")) for label in labels) if any(PADDED.fullmatch(label) for label in labels) else 0
    plus = any(label.startswith("+") for label in labels)
    gaps = [number for number in whole if number not in numbers]
    return [
        ("+" if plus and number > 0 else "-" if number < 0 else "") + str(abs(number)).zfill(width) for number in gaps
    ]
