"""The training rows of a technique, and those among them that it calibrates on."""

from __future__ import annotations

import random
from collections.abc import Sequence
from typing import TYPE_CHECKING

from luthier.errors import DataError, SpecError
from luthier.tasks.spellings import same_text
from luthier.tasks.task import Rows

if TYPE_CHECKING:
    from luthier.spec import Spec

__all__ = ["calibration_rows", "distinct", "training_rows"]


def training_rows(spec: Spec, rows: Rows | None) -> Rows:
    """The training rows.

    Raises:
        SpecError: there are none.
        DataError: they lack a column.
    """
    if rows is None:
        raise SpecError(f"spec {spec.name!r} needs training rows; add --train TABLE.")
    if len(rows):
        spec.check_columns(rows.inputs[0], "the training table")
    return rows


def calibration_rows(spec: Spec, rows: Rows, count: int, shown: Sequence[int] = ()) -> list[int]:
    """Positions of the calibration rows; none has the text of an example that is shown.

    Raises:
        DataError: there are not enough rows beside the examples.
    """
    texts = rows.texts
    taken = {same_text(texts[i]) for i in shown}
    pool = [i for i in distinct(rows, labelled=False) if same_text(texts[i]) not in taken]
    if count > len(pool):
        raise DataError(
            f"spec {spec.name!r} calibrates on {count} rows, but {'beside its examples ' if shown else ''}the training "
            f"rows hold only {len(pool)} different texts. Lower calibration_rows or give more rows with --train."
        )
    return sorted(random.Random(f"calibration/{spec.seed}").sample(pool, count))


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
