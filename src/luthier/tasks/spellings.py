"""How labels are spelled: which label a cell stands for, and which number a label is.

A label keeps the spelling it has in the table that `init` saw: `001`, `+1` and `true` stay what they are, in the
task, in prompts and in what is scored. Cells of other tables may be spelled otherwise, as a number or a boolean that
never had a spelling, or with an accent in two characters, and still stand for the label.
"""

from __future__ import annotations

import math
import re
import unicodedata
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Annotated, Any

from pydantic import BeforeValidator

__all__ = [
    "Labels",
    "Spellings",
    "labels_as_text",
    "labels_as_written",
    "missing",
    "number_of",
    "same_text",
    "spelling",
    "with_article",
]

WHOLE_AS_FLOAT = re.compile(r"([+-]?\d+)\.0+")
PLAIN_NUMBER = re.compile(r"0|-?[1-9]\d*|-?(0|[1-9]\d*)\.\d*[1-9]")
"""A number as programs write it, without zeros in front or a plus."""

NUMBER = re.compile(r"[+-]?(\d+([.,]\d+)?|\.\d+)([eE][+-]?\d+)?")
GROUPED = re.compile(r"[+-]?\d{1,3},\d{3}")
"""One thousand to some, one to others; so it is no number here."""

BOOLEANS = ("true", "false")


def missing(cell: object) -> bool:
    """Whether a cell holds no label."""
    if cell is None or str(cell) == "<NA>":
        return True
    return (isinstance(cell, float) and math.isnan(cell)) or not str(cell).strip()


def spelling(cell: object) -> str:
    """A cell as a label is spelled.

    Examples:
        >>> [spelling(cell) for cell in (" 001 ", "+1", 4.0, "4.0", True)]
        ['001', '+1', '4', '4', 'true']
    """
    if isinstance(cell, bool) or type(cell).__name__ in ("bool", "bool_"):
        return str(cell).lower()
    if isinstance(cell, float) and cell.is_integer():
        return str(int(cell))
    text = str(cell).strip()
    whole = WHOLE_AS_FLOAT.fullmatch(text)
    return whole[1] if whole else text


def number_of(label: str) -> float | None:
    """The number a label is, `None` where it is a word.

    Examples:
        >>> [number_of(label) for label in ("001", "+1", "4,5", "−1", "1,000", "inf", "good")]
        [1.0, 1.0, 4.5, -1.0, None, None, None]
    """
    text = label.strip().replace("\N{MINUS SIGN}", "-")
    if not NUMBER.fullmatch(text) or GROUPED.fullmatch(text):
        return None
    number = float(text.replace(",", "."))
    return number if math.isfinite(number) else None


class Spellings:
    """Finds the label a cell stands for.

    Args:
        labels: the task's, distinct.
    """

    def __init__(self, labels: Sequence[str]) -> None:
        self._exact = {label: label for label in labels}
        self._composed = _unique(labels, composed)
        self._booleans = _unique((label for label in labels if label.lower() in BOOLEANS), str.lower)
        self._numbers = _unique((label for label in labels if number_of(label) is not None), number_of)

    def find(self, cell: object) -> str | None:
        """The label; `None` where the cell stands for none of them, or for several."""
        if missing(cell):
            return None
        # As it stands first: a task may have the label 4.0.
        given = str(cell).strip() if isinstance(cell, str) else spelling(cell)
        for text in (given, spelling(cell)):
            found = self._exact.get(text) or self._composed.get(composed(text)) or self._booleans.get(text.lower())
            if found is not None:
                return found
            # Zeros in front and a plus are lost where a program takes the cell for a number; they are not made up.
            if PLAIN_NUMBER.fullmatch(text):
                return self._numbers.get(number_of(text))
        return None


def composed(text: str) -> str:
    """The text with each accent and its letter as one character where there is one: both look the same."""
    return unicodedata.normalize("NFC", text)


def _unique(labels: Iterable[str], key: Callable[[str], Any]) -> dict[Any, str]:
    found: dict[Any, list[str]] = {}
    for label in labels:
        found.setdefault(key(label), []).append(label)
    return {it: those[0] for it, those in found.items() if len(those) == 1}


def labels_as_written(given: Mapping[str, Any], text: str) -> dict[str, Any]:
    """A task's YAML document whose labels are spelled as in the file.

    YAML takes `yes` for a boolean and `010` for eight; in a list of labels neither is meant.

    Args:
        given: the document as YAML reads it.
        text: the file.
    """
    import yaml

    labels = given.get("labels")
    if not isinstance(labels, list) or not any(isinstance(label, int) for label in labels):
        return dict(given)
    written = yaml.load(text, Loader=yaml.BaseLoader)["labels"]
    kept = [word if isinstance(label, int) else label for label, word in zip(labels, written, strict=True)]
    return {**given, "labels": kept}


def same_text(text: object) -> str:
    """A text without case and runs of white space; two texts count as the same where these are equal.

    Examples:
        >>> same_text(" Good\\n food ") == same_text("good food")
        True
    """
    return " ".join(str(text).split()).casefold()


def with_article(noun: str) -> str:
    """What a value is called, with `a` or `an` in front; a name that ends in s is a plural.

    Examples:
        >>> with_article("label"), with_article("answer"), with_article("spans")
        ('a label', 'an answer', 'spans')
    """
    return noun if noun.endswith("s") else f"{'an' if noun[:1].lower() in 'aeiou' else 'a'} {noun}"


def labels_as_text(given: Any) -> tuple[str, ...]:
    """Labels as YAML or Python gives them, as texts.

    Raises:
        ValueError: it is no list, or one of them is a boolean or null.
    """
    if hasattr(given, "tolist"):
        # What `df["label"].unique()` gives.
        given = given.tolist()
    if isinstance(given, str) or not isinstance(given, Sequence):
        raise ValueError("labels is a list, as in [1, 2, 3, 4, 5] or [positive, negative]")
    labels: list[str] = []
    for label in given:
        if isinstance(label, bool):
            raise ValueError(
                f"label {label} is a boolean, and labels are texts: write ['True', 'False'] for a column of "
                "booleans, or ['yes', 'no'], in quotes, for the words that YAML reads as booleans"
            )
        if label is None or (isinstance(label, float) and math.isnan(label)):
            raise ValueError("a label is null; put it in quotes if the word itself is meant")
        if isinstance(label, float) and label.is_integer():
            label = int(label)
        labels.append(str(label).strip())
    return tuple(labels)


Labels = Annotated[tuple[str, ...], BeforeValidator(labels_as_text)]
"""Labels in a model of pydantic."""
