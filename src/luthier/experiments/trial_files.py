"""Trials from tables that anything wrote: an export of MLflow, Optuna or Weights & Biases, or a table kept by hand."""

from __future__ import annotations

import math
import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from luthier.errors import DataError
from luthier.evaluation.measures import METRICS
from luthier.evaluation.metric_names import lower_is_better
from luthier.evaluation.resampling import Interval
from luthier.evaluation.trials import TrialRow, TrialTable
from luthier.experiments.trial_columns import TrialColumns, columns_of_trials, of_optuna
from luthier.tables import read_table
from luthier.tables.number_cells import number_in
from luthier.tasks.task import is_blank, plain_records

if TYPE_CHECKING:
    import pandas as pd

__all__ = ["trials_of_table"]

FEWEST = 2
"""One trial has no distribution, and nothing to compare its settings with."""

STOPPED = re.compile(r"pruned|stopped|cancell?ed|killed|preempted", re.I)
FAILED = re.compile(r"fail|crash|error", re.I)
RUNNING = re.compile(r"running|waiting|pending|queued|scheduled|unfinished|paused|interrupted", re.I)
"""Words of trackers and services for how a trial ended; it is complete with any other one."""

NULL = ("None", "null")
"""How trackers write a setting that was set to nothing."""


def trials_of_table(
    source: pd.DataFrame | str | Path, metric: str | None = None, *, name: str = "the table"
) -> TrialTable:
    """Reads trials from a table with a line for each.

    Settings, results and names are found by the names of the columns: `params.x` and `metrics.y` of MLflow, `params_x`
    and `value` of Optuna, `config.x` and `summary.y` of Weights & Biases, `n_epochs` and `classification/accuracy` of a
    service that fine-tunes, and the columns of `Sweep.frame`. A column that is none of these is a setting. The notes of
    the table say how it was read.

    Args:
        source: a DataFrame, or a file as `read_table` takes it.
        metric: what trials are compared by; see `columns_of_trials`.
        name: what a DataFrame is called on the page and in messages.

    Raises:
        DataError: the file cannot be read; no column is the metric; a result is no number; fewer than two trials have
            a result.

    Examples:
        >>> import pandas as pd
        >>> frame = pd.DataFrame({"params.rate": ["0.1", "0.2"], "metrics.accuracy": [0.5, 0.6]})
        >>> table = trials_of_table(frame)
        >>> table.metric, table.settings, table.ranked[0].settings
        ('accuracy', ('rate',), {'rate': 0.2})
    """
    if isinstance(source, str | Path):
        frame, name = read_table(source), Path(source).name
    else:
        frame = source
    twice = sorted({str(one) for one in frame.columns[frame.columns.duplicated()]})
    if twice:
        raise DataError(f"{name} has several columns called {', '.join(twice)}; rename them.")
    if frame.empty:
        raise DataError(f"{name} has no lines; give a table with a line per trial.")
    records = plain_records(frame)
    columns = columns_of_trials(records, metric, name)
    names = _names(records, columns.name)
    results = _results(records, columns, names, name)
    known = sum(result is not None for result in results)
    if known < FEWEST:
        # The table may have more lines than trials with a result.
        has = "no trial" if known == 0 else "one trial"
        raise DataError(
            f"{name} has {has} with a result in {columns.result}; a report needs {FEWEST} or more, a line for each."
        )
    settings = _settings(records, columns.settings)
    better, is_said = _better(columns)
    trials = tuple(
        TrialRow(
            name=names[place],
            settings=settings[place],
            value=results[place],
            figures=_figures(record, columns.figures),
            state=_state(record, columns.status),
            cost_usd=None if columns.cost is None else _number(record[columns.cost]),
        )
        for place, record in enumerate(records)
    )
    priced = any(trial.cost_usd is not None for trial in trials)
    return TrialTable(
        source=name,
        metric=columns.metric,
        better=better,
        settings=tuple(columns.settings),
        trials=trials,
        cost="cost_usd" if priced or columns.work is None else columns.work,
        model_setting=columns.model,
        notes=_notes(columns, better if not is_said else None),
    )


