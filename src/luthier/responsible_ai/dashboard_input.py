"""The folder that travels to the program which makes the dashboards: rows, features, predictions and cohorts.

    rows.parquet   `row`, `text`, `truth`, `prediction`, `state`, `p_LABEL` per label, then one column per feature
    config.json    what the columns are, the cohorts to look at, and notes for the reader
    explained.parquet, explanations.jsonl   the explained rows alike, and the passages and weights of each

The program runs with pandas 1.5 and builds expressions out of names of columns. So every column is written as whole
numbers, floats without gaps, or texts without gaps, under a name that is a plain word or several.
"""

from __future__ import annotations

import datetime
import json
import math
import unicodedata
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from numbers import Real
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from luthier.errors import DataError
from luthier.evaluation.cohorts import Cohort
from luthier.evaluation.explanations import Explanation
from luthier.tables.cells import utf8_safe
from luthier.tasks.prediction import Prediction
from luthier.tasks.task import Rows, Task
from luthier.truncation import truncated

if TYPE_CHECKING:
    import pandas as pd

__all__ = ["MOST_ROWS", "write_dashboard_input"]

SCHEMA = 1

MOST_ROWS = 5_000
"""Rows that the dashboards take; a browser holds all of them."""

MOST_VALUES = 20
"""Different texts of a column; rarer ones become `(other)`."""
MOST_DISTINCT = 50
"""A column with more different texts is left out, unless it is named as sensitive."""
LONGEST_VALUE = 60
"""Characters; a column of longer texts is left out."""
LONGEST_NAME = 40

MISSING = "(missing)"
OTHER = "(other)"
CONFIDENCE = "confidence_permille"

RESERVED = {
    *("row", "text", "truth", "prediction", "state", "label", "target", CONFIDENCE),
    *("index", "true y", "true_y", "pred_y", "predicted y", "diff", "error", "regression error"),
    *("classification outcome", "date"),
}
"""Names with a meaning in the dashboards or in the packages that make them, in lower case."""


@dataclass
class KeptColumn:
    """A column as the dashboards have it."""

    cells: list[Any]
    is_text: bool


@dataclass
class TableColumns:
    """What the columns of a table became: by their own name, and under which name they are shown."""

    kept: dict[str, KeptColumn] = field(default_factory=dict)
    shown: dict[str, str] = field(default_factory=dict)
    notes: list[str] = field(default_factory=list)


def write_dashboard_input(
    folder: Path,
    task: Task,
    rows: Rows,
    predictions: Sequence[Prediction],
    features: pd.DataFrame,
    *,
    cohorts: Iterable[Cohort] = (),
    sensitive: Sequence[str] = (),
    explanations: Sequence[Explanation] = (),
    most_rows: int = MOST_ROWS,
    seed: int = 7,
) -> tuple[str, ...]:
    """Writes the rows that have a text, a sample of them if there are more than the dashboards take.

    The sample has right and wrong rows, and rows of every cohort and sensitive group, in the proportions of the whole.

    A column of the user's table goes in if it holds numbers, or texts of which many rows share the same: not texts
    longer than 60 characters, not more than 50 different ones, not a number that differs in every row, not one value
    throughout. Numbers with gaps become ranges, dates become months or years. A sensitive column goes in with its 20
    most frequent values, whatever it holds.

    Args:
        folder: is made; files of these names in it are replaced.
        task: with labels.
        rows: the table that was assessed.
        predictions: one per row.
        features: whole numbers that describe the texts, one row per row.
        cohorts: to choose from in the dashboards.
        sensitive: columns whose groups are to choose from as well.
        explanations: of some of the rows; they are written whether they are in the sample or not.
        most_rows: rows that are written at most.
        seed: of the sample.

    Returns:
        What a reader should know: rows and columns that were left out, and why.

    Raises:
        DataError: no row has a text, or a sensitive column is not in the table.
    """
    import pandas as pd

    whole = [i for i, one in enumerate(predictions) if one.state != "empty"]
    if not whole:
        raise DataError("no row has a text, so there is nothing for a dashboard to show.")
    found = _columns(task, rows, whole, sensitive, set(map(str, features.columns)))
    texts = rows.texts
    frame = pd.DataFrame(
        {
            "row": [rows.number(i) for i in whole],
            "text": [utf8_safe(texts[i] or "") for i in whole],
            "truth": [rows.labels[i] for i in whole],
            "prediction": [predictions[i].value for i in whole],
            "state": [predictions[i].state for i in whole],
        }
    )
    frame[["truth", "prediction"]] = frame[["truth", "prediction"]].astype(object)
    scored = any(predictions[i].scores is not None for i in whole)
    missing = [math.nan] * len(task.labels)
    chances = np.array([list(predictions[i].scores or missing) for i in whole], dtype=float)
    names = [f"p_{label}" for label in task.labels] if scored else []
    parts = [frame, pd.DataFrame(chances[:, : len(names)], columns=names)]
    own = features.iloc[whole].reset_index(drop=True)
    if scored:
        own[CONFIDENCE] = np.rint(1000 * np.nan_to_num(np.nanmax(np.c_[chances, -np.ones(len(whole))], axis=1))).astype(
            int
        )
        own[CONFIDENCE] = own[CONFIDENCE].clip(lower=0)
    table = pd.DataFrame({found.shown[name]: one.cells for name, one in found.kept.items()}, index=own.index)
    listed, dropped = _cohorts(cohorts, sensitive, found, own, table)
    every = pd.concat([*parts, own, table], axis=1)
    notes = [*found.notes, *dropped]
    folder.mkdir(parents=True, exist_ok=True)
    _write_explained(folder, every, explanations)
    if len(every) > most_rows:
        wrong = [predictions[i].value != rows.labels[i] for i in whole]
        every = every.iloc[_sample(wrong, [_mask(each["filters"], every) for each in listed], most_rows, seed)]
        notes.insert(
            0,
            f"The dashboards show {most_rows:,} of {len(whole):,} rows, drawn at random (seed {seed}) with the same "
            "shares of right and wrong rows, cohorts and groups. The scorecard is about all rows.",
        )
    every.to_parquet(folder / "rows.parquet", index=False)
    config = {
        "schema": SCHEMA,
        "name": task.name,
        "labels": list(task.labels),
        "ordered": task.type == "rating",
        "probabilities": names,
        "features": [*map(str, own.columns), *table.columns],
        "categorical": [found.shown[name] for name, one in found.kept.items() if one.is_text],
        "sensitive": [found.shown[name] for name in sensitive if name in found.shown],
        "cohorts": listed,
        "notes": notes,
        "most_rows": most_rows,
        "seed": seed,
    }
    (folder / "config.json").write_text(json.dumps(config), encoding="utf-8")
    return tuple(notes)


