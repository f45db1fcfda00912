"""What holds on several tables: each spec's ranking metric on every table, and its mean over them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from luthier.errors import DataError
from luthier.evaluation.leaderboard import Leaderboard
from luthier.evaluation.resampling import Interval, percentile_interval, plain
from luthier.evaluation.statistics import all_differences, holm, letters
from luthier.tasks.types import Measure

if TYPE_CHECKING:
    import pandas as pd

__all__ = ["Across", "AcrossEntry", "AcrossPair", "across_tables"]


@dataclass(frozen=True)
class AcrossEntry:
    """A spec over all tables.

    Attributes:
        name: of the spec.
        technique: `baseline`, `prompt`, ...
        model: the base model behind it.
        rank: place by the mean, 1 is best.
        group: letters; specs that share one cannot be told apart by the mean.
        mean: the metric's mean over the tables, each weighing the same however many rows it has.
        values: table to the metric there.
        ranks: table to the place there.
        leads: the tables where it is first or cannot be told apart from the first.
    """

    name: str
    technique: str
    model: str
    rank: int
    group: str
    mean: Interval
    values: Mapping[str, Interval]
    ranks: Mapping[str, int]
    leads: tuple[str, ...]

    @property
    def mean_rank(self) -> float:
        """Mean of its places."""
        return sum(self.ranks.values()) / len(self.ranks)

    def worst_table(self, measure: Measure) -> str:
        """The table where it does worst."""
        higher = measure.better == "higher"
        pick = min if higher else max
        return pick(self.values, key=lambda table: self.values[table].value)


@dataclass(frozen=True, slots=True)
class AcrossPair:
    """Two specs by their means, the better first; `corrected` by Holm over all pairs."""

    first: str
    second: str
    difference: Interval
    p: float
    corrected: float


@dataclass(frozen=True)
class Across:
    """Specs over several tables, best mean first.

    Attributes:
        metric: name of what they are ranked by.
        measure: what that is.
        tables: names of the tables, in the order given.
        rows: table to the rows measured there.
        entries: specs that have the metric on every table.
        without: names of specs that lack it on some table, as a ranking by log loss needs probabilities.
        pairs: every two entries compared.
        alpha: level at which two count as different.
    """

    metric: str
    measure: Measure
    tables: tuple[str, ...]
    rows: Mapping[str, int]
    entries: tuple[AcrossEntry, ...]
    without: tuple[str, ...]
    pairs: tuple[AcrossPair, ...]
    alpha: float

    @property
    def best(self) -> AcrossEntry:
        """The first by the mean."""
        return self.entries[0]

    def tied_with(self, name: str) -> tuple[str, ...]:
        """Names of the specs whose mean cannot be told from this one's, best first."""
        tied = set()
        for pair in self.pairs:
            if name in (pair.first, pair.second) and pair.corrected >= self.alpha:
                tied |= {pair.first, pair.second}
        return tuple(entry.name for entry in self.entries if entry.name in tied - {name})

    def frame(self) -> pd.DataFrame:
        """One row per spec: rank, mean with its interval, worst table, mean rank, and the metric on each table."""
        import pandas as pd

        lines = []
        for entry in self.entries:
            line: dict[str, Any] = {"rank": entry.rank, "name": entry.name, "technique": entry.technique}
            line |= {"model": entry.model, "group": entry.group, "metric": self.metric}
            line |= {"mean": entry.mean.value, "mean_low": entry.mean.low, "mean_high": entry.mean.high}
            line |= {"worst_table": entry.worst_table(self.measure), "mean_rank": entry.mean_rank}
            line |= {f"on {table}": entry.values[table].value for table in self.tables}
            lines.append(line)
        return pd.DataFrame(lines)

    def to_document(self) -> dict[str, Any]:
        """Plain JSON values."""
        document: dict[str, Any] = {"schema": 1, **plain(self)}
        del document["measure"]
        for line, entry in zip(document["entries"], self.entries, strict=True):
            line |= {"worst_table": entry.worst_table(self.measure), "mean_rank": entry.mean_rank}
        return document


