"""Which column of a table is read, and which holds the truth."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from luthier.errors import DataError
from luthier.starting.by_type import SAMPLE_ROWS, are_structured, columns_of, guessed_by_type, types_that_fit
from luthier.tasks.spellings import missing, spelling

if TYPE_CHECKING:
    import pandas as pd

__all__ = ["MOST_LABELS", "guess_columns", "listed_columns"]

TEXT_NAME = ("text", "review", "comment", "message", "body", "content", "description", "sentence", "document", "input")
LABEL_NAME = ("label", "labels", "class", "category", "target", "sentiment", "stars", "rating", "score", "verdict", "y")
"""Usual names of such columns, the most telling first."""

TRUTH_NAME = (*LABEL_NAME, "truth", "answer", "expected", "output", "reference", "summary")
"""Usual names of a column with truths that are no labels of a closed set."""

MOST_LABELS = 50
"""A column with more distinct values most likely holds numbers or texts; up to 500 are labels where --type says so."""


def guess_columns(
    frame: pd.DataFrame, text: str | None, label: str | None, type_name: str | None = None
) -> tuple[str, str, tuple[str, ...]]:
    """The text column and the label column, and a reason for each that was guessed.

    Args:
        frame: the labelled table.
        text: the text column, where it is known.
        label: the label column, where it is known.
        type_name: of the task, where it is known; labels are looked for when absent.

    Raises:
        SpecError: there is no such type.
        DataError: no column qualifies, or several do, or one that is named is not there.
    """
    for option, given in (("--text", text), ("--label", label)):
        if given is not None and given not in map(str, frame.columns):
            raise DataError(
                f"the table has no column {given!r}; its columns are: {listed_columns(frame)}. Give one with {option}."
            )
    reasons = []
    shown = frame.head(SAMPLE_ROWS)
    if text is None:
        text, why = _guess_text(shown, label)
        text = text if type_name is None else _first_alike(shown, text)
        reasons.append(f"text column guessed: {text!r}, {why}; --text COLUMN names another")
    if label is None:
        label, why = _guess_label(shown, text) if type_name is None else _guess_truth(shown, text, type_name)
        reasons.append(f"label column guessed: {label!r}, {why}; --label COLUMN names another")
    return text, label, tuple(reasons)


def _guess_text(frame: pd.DataFrame, label: str | None) -> tuple[str, str]:
    lengths = {}
    for name in frame.columns:
        cells = [cell for cell in frame[name].tolist() if not missing(cell)]
        # Texts consist of words; links and keys, which may be longer, do not.
        texts = [cell for cell in cells if isinstance(cell, str) and re.search(r"\w\W+\w|[^\x00-\x7f]{4}", cell)]
        texts = [] if are_structured(texts) else texts
        if name != label and cells and len(texts) * 2 > len(cells):
            lengths[str(name)] = sum(map(len, texts)) / len(texts)
    named = [name for usual in TEXT_NAME for name in lengths if name.lower() == usual]
    if named:
        return named[0], "by its name"
    if not lengths:
        raise DataError(
            f"no column of the table holds texts; its columns are: {listed_columns(frame)}. Give --text COLUMN."
        )
    longest = max(lengths, key=lambda name: lengths[name])
    return longest, "which has the longest texts" if len(lengths) > 1 else "the only one with texts"


def _guess_label(frame: pd.DataFrame, text: str) -> tuple[str, str]:
    kinds = {}
    for name in frame.columns:
        if name == text or re.fullmatch(r"rater[_-]?\d+", str(name)):
            continue
        cells = [spelling(cell) for cell in frame[name].tolist() if not missing(cell)]
        # Even in a short table some label repeats; keys never do. Lists and objects are no labels.
        if not are_structured(frame[name].tolist()) and 2 <= len(set(cells)) <= min(MOST_LABELS, len(cells) - 1):
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
        f"{listed_columns(frame)}. Give --label COLUMN.{types_that_fit(frame, text)}"
    )


def _first_alike(frame: pd.DataFrame, text: str) -> str:
    """The first of columns that are called alike but for their last character, as `question1` and `question2` are."""
    alike = [str(name) for name in frame.columns if len(text) > 1 and str(name)[:-1] == text[:-1]]
    return alike[0] if text[-1].isdigit() or text[-1] in "abAB" else text


def _guess_truth(frame: pd.DataFrame, text: str, type_name: str) -> tuple[str, str]:
    """The column whose cells the type takes for truths."""
    table = columns_of(frame)
    names = [name for name in table if name != text and not re.fullmatch(r"rater[_-]?\d+", name)]
    names.sort(key=lambda name: TRUTH_NAME.index(name.lower()) if name.lower() in TRUTH_NAME else len(TRUTH_NAME))
    refused: dict[str, str] = {}
    fitting = []
    for name in names:
        try:
            guessed_by_type(table, text, name, type_name)
            fitting.append(name)
        except DataError as error:
            refused[name] = str(error)
    if fitting and fitting[0].lower() in TRUTH_NAME:
        return fitting[0], "by its name"
    if len(fitting) == 1:
        return fitting[0], f"the only one that fits {type_name}"
    if fitting:
        several = f"several columns could hold the truth: {', '.join(fitting)}."
        marks = [name for name in fitting if {spelling(cell) for cell in table[name]} <= {"0", "1"}]
        if len(marks) > 1:
            raise DataError(
                f"{several} {len(marks)} of them hold 0 and 1, as one column for each label does. Make one column of "
                "lists of them, with their names as labels, and write the table as .jsonl: frame['labels'] = "
                "[[name for name in NAMES if row[name]] for _, row in frame.iterrows()]. Or give --label COLUMN "
                "for one of them."
            )
        raise DataError(f"{several} Give --label COLUMN.")
    if len(refused) == 1:
        raise DataError(next(iter(refused.values())))
    raise DataError(
        f"no column of the table fits --type {type_name}; its columns are: {listed_columns(frame)}. Give --label "
        "COLUMN, which says what is wrong with it."
    )


def listed_columns(frame: pd.DataFrame) -> str:
    """Names of the columns, for a message."""
    return ", ".join(map(str, frame.columns))