def _results(
    records: Sequence[Mapping[str, Any]], columns: TrialColumns, names: Sequence[str], source: str
) -> list[Interval | None]:
    """The results with their bounds.

    Raises:
        DataError: one is no number, or is in percent.
    """
    is_share = columns.metric in METRICS and METRICS[columns.metric].format == "share"
    found: list[Interval | None] = []
    for record, trial in zip(records, names, strict=True):
        place = f"{source}: {columns.result} of {trial}"
        value = number_in(record[columns.result], place)
        if value is not None and is_share and abs(value) > 1:
            percent = " It looks like percent: divide the column by 100." if 1 < value <= 100 else ""
            raise DataError(f"{place} is {value:g}, and {METRICS[columns.metric].title} goes from 0 to 1.{percent}")
        low, high = (None, None) if columns.bounds is None else (_number(record[end]) for end in columns.bounds)
        between = low is not None and high is not None
        found.append(None if value is None else Interval(value, low, high) if between else Interval(value))
    return found


def _names(records: Sequence[Mapping[str, Any]], column: str | None) -> list[str]:
    if column is None:
        return [f"line {number}" for number in range(1, len(records) + 1)]
    return [str(record[column]).strip() for record in records]


def _settings(records: Sequence[Mapping[str, Any]], columns: Mapping[str, str]) -> list[dict[str, Any]]:
    """The settings of each trial: numbers where all values of a column are, though a file or a tracker has texts."""
    found: list[dict[str, Any]] = [{} for _ in records]
    for setting, column in columns.items():
        cells = [record[column] for record in records]
        given = [cell for cell in cells if not is_blank(cell) and str(cell) not in NULL]
        numeric = all(_number(cell) is not None for cell in given)
        for line, cell in zip(found, cells, strict=True):
            if is_blank(cell):
                continue
            if str(cell) in NULL:
                line[setting] = None
            else:
                number = _number(cell) if numeric else None
                line[setting] = cell if number is None else int(number) if number.is_integer() else number
    return found


def _figures(record: Mapping[str, Any], columns: Mapping[str, str]) -> dict[str, float]:
    cells = {name: _number(record[column]) for name, column in columns.items()}
    return {name: value for name, value in cells.items() if value is not None}


def _state(record: Mapping[str, Any], column: str | None) -> Literal["complete", "stopped early", "failed", "running"]:
    word = "" if column is None or is_blank(record[column]) else str(record[column])
    if STOPPED.search(word):
        return "stopped early"
    if FAILED.search(word):
        return "failed"
    return "running" if RUNNING.search(word) else "complete"


def _better(columns: TrialColumns) -> tuple[Literal["higher", "lower"], bool]:
    """Which way is better, and whether the metric's name says so."""
    if columns.metric in METRICS:
        return METRICS[columns.metric].better, True
    if lower_is_better(columns.metric):
        return "lower", True
    return "higher", not of_optuna(columns.metric)


def _notes(columns: TrialColumns, assumed: str | None) -> tuple[str, ...]:
    """How the table was read; plain sentences."""
    title = METRICS[columns.metric].title if columns.metric in METRICS else columns.metric
    column = "" if columns.result == title else f", the column {columns.result}"
    others = f" --metric takes another one: {', '.join(columns.others)}." if columns.others else ""
    said = [f"Trials are compared by {title}{column}.{others}"]
    if assumed:
        said.append(f"{assumed.capitalize()} is taken to be better, as the name of the column does not say.")
    said.append(
        f"Settings: {', '.join(columns.settings)}." if columns.settings else "No column is a setting that differs."
    )
    said += [f"Other figures: {', '.join(columns.figures)}."] if columns.figures else []
    said += [f"Not read: {', '.join(columns.not_read)}."] if columns.not_read else []
    return tuple(said)


def _number(cell: Any) -> float | None:
    if isinstance(cell, bool):
        return None
    try:
        value = float(cell)
    except (TypeError, ValueError):
        return None
    return value if math.isfinite(value) else None
