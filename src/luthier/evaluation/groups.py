"""How a model does on each group of a sensitive column, and how far the groups are apart."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import numpy.typing as npt
import scipy

from luthier.errors import DataError
from luthier.evaluation.filters import MISSING, category_names, numbers_of, written
from luthier.evaluation.group_metrics import GroupMetric, RowValues, row_values
from luthier.evaluation.resampling import Floats, Interval, difference_of, mean_interval, rate_interval
from luthier.evaluation.statistics import ALPHA, holm
from luthier.tables import series_of
from luthier.tasks.prediction import Prediction
from luthier.tasks.task import Task

__all__ = ["Disparity", "GroupMetric", "SensitiveColumn", "SensitiveGroup", "compare_groups"]

SMALLEST = 30
"""Fewest rows of a group that is judged. Of 30 rows the interval of an accuracy of .8 is still .3 wide."""

MOST_GROUPS = 20
"""Groups that are shown, the largest first."""

MOST_NUMBERS = 10
"""A column with more different numbers, or dates, is compared by quartiles."""

DRAWS = 10_000
"""Random assignments of rows to groups that a p-value is computed from."""

MOST_CELLS = 4_000_000
"""Cells of random tables that are held at once, 8 bytes each."""


@dataclass(frozen=True, slots=True)
class SensitiveGroup:
    """Rows with one value in a sensitive column.

    Attributes:
        name: the value; `(missing)` for rows without one.
        rows: how many there are.
        metrics: metric to value and interval on these rows.
        judged: whether it has enough rows to be compared.
    """

    name: str
    rows: int
    metrics: Mapping[str, Interval]
    judged: bool


@dataclass(frozen=True, slots=True)
class Disparity:
    """How far the groups of a column are apart in one metric.

    Attributes:
        metric: its name.
        difference: highest minus lowest value among the judged groups, with its 95% interval.
        best, worst: names of the groups with the best and the worst value; with the highest and the lowest where
            neither way is better.
        p: for "all groups have the same value", uncorrected.
        corrected: the same after Holm's correction over all columns and metrics that were tested.
        confirmed: whether `corrected` is below 0.05.
    """

    metric: str
    difference: Interval
    best: str
    worst: str
    p: float
    corrected: float
    confirmed: bool


@dataclass(frozen=True, slots=True)
class SensitiveColumn:
    """A column that a user named, with its groups.

    Attributes:
        column: its name.
        groups: the largest first; groups of numbers and dates in ascending order.
        metrics: what the names in `groups` and `disparities` mean, in the order a table shows them.
        disparities: one per metric; empty where fewer than two groups have enough rows.
        smallest: fewest rows a group must have to be compared.
        notes: what a reader should know, such as groups with too few rows.
    """

    column: str
    groups: tuple[SensitiveGroup, ...]
    metrics: Mapping[str, GroupMetric]
    disparities: tuple[Disparity, ...]
    smallest: int
    notes: tuple[str, ...] = ()


def compare_groups(
    task: Task,
    truths: Sequence[Any],
    predictions: Sequence[Prediction],
    columns: Mapping[str, Sequence[Any]],
    *,
    smallest: int = SMALLEST,
    seed: int = 7,
) -> tuple[SensitiveColumn, ...]:
    """How a model does on each group of some columns, and whether groups differ by more than chance.

    Each metric is a mean over rows, so groups differ by chance as random groups of their sizes do. The test asks how
    often random groups have one that is as far from the mean of all; p-values are corrected for the number of columns
    and metrics (Holm). Groups with under `smallest` rows are shown and not judged.

    Numbers and dates of more than 10 different values are compared by quartiles. A difference in what is predicted
    need not be the model's doing: the true values may differ between groups too.

    Args:
        task: says how rows are judged.
        truths: one per row; `None` where it is not known.
        predictions: one per row; `empty` ones are left out of everything.
        columns: name of a column to its cells, one per row.
        smallest: fewest rows of a group that is judged.
        seed: of the random groups and of bootstrap intervals.

    Raises:
        DataError: lengths differ, or a truth is none of the task's.

    Source: groups and their values, fairlearn's `MetricFrame`; the largest deviation among random groups, Westfall and
    Young 1993, Resampling-Based Multiple Testing; intervals of shares Wilson's, of other means BCa bootstrap.
    """
    for name, cells in columns.items():
        if len(cells) != len(predictions):
            raise DataError(f"column {name!r} has {len(cells)} cells and there are {len(predictions)} predictions.")
    kept = [i for i, prediction in enumerate(predictions) if prediction.state != "empty"]
    if not kept:
        return tuple(
            SensitiveColumn(name, (), {}, (), smallest, ("No row has a text, so there is nothing to compare.",))
            for name in columns
        )
    measured = row_values(task, [truths[i] for i in kept], [predictions[i] for i in kept])
    found = [_column(name, [cells[i] for i in kept], measured, smallest, seed) for name, cells in columns.items()]
    corrected = iter(holm([one.p for column in found for one in column.disparities]))
    return tuple(
        replace(
            column,
            disparities=tuple(
                replace(one, corrected=p, confirmed=p < ALPHA)
                for one, p in zip(column.disparities, corrected, strict=False)
            ),
        )
        for column in found
    )


def _column(
    name: str, cells: Sequence[Any], measured: Sequence[RowValues], smallest: int, seed: int
) -> SensitiveColumn:
    """One column, its p-values not yet corrected."""
    names, order, notes = _group_names(name, cells)
    groups, codes, sizes = np.unique(np.array(names, dtype=object), return_inverse=True, return_counts=True)
    shown = np.argsort(-sizes, kind="stable")[:MOST_GROUPS]
    if order:
        shown = np.array(sorted(shown, key=lambda code: order.index(str(groups[code]))))
    judged = [int(code) for code in shown if sizes[code] >= smallest]
    if len(groups) == 1:
        notes.append(f"All rows are in one group, {groups[0]}, so there is nothing to compare.")
    elif len(judged) < 2:
        notes.append(
            f"Fewer than two of its {len(groups):,} groups have {smallest} rows, so none is judged. Group the values "
            "into fewer first, such as cities into regions, or bring more rows."
        )
    elif small := len(groups) - len(judged):
        few = len(groups) > MOST_GROUPS
        notes.append(
            f"{small:,} of {len(groups):,} groups not judged: fewer than {smallest} rows"
            + (f", or not among the {MOST_GROUPS} largest." if few else ".")
        )
    metrics: dict[int, dict[str, Interval]] = {int(code): {} for code in shown}
    disparities = []
    for one in measured:
        values, rows = _by_group(one, codes, shown)
        for code in metrics:
            if rows.get(code):
                inside = one.values[(codes == code) & ~np.isnan(one.values)]
                metrics[code][one.name] = (
                    rate_interval(values[code] * rows[code], rows[code])
                    if one.metric.format == "share"
                    else mean_interval(inside, seed)
                )
        compared = [code for code in judged if rows.get(code, 0) >= smallest]
        if len(compared) > 1:
            intervals = {str(groups[code]): metrics[code][one.name] for code in compared}
            p = _chance(codes, one.values, compared, seed)
            disparities.append(_disparity(one, intervals, p))
    return SensitiveColumn(
        name,
        tuple(SensitiveGroup(str(groups[code]), int(sizes[code]), metrics[code], code in judged) for code in metrics),
        {one.name: one.metric for one in measured},
        tuple(disparities),
        smallest,
        tuple(notes),
    )


def _group_names(column: str, cells: Sequence[Any]) -> tuple[list[str], list[str], list[str]]:
    """The group of each row, the order of groups where values have one, and what a reader should know of them."""
    series = series_of(list(cells))
    numbers = numbers_of(series)
    if numbers is None:
        return category_names(series), [], []
    known = ~np.isnan(numbers)
    different, notes = np.unique(numbers[known]), []
    edges = different[:-1]
    if len(different) > MOST_NUMBERS:
        edges = np.unique(np.quantile(numbers[known], (0.25, 0.5, 0.75), method="inverted_cdf"))
        notes.append(
            f"{column} has {len(different):,} different values; rows are compared by its quartiles. For other bounds, "
            "add a column of your own."
        )
    names, order = np.full(len(numbers), MISSING, dtype=object), []
    parts = np.searchsorted(edges, numbers, side="left")
    for part in range(len(edges) + 1):
        rows = known & (parts == part)
        if rows.any():
            first, last = (written(bound, series) for bound in (numbers[rows].min(), numbers[rows].max()))
            order.append(first if first == last else f"{first} to {last}")
            names[rows] = order[-1]
    return names.tolist(), [*order, MISSING], notes


def _by_group(one: RowValues, codes: npt.NDArray[np.intp], shown: npt.NDArray[np.intp]) -> tuple[Any, Any]:
    """The mean and the number of rows it is of, per group that is shown and has such rows."""
    from fairlearn.metrics import MetricFrame, count, mean_prediction

    rows = ~np.isnan(one.values) & np.isin(codes, shown)
    if not rows.any():
        return {}, {}
    values = one.values[rows]
    frame = MetricFrame(
        metrics={"mean": mean_prediction, "rows": count}, y_true=values, y_pred=values, sensitive_features=codes[rows]
    ).by_group
    return frame["mean"].to_dict(), {code: int(rows) for code, rows in frame["rows"].to_dict().items()}


def _disparity(one: RowValues, intervals: Mapping[str, Interval], p: float) -> Disparity:
    """The two groups that are farthest apart."""
    ordered = sorted(intervals, key=lambda name: intervals[name].value)
    lowest, highest = ordered[0], ordered[-1]
    pairs = len(ordered) * (len(ordered) - 1) // 2
    difference = difference_of(intervals[highest], intervals[lowest], pairs)
    best, worst = (lowest, highest) if one.metric.better == "lower" else (highest, lowest)
    return Disparity(one.name, difference, best, worst, p, 1.0, False)


def _chance(codes: npt.NDArray[np.intp], values: Floats, compared: Sequence[int], seed: int) -> float:
    """p-value for "rows are in these groups at random", by the group whose mean is farthest from that of all.

    How many rows of each value every group has is one draw of a table with given margins. Values are rounded to
    hundredths of their range, which leaves shares and ratings as they are and the test exact.

    Source: Patefield 1981 for the tables; (count + 1) as in Phipson and Smyth 2010.
    """
    rows = np.isin(codes, compared) & ~np.isnan(values)
    inside, groups = values[rows], np.searchsorted(np.sort(compared), codes[rows])
    span = np.ptp(inside)
    if not span:
        return 1.0
    steps, places, totals = np.unique(
        np.round((inside - inside.min()) / span * 100), return_inverse=True, return_counts=True
    )
    sizes = np.bincount(groups)
    seen = np.zeros((1, len(sizes), len(steps)))
    np.add.at(seen[0], (groups, places), 1)
    # The variance of a group's sum among random groups of its size, up to a factor that all groups share.
    spread = np.sqrt(sizes * (len(inside) - sizes))

    expected = sizes * (steps @ totals) / len(inside)

    def farthest(tables: Floats) -> Floats:
        off: Floats = (np.abs(tables @ steps - expected) / spread).max(axis=1)
        return off

    observed = farthest(seen)[0] - 1e-9
    tables = scipy.stats.random_table(sizes, totals, seed=seed)
    chunk = max(1, min(DRAWS, MOST_CELLS // seen.size))
    beyond = sum(
        int((farthest(tables.rvs(min(chunk, DRAWS - start))) >= observed).sum()) for start in range(0, DRAWS, chunk)
    )
    return (1 + beyond) / (1 + DRAWS)