def _write_explained(folder: Path, every: pd.DataFrame, explanations: Sequence[Explanation]) -> None:
    lines = [
        json.dumps({"row": one.row, "why": one.why, "passages": one.passages, "weights": dict(one.weights)})
        for one in explanations
    ]
    every[every["row"].isin([one.row for one in explanations])].to_parquet(folder / "explained.parquet", index=False)
    (folder / "explanations.jsonl").write_text("".join(f"{line}\n" for line in lines), encoding="utf-8")


def _columns(task: Task, rows: Rows, whole: Sequence[int], sensitive: Sequence[str], taken: set[str]) -> TableColumns:
    """The user's own columns, kept or left out with a note."""
    known = list(dict.fromkeys(name for i in whole for name in rows.inputs[i]))
    absent = [name for name in sensitive if name not in known]
    if absent:
        raise DataError(f"the table has no column {absent[0]!r}; its columns are {', '.join(map(str, known))}.")
    found, left, used = TableColumns(), dict[str, list[str]](), {name.casefold() for name in taken} | RESERVED
    for name in known:
        if name in {task.text, task.label, *task.raters}:
            continue
        kept = _column([rows.inputs[i].get(name) for i in whole], always=name in sensitive)
        shown = _plain_name(name, used)
        if isinstance(kept, str):
            left.setdefault(kept, []).append(shown)
            continue
        found.kept[name], found.shown[name] = kept, shown
        used.add(shown.casefold())
    for reason, names in left.items():
        more = f" and {len(names) - 8} more" if len(names) > 8 else ""
        found.notes.append(f"Columns that are not in the dashboards, {reason}: {', '.join(names[:8])}{more}.")
    return found


def _column(values: Sequence[Any], *, always: bool) -> KeptColumn | str:
    """The column, or why it is left out."""
    cells = [None if _is_missing(value) else value for value in values]
    known = [cell for cell in cells if cell is not None]
    if not known:
        return _texts([None] * len(cells), always) if always else "as they hold nothing"
    if all(isinstance(cell, Real | np.number) and not isinstance(cell, bool | np.bool_) for cell in known):
        column = _numbers([None if cell is None else float(cell) for cell in cells], always)
    elif all(isinstance(cell, datetime.date) for cell in known):
        column = _texts(_calendar(cells), always)
    else:
        column = _texts([None if cell is None else utf8_safe(str(cell).strip()) for cell in cells], always)
    return column


def _numbers(cells: list[float | None], always: bool) -> KeptColumn | str:
    known = np.array([cell for cell in cells if cell is not None])
    distinct = len(np.unique(known))
    whole = bool((known == np.rint(known)).all() and (np.abs(known) < 2**53).all())
    if distinct == 1 and len(known) == len(cells) and not always:
        return "as they have one value throughout"
    if whole and distinct == len(cells) and distinct > MOST_VALUES and not always:
        return "as they differ in every row"
    if always or len(known) < len(cells):
        # A cohort of the page is made of values; an average over a gap would be a value nobody measured.
        if distinct <= MOST_VALUES:
            return _texts([None if cell is None else f"{cell:.15g}" for cell in cells], always)
        edges = np.unique(np.quantile(known, [0, 0.25, 0.5, 0.75, 1]))
        return _texts([None if cell is None else _range(cell, edges) for cell in cells], always)
    return KeptColumn([int(cell) if whole else cell for cell in cells if cell is not None], is_text=False)