def across_tables(boards: Mapping[str, Leaderboard], *, seed: int = 7) -> Across:
    """What holds over all tables, from the leaderboard of each.

    The bootstrap is stratified: rows are drawn within each table, one table's draws independent of another's, and
    the mean of the tables' metrics is taken sample by sample. So the intervals say how sure the mean over
    *these* tables is, not what a further table would show. Two specs are compared on the same draws, and p-values
    are corrected by Holm, as on the leaderboard of one table.

    Args:
        boards: table to its leaderboard, all of the same specs, task and metric, as `build_leaderboard` made them.
        seed: of the pairing of the tables' samples.

    Raises:
        DataError: there is no table, or the leaderboards are not of the same specs.

    Source: Davison and Hinkley 1997, Bootstrap Methods and their Application, section 3.2 (several samples).
    """
    if not boards:
        raise DataError("there is no table to look across; give one or more.")
    first = next(iter(boards.values()))
    names = sorted(entry.name for entry in first.entries)
    for table, board in boards.items():
        if board.ranked_by != first.ranked_by or sorted(entry.name for entry in board.entries) != names:
            raise DataError(f"table {table!r} was measured with other specs or another metric than the first one.")
        if not board.draws:
            raise DataError(f"the leaderboard of table {table!r} has no bootstrap samples; compare again to have them.")
    metric = first.ranked_by
    judged = [name for name in names if all(name in board.draws for board in boards.values())]
    if not judged:
        raise DataError(f"no spec has {metric!r} on every table; rank by something else.")
    samples = min(len(board.draws[judged[0]]) for board in boards.values())
    values = np.zeros(len(judged))
    draws = np.zeros((len(judged), samples))
    for place, board in enumerate(boards.values()):
        # Tables of equal length are drawn by the same places; a shuffle of the samples makes them independent.
        order = np.random.default_rng([seed, place]).permutation(samples)
        values += [board.entry(name).metrics[metric].value / len(boards) for name in judged]
        draws += np.stack([board.draws[name][order] for name in judged]) / len(boards)
    sign = -1 if first.measure.better == "higher" else 1
    ranked = sorted(range(len(judged)), key=lambda i: (sign * values[i], judged[i]))
    values, draws = values[ranked], draws[ranked]
    found = all_differences(values, draws)
    couples = [(i, j) for i in range(len(ranked)) for j in range(i + 1, len(ranked))]
    corrected = holm([difference.p for difference in found])
    different = {couple: p < first.alpha for couple, p in zip(couples, corrected, strict=True)}
    groups = letters(len(ranked), different)
    ordered = [judged[i] for i in ranked]
    leading = {table: {board.best.name, *board.tied_with(board.best.name)} for table, board in boards.items()}
    entries = []
    for place, name in enumerate(ordered):
        here = {table: board.entry(name) for table, board in boards.items()}
        who = here[next(iter(boards))].candidate
        entries.append(
            AcrossEntry(
                name=name,
                technique=who.technique,
                model=who.model,
                rank=place + 1,
                group=groups[place],
                mean=percentile_interval(float(values[place]), draws[place]),
                values={table: entry.metrics[metric] for table, entry in here.items()},
                ranks={table: entry.rank or 0 for table, entry in here.items()},
                leads=tuple(table for table in boards if name in leading[table]),
            )
        )
    return Across(
        metric=metric,
        measure=first.measure,
        tables=tuple(boards),
        rows={table: board.rows_evaluated for table, board in boards.items()},
        entries=tuple(entries),
        without=tuple(name for name in names if name not in judged),
        pairs=tuple(
            AcrossPair(ordered[i], ordered[j], difference.interval, difference.p, p)
            for (i, j), difference, p in zip(couples, found, corrected, strict=True)
        ),
        alpha=first.alpha,
    )
