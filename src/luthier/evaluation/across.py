"""What holds on several tables: each spec's ranking metric on every table, and its mean over them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from luthier.errors import DataError
from luthier.evaluation.crossed import AcrossPair, Cell, Crossed, crossed_grids, ranked_means
from luthier.evaluation.leaderboard import Leaderboard
from luthier.evaluation.resampling import Floats, Interval, percentile_interval, plain
from luthier.tasks.crossed_names import prompt_and_model
from luthier.tasks.types import Measure

if TYPE_CHECKING:
    import pandas as pd

__all__ = ["Across", "AcrossEntry", "across_tables", "crossed_of"]


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
        crossed: prompts with models, where specs were asked with several.
    """

    metric: str
    measure: Measure
    tables: tuple[str, ...]
    rows: Mapping[str, int]
    entries: tuple[AcrossEntry, ...]
    without: tuple[str, ...]
    pairs: tuple[AcrossPair, ...]
    alpha: float
    crossed: tuple[Crossed, ...] = ()

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


def across_tables(boards: Mapping[str, Leaderboard], *, seed: int = 7, foreseen: Sequence[float] = ()) -> Across:
    """What holds over all tables, from the leaderboard of each.

    The bootstrap is stratified: rows are drawn within each table, one table's draws independent of another's, and
    the mean of the tables' metrics is taken sample by sample. So the intervals say how sure the mean over
    *these* tables is, not what a further table would show. Two specs are compared on the same draws, and p-values
    are corrected by Holm, as on the leaderboard of one table.

    Args:
        boards: table to its leaderboard, all of the same specs, task and metric, as `build_leaderboard` made them.
        seed: of the pairing of the tables' samples.
        foreseen: p-values of pairs with a spec that a race has stopped, for which the others are corrected too.

    Raises:
        DataError: there is no table, or the leaderboards are not of the same specs.

    Source: Davison and Hinkley 1997, Bootstrap Methods and their Application, section 3.2 (several samples).
    """
    if not boards:
        raise DataError("there is no table to look across; give one or more.")
    first = next(iter(boards.values()))
    names = _names(first)
    for table, board in boards.items():
        if board.ranked_by != first.ranked_by or _names(board) != names:
            raise DataError(f"table {table!r} was measured with other specs or another metric than the first one.")
        if not board.draws:
            raise DataError(f"the leaderboard of table {table!r} has no bootstrap samples; compare again to have them.")
    metric = first.ranked_by
    judged = [name for name in names if all(name in board.draws for board in boards.values())]
    if not judged:
        raise DataError(f"no spec has {metric!r} on every table; rank by something else.")
    drawn = independent_draws(boards, seed)
    higher = first.measure.better == "higher"
    found = {name: [board.entry(name).metrics[metric].value for board in boards.values()] for name in judged}
    values = {name: float(np.mean(ones)) for name, ones in found.items()}
    means = {name: np.mean([drawn[table][name] for table in boards], axis=0) for name in judged}
    ordered, groups, pairs = ranked_means(values, means, higher, first.alpha, foreseen)
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
                mean=percentile_interval(values[name], means[name]),
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
        without=tuple(
            name
            for name in names
            if name not in judged and any(name == entry.name for board in boards.values() for entry in board.entries)
        ),
        pairs=pairs,
        alpha=first.alpha,
        crossed=crossed_of(boards, seed),
    )


def crossed_of(boards: Mapping[str, Leaderboard], seed: int = 7) -> tuple[Crossed, ...]:
    """Prompts with models over the tables; nothing where no spec is named for both, as `stars@gpt-4.1-mini` is.

    Args:
        boards: table to its leaderboard.
        seed: of the pairing of the tables' samples.
    """
    first = next(iter(boards.values()))
    drawn = independent_draws(boards, seed)
    values: dict[Cell, Interval] = {}
    draws: dict[Cell, Floats] = {}
    gaps: set[tuple[str, str]] = set()
    for table, board in boards.items():
        stopped = [] if board.race is None else [one.name for one in board.race.stopped]
        gaps |= {prompt_and_model(name) for name in (*board.missing, *stopped)}
        for entry in board.entries:
            prompt, model = prompt_and_model(entry.name)
            if model and entry.name in drawn[table]:
                values[prompt, model, table] = entry.metrics[board.ranked_by]
                draws[prompt, model, table] = drawn[table][entry.name]
    return crossed_grids(values, draws, gaps=gaps, higher=first.measure.better == "higher", alpha=first.alpha)


def independent_draws(boards: Mapping[str, Leaderboard], seed: int) -> dict[str, dict[str, Floats]]:
    """The bootstrap samples of each table; tables of equal length are drawn by the same places, so each is shuffled."""
    samples = min((len(draws) for board in boards.values() for draws in board.draws.values()), default=0)
    found = {}
    for place, (table, board) in enumerate(boards.items()):
        order = np.random.default_rng([seed, place]).permutation(samples)
        found[table] = {name: draws[order] for name, draws in board.draws.items()}
    return found


def _names(board: Leaderboard) -> list[str]:
    """The specs of a table, with those that could not be asked there."""
    return sorted({entry.name for entry in board.entries} | set(board.missing))