def _range(cell: float, edges: np.ndarray[Any, Any]) -> str:
    place = min(max(int(np.searchsorted(edges, cell, "left")), 1), len(edges) - 1)
    return f"{edges[place - 1]:,.6g} to {edges[place]:,.6g}"


def _calendar(cells: Iterable[datetime.date | None]) -> list[str | None]:
    """Months, or years where there are many."""
    months = [None if cell is None else f"{cell.year:04d}-{cell.month:02d}" for cell in cells]
    if len(set(months)) <= MOST_VALUES:
        return months
    return [None if month is None else month[:4] for month in months]


def _texts(cells: Sequence[str | None], always: bool) -> KeptColumn | str:
    texts = [cell or MISSING for cell in cells]
    counts = Counter(texts)
    if always:
        texts = [truncated(text, LONGEST_VALUE) for text in texts]
        counts = Counter(texts)
    elif len(counts) == 1:
        return "as they have one value throughout"
    elif max(map(len, counts)) > LONGEST_VALUE:
        return "as they hold long texts"
    elif len(counts) > MOST_DISTINCT or 2 * len(counts) > max(len(texts), 8):
        return "as they hold too many different texts"
    if len(counts) > MOST_VALUES:
        most = {text for text, _ in counts.most_common(MOST_VALUES - 1)}
        texts = [text if text in most else OTHER for text in texts]
    return KeptColumn(texts, is_text=True)


def _is_missing(value: Any) -> bool:
    if value is None or (isinstance(value, Real | np.number) and not math.isfinite(value)):
        return True
    # pandas.NaT and pandas.NA; neither is equal to itself.
    return type(value).__name__ in ("NaTType", "NAType")


def _plain_name(name: object, used: set[str]) -> str:
    """A name that is letters, digits and blanks, as an expression of pandas can hold, and that is not used yet."""
    text = unicodedata.normalize("NFKC", str(name))
    kept = "".join(one if f"_{one}".isidentifier() else " " for one in text)
    plain = " ".join(kept.split())[:LONGEST_NAME].strip() or "column"
    candidates = (plain, *(f"{plain} {count}" for count in range(2, len(used) + 3)))
    return next(one for one in candidates if one.casefold() not in used)


def _cohorts(
    cohorts: Iterable[Cohort],
    sensitive: Sequence[str],
    found: TableColumns,
    features: pd.DataFrame,
    table: pd.DataFrame,
) -> tuple[list[dict[str, Any]], list[str]]:
    """The cohorts and groups as the program reads them, and a note on those that cannot be shown."""
    listed: list[dict[str, Any]] = []
    lost: list[str] = []
    for cohort in cohorts:
        filters: list[dict[str, Any]] = []
        for one in cohort.filters:
            shown = found.shown.get(one.column, one.column if one.column in features else None)
            is_text = one.column in found.kept and found.kept[one.column].is_text
            fits = shown is not None and is_text == (one.relation == "=")
            if fits and is_text and utf8_safe(str(one.value)) not in set(table[shown]):
                fits = False
            if fits:
                value = utf8_safe(str(one.value)) if is_text else float(one.value)
                filters.append({"column": shown, "relation": one.relation, "value": value})
        if len(filters) == len(cohort.filters):
            listed.append({"name": utf8_safe(str(cohort)), "filters": filters})
        else:
            lost.append(str(cohort))
    for name in sensitive:
        shown = found.shown[name]
        listed += [
            {"name": f"{shown} = {value}", "filters": [{"column": shown, "relation": "=", "value": value}]}
            for value, _ in Counter(table[shown]).most_common()
        ]
    unique = {one["name"]: one for one in listed}
    notes = [f"Cohorts that are not in the dashboards, as their columns are not: {'; '.join(lost)}."] if lost else []
    return list(unique.values()), notes


def _mask(filters: Sequence[Mapping[str, Any]], frame: pd.DataFrame) -> np.ndarray[Any, Any]:
    kept = np.ones(len(frame), dtype=bool)
    for one in filters:
        cells = frame[one["column"]]
        kept &= {">": cells.gt, "<=": cells.le, "=": cells.eq}[one["relation"]](one["value"]).to_numpy()
    return kept


def _sample(wrong: Sequence[bool], masks: Sequence[np.ndarray[Any, Any]], most: int, seed: int) -> np.ndarray[Any, Any]:
    """Positions of a systematic sample, in order: rows that are alike stand together, and every k-th one is taken."""
    order = np.random.default_rng(seed).permutation(len(wrong))
    kinds = np.stack([np.asarray(wrong, dtype=bool), *masks])
    alike = order[np.lexsort(kinds[::-1, order])]
    return np.sort(alike[np.floor((np.arange(most) + 0.5) * len(wrong) / most).astype(int)])
