"""Tables of reported and measured figures: which columns form pairs, and what their cells hold."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from luthier.errors import DataError
from luthier.evaluation.agreement import FEWEST_PAIRS, PairedValues
from luthier.evaluation.measures import METRICS
from luthier.evaluation.metric_names import MEASURED, REPORTED, metric_name
from luthier.tables.number_cells import number_in
from luthier.tasks.task import is_blank, plain_records

if TYPE_CHECKING:
    import pandas as pd

__all__ = ["PairTable", "read_pairs"]

IDS = ("id", "name", "model", "job", "run", "trial")


@dataclass(frozen=True)
class PairTable:
    """Per metric the values of every row that has both, and sentences on what was paired and what was left out."""

    pairs: tuple[PairedValues, ...]
    notes: tuple[str, ...]


def read_pairs(
    frame: pd.DataFrame, *, pair: Sequence[str] = (), id_column: str | None = None, source: str = "the table"
) -> PairTable:
    """Finds the pairs in a table.

    Args:
        frame: a row per model.
        pair: `REPORTED=MEASURED` for each metric, by column names; guessed from the names when absent.
        id_column: column that names the models; guessed when absent.
        source: what the table is called in messages.

    Raises:
        DataError: no columns belong together, a cell is no number, shares are in percent, or lines are too few.

    Examples:
        >>> import pandas as pd
        >>> frame = pd.DataFrame({"id": list("abc"), "reported_f1": [0.5, 0.6, 0.7], "test_f1": [0.4, 0.6, 0.6]})
        >>> read_pairs(frame).notes
        ('Paired: reported_f1 with test_f1 (weighted F1).',)
    """
    columns = [str(column) for column in frame.columns]
    records = plain_records(frame)
    chosen = _named(pair, columns, source) if pair else _guessed(columns, source)
    ids = _ids(records, columns, id_column, chosen, source)
    named = [f"{said} with {found} ({_title(metric)})" for metric, (said, found) in chosen.items()]
    notes = [f"Paired: {', '.join(named)}."]
    if not pair:
        notes += _left_over(columns, chosen)
    pairs = []
    for metric, (said, found) in chosen.items():
        reported = _numbers(records, said, metric, ids, source)
        measured = _numbers(records, found, metric, ids, source)
        cells = zip(ids, reported, measured, strict=True)
        both = [(name, a, b) for name, a, b in cells if a is not None and b is not None]
        if len(both) < FEWEST_PAIRS:
            raise DataError(
                f"{source} has {len(both)} line{'' if len(both) == 1 else 's'} with both {said} and {found}; "
                f"give at least {FEWEST_PAIRS}, one per model."
            )
        if len(both) < len(ids):
            notes.append(f"{len(ids) - len(both):,} of {len(ids):,} lines have no {said} or no {found}: left out.")
        names, left, right = zip(*both, strict=True)
        pairs.append(PairedValues(metric, names, left, right))
    return PairTable(tuple(pairs), tuple(notes))


def _title(metric: str) -> str:
    return METRICS[metric].title if metric in METRICS else metric


def _named(pair: Sequence[str], columns: Sequence[str], source: str) -> dict[str, tuple[str, str]]:
    chosen: dict[str, tuple[str, str]] = {}
    for given in pair:
        # A column's own name may hold a =.
        cuts = [i for i, letter in enumerate(given) if letter == "="]
        sides = [(given[:i].strip(), given[i + 1 :].strip()) for i in cuts]
        if not sides:
            raise DataError(f"--pair {given!r}: give two columns as REPORTED=MEASURED.")
        said, found = next((s for s in sides if s[0] in columns and s[1] in columns), sides[0])
        for side in (said, found):
            if side not in columns:
                raise DataError(f"--pair {given!r}: {source} has no column {side!r}; it has: {', '.join(columns)}.")
        if said == found:
            raise DataError(f"--pair {given!r}: reported and measured are the same column.")
        metric = metric_name(said)
        if metric in chosen:
            raise DataError(f"--pair {given!r}: {_title(metric)} is paired twice; give one pair per metric.")
        chosen[metric] = (said, found)
    return chosen


def _guessed(columns: Sequence[str], source: str) -> dict[str, tuple[str, str]]:
    reported, measured = _by_metric(columns, REPORTED), _by_metric(columns, MEASURED)
    chosen = {metric: (names[0], measured[metric][0]) for metric, names in reported.items() if metric in measured}
    for metric, pair in chosen.items():
        for names in (reported[metric], measured[metric]):
            if len(names) > 1:
                raise DataError(
                    f"{source} has several columns for {_title(metric)}: {', '.join(names)}; name the pair: "
                    f"--pair {'='.join(pair)}."
                )
    if not chosen:
        example = f"{columns[0]}={columns[1]}" if len(columns) > 1 else "REPORTED=MEASURED"
        raise DataError(
            f"{source} has no two columns that pair up by name (reported_accuracy or classification/accuracy with "
            f"test_accuracy or measured_accuracy); its columns are: {', '.join(columns)}. Name the pair, "
            f"as in --pair {example}."
        )
    return chosen


def _by_metric(columns: Sequence[str], side: re.Pattern[str]) -> dict[str, list[str]]:
    found: dict[str, list[str]] = {}
    for column in columns:
        if side.match(column.strip()):
            found.setdefault(metric_name(column), []).append(column)
    return found


def _left_over(columns: Sequence[str], chosen: Mapping[str, tuple[str, str]]) -> list[str]:
    notes = []
    for word, side in (("reported", REPORTED), ("measured", MEASURED)):
        by_metric = _by_metric(columns, side)
        names = [name for metric, names in by_metric.items() if metric not in chosen for name in names]
        if names:
            notes.append(f"Only {word}, so not audited: {', '.join(names)}.")
    return notes


def _ids(
    records: Sequence[Mapping[str, Any]],
    columns: Sequence[str],
    given: str | None,
    chosen: Mapping[str, tuple[str, str]],
    source: str,
) -> list[str]:
    if given is not None and given not in columns:
        raise DataError(f"--id {given!r}: {source} has no such column; it has: {', '.join(columns)}.")
    used = {name for names in chosen.values() for name in names}
    likely = [
        column
        for column in columns
        if column not in used and (column.lower() in IDS or re.search(r"(^|[/_.\- ])(id|name)$", column.lower()))
    ]
    for column in [given] if given is not None else likely:
        cells = ["" if is_blank(record[column]) else str(record[column]).strip() for record in records]
        if "" not in cells and len(set(cells)) == len(cells):
            return cells
        if given is not None:
            repeated = next((cell for cell in cells if cell and cells.count(cell) > 1), None)
            what = f"{repeated!r} stands there more than once" if repeated else "a cell is empty"
            raise DataError(f"--id {given!r}: {what}; give a column with another name in every line.")
    return [f"line {number}" for number in range(1, len(records) + 1)]


def _numbers(
    records: Sequence[Mapping[str, Any]], column: str, metric: str, ids: Sequence[str], source: str
) -> list[float | None]:
    cells = zip(records, ids, strict=True)
    out = [number_in(record[column], f"{source}: {column} of {who}") for record, who in cells]
    beyond = [(value, who) for value, who in zip(out, ids, strict=True) if value is not None and abs(value) > 1]
    if beyond and _is_share(metric):
        value, who = beyond[0]
        percent = " It looks like percent: divide the column by 100." if 1 < value <= 100 else ""
        raise DataError(f"{source}: {column} of {who} is {value:g}, and {_title(metric)} goes from 0 to 1.{percent}")
    return out


def _is_share(metric: str) -> bool:
    return METRICS[metric].format == "share" if metric in METRICS else "f1" in metric or metric.endswith("accuracy")
