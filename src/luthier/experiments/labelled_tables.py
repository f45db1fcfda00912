"""The tables that specs are compared on, read under the task and checked before anything is asked."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from luthier.errors import DataError, SpecError
from luthier.spec import Spec
from luthier.tasks.spellings import same_text
from luthier.tasks.task import Rows
from luthier.techniques.registry import check_comparable

if TYPE_CHECKING:
    import pandas as pd

__all__ = ["LabelledTable", "Leak", "labelled_tables", "leak_of", "table_names"]


@dataclass(frozen=True)
class Leak:
    """Test rows whose text is also in the training rows.

    Attributes:
        rows: how many there are.
        test_row: number of the first in the test table.
        train_row: number of the training row with its text.
    """

    rows: int
    test_row: int
    train_row: int


@dataclass(frozen=True)
class LabelledTable:
    """A test table as it was given, and its rows under the task, every one labelled."""

    name: str
    frame: pd.DataFrame
    rows: Rows


def labelled_tables(specs: Sequence[Spec], tests: Mapping[str, pd.DataFrame]) -> tuple[LabelledTable, ...]:
    """The test tables, checked against every spec; see `ComparisonSetup` for what is refused."""
    if not specs:
        raise SpecError("no spec to compare; give at least one.")
    if not tests:
        raise DataError("no test table; give one or more.")
    check_comparable(specs)
    tables = tuple(LabelledTable(name, test, _labelled_rows(specs, test, name)) for name, test in tests.items())
    seen: dict[str, str] = {}
    for table in tables:
        digest = table.rows.digest
        if digest in seen:
            raise DataError(
                f"tables {seen[digest]!r} and {table.name!r} hold the same labelled rows, which would count twice; "
                "give each table once."
            )
        seen[digest] = table.name
    return tables


def _labelled_rows(specs: Sequence[Spec], test: pd.DataFrame, source: str) -> Rows:
    task = specs[0].task
    rows = task.rows(test, labelled=True, source=source)
    missing = [column for column in task.raters if column not in test.columns]
    if missing and len(missing) < len(task.raters):
        raise DataError(f"{source} has no rater column {', '.join(missing)}; correct `raters:` in the task.")
    if not any(text is not None for text in rows.texts):
        raise DataError(f"{source} has no row with a text in {task.text!r}.")
    for spec in specs:
        spec.check_columns(test.columns, source)
        for endpoint in spec.all_endpoints:
            endpoint.key()
    return rows


def leak_of(rows: Rows, train: Rows | None) -> Leak | None:
    """Test rows whose label a spec fitted on `train` has seen; `None` if there are none."""
    if train is None:
        return None
    places: dict[str, int] = {}
    for place, text in enumerate(train.texts):
        if text is not None:
            places.setdefault(same_text(text), place)
    texts = [None if text is None else same_text(text) for text in rows.texts]
    leaked = [place for place, text in enumerate(texts) if text is not None and text in places]
    if not leaked:
        return None
    return Leak(len(leaked), rows.number(leaked[0]), train.number(places[texts[leaked[0]] or ""]))


def table_names(paths: Sequence[Path]) -> list[str]:
    """Names for tables: their files' names, with as many folders as it takes to tell them apart.

    Raises:
        DataError: a file is given twice.

    Examples:
        >>> table_names([Path("data/may.csv"), Path("data/june.csv")])
        ['may', 'june']
        >>> table_names([Path("may/test.csv"), Path("june/test.csv")])
        ['may/test', 'june/test']
    """
    whole = [path.resolve() for path in paths]
    for place, path in enumerate(whole):
        if path in whole[:place]:
            raise DataError(f"--test {paths[place]} is given twice; give each table once.")
    deepest = max(len(path.parts) for path in whole)
    for depth in range(1, deepest + 1):
        for ends in ([path.with_suffix("") for path in whole], whole):
            names = ["/".join(path.parts[-depth:]) for path in ends]
            if len(set(names)) == len(names):
                return names
    return [str(path) for path in whole]
