"""Choice of few-shot examples and calibration rows from the training rows."""

from __future__ import annotations

import random
from collections.abc import Sequence

from luthier.errors import DataError
from luthier.tasks.task import Rows
from luthier.techniques.prompt.settings import Examples

__all__ = [
    "calibration_rows",
    "choose_examples",
    "distinct",
    "drawn_examples",
    "of_length",
    "or_raise",
    "same_text",
    "short_enough",
]


def same_text(text: object) -> str:
    """A text without case and runs of white space; two texts count as the same where these are equal.

    Examples:
        >>> same_text(" Good\\n food ") == same_text("good food")
        True
    """
    return " ".join(str(text).split()).casefold()


def choose_examples(rows: Rows, labels: Sequence[str], settings: Examples, seed: int, name: str) -> list[int]:
    """Positions of the training rows to show, in the order they are shown.

    Their texts are different, not blank, and each has one label only in the training rows.

    Raises:
        DataError: there are not enough such rows.
    """
    pool = short_enough(rows, distinct(rows, labelled=True), labels, settings)
    if settings.most > len(pool):
        raise DataError(
            f"spec {name!r} shows {settings.most} examples, but the training rows hold only {len(pool)} different "
            f"labelled texts{of_length(settings)}. Lower prompt.examples.count{or_raise(settings)}, or give more rows "
            "with --train."
        )
    own = settings.seed if settings.seed is not None else seed
    return drawn_examples(rows, pool, labels, settings.most, own, balanced=settings.select != "random")


def short_enough(rows: Rows, positions: Sequence[int], labels: Sequence[str], settings: Examples) -> list[int]:
    """The positions of texts of at most `max_characters`; of a label that has only longer ones, the shortest.

    Without that text the label would have no example, and models favour the labels they are shown.
    """
    most = settings.max_characters
    if most is None:
        return list(positions)
    texts = rows.texts
    length = {position: len(str(texts[position])) for position in positions}
    shortest: dict[str | None, int] = {}
    for position in sorted(positions, key=length.__getitem__):
        if rows.labels[position] in labels:
            shortest.setdefault(rows.labels[position], position)
    kept = set(shortest.values())
    return [position for position in positions if length[position] <= most or position in kept]


def of_length(settings: Examples) -> str:
    """The words in a message for the limit on length, if there is one."""
    if settings.max_characters is None:
        return ""
    return f" of at most {settings.max_characters:,} characters (or the shortest of their label)"


def or_raise(settings: Examples) -> str:
    """The words in a message for raising that limit."""
    return "" if settings.max_characters is None else " or raise prompt.examples.max_characters"


def drawn_examples(
    rows: Rows, pool: Sequence[int], labels: Sequence[str], count: int, seed: int, *, balanced: bool = True
) -> list[int]:
    """`count` positions of `pool`, drawn with the seed, in the order they are shown.

    Args:
        rows: the training rows.
        pool: positions to draw from; at least `count`.
        labels: the task's labels; one without a row in the pool is not shown. Without any, rows are drawn as they fall.
        count: how many.
        seed: of the draw.
        balanced: whether to take labels in turn, as long as they have rows; otherwise rows are drawn at random.
    """
    drawn = random.Random(f"examples/{seed}")
    left = list(pool)
    drawn.shuffle(left)
    if not balanced or not labels:
        return left[:count]
    waiting = {label: [i for i in left if rows.labels[i] == label] for label in labels}
    turn = [label for label in labels if waiting[label]]
    # Where the count is no multiple of the labels, the draw decides which labels are shown once more.
    drawn.shuffle(turn)
    chosen: list[int] = []
    while len(chosen) < count:
        for label in turn:
            if waiting[label] and len(chosen) < count:
                chosen.append(waiting[label].pop())
    # In the order of labels, the label shown last would be favoured.
    drawn.shuffle(chosen)
    return chosen


def calibration_rows(rows: Rows, shown: Sequence[int], count: int, seed: int, name: str) -> list[int]:
    """Positions of the calibration rows; none has the text of an example.

    Raises:
        DataError: there are not enough rows beside the examples.
    """
    texts = rows.texts
    taken = {same_text(texts[i]) for i in shown}
    pool = [i for i in distinct(rows, labelled=False) if same_text(texts[i]) not in taken]
    if count > len(pool):
        raise DataError(
            f"spec {name!r} calibrates on {count} rows, but {'beside its examples ' if shown else ''}the training rows "
            f"hold only {len(pool)} different texts. Lower calibration_rows or give more rows with --train."
        )
    return sorted(random.Random(f"calibration/{seed}").sample(pool, count))


def distinct(rows: Rows, *, labelled: bool) -> list[int]:
    """Positions of rows with different texts that are not blank; of equal texts, the first.

    Args:
        rows: the training rows.
        labelled: whether to leave out rows without a label, and texts that have two.
    """
    first: dict[str, int] = {}
    held: dict[str, set[str]] = {}
    for position, (text, label) in enumerate(zip(rows.texts, rows.labels, strict=True)):
        if text is None or (labelled and label is None):
            continue
        key = same_text(text)
        first.setdefault(key, position)
        held.setdefault(key, set()).add(str(label))
    return [position for key, position in first.items() if not labelled or len(held[key]) == 1]
